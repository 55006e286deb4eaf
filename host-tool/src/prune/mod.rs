//! Which weights become zero: the options that people know, as pure functions over layers.
//!
//! A [`Criterion`] gives every weight a score; [`masks`] takes the least scores away until the
//! sparsity is reached, in the units of a [`Pattern`] and compared within a [`Scope`]; a
//! [`Schedule`] splits that into rounds, between which [`in_rounds`] asks for new scores. Whatever
//! scores are, they are one `f32` per weight in the order of the weights, not negative, and what is
//! pruned first has the least.

mod criterion;
mod exact;
mod masks;
mod network;
mod pattern;
mod schedule;
pub mod synflow;

pub use criterion::{Criterion, activation, damage, magnitude, network_scores};
pub use exact::obs;
pub use masks::{LEAST_KEPT, Scope, masks};
pub use network::Evidence;
pub use pattern::{BLOCK, Pattern, WeightLayout};
pub use schedule::Schedule;

/// How a network is pruned.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pruning {
    /// Least share of weights that are zero, from 0 to below 1: see [`Pattern::sparsity`].
    pub sparsity: f64,
    /// What a weight is worth.
    pub criterion: Criterion,
    /// Which weights are compared with each other.
    pub scope: Scope,
    /// In how many rounds.
    pub schedule: Schedule,
    /// Which weights become zero together.
    pub pattern: Pattern,
}

/// An option that means nothing.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PruningError {
    /// A schedule that is neither known word.
    #[error(
        "`{0}` is no schedule: want `one-shot` or `iterative:N` with N rounds, such as `iterative:10`"
    )]
    Schedule(String),
    /// Rounds that are not a number from 1.
    #[error("`{0}` is no number of rounds: want 1 or more, such as `iterative:10`")]
    Rounds(String),
    /// A sparsity that is no share.
    #[error("{0} is no sparsity: want a number from 0 to below 1, such as 0.5")]
    Sparsity(f64),
    /// A sparsity that contradicts the pattern.
    #[error(
        "the pattern 2:4 makes half of the weights zero, not a share of {0}: leave the sparsity out, or take another pattern"
    )]
    NotHalf(f64),
}

/// The masks after all rounds of `pruning`: per node with weights, which of them stay. `scores` gives
/// the scores of all layers for the masks of the round before (all `true` at first); what it
/// measures on the pruned network, [`Criterion::Obs`] and [`Criterion::SynFlow`] see anew each round.
///
/// # Panics
/// As [`masks`].
pub fn in_rounds(
    layouts: &[Option<WeightLayout>],
    pruning: &Pruning,
    mut scores: impl FnMut(&[Option<Vec<bool>>]) -> Vec<Option<Vec<f32>>>,
) -> Vec<Option<Vec<bool>>> {
    let mut kept: Vec<Option<Vec<bool>>> = layouts
        .iter()
        .map(|layout| Some(vec![true; layout.as_ref()?.weights]))
        .collect();
    for sparsity in pruning.schedule.sparsities(pruning.sparsity) {
        let scores = scores(&kept);
        kept = masks(
            layouts,
            &scores,
            sparsity,
            pruning.scope,
            pruning.pattern,
            &kept,
        );
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroUsize;

    #[test]
    fn rounds_reach_the_sparsity_with_new_scores_and_no_zero_comes_back() {
        let layouts = [Some(WeightLayout::dense(4, 10)), None];
        let pruning = Pruning {
            sparsity: 0.5,
            schedule: Schedule::Iterative(NonZeroUsize::new(3).unwrap()),
            ..Pruning::default()
        };
        let mut seen = Vec::new();
        let result = in_rounds(&layouts, &pruning, |kept| {
            let kept = kept[0].clone().unwrap();
            seen.push(kept.clone());
            // Reversed every round: a weight that was worth least is worth most in the next.
            let rising = |i: usize| if seen.len() % 2 == 1 { i } else { 40 - i };
            vec![Some((0..40).map(|i| rising(i) as f32).collect()), None]
        });
        let last = result[0].clone().unwrap();
        assert_eq!(result[1], None);
        assert_eq!(last.iter().filter(|&&keep| !keep).count(), 20);
        assert_eq!(seen.len(), 3);
        assert!(seen[0].iter().all(|&keep| keep));
        seen.push(last);
        for rounds in seen.windows(2) {
            assert!(
                rounds[0]
                    .iter()
                    .zip(&rounds[1])
                    .all(|(before, after)| *before || !after)
            );
        }
    }
}
