//! Which activations become int8, with which scale; which stay `f32`.

use super::{ActivationQuantization, LayerShape, TapStatistics};
use crate::calibrate::{Histogram, Statistics};
use crate::graph::{Graph, Op, TensorId, evaluate};
use crate::plan::sensitivity::relative_error;
use rayon::prelude::*;

/// Codes that are noisier than this, for a layer that reads them, are not used, unless the network's output shows
/// little of it: the activation stays `f32`.
pub const LEAST_SQNR_DB: f64 = 10.0;
/// Relative error of the network's output that is too small to run layers in `f32` for: a hundredth of the variance between
/// the outputs' values. A layer may drown in the noise of its codes where what it adds counts for nothing further on.
const SMALL_ERROR: f64 = 0.01;

/// Norms of the error that ranges are chosen by. Which is best differs between networks: long tails
/// are noise to some and decide in others.
const NORMS: [f64; 5] = [2.0, 2.5, 3.0, 4.0, 6.0];
/// Samples that the norms are compared on.
const TRIAL_SAMPLES: usize = 32;

/// How every activation is stored.
#[derive(Clone, Debug)]
pub struct ActivationPlan {
    /// One entry per tensor: its quantization, or `None` where it stays `f32`.
    pub activations: Vec<Option<ActivationQuantization>>,
    /// Mean relative squared error that it alone causes at the network's output.
    pub error: f64,
}

impl ActivationPlan {
    /// Of several ways to choose the ranges, the one that changes the network's output least on
    /// `samples`; one that has codes everywhere, if with it the output changes little.
    pub fn new(graph: &Graph, statistics: &Statistics, samples: &[Vec<Vec<f32>>]) -> Self {
        let groups = Groups::new(graph, statistics);
        let samples = &samples[..samples.len().min(TRIAL_SAMPLES)];
        let plans = NORMS.map(|norm| groups.plan(graph, statistics, norm));
        let best = |plans: &[Vec<_>]| {
            let errors = output_errors(graph, plans, samples);
            let plans = plans.iter().cloned().zip(errors);
            let plans = plans.map(|(activations, error)| Self { activations, error });
            plans.min_by(|a, b| a.error.total_cmp(&b.error))
        };
        let with = |least_db| plans.each_ref().map(|plan| at_least(plan, least_db));
        let (some, all) = (with(LEAST_SQNR_DB), with(f64::NEG_INFINITY));
        let differ = some != all;
        let all = best(&all).filter(|all| !differ || all.error < SMALL_ERROR);
        all.or_else(|| best(&some)).unwrap_or_else(|| Self {
            activations: vec![None; graph.tensors.len()],
            error: 0.0,
        })
    }
}

/// The quantizations that leave the layers which read them this signal-to-noise ratio.
fn at_least(
    plan: &[Option<(ActivationQuantization, f64)>],
    least_db: f64,
) -> Vec<Option<ActivationQuantization>> {
    let chosen = plan.iter().map(|chosen| {
        let (quantization, db) = (*chosen)?;
        (db >= least_db).then_some(quantization)
    });
    chosen.collect()
}

/// Mean relative error of the network's output under each plan, weights kept dense.
fn output_errors(
    graph: &Graph,
    plans: &[Vec<Option<ActivationQuantization>>],
    samples: &[Vec<Vec<f32>>],
) -> Vec<f64> {
    let judged = graph.judged_outputs();
    let per_sample: Vec<Vec<f64>> = samples
        .par_iter()
        .map(|inputs| {
            let dense = run_quantized(graph, &vec![None; graph.tensors.len()], inputs, &judged);
            let error = |plan: &Vec<_>| {
                let outputs = run_quantized(graph, plan, inputs, &judged);
                let errors = dense.iter().zip(&outputs);
                let sum: f64 = errors.map(|(a, b)| relative_error(a, b)).sum();
                sum / judged.len().max(1) as f64
            };
            plans.iter().map(error).collect()
        })
        .collect();
    (0..plans.len())
        .map(|plan| {
            let sum: f64 = per_sample.iter().map(|errors| errors[plan]).sum();
            sum / samples.len().max(1) as f64
        })
        .collect()
}

/// The judged outputs of the network with every activation quantized as planned.
fn run_quantized(
    graph: &Graph,
    plan: &[Option<ActivationQuantization>],
    inputs: &[Vec<f32>],
    judged: &[TensorId],
) -> Vec<Vec<f32>> {
    let round = |id: TensorId, mut values: Vec<f32>| {
        if let Some(quantization) = plan[id] {
            quantization.round_trip(&mut values);
        }
        values
    };
    let mut values = vec![Vec::new(); graph.tensors.len()];
    for (port, input) in graph.inputs.iter().zip(inputs) {
        values[port.tensor] = round(port.tensor, input.clone());
    }
    for node in &graph.nodes {
        let inputs: Vec<&[f32]> = node
            .inputs
            .iter()
            .map(|&id| values[id].as_slice())
            .collect();
        values[node.output] = round(node.output, evaluate(graph, node, &inputs));
    }
    judged
        .iter()
        .map(|&id| std::mem::take(&mut values[id]))
        .collect()
}

/// Activations that share one quantization, and what was measured of each group.
struct Groups {
    /// The group's name for each tensor: its first member.
    roots: Vec<TensorId>,
    histograms: Vec<Histogram>,
}

impl Groups {
    fn new(graph: &Graph, statistics: &Statistics) -> Self {
        let mut ties = Ties::new(graph.tensors.len());
        for node in graph.nodes.iter().filter(|node| keeps_codes(&node.op)) {
            for &input in &node.inputs {
                ties.join(input, node.output);
            }
        }
        let roots: Vec<TensorId> = (0..graph.tensors.len()).map(|id| ties.root(id)).collect();
        let mut histograms = vec![Histogram::default(); graph.tensors.len()];
        for (id, tensor) in statistics.tensors.iter().enumerate() {
            histograms[roots[id]].merge(tensor.histogram.clone());
        }
        Self { roots, histograms }
    }

    /// Each activation's quantization, and the least signal-to-noise ratio that it leaves a layer.
    fn plan(
        &self,
        graph: &Graph,
        statistics: &Statistics,
        norm: f64,
    ) -> Vec<Option<(ActivationQuantization, f64)>> {
        let roots = &self.roots;
        let chosen: Vec<_> = (0..graph.tensors.len())
            .into_par_iter()
            .map(|root| {
                let quantized = roots[root] == root && !stays_float(graph, roots, root);
                let histogram = &self.histograms[root];
                let chosen =
                    quantized.then(|| ActivationQuantization::least_error(histogram, norm))?;
                let db = worst_sqnr_db(graph, statistics, roots, root, chosen.noise(histogram));
                Some((chosen, db))
            })
            .collect();
        roots.iter().map(|&root| chosen[root]).collect()
    }
}

/// The least signal-to-noise ratio that codes with a squared error of `noise` leave at the output
/// of a layer that reads them. A channel that is small beside others drowns in their step size:
/// what counts is whether a layer reads it.
fn worst_sqnr_db(
    graph: &Graph,
    statistics: &Statistics,
    roots: &[TensorId],
    root: TensorId,
    noise: f64,
) -> f64 {
    let readers = graph
        .nodes
        .iter()
        .filter(|node| node.inputs.iter().any(|&id| roots[id] == root));
    readers
        .filter_map(|node| {
            let (shape, linear) = (LayerShape::of(&node.op)?, node.op.linear()?);
            let taps = TapStatistics::new(graph, statistics, node, shape);
            let signal = taps.output_variance(shape, linear);
            let noise = taps.output_noise(shape, linear, noise);
            (signal > 0.0).then(|| 10.0 * (signal / noise.max(f64::MIN_POSITIVE)).log10())
        })
        .fold(f64::INFINITY, f64::min)
}

/// Operators whose output has the codes of their input.
fn keeps_codes(op: &Op) -> bool {
    matches!(
        op,
        Op::MaxPool2d { .. }
            | Op::Concat { .. }
            | Op::Pad { .. }
            | Op::Slice { .. }
            | Op::Transpose { .. }
            | Op::Resize { .. }
            | Op::Reshape
    )
}

/// Accumulators that leave the network, or only feed a softmax, lose nothing as `f32`; the
/// output of a softmax is `f32` by itself.
fn stays_float(graph: &Graph, roots: &[TensorId], root: TensorId) -> bool {
    let in_group = |id: &TensorId| roots[*id] == root;
    let mut producers = graph
        .nodes
        .iter()
        .filter(|n| in_group(&n.output) && !keeps_codes(&n.op));
    let mut consumers = graph
        .nodes
        .iter()
        .filter(|n| n.inputs.iter().any(in_group) && !keeps_codes(&n.op));
    let is_input = graph.inputs.iter().any(|port| in_group(&port.tensor));
    let of_softmax = graph
        .nodes
        .iter()
        .any(|n| in_group(&n.output) && n.op == Op::Softmax);
    of_softmax
        || !is_input
            && producers.all(|n| n.op.linear().is_some())
            && consumers.all(|n| n.op == Op::Softmax)
}

/// Union-find over tensors.
struct Ties(Vec<TensorId>);

impl Ties {
    fn new(tensors: usize) -> Self {
        Self((0..tensors).collect())
    }

    fn root(&self, mut id: TensorId) -> TensorId {
        while self.0[id] != id {
            id = self.0[id];
        }
        id
    }

    fn join(&mut self, a: TensorId, b: TensorId) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b)] = a.min(b);
    }
}
