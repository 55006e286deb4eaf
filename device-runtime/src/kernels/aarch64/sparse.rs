//! Integer products of strips: see [`crate::kernels::sparse`].

#![expect(
    clippy::needless_range_loop,
    reason = "counted loops over registers, which the compiler unrolls"
)]

use super::requantize::Requantize;
use crate::kernels::sparse::{BLOCK, POSITIONS, STRIP, Strip};
use crate::kernels::{Gemm, Out, place};
use core::arch::aarch64::*;
use core::arch::asm;

/// Output positions of a plane.
const LANES: usize = 4;
/// Codes of a position that are transposed at once.
const WIDTH: usize = 16;

/// What a set does with transposed codes.
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
pub(super) trait Product {
    /// Writes [`WIDTH`] codes of each of a plane's positions, those of each step together.
    ///
    /// # Safety
    /// The processor has the set's instructions; `to` has room for the codes.
    unsafe fn transpose(rows: [int8x16_t; LANES], to: *mut i8);

    /// Biases and products of `P` planes, two or four: four output channels of each position.
    ///
    /// # Safety
    /// The processor has the set's instructions; a plane has the codes that each number of the strip stands for.
    unsafe fn sums<const P: usize>(
        planes: [*const i8; P],
        strip: Strip<'_>,
    ) -> [[int32x4_t; LANES]; P];
}

/// [`Sparse::gemm_i8`](crate::kernels::sparse::Sparse::gemm_i8).
#[inline(always)]
pub(super) fn gemm_i8<T: Product>(gemm: &Gemm<'_>, scratch: &mut [u8], out: Out<'_>) -> Option<()> {
    let Out::Codes(codes, out, stride) = out else {
        return None;
    };
    let strips = gemm.check(STRIP)?.chunks_exact(STRIP.bytes(gemm.depth()));
    let depth = gemm.runs * gemm.run;
    let out = out.get_mut(..gemm.rows().checked_sub(1)? * stride + gemm.columns)?;
    let (planes, all) = scratch.split_at_mut_checked(POSITIONS * depth)?;
    let planes: &mut [i8] = bytemuck::cast_slice_mut(planes);
    let all: &mut [u16] = bytemuck::try_cast_slice_mut(all).ok()?;
    let all = all.get_mut(..depth / STRIP.step)?;
    all.iter_mut()
        .zip(0..)
        .for_each(|(to, number)| *to = number);
    let requantize = Requantize::new(codes);
    for first in (0..gemm.rows()).step_by(POSITIONS) {
        let rows = POSITIONS.min(gemm.rows() - first);
        let count = rows.div_ceil(LANES);
        let each = planes.chunks_exact_mut(LANES * depth);
        for (plane, to) in each.enumerate().take(count) {
            transpose::<T>(gemm, first + plane * LANES, to);
        }
        let begin = [0, 1, 2, 3].map(|plane| planes.as_ptr().wrapping_add(plane * LANES * depth));
        let mut to = Place {
            codes: out.as_mut_ptr().wrapping_add(first * stride),
            stride,
            rows,
            columns: gemm.columns,
        };
        for strip in strips.clone() {
            let strip = Strip::of(strip, all)?;
            if count > 2 {
                tile::<T, 4>(begin, strip, requantize, to);
            } else {
                tile::<T, 2>([begin[0], begin[1]], strip, requantize, to);
            }
            to.codes = to.codes.wrapping_add(STRIP.columns);
            to.columns = to.columns.saturating_sub(STRIP.columns);
        }
    }
    Some(())
}

/// Where the codes of some output positions go.
#[derive(Clone, Copy)]
struct Place {
    codes: *mut i8,
    /// From a position to the next.
    stride: usize,
    /// Positions, and output channels of each, that there are.
    rows: usize,
    columns: usize,
}

/// A strip's output channels at the positions of `P` planes.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
fn tile<T: Product, const P: usize>(
    planes: [*const i8; P],
    strip: Strip<'_>,
    requantize: Requantize,
    mut to: Place,
) {
    // SAFETY: a set's functions are reached through its table alone, which is given out after the processor has
    // reported the instructions. The numbers of a strip are below the steps of a plane: `compact` wrote them, or they are all. A
    // head has four multipliers after four biases. `gemm_i8` found room for the positions and channels that there are.
    unsafe {
        let sums = T::sums(planes, strip);
        let multiplier = vld1q_f32(strip.head.as_ptr().add(4 * STRIP.columns).cast());
        for sums in sums {
            let codes = requantize.codes(sums, [multiplier; LANES]);
            if to.columns >= STRIP.columns && to.rows >= LANES {
                let words = vreinterpretq_s32_s8(codes);
                let at = |row: usize| to.codes.add(row * to.stride).cast::<i32>();
                vst1q_lane_s32::<0>(at(0), words);
                vst1q_lane_s32::<1>(at(1), words);
                vst1q_lane_s32::<2>(at(2), words);
                vst1q_lane_s32::<3>(at(3), words);
            } else {
                store_some(codes, to);
            }
            to.codes = to.codes.wrapping_add(LANES * to.stride);
            to.rows = to.rows.saturating_sub(LANES);
        }
    }
}

/// Writes those codes of a plane's positions that there are, fewer than all.
///
/// # Safety
/// `to` has room for its positions and output channels.
#[cold]
#[inline(never)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
unsafe fn store_some(codes: int8x16_t, to: Place) {
    let mut whole = [0i8; LANES * STRIP.columns];
    // SAFETY: the caller's; `whole` has room for all codes.
    unsafe {
        vst1q_s8(whole.as_mut_ptr(), codes);
        for row in 0..to.rows.min(LANES) {
            let from = whole.as_ptr().add(row * STRIP.columns);
            let at = to.codes.add(row * to.stride);
            at.copy_from_nonoverlapping(from, to.columns.min(STRIP.columns));
        }
    }
}

/// Transposes the codes of four output positions, the last one again where there are fewer.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
fn transpose<T: Product>(gemm: &Gemm<'_>, first: usize, mut to: &mut [i8]) {
    for run in 0..gemm.runs {
        let mut begin = [core::ptr::null(); LANES];
        for (i, begin) in begin.iter_mut().enumerate() {
            let row = (first + i).min(gemm.rows() - 1);
            *begin = place(gemm.sources, gemm.starts[row * gemm.runs + run]);
        }
        let (now, rest) = to.split_at_mut(LANES * gemm.run);
        to = rest;
        let (whole, left) = now.as_chunks_mut::<{ LANES * WIDTH }>();
        // SAFETY: `Gemm::check` has found `run` codes from each start on inside; a set's functions are reached
        // through its table alone, which is given out after the processor has reported the instructions.
        unsafe {
            for to in whole {
                let [a, b, c, d] = begin;
                let rows = [vld1q_s8(a), vld1q_s8(b), vld1q_s8(c), vld1q_s8(d)];
                T::transpose(rows, to.as_mut_ptr());
                begin = [a.add(WIDTH), b.add(WIDTH), c.add(WIDTH), d.add(WIDTH)];
            }
            if !left.is_empty() {
                transpose_left::<T>(begin, left);
            }
        }
    }
}

/// Transposes the last codes of a run.
///
/// # Safety
/// The processor has the set's instructions; as many codes of each row as `to` has room for are readable, fewer than [`WIDTH`].
#[inline(never)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
unsafe fn transpose_left<T: Product>(begin: [*const i8; LANES], to: &mut [i8]) {
    let mut rows = [[0i8; WIDTH]; LANES];
    let mut whole = [0i8; LANES * WIDTH];
    // SAFETY: the caller's; `rows` and `whole` have room for `WIDTH` codes of each row.
    unsafe {
        for (row, begin) in rows.iter_mut().zip(begin) {
            let row = row.as_mut_ptr();
            row.copy_from_nonoverlapping(begin, to.len() / LANES);
        }
        let [a, b, c, d] = &rows;
        let rows = [a, b, c, d].map(|row| vld1q_s8(row.as_ptr()));
        T::transpose(rows, whole.as_mut_ptr());
    }
    to.copy_from_slice(&whole[..to.len()]);
}

/// The sixteen codes of step `$number` of a plane.
macro_rules! step {
    ($plane:expr, $number:expr) => {{
        let x: int8x16_t;
        // assembly, since an address with a scaled number is one instruction less than a sum that planes share
        asm!(
            "ldr {x:q}, [{plane}, {number}, lsl #4]",
            x = out(vreg) x,
            plane = in(reg) $plane,
            number = in(reg) $number,
            options(pure, readonly, nostack, preserves_flags),
        );
        x
    }};
}
const _: () = assert!(LANES * STRIP.step == 1 << 4);

/// Four products added to each sum by one instruction: see [`super::dotprod`].
pub(super) struct DotProduct;

#[expect(unsafe_code, reason = "vector instructions on checked memory")]
impl Product for DotProduct {
    #[inline(always)]
    unsafe fn transpose([a, b, c, d]: [int8x16_t; LANES], to: *mut i8) {
        // SAFETY: the caller's.
        unsafe {
            let words = |row| vreinterpretq_s32_s8(row);
            vst4q_s32(
                to.cast(),
                int32x4x4_t(words(a), words(b), words(c), words(d)),
            );
        }
    }

    #[inline(always)]
    unsafe fn sums<const P: usize>(
        planes: [*const i8; P],
        strip: Strip<'_>,
    ) -> [[int32x4_t; LANES]; P] {
        // SAFETY: the caller's; a head has four biases, and there is a block for each number.
        unsafe {
            let mut sums = [[vld1q_s32(strip.head.as_ptr().cast()); LANES]; P];
            let mut block: *const i8 = strip.blocks.as_ptr().cast();
            for &number in strip.numbers {
                let number = usize::from(number);
                let w = vld1q_s8(block);
                block = block.add(BLOCK);
                for p in 0..P {
                    let x = step!(planes[p], number);
                    sdot!(sums[p][0], w, x, 0);
                    sdot!(sums[p][1], w, x, 1);
                    sdot!(sums[p][2], w, x, 2);
                    sdot!(sums[p][3], w, x, 3);
                }
            }
            sums
        }
    }
}

/// Two products in each sixteen-bit lane, added in pairs to the sums: see [`super::neon`].
pub(super) struct Neon;

/// The products of a step of two planes with two output channels, side by side for cores that execute in order. `$w`: the first
/// two codes of the first channel in every pair of lanes, its other two, and those of the second.
macro_rules! products {
    ($a:expr, $b:expr, $c:expr, $d:expr, $x:expr, $y:expr, $w:expr) => {
        asm!(
            "smull {ta:v}.8h, {x:v}.8b, {wa:v}.8b",
            "smull {tb:v}.8h, {y:v}.8b, {wa:v}.8b",
            "smull {tc:v}.8h, {x:v}.8b, {wc:v}.8b",
            "smull {td:v}.8h, {y:v}.8b, {wc:v}.8b",
            "smlal2 {ta:v}.8h, {x:v}.16b, {wb:v}.16b",
            "smlal2 {tb:v}.8h, {y:v}.16b, {wb:v}.16b",
            "smlal2 {tc:v}.8h, {x:v}.16b, {wd:v}.16b",
            "smlal2 {td:v}.8h, {y:v}.16b, {wd:v}.16b",
            "sadalp {a:v}.4s, {ta:v}.8h",
            "sadalp {b:v}.4s, {tb:v}.8h",
            "sadalp {c:v}.4s, {tc:v}.8h",
            "sadalp {d:v}.4s, {td:v}.8h",
            a = inout(vreg) $a,
            b = inout(vreg) $b,
            c = inout(vreg) $c,
            d = inout(vreg) $d,
            x = in(vreg) $x,
            y = in(vreg) $y,
            wa = in(vreg) $w[0],
            wb = in(vreg) $w[1],
            wc = in(vreg) $w[2],
            wd = in(vreg) $w[3],
            ta = out(vreg) _,
            tb = out(vreg) _,
            tc = out(vreg) _,
            td = out(vreg) _,
            options(pure, nomem, nostack, preserves_flags),
        )
    };
}

/// The codes of two output channels, as [`products`] takes them, from `$block` on, which moves to the next two.
macro_rules! channels {
    ($block:ident) => {{
        let w: [int8x16_t; 4];
        let (a, b, c, d);
        asm!(
            "ld2r {{v24.8h, v25.8h}}, [{block}], #4",
            "ld2r {{v26.8h, v27.8h}}, [{block}], #4",
            block = inout(reg) $block,
            out("v24") a,
            out("v25") b,
            out("v26") c,
            out("v27") d,
            options(pure, readonly, nostack, preserves_flags),
        );
        w = [a, b, c, d];
        w
    }};
}

#[expect(unsafe_code, reason = "vector instructions on checked memory")]
impl Product for Neon {
    /// Of a step, the first two codes of each position, then the others.
    #[inline(always)]
    unsafe fn transpose([a, b, c, d]: [int8x16_t; LANES], to: *mut i8) {
        // SAFETY: the caller's.
        unsafe {
            let pairs = |row| vreinterpretq_s16_s8(row);
            vst4q_s16(
                to.cast(),
                int16x8x4_t(pairs(a), pairs(b), pairs(c), pairs(d)),
            );
        }
    }

    #[inline(always)]
    unsafe fn sums<const P: usize>(
        planes: [*const i8; P],
        strip: Strip<'_>,
    ) -> [[int32x4_t; LANES]; P] {
        // SAFETY: the caller's; a head has four biases, and there is a block for each number. The assembly reads a block,
        // and writes the named registers alone.
        unsafe {
            // [plane][channel], positions in lanes
            let mut sums = [[vdupq_n_s32(0); LANES]; P];
            let mut block: *const i8 = strip.blocks.as_ptr().cast();
            for &number in strip.numbers {
                let number = usize::from(number);
                let mut x = [vdupq_n_s8(0); P];
                for p in 0..P {
                    x[p] = step!(planes[p], number);
                }
                for c in [0, 2] {
                    let w = channels!(block);
                    for p in (0..P).step_by(2) {
                        products!(
                            sums[p][c],
                            sums[p + 1][c],
                            sums[p][c + 1],
                            sums[p + 1][c + 1],
                            x[p],
                            x[p + 1],
                            w
                        );
                    }
                }
            }
            let bias = vld1q_s32(strip.head.as_ptr().cast());
            for p in 0..P {
                sums[p] = transposed(sums[p], bias);
            }
            sums
        }
    }
}

/// Sums of each channel to sums of each position, with their biases.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions")]
fn transposed([a, b, c, d]: [int32x4_t; LANES], bias: int32x4_t) -> [int32x4_t; LANES] {
    // SAFETY: NEON belongs to the target, as `super` asserts.
    unsafe {
        let [ab, ba] = [vtrn1q_s32(a, b), vtrn2q_s32(a, b)];
        let [cd, dc] = [vtrn1q_s32(c, d), vtrn2q_s32(c, d)];
        let (a, b) = (vreinterpretq_s64_s32(ab), vreinterpretq_s64_s32(ba));
        let (c, d) = (vreinterpretq_s64_s32(cd), vreinterpretq_s64_s32(dc));
        [
            vaddq_s32(bias, vreinterpretq_s32_s64(vzip1q_s64(a, c))),
            vaddq_s32(bias, vreinterpretq_s32_s64(vzip1q_s64(b, d))),
            vaddq_s32(bias, vreinterpretq_s32_s64(vzip2q_s64(a, c))),
            vaddq_s32(bias, vreinterpretq_s32_s64(vzip2q_s64(b, d))),
        ]
    }
}
