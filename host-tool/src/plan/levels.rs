//! What each step size costs a layer: bytes of its coded weights, squared error of its output.

use crate::graph::Linear;
use crate::quantize::{Compensator, Curvature, Rounding};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Step sizes grow by this factor from level to level: half a bit.
const RATIO: f32 = std::f32::consts::SQRT_2;
/// The finest uniform step tried, as a share of the largest weight.
const FINEST: f32 = 1.0 / (127.0 * 16.0);
/// Uniform steps from [`FINEST`] to the largest weight. Steps that underflow never reach it.
const MAX_UNIFORM: usize = 22;

/// Codes of fewer bits a weight are rounded with an eye to the bits, too: above, a finer step gains as
/// much.
const RATE_AWARE_BELOW_BITS: usize = 3;
/// Prices of a bit that are tried. At high rates entropy-coded quantization trades it at 0.12 squared steps.
const PRICES: [f32; 2] = [0.04, 0.08];

/// One way to store a layer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// Least step size, as in [`Rounding`]. The first level's is 0: per-channel int8.
    pub step: f32,
    /// Price of a bit, as in [`Rounding`].
    pub price: f32,
    /// Bytes of the codes and of the scales, if they differ between channels.
    pub bytes: usize,
    /// Loss of the network's output that it causes, relative to other layers.
    pub loss: f64,
}

impl Level {
    pub(super) fn rounding(&self, damping: f64) -> Rounding {
        Rounding {
            step: self.step,
            price: self.price,
            damping,
        }
    }
}

/// A layer and its levels, from fine to coarse: bytes fall, losses rise, on a convex curve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// Index of the node.
    pub node: usize,
    /// Sum of the variances of its output channels.
    pub power: f64,
    /// As in [`Rounding`].
    pub damping: f64,
    /// The levels.
    pub levels: Vec<Level>,
}

impl Layer {
    /// How the weights are rounded at a level.
    pub fn rounding(&self, level: usize) -> Rounding {
        self.levels[level].rounding(self.damping)
    }

    /// Gives every level its loss in place of its error, and drops those that no budget would choose.
    pub(super) fn weigh(&mut self, loss: impl Fn(f64) -> f64) {
        let levels = self.levels.iter_mut();
        levels.for_each(|level| level.loss = loss(level.loss));
        self.levels = convex(std::mem::take(&mut self.levels));
    }
}

/// All levels of a layer, each really rounded by `fit` and judged by `judge`; losses are variances of
/// output errors.
pub(super) fn levels(
    linear: &Linear,
    fit: &Compensator,
    judge: &Curvature<'_>,
    mask: Option<&[bool]>,
) -> Vec<Level> {
    let largest = linear.weights.iter().fold(0f32, |m, w| m.max(w.abs()));
    let uniform = std::iter::successors(Some(largest * FINEST), |step| Some(step * RATIO));
    let uniform = uniform.take_while(|&step| step < largest);
    let steps: Vec<f32> = std::iter::once(0.0)
        .chain(uniform.take(MAX_UNIFORM))
        .collect();
    let level = |step: f32, price: f32| {
        let rounding = Rounding {
            step,
            price,
            damping: fit.damping(),
        };
        let layer = fit.round(linear, rounding, mask);
        Level {
            step,
            price,
            bytes: layer.coded_bytes(),
            loss: judge.error(&layer),
        }
    };
    steps
        .into_par_iter()
        .flat_map_iter(|step| {
            let plain = level(step, 0.0);
            let cheap = 8 * plain.bytes < RATE_AWARE_BELOW_BITS * linear.weights.len();
            let prices = if cheap { &PRICES[..] } else { &[] };
            let priced = prices.iter().map(|&price| level(step, price));
            std::iter::once(plain).chain(priced).collect::<Vec<_>>()
        })
        .collect()
}

/// The lower convex hull of loss over bytes, from most bytes to least.
fn convex(mut levels: Vec<Level>) -> Vec<Level> {
    levels.sort_by(|a, b| b.bytes.cmp(&a.bytes).then(b.loss.total_cmp(&a.loss)));
    let mut hull: Vec<Level> = Vec::new();
    for level in levels {
        while hull.last().is_some_and(|last| last.loss >= level.loss) {
            hull.pop();
        }
        while let [.., a, b] = hull[..] {
            if slope(&a, &b) <= slope(&b, &level) {
                break;
            }
            hull.pop();
        }
        hull.push(level);
    }
    hull
}

/// Loss for each byte saved by going from a finer to a coarser level.
pub(super) fn slope(fine: &Level, coarse: &Level) -> f64 {
    (coarse.loss - fine.loss) / (fine.bytes - coarse.bytes) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_uniform_steps_are_tried() {
        let steps = std::iter::successors(Some(FINEST), |step| Some(step * RATIO));
        assert_eq!(steps.take_while(|&step| step < 1.0).count(), MAX_UNIFORM);
    }

    #[test]
    fn the_hull_is_convex_and_keeps_the_ends() {
        let point = |bytes, loss| Level {
            step: 0.0,
            price: 0.0,
            bytes,
            loss,
        };
        let hull = convex(vec![
            point(100, 0.0),
            point(90, 5.0),
            point(80, 0.5),
            point(50, 4.0),
            point(95, 0.0),
            point(20, 4.5),
            point(20, 30.0),
        ]);
        let pairs: Vec<_> = hull.iter().map(|l| (l.bytes, l.loss)).collect();
        assert_eq!(pairs, [(95, 0.0), (80, 0.5), (20, 4.5)]);
    }
}
