//! Which weights become zero together: how a layer's weights split into what is kept or pruned as one.

use super::PruningError;
use crate::graph::{Graph, Op};

/// Weights of a block, and of a group of 2:4.
pub const BLOCK: usize = 4;
/// Weights of a group of 2:4 that may stay.
const KEPT_OF_GROUP: usize = 2;
/// The sparsity of 2:4.
const HALF: f64 = 0.5;

/// The pattern of zeros. Blocks and groups are consecutive in memory, and never cross from one kernel
/// position to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Pattern {
    /// Any weight.
    #[default]
    Unstructured,
    /// At least two zeros in every 4 consecutive input channels of an output channel, at every kernel
    /// position, so half of the weights (Mishra et al., arXiv 2104.08378). What is left of a channel count
    /// that is no multiple of 4 stays dense, as do depthwise layers.
    #[value(name = "2:4")]
    TwoOfFour,
    /// 4 consecutive input channels of an output channel, at one kernel position, live or die together;
    /// what is left of a channel count that is no multiple of 4 is a shorter block. In a depthwise
    /// layer, whose output channels have one input channel each, a block is 4 consecutive channels at
    /// one kernel position.
    #[value(name = "1x4")]
    Block1x4,
}

impl Pattern {
    /// The sparsity for what was `asked`: without a wish the pattern's own, which is 0.5 for 2:4 and 0
    /// for the others.
    ///
    /// # Errors
    /// A number that is no share below 1, or not 0.5 for 2:4.
    pub fn sparsity(self, asked: Option<f64>) -> Result<f64, PruningError> {
        match (self, asked) {
            (_, Some(share)) if !(0.0..1.0).contains(&share) => Err(PruningError::Sparsity(share)),
            (Self::TwoOfFour, Some(share)) if share != HALF => Err(PruningError::NotHalf(share)),
            (Self::TwoOfFour, _) => Ok(HALF),
            (_, asked) => Ok(asked.unwrap_or(0.0)),
        }
    }

    /// The share of weights to take for a sparsity: all that may go once 2:4 must hold, whatever
    /// other groups lost before.
    pub(super) fn share(self, sparsity: f64) -> f64 {
        if self == Self::TwoOfFour && sparsity >= HALF {
            1.0
        } else {
            sparsity
        }
    }

    /// Most weights that are kept or pruned as one.
    pub(super) fn width(self) -> usize {
        match self {
            Self::Unstructured | Self::TwoOfFour => 1,
            Self::Block1x4 => BLOCK,
        }
    }

    /// Whether all weights of a layer stay.
    pub(super) fn spares(self, layout: WeightLayout) -> bool {
        self == Self::TwoOfFour && (layout.depthwise || layout.channels < BLOCK)
    }
}

/// How the weights of a layer lie in memory: runs of consecutive channels, one for each kernel position
/// (and each output channel, unless the layer is depthwise).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightLayout {
    /// Number of weights.
    pub weights: usize,
    /// Channels of a run: input channels of a group, all channels of a depthwise layer.
    pub channels: usize,
    /// Whether a run's weights belong to different output channels.
    pub depthwise: bool,
}

impl WeightLayout {
    /// The layout of a layer with weights, else `None`.
    pub fn of(op: &Op) -> Option<Self> {
        let linear = op.linear()?;
        Some(Self {
            weights: linear.weights.len(),
            channels: linear.shape[3],
            depthwise: matches!(op, Op::DepthwiseConv2d { .. }),
        })
    }

    /// One entry per node.
    pub fn of_network(graph: &Graph) -> Vec<Option<Self>> {
        graph.nodes.iter().map(|node| Self::of(&node.op)).collect()
    }

    /// A layer of `runs` runs of `channels` channels that is not depthwise.
    pub fn dense(runs: usize, channels: usize) -> Self {
        Self {
            weights: runs * channels,
            channels,
            depthwise: false,
        }
    }

    /// Calls `visit` with the number of weights of every block of at most `width` weights, in order.
    pub(super) fn for_each_block(self, width: usize, mut visit: impl FnMut(usize)) {
        if width == 1 {
            return (0..self.weights).for_each(|_| visit(1));
        }
        for _ in 0..self.weights / self.channels.max(1) {
            let (whole, rest) = (self.channels / width, self.channels % width);
            (0..whole).for_each(|_| visit(width));
            if rest > 0 {
                visit(rest);
            }
        }
    }

    /// For each group of 2:4 the positions in it that stay, the rank of each weight given: the two of
    /// highest rank, the later of equals.
    pub(super) fn kept_of_groups(self, ranks: &[u32]) -> Vec<bool> {
        let mut kept = vec![true; ranks.len()];
        if Pattern::TwoOfFour.spares(self) {
            return kept;
        }
        let runs = ranks.chunks_exact(self.channels);
        for (ranks, kept) in runs.zip(kept.chunks_exact_mut(self.channels)) {
            let groups = ranks.as_chunks::<BLOCK>().0.iter();
            for (ranks, kept) in groups.zip(kept.as_chunks_mut::<BLOCK>().0) {
                for (i, kept) in kept.iter_mut().enumerate() {
                    let above = |&j: &usize| (ranks[j], j) > (ranks[i], i);
                    *kept = (0..BLOCK).filter(above).count() < KEPT_OF_GROUP;
                }
            }
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn patterns_have_the_names_that_people_know() {
        for (name, pattern) in [
            ("unstructured", Pattern::Unstructured),
            ("2:4", Pattern::TwoOfFour),
            ("1x4", Pattern::Block1x4),
        ] {
            assert_eq!(Pattern::from_str(name, false), Ok(pattern));
        }
    }

    #[test]
    fn a_pattern_says_which_sparsity_it_takes() {
        assert_eq!(Pattern::Unstructured.sparsity(None), Ok(0.0));
        assert_eq!(Pattern::Block1x4.sparsity(Some(0.7)), Ok(0.7));
        assert_eq!(Pattern::TwoOfFour.sparsity(None), Ok(0.5));
        assert_eq!(Pattern::TwoOfFour.sparsity(Some(0.5)), Ok(0.5));
        let refused = |pattern: Pattern, share| pattern.sparsity(Some(share)).unwrap_err();
        assert_eq!(
            refused(Pattern::TwoOfFour, 0.7).to_string(),
            "the pattern 2:4 makes half of the weights zero, not a share of 0.7: leave the sparsity out, or take another pattern"
        );
        for share in [1.0, -0.1, f64::NAN] {
            let message = refused(Pattern::Unstructured, share).to_string();
            assert!(message.contains("from 0 to below 1"), "{message}");
        }
    }

    #[test]
    fn blocks_end_with_their_run() {
        let sizes = |layout: WeightLayout, width| {
            let mut sizes = Vec::new();
            layout.for_each_block(width, |size| sizes.push(size));
            sizes
        };
        assert_eq!(sizes(WeightLayout::dense(2, 6), 4), [4, 2, 4, 2]);
        assert_eq!(sizes(WeightLayout::dense(2, 3), 4), [3, 3]);
        assert_eq!(sizes(WeightLayout::dense(2, 2), 1), [1; 4]);
    }

    #[test]
    fn two_of_each_group_stay_and_the_rest_of_a_run_is_dense() {
        let layout = WeightLayout::dense(2, 5);
        let kept = layout.kept_of_groups(&[4, 3, 2, 1, 0, 7, 7, 7, 7, 0]);
        let expected = [1, 1, 0, 0, 1, 0, 0, 1, 1, 1].map(|keep| keep == 1);
        assert_eq!(kept, expected);
    }
}
