//! Rounds the weights of a layer one input tap after the other, each time moving the error that
//! was made onto the taps that are still free: optimal brain surgeon's update in GPTQ's order
//! (Frantar et al., "GPTQ", arXiv 2210.17323, section 3, algorithm 1; masks as in "SparseGPT",
//! arXiv 2301.00774).

use super::factor::{inverse_factor, ridge};
use super::layer::{LayerShape, MAX_CODE, QuantizedLinear, code, scales};
use crate::graph::Linear;
use edgeprune_format::rans;
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par};
use rayon::prelude::*;

/// Taps whose updates are applied together.
const BLOCK: usize = 64;
/// Passes that see what codes cost after the pass before.
const RATE_PASSES: usize = 3;
/// Output channels that one task rounds.
const LANES: usize = 64;

/// How the weights of a layer are rounded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rounding {
    /// Least step size: see [`super::scales`]. 0: per-channel int8.
    pub step: f32,
    /// Price of a bit, in squared steps of a tap whose error counts as the mean over the layer does; 0:
    /// bits do not count.
    pub price: f32,
    /// Added to the diagonal of the covariance, as a share of its mean: how much of what the samples say
    /// is taken for noise.
    pub damping: f64,
}

impl Rounding {
    /// The finest codes: int8 with a scale per channel.
    pub const FINEST: Self = Self {
        step: 0.0,
        price: 0.0,
        damping: 0.01,
    };
}

/// Rounds a layer in the light of the second moments of its inputs, any number of times.
pub struct Compensator {
    shape: LayerShape,
    damping: f64,
    orders: Vec<Elimination>,
}

impl Compensator {
    /// `covariances` are those of each group's inputs, row-major `k x k`; `damping` as in [`Rounding`].
    pub fn new(shape: LayerShape, covariances: &[Vec<f64>], damping: f64) -> Self {
        let orders = covariances
            .par_iter()
            .map(|covariance| Elimination::new(covariance, shape.k, damping))
            .collect();
        Self {
            shape,
            damping,
            orders,
        }
    }

    /// The damping that it was made with.
    pub fn damping(&self) -> f64 {
        self.damping
    }

    /// The layer with integer codes, its bias as it was. `mask` holds, in the order of the weights,
    /// which of them must stay (`true`) and which become zero.
    pub fn round(
        &self,
        linear: &Linear,
        rounding: Rounding,
        mask: Option<&[bool]>,
    ) -> QuantizedLinear {
        let scales = scales(self.shape, linear, rounding.step);
        let mut codes = round(self.shape, linear, &scales, mask, &self.orders, None);
        if rounding.price > 0.0 {
            for _ in 0..RATE_PASSES {
                let rate = Rate::new(&codes, self.shape.row(), rounding.price);
                codes = round(self.shape, linear, &scales, mask, &self.orders, Some(&rate));
            }
        }
        QuantizedLinear {
            codes,
            row: self.shape.row(),
            scales,
            bias: linear.bias.clone(),
        }
    }
}

/// What codes cost, as in the rate-distortion optimized quantization of video coders (Sullivan and
/// Wiegand, "Rate-distortion optimization for video compression", 1998).
#[derive(Clone, Debug)]
struct Rate {
    /// For each entropy model, the price of the bits of each code, at `code + 128`.
    prices: Vec<[f32; 256]>,
    /// The model of each row; empty where there is one.
    choices: Vec<u8>,
}

impl Rate {
    fn new(codes: &[i8], row: usize, price: f32) -> Self {
        let choices = rans::row_models(codes, row);
        let models = choices
            .iter()
            .max()
            .map_or(1, |&last| usize::from(last) + 1);
        let mut counts = vec![[0u32; 256]; models];
        for (index, codes) in codes.chunks(row).enumerate() {
            let model = choices.get(index).map_or(0, |&model| usize::from(model));
            for &code in codes {
                counts[model][(i16::from(code) + 128) as usize] += 1;
            }
        }
        let prices = counts.iter().map(|counts| {
            let total = f64::from(counts.iter().sum::<u32>());
            let bits = |count: u32| -(f64::from(count).max(0.3) / total).log2();
            counts.map(|count| price * bits(count) as f32)
        });
        Self {
            prices: prices.collect(),
            choices,
        }
    }

    /// The prices of the codes of an output channel.
    fn of(&self, output: usize) -> &[f32; 256] {
        let model = self.choices.get(output);
        &self.prices[model.map_or(0, |&model| usize::from(model))]
    }
}

/// Of the codes next to `value` and zero, the one with the least sum of squared error and bits.
/// `price`: what a unit of `prices` weighs, in squared steps at this tap.
fn cheapest_code(value: f32, price: f32, prices: &[f32; 256]) -> i8 {
    let below = value.floor().clamp(-MAX_CODE, MAX_CODE - 1.0);
    let cost = |code: f32| {
        let error = value - code;
        error * error + price * prices[(code as i32 + 128) as usize]
    };
    let mut best = (cost(0.0), 0.0);
    for code in [below, below + 1.0] {
        let cost = cost(code);
        if cost < best.0 {
            best = (cost, code);
        }
    }
    best.1 as i8
}

/// One pass over all output channels.
fn round(
    shape: LayerShape,
    linear: &Linear,
    scales: &[f32],
    mask: Option<&[bool]>,
    orders: &[Elimination],
    rate: Option<&Rate>,
) -> Vec<i8> {
    let mut codes = vec![0; linear.weights.len()];
    let groups: Vec<Vec<(usize, Vec<i8>)>> = (0..shape.groups)
        .into_par_iter()
        .map(|group| {
            let order = &orders[group];
            let outputs: Vec<usize> = (group * shape.rows..(group + 1) * shape.rows).collect();
            outputs
                .par_chunks(LANES)
                .map(|outputs| Lanes::new(shape, linear, scales, mask, outputs).round(order, rate))
                .flatten()
                .collect()
        })
        .collect();
    for (output, row) in groups.into_iter().flatten() {
        for (tap, code) in row.into_iter().enumerate() {
            codes[shape.index(output, tap)] = code;
        }
    }
    codes
}

/// The order in which taps are rounded, and the upper Cholesky factor of the inverse covariance
/// in that order.
struct Elimination {
    /// Taps by falling variance: those with most effect are rounded while many are still free.
    taps: Vec<usize>,
    /// Row-major `k x k`, upper triangle.
    factor: Vec<f32>,
    /// Mean over taps of the variance that is left when a tap's turn comes.
    mean_left: f32,
}

impl Elimination {
    fn new(covariance: &[f64], k: usize, damping: f64) -> Self {
        let variance = |tap: usize| covariance[tap * k + tap];
        let mut taps: Vec<usize> = (0..k).collect();
        taps.sort_by(|&a, &b| variance(b).total_cmp(&variance(a)).then(a.cmp(&b)));
        // With J the reversal, J C J = L L^T gives C^-1 = U^T U for U = J L^-1 J.
        let reversed = |ridge: f64| {
            Mat::from_fn(k, k, |i, j| {
                let (a, b) = (taps[k - 1 - i], taps[k - 1 - j]);
                covariance[a * k + b] + if i == j { ridge } else { 0.0 }
            })
        };
        let inverse = inverse_factor(reversed, k, ridge(covariance, k, damping));
        let mut factor = vec![0f32; k * k];
        for i in 0..k {
            for j in i..k {
                factor[i * k + j] = inverse[(k - 1 - i, k - 1 - j)] as f32;
            }
        }
        let left = (0..k).map(|i| factor[i * k + i].powi(-2)).sum::<f32>();
        Self {
            taps,
            factor,
            mean_left: left / k as f32,
        }
    }
}

/// Some output channels of a layer, tap by tap (`[tap][lane]`), so that the inner loop is a vector
/// operation.
struct Lanes<'a> {
    shape: LayerShape,
    outputs: &'a [usize],
    scales: Vec<f32>,
    weights: Vec<f32>,
    keep: Option<Vec<bool>>,
}

impl<'a> Lanes<'a> {
    fn new(
        shape: LayerShape,
        linear: &Linear,
        scales: &[f32],
        mask: Option<&[bool]>,
        outputs: &'a [usize],
    ) -> Self {
        let indices = || {
            (0..shape.k).flat_map(move |tap| outputs.iter().map(move |&out| shape.index(out, tap)))
        };
        Self {
            shape,
            outputs,
            scales: outputs.iter().map(|&output| scales[output]).collect(),
            weights: indices().map(|i| linear.weights[i]).collect(),
            keep: mask.map(|mask| indices().map(|i| mask[i]).collect()),
        }
    }

    /// The codes of each output channel.
    fn round(self, order: &Elimination, rate: Option<&Rate>) -> Vec<(usize, Vec<i8>)> {
        let (k, lanes) = (self.shape.k, self.outputs.len());
        let mut weights: Vec<f32> = order
            .taps
            .iter()
            .flat_map(|tap| self.weights[tap * lanes..(tap + 1) * lanes].iter().copied())
            .collect();
        let mut rows: Vec<_> = self.outputs.iter().map(|&out| (out, vec![0; k])).collect();
        for start in (0..k).step_by(BLOCK) {
            let end = (start + BLOCK).min(k);
            let errors = self.round_block(order, rate, start..end, &mut weights, &mut rows);
            spread(order, start..end, &errors, &mut weights, lanes);
        }
        rows
    }

    /// Rounds the taps of a block and returns their errors, `[tap][lane]`, in units of the factor's
    /// diagonal.
    fn round_block(
        &self,
        order: &Elimination,
        rate: Option<&Rate>,
        block: std::ops::Range<usize>,
        weights: &mut [f32],
        rows: &mut [(usize, Vec<i8>)],
    ) -> Vec<f32> {
        let (k, lanes) = (self.shape.k, self.outputs.len());
        let mut errors = vec![0f32; block.len() * lanes];
        for (i, errors) in block.clone().zip(errors.chunks_exact_mut(lanes)) {
            let tap = order.taps[i];
            let (now, later) = weights[i * lanes..block.end * lanes].split_at_mut(lanes);
            let diagonal = order.factor[i * k + i];
            let price = order.mean_left * diagonal * diagonal;
            for lane in 0..lanes {
                let keep = self
                    .keep
                    .as_ref()
                    .is_none_or(|keep| keep[tap * lanes + lane]);
                let q = match rate {
                    _ if !keep => 0,
                    Some(rate) => cheapest_code(
                        now[lane] / self.scales[lane],
                        price,
                        rate.of(self.outputs[lane]),
                    ),
                    None => code(now[lane], self.scales[lane]),
                };
                rows[lane].1[tap] = q;
                errors[lane] = (now[lane] - f32::from(q) * self.scales[lane]) / diagonal;
            }
            for (j, later) in (i + 1..block.end).zip(later.chunks_exact_mut(lanes)) {
                let share = order.factor[i * k + j];
                for (weight, error) in later.iter_mut().zip(&*errors) {
                    *weight -= share * error;
                }
            }
        }
        errors
    }
}

/// Moves the errors of a block onto all taps behind it.
fn spread(
    order: &Elimination,
    block: std::ops::Range<usize>,
    errors: &[f32],
    weights: &mut [f32],
    lanes: usize,
) {
    let k = order.taps.len();
    let behind = k - block.end;
    if behind == 0 {
        return;
    }
    let factor = MatRef::from_row_major_slice(
        &order.factor[block.start * k..block.end * k],
        block.len(),
        k,
    );
    matmul(
        MatMut::from_row_major_slice_mut(&mut weights[block.end * lanes..], behind, lanes),
        Accum::Add,
        factor.subcols(block.end, behind).transpose(),
        MatRef::from_row_major_slice(errors, block.len(), lanes),
        -1.0,
        Par::Seq,
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Activation, Op};
    use crate::quantize::Moments;

    /// A layer and correlated inputs from a linear congruential generator.
    fn problem(out: usize, k: usize, rows: usize) -> (Op, Vec<f32>) {
        let mut state = 7u64;
        let mut next = move || {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        };
        let op = Op::FullyConnected {
            linear: Linear {
                shape: [out, 1, 1, k],
                weights: (0..out * k).map(|_| next()).collect(),
                bias: vec![0.0; out],
                activation: Activation::None,
            },
        };
        let patches = (0..rows)
            .flat_map(|_| {
                let common = next();
                (0..k).map(|_| common + 0.3 * next()).collect::<Vec<_>>()
            })
            .collect();
        (op, patches)
    }

    fn error(
        shape: LayerShape,
        linear: &Linear,
        covariance: &[f64],
        codes: Vec<i8>,
        scales: &[f32],
    ) -> f64 {
        let quantized = QuantizedLinear {
            codes,
            row: shape.row(),
            scales: scales.to_vec(),
            bias: linear.bias.clone(),
        };
        let rounded = quantized.dequantized(shape, linear);
        let k = shape.k;
        (0..shape.outputs())
            .map(|out| {
                let d: Vec<f64> = (0..k)
                    .map(|t| f64::from(rounded.weights[out * k + t] - linear.weights[out * k + t]))
                    .collect();
                (0..k * k)
                    .map(|ij| d[ij / k] * covariance[ij] * d[ij % k])
                    .sum::<f64>()
            })
            .sum()
    }

    #[test]
    fn the_compensated_error_is_below_that_of_plain_rounding() {
        for (out, k) in [(3, 5), (70, 130), (16, 64)] {
            let (op, patches) = problem(out, k, 400);
            let shape = LayerShape::of(&op).unwrap();
            let linear = op.linear().unwrap();
            let mut moments = Moments::new(k);
            moments.add(&patches);
            let covariance = moments.covariance();
            for step in [0.02, 0.2, 0.6] {
                let scales = scales(shape, linear, step);
                let plain = (0..out * k)
                    .map(|i| code(linear.weights[i], scales[i / k]))
                    .collect();
                let rounding = Rounding {
                    step,
                    ..Rounding::FINEST
                };
                let compensated = Compensator::new(shape, std::slice::from_ref(&covariance), 0.01)
                    .round(linear, rounding, None)
                    .codes;
                let plain = error(shape, linear, &covariance, plain, &scales);
                let compensated = error(shape, linear, &covariance, compensated, &scales);
                assert!(
                    compensated < plain,
                    "{compensated} >= {plain} at step {step}"
                );
            }
        }
    }

    #[test]
    fn rate_aware_rounding_takes_fewer_bits_for_its_error_than_a_coarser_step() {
        let (out, k) = (64, 96);
        let (op, patches) = problem(out, k, 600);
        let shape = LayerShape::of(&op).unwrap();
        let linear = op.linear().unwrap();
        let mut moments = Moments::new(k);
        moments.add(&patches);
        let covariance = moments.covariance();
        let compensator = Compensator::new(shape, std::slice::from_ref(&covariance), 0.01);
        let measured = |step: f32, price: f32| {
            let rounding = Rounding {
                step,
                price,
                ..Rounding::FINEST
            };
            let QuantizedLinear { codes, scales, .. } = compensator.round(linear, rounding, None);
            let bits = 8.0 * rans::coded_len(&codes, k) as f64;
            (
                bits / (out * k) as f64,
                error(shape, linear, &covariance, codes, &scales),
            )
        };
        let (bits, loss) = measured(0.9, 0.05);
        let coarser = (0..40).map(|i| measured(0.9 + 0.02 * i as f32, 0.0));
        let at_equal_bits = coarser.filter(|plain| plain.0 <= bits).map(|plain| plain.1);
        assert!(loss < at_equal_bits.fold(f64::INFINITY, f64::min));
    }

    #[test]
    fn the_zeros_of_a_mask_stay_zero() {
        let (op, patches) = problem(9, 40, 100);
        let shape = LayerShape::of(&op).unwrap();
        let linear = op.linear().unwrap();
        let mut moments = Moments::new(40);
        moments.add(&patches);
        let covariance = moments.covariance();
        let mask: Vec<bool> = (0..9 * 40).map(|i| i % 3 != 0).collect();
        let rounding = Rounding {
            step: 0.01,
            price: 0.05,
            ..Rounding::FINEST
        };
        let codes = Compensator::new(shape, std::slice::from_ref(&covariance), 0.01)
            .round(linear, rounding, Some(&mask))
            .codes;
        assert!(
            codes
                .iter()
                .zip(&mask)
                .all(|(&code, &keep)| keep || code == 0)
        );
        assert!(codes.iter().any(|&code| code != 0));
    }
}
