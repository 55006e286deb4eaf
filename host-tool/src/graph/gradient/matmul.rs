//! Matrix products, on one thread.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

/// A row-major matrix inside a slice, whose row `r` starts at `r * stride`.
pub(super) fn matrix(data: &[f32], stride: usize, [rows, columns]: [usize; 2]) -> MatRef<'_, f32> {
    MatRef::from_row_major_slice_with_stride(data, rows, columns, stride)
}

/// `out = a * b` or `out += a * b`, where row `r` of `out` starts at `r * stride`.
pub(super) fn multiply(
    (out, stride): (&mut [f32], usize),
    a: MatRef<'_, f32>,
    b: MatRef<'_, f32>,
    accum: Accum,
) {
    // faer 0.24's `from_row_major_slice_with_stride_mut` mixes up the strides: go by columns.
    let out = MatMut::from_column_major_slice_with_stride_mut(out, b.ncols(), a.nrows(), stride);
    matmul(out.transpose_mut(), accum, a, b, 1.0, Par::Seq);
}
