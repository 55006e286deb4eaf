//! Constant tensors, read in any order.

use super::layout::Lowered;
use tract_onnx::prelude::*;

/// A constant as `f32`, row-major.
pub(super) struct Constant {
    pub(super) dims: Vec<usize>,
    pub(super) data: Vec<f32>,
}

impl Constant {
    /// `None` for strings and the like.
    pub(super) fn new(tensor: &Tensor) -> Option<Self> {
        let cast = tensor.cast_to::<f32>().ok()?;
        let view = cast.to_plain_array_view::<f32>().ok()?;
        Some(Self {
            dims: view.shape().to_vec(),
            data: view.iter().copied().collect(),
        })
    }

    /// The value, if all elements have the same.
    pub(super) fn uniform(&self) -> Option<f32> {
        let first = *self.data.first()?;
        self.data
            .iter()
            .all(|&value| value == first)
            .then_some(first)
    }

    /// Distance between elements along each axis, 0 along unit axes (they broadcast).
    pub(super) fn strides(&self) -> Vec<usize> {
        let mut strides = vec![0; self.dims.len()];
        let mut stride = 1;
        for (out, &dim) in strides.iter_mut().zip(&self.dims).rev() {
            if dim != 1 {
                *out = stride;
            }
            stride *= dim;
        }
        strides
    }

    /// The elements in the order of nested loops, outermost first: (size, stride) each.
    pub(super) fn gather(&self, loops: &[(usize, usize)]) -> Vec<f32> {
        gather(&self.data, loops)
    }
}

/// Elements in the order of nested loops, outermost first: (size, stride) each.
pub(super) fn gather(data: &[f32], loops: &[(usize, usize)]) -> Vec<f32> {
    let mut offsets = vec![0];
    for &(size, stride) in loops {
        offsets = offsets
            .iter()
            .flat_map(|&offset| (0..size).map(move |i| offset + i * stride))
            .collect();
    }
    offsets.into_iter().map(|offset| data[offset]).collect()
}

/// For each atom of `value` the distance in a constant whose stride along tract's axis `i` is
/// `strides[i]`.
pub(super) fn atom_strides(value: &Lowered, strides: &[usize]) -> Vec<usize> {
    let mut out = vec![0; value.atoms.len()];
    for (axis, &stride) in value.axes.iter().zip(strides) {
        let mut step = stride;
        for &atom in axis.iter().rev() {
            out[atom] = step;
            step *= value.atoms[atom];
        }
    }
    out
}
