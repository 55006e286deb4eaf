//! What a node's time depends on, as far as its package says.

use crate::Manifest;
use crate::manifest::{DType, Node, Op, TensorId, Window};
use core::fmt;

/// What nodes have in common that cost alike: the operator, its window, whether it computes in single precision. As
/// text, `conv_2d 3x3`, `conv_2d 1x1 grouped`, `add float`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    op: &'static str,
    window: Option<Window>,
    is_grouped: bool,
    is_float: bool,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.op)?;
        if let Some(Window {
            kernel: [height, width],
            ..
        }) = self.window
        {
            write!(f, " {height}x{width}")?;
        }
        f.write_str(if self.is_grouped { " grouped" } else { "" })?;
        f.write_str(if self.is_float { " float" } else { "" })
    }
}

impl Manifest<'_> {
    /// Multiply-accumulates of one node for one sample; 0 where its tensors are not in the table.
    pub fn macs(&self, node: &Node<'_>) -> u64 {
        let weights = node
            .op
            .linear()
            .and_then(|l| self.tensor(l.weights)?.elements());
        let output = self.tensor(node.output).map(|tensor| tensor.shape);
        match (weights, output) {
            (Some(weights), Some([_, height, width, _])) => (weights as u64)
                .saturating_mul(u64::from(height))
                .saturating_mul(u64::from(width)),
            _ => 0,
        }
    }

    /// Bytes of the activations and weights that one node reads and of what it writes, each counted once.
    pub fn bytes(&self, node: &Node<'_>) -> u64 {
        let weights = node.op.linear().map(|linear| linear.weights);
        let tensors = node.inputs.iter().copied().chain(weights);
        let tensors = tensors.chain([node.output]);
        tensors.fold(0, |sum, id| sum.saturating_add(self.tensor_bytes(id)))
    }

    fn tensor_bytes(&self, id: TensorId) -> u64 {
        self.tensor(id).map_or(0, |tensor| {
            let elements = tensor.elements().unwrap_or(0) as u64;
            elements.saturating_mul(tensor.dtype.size() as u64)
        })
    }

    /// Which other nodes one node costs alike.
    pub fn class(&self, node: &Node<'_>) -> Class {
        let input = node.inputs.first().and_then(|&id| self.tensor(id));
        Class {
            op: node.op.name(),
            window: match node.op {
                Op::Conv2d { window, .. }
                | Op::DepthwiseConv2d { window, .. }
                | Op::MaxPool2d { window } => Some(window),
                _ => None,
            },
            is_grouped: matches!(node.op, Op::Conv2d { groups: 2.., .. }),
            is_float: input.is_some_and(|input| input.dtype == DType::F32),
        }
    }
}
