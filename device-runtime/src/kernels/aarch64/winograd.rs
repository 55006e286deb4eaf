//! Convolutions in tiles of 4 x 4 output positions, by the baseline's multiplications of sixteen bits; see
//! [`winograd`](crate::kernels::winograd).

use super::requantize::Requantize;
use crate::kernels::winograd::{
    BLOCK, Convolution, Extents, GROUP, MAX_GROUPS, PANEL, PATCH, POINTS, Scratch, TILE, TOGETHER,
};
use core::arch::aarch64::*;
use core::arch::asm;
use core::array::from_fn;
use core::ops::Range;

const COLUMNS: usize = PANEL.columns;
/// Columns of a vector of sums.
const LANES: usize = 4;
/// A group's transformed patches of the tiles that are multiplied together.
const GROUP_POINTS: usize = POINTS * TOGETHER * GROUP;
/// A group's weights of a point.
const GROUP_WEIGHTS: usize = GROUP * COLUMNS;
/// The products of a tile with a panel.
const TILE_PRODUCTS: usize = POINTS * COLUMNS;
const TOGETHER_PRODUCTS: usize = TOGETHER * TILE_PRODUCTS;
/// The sums of a tile with a panel.
const TILE_SUMS: usize = TILE * TILE * COLUMNS;
/// The inverse of 9 modulo 2^32.
const NINTH: i32 = 0x38e3_8e39;
const _: () = assert!(NINTH.wrapping_mul(9) == 1);

/// Output channels whose weights are transformed together.
const TOGETHER_COLUMNS: usize = 8;
const TAPS: usize = 9;

/// Writes the transformed weights of a panel: `codes` are `[column][3][3][input channel]`.
pub(super) fn transform_weights(codes: &[i8], channels: usize, points: &mut [i16]) -> Option<()> {
    let point = channels.next_multiple_of(GROUP) * COLUMNS;
    for column in (0..COLUMNS).step_by(TOGETHER_COLUMNS) {
        let codes = codes.get(column * TAPS * channels..).unwrap_or_default();
        for first in (0..channels).step_by(GROUP) {
            let to = points.get_mut(first * COLUMNS + column..)?;
            transform_group(&Weights::at(codes, channels, first)?, point, to)?;
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

/// Transforms weights of a group; from a point to the next it is so far.
#[inline(never)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
fn transform_group(weights: &Weights<'_>, point: usize, to: &mut [i16]) -> Option<()> {
    let (codes, tap) = weights.parts();
    let last = (POINTS - 1) * point + (GROUP - 1) * COLUMNS + TOGETHER_COLUMNS;
    if codes.len() < (TOGETHER_COLUMNS * TAPS - 1) * tap + GROUP || to.len() < last {
        return None;
    }
    // SAFETY: the last code and the last product are within, as is everything before. NEON belongs to the target, as
    // `super` asserts.
    unsafe {
        let mut windows = [[[0; TOGETHER_COLUMNS]; TAPS]; GROUP];
        for i in 0..TAPS {
            let pairs = transpose(codes.as_ptr().add(i * tap), TAPS * tap);
            for ([a, b], pair) in windows.as_chunks_mut::<2>().0.iter_mut().zip(pairs) {
                vst1_s8(a[i].as_mut_ptr(), vget_low_s8(pair));
                vst1_s8(b[i].as_mut_ptr(), vget_high_s8(pair));
            }
        }
        for (channel, window) in windows.iter().enumerate() {
            let window = from_fn(|i| vmovl_s8(vld1_s8(window[i].as_ptr())));
            let to = to.as_mut_ptr().add(channel * COLUMNS);
            transform_window(window, point, to);
        }
    }
    Some(())
}

/// GROUP codes of each of some columns, as those columns' codes of each channel; a vector has two channels.
///
/// # Safety
/// TOGETHER_COLUMNS columns, `column` codes apart, have GROUP readable codes each.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
unsafe fn transpose(codes: *const i8, column: usize) -> [int8x16_t; GROUP / 2] {
    // SAFETY: the caller's; NEON, see `transform_group`.
    unsafe {
        let load = |i: usize| vcombine_s8(vld1_s8(codes.add(i * column)), vdup_n_s8(0));
        // each pass moves the highest bit of the columns' index below that of the channels'
        let halves = from_fn(|i| vzip1q_s8(load(i), load(i + 4)));
        interleave(interleave(halves))
    }
}

/// Interleaves the eight halves: the first with the fifth, and so on.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions")]
fn interleave([a, b, c, d]: [int8x16_t; 4]) -> [int8x16_t; 4] {
    // SAFETY: NEON, see `transform_group`.
    unsafe {
        [
            vzip1q_s8(a, c),
            vzip2q_s8(a, c),
            vzip1q_s8(b, d),
            vzip2q_s8(b, d),
        ]
    }
}

/// `G g G^T` of windows, a column each.
///
/// # Safety
/// `to` has room for POINTS points, `point` apart, of TOGETHER_COLUMNS.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
unsafe fn transform_window(taps: [int16x8_t; TAPS], point: usize, mut to: *mut i16) {
    let [a, b, c, d, e, f, g, h, i] = taps;
    let rows = [
        weights_pass([a, b, c]),
        weights_pass([d, e, f]),
        weights_pass([g, h, i]),
    ];
    let columns: [_; PATCH] = from_fn(|x| weights_pass(from_fn(|y| rows[y][x])));
    for y in 0..PATCH {
        for column in &columns {
            // SAFETY: the caller's; NEON, see `transform_group`.
            unsafe { vst1q_s16(to, column[y]) };
            to = to.wrapping_add(point);
        }
    }
}

/// `G` times weights: at most 12 times the greatest.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions")]
fn weights_pass([a, b, c]: [int16x8_t; 3]) -> [int16x8_t; PATCH] {
    // SAFETY: NEON, see `transform_group`.
    unsafe {
        let (outer, twice) = (vaddq_s16(a, c), vaddq_s16(b, b));
        let quadruple = vmlaq_n_s16(a, c, 4);
        [
            vmulq_n_s16(a, 6),
            vmulq_n_s16(vaddq_s16(outer, b), -4),
            vmulq_n_s16(vsubq_s16(outer, b), -4),
            vaddq_s16(quadruple, twice),
            vsubq_s16(quadruple, twice),
            vmulq_n_s16(c, 6),
        ]
    }
}

/// Computes rows of a convolution's output.
pub(super) fn convolve(
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
            transform_input(convolution, tile, index, &mut scratch)?;
        }
        let panels = convolution.panels.chunks_exact(PANEL.bytes(shape.depth()));
        let columns = (0..shape.output[2]).step_by(COLUMNS);
        for (column, panel) in columns.zip(panels) {
            let (head, panel) = panel.split_at_checked(PANEL.head())?;
            let weights: &[i16] = match shape.keeps_weights() {
                true => bytemuck::try_cast_slice(panel).ok()?,
                false => {
                    transform_weights(bytemuck::cast_slice(panel), shape.input[2], weights)?;
                    weights
                }
            };
            for first in tiles.clone().step_by(BLOCK) {
                let block = first..tiles.end.min(first + BLOCK);
                let at = first - tiles.start;
                for group in (0..shape.groups()).step_by(MAX_GROUPS) {
                    let groups = group..shape.groups().min(group + MAX_GROUPS);
                    multiply(shape, at..at + block.len(), &groups, weights, &mut scratch)?;
                    transform_products(
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
fn transform_products(
    convolution: &Convolution<'_>,
    tiles: &Range<usize>,
    groups: &Range<usize>,
    (column, head): (usize, &[u8]),
    scratch: &mut Scratch<'_>,
    out: &mut [i8],
) -> Option<()> {
    let shape = convolution.shape;
    let requantize = Requantize::new(convolution.codes);
    let biases: &[i32] = bytemuck::try_cast_slice(head.get(..4 * COLUMNS)?).ok()?;
    let products = scratch.products.as_chunks().0.iter();
    let mut sums = scratch.sums.chunks_exact_mut(TILE_SUMS);
    for (tile, products) in tiles.clone().zip(products) {
        let sums = sums.next().unwrap_or_default();
        if groups.end == shape.groups() {
            let before = Before::new(groups, biases, sums);
            let codes = tile_codes(products, before, head, requantize)?;
            store(convolution, tile, column, &codes, out)?;
            continue;
        }
        for first in (0..COLUMNS).step_by(LANES) {
            let before = Before::new(groups, biases, sums);
            keep(tile_sums(products, before, first)?, sums.get_mut(first..)?)?;
        }
    }
    Some(())
}

/// Transforms the patch under a tile, number `index` of its block.
#[inline(never)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
fn transform_input(
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
            transform_patch(
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

/// `B^T d B` of a group of channels.
///
/// # Safety
/// PATCH rows of PATCH pixels, `row` and `pixel` codes apart, have GROUP readable codes each; `to` has room for
/// POINTS points, TOGETHER x GROUP apart.
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
unsafe fn transform_patch(patch: *const i8, row: usize, pixel: usize, to: *mut i16) {
    // SAFETY: the caller's; NEON belongs to the target, as `super` asserts, here and in what follows.
    unsafe {
        let rows: [_; PATCH] =
            from_fn(|y| first_pass(from_fn(|x| vld1_s8(patch.add(y * row + x * pixel)))));
        // columns by name: a loop over them would keep the rows in memory
        let column = |x: usize| second_pass(from_fn(|y| rows[y][x]));
        let points = [
            column(0),
            column(1),
            column(2),
            column(3),
            column(4),
            column(5),
        ];
        for (x, points) in points.into_iter().enumerate() {
            for (y, point) in points.into_iter().enumerate() {
                vst1q_s16(to.add((y * PATCH + x) * TOGETHER * GROUP), point);
            }
        }
    }
}

/// `B^T` times codes: at most 10 times the greatest.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions")]
fn first_pass([a, b, c, d, e, f]: [int8x8_t; PATCH]) -> [int16x8_t; PATCH] {
    // SAFETY: NEON, see `transform_patch`.
    unsafe {
        let (four, five) = (vdup_n_s8(4), vdup_n_s8(5));
        let even = vmlsl_s8(vmovl_s8(e), c, four);
        let odd = vmlsl_s8(vmovl_s8(d), b, four);
        let difference = vsubl_s8(e, c);
        let half = vsubl_s8(d, b);
        let twice = vaddq_s16(half, half);
        [
            vaddw_s8(vmlsl_s8(vshll_n_s8::<2>(a), c, five), e),
            vaddq_s16(even, odd),
            vsubq_s16(even, odd),
            vaddq_s16(difference, twice),
            vsubq_s16(difference, twice),
            vaddw_s8(vmlsl_s8(vshll_n_s8::<2>(b), d, five), f),
        ]
    }
}

/// `B^T` times what the first pass gave: at most 100 times the greatest code, which is within 2^14.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions")]
fn second_pass([a, b, c, d, e, f]: [int16x8_t; PATCH]) -> [int16x8_t; PATCH] {
    // SAFETY: NEON, see `transform_patch`.
    unsafe {
        let five = vdupq_n_s16(5);
        let even = vsubq_s16(e, vshlq_n_s16::<2>(c));
        let odd = vsubq_s16(d, vshlq_n_s16::<2>(b));
        let difference = vsubq_s16(e, c);
        let half = vsubq_s16(d, b);
        let twice = vaddq_s16(half, half);
        [
            vmlsq_s16(vaddq_s16(vshlq_n_s16::<2>(a), e), c, five),
            vaddq_s16(even, odd),
            vsubq_s16(even, odd),
            vaddq_s16(difference, twice),
            vsubq_s16(difference, twice),
            vmlsq_s16(vaddq_s16(vshlq_n_s16::<2>(b), f), d, five),
        ]
    }
}

/// Multiplies transformed patches by a panel's weights, over some groups of input channels.
#[inline(never)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
fn multiply(
    shape: &Extents,
    tiles: Range<usize>,
    groups: &Range<usize>,
    weights: &[i16],
    scratch: &mut Scratch<'_>,
) -> Option<()> {
    let all = shape.groups();
    let weights = weights.get(..POINTS * all * GROUP_WEIGHTS)?.as_ptr();
    let (first, together) = (tiles.start / TOGETHER, tiles.len().div_ceil(TOGETHER));
    let points = scratch.points.get(first * all * GROUP_POINTS..)?;
    let points = points.get(..together * all * GROUP_POINTS)?;
    let products = scratch.products.as_chunks_mut::<TOGETHER_PRODUCTS>().0;
    let products = products.get_mut(..together)?;
    if groups.is_empty() || groups.end > all {
        return None;
    }
    for point in 0..POINTS {
        for (index, products) in products.iter_mut().enumerate() {
            // SAFETY: `point` is below POINTS and the groups, of which there is one, below `all`: their weights, points and products lie in the
            // slices that were cut to these numbers.
            unsafe {
                let group = index * all + groups.start;
                multiply_point(
                    points
                        .as_ptr()
                        .add(group * GROUP_POINTS + point * TOGETHER * GROUP),
                    weights.add((point * all + groups.start) * GROUP_WEIGHTS),
                    groups.len(),
                    products.as_mut_ptr().add(point * COLUMNS),
                );
            }
        }
    }
    Some(())
}

/// The products of one channel of TOGETHER tiles with COLUMNS weights. `$multiply` puts the sums (`smull`) or adds to them (`smlal`).
/// In assembly, so that the compiler does not take the halves of the weights apart.
macro_rules! products {
    ($multiply:literal, $kind:ident, $lane:literal, $sums:expr, $x:expr, $weights:expr) => {{
        let [[a, b, c, d], [e, f, g, h], [i, j, k, l], [m, n, o, p]] = &mut $sums;
        let [xa, xb, xc, xd] = $x;
        asm!(
            concat!($multiply, " {a:v}.4s, {low:v}.4h, {xa:v}.h[", $lane, "]"),
            concat!($multiply, "2 {b:v}.4s, {low:v}.8h, {xa:v}.h[", $lane, "]"),
            concat!($multiply, " {c:v}.4s, {high:v}.4h, {xa:v}.h[", $lane, "]"),
            concat!($multiply, "2 {d:v}.4s, {high:v}.8h, {xa:v}.h[", $lane, "]"),
            concat!($multiply, " {e:v}.4s, {low:v}.4h, {xb:v}.h[", $lane, "]"),
            concat!($multiply, "2 {f:v}.4s, {low:v}.8h, {xb:v}.h[", $lane, "]"),
            concat!($multiply, " {g:v}.4s, {high:v}.4h, {xb:v}.h[", $lane, "]"),
            concat!($multiply, "2 {h:v}.4s, {high:v}.8h, {xb:v}.h[", $lane, "]"),
            concat!($multiply, " {i:v}.4s, {low:v}.4h, {xc:v}.h[", $lane, "]"),
            concat!($multiply, "2 {j:v}.4s, {low:v}.8h, {xc:v}.h[", $lane, "]"),
            concat!($multiply, " {k:v}.4s, {high:v}.4h, {xc:v}.h[", $lane, "]"),
            concat!($multiply, "2 {l:v}.4s, {high:v}.8h, {xc:v}.h[", $lane, "]"),
            concat!($multiply, " {m:v}.4s, {low:v}.4h, {xd:v}.h[", $lane, "]"),
            concat!($multiply, "2 {n:v}.4s, {low:v}.8h, {xd:v}.h[", $lane, "]"),
            concat!($multiply, " {o:v}.4s, {high:v}.4h, {xd:v}.h[", $lane, "]"),
            concat!($multiply, "2 {p:v}.4s, {high:v}.8h, {xd:v}.h[", $lane, "]"),
            a = $kind(vreg) *a, b = $kind(vreg) *b, c = $kind(vreg) *c, d = $kind(vreg) *d,
            e = $kind(vreg) *e, f = $kind(vreg) *f, g = $kind(vreg) *g, h = $kind(vreg) *h,
            i = $kind(vreg) *i, j = $kind(vreg) *j, k = $kind(vreg) *k, l = $kind(vreg) *l,
            m = $kind(vreg) *m, n = $kind(vreg) *n, o = $kind(vreg) *o, p = $kind(vreg) *p,
            xa = in(vreg_low16) xa, xb = in(vreg_low16) xb, xc = in(vreg_low16) xc, xd = in(vreg_low16) xd,
            low = in(vreg) vld1q_s16($weights), high = in(vreg) vld1q_s16($weights.add(COLUMNS / 2)),
            options(pure, nomem, nostack, preserves_flags),
        );
    }};
}

/// The products of a group; the first channel's by `$multiply`.
macro_rules! group_products {
    ($multiply:literal, $kind:ident, $sums:expr, $x:expr, $weights:expr) => {{
        products!($multiply, $kind, 0, $sums, $x, $weights);
        products!("smlal", inout, 1, $sums, $x, $weights.add(COLUMNS));
        products!("smlal", inout, 2, $sums, $x, $weights.add(2 * COLUMNS));
        products!("smlal", inout, 3, $sums, $x, $weights.add(3 * COLUMNS));
        products!("smlal", inout, 4, $sums, $x, $weights.add(4 * COLUMNS));
        products!("smlal", inout, 5, $sums, $x, $weights.add(5 * COLUMNS));
        products!("smlal", inout, 6, $sums, $x, $weights.add(6 * COLUMNS));
        products!("smlal", inout, 7, $sums, $x, $weights.add(7 * COLUMNS));
    }};
}

/// The products of a point of TOGETHER tiles with those of COLUMNS weights, over `groups` of channels.
///
/// # Safety
/// There is a group. For each there are a point of TOGETHER tiles, GROUP_POINTS further, and GROUP_WEIGHTS weights; `to` has
/// room for the COLUMNS products of TOGETHER tiles, TILE_PRODUCTS apart.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
unsafe fn multiply_point(
    mut points: *const i16,
    mut weights: *const i16,
    groups: usize,
    to: *mut i32,
) {
    // SAFETY: the caller's; NEON as in `transform_patch`. The assembly reads and writes the named registers alone.
    unsafe {
        let tiles = |points: *const i16| from_fn(|tile| vld1q_s16(points.add(tile * GROUP)));
        let mut sums = [[vdupq_n_s32(0); COLUMNS / LANES]; TOGETHER];
        let x: [_; TOGETHER] = tiles(points);
        group_products!("smull", out, sums, x, weights);
        for _ in 1..groups {
            points = points.add(GROUP_POINTS);
            weights = weights.add(GROUP_WEIGHTS);
            let x: [_; TOGETHER] = tiles(points);
            group_products!("smlal", inout, sums, x, weights);
        }
        for (tile, sums) in sums.into_iter().enumerate() {
            for (i, sums) in sums.into_iter().enumerate() {
                vst1q_s32(to.add(tile * TILE_PRODUCTS + i * LANES), sums);
            }
        }
    }
}

/// What a tile's sums are added to.
#[derive(Clone, Copy)]
struct Before<'s> {
    sums: &'s [i32],
    /// From a position to the next: 0 for biases, which are the same for all.
    step: usize,
}

impl<'s> Before<'s> {
    /// The biases for the first groups of input channels, the sums of the groups before for others.
    fn new(groups: &Range<usize>, biases: &'s [i32], sums: &'s [i32]) -> Self {
        match groups.start {
            0 => Self {
                sums: biases,
                step: 0,
            },
            _ => Self {
                sums,
                step: COLUMNS,
            },
        }
    }
}

/// The codes of a tile and a panel, `[row][column / LANES][position][column % LANES]`.
#[inline(never)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
fn tile_codes(
    products: &[i32; TILE_PRODUCTS],
    before: Before<'_>,
    panel: &[u8],
    requantize: Requantize,
) -> Option<[[int8x16_t; COLUMNS / LANES]; TILE]> {
    let multipliers: &[f32] =
        bytemuck::try_cast_slice(panel.get(4 * COLUMNS..PANEL.head())?).ok()?;
    // SAFETY: NEON, see `transform_patch`.
    let mut codes = [[unsafe { vdupq_n_s8(0) }; COLUMNS / LANES]; TILE];
    for (i, multipliers) in multipliers.as_chunks::<LANES>().0.iter().enumerate() {
        let sums = tile_sums(products, before, i * LANES)?;
        // SAFETY: NEON; a load of the four `multipliers`.
        let multiplier = unsafe { vld1q_f32(multipliers.as_ptr()) };
        for (codes, sums) in codes.iter_mut().zip(sums) {
            *codes.get_mut(i)? = requantize.codes(sums, [multiplier; LANES]);
        }
    }
    Some(codes)
}

/// `A^T m A` of the products of LANES columns from `first` on, which gives 576 times the sums, and with it the sums.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
fn tile_sums(
    products: &[i32; TILE_PRODUCTS],
    before: Before<'_>,
    first: usize,
) -> Option<[[int32x4_t; TILE]; TILE]> {
    before
        .sums
        .get(..(TILE * TILE - 1) * before.step + COLUMNS)?;
    if first > COLUMNS - LANES {
        return None;
    }
    // SAFETY: NEON, see `transform_patch`. LANES columns from `first` on are there for each point, of which there are POINTS, and for
    // each position, `step` apart.
    unsafe {
        let products = products.as_ptr().add(first);
        let point = |y: usize, x: usize| vld1q_s32(products.add((y * PATCH + x) * COLUMNS));
        let columns: [_; PATCH] = from_fn(|x| output_pass(from_fn(|y| point(y, x))));
        let sums = |y: usize| {
            let row = output_pass(from_fn(|x| columns[x][y]));
            from_fn(|x| {
                let at = (y * TILE + x) * before.step + first;
                let before = vld1q_s32(before.sums.as_ptr().add(at));
                vsraq_n_s32::<6>(before, vmulq_n_s32(row[x], NINTH))
            })
        };
        Some(from_fn(sums))
    }
}

/// `A^T` times products.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions")]
fn output_pass([a, b, c, d, e, f]: [int32x4_t; PATCH]) -> [int32x4_t; TILE] {
    // SAFETY: NEON, see `transform_patch`.
    unsafe {
        let (ones, odd_ones) = (vaddq_s32(b, c), vsubq_s32(b, c));
        let (twos, odd_twos) = (vaddq_s32(d, e), vsubq_s32(d, e));
        let doubled = vaddq_s32(odd_twos, odd_twos);
        [
            vaddq_s32(a, vaddq_s32(ones, twos)),
            vaddq_s32(odd_ones, doubled),
            vaddq_s32(ones, vshlq_n_s32::<2>(twos)),
            vaddq_s32(odd_ones, vshlq_n_s32::<2>(vaddq_s32(doubled, f))),
        ]
    }
}

/// Writes LANES columns of a tile's sums.
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
fn keep(sums: [[int32x4_t; TILE]; TILE], to: &mut [i32]) -> Option<()> {
    for (to, sums) in to.chunks_mut(COLUMNS).zip(sums.as_flattened()) {
        let to: &mut [i32; LANES] = to.first_chunk_mut()?;
        // SAFETY: NEON, see `transform_patch`; one store to the four of `to`.
        unsafe { vst1q_s32(to.as_mut_ptr(), *sums) };
    }
    Some(())
}

/// Writes a tile's codes, as far as they lie in the output, from a column on.
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
fn store(
    convolution: &Convolution<'_>,
    tile: usize,
    column: usize,
    codes: &[[int8x16_t; COLUMNS / LANES]; TILE],
    out: &mut [i8],
) -> Option<()> {
    let [height, width, filters] = convolution.shape.output;
    let [y, x] = convolution.shape.position(tile)?;
    let columns = COLUMNS.min(filters.checked_sub(column)?);
    for (y, codes) in (y..height).zip(codes) {
        let mut positions = [[0i8; COLUMNS]; TILE];
        // SAFETY: NEON, see `transform_patch`; the four words of four vectors, one of each in turn, fill `positions`.
        unsafe {
            let [a, b, c, d] = codes.map(|codes| vreinterpretq_s32_s8(codes));
            vst4q_s32(positions.as_mut_ptr().cast(), int32x4x4_t(a, b, c, d));
        }
        let to = out.get_mut(((y - convolution.rows.start) * width + x) * filters + column..)?;
        for (to, codes) in to.chunks_mut(filters).zip(&positions).take(width - x) {
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
