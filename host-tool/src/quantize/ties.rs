//! Activations that share one quantization, since an operator between them only moves their codes.

use crate::calibrate::{Histogram, Statistics};
use crate::graph::{Graph, Node, Op, TensorId};

/// An activation shares the scale of what it is joined with, or cut from, if its own range is at least this
/// share of the whole's: two bits. Below, it is requantized where it is copied.
const LEAST_SHARE: f32 = 0.25;

/// Union-find over tensors.
#[derive(Clone, Debug)]
pub(super) struct Ties(Vec<TensorId>);

impl Ties {
    /// The ties of a network whose activations have these ranges.
    pub(super) fn new(graph: &Graph, statistics: &Statistics) -> Self {
        let mut ties = Self((0..graph.tensors.len()).collect());
        let span = |id: TensorId| {
            let histogram: &Histogram = &statistics.tensors[id].histogram;
            histogram.max() - histogram.min()
        };
        for node in graph.nodes.iter().filter(|node| keeps_codes(&node.op)) {
            for &input in &node.inputs {
                if shares_scale(node, span(input), span(node.output)) {
                    ties.join(input, node.output);
                }
            }
        }
        ties
    }

    /// Each tensor's group, by its first member.
    pub(super) fn roots(&self) -> Vec<TensorId> {
        (0..self.0.len()).map(|id| self.root(id)).collect()
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

/// Whether one scale serves an operator's input and output, which span these ranges.
fn shares_scale(node: &Node, input: f32, output: f32) -> bool {
    match node.op {
        Op::Concat { .. } | Op::Slice { .. } => {
            input.min(output) >= LEAST_SHARE * input.max(output)
        }
        _ => true,
    }
}

/// Operators whose output has the codes of their input, or could have.
pub(crate) fn keeps_codes(op: &Op) -> bool {
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
