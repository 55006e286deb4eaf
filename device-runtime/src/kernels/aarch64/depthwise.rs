//! Integer depthwise convolution, sixteen or eight channels at a time.

use super::requantize::Requantize;
use crate::kernels::depthwise::{self, Lanes};
use crate::kernels::{Depthwise, Out};
use crate::quantize::Codes;
use core::arch::aarch64::*;
use core::arch::asm;

pub(super) fn depthwise_i8(depthwise: &Depthwise<'_>, out: Out<'_>) -> Option<()> {
    depthwise::depthwise_i8::<Sixteen, Eight>(depthwise, out)
}

struct Sixteen;

#[expect(unsafe_code, reason = "vector instructions on checked memory")]
impl Lanes for Sixteen {
    const LANES: usize = 16;
    type Codes = int8x16_t;
    type Sums = [[int32x4_t; 2]; 2];

    #[inline(always)]
    unsafe fn load(codes: *const i8) -> int8x16_t {
        // SAFETY: the caller's; NEON belongs to the target, as `super` asserts, here and in what follows.
        unsafe { vld1q_s8(codes) }
    }

    #[inline(always)]
    unsafe fn biases(biases: *const i32) -> Self::Sums {
        // SAFETY: the caller's.
        unsafe { [Eight::biases(biases), Eight::biases(biases.add(8))] }
    }

    #[inline(always)]
    unsafe fn add_two([low, high]: Self::Sums, x: [int8x16_t; 2], w: [int8x16_t; 2]) -> Self::Sums {
        // SAFETY: NEON, see `load`.
        unsafe {
            let halves = |codes: [int8x16_t; 2]| [vget_low_s8(codes[0]), vget_low_s8(codes[1])];
            let low = Eight::add_two(low, halves(x), halves(w));
            [low, widen(high, products_high(x, w))]
        }
    }

    #[inline(always)]
    unsafe fn add_one([low, high]: Self::Sums, x: int8x16_t, w: int8x16_t) -> Self::Sums {
        // SAFETY: NEON, see `load`.
        unsafe {
            let low = Eight::add_one(low, vget_low_s8(x), vget_low_s8(w));
            let none = vdupq_n_s8(0);
            [low, widen(high, products_high([x, none], [w, none]))]
        }
    }

    #[inline(always)]
    unsafe fn store(
        [[a, b], [c, d]]: Self::Sums,
        multipliers: *const f32,
        codes: Codes,
        out: *mut i8,
    ) {
        // SAFETY: the caller's.
        unsafe {
            let [ma, mb] = [vld1q_f32(multipliers), vld1q_f32(multipliers.add(4))];
            let [mc, md] = [
                vld1q_f32(multipliers.add(8)),
                vld1q_f32(multipliers.add(12)),
            ];
            vst1q_s8(
                out,
                Requantize::new(codes).codes([a, b, c, d], [ma, mb, mc, md]),
            );
        }
    }
}

struct Eight;

#[expect(unsafe_code, reason = "vector instructions on checked memory")]
impl Lanes for Eight {
    const LANES: usize = 8;
    type Codes = int8x8_t;
    type Sums = [int32x4_t; 2];

    #[inline(always)]
    unsafe fn load(codes: *const i8) -> int8x8_t {
        // SAFETY: the caller's; NEON as in `Sixteen`.
        unsafe { vld1_s8(codes) }
    }

    #[inline(always)]
    unsafe fn biases(biases: *const i32) -> Self::Sums {
        // SAFETY: the caller's.
        unsafe { [vld1q_s32(biases), vld1q_s32(biases.add(4))] }
    }

    #[inline(always)]
    unsafe fn add_two(sums: Self::Sums, x: [int8x8_t; 2], w: [int8x8_t; 2]) -> Self::Sums {
        // SAFETY: NEON as in `Sixteen`.
        widen(sums, unsafe { vmlal_s8(vmull_s8(x[0], w[0]), x[1], w[1]) })
    }

    #[inline(always)]
    unsafe fn add_one(sums: Self::Sums, x: int8x8_t, w: int8x8_t) -> Self::Sums {
        // SAFETY: NEON as in `Sixteen`.
        widen(sums, unsafe { vmull_s8(x, w) })
    }

    #[inline(always)]
    unsafe fn store([a, b]: Self::Sums, multipliers: *const f32, codes: Codes, out: *mut i8) {
        // SAFETY: the caller's.
        unsafe {
            let [ma, mb] = [vld1q_f32(multipliers), vld1q_f32(multipliers.add(4))];
            let codes = Requantize::new(codes).codes([a, b, a, b], [ma, mb, ma, mb]);
            vst1_s8(out, vget_low_s8(codes));
        }
    }
}

/// `x[0] * w[0] + x[1] * w[1]` of the upper eight lanes. The intrinsics make the compiler keep the upper
/// halves of weights in registers of their own, of which there are too few.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions")]
fn products_high(x: [int8x16_t; 2], w: [int8x16_t; 2]) -> int16x8_t {
    let products: int16x8_t;
    // SAFETY: NEON as in `Sixteen`; the instructions read and write the named registers alone.
    unsafe {
        asm!(
            "smull2 {products:v}.8h, {x0:v}.16b, {w0:v}.16b",
            "smlal2 {products:v}.8h, {x1:v}.16b, {w1:v}.16b",
            products = out(vreg) products,
            x0 = in(vreg) x[0],
            w0 = in(vreg) w[0],
            x1 = in(vreg) x[1],
            w1 = in(vreg) w[1],
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    products
}

#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions")]
fn widen([a, b]: [int32x4_t; 2], products: int16x8_t) -> [int32x4_t; 2] {
    // SAFETY: NEON as in `Sixteen`.
    unsafe {
        [
            vaddw_s16(a, vget_low_s16(products)),
            vaddw_high_s16(b, products),
        ]
    }
}
