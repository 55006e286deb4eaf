//! Where values lie on an axis, and the round numbers beside it.

/// An axis of a chart, from its low end to its high end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::report::html) struct Axis {
    low: f64,
    high: f64,
    division: Division,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Division {
    /// Evenly; the distance of the numbers.
    Even(f64),
    /// By the logarithm; all values are positive.
    Logarithmic,
}

/// Numbers beside an axis, about.
const NUMBERS: f64 = 5.0;
/// Most numbers beside a logarithmic axis.
const MOST_NUMBERS: usize = 7;

impl Axis {
    /// From zero to a little more than the largest value.
    pub(in crate::report::html) fn from_zero(values: impl Iterator<Item = f64>) -> Self {
        let high = values.fold(0.0, f64::max);
        let high = if high > 0.0 { 1.08 * high } else { 1.0 };
        Self {
            low: 0.0,
            high,
            division: Division::Even(nice(high / NUMBERS)),
        }
    }

    /// From below the least value to above the largest, but not above `most`.
    pub(in crate::report::html) fn around(values: impl Iterator<Item = f64>, most: f64) -> Self {
        let (low, high) = ends(values);
        let span = (high - low).max(1.0);
        let step = nice(span / 3.0);
        Self {
            low: ((low - 0.25 * span) / step).floor() * step,
            high: (((high + 0.25 * span) / step).ceil() * step).min(most),
            division: Division::Even(step),
        }
    }

    /// Equal ratios get equal room.
    pub(in crate::report::html) fn logarithmic(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = ends(values.filter(|&value| value > 0.0));
        Self {
            low: low / 1.15,
            high: high * 1.15,
            division: Division::Logarithmic,
        }
    }

    pub(in crate::report::html) fn low(&self) -> f64 {
        self.low
    }

    pub(in crate::report::html) fn high(&self) -> f64 {
        self.high
    }

    /// Per cent of the way from the low end to the high end.
    pub(super) fn at(&self, value: f64) -> f64 {
        match self.division {
            Division::Even(_) => 100.0 * (value - self.low) / (self.high - self.low),
            Division::Logarithmic => 100.0 * (value / self.low).ln() / (self.high / self.low).ln(),
        }
    }

    /// Per cent of the way from the high end to the low end: an SVG's y grows downwards.
    pub(super) fn down(&self, value: f64) -> f64 {
        100.0 - self.at(value)
    }

    /// Round numbers from end to end.
    pub(super) fn numbers(&self) -> Vec<f64> {
        match self.division {
            Division::Even(step) => ticks(self.low, self.high, step),
            Division::Logarithmic => round_numbers(self.low, self.high),
        }
    }
}

/// The least and the largest value; some without any.
fn ends(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let ends = values.fold(None, |ends: Option<(f64, f64)>, value| match ends {
        None => Some((value, value)),
        Some((low, high)) => Some((low.min(value), high.max(value))),
    });
    ends.unwrap_or((1.0, 10.0))
}

/// 1, 2 and 5 times the powers of ten between two positive numbers; only the powers themselves, and then every other,
/// where those are too many to read.
fn round_numbers(low: f64, high: f64) -> Vec<f64> {
    let powers = low.log10().floor() as i32..=high.log10().ceil() as i32;
    let times = |factors: &[f64]| {
        let all = powers
            .clone()
            .flat_map(|power| factors.iter().map(move |f| f * 10f64.powi(power)));
        all.filter(|x| (low..=high).contains(x))
            .collect::<Vec<f64>>()
    };
    let mut numbers = times(&[1.0, 2.0, 5.0]);
    if numbers.len() > MOST_NUMBERS {
        numbers = times(&[1.0]);
    }
    while numbers.len() > MOST_NUMBERS {
        numbers = numbers.into_iter().step_by(2).collect();
    }
    numbers
}

fn ticks(from: f64, to: f64, step: f64) -> Vec<f64> {
    let count = ((to - from) / step + 1e-9).floor() as usize;
    (0..=count.min(20))
        .map(|i| from + i as f64 * step)
        .collect()
}

/// The smallest of 1, 2, 5 times a power of ten that is at least `value`.
fn nice(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|f| f * power >= value);
    factor.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_ends_at_what_is_possible() {
        let axis = Axis::around([90.0, 99.8].into_iter(), 100.0);
        assert_eq!(axis.numbers(), [85.0, 90.0, 95.0, 100.0]);
    }

    #[test]
    fn numbers_are_round() {
        assert_eq!(nice(0.3), 0.5);
        assert_eq!(nice(7.0), 10.0);
        assert_eq!(ticks(90.0, 92.0, 0.5), [90.0, 90.5, 91.0, 91.5, 92.0]);
        assert_eq!(round_numbers(900.0, 12_000.0), [1e3, 2e3, 5e3, 1e4]);
        assert_eq!(round_numbers(90.0, 11_000.0).len(), 7);
        assert_eq!(round_numbers(90.0, 110_000.0), [1e2, 1e3, 1e4, 1e5]);
        assert!(round_numbers(1.0, 1e9).len() <= MOST_NUMBERS);
    }

    #[test]
    fn a_logarithmic_axis_gives_equal_ratios_equal_room() {
        let axis = Axis::logarithmic([1e3, 1e5].into_iter());
        let [a, b, c] = [1e3, 1e4, 1e5].map(|x| axis.at(x));
        assert!((c - b - (b - a)).abs() < 1e-9);
        assert!(a > 0.0 && c < 100.0);
    }

    #[test]
    fn an_axis_without_values_is_one_all_the_same() {
        for axis in [
            Axis::from_zero(std::iter::empty()),
            Axis::from_zero([0.0].into_iter()),
            Axis::around(std::iter::empty(), 100.0),
            Axis::logarithmic([0.0].into_iter()),
        ] {
            assert!(axis.at(1.0).is_finite() && axis.high() > axis.low());
        }
    }
}
