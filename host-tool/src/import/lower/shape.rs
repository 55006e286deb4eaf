//! Operators that move, cut or join: axes, slices, padding, concatenation.

use super::Lowering;
use super::layout::Lowered;
use crate::graph::Op;
use edgeprune_format::manifest::MAX_NODE_INPUTS;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::Downsample;
use tract_onnx::tract_core::ops::array::{Pad, PadMode, Slice};
use tract_onnx::tract_hir::internal::*;

/// Most elements that a package pads one side of an axis by.
const MAX_PAD: usize = u16::MAX as usize;

/// Greatest step of a slice in a package.
const MAX_STEP: usize = u16::MAX as usize;

impl Lowering<'_> {
    pub(super) fn axis_op(&mut self, node: &TypedNode, op: &AxisOp) -> Result<Lowered, String> {
        let mut value = self.input(node, 0)?;
        match op {
            AxisOp::Add(axis) => value.add_axis(*axis),
            AxisOp::Rm(axis) => {
                value.axes.remove(*axis);
            }
            AxisOp::Move(from, to) => value.move_axis(*from, *to),
            AxisOp::Reshape(at, from, to) => {
                let to: Vec<usize> = to
                    .iter()
                    .map(|dim| dim.to_usize().map_err(|_| "a dimension is not fixed"))
                    .collect::<Result<_, _>>()?;
                return Ok(self.reshape(node, &value, *at, from.len(), &to));
            }
        }
        Ok(value)
    }

    fn reshape(
        &mut self,
        node: &TypedNode,
        value: &Lowered,
        at: usize,
        from: usize,
        to: &[usize],
    ) -> Lowered {
        if let Some(reshaped) = value.reshape(at, from, to) {
            return reshaped;
        }
        let ordered = self.builder.put_row_major(value, &node.name);
        let mut dims = ordered.dims();
        dims.splice(at..at + from, to.iter().copied());
        Lowered::row_major(ordered.tensor, &dims)
    }

    pub(super) fn full_reshape(&mut self, node: &TypedNode) -> Result<Lowered, String> {
        let value = self.input(node, 0)?;
        let dims = self.dims(node.id.into())?;
        Ok(self.reshape(node, &value, 0, value.axes.len(), &dims))
    }

    /// An operator that changes nothing once shapes are known.
    pub(super) fn identity(&mut self, node: &TypedNode) -> Result<Lowered, String> {
        let mut value = self.input(node, 0)?;
        let dims = self.dims(node.id.into())?;
        while value.axes.len() < dims.len() {
            value.add_axis(0);
        }
        if value.dims() == dims {
            Ok(value)
        } else {
            Err("it repeats its input".into())
        }
    }

    pub(super) fn concat(&mut self, node: &TypedNode, axis: usize) -> Result<Lowered, String> {
        let values = (0..node.inputs.len())
            .map(|slot| self.input(node, slot))
            .collect::<Result<Vec<_>, _>>()?;
        let widest = values
            .iter()
            .max_by_key(|value| value.dim(axis))
            .ok_or("nothing to join")?;
        let dims = self.dims(node.id.into())?;
        let (parts, join) = self.axis_outermost(widest, axis);
        let parts = [parts[0].as_slice(), &parts[1], &parts[2]];
        let mut tensors = Vec::new();
        for value in &values {
            tensors.push(self.builder.arrange_axes(value, parts, &node.name));
        }
        let tensor = self.join(node, join, &tensors);
        Ok(Lowered::ordered(tensor, &dims, &parts.concat()))
    }

    /// Concatenation, nested where there are more tensors than one node can have.
    fn join(&mut self, node: &TypedNode, axis: usize, tensors: &[usize]) -> usize {
        if let &[one] = tensors {
            return one;
        }
        if tensors.len() > MAX_NODE_INPUTS {
            let per = tensors.len().div_ceil(MAX_NODE_INPUTS);
            let nested: Vec<usize> = tensors
                .chunks(per)
                .map(|chunk| self.join(node, axis, chunk))
                .collect();
            return self.join(node, axis, &nested);
        }
        let mut shape = self.builder.graph.shape(tensors[0]);
        shape[axis] = tensors
            .iter()
            .map(|&id| self.builder.graph.shape(id)[axis])
            .sum();
        self.builder
            .node(&node.name, Op::Concat { axis }, tensors.to_vec(), shape)
    }

    /// Parts of a tensor such that `axis` is the outermost in one of them, and which.
    fn axis_outermost(&self, value: &Lowered, axis: usize) -> ([Vec<usize>; 3], usize) {
        let composition = value.composition(self.builder.graph.shape(value.tensor));
        if let Some(mut parts) = composition {
            if let Some(part) = parts.iter().position(|part| part.first() == Some(&axis)) {
                return (parts, part + 1);
            }
            let free = (0..3).rev().find(|&part| parts[part].is_empty());
            if let (1, Some(part)) = (value.dim(axis), free) {
                parts[part].push(axis);
                return (parts, part + 1);
            }
        }
        let rank = value.axes.len();
        (
            [(0..axis).collect(), vec![axis], (axis + 1..rank).collect()],
            2,
        )
    }

    /// A tensor with `axis` alone in one dimension, its parts, and the dimension.
    fn isolated(
        &mut self,
        node: &TypedNode,
        value: &Lowered,
        axis: usize,
    ) -> (usize, [Vec<usize>; 3], usize) {
        let (mut parts, mut at) = self.axis_outermost(value, axis);
        if parts[at - 1].len() > 1 {
            let rank = value.axes.len();
            parts = [(0..axis).collect(), vec![axis], (axis + 1..rank).collect()];
            at = 2;
        }
        let tensor =
            self.builder
                .arrange_axes(value, [&parts[0], &parts[1], &parts[2]], &node.name);
        (tensor, parts, at)
    }

    fn take(
        &mut self,
        node: &TypedNode,
        axis: usize,
        start: usize,
        step: usize,
    ) -> Result<Lowered, String> {
        let value = self.input(node, 0)?;
        let dims = self.dims(node.id.into())?;
        if step > MAX_STEP {
            return Err(format!("a step of {step} elements (at most {MAX_STEP})"));
        }
        let (input, parts, at) = self.isolated(node, &value, axis);
        let mut shape = self.builder.graph.shape(input);
        shape[at] = dims[axis];
        let (mut starts, mut steps) = ([0; 3], [1; 3]);
        starts[at - 1] = start;
        steps[at - 1] = step;
        let op = Op::Slice {
            start: starts,
            step: steps,
        };
        let tensor = self.builder.node(&node.name, op, vec![input], shape);
        Ok(Lowered::ordered(tensor, &dims, &parts.concat()))
    }

    pub(super) fn slice(&mut self, node: &TypedNode, op: &Slice) -> Result<Lowered, String> {
        let start = op
            .start
            .to_usize()
            .map_err(|_| "a start that is not fixed")?;
        self.take(node, op.axis, start, 1)
    }

    pub(super) fn downsample(
        &mut self,
        node: &TypedNode,
        op: &Downsample,
    ) -> Result<Lowered, String> {
        let step = usize::try_from(op.stride).map_err(|_| "a backward step")?;
        self.take(node, op.axis, op.modulo, step)
    }

    pub(super) fn pad(&mut self, node: &TypedNode, op: &Pad) -> Result<Lowered, String> {
        let PadMode::Constant(constant) = &op.mode else {
            return Err("padding by reflection or repetition".into());
        };
        let fill = constant
            .cast_to_scalar::<f32>()
            .map_err(|error| error.to_string())?;
        let value = self.input(node, 0)?;
        self.padded(node, &value, &op.pads, fill)
    }

    /// Pads each axis of a value (before, after).
    pub(super) fn padded(
        &mut self,
        node: &TypedNode,
        value: &Lowered,
        pads: &[(usize, usize)],
        fill: f32,
    ) -> Result<Lowered, String> {
        let mut value = value.clone();
        for (axis, &(before, after)) in pads.iter().enumerate() {
            if before + after == 0 {
                continue;
            }
            if before > MAX_PAD || after > MAX_PAD {
                return Err(format!(
                    "padding by {} elements (at most {MAX_PAD})",
                    before.max(after)
                ));
            }
            let (input, parts, at) = self.isolated(node, &value, axis);
            let mut dims = value.dims();
            dims[axis] += before + after;
            let mut shape = self.builder.graph.shape(input);
            shape[at] = dims[axis];
            let mut starts = [0; 3];
            starts[at - 1] = before;
            let op = Op::Pad {
                before: starts,
                value: fill,
            };
            let tensor = self.builder.node(&node.name, op, vec![input], shape);
            value = Lowered::ordered(tensor, &dims, &parts.concat());
        }
        Ok(value)
    }
}
