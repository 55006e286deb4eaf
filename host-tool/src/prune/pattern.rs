//! Which weights become zero together: how a layer's weights split into what is kept or pruned as one.

use super::PruningError;
use crate::graph::{Graph, Node, Op};

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
    /// As 1x4, but for 4 consecutive output channels together: kernels leave such blocks out. So that
    /// they save time, the sparsity is that of the multiplications, and depthwise layers stay dense.
    #[value(name = "4x4")]
    Block4x4,
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

    /// Most output channels and most of their weights that are kept or pruned as one.
    pub(super) fn shape(self) -> BlockShape {
        let (rows, width) = match self {
            Self::Unstructured | Self::TwoOfFour => (1, 1),
            Self::Block1x4 => (1, BLOCK),
            Self::Block4x4 => (4, BLOCK),
        };
        BlockShape { rows, width }
    }

    /// Whether all weights of a layer stay.
    pub(super) fn spares(self, layout: WeightLayout) -> bool {
        match self {
            Self::Unstructured | Self::Block1x4 => false,
            Self::TwoOfFour => layout.depthwise || layout.channels < BLOCK,
            Self::Block4x4 => layout.depthwise,
        }
    }

    /// What a weight of a layer counts towards the sparsity: 1, or its multiplications.
    pub(super) fn unit(self, layout: WeightLayout) -> usize {
        match self {
            Self::Unstructured | Self::TwoOfFour | Self::Block1x4 => 1,
            Self::Block4x4 => layout.positions,
        }
    }
}

/// The most weights of a block: consecutive ones of consecutive output channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockShape {
    rows: usize,
    width: usize,
}

impl BlockShape {
    pub(super) fn weights(self) -> usize {
        self.rows * self.width
    }
}

/// Weights that are kept or pruned as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// The first.
    start: usize,
    shape: BlockShape,
    /// Weights of an output channel.
    row: usize,
}

impl Block {
    /// Number of weights.
    pub(super) fn len(self) -> usize {
        self.shape.weights()
    }

    /// Where they are in the layer.
    pub(super) fn weights(self) -> impl Iterator<Item = usize> {
        let rows = (0..self.shape.rows).map(move |row| self.start + row * self.row);
        rows.flat_map(move |start| start..start + self.shape.width)
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
    /// Runs of an output channel, one for each kernel position; all of a depthwise layer.
    pub runs: usize,
    /// Output channels of a group, which share their inputs; 1 for a depthwise layer.
    pub outputs: usize,
    /// Multiplications of each weight: output positions.
    pub positions: usize,
    /// Whether a run's weights belong to different output channels.
    pub depthwise: bool,
}

impl WeightLayout {
    /// The layout of a layer with weights, else `None`.
    pub fn of(graph: &Graph, node: &Node) -> Option<Self> {
        let op = &node.op;
        let linear = op.linear()?;
        let [outputs, height, width, channels] = linear.shape;
        let groups = match op {
            Op::Conv2d { groups, .. } => *groups,
            _ => 1,
        };
        Some(Self {
            weights: linear.weights.len(),
            channels,
            runs: height * width,
            outputs: outputs / groups.max(1),
            positions: graph.macs(node) as usize / linear.weights.len().max(1),
            depthwise: matches!(op, Op::DepthwiseConv2d { .. }),
        })
    }

    /// One entry per node.
    pub fn of_network(graph: &Graph) -> Vec<Option<Self>> {
        let nodes = graph.nodes.iter();
        nodes.map(|node| Self::of(graph, node)).collect()
    }

    /// A layer of `outputs` output channels of `channels` weights each, without a window.
    pub fn dense(outputs: usize, channels: usize) -> Self {
        Self {
            weights: outputs * channels,
            channels,
            runs: 1,
            outputs,
            positions: 1,
            depthwise: false,
        }
    }

    /// Calls `visit` with every block of at most so many rows and weights of a row: those of the first output
    /// channels first.
    pub(super) fn for_each_block(self, most: BlockShape, mut visit: impl FnMut(Block)) {
        let row = self.runs * self.channels;
        let rows = self.weights / row.max(1);
        let mut first = 0;
        while first < rows {
            let of_group = self.outputs - first % self.outputs;
            let count = most.rows.min(of_group);
            for run in 0..self.runs {
                for channel in (0..self.channels).step_by(most.width) {
                    visit(Block {
                        start: first * row + run * self.channels + channel,
                        shape: BlockShape {
                            rows: count,
                            width: most.width.min(self.channels - channel),
                        },
                        row,
                    });
                }
            }
            first += count;
        }
    }

    /// Gives all weights of a block the mean of their scores.
    pub(super) fn share_in_blocks(self, pattern: Pattern, scores: &mut [f32]) {
        self.for_each_block(pattern.shape(), |block| {
            let sum: f32 = block.weights().map(|i| scores[i]).sum();
            let mean = sum / block.len() as f32;
            block.weights().for_each(|i| scores[i] = mean);
        });
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
            ("4x4", Pattern::Block4x4),
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
        let sizes = |layout: WeightLayout, pattern: Pattern| {
            let mut sizes = Vec::new();
            layout.for_each_block(pattern.shape(), |block| sizes.push(block.len()));
            sizes
        };
        let dense = WeightLayout::dense;
        assert_eq!(sizes(dense(2, 6), Pattern::Block1x4), [4, 2, 4, 2]);
        assert_eq!(sizes(dense(2, 3), Pattern::Block1x4), [3, 3]);
        assert_eq!(sizes(dense(2, 2), Pattern::Unstructured), [1; 4]);
        assert_eq!(sizes(dense(5, 6), Pattern::Block4x4), [16, 8, 4, 2]);
    }

    #[test]
    fn blocks_hold_every_weight_once_and_end_with_their_group() {
        let layout = WeightLayout {
            weights: 6 * 2 * 5,
            channels: 5,
            runs: 2,
            outputs: 3,
            positions: 1,
            depthwise: false,
        };
        let mut blocks: Vec<Vec<usize>> = Vec::new();
        layout.for_each_block(Pattern::Block4x4.shape(), |block| {
            blocks.push(block.weights().collect());
        });
        assert_eq!(blocks[0], [0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23]);
        assert_eq!(blocks[3], [9, 19, 29]);
        assert_eq!(blocks[4][0], 30);
        let mut all = blocks.concat();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..60));
    }

    #[test]
    fn weights_of_a_block_share_their_scores() {
        let mut scores = [1.0, 2.0, 3.0, 6.0, 5.0];
        let layout = WeightLayout::dense(1, 5);
        layout.share_in_blocks(Pattern::Unstructured, &mut scores);
        assert_eq!(scores, [1.0, 2.0, 3.0, 6.0, 5.0]);
        layout.share_in_blocks(Pattern::Block1x4, &mut scores);
        assert_eq!(scores, [3.0, 3.0, 3.0, 3.0, 5.0]);
    }

    #[test]
    fn two_of_each_group_stay_and_the_rest_of_a_run_is_dense() {
        let layout = WeightLayout::dense(2, 5);
        let kept = layout.kept_of_groups(&[4, 3, 2, 1, 0, 7, 7, 7, 7, 0]);
        let expected = [1, 1, 0, 0, 1, 0, 0, 1, 1, 1].map(|keep| keep == 1);
        assert_eq!(kept, expected);
    }
}
