//! Second moments of a layer's inputs: the curvature of its squared output error.
//!
//! With inputs `x` and a weight error `d`, the output error has variance `d^T C d`, where `C` is
//! the covariance of `x`; its mean is repaired by the bias. So the covariance, not `X X^T`, is
//! what error compensation needs.

use super::LayerShape;
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

/// Columns of the product that one task computes. A constant, so that the split, and with it every
/// rounding, is the same whatever the number of threads.
const BLOCK: usize = 256;

/// Sums over the input rows ("patches") of each group of a layer.
#[derive(Clone, Debug)]
pub struct Moments {
    k: usize,
    rows: Vec<u64>,
    sums: Vec<f64>,
    /// Per group a `k x k` matrix, of which only the upper triangle is summed.
    products: Vec<f64>,
}

impl Moments {
    /// No rows yet.
    pub fn new(shape: LayerShape) -> Self {
        Self {
            k: shape.k,
            rows: vec![0; shape.groups],
            sums: vec![0.0; shape.groups * shape.k],
            products: vec![0.0; shape.groups * shape.k * shape.k],
        }
    }

    /// Adds rows (`[rows][k]`) of one group.
    pub fn add(&mut self, group: usize, patches: &[f32]) {
        let k = self.k;
        let rows = patches.len() / k;
        self.rows[group] += rows as u64;
        let sums = &mut self.sums[group * k..(group + 1) * k];
        for row in patches.chunks_exact(k) {
            for (sum, &x) in sums.iter_mut().zip(row) {
                *sum += f64::from(x);
            }
        }
        let products = &mut self.products[group * k * k..(group + 1) * k * k];
        let x = MatRef::from_row_major_slice(patches, rows, k);
        products
            .par_chunks_mut(BLOCK * k)
            .enumerate()
            .for_each(|(block, products)| add_block(x, block * BLOCK, products));
    }

    /// The covariance matrix of one group, row-major `k x k`.
    pub fn covariance(&self, group: usize) -> Vec<f64> {
        let k = self.k;
        let n = (self.rows[group] as f64).max(1.0);
        let sums = &self.sums[group * k..(group + 1) * k];
        let products = &self.products[group * k * k..(group + 1) * k * k];
        let mut covariance = vec![0.0; k * k];
        for i in 0..k {
            for j in i..k {
                let value = products[i * k + j] / n - sums[i] / n * (sums[j] / n);
                covariance[i * k + j] = value;
                covariance[j * k + i] = value;
            }
        }
        covariance
    }
}

/// Adds rows `first..` of `X^T X`, right of the diagonal, to `products`.
fn add_block(x: MatRef<'_, f32>, first: usize, products: &mut [f64]) {
    let k = x.ncols();
    let height = products.len() / k;
    let width = k - first;
    let mut block = vec![0f32; height * width];
    matmul(
        MatMut::from_row_major_slice_mut(&mut block, height, width),
        Accum::Replace,
        x.subcols(first, height).transpose(),
        x.subcols(first, width),
        1.0,
        Par::Seq,
    );
    for (sums, row) in products.chunks_exact_mut(k).zip(block.chunks_exact(width)) {
        for (sum, &value) in sums[first..].iter_mut().zip(row) {
            *sum += f64::from(value);
        }
    }
}
