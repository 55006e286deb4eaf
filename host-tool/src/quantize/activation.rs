//! Scale and zero point of an activation from its histogram.

use crate::calibrate::Histogram;
use pulp::Arch;
use serde::{Deserialize, Serialize};

/// Affine int8 quantization of one activation: `value = (code - zero_point) * scale`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActivationQuantization {
    /// Step size.
    pub scale: f32,
    /// Code of the value 0.
    pub zero_point: i8,
}

/// Steps from the least code to the greatest.
const STEPS: f32 = 255.0;
/// Clipping candidates: this many equal steps from the full range down to [`LEAST_SHARE`] of it.
const CANDIDATES: u32 = 80;
/// The tightest clipping tried, as a share of the full range.
const LEAST_SHARE: f32 = 0.1;

/// Histograms of fewer values get room for others, those of 2^[`DOUBLINGS`] times fewer [`MOST_ROOM`] of their range.
const FEW: u64 = 4096;
const DOUBLINGS: f64 = 4.0;
const MOST_ROOM: f32 = 0.5;

impl ActivationQuantization {
    /// The quantization whose range is `[min, max]`, widened to hold 0 exactly.
    pub fn from_range(min: f32, max: f32) -> Self {
        let (min, max) = (min.min(0.0), max.max(0.0));
        let scale = (max - min) / STEPS;
        if scale < f32::MIN_POSITIVE {
            return Self {
                scale: 1.0,
                zero_point: 0,
            };
        }
        let zero_point = (-128.0 - min / scale)
            .round_ties_even()
            .clamp(-128.0, 127.0);
        Self {
            scale,
            zero_point: zero_point as i8,
        }
    }

    /// The range with the least error of clipping and rounding together, found by alternating
    /// line searches over both ends (as Banner et al., arXiv 1810.05723, but on the measured
    /// distribution instead of an assumed one). The error counts to the power of `norm`: the greater
    /// it is, the more large values are spared.
    pub fn least_error(histogram: &Histogram, norm: f64) -> Self {
        let shares =
            || (0..CANDIDATES).map(|i| 1.0 - (1.0 - LEAST_SHARE) * i as f32 / CANDIDATES as f32);
        let (full_min, full_max) = (histogram.min(), histogram.max());
        let (mut min, mut max) = (full_min, full_max);
        for _ in 0..2 {
            max = least(shares().map(|s| full_max * s), |&max| {
                Self::from_range(min, max).mean_error(histogram, norm)
            });
            min = least(shares().map(|s| full_min * s), |&min| {
                Self::from_range(min, max).mean_error(histogram, norm)
            });
        }
        Self::from_range(min, max)
    }

    /// With room for values beyond those of a histogram of few: samples to come go beyond a few hundred values more
    /// often, and further, than beyond many.
    #[must_use]
    pub fn with_room(&self, histogram: &Histogram) -> Self {
        let doublings = (FEW as f64 / histogram.count().max(1) as f64).log2();
        let room = 1.0 + MOST_ROOM * (doublings / DOUBLINGS).clamp(0.0, 1.0) as f32;
        if room == 1.0 {
            return *self;
        }
        let (min, max) = self.range();
        Self::from_range(min * room, max * room)
    }

    /// Expected squared error of a value with that distribution.
    pub fn noise(&self, histogram: &Histogram) -> f64 {
        self.mean_error(histogram, 2.0)
    }

    /// Mean of the error's magnitude to the power of `norm`.
    fn mean_error(&self, histogram: &Histogram, norm: f64) -> f64 {
        let (low, high) = self.range();
        let half_step = f64::from(self.scale) / 2.0;
        // Mean of |e|^norm for an error that is uniform within half a step.
        let rounding = half_step.powf(norm) / (norm + 1.0);
        let (mut sum, mut count) = (0.0, 0);
        for (value, n) in histogram.bins() {
            let clip = f64::from((value - value.clamp(low, high)).abs());
            let magnitude = f64::from(value.abs());
            sum += n as f64
                * if clip > 0.0 {
                    clip.powf(norm)
                } else if magnitude < half_step {
                    magnitude.powf(norm) // becomes zero
                } else {
                    rounding
                };
            count += n;
        }
        sum / (count as f64).max(1.0)
    }

    /// Least and greatest value that a code can mean.
    pub fn range(&self) -> (f32, f32) {
        let value = |code: f32| (code - f32::from(self.zero_point)) * self.scale;
        (value(-128.0), value(127.0))
    }

    /// What each value becomes: quantized and back.
    pub fn round_trip(&self, values: &mut [f32]) {
        Arch::new().dispatch(|| {
            for value in values {
                *value = self.steps(*value) * self.scale;
            }
        });
    }

    /// The codes of values.
    pub fn codes(&self, values: &[f32]) -> Vec<i8> {
        let zero_point = f32::from(self.zero_point);
        let mut codes = vec![0; values.len()];
        Arch::new().dispatch(|| {
            for (code, &value) in codes.iter_mut().zip(values) {
                *code = (self.steps(value) + zero_point) as i32 as i8;
            }
        });
        codes
    }

    /// The values of codes.
    pub fn values(&self, codes: &[i8]) -> Vec<f32> {
        let zero_point = f32::from(self.zero_point);
        let mut values = vec![0.0; codes.len()];
        Arch::new().dispatch(|| {
            for (value, &code) in values.iter_mut().zip(codes) {
                *value = (f32::from(code) - zero_point) * self.scale;
            }
        });
        values
    }

    /// Distance in steps of a value's code from the code of zero.
    #[inline(always)]
    fn steps(&self, value: f32) -> f32 {
        let zero_point = f32::from(self.zero_point);
        let steps = (value / self.scale).clamp(-128.0 - zero_point, 127.0 - zero_point);
        steps.round_ties_even()
    }
}

fn least(candidates: impl Iterator<Item = f32>, cost: impl Fn(&f32) -> f64) -> f32 {
    candidates
        .map(|candidate| (cost(&candidate), candidate))
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .map_or(0.0, |(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_exact_in_every_range() {
        for (min, max) in [
            (0.0, 6.0),
            (-3.0, 1.0),
            (-0.1, 100.0),
            (-5.0, 0.0),
            (2.0, 3.0),
        ] {
            let mut zero = [0.0];
            ActivationQuantization::from_range(min, max).round_trip(&mut zero);
            assert_eq!(zero, [0.0]);
        }
    }

    #[test]
    fn a_range_of_few_values_has_room_for_more() {
        let values: Vec<f32> = (0..8192).map(|i| (i % 101) as f32 / 50.0 - 1.0).collect();
        let range = |count: usize| {
            let histogram = Histogram::of(&values[..count]);
            let chosen = ActivationQuantization::from_range(-1.0, 1.0).with_room(&histogram);
            chosen.range().1
        };
        let whole = ActivationQuantization::from_range(-1.0, 1.0).range().1;
        assert_eq!(range(8192), whole);
        assert!(range(1024) > 1.2 * whole && range(1024) < 1.3 * whole);
        assert!((range(64) / whole - 1.5).abs() < 0.02);
    }

    #[test]
    fn the_chosen_range_is_never_worse_than_the_full_range_or_parts_of_it() {
        let flat: Vec<f32> = (0..10_000).map(|i| (i as f32 * 0.7).sin()).collect();
        let tail: Vec<f32> = (1..100_000).map(|i| -(i as f32 / 1e5).ln()).collect();
        for (values, norm) in [(&flat, 2.0), (&tail, 2.0), (&flat, 4.0), (&tail, 4.0)] {
            let histogram = Histogram::of(values);
            let error = |q: ActivationQuantization| q.mean_error(&histogram, norm);
            let chosen = error(ActivationQuantization::least_error(&histogram, norm));
            for share in [1.0, 0.8, 0.5] {
                let (min, max) = (histogram.min() * share, histogram.max() * share);
                assert!(chosen <= 1.01 * error(ActivationQuantization::from_range(min, max)));
            }
        }
    }
}
