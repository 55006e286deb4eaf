//! Which activations become int8, with which scale; which stay `f32`.

use super::{ActivationQuantization, LayerShape, TapStatistics};
use crate::calibrate::{Histogram, Statistics};
use crate::graph::{Graph, Op, TensorId};

/// Codes that are noisier than this, for a layer that reads them, are not used: the activation
/// stays `f32`.
pub const LEAST_SQNR_DB: f64 = 10.0;

/// One entry per tensor: its quantization, or `None` where it stays `f32`.
pub fn plan(graph: &Graph, statistics: &Statistics) -> Vec<Option<ActivationQuantization>> {
    let mut ties = Ties::new(graph.tensors.len());
    for node in &graph.nodes {
        if keeps_codes(&node.op) {
            for &input in &node.inputs {
                ties.join(input, node.output);
            }
        }
    }
    let roots: Vec<TensorId> = (0..graph.tensors.len()).map(|id| ties.root(id)).collect();
    let mut histograms = vec![Histogram::default(); graph.tensors.len()];
    for (id, tensor) in statistics.tensors.iter().enumerate() {
        histograms[roots[id]].merge(tensor.histogram.clone());
    }
    let chosen: Vec<_> = (0..graph.tensors.len())
        .map(|root| {
            let quantized = roots[root] == root && !stays_float(graph, &roots, root);
            let chosen =
                quantized.then(|| ActivationQuantization::least_error(&histograms[root]))?;
            let noise = chosen.noise(&histograms[root]);
            let db = worst_sqnr_db(graph, statistics, &roots, root, noise);
            (db >= LEAST_SQNR_DB).then_some(chosen)
        })
        .collect();
    roots.iter().map(|&root| chosen[root]).collect()
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
