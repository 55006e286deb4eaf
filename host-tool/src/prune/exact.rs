//! Scores by exact optimal brain surgeon: every output channel loses its weights one after the other, each time
//! the one that costs least now that those left make up for all that are gone (Frantar & Alistarh, "Optimal
//! Brain Compression", arXiv 2208.11580, section 4, algorithm 1).

use super::damage;
use crate::quantize::{LayerShape, inverse_factor, ridge};
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, Mat, MatMut, MatRef, Par};
use rayon::prelude::*;

/// Removals whose updates of the inverse are applied together, which changes no result: a share of the
/// taps that are left, within limits.
const SHARE: usize = 16;
const LEAST: usize = 8;
const MOST: usize = 64;
/// Rounding takes no diagonal of an inverse below this.
const LEAST_DIAGONAL: f32 = 1e-12;
/// A score is at least this multiple of that of the weight that goes before it in its channel.
const RISE: f32 = 1.0 + 1e-6;

/// Multiplications that the exact scores of a layer may take.
const MOST_WORK: f64 = 2e11;

/// Per weight the squared output error that its removal adds when its turn comes, or the greatest one
/// before in its channel: a threshold takes from each channel what exact greedy removal takes first. In a
/// layer too large for that, the [`damage`] of each weight.
///
/// `covariances` are those of each group's inputs, row-major `k x k`; `damping` is added to their diagonals, as a
/// share of the mean.
pub fn obs(shape: LayerShape, weights: &[f32], covariances: &[Vec<f64>], damping: f64) -> Vec<f32> {
    let work = shape.outputs() as f64 * (shape.k as f64).powi(3) / 3.0;
    if work > MOST_WORK {
        return damage(shape, weights, covariances);
    }
    let channels: Vec<Vec<(usize, f32)>> = covariances
        .par_iter()
        .enumerate()
        .flat_map(|(group, covariance)| {
            let ridge = ridge(covariance, shape.k, damping);
            let inverse = inverse(covariance, shape.k, ridge);
            let outputs = group * shape.rows..(group + 1) * shape.rows;
            let removals = |output: usize| {
                let taps = (0..shape.k).map(|tap| weights[shape.index(output, tap)]);
                let removals = Channel::new(&inverse, taps.collect()).removals();
                let scaled = removals
                    .into_iter()
                    .map(|(tap, loss)| (tap, loss * ridge as f32));
                scaled.collect()
            };
            outputs.into_par_iter().map(removals).collect::<Vec<_>>()
        })
        .collect();
    let mut scores = vec![0.0; weights.len()];
    for (output, removals) in channels.iter().enumerate() {
        let mut greatest = f32::MIN_POSITIVE;
        for &(tap, loss) in removals {
            greatest = loss.max(greatest * RISE);
            scores[shape.index(output, tap)] = greatest;
        }
    }
    scores
}

/// Lower triangle, row-major, of the inverse of a covariance with `ridge` on its diagonal, in units of the
/// inverse ridge: from 0 to 1, so that single precision does.
fn inverse(covariance: &[f64], k: usize, ridge: f64) -> Vec<f32> {
    let damped = |ridge: f64| {
        Mat::from_fn(k, k, |i, j| {
            covariance[i * k + j] + if i == j { ridge } else { 0.0 }
        })
    };
    let factor = inverse_factor(damped, k, ridge);
    let mut inverse = vec![0.0; k * k];
    triangular::matmul(
        MatMut::from_row_major_slice_mut(&mut inverse, k, k),
        BlockStructure::TriangularLower,
        Accum::Replace,
        factor.transpose(),
        BlockStructure::TriangularUpper,
        &factor,
        BlockStructure::TriangularLower,
        ridge,
        Par::Seq,
    );
    inverse.into_iter().map(|value| value as f32).collect()
}

/// What is left of an output channel.
struct Channel {
    /// The taps that are left when the last updates were applied.
    taps: Vec<usize>,
    weights: Vec<f32>,
    /// Diagonal of the inverse; infinite where the tap is gone.
    diagonal: Vec<f32>,
    /// Row-major lower triangle of the inverse without the pending updates.
    inverse: Vec<f32>,
    /// Columns whose outer products are still to be subtracted from it.
    pending: Vec<f32>,
}

impl Channel {
    fn new(inverse: &[f32], weights: Vec<f32>) -> Self {
        let k = weights.len();
        Self {
            taps: (0..k).collect(),
            weights,
            diagonal: inverse.iter().step_by(k + 1).copied().collect(),
            inverse: inverse.to_vec(),
            pending: Vec::new(),
        }
    }

    /// All taps in the order in which they go, and what each adds to the squared error.
    fn removals(mut self) -> Vec<(usize, f32)> {
        let mut removals = Vec::with_capacity(self.taps.len());
        while !self.taps.is_empty() {
            let left = self.taps.len();
            for _ in 0..(left / SHARE).clamp(LEAST, MOST).min(left) {
                removals.push(self.remove());
            }
            self.update();
        }
        removals
    }

    fn remove(&mut self) -> (usize, f32) {
        let (gone, loss) = self.cheapest();
        let column = self.column(gone);
        let share = self.weights[gone] / self.diagonal[gone].sqrt();
        for ((weight, diagonal), value) in
            self.weights.iter_mut().zip(&mut self.diagonal).zip(&column)
        {
            *weight -= share * value;
            *diagonal = (*diagonal - value * value).max(LEAST_DIAGONAL);
        }
        self.diagonal[gone] = f32::INFINITY;
        self.pending.extend(column);
        (self.taps[gone], loss)
    }

    /// The tap whose removal adds least, and how much.
    fn cheapest(&self) -> (usize, f32) {
        let taps = self.weights.iter().zip(&self.diagonal).enumerate();
        taps.filter(|(_, (_, diagonal))| diagonal.is_finite())
            .map(|(i, (weight, diagonal))| (i, weight * weight / diagonal))
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .unwrap_or_default()
    }

    /// A column of the inverse over the root of its diagonal.
    fn column(&self, tap: usize) -> Vec<f32> {
        let left = self.taps.len();
        let mut column = self.inverse[tap * left..tap * left + tap].to_vec();
        column.extend(self.inverse[tap * left + tap..].iter().step_by(left));
        for pending in self.pending.chunks_exact(left) {
            let share = pending[tap];
            for (value, pending) in column.iter_mut().zip(pending) {
                *value -= share * pending;
            }
        }
        let root = self.diagonal[tap].sqrt();
        column.iter_mut().for_each(|value| *value /= root);
        column
    }

    /// Applies the pending updates to the taps that are left.
    fn update(&mut self) {
        let before = self.taps.len();
        let stay: Vec<usize> = (0..before)
            .filter(|&i| self.diagonal[i].is_finite())
            .collect();
        let left = stay.len();
        for (to, &from) in stay.iter().enumerate() {
            for (at, &tap) in stay[..=to].iter().enumerate() {
                self.inverse[to * left + at] = self.inverse[from * before + tap];
            }
        }
        self.inverse.truncate(left * left);
        let columns = self.pending.chunks_exact(before);
        let columns: Vec<f32> = columns
            .flat_map(|column| stay.iter().map(|&i| column[i]))
            .collect();
        self.pending.clear();
        for values in [&mut self.weights, &mut self.diagonal] {
            *values = stay.iter().map(|&i| values[i]).collect();
        }
        self.taps = stay.iter().map(|&i| self.taps[i]).collect();
        if left == 0 {
            return;
        }
        let columns = MatRef::from_row_major_slice(&columns, columns.len() / left, left);
        triangular::matmul(
            MatMut::from_row_major_slice_mut(&mut self.inverse, left, left),
            BlockStructure::TriangularLower,
            Accum::Add,
            columns.transpose(),
            BlockStructure::Rectangular,
            columns,
            BlockStructure::Rectangular,
            -1.0,
            Par::Seq,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Activation, Linear, Op, Window};
    use crate::quantize::Moments;
    use faer::linalg::solvers::Solve;

    const DAMPING: f64 = 0.05;

    fn random(seed: u64) -> impl FnMut() -> f32 {
        let mut state = seed;
        move || {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        }
    }

    fn covariance(k: usize, seed: u64) -> Vec<f64> {
        let mut next = random(seed);
        let mut moments = Moments::new(k);
        for _ in 0..3 * k {
            let common = next();
            moments.add(&(0..k).map(|_| common + 0.5 * next()).collect::<Vec<_>>());
        }
        moments.covariance()
    }

    fn linear(shape: [usize; 4]) -> Linear {
        let mut next = random(11);
        Linear {
            shape,
            weights: (0..shape.iter().product()).map(|_| next()).collect(),
            bias: Vec::new(),
            activation: Activation::None,
        }
    }

    /// The least error of a channel without some of its weights.
    fn error(weights: &[f32], covariance: &[f64], gone: &[usize]) -> f64 {
        let (k, n) = (weights.len(), gone.len());
        let ridge = ridge(covariance, k, DAMPING);
        let inverse = Mat::from_fn(k, k, |i, j| {
            covariance[i * k + j] + if i == j { ridge } else { 0.0 }
        })
        .partial_piv_lu()
        .solve(Mat::<f64>::identity(k, k));
        let block = Mat::from_fn(n, n, |i, j| inverse[(gone[i], gone[j])]);
        let lost = Mat::from_fn(n, 1, |i, _| f64::from(weights[gone[i]]));
        let force = block.partial_piv_lu().solve(&lost);
        (0..n).map(|i| lost[(i, 0)] * force[(i, 0)]).sum()
    }

    /// Every weight in the order in which trying all that are left takes them, with its score.
    fn brute_force(weights: &[f32], covariance: &[f64]) -> Vec<(usize, f64)> {
        let (mut gone, mut scores) = (Vec::new(), Vec::new());
        let (mut before, mut greatest) = (0.0, 0.0f64);
        while gone.len() < weights.len() {
            let left = (0..weights.len()).filter(|tap| !gone.contains(tap));
            let errors = left.map(|tap| {
                (
                    error(weights, covariance, &[&gone[..], &[tap]].concat()),
                    tap,
                )
            });
            let (error, tap) = errors.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
            greatest = greatest.max(error - before);
            scores.push((tap, greatest));
            gone.push(tap);
            before = error;
        }
        scores
    }

    fn assert_greedy(scores: &[f32], weights: &[f32], covariance: &[f64]) {
        let expected = brute_force(weights, covariance);
        for &(tap, expected) in &expected {
            let score = f64::from(scores[tap]);
            assert!(
                (score - expected).abs() <= 1e-3 * expected,
                "{score} {expected}"
            );
        }
        let taps = expected.iter().map(|&(tap, _)| scores[tap]);
        assert!(taps.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn weights_go_in_the_order_of_brute_force() {
        let (out, k) = (3, 22);
        let op = Op::FullyConnected {
            linear: linear([out, 1, 1, k]),
        };
        let shape = LayerShape::of(&op).unwrap();
        let weights = &op.linear().unwrap().weights;
        let covariance = covariance(k, 5);
        let scores = obs(shape, weights, std::slice::from_ref(&covariance), DAMPING);
        for (weights, scores) in weights.chunks_exact(k).zip(scores.chunks_exact(k)) {
            assert_greedy(scores, weights, &covariance);
        }
    }

    #[test]
    fn channels_of_a_depthwise_layer_have_their_own_covariances() {
        let op = Op::DepthwiseConv2d {
            linear: linear([1, 3, 3, 4]),
            window: Window {
                kernel: [3, 3],
                stride: [1, 1],
                dilation: [1, 1],
                pad: [0, 0],
            },
        };
        let shape = LayerShape::of(&op).unwrap();
        let weights = &op.linear().unwrap().weights;
        let covariances: Vec<Vec<f64>> = (0..4).map(|group| covariance(9, group)).collect();
        let scores = obs(shape, weights, &covariances, DAMPING);
        for (group, covariance) in covariances.iter().enumerate() {
            let of_group = |values: &[f32]| -> Vec<f32> {
                values.iter().skip(group).step_by(4).copied().collect()
            };
            assert_greedy(&of_group(&scores), &of_group(weights), covariance);
        }
    }

    #[test]
    fn the_errors_of_all_removals_sum_to_that_of_no_weights() {
        let k = 300;
        let weights = linear([1, 1, 1, k]).weights;
        let covariance = covariance(k, 9);
        let ridge = ridge(&covariance, k, DAMPING);
        let removals = Channel::new(&inverse(&covariance, k, ridge), weights.clone()).removals();
        let sum: f64 = removals
            .iter()
            .map(|&(_, loss)| f64::from(loss) * ridge)
            .sum();
        let expected = error(&weights, &covariance, &(0..k).collect::<Vec<_>>());
        assert!((sum - expected).abs() < 1e-3 * expected, "{sum} {expected}");
        let mut taps: Vec<usize> = removals.into_iter().map(|(tap, _)| tap).collect();
        taps.sort_unstable();
        assert!(taps.into_iter().eq(0..k));
    }

    #[test]
    fn small_inputs_scale_the_scores() {
        let op = Op::FullyConnected {
            linear: linear([2, 1, 1, 40]),
        };
        let scores = |scale: f64| {
            let covariance = covariance(40, 3)
                .iter()
                .map(|value| value * scale)
                .collect();
            let shape = LayerShape::of(&op).unwrap();
            obs(shape, &op.linear().unwrap().weights, &[covariance], DAMPING)
        };
        let scale = 2f64.powi(-100);
        for (small, score) in scores(scale).iter().zip(scores(1.0)) {
            assert!((small / scale as f32 - score).abs() <= 1e-5 * score);
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let op = Op::FullyConnected {
            linear: linear([20, 1, 1, 150]),
        };
        let shape = LayerShape::of(&op).unwrap();
        let covariances = [covariance(150, 3)];
        let bits = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let weights = &op.linear().unwrap().weights;
            let scores = pool
                .unwrap()
                .install(|| obs(shape, weights, &covariances, DAMPING));
            scores.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        assert_eq!(bits(1), bits(2));
    }
}
