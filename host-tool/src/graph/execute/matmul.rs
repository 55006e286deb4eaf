//! Matrix products, on one thread.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

/// A row-major matrix inside a slice: row `r` starts at `r * stride`.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) data: &'a [f32],
    pub(super) stride: usize,
}

/// `out[r][n] += sum_k a[r][k] * weights[n][k]` for `rows` rows.
pub(super) fn accumulate(
    out: &mut [f32],
    out_stride: usize,
    a: Rows<'_>,
    weights: Rows<'_>,
    [rows, columns, depth]: [usize; 3],
) {
    // faer 0.24's `from_row_major_slice_with_stride_mut` mixes up the strides: go by columns.
    let out = MatMut::from_column_major_slice_with_stride_mut(out, columns, rows, out_stride);
    let a = MatRef::from_row_major_slice_with_stride(a.data, rows, depth, a.stride);
    let weights =
        MatRef::from_row_major_slice_with_stride(weights.data, columns, depth, weights.stride);
    matmul(
        out.transpose_mut(),
        Accum::Add,
        a,
        weights.transpose(),
        1.0,
        Par::Seq,
    );
}
