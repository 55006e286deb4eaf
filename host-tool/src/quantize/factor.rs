//! Inverses of covariance matrices that few samples leave singular.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt;
use faer::linalg::triangular_inverse::invert_lower_triangular;
use faer::{Mat, MatMut, Par};

/// Matrices of this many rows are factored in parallel, by this many tasks. A constant, so that the split, and
/// with it every rounding, is the same whatever the number of threads.
const LARGE: usize = 768;
const TASKS: usize = 4;

/// Times that a ridge is doubled. One of 1 % of the mean variance is by then 10^13 times the mean: more than any sum of
/// covariances.
const MAX_DOUBLINGS: i32 = 50;

/// What is added to the diagonal of a row-major `k x k` covariance for a damping that is a share of its
/// mean.
pub(crate) fn ridge(covariance: &[f64], k: usize, damping: f64) -> f64 {
    let mean = covariance.iter().step_by(k + 1).sum::<f64>() / k as f64;
    let ridge = mean * damping;
    if ridge.is_normal() && ridge > 0.0 {
        ridge
    } else {
        1.0
    }
}

/// `L^-1` of the `k x k` matrix `matrix(ridge) = L L^T`. A matrix that rounding made indefinite gets a greater ridge. A
/// finite one is positive definite long before the last; what is not finite gives the factor of the ridge alone.
pub(crate) fn inverse_factor(matrix: impl Fn(f64) -> Mat<f64>, k: usize, ridge: f64) -> Mat<f64> {
    let tasks = match k {
        0..LARGE => Par::Seq,
        _ => Par::rayon(TASKS),
    };
    for doublings in 0..MAX_DOUBLINGS {
        let mut matrix = matrix(ridge * f64::from(doublings).exp2());
        if factor(matrix.as_mut(), tasks) {
            let mut inverse = Mat::zeros(k, k);
            invert_lower_triangular(inverse.as_mut(), matrix.as_ref(), tasks);
            return inverse;
        }
    }
    let diagonal = if ridge.is_normal() {
        ridge.sqrt().recip()
    } else {
        1.0
    };
    Mat::from_fn(k, k, |i, j| if i == j { diagonal } else { 0.0 })
}

/// Cholesky's factor in place of the lower triangle; whether there is one.
fn factor(matrix: MatMut<'_, f64>, tasks: Par) -> bool {
    let parameters = Default::default();
    let scratch = llt::factor::cholesky_in_place_scratch::<f64>(matrix.nrows(), tasks, parameters);
    let mut memory = MemBuffer::new(scratch);
    let stack = MemStack::new(&mut memory);
    llt::factor::cholesky_in_place(matrix, Default::default(), tasks, stack, parameters).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn damped(values: &[f64], k: usize) -> impl Fn(f64) -> Mat<f64> {
        move |ridge| {
            Mat::from_fn(k, k, |i, j| {
                values[i * k + j] + if i == j { ridge } else { 0.0 }
            })
        }
    }

    #[test]
    fn an_indefinite_matrix_gets_a_greater_ridge() {
        let values = [1.0, 2.0, 2.0, 1.0];
        let inverse = inverse_factor(damped(&values, 2), 2, ridge(&values, 2, 0.01));
        assert!((0..2).all(|i| inverse[(i, i)].is_finite() && inverse[(i, i)] > 0.0));
    }

    #[test]
    fn what_is_not_finite_ends() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX] {
            let values = [bad, 0.5, 0.5, 1.0];
            let ridge = ridge(&values, 2, 0.01);
            let inverse = inverse_factor(damped(&values, 2), 2, ridge);
            assert!(
                (0..2).all(|i| inverse[(i, i)].is_finite()),
                "{bad}: {inverse:?}"
            );
        }
    }
}
