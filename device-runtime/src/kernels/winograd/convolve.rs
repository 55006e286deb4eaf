//! How a convolution is computed in tiles, whatever a set's vectors are.

use super::{
    BLOCK, Convolution, Extents, GROUP, MAX_GROUPS, PANEL, PATCH, POINTS, Scratch, TILE, TOGETHER,
};
use crate::quantize::Codes;
use core::ops::Range;

pub(crate) const COLUMNS: usize = PANEL.columns;
/// A group's transformed patches of the tiles that are multiplied together.
pub(crate) const GROUP_POINTS: usize = POINTS * TOGETHER * GROUP;
/// A group's weights of a point.
pub(crate) const POINT_WEIGHTS: usize = GROUP * COLUMNS;
/// A group's weights.
pub(crate) const GROUP_WEIGHTS: usize = POINTS * POINT_WEIGHTS;
/// The products of a tile with a panel.
pub(crate) const TILE_PRODUCTS: usize = POINTS * COLUMNS;
const TOGETHER_PRODUCTS: usize = TOGETHER * TILE_PRODUCTS;
/// Output positions of a tile.
pub(crate) const POSITIONS: usize = TILE * TILE;
/// The sums of a tile with a panel.
const TILE_SUMS: usize = POSITIONS * COLUMNS;
/// The inverse of 9 modulo 2^32.
pub(crate) const NINTH: i32 = 0x38e3_8e39;
const _: () = assert!(NINTH.wrapping_mul(9) == 1);

/// Output channels whose weights are transformed together.
pub(crate) const TOGETHER_COLUMNS: usize = 8;
pub(crate) const TAPS: usize = 9;

/// What a set does with its vectors.
///
/// # Safety
/// Of all functions: the processor has the set's instructions.
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
pub(crate) trait Vectors {
    /// `G g G^T` of GROUP input channels and TOGETHER_COLUMNS output channels, which the panel has from number `column` on. From
    /// a tap to the next it is `tap` codes, TAPS of them a column. The order of a point's POINT_WEIGHTS is the set's own.
    ///
    /// # Safety
    /// See [`Vectors`]; each tap has GROUP readable codes; `to` has room for GROUP_WEIGHTS.
    unsafe fn weights(codes: *const i8, tap: usize, column: usize, to: *mut i16);

    /// `B^T d B` of GROUP input channels, `[point]`, TOGETHER x GROUP apart.
    ///
    /// # Safety
    /// See [`Vectors`]; PATCH rows of PATCH pixels, `row` and `pixel` codes apart, have GROUP readable codes each; `to` has room for the points.
    unsafe fn patch(patch: *const i8, row: usize, pixel: usize, to: *mut i16);

    /// The products of a panel's weights and of patches.
    ///
    /// # Safety
    /// See [`Vectors`]; the pointers are those of [`multiply`].
    unsafe fn multiply(factors: Factors);

    /// `A^T m A` of a tile's products, which gives 576 times the sums, and with it the sums `[position][column]`.
    ///
    /// # Safety
    /// See [`Vectors`]; there are TILE_PRODUCTS `products`, COLUMNS words before each position, and room for as many sums.
    unsafe fn sums(products: *const i32, before: Before, to: *mut i32);

    /// The codes of these sums, `[position][column]`.
    ///
    /// # Safety
    /// See `sums`; there are COLUMNS multipliers.
    unsafe fn codes(
        products: *const i32,
        before: Before,
        multipliers: *const f32,
        codes: Codes,
        to: &mut [[i8; COLUMNS]; POSITIONS],
    );
}

/// What a tile's sums are added to.
#[derive(Clone, Copy)]
pub(crate) struct Before {
    pub(crate) sums: *const i32,
    /// From a position to the next: 0 for biases, which are the same for all.
    pub(crate) step: usize,
}

/// Transformed patches and weights of some groups of input channels.
#[derive(Clone, Copy)]
pub(crate) struct Factors {
    points: *const i16,
    weights: *const i16,
    products: *mut i32,
    /// Groups of the convolution.
    all: usize,
    /// Groups to multiply, at least one.
    pub(crate) groups: usize,
    /// TOGETHER tiles each.
    pub(crate) tiles: usize,
}

impl Factors {
    /// The points of TOGETHER tiles, GROUP_POINTS from a group to the next; their POINT_WEIGHTS weights, GROUP_WEIGHTS from a group to the
    /// next; and where the tiles' COLUMNS products go, TILE_PRODUCTS apart.
    #[inline(always)]
    pub(crate) fn at(self, point: usize, tiles: usize) -> (*const i16, *const i16, *mut i32) {
        let points = tiles * self.all * GROUP_POINTS + point * TOGETHER * GROUP;
        let products = tiles * TOGETHER_PRODUCTS + point * COLUMNS;
        (
            self.points.wrapping_add(points),
            self.weights.wrapping_add(point * POINT_WEIGHTS),
            self.products.wrapping_add(products),
        )
    }
}

/// Writes the transformed weights of a panel: `codes` are `[column][3][3][input channel]`.
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
pub(crate) fn transform_weights<V: Vectors>(
    codes: &[i8],
    channels: usize,
    points: &mut [i16],
) -> Option<()> {
    let points = points.get_mut(..channels.div_ceil(GROUP) * GROUP_WEIGHTS)?;
    for column in (0..COLUMNS).step_by(TOGETHER_COLUMNS) {
        let codes = codes.get(column * TAPS * channels..).unwrap_or_default();
        let groups = points.as_chunks_mut::<GROUP_WEIGHTS>().0;
        for (first, to) in (0..channels).step_by(GROUP).zip(groups) {
            let weights = Weights::at(codes, channels, first)?;
            let (codes, tap) = weights.parts();
            codes.get(..(TOGETHER_COLUMNS * TAPS - 1) * tap + GROUP)?;
            // SAFETY: a set's functions are reached through its table alone, which is given out after the processor has
            // reported the instructions, here and in what follows. The last code is within, as is everything before.
            unsafe { V::weights(codes.as_ptr(), tap, column, to.as_mut_ptr()) };
        }
    }
    Some(())
}

/// Weights of a group of input channels and of columns, in memory: some of codes, or a copy filled up by zeros.
#[expect(
    clippy::large_enum_variant,
    reason = "there is no allocator to box with"
)]
enum Weights<'c> {
    /// From the first column's first tap on; from a tap to the next it is so far.
    Whole(&'c [i8], usize),
    Copy([[[i8; GROUP]; TAPS]; TOGETHER_COLUMNS]),
}

impl<'c> Weights<'c> {
    /// Those of the columns that `codes` begin with, from the input channel `first` on.
    fn at(codes: &'c [i8], channels: usize, first: usize) -> Option<Self> {
        let length = (TOGETHER_COLUMNS * TAPS - 1) * channels + GROUP;
        if first + GROUP <= channels
            && let Some(codes) = codes.get(first..first + length)
        {
            return Some(Self::Whole(codes, channels));
        }
        let mut copy = [[[0; GROUP]; TAPS]; TOGETHER_COLUMNS];
        let count = GROUP.min(channels - first);
        let taps = copy.as_flattened_mut().iter_mut();
        for (to, codes) in taps.zip(codes.chunks_exact(channels)) {
            to.get_mut(..count)?
                .copy_from_slice(codes.get(first..first + count)?);
        }
        Some(Self::Copy(copy))
    }

    /// The first, and how far it is from a tap to the next; those of a column are together.
    fn parts(&self) -> (&[i8], usize) {
        match self {
            Self::Whole(codes, tap) => (codes, *tap),
            Self::Copy(copy) => (copy.as_flattened().as_flattened(), GROUP),
        }
    }
}

/// Computes rows of a convolution's output.
pub(crate) fn convolve<V: Vectors>(
    convolution: &Convolution<'_>,
    mut scratch: Scratch<'_>,
    out: &mut [i8],
) -> Option<()> {
    let shape = convolution.shape;
    let weights = core::mem::take(&mut scratch.weights);
    let all = shape.tiles_of(&convolution.rows);
    for first in all.clone().step_by(shape.block()) {
        let tiles = first..all.end.min(first + shape.block());
        for (index, tile) in tiles.clone().enumerate() {
            transform_input::<V>(convolution, tile, index, &mut scratch)?;
        }
        let panels = convolution.panels.chunks_exact(PANEL.bytes(shape.depth()));
        let columns = (0..shape.output[2]).step_by(COLUMNS);
        for (column, panel) in columns.zip(panels) {
            let (head, panel) = panel.split_at_checked(PANEL.head())?;
            let weights: &[i16] = match shape.keeps_weights() {
                true => bytemuck::try_cast_slice(panel).ok()?,
                false => {
                    transform_weights::<V>(bytemuck::cast_slice(panel), shape.input[2], weights)?;
                    weights
                }
            };
            for first in tiles.clone().step_by(BLOCK) {
                let block = first..tiles.end.min(first + BLOCK);
                let at = first - tiles.start;
                for group in (0..shape.groups()).step_by(MAX_GROUPS) {
                    let groups = group..shape.groups().min(group + MAX_GROUPS);
                    multiply::<V>(shape, at..at + block.len(), &groups, weights, &mut scratch)?;
                    transform_products::<V>(
                        convolution,
                        &block,
                        &groups,
                        (column, head),
                        &mut scratch,
                        out,
                    )?;
                }
            }
        }
    }
    Some(())
}

/// Adds the sums of a block's tiles and a panel, over some groups of input channels, to those of the groups before; after the last,
/// writes their codes.
#[inline(never)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
fn transform_products<V: Vectors>(
    convolution: &Convolution<'_>,
    tiles: &Range<usize>,
    groups: &Range<usize>,
    (column, head): (usize, &[u8]),
    scratch: &mut Scratch<'_>,
    out: &mut [i8],
) -> Option<()> {
    let shape = convolution.shape;
    let head: &[i32] = bytemuck::try_cast_slice(head.get(..PANEL.head())?).ok()?;
    let (biases, multipliers) = head.split_at_checked(COLUMNS)?;
    let (first, last) = (groups.start == 0, groups.end == shape.groups());
    let products = scratch.products.as_chunks::<TILE_PRODUCTS>().0.iter();
    let mut kept = scratch.sums.as_chunks_mut::<TILE_SUMS>().0.iter_mut();
    let mut codes = [[0; COLUMNS]; POSITIONS];
    for (tile, products) in tiles.clone().zip(products) {
        let kept = match first && last {
            true => None,
            false => Some(kept.next()?.as_mut_ptr()),
        };
        let before = match kept.filter(|_| !first) {
            Some(sums) => Before {
                sums,
                step: COLUMNS,
            },
            None => Before {
                sums: biases.as_ptr(),
                step: 0,
            },
        };
        if let Some(sums) = kept.filter(|_| !last) {
            // SAFETY: the products of a tile, the sums of a tile or the biases of a panel, and room for sums are there.
            unsafe { V::sums(products.as_ptr(), before, sums) };
            continue;
        }
        let multipliers = multipliers.as_ptr().cast();
        // SAFETY: as above; a panel has as many multipliers as biases.
        unsafe {
            V::codes(
                products.as_ptr(),
                before,
                multipliers,
                convolution.codes,
                &mut codes,
            );
        }
        store(convolution, tile, column, &codes, out)?;
    }
    Some(())
}

/// Transforms the patch under a tile, number `index` of its block.
#[inline(never)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
fn transform_input<V: Vectors>(
    convolution: &Convolution<'_>,
    tile: usize,
    index: usize,
    scratch: &mut Scratch<'_>,
) -> Option<()> {
    let shape = convolution.shape;
    let position = shape.position(tile)?;
    let (patch, row, pixel) = match in_place(shape, position) {
        Some(at) => {
            let [_, width, channels] = shape.input;
            (convolution.input.get(at..)?, width * channels, channels)
        }
        None => {
            gather(convolution, position, scratch.patch)?;
            let pixel = shape.groups() * GROUP;
            (&*scratch.patch, PATCH * pixel, pixel)
        }
    };
    let (together, place) = (index / TOGETHER, index % TOGETHER);
    let groups = shape.groups();
    let to = scratch.points.get_mut(together * groups * GROUP_POINTS..)?;
    let to = to.get_mut(..groups * GROUP_POINTS)?;
    patch.get(..(PATCH - 1) * (row + pixel) + groups * GROUP)?;
    for (group, to) in to.chunks_exact_mut(GROUP_POINTS).enumerate() {
        let to = to.get_mut(place * GROUP..)?;
        // SAFETY: `patch` has all groups of the pixel at its end, the farthest from its beginning; the points of a group are
        // TOGETHER x GROUP apart, and `to` lacks less than that of GROUP_POINTS.
        unsafe {
            V::patch(
                patch.as_ptr().add(group * GROUP),
                row,
                pixel,
                to.as_mut_ptr(),
            )
        };
    }
    Some(())
}

/// Where the patch under a position begins in the input, if it lies there as it is.
fn in_place(shape: &Extents, position: [usize; 2]) -> Option<usize> {
    let begin = |axis: usize| {
        let begin = position[axis].checked_sub(shape.pad[axis])?;
        (begin + PATCH <= shape.input[axis]).then_some(begin)
    };
    let [_, width, channels] = shape.input;
    let whole = channels.is_multiple_of(GROUP);
    whole.then_some((begin(0)? * width + begin(1)?) * channels)
}

/// Copies the patch under a position, with whole groups for each pixel and zero points around the input.
fn gather(convolution: &Convolution<'_>, position: [usize; 2], to: &mut [i8]) -> Option<()> {
    let shape = convolution.shape;
    let [_, width, channels] = shape.input;
    let pixel = shape.groups() * GROUP;
    // the taps along an axis that lie inside the input
    let inside = |axis: usize| {
        let before = shape.pad[axis].saturating_sub(position[axis]);
        let end = (shape.input[axis] + shape.pad[axis]).saturating_sub(position[axis]);
        before.min(PATCH)..end.min(PATCH)
    };
    let (rows, columns) = (inside(0), inside(1));
    let to = to.get_mut(..PATCH * PATCH * pixel)?;
    to.fill(convolution.zero_point);
    if columns.is_empty() {
        return Some(());
    }
    for y in rows {
        let row = position[0] + y - shape.pad[0];
        let first = row * width + position[1] + columns.start - shape.pad[1];
        let from = convolution.input.get(first * channels..)?;
        let from = from.get(..columns.len() * channels)?;
        let to = to.get_mut((y * PATCH + columns.start) * pixel..)?;
        copy_pixels(from, channels, to, pixel)?;
    }
    Some(())
}

/// Copies pixels of `channels` codes, `pixel` apart in `to`.
fn copy_pixels(from: &[i8], channels: usize, to: &mut [i8], pixel: usize) -> Option<()> {
    if pixel == channels {
        to.get_mut(..from.len())?.copy_from_slice(from);
        return Some(());
    }
    for (to, from) in to.chunks_mut(pixel).zip(from.chunks_exact(channels)) {
        to.get_mut(..channels)?.copy_from_slice(from);
    }
    Some(())
}

/// Multiplies transformed patches by a panel's weights, over some groups of input channels.
#[inline(never)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
fn multiply<V: Vectors>(
    shape: &Extents,
    tiles: Range<usize>,
    groups: &Range<usize>,
    weights: &[i16],
    scratch: &mut Scratch<'_>,
) -> Option<()> {
    let all = shape.groups();
    let weights = weights.get(..all * GROUP_WEIGHTS)?;
    let (first, together) = (tiles.start / TOGETHER, tiles.len().div_ceil(TOGETHER));
    let points = scratch.points.get(first * all * GROUP_POINTS..)?;
    let points = points.get(..together * all * GROUP_POINTS)?;
    let products = scratch.products.get_mut(..together * TOGETHER_PRODUCTS)?;
    if groups.is_empty() || groups.end > all {
        return None;
    }
    // SAFETY: the groups, of which there is one, are below `all`: the weights, points and products of all points lie in the
    // slices that were cut to these numbers.
    unsafe {
        V::multiply(Factors {
            points: points.as_ptr().add(groups.start * GROUP_POINTS),
            weights: weights.as_ptr().add(groups.start * GROUP_WEIGHTS),
            products: products.as_mut_ptr(),
            all,
            groups: groups.len(),
            tiles: together,
        });
    }
    Some(())
}

/// Writes a tile's codes, as far as they lie in the output, from a column on.
fn store(
    convolution: &Convolution<'_>,
    tile: usize,
    column: usize,
    codes: &[[i8; COLUMNS]; POSITIONS],
    out: &mut [i8],
) -> Option<()> {
    let [height, width, filters] = convolution.shape.output;
    let [y, x] = convolution.shape.position(tile)?;
    let columns = COLUMNS.min(filters.checked_sub(column)?);
    for (y, codes) in (y..height).zip(codes.as_chunks::<TILE>().0) {
        let to = out.get_mut(((y - convolution.rows.start) * width + x) * filters + column..)?;
        for (to, codes) in to.chunks_mut(filters).zip(codes).take(width - x) {
            match to.first_chunk_mut() {
                Some(to) if columns == COLUMNS => *to = *codes,
                _ => to
                    .get_mut(..columns)?
                    .copy_from_slice(codes.get(..columns)?),
            }
        }
    }
    Some(())
}
