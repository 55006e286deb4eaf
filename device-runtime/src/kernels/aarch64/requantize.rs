//! Sums to codes, sixteen at a time.

use crate::quantize::Codes;
use core::arch::aarch64::*;

/// A zero point and the range of the codes, in every lane.
#[derive(Clone, Copy)]
pub(super) struct Requantize {
    zero_point: int16x8_t,
    least: int8x16_t,
    greatest: int8x16_t,
}

#[expect(unsafe_code, reason = "vector instructions")]
impl Requantize {
    #[inline(always)]
    pub(super) fn new(codes: Codes) -> Self {
        let (zero_point, range) = codes.parts();
        // a code: the sum of the zero point and of a limit lies within an i8
        let [least, greatest] = range.map(|limit| (limit as i32 + zero_point) as i8);
        // SAFETY: NEON belongs to the target, as `super` asserts.
        unsafe {
            Self {
                zero_point: vdupq_n_s16(zero_point as i16),
                least: vdupq_n_s8(least),
                greatest: vdupq_n_s8(greatest),
            }
        }
    }

    /// [`crate::quantize::requantize`] of sums whose multipliers are given. Rounding before clamping gives the same
    /// code, since the limits are integers, and every narrowing saturates.
    #[inline(always)]
    pub(super) fn codes(self, sums: [int32x4_t; 4], multipliers: [float32x4_t; 4]) -> int8x16_t {
        let steps = |i: usize| {
            // SAFETY: NEON as in `new`.
            nearest(unsafe { vmulq_f32(vcvtq_f32_s32(sums[i]), multipliers[i]) })
        };
        self.narrow([steps(0), steps(1), steps(2), steps(3)])
    }

    /// The codes of whole numbers of steps.
    #[inline(always)]
    pub(super) fn narrow(self, [a, b, c, d]: [int32x4_t; 4]) -> int8x16_t {
        // SAFETY: NEON as in `new`.
        unsafe {
            let low = vqaddq_s16(vqmovn_high_s32(vqmovn_s32(a), b), self.zero_point);
            let high = vqaddq_s16(vqmovn_high_s32(vqmovn_s32(c), d), self.zero_point);
            let codes = vqmovn_high_s16(vqmovn_s16(low), high);
            vminq_s8(vmaxq_s8(codes, self.least), self.greatest)
        }
    }
}

/// The nearest integers, ties to even.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions")]
pub(super) fn nearest(steps: float32x4_t) -> int32x4_t {
    // SAFETY: NEON belongs to the target, as `super` asserts.
    unsafe { vcvtnq_s32_f32(steps) }
}
