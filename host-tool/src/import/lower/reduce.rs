//! Reductions and the softmax.

use super::Lowering;
use super::layout::Lowered;
use crate::graph::{Activation, BinaryKind, Linear, Op, POINT, UnaryKind};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::nn::{Reduce, Reducer, RmsNorm, Softmax, SoftmaxKind};

impl Lowering<'_> {
    pub(super) fn reduce(&mut self, node: &TypedNode, op: &Reduce) -> Result<Lowered, String> {
        let value = self.input(node, 0)?;
        let count: usize = op.axes.iter().map(|&axis| value.dim(axis)).product();
        match op.reducer {
            Reducer::Sum => {
                let mean = self.mean(node, &value, &op.axes);
                Ok(self.map(
                    node,
                    &mean,
                    UnaryKind::Affine {
                        a: count as f32,
                        b: 0.0,
                    },
                ))
            }
            Reducer::MeanOfSquares => {
                let squares = self.map(node, &value, UnaryKind::Square);
                Ok(self.mean(node, &squares, &op.axes))
            }
            Reducer::Max => self.maximum(node, &value, &op.axes),
            other => Err(format!("reduction {other:?}")),
        }
    }

    /// Appends an element-wise function.
    pub(super) fn map(&mut self, node: &TypedNode, value: &Lowered, kind: UnaryKind) -> Lowered {
        let tensor = self
            .builder
            .same_shape(&node.name, Op::Unary { kind }, vec![value.tensor]);
        value.with_tensor(tensor)
    }

    /// Over leading atoms a mean over height and width, over trailing ones a matrix product.
    fn mean(&mut self, node: &TypedNode, value: &Lowered, axes: &[usize]) -> Lowered {
        let (reduced, kept) = partition(value, axes);
        let count = value.size_of(&reduced);
        let trailing = !reduced.is_empty() && reduced.iter().all(|&atom| atom >= kept.len());
        let tensor = if trailing && !kept.is_empty() {
            let order = [kept.as_slice(), &reduced].concat();
            let old = self.builder.graph.shape(value.tensor);
            let in_place = order.iter().copied().eq(0..order.len()) && old[3] == count;
            let shape = match in_place {
                true => old,
                false => [1, 1, value.size_of(&kept), count],
            };
            let input = self.builder.arrange(value, &order, shape, &node.name);
            let linear = Linear {
                shape: [1, 1, 1, count],
                weights: vec![1.0 / count as f32; count],
                bias: vec![0.0],
                activation: Activation::None,
            };
            let op = Op::FullyConnected { linear };
            self.builder
                .node(&node.name, op, vec![input], [1, shape[1], shape[2], 1])
        } else {
            let input = self.leading(node, value, &reduced, &kept);
            let channels = value.size_of(&kept);
            self.builder
                .node(&node.name, Op::Mean, vec![input], [1, 1, 1, channels])
        };
        without(value, axes, &kept, tensor)
    }

    /// `x / sqrt(mean(x^2) + eps)`.
    pub(super) fn rms_norm(&mut self, node: &TypedNode, op: &RmsNorm) -> Result<Lowered, String> {
        let value = self.input(node, 0)?;
        let b = op
            .eps
            .cast_to_scalar::<f32>()
            .map_err(|error| error.to_string())?;
        let squares = self.map(node, &value, UnaryKind::Square);
        let mean = self.mean(node, &squares, &[op.axis]);
        let mean = self.map(node, &mean, UnaryKind::Affine { a: 1.0, b });
        let factor = self.map(node, &mean, UnaryKind::Rsqrt);
        self.two(node, BinaryKind::Mul, &value, &factor)
    }

    fn maximum(
        &mut self,
        node: &TypedNode,
        value: &Lowered,
        axes: &[usize],
    ) -> Result<Lowered, String> {
        let (reduced, kept) = partition(value, axes);
        let input = self.leading(node, value, &reduced, &kept);
        let shape = self.builder.graph.shape(input);
        let mut window = POINT;
        for i in 0..2 {
            window.kernel[i] =
                u16::try_from(shape[i + 1]).map_err(|_| "a maximum over too many elements")?;
        }
        let op = Op::MaxPool2d { window };
        let tensor = self
            .builder
            .node(&node.name, op, vec![input], [1, 1, 1, shape[3]]);
        Ok(without(value, axes, &kept, tensor))
    }

    /// The reduced atoms as height and width, the others as channels.
    fn leading(
        &mut self,
        node: &TypedNode,
        value: &Lowered,
        reduced: &[usize],
        kept: &[usize],
    ) -> usize {
        let order = [reduced, kept].concat();
        let shape = self.builder.graph.shape(value.tensor);
        let fits = order.iter().copied().eq(0..order.len()) && shape[3] == value.size_of(kept);
        let shape = match fits {
            true => shape,
            false => [1, 1, value.size_of(reduced), value.size_of(kept)],
        };
        self.builder.arrange(value, &order, shape, &node.name)
    }

    pub(super) fn softmax(&mut self, node: &TypedNode, op: &Softmax) -> Result<Lowered, String> {
        let value = self.input(node, 0)?;
        let (axes, kept) = partition(&value, &op.axes);
        let order = [kept.as_slice(), &axes].concat();
        let channels = value.size_of(&axes);
        let old = self.builder.graph.shape(value.tensor);
        let in_place = order.iter().copied().eq(0..order.len());
        let shape = match in_place && old[3] == channels {
            true => old,
            false => [1, 1, value.size_of(&kept), channels],
        };
        let input = self.builder.arrange(&value, &order, shape, &node.name);
        let tensor = self
            .builder
            .same_shape(&node.name, Op::Softmax, vec![input]);
        let result = reordered(&value, &order, tensor);
        match op.kind {
            SoftmaxKind::Softmax => Ok(result),
            SoftmaxKind::LogSoftmax => Ok(self.map(node, &result, UnaryKind::Log)),
        }
    }
}

/// The atoms of some axes, and the others, each in the order of the elements.
fn partition(value: &Lowered, axes: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let chosen = value.atoms_of(axes);
    (0..value.atoms.len()).partition(|atom| chosen.contains(atom))
}

/// The value after `axes` were reduced to 1; `kept` are the other atoms in the order of `tensor`.
fn without(value: &Lowered, axes: &[usize], kept: &[usize], tensor: usize) -> Lowered {
    let mut out = value.clone();
    axes.iter().for_each(|&axis| out.axes[axis].clear());
    reordered(&out, kept, tensor)
}

/// The value after its atoms were put into `order` in `tensor`.
pub(super) fn reordered(value: &Lowered, order: &[usize], tensor: usize) -> Lowered {
    let place = |atom: &usize| order.iter().position(|o| o == atom);
    Lowered {
        tensor,
        atoms: order.iter().map(|&atom| value.atoms[atom]).collect(),
        axes: value
            .axes
            .iter()
            .map(|axis| axis.iter().filter_map(place).collect())
            .collect(),
    }
}
