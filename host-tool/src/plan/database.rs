//! What every layer costs at every level: one pass of the dense network over the samples.

use super::Layer;
use super::levels::levels;
use super::sensitivity::{self, Cost, Trial, trials};
use crate::calibrate::{ChannelSums, Statistics};
use crate::graph::{Graph, Linear};
use crate::progress::Progress;
use crate::quantize::{
    Compensator, Curvature, LayerShape, Rounding, Streams, TapStatistics, refit, run_dense,
};
use std::borrow::Cow;

/// Dampings that are tried, until one is worse than the one before.
const DAMPINGS: [f64; 5] = [0.01, 0.03, 0.1, 0.3, 1.0];
/// Error at which dampings are compared, as a share of the layer's power.
const PROBE_NOISE: f64 = 0.05;

/// The levels of all layers with weights, in order of execution, and a trial of each.
pub struct Database {
    /// The layers; their losses are variances of the layer's own output error.
    pub layers: Vec<Layer>,
    /// Per node with weights: statistics of its output before the activation.
    pub statistics: Vec<Option<ChannelSums>>,
    trials: Vec<Trial>,
}

impl Database {
    /// Rounds every layer at every level. `samples` are network inputs, `masks` says per node which weights
    /// must stay.
    pub fn new(
        graph: &Graph,
        measured: &Statistics,
        samples: &[Vec<Vec<f32>>],
        masks: &[Option<Vec<bool>>],
        progress: &Progress,
    ) -> Self {
        let bar = progress.stage("levels", graph.nodes.len());
        let mut layers = Vec::new();
        let mut trials = Vec::new();
        let statistics = run_dense(graph, samples, |index, streams| {
            let mask = masks[index].as_deref();
            if let Some((layer, more)) = rank(graph, index, measured, streams, mask) {
                layers.push(layer);
                trials.extend(more);
            }
            bar.advance(1);
        });
        Self {
            layers,
            statistics,
            trials,
        }
    }

    /// Per node: what errors in it cost at the network's output.
    pub fn costs(
        &self,
        graph: &Graph,
        samples: &[Vec<Vec<f32>>],
        progress: &Progress,
    ) -> Vec<Cost> {
        let measured = sensitivity::measure(graph, &self.trials, samples, progress);
        let mut costs = vec![Cost::default(); graph.nodes.len()];
        for (trial, weight) in self.trials.iter().zip(measured) {
            costs[trial.node()].add(trial.error(), weight);
        }
        costs
    }
}

/// Gives all levels their losses at the network's output.
pub fn weigh(layers: &mut [Layer], costs: &[Cost]) {
    for layer in layers {
        let cost = &costs[layer.node];
        layer.weigh(|error| cost.of(error));
    }
}

/// The levels and trials of one layer with weights.
fn rank(
    graph: &Graph,
    index: usize,
    measured: &Statistics,
    streams: &Streams,
    mask: Option<&[bool]>,
) -> Option<(Layer, Vec<Trial>)> {
    let node = &graph.nodes[index];
    let (shape, linear) = (LayerShape::of(&node.op)?, node.op.linear()?);
    let fits = |i: usize| streams.fits(i);
    let judges = |i: usize| streams.judges(i);
    let judge = Curvature::new(shape, linear, &streams.covariances(graph, node, judges));
    let covariances = streams.covariances(graph, node, fits);
    let (fit, start) = best_fit(shape, linear, &covariances, &judge, mask);
    let levels = levels(&start, &fit, &judge, mask);
    let taps = TapStatistics::new(graph, measured, node, shape);
    let trials = trials(graph, index, &taps, (&fit, &judge), &levels);
    let layer = Layer {
        node: index,
        power: judge.power(),
        damping: fit.damping(),
        levels,
    };
    Some((layer, trials))
}

/// The compensator with the damping that serves samples best that it does not know, and the weights that
/// it shall round.
fn best_fit<'a>(
    shape: LayerShape,
    linear: &'a Linear,
    covariances: &[Vec<f64>],
    judge: &Curvature<'_>,
    mask: Option<&[bool]>,
) -> (Compensator, Cow<'a, Linear>) {
    let rounding = Rounding {
        step: judge.step_of(PROBE_NOISE),
        ..Rounding::FINEST
    };
    let [first, others @ ..] = DAMPINGS;
    let judged = |damping: f64| {
        let fit = Compensator::new(shape, covariances, damping);
        let start = refit(shape, linear, covariances, damping, mask);
        (
            judge.error(&fit.round(&start, rounding, mask)),
            (fit, start),
        )
    };
    let mut best = judged(first);
    for damping in others {
        let next = judged(damping);
        if next.0 >= best.0 {
            break;
        }
        best = next;
    }
    best.1
}
