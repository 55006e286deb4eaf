//! Weights that stay make up for those that go: per output channel the `w` that is zero outside of the
//! mask and minimises `(w - w0)^T (C + r) (w - w0)` (Hassibi & Stork, "Second Order Derivatives for Network
//! Pruning", 1993, for any number of weights at once), by conjugate gradients with Jacobi's preconditioner
//! (Shewchuk, "An Introduction to the Conjugate Gradient Method", 1994, section B3).

use super::factor::ridge;
use super::layer::LayerShape;
use crate::graph::Linear;
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;
use std::borrow::Cow;

/// Output channels that one task solves.
const LANES: usize = 64;
/// A channel is done when a step takes less than this share of its error away...
const TOLERANCE: f64 = 1e-4;
/// ...or after so many steps.
const MOST_STEPS: usize = 100;

/// A layer's weights, those outside of `mask` zero and the others the best for it; as they are if there is none.
/// `covariances` are those of each group's inputs, row-major `k x k`; `damping` as in [`super::Rounding`].
pub fn refit<'a>(
    shape: LayerShape,
    linear: &'a Linear,
    covariances: &[Vec<f64>],
    damping: f64,
    mask: Option<&[bool]>,
) -> Cow<'a, Linear> {
    let Some(mask) = mask else {
        return Cow::Borrowed(linear);
    };
    let groups: Vec<Vec<f32>> = covariances
        .par_iter()
        .enumerate()
        .map(|(group, covariance)| {
            let matrix = damped(covariance, shape.k, damping);
            let outputs: Vec<usize> = (group * shape.rows..(group + 1) * shape.rows).collect();
            let chunks = outputs.par_chunks(LANES);
            let solved =
                chunks.flat_map_iter(|outputs| solve(shape, linear, &matrix, mask, outputs));
            solved.collect()
        })
        .collect();
    let mut refit = linear.clone();
    let rows = groups.iter().flat_map(|group| group.chunks_exact(shape.k));
    for (output, row) in rows.enumerate() {
        for (tap, &weight) in row.iter().enumerate() {
            refit.weights[shape.index(output, tap)] = weight;
        }
    }
    Cow::Owned(refit)
}

/// The weights of some output channels of a group, `[row][tap]`.
fn solve(
    shape: LayerShape,
    linear: &Linear,
    matrix: &[f32],
    mask: &[bool],
    outputs: &[usize],
) -> Vec<f32> {
    let indices = || {
        let taps = |&output: &usize| (0..shape.k).map(move |tap| shape.index(output, tap));
        outputs.iter().flat_map(taps)
    };
    let dense: Vec<f32> = indices().map(|i| linear.weights[i]).collect();
    let keep: Vec<bool> = indices().map(|i| mask[i]).collect();
    Rows::new(matrix, shape.k, &dense, &keep).solve()
}

/// A covariance with damping, in units of the latter.
fn damped(covariance: &[f64], k: usize, damping: f64) -> Vec<f32> {
    let ridge = ridge(covariance, k, damping);
    let mut damped: Vec<f32> = covariance.iter().map(|v| (v / ridge) as f32).collect();
    damped.iter_mut().step_by(k + 1).for_each(|v| *v += 1.0);
    damped
}

/// Output channels that are solved together, `[row][tap]`.
struct Rows<'a> {
    matrix: &'a [f32],
    k: usize,
    diagonal: Vec<f32>,
    keep: &'a [bool],
    weights: Vec<f32>,
    residuals: Vec<f32>,
    directions: Vec<f32>,
    states: Vec<State>,
}

/// How far a row is.
#[derive(Clone, Copy)]
struct State {
    /// `(w - w0)^T (C + r) (w - w0)`.
    error: f64,
    /// Squared residual in the norm of the preconditioner.
    square: f64,
    done: bool,
}

impl<'a> Rows<'a> {
    /// From the dense weights without those that go.
    fn new(matrix: &'a [f32], k: usize, dense: &[f32], keep: &'a [bool]) -> Self {
        let kept = |(&weight, &keep): (&f32, &bool)| if keep { weight } else { 0.0 };
        let weights: Vec<f32> = dense.iter().zip(keep).map(kept).collect();
        let gone: Vec<f32> = dense
            .iter()
            .zip(&weights)
            .map(|(w, kept)| w - kept)
            .collect();
        let residuals = product(&gone, matrix, k);
        let errors = gone.chunks_exact(k).zip(residuals.chunks_exact(k));
        let state = |(gone, residuals)| State {
            error: dot(gone, residuals),
            square: 0.0,
            done: false,
        };
        let mut rows = Self {
            matrix,
            k,
            diagonal: matrix.iter().step_by(k + 1).copied().collect(),
            keep,
            directions: vec![0.0; weights.len()],
            states: errors.map(state).collect(),
            residuals,
            weights,
        };
        (0..rows.states.len()).for_each(|row| rows.turn(row));
        rows
    }

    fn solve(mut self) -> Vec<f32> {
        for _ in 0..MOST_STEPS {
            if self.states.iter().all(|state| state.done) {
                break;
            }
            let products = product(&self.directions, self.matrix, self.k);
            for (row, products) in products.chunks_exact(self.k).enumerate() {
                if !self.states[row].done {
                    self.step(row, products);
                }
            }
        }
        self.weights
    }

    /// One step of a row, whose direction times the matrix is `products`.
    fn step(&mut self, row: usize, products: &[f32]) {
        let range = row * self.k..(row + 1) * self.k;
        let curvature = dot(&self.directions[range.clone()], products);
        let state = &mut self.states[row];
        if curvature <= 0.0 {
            state.done = true;
            return;
        }
        let length = state.square / curvature;
        let gain = length * state.square;
        state.done = gain <= TOLERANCE * state.error;
        state.error -= gain;
        for (tap, i) in range.enumerate() {
            self.weights[i] += length as f32 * self.directions[i];
            self.residuals[i] -= length as f32 * products[tap];
        }
        self.turn(row);
    }

    /// Takes the next direction of a row, conjugate to those before.
    fn turn(&mut self, row: usize) {
        let range = row * self.k..(row + 1) * self.k;
        let residuals = &mut self.residuals[range.clone()];
        for (residual, &keep) in residuals.iter_mut().zip(&self.keep[range.clone()]) {
            *residual *= f32::from(u8::from(keep));
        }
        let scaled: Vec<f32> = residuals
            .iter()
            .zip(&self.diagonal)
            .map(|(r, d)| r / d)
            .collect();
        let square = dot(residuals, &scaled);
        let before = std::mem::replace(&mut self.states[row].square, square);
        let share = if before > 0.0 {
            (square / before) as f32
        } else {
            0.0
        };
        for (direction, scaled) in self.directions[range].iter_mut().zip(scaled) {
            *direction = scaled + share * *direction;
        }
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    let products = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b));
    products.sum()
}

/// Rows times a symmetric matrix.
fn product(rows: &[f32], matrix: &[f32], k: usize) -> Vec<f32> {
    let mut products = vec![0.0; rows.len()];
    let count = rows.len() / k;
    matmul(
        MatMut::from_row_major_slice_mut(&mut products, count, k),
        Accum::Replace,
        MatRef::from_row_major_slice(rows, count, k),
        MatRef::from_row_major_slice(matrix, k, k),
        1.0,
        Par::Seq,
    );
    products
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Activation, Op};
    use crate::quantize::{Compensator, Moments, Rounding};
    use faer::Mat;
    use faer::linalg::solvers::Solve;
    use proptest::prelude::*;

    const DAMPING: f64 = 0.02;

    /// A layer, the covariance of inputs that have something in common, and a mask.
    fn problem(out: usize, k: usize, seed: u64) -> (Op, Vec<f64>, Vec<bool>) {
        let mut state = seed;
        let mut next = move || {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        };
        let linear = Linear {
            shape: [out, 1, 1, k],
            weights: (0..out * k).map(|_| next()).collect(),
            bias: vec![0.0; out],
            activation: Activation::None,
        };
        let mut moments = Moments::new(k);
        for _ in 0..3 * k {
            let common = next();
            moments.add(&(0..k).map(|_| common + 0.3 * next()).collect::<Vec<_>>());
        }
        let mask = (0..out * k).map(|_| next() > 0.0).collect();
        (Op::FullyConnected { linear }, moments.covariance(), mask)
    }

    fn refit_of(op: &Op, covariance: &[f64], mask: &[bool]) -> Vec<f32> {
        let shape = LayerShape::of(op).unwrap();
        let covariances = [covariance.to_vec()];
        let refit = refit(
            shape,
            op.linear().unwrap(),
            &covariances,
            DAMPING,
            Some(mask),
        );
        refit.into_owned().weights
    }

    /// What the refit minimises, of all output channels.
    fn objective(op: &Op, covariance: &[f64], weights: &[f32]) -> f64 {
        let shape = LayerShape::of(op).unwrap();
        let matrix = damped(covariance, shape.k, DAMPING);
        let dense = &op.linear().unwrap().weights;
        let errors: Vec<f32> = weights
            .iter()
            .zip(dense)
            .map(|(w, dense)| w - dense)
            .collect();
        let products = product(&errors, &matrix, shape.k);
        dot(&errors, &products)
    }

    #[test]
    fn a_refit_is_the_exact_solution_of_each_channel() {
        let (out, k) = (3, 24);
        let (op, covariance, mask) = problem(out, k, 7);
        let refit = refit_of(&op, &covariance, &mask);
        let matrix = damped(&covariance, k, DAMPING);
        let dense = &op.linear().unwrap().weights;
        let mut exact = vec![0.0; out * k];
        for row in 0..out {
            let stay: Vec<usize> = (0..k).filter(|&tap| mask[row * k + tap]).collect();
            let product = |i: usize| -> f64 {
                let products = (0..k).map(|tap| matrix[i * k + tap] * dense[row * k + tap]);
                products.map(f64::from).sum()
            };
            let n = stay.len();
            let left = Mat::from_fn(n, n, |i, j| f64::from(matrix[stay[i] * k + stay[j]]));
            let right = Mat::from_fn(n, 1, |i, _| product(stay[i]));
            let solution = left.partial_piv_lu().solve(right);
            for (i, &tap) in stay.iter().enumerate() {
                exact[row * k + tap] = solution[(i, 0)] as f32;
            }
        }
        let least = objective(&op, &covariance, &exact);
        let reached = objective(&op, &covariance, &refit);
        assert!(reached <= 1.001 * least, "{reached} {least}");
        for (refit, exact) in refit.iter().zip(exact) {
            assert!((refit - exact).abs() < 0.05, "{refit} {exact}");
        }
    }

    #[test]
    fn rounding_starts_better_from_a_refit() {
        for (out, k) in [(5, 40), (70, 130)] {
            let (op, covariance, mask) = problem(out, k, 3);
            let shape = LayerShape::of(&op).unwrap();
            let linear = op.linear().unwrap();
            let fit = Compensator::new(shape, std::slice::from_ref(&covariance), DAMPING);
            let rounded = |start: &Linear| {
                let layer = fit.round(start, Rounding::FINEST, Some(&mask));
                objective(&op, &covariance, &layer.dequantized(shape, start).weights)
            };
            let weights = refit_of(&op, &covariance, &mask);
            let (started, least) = (
                rounded(&Linear {
                    weights: weights.clone(),
                    ..linear.clone()
                }),
                objective(&op, &covariance, &weights),
            );
            assert!(started < rounded(linear) && started < 1.05 * least);
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let (op, covariance, mask) = problem(150, 90, 5);
        let bits = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let weights = pool.unwrap().install(|| refit_of(&op, &covariance, &mask));
            weights.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        assert_eq!(bits(1), bits(2));
    }

    proptest! {
        #[test]
        fn zeros_stay_zero_and_the_others_are_no_worse_than_before(
            out in 1usize..8,
            k in 1usize..30,
            seed in any::<u64>(),
        ) {
            let (op, covariance, mask) = problem(out, k, seed);
            let refit = refit_of(&op, &covariance, &mask);
            prop_assert!(refit.iter().zip(&mask).all(|(&w, &keep)| keep || w == 0.0));
            let dense = &op.linear().unwrap().weights;
            let masked = dense.iter().zip(&mask).map(|(w, &keep)| w * f32::from(u8::from(keep)));
            let masked = objective(&op, &covariance, &masked.collect::<Vec<_>>());
            prop_assert!(objective(&op, &covariance, &refit) <= 1.0001 * masked);
        }
    }
}
