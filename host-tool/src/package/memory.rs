//! Places the activations in the arena: tensors whose lifetimes overlap get different bytes.

use edgeprune_format::ALIGNMENT;

/// An activation's place in time: it is alive from step `first` to step `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lifetime {
    /// Bytes.
    pub(super) size: usize,
    /// Step that writes it.
    pub(super) first: usize,
    /// Last step that reads it.
    pub(super) last: usize,
}

impl Lifetime {
    fn overlaps(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Offsets, in order, and the total. Largest first, each into the lowest gap among those it lives
/// together with that fits best ("greedy by size", Pisarchyk and Lee, arXiv 2001.03288, section 5.2).
pub(super) fn place(lifetimes: &[Lifetime]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..lifetimes.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(lifetimes[i].size), i));
    let mut offsets: Vec<Option<usize>> = vec![None; lifetimes.len()];
    let mut total = 0;
    for &i in &order {
        let size = lifetimes[i].size.next_multiple_of(ALIGNMENT);
        let mut taken: Vec<(usize, usize)> = (0..lifetimes.len())
            .filter(|&j| lifetimes[j].overlaps(&lifetimes[i]))
            .filter_map(|j| Some((offsets[j]?, lifetimes[j].size.next_multiple_of(ALIGNMENT))))
            .collect();
        taken.sort_unstable();
        let offset = best_gap(&taken, size);
        offsets[i] = Some(offset);
        total = total.max(offset + size);
    }
    (offsets.into_iter().flatten().collect(), total)
}

/// Start of the smallest gap between `taken` (sorted offset, size) that holds `size`.
fn best_gap(taken: &[(usize, usize)], size: usize) -> usize {
    let (mut end, mut best) = (0, None);
    for &(offset, length) in taken {
        if offset >= end + size && best.is_none_or(|(gap, _)| offset - end < gap) {
            best = Some((offset - end, end));
        }
        end = end.max(offset + length);
    }
    best.map_or(end, |(_, start)| start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn tensors_that_live_together_never_share_bytes(
            tensors in prop::collection::vec((1usize..5000, 0usize..30, 0usize..10), 1..40),
        ) {
            let lifetimes: Vec<Lifetime> = tensors
                .iter()
                .map(|&(size, first, length)| Lifetime { size, first, last: first + length })
                .collect();
            let (offsets, total) = place(&lifetimes);
            prop_assert_eq!(offsets.len(), lifetimes.len());
            for (a, x) in lifetimes.iter().zip(&offsets) {
                prop_assert!(x % ALIGNMENT == 0 && x + a.size <= total);
                for (b, y) in lifetimes.iter().zip(&offsets) {
                    let apart = x + a.size <= *y || y + b.size <= *x;
                    prop_assert!(std::ptr::eq(a, b) || !a.overlaps(b) || apart);
                }
            }
        }
    }
}
