//! From scores to masks: the least scores go until the sparsity is reached.
//!
//! A score becomes a 32-bit rank that orders as the scores do, so that the threshold is found exactly
//! by counting: once by the upper, once by the lower half of the ranks. Nothing is sorted or copied.

use super::pattern::BlockShape;
use super::{Pattern, WeightLayout};
use rayon::prelude::*;

/// Which weights are compared with each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Scope {
    /// Those of a layer: the same share goes from each.
    Local,
    /// Those of the network: one threshold on the scores as they are. Magnitudes too are compared raw, as
    /// is customary, although layers differ in the size of their weights.
    #[default]
    Global,
}

/// Share of a layer that goes only when all other weights of the network are gone.
pub const LEAST_KEPT: f64 = 0.005;

/// Rank of what is pruned already: the first to go.
const PRUNED: u32 = 0;
/// Set in the rank of the best of a layer: they go after all others.
const RESERVED: u32 = 1 << 31;
/// Rank of what always stays.
const KEPT: u32 = u32::MAX;

/// Per node with weights which of them stay (`true`), so that at least the share `sparsity` (0 to 1)
/// of the network's weights goes, or of each layer's with [`Scope::Local`]: the fewest with the
/// least scores that suffice, and of equal scores the earlier ones. For the same scores, a mask of a
/// larger sparsity is within that of a smaller one.
///
/// One entry per node: `layouts` and `scores` of those with weights, scores in the order of the weights
/// (what is not above 0 counts as 0). `fixed` may be empty; where it is `false`, a weight is pruned
/// already, counts towards the sparsity, and stays zero.
///
/// No layer collapses: the best [`LEAST_KEPT`] of each, rounded up, go only after everything else,
/// and its best block never. So a threshold over the network takes the rest elsewhere, and a
/// sparsity that leaves less than a block to each layer is not reached.
///
/// Patterns: blocks rank by the mean of their scores, and up to the weights of a block but one go beyond the sparsity.
/// [`Pattern::Block4x4`] counts multiplications for weights, and ranks by the score of each. [`Pattern::TwoOfFour`] takes only
/// the lesser two of each group, all of them from a sparsity of 0.5 on: less of the network goes
/// where layers stay dense.
///
/// # Panics
/// If a layer has not as many scores, or fixed weights, as weights.
pub fn masks(
    layouts: &[Option<WeightLayout>],
    scores: &[Option<Vec<f32>>],
    sparsity: f64,
    scope: Scope,
    pattern: Pattern,
    fixed: &[Option<Vec<bool>>],
) -> Vec<Option<Vec<bool>>> {
    let layers: Vec<Layer<'_>> = (0..layouts.len())
        .into_par_iter()
        .filter_map(|node| {
            let (layout, scores) = (layouts[node]?, scores[node].as_deref()?);
            let fixed = fixed.get(node).and_then(Option::as_deref);
            Some(Layer::new(node, layout, pattern, scores, fixed))
        })
        .collect();
    let compared = match scope {
        Scope::Local => 1,
        Scope::Global => layers.len().max(1),
    };
    let masked: Vec<Vec<Vec<bool>>> = layers
        .par_chunks(compared)
        .map(|layers| prune(layers, pattern.share(sparsity)))
        .collect();
    let mut masks = vec![None; layouts.len()];
    for (layer, mask) in layers.iter().zip(masked.into_iter().flatten()) {
        masks[layer.node] = Some(mask);
    }
    masks
}

/// The masks of layers that share one threshold, with `share` of their weights gone.
fn prune(layers: &[Layer<'_>], share: f64) -> Vec<Vec<bool>> {
    let weights = layers.iter().map(Layer::units).sum();
    let mut cut = Cut::new(layers, least_count(weights, share));
    let ties: Vec<usize> = layers.par_iter().map(|l| l.weights_at(cut.rank)).collect();
    let cuts: Vec<Cut> = ties
        .into_iter()
        .map(|ties| {
            let here = cut;
            cut.ties = cut.ties.saturating_sub(ties);
            here
        })
        .collect();
    layers
        .par_iter()
        .zip(cuts)
        .map(|(layer, cut)| layer.mask(cut))
        .collect()
}

/// The least count whose share of `of` is not below `share`.
fn least_count(of: usize, share: f64) -> usize {
    let near = (of as f64 * share) as usize;
    (near.saturating_sub(1)..=of)
        .find(|&count| count as f64 / of as f64 >= share)
        .unwrap_or(of)
}

/// The blocks of a layer and their ranks.
struct Layer<'a> {
    node: usize,
    layout: WeightLayout,
    /// Most weights of a block.
    block: BlockShape,
    /// What a weight counts.
    unit: usize,
    /// One per block.
    ranks: Vec<u32>,
    fixed: Option<&'a [bool]>,
}

impl<'a> Layer<'a> {
    fn new(
        node: usize,
        layout: WeightLayout,
        pattern: Pattern,
        scores: &[f32],
        fixed: Option<&'a [bool]>,
    ) -> Self {
        assert_eq!(scores.len(), layout.weights, "scores of node {node}");
        assert!(fixed.is_none_or(|fixed| fixed.len() == layout.weights));
        let mut layer = Self {
            node,
            layout,
            block: pattern.shape(),
            unit: pattern.unit(layout),
            ranks: Vec::with_capacity(layout.weights / pattern.shape().weights()),
            fixed,
        };
        layer.rank_blocks(scores);
        if pattern == Pattern::TwoOfFour {
            layer.keep_half_of_groups();
        } else if pattern.spares(layout) {
            layer.keep_all();
        }
        layer.reserve_best();
        layer
    }

    fn rank_blocks(&mut self, scores: &[f32]) {
        let stays = |i: usize| self.fixed.is_none_or(|fixed| fixed[i]);
        self.layout.for_each_block(self.block, |block| {
            let alive = block.weights().filter(|&i| stays(i));
            let (count, sum) = alive.fold((0, 0.0), |(n, sum), i| (n + 1, sum + scores[i]));
            self.ranks.push(match count {
                0 => PRUNED,
                _ => rank(sum / (block.len() * self.unit) as f32),
            });
        });
    }

    fn keep_all(&mut self) {
        let alive = self.ranks.iter_mut().filter(|rank| **rank != PRUNED);
        alive.for_each(|rank| *rank = KEPT);
    }

    fn keep_half_of_groups(&mut self) {
        let kept = self.layout.kept_of_groups(&self.ranks);
        for (rank, kept) in self.ranks.iter_mut().zip(kept) {
            if kept && *rank != PRUNED {
                *rank = KEPT;
            }
        }
    }

    /// Marks the best of the layer, so that it does not collapse.
    fn reserve_best(&mut self) {
        let kept =
            (self.layout.weights as f64 * LEAST_KEPT).ceil() as usize + self.block.weights() - 1;
        let others = Cut::new(
            std::slice::from_ref(self),
            self.units().saturating_sub(kept * self.unit),
        );
        let mut reserved = Vec::new();
        self.for_each_beyond(others, |block| reserved.push(block));
        let best = (0..self.ranks.len()).max_by_key(|&block| self.ranks[block]);
        for block in reserved {
            if self.ranks[block] != PRUNED {
                self.ranks[block] |= RESERVED;
            }
        }
        if let Some(best) = best.filter(|&best| self.ranks[best] != PRUNED) {
            self.ranks[best] = KEPT;
        }
    }

    /// What all weights count.
    fn units(&self) -> usize {
        self.layout.weights * self.unit
    }

    /// Calls `visit` with the rank of every block and what its weights count.
    fn for_each(&self, mut visit: impl FnMut(u32, usize)) {
        let mut ranks = self.ranks.iter();
        self.layout.for_each_block(self.block, |block| {
            if let Some(&rank) = ranks.next() {
                visit(rank, block.len() * self.unit);
            }
        });
    }

    /// Calls `visit` with every block that a cut leaves.
    fn for_each_beyond(&self, mut cut: Cut, mut visit: impl FnMut(usize)) {
        let mut block = 0;
        self.for_each(|rank, size| {
            if !cut.takes(rank, size) {
                visit(block);
            }
            block += 1;
        });
    }

    /// Weights of a rank.
    fn weights_at(&self, rank: u32) -> usize {
        let mut weights = 0;
        self.for_each(|other, size| weights += if other == rank { size } else { 0 });
        weights
    }

    fn mask(&self, mut cut: Cut) -> Vec<bool> {
        let mut mask = vec![true; self.layout.weights];
        let mut ranks = self.ranks.iter();
        self.layout.for_each_block(self.block, |block| {
            let size = block.len() * self.unit;
            if ranks.next().is_some_and(|&rank| cut.takes(rank, size)) {
                block.weights().for_each(|i| mask[i] = false);
            }
        });
        for (stays, &fixed) in mask.iter_mut().zip(self.fixed.unwrap_or_default()) {
            *stays &= fixed;
        }
        mask
    }
}

/// The rank of a score: above [`PRUNED`], below [`RESERVED`].
fn rank(score: f32) -> u32 {
    if score > 0.0 { score.to_bits() + 1 } else { 1 }
}

/// What goes: all blocks below a rank, and the first ones at it.
#[derive(Clone, Copy, Debug)]
struct Cut {
    rank: u32,
    /// Weights at the rank that go.
    ties: usize,
}

impl Cut {
    /// The cut that takes `weights` weights, or what may go if that is less.
    fn new(layers: &[Layer<'_>], weights: usize) -> Self {
        let nothing = Self { rank: 0, ties: 0 };
        if weights == 0 {
            return nothing;
        }
        let upper = count(layers, |rank| Some(rank >> 16));
        let Some((upper, rest)) = locate(&upper, weights) else {
            return Self {
                rank: KEPT,
                ties: 0,
            };
        };
        let lower = count(layers, |rank| {
            (rank >> 16 == upper).then_some(rank & 0xffff)
        });
        locate(&lower, rest).map_or(nothing, |(lower, ties)| Self {
            rank: upper << 16 | lower,
            ties,
        })
    }

    /// Whether the next block goes.
    fn takes(&mut self, rank: u32, size: usize) -> bool {
        if rank != self.rank {
            return rank < self.rank;
        }
        let takes = self.ties > 0;
        self.ties = self.ties.saturating_sub(size);
        takes
    }
}

/// Weights that may go, by what `bucket` makes of their rank.
fn count(layers: &[Layer<'_>], bucket: impl Fn(u32) -> Option<u32> + Sync) -> Vec<usize> {
    let count = |layer: &Layer<'_>| {
        let mut weights = vec![0; 1 << 16];
        layer.for_each(|rank, size| {
            if rank != KEPT
                && let Some(bucket) = bucket(rank)
            {
                weights[bucket as usize] += size;
            }
        });
        weights
    };
    let add = |mut sums: Vec<usize>, more: Vec<usize>| {
        sums.iter_mut()
            .zip(more)
            .for_each(|(sum, more)| *sum += more);
        sums
    };
    layers
        .par_iter()
        .map(count)
        .reduce_with(add)
        .unwrap_or_default()
}

/// The bucket in which the sum of `weights` reaches an `amount` above 0, and what it has to give.
fn locate(weights: &[usize], amount: usize) -> Option<(u32, usize)> {
    let mut rest = amount;
    for (bucket, &weights) in weights.iter().enumerate() {
        if weights >= rest {
            return Some((bucket as u32, rest));
        }
        rest -= weights;
    }
    None
}

#[cfg(test)]
mod tests;
