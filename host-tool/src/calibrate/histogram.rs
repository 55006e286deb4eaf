//! A histogram whose bins are powers of two wide, so that it can grow without knowing the range
//! beforehand and so that the order of samples and the number of threads cannot change it.

use pulp::Arch;

/// Bins on each side of zero.
const HALF: usize = 2048;

/// Counts of values, split at zero: bin `i` holds `[(i - HALF) w, (i - HALF + 1) w)`, `w = 2^exponent`.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    exponent: i32,
    counts: Vec<u64>,
    zeros: u64,
    min: f32,
    max: f32,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            exponent: -126,
            counts: vec![0; 2 * HALF],
            zeros: 0,
            min: 0.0,
            max: 0.0,
        }
    }
}

impl Histogram {
    /// The histogram of `values`; values that are not finite are left out.
    pub fn of(values: &[f32]) -> Self {
        Arch::new().dispatch(|| Self::count_all(values))
    }

    #[inline(always)]
    fn count_all(values: &[f32]) -> Self {
        let (min, max) = extremes(values);
        let mut histogram = Self {
            min,
            max,
            ..Self::default()
        };
        let largest = max.max(-min);
        while largest >= histogram.width() * HALF as f32 {
            histogram.exponent += 1;
        }
        let scale = 1.0 / f64::from(histogram.width());
        for &value in values.iter().filter(|value| value.is_finite()) {
            let bin = (f64::from(value) * scale).floor() as i32 + HALF as i32;
            histogram.counts[bin.clamp(0, 2 * HALF as i32 - 1) as usize] += 1;
        }
        histogram.zeros = values.iter().map(|&value| u64::from(value == 0.0)).sum();
        histogram.counts[HALF] -= histogram.zeros; // a branch a value costs more
        histogram
    }

    /// Adds another histogram's counts. Merging is commutative and associative, exactly.
    pub fn merge(&mut self, mut other: Self) {
        while self.exponent < other.exponent {
            self.coarsen();
        }
        while other.exponent < self.exponent {
            other.coarsen();
        }
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.zeros += other.zeros;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// Least value seen, at most 0.
    pub fn min(&self) -> f32 {
        self.min
    }

    /// Greatest value seen, at least 0.
    pub fn max(&self) -> f32 {
        self.max
    }

    /// Calls `visit(centre, count)` for every bin that is not empty; exact zeros come as 0.
    pub fn bins(&self) -> impl Iterator<Item = (f32, u64)> + '_ {
        let width = self.width();
        let centre = move |bin: usize| (bin as f32 - HALF as f32 + 0.5) * width;
        self.counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
            .map(move |(bin, &count)| (centre(bin), count))
            .chain((self.zeros > 0).then_some((0.0, self.zeros)))
    }

    /// Number of values.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.zeros
    }

    /// Mean of the squares.
    pub fn power(&self) -> f64 {
        let (mut sum, mut count) = (0.0, 0);
        for (value, n) in self.bins() {
            sum += f64::from(value) * f64::from(value) * n as f64;
            count += n;
        }
        sum / (count as f64).max(1.0)
    }

    fn width(&self) -> f32 {
        (f64::from(self.exponent)).exp2() as f32
    }

    fn coarsen(&mut self) {
        let mut coarse = vec![0; 2 * HALF];
        for (bin, count) in self.counts.iter().enumerate() {
            coarse[(bin + HALF) / 2] += count;
        }
        self.counts = coarse;
        self.exponent += 1;
    }
}

/// The least and the greatest of 0 and of those values that are finite.
#[inline(always)]
fn extremes(values: &[f32]) -> (f32, f32) {
    const LANES: usize = 16;
    let (mut least, mut greatest) = ([0f32; LANES], [0f32; LANES]);
    for chunk in values.chunks(LANES) {
        for ((&value, least), greatest) in chunk.iter().zip(&mut least).zip(&mut greatest) {
            let value = if value.is_finite() { value } else { 0.0 };
            *least = if value < *least { value } else { *least };
            *greatest = if value > *greatest { value } else { *greatest };
        }
    }
    let least = least.into_iter().fold(0.0, f32::min);
    (least, greatest.into_iter().fold(0.0, f32::max))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(scale: f32) -> Vec<f32> {
        (0..1000)
            .map(|i| ((i * 37 % 1001) as f32 - 400.0) * scale)
            .collect()
    }

    #[test]
    fn merging_in_any_order_gives_the_histogram_of_all_values() {
        let parts = [values(0.01), values(3.0), values(0.5)];
        let all = Histogram::of(&parts.concat());
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
            let mut merged = Histogram::default();
            for i in order {
                merged.merge(Histogram::of(&parts[i]));
            }
            assert_eq!(merged, all);
        }
    }

    #[test]
    fn values_that_are_not_finite_are_left_out() {
        let values = [f32::NAN, 1.0, 0.0, -2.5, f32::INFINITY, -0.0, 1e-40, -1e-40];
        let histogram = Histogram::of(&values);
        assert_eq!((histogram.count(), histogram.zeros), (6, 2));
        assert_eq!((histogram.min(), histogram.max()), (-2.5, 1.0));
        let beside_zero = histogram.bins().filter(|(value, _)| value.abs() < 0.01);
        assert_eq!(beside_zero.count(), 3);
    }

    #[test]
    fn bins_hold_every_value_within_half_a_bin() {
        let values = values(1.0);
        let histogram = Histogram::of(&values);
        let count: u64 = histogram.bins().map(|(_, n)| n).sum();
        assert_eq!(count, values.len() as u64);
        let mean = values.iter().map(|v| f64::from(v * v)).sum::<f64>() / values.len() as f64;
        assert!((histogram.power() / mean - 1.0).abs() < 1e-3);
    }
}
