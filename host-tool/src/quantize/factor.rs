//! Inverses of covariance matrices that few samples leave singular.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt;
use faer::linalg::triangular_inverse::invert_lower_triangular;
use faer::{Mat, MatMut, Par};

/// Matrices of this many rows are factored in parallel, by this many tasks. A constant, so that the split, and
/// with it every rounding, is the same whatever the number of threads.
const LARGE: usize = 768;
const TASKS: usize = 4;

/// What is added to the diagonal of a row-major `k x k` covariance for a damping that is a share of its
/// mean.
pub(crate) fn ridge(covariance: &[f64], k: usize, damping: f64) -> f64 {
    let mean = covariance.iter().step_by(k + 1).sum::<f64>() / k as f64;
    if mean > 0.0 { mean * damping } else { 1.0 }
}

/// `L^-1` of `matrix(ridge) = L L^T`. A matrix that rounding made indefinite gets a greater ridge.
pub(crate) fn inverse_factor(matrix: impl Fn(f64) -> Mat<f64>, mut ridge: f64) -> Mat<f64> {
    loop {
        let mut matrix = matrix(ridge);
        let k = matrix.nrows();
        let tasks = match k {
            0..LARGE => Par::Seq,
            _ => Par::rayon(TASKS),
        };
        if factor(matrix.as_mut(), tasks) {
            let mut inverse = Mat::zeros(k, k);
            invert_lower_triangular(inverse.as_mut(), matrix.as_ref(), tasks);
            return inverse;
        }
        ridge *= 2.0;
    }
}

/// Cholesky's factor in place of the lower triangle; whether there is one.
fn factor(matrix: MatMut<'_, f64>, tasks: Par) -> bool {
    let parameters = Default::default();
    let scratch = llt::factor::cholesky_in_place_scratch::<f64>(matrix.nrows(), tasks, parameters);
    let mut memory = MemBuffer::new(scratch);
    let stack = MemStack::new(&mut memory);
    llt::factor::cholesky_in_place(matrix, Default::default(), tasks, stack, parameters).is_ok()
}
