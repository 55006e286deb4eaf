//! Convolutions in tiles of 4 x 4 output positions, by the baseline's multiplications of sixteen bits; see
//! [`winograd`](crate::kernels::winograd).

use super::requantize::Requantize;
use crate::kernels::winograd::convolve::{
    Before, COLUMNS, Factors, GROUP_POINTS, GROUP_WEIGHTS, NINTH, POINT_WEIGHTS, POSITIONS, TAPS,
    TILE_PRODUCTS, TOGETHER_COLUMNS, Vectors,
};
use crate::kernels::winograd::{GROUP, PATCH, POINTS, TILE, TOGETHER};
use crate::quantize::Codes;
use core::arch::aarch64::*;
use core::arch::asm;
use core::array::from_fn;

/// Columns of a vector of sums.
const LANES: usize = 4;

pub(super) struct Neon;

#[expect(unsafe_code, reason = "vector instructions on checked memory")]
impl Vectors for Neon {
    #[inline(never)]
    unsafe fn weights(codes: *const i8, tap: usize, column: usize, to: *mut i16) {
        // SAFETY: the caller's. NEON belongs to the target, as `super` asserts, here and in what follows.
        unsafe {
            let mut windows = [[[0; TOGETHER_COLUMNS]; TAPS]; GROUP];
            for i in 0..TAPS {
                let pairs = transpose(codes.add(i * tap), TAPS * tap);
                for ([a, b], pair) in windows.as_chunks_mut::<2>().0.iter_mut().zip(pairs) {
                    vst1_s8(a[i].as_mut_ptr(), vget_low_s8(pair));
                    vst1_s8(b[i].as_mut_ptr(), vget_high_s8(pair));
                }
            }
            for (channel, window) in windows.iter().enumerate() {
                let window = from_fn(|i| vmovl_s8(vld1_s8(window[i].as_ptr())));
                transform_window(window, to.add(channel * COLUMNS + column));
            }
        }
    }

    #[inline(never)]
    unsafe fn patch(patch: *const i8, row: usize, pixel: usize, to: *mut i16) {
        // SAFETY: the caller's.
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

    #[inline(always)]
    unsafe fn multiply(factors: Factors) {
        for point in 0..POINTS {
            for tiles in 0..factors.tiles {
                let (points, weights, products) = factors.at(point, tiles);
                // SAFETY: the caller's; there is a group.
                unsafe { multiply_point(points, weights, factors.groups, products) };
            }
        }
    }

    #[inline(always)]
    unsafe fn sums(products: *const i32, before: Before, to: *mut i32) {
        for first in (0..COLUMNS).step_by(LANES) {
            // SAFETY: the caller's; these sums are read before they are written.
            unsafe {
                let sums = tile_sums(products, before, first);
                for (position, sums) in sums.into_iter().flatten().enumerate() {
                    vst1q_s32(to.add(position * COLUMNS + first), sums);
                }
            }
        }
    }

    #[inline(never)]
    unsafe fn codes(
        products: *const i32,
        before: Before,
        multipliers: *const f32,
        codes: Codes,
        to: &mut [[i8; COLUMNS]; POSITIONS],
    ) {
        let requantize = Requantize::new(codes);
        // SAFETY: the caller's; the four words of four vectors, one of each in turn, fill the positions of a row.
        unsafe {
            // `[row][column / LANES]`: four columns of each position
            let mut codes = [[vdupq_n_s8(0); COLUMNS / LANES]; TILE];
            for i in 0..COLUMNS / LANES {
                let sums = tile_sums(products, before, i * LANES);
                let multiplier = vld1q_f32(multipliers.add(i * LANES));
                for (codes, sums) in codes.iter_mut().zip(sums) {
                    codes[i] = requantize.codes(sums, [multiplier; LANES]);
                }
            }
            for (to, codes) in to.as_chunks_mut::<TILE>().0.iter_mut().zip(codes) {
                let [a, b, c, d] = codes.map(|codes| vreinterpretq_s32_s8(codes));
                vst4q_s32(to.as_mut_ptr().cast(), int32x4x4_t(a, b, c, d));
            }
        }
    }
}

/// GROUP codes of each of some columns, as those columns' codes of each channel; a vector has two channels.
///
/// # Safety
/// TOGETHER_COLUMNS columns, `column` codes apart, have GROUP readable codes each.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
unsafe fn transpose(codes: *const i8, column: usize) -> [int8x16_t; GROUP / 2] {
    // SAFETY: the caller's; NEON, see `Neon`.
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
    // SAFETY: NEON, see `Neon`.
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
/// `to` has room for TOGETHER_COLUMNS of POINTS points, POINT_WEIGHTS apart.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
unsafe fn transform_window(taps: [int16x8_t; TAPS], mut to: *mut i16) {
    let [a, b, c, d, e, f, g, h, i] = taps;
    let rows = [
        weights_pass([a, b, c]),
        weights_pass([d, e, f]),
        weights_pass([g, h, i]),
    ];
    let columns: [_; PATCH] = from_fn(|x| weights_pass(from_fn(|y| rows[y][x])));
    for y in 0..PATCH {
        for column in &columns {
            // SAFETY: the caller's; NEON, see `Neon`.
            unsafe { vst1q_s16(to, column[y]) };
            to = to.wrapping_add(POINT_WEIGHTS);
        }
    }
}

/// `G` times weights: at most 12 times the greatest.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions")]
fn weights_pass([a, b, c]: [int16x8_t; 3]) -> [int16x8_t; PATCH] {
    // SAFETY: NEON, see `Neon`.
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

/// `B^T` times codes: at most 10 times the greatest.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions")]
fn first_pass([a, b, c, d, e, f]: [int8x8_t; PATCH]) -> [int16x8_t; PATCH] {
    // SAFETY: NEON, see `Neon`.
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
    // SAFETY: NEON, see `Neon`.
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
/// There is a group. For each there are a point of TOGETHER tiles, GROUP_POINTS further, and POINT_WEIGHTS weights, GROUP_WEIGHTS further; `to` has
/// room for the COLUMNS products of TOGETHER tiles, TILE_PRODUCTS apart.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
unsafe fn multiply_point(
    mut points: *const i16,
    mut weights: *const i16,
    groups: usize,
    to: *mut i32,
) {
    // SAFETY: the caller's; NEON, see `Neon`. The assembly reads and writes the named registers alone.
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

/// `A^T m A` of the products of LANES columns from `first` on, which gives 576 times the sums, and with it the sums.
///
/// # Safety
/// See [`Vectors::sums`]; LANES columns from `first` on are there.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
unsafe fn tile_sums(
    products: *const i32,
    before: Before,
    first: usize,
) -> [[int32x4_t; TILE]; TILE] {
    // SAFETY: the caller's; NEON, see `Neon`.
    unsafe {
        let products = products.add(first);
        let point = |y: usize, x: usize| vld1q_s32(products.add((y * PATCH + x) * COLUMNS));
        let columns: [_; PATCH] = from_fn(|x| output_pass(from_fn(|y| point(y, x))));
        let sums = |y: usize| {
            let row = output_pass(from_fn(|x| columns[x][y]));
            from_fn(|x| {
                let at = (y * TILE + x) * before.step + first;
                let before = vld1q_s32(before.sums.add(at));
                vsraq_n_s32::<6>(before, vmulq_n_s32(row[x], NINTH))
            })
        };
        from_fn(sums)
    }
}

/// `A^T` times products.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions")]
fn output_pass([a, b, c, d, e, f]: [int32x4_t; PATCH]) -> [int32x4_t; TILE] {
    // SAFETY: NEON, see `Neon`.
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
