//! Places the activations in the arena: tensors whose lifetimes overlap get different bytes.

use edgeprune_format::ALIGNMENT;
use edgeprune_format::manifest::{Manifest, Storage, TensorId};

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
    fn aligned(&self) -> usize {
        self.size.next_multiple_of(ALIGNMENT)
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Offsets, in order, and the total. Largest first, each into the lowest gap among those it lives
/// together with that fits best ("greedy by size", Pisarchyk and Lee, arXiv 2001.03288, section 5.2); where
/// that takes more than the lower bound, again with the one on top first, as often as there are tensors.
pub(super) fn place(lifetimes: &[Lifetime]) -> (Vec<usize>, usize) {
    let bound = lower_bound(lifetimes);
    let mut order: Vec<usize> = (0..lifetimes.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(lifetimes[i].size), i));
    let mut latest = place_in(&order, lifetimes);
    let mut best = latest.clone();
    for _ in 1..lifetimes.len() {
        if best.1 <= bound {
            break;
        }
        let (offsets, total) = &latest;
        let top = |&i: &usize| offsets[i] + lifetimes[i].aligned() == *total;
        if let Some(at) = order.iter().position(top) {
            order[..=at].rotate_right(1);
        }
        latest = place_in(&order, lifetimes);
        if latest.1 < best.1 {
            best = latest.clone();
        }
    }
    best
}

/// Offsets, and the total, when tensors are placed in this order.
fn place_in(order: &[usize], lifetimes: &[Lifetime]) -> (Vec<usize>, usize) {
    let mut offsets: Vec<Option<usize>> = vec![None; lifetimes.len()];
    let mut total = 0;
    for &i in order {
        let size = lifetimes[i].aligned();
        let mut taken: Vec<(usize, usize)> = (0..lifetimes.len())
            .filter(|&j| lifetimes[j].overlaps(&lifetimes[i]))
            .filter_map(|j| Some((offsets[j]?, lifetimes[j].aligned())))
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

/// The least bytes of activations that any plan of this network's arena can have: the most that are alive together.
pub fn arena_lower_bound(manifest: &Manifest<'_>) -> u64 {
    lower_bound(&lifetimes(manifest)) as u64
}

fn lower_bound(lifetimes: &[Lifetime]) -> usize {
    let alive = |step: usize| {
        let alive = lifetimes
            .iter()
            .filter(|l| (l.first..=l.last).contains(&step));
        alive.map(Lifetime::aligned).sum()
    };
    let steps = lifetimes.iter().map(|l| l.last + 1).max().unwrap_or(0);
    (0..steps).map(alive).max().unwrap_or(0)
}

/// Each activation of a package, from the step that writes it to the last that reads it: model inputs are written in step 0,
/// node `i` is step `i + 1`, and model outputs are read in the last. A tensor that names bytes which another wrote is
/// that other one, reshaped.
fn lifetimes(manifest: &Manifest<'_>) -> Vec<Lifetime> {
    let mut written: Vec<(u32, Lifetime)> = Vec::new();
    let place = |id: TensorId| {
        let tensor = manifest.tensor(id)?;
        match tensor.storage {
            Storage::Arena { offset } => Some((offset, tensor.bytes()?)),
            Storage::Blob { .. } => None,
        }
    };
    let write = |written: &mut Vec<(u32, Lifetime)>, id, step| {
        if let Some((offset, size)) = place(id) {
            let (first, last) = (step, step);
            written.push((offset, Lifetime { size, first, last }));
        }
    };
    let read = |written: &mut Vec<(u32, Lifetime)>, id, step| {
        let Some((offset, _)) = place(id) else { return };
        if let Some((_, lifetime)) = written.iter_mut().rev().find(|(at, _)| *at == offset) {
            lifetime.last = step;
        }
    };
    for input in manifest.inputs() {
        write(&mut written, input.tensor, 0);
    }
    let mut step = 0;
    for node in manifest.nodes() {
        step += 1;
        for &input in &node.inputs {
            read(&mut written, input, step);
        }
        write(&mut written, node.output, step);
    }
    for output in manifest.outputs() {
        read(&mut written, output.tensor, step);
    }
    written.into_iter().map(|(_, lifetime)| lifetime).collect()
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
            prop_assert!(total >= lower_bound(&lifetimes));
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
