//! Convolutions with a window of 3 x 3 that steps by one, in tiles of 4 x 4 output positions: 36 products for each
//! pair of channels in place of 144, and the same sums. Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2016), F(4 x 4, 3 x 3).
//!
//! A tile is `A^T [(G g G^T) * (B^T d B)] A` of weights `g` and of a patch `d` of 6 x 6 input positions. Here the rows
//! of `G` are multiplied by 24, and by 6 alone where `A^T` makes up for the rest, so that all are integers and the result is 576 = 9 x 64 times
//! the sum. It is computed modulo 2^32, where 9 has an inverse; then a shift by six bits gives the sum, if that lies within
//! [`SUM_BITS`]. More input channels than that allows are added up from several such sums.

#[cfg(any(target_arch = "aarch64", all(feature = "std", target_arch = "x86_64")))]
pub(crate) mod convolve;

use super::{Depth, Panel, Shape};
use crate::plan::aligned;
use crate::quantize::Codes;
use core::ops::Range;

/// Output positions of a tile along an axis.
pub(crate) const TILE: usize = 4;
/// Input positions under a tile along an axis.
pub(crate) const PATCH: usize = TILE + 2;
/// Products of a tile for each pair of channels.
pub(crate) const POINTS: usize = PATCH * PATCH;
/// Tiles that are multiplied together.
pub(crate) const TOGETHER: usize = 4;
/// Tiles whose products with a panel are in memory at once.
pub(crate) const BLOCK: usize = 4 * TOGETHER;
/// Tiles that share weights which a run transforms.
const SHARING: usize = 4 * BLOCK;
/// Input channels of a group: these are transformed together.
pub(crate) const GROUP: usize = 8;
/// Bits of a sum, with its sign.
const SUM_BITS: u32 = 26;
/// Groups whose sums cannot exceed [`SUM_BITS`], with weights of at most 127 and codes of at least -128.
pub(crate) const MAX_GROUPS: usize = (1 << (SUM_BITS - 1)) / (127 * 128 * 9 * GROUP);

/// Layout of the constants: as that of other products, with the weights `[group][point][input channel][column]`, `i16` each, or with
/// the codes `[column][3][3][input channel]`, which a run then transforms.
pub(crate) const PANEL: Panel = Panel::new(16, 1, 0);

/// What the products of a point compute at once: tiles by output channels.
pub(crate) const SHAPE: Shape = Shape::Tile {
    rows: TOGETHER,
    columns: PANEL.columns,
    step: 1,
};

/// Extents of a convolution with a window of 3 x 3 that steps by one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extents {
    /// Height, width, channels.
    pub(crate) input: [usize; 3],
    /// Height, width, channels.
    pub(crate) output: [usize; 3],
    /// Rows above and columns before the input.
    pub(crate) pad: [usize; 2],
}

impl Extents {
    /// Whether transformed weights, eight times the bytes, are kept: where they stay in a cache.
    pub(crate) fn keeps_weights(&self) -> bool {
        const CACHE: usize = 1 << 19;
        let panel = PANEL.bytes(transformed(self.input[2]));
        panel.saturating_mul(PANEL.count(self.output[2])) <= CACHE
    }

    /// An output channel's weights in the constants.
    pub(crate) fn depth(&self) -> Depth {
        match self.keeps_weights() {
            true => transformed(self.input[2]),
            false => Depth::together(9 * self.input[2]),
        }
    }

    /// Tiles that are transformed before they are multiplied by all weights.
    pub(crate) fn block(&self) -> usize {
        match self.keeps_weights() {
            true => BLOCK,
            false => SHARING,
        }
    }

    /// Whether this takes fewer instructions than a product of every window, and weights that a run transforms serve enough
    /// tiles.
    pub(crate) fn pays(&self) -> bool {
        if self.input[2] > usize::from(u16::MAX) {
            return false;
        }
        let [height, width, filters] = self.output;
        let (groups, panels) = (self.groups(), PANEL.count(filters));
        // counted: windows are multiplied four positions by four channels, in steps of sixteen codes
        let step = 57 * (9 * self.input[2]).div_ceil(16) + 60;
        let windows = (height * width).div_ceil(4) * filters.div_ceil(4) * step;
        let transforms = TOGETHER * (330 * groups + 1200 * panels);
        let products = POINTS * panels * (141 * groups + 40);
        let tiles = self.tiles().div_ceil(TOGETHER) * (transforms + products);
        let weights = match self.keeps_weights() {
            true => 0,
            false => 3200 * groups * panels * self.tiles().div_ceil(SHARING),
        };
        tiles + weights < windows && (self.keeps_weights() || self.tiles() >= BLOCK)
    }

    /// Groups of input channels, the last one filled up.
    pub(crate) fn groups(&self) -> usize {
        self.input[2].div_ceil(GROUP)
    }

    /// Tiles along an axis.
    fn along(&self, axis: usize) -> usize {
        self.output[axis].div_ceil(TILE)
    }

    pub(crate) fn tiles(&self) -> usize {
        self.along(0) * self.along(1)
    }

    /// The tiles of rows of output positions, the first of which begins tiles.
    pub(crate) fn tiles_of(&self, rows: &Range<usize>) -> Range<usize> {
        rows.start / TILE * self.along(1)..rows.end.div_ceil(TILE) * self.along(1)
    }

    /// Row and column of a tile's first output position.
    pub(crate) fn position(&self, tile: usize) -> Option<[usize; 2]> {
        let (row, column) = (
            tile.checked_div(self.along(1))?,
            tile.checked_rem(self.along(1))?,
        );
        Some([row * TILE, column * TILE])
    }

    /// Bytes of the parts of [`Scratch`].
    fn parts(&self) -> Option<[usize; 5]> {
        let channels = self.groups() * GROUP;
        let tiles = self.tiles().next_multiple_of(TOGETHER);
        let block = BLOCK.min(tiles);
        let weights = match self.keeps_weights() {
            true => 0,
            false => PANEL.columns * transformed(channels).codes(),
        };
        let sums = match self.groups() > MAX_GROUPS {
            true => block * TILE * TILE * PANEL.columns * size_of::<i32>(),
            false => 0,
        };
        Some([
            aligned(POINTS.checked_mul(channels)?)?,
            aligned(weights)?,
            self.block()
                .min(tiles)
                .checked_mul(POINTS * channels * size_of::<i16>())?,
            block * POINTS * PANEL.columns * size_of::<i32>(),
            sums,
        ])
    }

    /// Bytes of working memory.
    pub(crate) fn scratch(&self) -> Option<usize> {
        let [patch, weights, points, products, sums] = self.parts()?;
        (patch.checked_add(points)?)
            .checked_add(weights)?
            .checked_add(products)?
            .checked_add(sums)
    }
}

/// An output channel's transformed weights, in bytes.
fn transformed(channels: usize) -> Depth {
    Depth::together(POINTS * size_of::<i16>() * channels.next_multiple_of(GROUP))
}

/// Bytes of the panels of so many filters, and of one panel's codes: these are decoded to the end, where no panel reaches
/// the codes of the next.
pub(crate) fn constants(depth: Depth, channels: usize, filters: usize) -> Option<usize> {
    let panels = PANEL.count(filters);
    let bytes = panels.checked_mul(PANEL.bytes(depth))?;
    bytes.checked_add(PANEL.columns * 9 * channels)
}

/// The working memory of a convolution.
pub(crate) struct Scratch<'s> {
    /// A patch, where it does not lie in the input as it is.
    pub(crate) patch: &'s mut [i8],
    /// Transformed weights of a panel, where they are not kept.
    pub(crate) weights: &'s mut [i16],
    /// The block's transformed patches, `[tiles together][group][point][tile][channel]`.
    pub(crate) points: &'s mut [i16],
    /// Their products with a panel, `[tile][point][column]`.
    pub(crate) products: &'s mut [i32],
    /// Sums over a part of the input channels, `[tile][position][column]`; empty where there is one part.
    pub(crate) sums: &'s mut [i32],
}

impl<'s> Scratch<'s> {
    /// Divides aligned memory of [`Extents::scratch`].
    pub(crate) fn split(shape: &Extents, memory: &'s mut [u8]) -> Option<Self> {
        let [patch, weights, points, products, sums] = shape.parts()?;
        let (patch, rest) = memory.split_at_mut_checked(patch)?;
        let (weights, rest) = rest.split_at_mut_checked(weights)?;
        let (points, rest) = rest.split_at_mut_checked(points)?;
        let (products, rest) = rest.split_at_mut_checked(products)?;
        Some(Self {
            patch: bytemuck::cast_slice_mut(patch),
            weights: bytemuck::try_cast_slice_mut(weights).ok()?,
            points: bytemuck::try_cast_slice_mut(points).ok()?,
            products: bytemuck::try_cast_slice_mut(products).ok()?,
            sums: bytemuck::try_cast_slice_mut(rest.get_mut(..sums)?).ok()?,
        })
    }
}

/// What a set of kernels has for tiles.
#[derive(Clone, Copy)]
pub(crate) struct Winograd {
    /// Writes the transformed weights of a panel from codes `[column][3][3][input channel]` of so many channels.
    pub(crate) transform_weights: fn(&[i8], usize, &mut [i16]) -> Option<()>,
    /// Computes rows of a convolution's output.
    pub(crate) convolve: fn(&Convolution<'_>, Scratch<'_>, &mut [i8]) -> Option<()>,
}

/// A convolution.
pub(crate) struct Convolution<'s> {
    pub(crate) shape: &'s Extents,
    pub(crate) input: &'s [i8],
    /// What lies around the input.
    pub(crate) zero_point: i8,
    /// Panels of [`PANEL`].
    pub(crate) panels: &'s [u8],
    pub(crate) codes: Codes,
    /// Rows of output positions to compute, from one that begins tiles on.
    pub(crate) rows: Range<usize>,
}
