//! Operators that move, cut or join: axes, slices, padding, concatenation, resizing.

use super::Lowering;
use super::layout::Lowered;
use crate::graph::{Op, ResizeCoordinates, ResizeKind, resize_taps};
use edgeprune_format::manifest::MAX_NODE_INPUTS;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::Downsample;
use tract_onnx::tract_core::ops::array::{Pad, PadMode, Slice};
use tract_onnx::tract_core::ops::nn::resize::{CoordTransformer, Interpolator, Nearest, Resize};
use tract_onnx::tract_hir::internal::*;

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
        let mut value = self.input(node, 0)?;
        for (axis, &(before, after)) in op.pads.iter().enumerate() {
            if before + after == 0 {
                continue;
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

    pub(super) fn resize(&mut self, node: &TypedNode, op: &Resize) -> Result<Lowered, String> {
        let value = self.input(node, 0)?;
        let (from, to) = (value.dims(), self.dims(node.id.into())?);
        let (kind, coordinates) = match op.interpolator {
            Interpolator::Nearest => {
                let source = |axis: usize| nearest_sources(op, from[axis], to[axis]);
                (
                    ResizeKind::Nearest,
                    nearest_coordinates(&from, &to, source)?,
                )
            }
            Interpolator::Linear => {
                let coordinates = match op.coord_transformer {
                    CoordTransformer::HalfPixel => ResizeCoordinates::HalfPixel,
                    CoordTransformer::PytorchHalfPixel
                        if to.iter().zip(&from).all(|(t, f)| *t > 1 || f == t) =>
                    {
                        ResizeCoordinates::HalfPixel
                    }
                    CoordTransformer::AlignCorners => ResizeCoordinates::AlignCorners,
                    CoordTransformer::Asymmetric => ResizeCoordinates::Asymmetric,
                    _ => return Err(format!("resize with {}", op.coord_transformer.as_str())),
                };
                (ResizeKind::Bilinear, coordinates)
            }
            Interpolator::Cubic => return Err("cubic resize".into()),
        };
        self.resized(node, &value, &to, Op::Resize { kind, coordinates })
    }

    pub(super) fn upsample(&mut self, node: &TypedNode) -> Result<Lowered, String> {
        let value = self.input(node, 0)?;
        let to = self.dims(node.id.into())?;
        let op = Op::Resize {
            kind: ResizeKind::Nearest,
            coordinates: ResizeCoordinates::Asymmetric,
        };
        self.resized(node, &value, &to, op)
    }

    fn resized(
        &mut self,
        node: &TypedNode,
        value: &Lowered,
        to: &[usize],
        op: Op,
    ) -> Result<Lowered, String> {
        let from = value.dims();
        let changed: Vec<usize> = (0..to.len()).filter(|&i| from[i] != to[i]).collect();
        let rank = to.len();
        let [h, w] = match (changed.as_slice(), rank) {
            ([], _) => return Ok(value.clone()),
            (&[h, w], _) => [Some(h), Some(w)],
            (&[w], _) => [None, Some(w)],
            _ => return Err("resize of more than two dimensions".into()),
        };
        let spatial: Vec<usize> = h.into_iter().chain(w).collect();
        let channels: Vec<usize> = (0..rank).filter(|axis| !spatial.contains(axis)).collect();
        let parts = [
            h.into_iter().collect::<Vec<_>>(),
            w.into_iter().collect(),
            channels,
        ];
        let input = self
            .builder
            .arrange_axes(value, [&parts[0], &parts[1], &parts[2]], &node.name);
        let size = |axes: &[usize]| axes.iter().map(|&axis| to[axis]).product::<usize>();
        let shape = [1, size(&parts[0]), size(&parts[1]), size(&parts[2])];
        let tensor = self.builder.node(&node.name, op, vec![input], shape);
        Ok(Lowered::ordered(tensor, to, &parts.concat()))
    }
}

/// The input element that each output element of a nearest-neighbour resize reads.
fn nearest_sources(op: &Resize, from: usize, to: usize) -> Vec<usize> {
    let scale = to as f32 / from as f32;
    let last = from.saturating_sub(1) as f32;
    (0..to)
        .map(|x| {
            let at = op.coord_transformer.transform(x, scale, from, to);
            let at = match op.nearest {
                Nearest::Floor => at.floor(),
                Nearest::RoundPreferCeil => (at + 0.5).floor(),
            };
            at.clamp(0.0, last) as usize
        })
        .collect()
}

/// Our coordinates that read the same elements.
fn nearest_coordinates(
    from: &[usize],
    to: &[usize],
    sources: impl Fn(usize) -> Vec<usize>,
) -> Result<ResizeCoordinates, String> {
    use ResizeCoordinates::{AlignCorners, Asymmetric, HalfPixel};
    let same = |coordinates: &ResizeCoordinates| {
        (0..from.len()).all(|axis| {
            let taps = resize_taps(ResizeKind::Nearest, *coordinates, from[axis], to[axis]);
            taps.into_iter().map(|tap| tap.0).eq(sources(axis))
        })
    };
    [Asymmetric, HalfPixel, AlignCorners]
        .into_iter()
        .find(same)
        .ok_or_else(|| "a rounding of coordinates that edgeprune does not have".into())
}
