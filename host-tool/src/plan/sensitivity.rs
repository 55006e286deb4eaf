//! How much an error in one layer matters to the network's output: each layer in turn is
//! quantized coarsely, and what comes out is compared with the dense network.

use super::levels::Level;
use crate::graph::{Graph, Linear, Node, Op, evaluate, run_with};
use crate::progress::Progress;
use crate::quantize::{Compensator, Curvature, LayerShape, QuantizedLinear, TapStatistics};
use rayon::prelude::*;

/// Errors that trials cause in their layer, as shares of the layer's own power: a small one, and one as
/// large as a small budget asks for. Between them the cost bends.
const TRIAL_NOISES: [f64; 2] = [0.01, 0.1];

/// Samples that costs are measured on.
const SAMPLES: usize = 16;

/// A layer with trial weights, and the squared error that they cause in it.
pub struct Trial {
    node: usize,
    op: Op,
    error: f64,
}

/// What errors in one layer cost at the network's output.
#[derive(Clone, Debug, Default)]
pub struct Cost {
    /// Error of a trial, and the cost of a unit of it; errors rise.
    points: Vec<(f64, f64)>,
}

impl Cost {
    pub(super) fn add(&mut self, error: f64, weight: f64) {
        self.points.push((error, weight));
        self.points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }

    /// The cost of a unit of a small error.
    pub fn weight(&self) -> f64 {
        self.points.first().map_or(0.0, |point| point.1)
    }

    /// The cost of an error: a power law through two trials, whose ends go on in proportion.
    pub fn of(&self, error: f64) -> f64 {
        let [first, .., last] = self.points[..] else {
            return error * self.weight();
        };
        let share = (error / first.0).max(f64::MIN_POSITIVE).ln() / (last.0 / first.0).ln();
        let bend = (last.1 / first.1).max(f64::MIN_POSITIVE);
        if share.is_finite() && bend.is_finite() {
            error * first.1 * bend.powf(share.clamp(0.0, 1.0))
        } else {
            error * first.1
        }
    }
}

/// Of one layer, trials at several errors.
pub(super) fn trials(
    graph: &Graph,
    node: usize,
    taps: &TapStatistics<'_>,
    (fit, judge): (&Compensator, &Curvature<'_>),
    levels: &[Level],
) -> Vec<Trial> {
    let level = |noise: f64| {
        let wanted = judge.power() * noise;
        let distance = |level: &Level| (level.loss / wanted).max(1e-30).ln().abs();
        let noisy = levels.iter().filter(|level| level.loss > 0.0);
        noisy.min_by(|a, b| distance(a).total_cmp(&distance(b)))
    };
    let mut chosen: Vec<&Level> = TRIAL_NOISES.into_iter().filter_map(level).collect();
    chosen.dedup();
    let trial = |level: &Level| {
        let rounding = level.rounding(fit.damping());
        let layer = fit.round(graph.nodes[node].op.linear()?, rounding, None);
        Trial::new(graph, node, taps, judge, &layer, level.loss)
    };
    chosen.into_iter().filter_map(trial).collect()
}

impl Trial {
    /// A layer in place of the dense one, its mean and its spread repaired; `error` is what its cost is
    /// taken relative to.
    fn new(
        graph: &Graph,
        node: usize,
        taps: &TapStatistics<'_>,
        judge: &Curvature<'_>,
        layer: &QuantizedLinear,
        error: f64,
    ) -> Option<Self> {
        let op = &graph.nodes[node].op;
        let (shape, linear) = (LayerShape::of(op)?, op.linear()?);
        let gain = judge.gain(layer);
        let mut rounded = layer.dequantized(shape, linear);
        rounded
            .weights
            .iter_mut()
            .for_each(|weight| *weight *= gain);
        correct_mean(shape, linear, &mut rounded, taps);
        let mut op = op.clone();
        if let Some(trial) = op.linear_mut() {
            *trial = rounded;
        }
        Some(Self { node, op, error })
    }

    /// Index of the layer's node.
    pub(super) fn node(&self) -> usize {
        self.node
    }

    /// The squared error.
    pub(super) fn error(&self) -> f64 {
        self.error
    }
}

fn correct_mean(
    shape: LayerShape,
    linear: &Linear,
    rounded: &mut Linear,
    taps: &TapStatistics<'_>,
) {
    for output in 0..shape.outputs() {
        let shift: f64 = (0..shape.k)
            .map(|tap| {
                let i = shape.index(output, tap);
                f64::from(linear.weights[i] - rounded.weights[i]) * taps.mean(output, tap)
            })
            .sum();
        rounded.bias[output] += shift as f32;
    }
}

/// Per trial: error of the network's output, relative to its variance, for one unit of squared
/// error in the layer. `samples` are network inputs.
pub fn measure(
    graph: &Graph,
    trials: &[Trial],
    samples: &[Vec<Vec<f32>>],
    progress: &Progress,
) -> Vec<f64> {
    let samples = &samples[..samples.len().min(SAMPLES)];
    let bar = progress.stage("sensitivity", samples.len());
    let per_sample: Vec<Vec<f64>> = samples
        .par_iter()
        .map(|inputs| {
            let errors = sample(graph, trials, inputs);
            bar.advance(1);
            errors
        })
        .collect();
    (0..trials.len())
        .map(|i| {
            let sum: f64 = per_sample.iter().map(|errors| errors[i]).sum();
            sum / samples.len() as f64 / trials[i].error
        })
        .collect()
}

fn sample(graph: &Graph, trials: &[Trial], inputs: &[Vec<f32>]) -> Vec<f64> {
    let mut dense: Vec<Vec<f32>> = vec![Vec::new(); graph.tensors.len()];
    for (port, values) in graph.inputs.iter().zip(inputs) {
        dense[port.tensor].clone_from(values);
    }
    run_with(graph, inputs, |index, values| {
        dense[graph.nodes[index].output] = values.to_vec();
    });
    let outputs = graph.judged_outputs();
    trials
        .iter()
        .map(|trial| {
            let changed = rerun(graph, trial, &dense);
            outputs
                .iter()
                .filter_map(|&id| Some(relative_error(&dense[id], changed[id].as_deref()?)))
                .sum()
        })
        .collect()
}

/// What changes if one layer has the trial weights; only nodes that read a change run.
fn rerun(graph: &Graph, trial: &Trial, dense: &[Vec<f32>]) -> Vec<Option<Vec<f32>>> {
    let mut changed: Vec<Option<Vec<f32>>> = vec![None; graph.tensors.len()];
    let mut last_use = vec![usize::MAX; graph.tensors.len()];
    for (index, node) in graph.nodes.iter().enumerate() {
        node.inputs.iter().for_each(|&id| last_use[id] = index);
    }
    for id in graph.judged_outputs() {
        last_use[id] = usize::MAX;
    }
    for (index, node) in graph.nodes.iter().enumerate().skip(trial.node) {
        if index != trial.node && node.inputs.iter().all(|&id| changed[id].is_none()) {
            continue;
        }
        let inputs: Vec<&[f32]> = node
            .inputs
            .iter()
            .map(|&id| changed[id].as_deref().unwrap_or(&dense[id]))
            .collect();
        let output = if index == trial.node {
            let node = Node {
                op: trial.op.clone(),
                ..node.clone()
            };
            evaluate(graph, &node, &inputs)
        } else {
            evaluate(graph, node, &inputs)
        };
        changed[node.output] = Some(output);
        for &id in &node.inputs {
            if last_use[id] == index {
                changed[id] = None;
            }
        }
    }
    changed
}

/// Squared error relative to the output's variance.
pub(crate) fn relative_error(dense: &[f32], changed: &[f32]) -> f64 {
    let n = dense.len() as f64;
    let mean = dense.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    let power: f64 = dense.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum();
    let error: f64 = dense
        .iter()
        .zip(changed)
        .map(|(&a, &b)| (f64::from(b) - f64::from(a)).powi(2))
        .sum();
    error / power.max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::Cost;

    #[test]
    fn a_cost_passes_through_its_trials_and_goes_on_in_proportion() {
        let mut cost = Cost::default();
        cost.add(1.0, 0.5);
        cost.add(0.1, 2.0);
        assert_eq!(cost.weight(), 2.0);
        for (error, expected) in [
            (0.0, 0.0),
            (0.05, 0.1),
            (0.1, 0.2),
            (0.1f64.sqrt(), 0.1f64.sqrt()),
            (1.0, 0.5),
            (4.0, 2.0),
        ] {
            assert!((cost.of(error) - expected).abs() < 1e-12, "{error}");
        }
    }

    #[test]
    fn one_trial_or_none_is_in_proportion() {
        let mut cost = Cost::default();
        assert_eq!(cost.of(3.0), 0.0);
        cost.add(0.1, 2.0);
        assert_eq!(cost.of(3.0), 6.0);
    }
}
