//! Integer products that leave out blocks of zeros: four consecutive input codes of four consecutive output channels.
//!
//! A strip is a panel of [`STRIP`]'s layout, four output channels, of which the blocks stay that are not all zero:
//! pushed together after the head, with their numbers (`u16`) and how many they are at the strip's end.
//! Where too few are zero to make room for that, a strip keeps all blocks. So strips begin where they begin dense, and take no byte more.
//!
//! The kernels read codes that were transposed, [`POSITIONS`] output positions at a time: in planes of four positions, those of a step together.

use super::{Depth, Gemm, Out, Panel};

/// Output channels of a block, and its input codes.
pub(crate) const STRIP: Panel = Panel {
    columns: 4,
    step: 4,
    offset: 0,
};
/// Codes of a block.
pub(crate) const BLOCK: usize = STRIP.columns * STRIP.step;
/// Output positions that are transposed at once.
pub(crate) const POSITIONS: usize = 16;
/// Fewest output positions for which codes are transposed.
pub(crate) const LEAST_POSITIONS: usize = 4;
/// Most codes of a sum: numbers of blocks are `u16`, and one bit each is kept while a strip is compacted.
pub(crate) const MAX_DEPTH: usize = 1 << 14;
/// Bytes of the count.
const COUNT: usize = 4;
/// Marks the count of a compacted strip: no code of a weight is -128, so that the last of a whole strip is not.
const COMPACT: u32 = 0x80 << 24;

/// What a set of kernels has for sparse layers.
#[derive(Clone, Copy)]
pub(crate) struct Sparse {
    pub(crate) cost: Cost,
    /// [`super::Table::gemm_i8`] with strips for panels, and [`scratch`] bytes of memory.
    pub(crate) gemm_i8: fn(&Gemm<'_>, &mut [u8], Out<'_>) -> Option<()>,
}

/// Instructions of [`POSITIONS`] output positions, counted under emulation, in tenths.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// The set: [`crate::KernelSet::name`].
    pub set: &'static str,
    /// Of the dense kernel, for a block.
    dense: u64,
    /// For a block that is not zero.
    block: u64,
    /// For a strip, beyond what a panel's four columns take.
    strip: u64,
    /// To transpose the codes that a block takes.
    transpose: u64,
}

/// The sets with kernels for sparse layers.
pub const COSTS: [Cost; 3] = [NEON, DOTPROD, I8MM];
pub(super) const NEON: Cost = Cost {
    set: "neon",
    dense: 570,
    block: 590,
    strip: 400,
    transpose: 130,
};
pub(super) const DOTPROD: Cost = Cost {
    set: "neondot",
    dense: 195,
    block: 240,
    strip: 400,
    transpose: 130,
};
pub(super) const I8MM: Cost = Cost {
    set: "neoni8mm",
    dense: 140,
    ..DOTPROD
};

/// The blocks of a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Blocks {
    /// All.
    pub all: usize,
    /// Those that are not all zero.
    pub kept: usize,
}

impl Blocks {
    fn add(&mut self, kept: bool) {
        self.all += 1;
        self.kept += usize::from(kept);
    }
}

/// A layer whose blocks of zeros kernels can leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SparseLayer {
    /// Codes of a sum.
    pub(crate) depth: usize,
    /// Output channels.
    pub(crate) channels: usize,
    /// Bytes of working memory that a session needs to do so.
    pub scratch: usize,
}

impl SparseLayer {
    /// The blocks of the layer's weights, `[channel][depth]`.
    pub fn blocks(&self, weights: &[i8]) -> Blocks {
        let mut blocks = Blocks::default();
        for rows in weights.chunks(STRIP.columns * self.depth.max(1)) {
            for k in (0..self.depth).step_by(STRIP.step) {
                let mut codes = rows
                    .chunks(self.depth)
                    .flat_map(|row| row.iter().skip(k).take(STRIP.step));
                blocks.add(codes.any(|&code| code != 0));
            }
        }
        blocks
    }

    /// The share of blocks that are not all zero below which a set takes fewer instructions without the others; 0 where
    /// it never does.
    pub fn break_even(&self, cost: Cost) -> f32 {
        let steps = self.depth.div_ceil(STRIP.step) as u64;
        let strips = self.channels.div_ceil(STRIP.columns) as u64;
        let dense = cost.dense * steps * strips;
        let saved = dense.saturating_sub(cost.strip * strips + cost.transpose * steps);
        saved as f32 / (cost.block * steps * strips).max(1) as f32
    }

    /// Whether a set leaves out the blocks that are zero.
    pub fn pays(&self, cost: Cost, blocks: Blocks) -> bool {
        (blocks.kept as f32) < self.break_even(cost) * blocks.all as f32
    }
}

/// Bytes of memory for a product of so many codes a sum.
pub(crate) fn scratch(depth: usize) -> Option<usize> {
    let blocks = depth.div_ceil(STRIP.step);
    blocks.checked_mul(STRIP.step * POSITIONS + size_of::<u16>())
}

/// The blocks of a layer in dense panels, whose columns and step are multiples of a strip's. What fills panels up is zero.
pub(crate) fn count(panel: Panel, panels: &[u8], depth: usize, channels: usize) -> Option<Blocks> {
    let each = panels.chunks_exact(panel.bytes(Depth::together(depth)));
    let kept = each.take(panel.count(channels)).map(|bytes| {
        let codes = bytes.get(panel.head()..)?;
        match panel.step {
            4 => count_kept::<1>(codes),
            8 => count_kept::<2>(codes),
            _ => count_kept::<4>(codes),
        }
    });
    Some(Blocks {
        all: depth.div_ceil(STRIP.step) * channels.div_ceil(STRIP.columns),
        kept: kept.sum::<Option<usize>>()?,
    })
}

/// Blocks that are not all zero of a panel's codes, of which each column has so many words together.
fn count_kept<const WORDS: usize>(codes: &[u8]) -> Option<usize>
where
    [u32; WORDS]: bytemuck::Pod,
{
    let columns: &[[[u32; WORDS]; STRIP.columns]] = bytemuck::try_cast_slice(codes).ok()?;
    let mut kept = 0u32;
    for [a, b, c, d] in columns {
        for i in 0..WORDS {
            kept += u32::from(a[i] | b[i] | c[i] | d[i] != 0);
        }
    }
    Some(kept as usize)
}

/// Pushes the blocks of a strip together that are not all zero, if that makes room for their numbers. `None` for a strip that is
/// too deep.
pub(crate) fn compact(strip: &mut [u8]) -> Option<()> {
    let blocks = strip.get_mut(STRIP.head()..)?.as_chunks_mut::<BLOCK>().0;
    let is_kept = |block: &[u8; BLOCK]| *block != [0; BLOCK];
    let count = blocks.iter().filter(|block| is_kept(block)).count();
    if BLOCK * count + tail(count) > BLOCK * blocks.len() {
        return Some(());
    }
    let mut kept = [0u64; MAX_DEPTH / STRIP.step / 64];
    let mut to = 0;
    for number in 0..blocks.len() {
        let block = *blocks.get(number)?;
        if is_kept(&block) {
            *blocks.get_mut(to)? = block;
            *kept.get_mut(number / 64)? |= 1 << (number % 64);
            to += 1;
        }
    }
    let bytes = blocks.as_flattened_mut();
    let (_, list) = bytes.split_at_mut_checked(bytes.len() - tail(count))?;
    let (numbers, end) = list.split_at_mut_checked(size_of::<u16>() * count)?;
    let set =
        (0..MAX_DEPTH / STRIP.step).filter(|number| kept[number / 64] >> (number % 64) & 1 == 1);
    for (to, number) in numbers.as_chunks_mut().0.iter_mut().zip(set) {
        *to = (number as u16).to_ne_bytes();
    }
    end.copy_from_slice(&(COMPACT | count as u32).to_le_bytes());
    Some(())
}

/// Bytes of the numbers of so many blocks and of their count.
fn tail(count: usize) -> usize {
    size_of::<u16>() * count + COUNT
}

/// The blocks of a strip that stay.
#[cfg(any(test, target_arch = "aarch64"))]
#[derive(Clone, Copy)]
pub(super) struct Strip<'s> {
    pub(super) head: &'s [u8],
    pub(super) blocks: &'s [[u8; BLOCK]],
    /// Numbers of the blocks.
    pub(super) numbers: &'s [u16],
}

#[cfg(any(test, target_arch = "aarch64"))]
impl<'s> Strip<'s> {
    /// A strip as [`compact`] left it; `all` are the numbers of all blocks.
    #[inline(always)]
    pub(super) fn of(strip: &'s [u8], all: &'s [u16]) -> Option<Self> {
        let (head, codes) = strip.split_at_checked(STRIP.head())?;
        let blocks = codes.as_chunks().0;
        let count = u32::from_le_bytes(*codes.last_chunk()?);
        if count >> 24 << 24 != COMPACT {
            return Some(Self {
                head,
                blocks,
                numbers: all.get(..blocks.len())?,
            });
        }
        let count = (count & !COMPACT) as usize;
        let begin = codes.len().checked_sub(tail(count))?;
        let numbers = codes.get(begin..)?.get(..size_of::<u16>() * count)?;
        Some(Self {
            head,
            blocks: blocks.get(..count)?,
            numbers: bytemuck::try_cast_slice(numbers).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const BLOCKS: usize = 40;

    /// A strip whose blocks begin with their number, but those that `is_zero` names.
    fn strip(is_zero: impl Fn(usize) -> bool) -> Vec<u8> {
        let mut bytes = std::vec![7; STRIP.head()];
        for number in 0..BLOCKS {
            let code = if is_zero(number) { 0 } else { 1 + number as u8 };
            bytes.extend([code; BLOCK]);
        }
        bytes
    }

    #[test]
    fn the_blocks_that_are_not_zero_stay_with_their_numbers() {
        for modulus in [1, 2, 3, 9, 11, BLOCKS] {
            let is_zero = |number: usize| number.is_multiple_of(modulus);
            let mut bytes = strip(is_zero);
            compact(&mut bytes).unwrap();
            let words: Vec<u16> = (0..BLOCKS as u16).collect();
            let packed = Strip::of(&bytes, &words).unwrap();
            assert_eq!(packed.head, [7; STRIP.head()]);
            let kept = (0..BLOCKS).filter(|&number| modulus >= 11 || !is_zero(number));
            let kept: Vec<u16> = kept.map(|number| number as u16).collect();
            // of forty blocks, five make room for the numbers of the others
            assert_eq!(packed.numbers, kept, "{modulus}");
            for (block, &number) in packed.blocks.iter().zip(&kept) {
                let code = if is_zero(number.into()) {
                    0
                } else {
                    1 + number as u8
                };
                assert_eq!(*block, [code; BLOCK]);
            }
        }
    }

    #[test]
    fn blocks_are_the_same_in_panels_and_in_rows() {
        let (depth, channels) = (22, 10);
        let weight = |i: usize| i8::from(i.is_multiple_of(37));
        let rows: Vec<i8> = (0..depth * channels).map(weight).collect();
        let layer = SparseLayer {
            depth,
            channels,
            scratch: 0,
        };
        let expected = layer.blocks(&rows);
        assert_eq!(expected.all, 6 * 3);
        assert!(expected.kept < expected.all);
        for (columns, step) in [(4, 4), (8, 4), (4, 16), (8, 8)] {
            let panel = Panel {
                columns,
                step,
                offset: 0,
            };
            let mut panels =
                std::vec![0u8; panel.count(channels) * panel.bytes(Depth::together(depth))];
            for (i, &code) in rows.iter().enumerate() {
                let (channel, k) = (i / depth, i % depth);
                let at = channel / columns * panel.bytes(Depth::together(depth))
                    + panel.code(channel % columns, k);
                panels[at] = code as u8;
            }
            assert_eq!(count(panel, &panels, depth, channels), Some(expected));
        }
    }

    #[test]
    fn sparse_kernels_run_below_their_break_even_alone() {
        let layer = SparseLayer {
            depth: 576,
            channels: 64,
            scratch: 0,
        };
        for cost in COSTS {
            let share = layer.break_even(cost);
            let pays = |share: f32| {
                let kept = (share * 10_000.0) as usize;
                layer.pays(cost, Blocks { all: 10_000, kept })
            };
            assert!(share > 0.3 && share < 1.1, "{}: {share}", cost.set);
            assert!(pays(share - 0.01) && !pays(share + 0.01));
        }
        // codes are transposed for more than one strip saves
        let narrow = SparseLayer {
            depth: 576,
            channels: 1,
            scratch: 0,
        };
        assert!(narrow.break_even(I8MM) < layer.break_even(I8MM));
    }
}
