//! Convolutions with a window of 3 x 3 that steps by one, in tiles of 4 x 4 output positions: 36 products for each
//! pair of channels in place of 144, and the same sums. Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2016), F(4 x 4, 3 x 3).
//!
//! A tile is `A^T [(G g G^T) * (B^T d B)] A` of weights `g` and of a patch `d` of 6 x 6 input positions. Here the rows
//! of `G` are multiplied by 24, and by 6 alone where `A^T` makes up for the rest, so that all are integers and the result is 576 = 9 x 64 times
//! the sum. It is computed modulo 2^32, where 9 has an inverse; then a shift by six bits gives the sum, if that lies within
//! [`SUM_BITS`]. More input channels than that allows are added up from several such sums.

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
/// Tiles that are transformed before they are multiplied by all weights.
pub(crate) const BLOCK: usize = 4 * TOGETHER;
/// Input channels of a group: these are transformed together.
pub(crate) const GROUP: usize = 8;
/// Bits of a sum, with its sign.
const SUM_BITS: u32 = 26;
/// Groups whose sums cannot exceed [`SUM_BITS`], with weights of at most 127 and codes of at least -128.
pub(crate) const MAX_GROUPS: usize = (1 << (SUM_BITS - 1)) / (127 * 128 * 9 * GROUP);

/// Layout of the constants: as that of other products, with the weights `[point][input channel][column]`, `i16` each.
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
    /// Whether this takes fewer instructions than a product of every window, and its constants, eight times the bytes, stay in a
    /// cache or serve enough tiles to be worth their way from memory.
    pub(crate) fn pays(&self) -> bool {
        const CACHE: usize = 1 << 19;
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
        let bytes = panels * PANEL.bytes(depth(self.input[2]));
        tiles < windows && (bytes <= CACHE || self.tiles() >= BLOCK)
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
    fn parts(&self) -> Option<[usize; 4]> {
        let channels = self.groups() * GROUP;
        let block = BLOCK.min(self.tiles().next_multiple_of(TOGETHER));
        let sums = match self.groups() > MAX_GROUPS {
            true => block * TILE * TILE * PANEL.columns * size_of::<i32>(),
            false => 0,
        };
        Some([
            aligned(POINTS.checked_mul(channels)?)?,
            block.checked_mul(POINTS * channels * size_of::<i16>())?,
            block * POINTS * PANEL.columns * size_of::<i32>(),
            sums,
        ])
    }

    /// Bytes of working memory.
    pub(crate) fn scratch(&self) -> Option<usize> {
        let [patch, points, products, sums] = self.parts()?;
        (patch.checked_add(points)?)
            .checked_add(products)?
            .checked_add(sums)
    }
}

/// Bytes of an output channel's transformed weights.
pub(crate) fn depth(channels: usize) -> Depth {
    Depth::together(POINTS * size_of::<i16>() * channels.next_multiple_of(GROUP))
}

/// Bytes of the panels of so many filters, and of one panel's codes: these are decoded to the end, where no panel reaches
/// the codes of the next.
pub(crate) fn constants(channels: usize, filters: usize) -> Option<usize> {
    let panels = PANEL.count(filters);
    let bytes = panels.checked_mul(PANEL.bytes(depth(channels)))?;
    bytes.checked_add(PANEL.columns * 9 * channels)
}

/// The working memory of a convolution.
pub(crate) struct Scratch<'s> {
    /// A patch, where it does not lie in the input as it is.
    pub(crate) patch: &'s mut [i8],
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
        let [patch, points, products, sums] = shape.parts()?;
        let (patch, rest) = memory.split_at_mut_checked(patch)?;
        let (points, rest) = rest.split_at_mut_checked(points)?;
        let (products, rest) = rest.split_at_mut_checked(products)?;
        Some(Self {
            patch: bytemuck::cast_slice_mut(patch),
            points: bytemuck::try_cast_slice_mut(points).ok()?,
            products: bytemuck::try_cast_slice_mut(products).ok()?,
            sums: bytemuck::try_cast_slice_mut(rest.get_mut(..sums)?).ok()?,
        })
    }
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

/// Writes the transformed weights of a panel: `codes` are `[column][3][3][input channel]`.
pub(crate) fn transform_weights(codes: &[i8], channels: usize, panel: &mut [u8]) -> Option<()> {
    panel.fill(0);
    let points = panel.get_mut(PANEL.head()..)?;
    let (points, _) = points.as_chunks_mut::<{ size_of::<i16>() }>();
    let filled = channels.next_multiple_of(GROUP);
    for (column, codes) in codes.chunks_exact(9 * channels.max(1)).enumerate() {
        for first in (0..channels).step_by(GROUP) {
            let count = GROUP.min(channels - first);
            let mut window = [[[0i16; GROUP]; 3]; 3];
            let taps = codes.chunks_exact(channels);
            for (tap, codes) in window.as_flattened_mut().iter_mut().zip(taps) {
                let codes = codes.get(first..first + count)?;
                tap.iter_mut()
                    .zip(codes)
                    .for_each(|(to, &code)| *to = code.into());
            }
            let [a, b, c] = window.map(transform);
            for x in 0..PATCH {
                for (y, lanes) in transform([a[x], b[x], c[x]]).iter().enumerate() {
                    let at = ((y * PATCH + x) * filled + first) * PANEL.columns + column;
                    put(lanes, points.get_mut(at..)?);
                }
            }
        }
    }
    Some(())
}

/// Writes the weights of a group's channels, each of which has a column of panels.
#[inline(never)]
fn put(lanes: &[i16; GROUP], points: &mut [[u8; size_of::<i16>()]]) {
    for (to, lane) in points.iter_mut().step_by(PANEL.columns).zip(lanes) {
        *to = lane.to_le_bytes();
    }
}

/// `G` times a column of weights, for each of some channels: at most 12 times the greatest.
#[inline(never)]
fn transform([a, b, c]: [[i16; GROUP]; 3]) -> [[i16; GROUP]; PATCH] {
    let each = |f: fn(i16, i16, i16) -> i16| core::array::from_fn(|i| f(a[i], b[i], c[i]));
    [
        each(|a, _, _| 6 * a),
        each(|a, b, c| -4 * (a + b + c)),
        each(|a, b, c| -4 * (a - b + c)),
        each(|a, b, c| a + 2 * b + 4 * c),
        each(|a, b, c| a - 2 * b + 4 * c),
        each(|_, _, c| 6 * c),
    ]
}
