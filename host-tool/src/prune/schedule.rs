//! In how many rounds a network is pruned.

use super::PruningError;
use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

/// All at once, or in rounds between which the scores are taken anew. Typed as `one-shot`, or as
/// `iterative:N` or `iterative=N` for N rounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Schedule {
    /// One round.
    #[default]
    OneShot,
    /// That many rounds.
    Iterative(NonZeroUsize),
}

impl Schedule {
    /// The sparsity after each round; the last is `sparsity`. Iterative ones follow the cubic of Zhu &
    /// Gupta ("To prune, or not to prune", arXiv 1710.01878, equation 1) from a dense network:
    /// `sparsity * (1 - (1 - t/n)^3)` after round `t` of `n`, much at first and little where it hurts.
    pub fn sparsities(self, sparsity: f64) -> impl Iterator<Item = f64> {
        let rounds = match self {
            Self::OneShot => 1,
            Self::Iterative(rounds) => rounds.get(),
        };
        (1..=rounds).map(move |round| {
            let left = 1.0 - round as f64 / rounds as f64;
            sparsity * (1.0 - left.powi(3))
        })
    }
}

impl FromStr for Schedule {
    type Err = PruningError;

    fn from_str(text: &str) -> Result<Self, PruningError> {
        if text == "one-shot" {
            return Ok(Self::OneShot);
        }
        let rounds = text
            .strip_prefix("iterative")
            .and_then(|rest| rest.strip_prefix([':', '=']))
            .ok_or_else(|| PruningError::Schedule(text.to_owned()))?;
        match rounds.parse() {
            Ok(rounds) => Ok(Self::Iterative(rounds)),
            Err(_) => Err(PruningError::Rounds(rounds.to_owned())),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneShot => f.write_str("one-shot"),
            Self::Iterative(rounds) => write!(f, "iterative:{rounds}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn iterative(rounds: usize) -> Schedule {
        Schedule::Iterative(NonZeroUsize::new(rounds).unwrap())
    }

    #[test]
    fn schedules_are_read_as_they_are_written() {
        assert_eq!("one-shot".parse(), Ok(Schedule::OneShot));
        assert_eq!("iterative=3".parse(), Ok(iterative(3)));
        for schedule in [Schedule::OneShot, iterative(1), iterative(20)] {
            assert_eq!(schedule.to_string().parse(), Ok(schedule));
        }
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_what_would_be_one() {
        let message = |text: &str| text.parse::<Schedule>().unwrap_err().to_string();
        for text in ["", "oneshot", "iterative", "iterative 3", "iteratively:3"] {
            assert!(
                message(text).contains("`one-shot` or `iterative:N`"),
                "{text}"
            );
        }
        for text in ["iterative:", "iterative:0", "iterative:-1", "iterative:2.5"] {
            assert!(message(text).contains("1 or more"), "{text}");
        }
    }

    #[test]
    fn one_round_is_one_shot_and_two_follow_the_cubic() {
        let sparsities = |schedule: Schedule| schedule.sparsities(0.8).collect::<Vec<_>>();
        assert_eq!(sparsities(Schedule::OneShot), [0.8]);
        assert_eq!(sparsities(iterative(1)), [0.8]);
        assert_eq!(sparsities(iterative(2)), [0.8 * 0.875, 0.8]);
    }

    proptest! {
        #[test]
        fn rounds_rise_in_shrinking_steps_to_the_very_sparsity(
            rounds in 1usize..60,
            sparsity in 0.01f64..1.0,
        ) {
            let all: Vec<f64> = [0.0].into_iter().chain(iterative(rounds).sparsities(sparsity)).collect();
            prop_assert_eq!(all.len(), rounds + 1);
            prop_assert_eq!(all[rounds], sparsity);
            let steps: Vec<f64> = all.windows(2).map(|pair| pair[1] - pair[0]).collect();
            prop_assert!(steps.iter().all(|&step| step > 0.0));
            prop_assert!(steps.windows(2).all(|pair| pair[1] <= pair[0]));
        }
    }
}
