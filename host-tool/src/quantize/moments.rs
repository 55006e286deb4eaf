//! Second moments of a layer's inputs: the curvature of its squared output error.
//!
//! With inputs `x` and a weight error `d`, the output error has variance `d^T C d`, where `C` is
//! the covariance of `x`; its mean is repaired by the bias. So the covariance, not `X X^T`, is
//! what error compensation needs.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

/// Columns of the product that one task computes. A constant, so that the split, and with it every
/// rounding, is the same whatever the number of threads.
const BLOCK: usize = 256;

/// Sums over input rows ("patches") of `k` taps.
#[derive(Clone, Debug)]
pub struct Moments {
    k: usize,
    rows: u64,
    sums: Vec<f64>,
    /// Row-major `k x k`, of which only the upper triangle is summed.
    products: Vec<f64>,
}

impl Moments {
    /// No rows yet.
    pub fn new(k: usize) -> Self {
        Self {
            k,
            rows: 0,
            sums: vec![0.0; k],
            products: vec![0.0; k * k],
        }
    }

    /// Adds rows, `[rows][k]`.
    pub fn add(&mut self, patches: &[f32]) {
        let k = self.k;
        let rows = patches.len() / k;
        self.rows += rows as u64;
        for row in patches.chunks_exact(k) {
            for (sum, &x) in self.sums.iter_mut().zip(row) {
                *sum += f64::from(x);
            }
        }
        let x = MatRef::from_row_major_slice(patches, rows, k);
        self.products
            .par_chunks_mut(BLOCK * k)
            .enumerate()
            .for_each(|(block, products)| add_block(x, block * BLOCK, products));
    }

    /// The covariance matrix, row-major `k x k`.
    pub fn covariance(mut self) -> Vec<f64> {
        let (k, n) = (self.k, (self.rows as f64).max(1.0));
        for i in 0..k {
            for j in i..k {
                let value = self.products[i * k + j] / n - self.sums[i] / n * (self.sums[j] / n);
                self.products[i * k + j] = value;
                self.products[j * k + i] = value;
            }
        }
        self.products
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
