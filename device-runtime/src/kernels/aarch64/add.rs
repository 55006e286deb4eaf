//! Integer addition, sixteen codes at a time.

use super::requantize::{Requantize, nearest};
use crate::kernels::{BinaryCodes, portable};
use core::arch::aarch64::*;

const LANES: usize = 16;

pub(super) fn add_i8(a: &[i8], b: &[i8], operands: &BinaryCodes, out: &mut [i8]) {
    let len = a.len().min(b.len()).min(out.len());
    let (a, b, out) = (&a[..len], &b[..len], &mut out[..len]);
    let requantize = Requantize::new(operands.codes);
    let (whole, rest) = out.as_chunks_mut::<LANES>();
    let done = whole.len() * LANES;
    let inputs = a
        .as_chunks::<LANES>()
        .0
        .iter()
        .zip(b.as_chunks::<LANES>().0);
    for (out, (a, b)) in whole.iter_mut().zip(inputs) {
        add(a, b, operands, requantize, out);
    }
    portable::add_i8(&a[done..], &b[done..], operands, rest);
}

#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions")]
fn add(
    a: &[i8; LANES],
    b: &[i8; LANES],
    operands: &BinaryCodes,
    requantize: Requantize,
    out: &mut [i8; LANES],
) {
    let a = steps(a, operands.zero_points[0], operands.multipliers[0]);
    let b = steps(b, operands.zero_points[1], operands.multipliers[1]);
    // SAFETY: NEON belongs to the target, as `super` asserts; one store of 16 bytes to the 16 of `out`.
    unsafe {
        let sums = [0, 1, 2, 3].map(|i| nearest(vaddq_f32(a[i], b[i])));
        vst1q_s8(out.as_mut_ptr(), requantize.narrow(sums));
    }
}

/// `f32(code - zero_point) * multiplier`.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions")]
fn steps(codes: &[i8; LANES], zero_point: i8, multiplier: f32) -> [float32x4_t; 4] {
    // SAFETY: NEON belongs to the target, as `super` asserts; one load of the 16 bytes of `codes`.
    unsafe {
        let codes = vld1q_s8(codes.as_ptr());
        let zero_point = vdupq_n_s8(zero_point);
        let low = vsubl_s8(vget_low_s8(codes), vget_low_s8(zero_point));
        let high = vsubl_high_s8(codes, zero_point);
        let words = [
            vmovl_s16(vget_low_s16(low)),
            vmovl_high_s16(low),
            vmovl_s16(vget_low_s16(high)),
            vmovl_high_s16(high),
        ];
        words.map(|word| vmulq_n_f32(vcvtq_f32_s32(word), multiplier))
    }
}
