//! Floats, four channels to a register: `fmla` by a lane of four inputs.

use crate::kernels::float::{self, Lanes};
use crate::kernels::{DepthwiseF32, GemmF32};
use core::arch::aarch64::*;

pub(super) fn gemm_f32(gemm: &GemmF32<'_>, out: &mut [f32], stride: usize) -> Option<()> {
    float::gemm_f32::<float32x4_t, 4, 8>(gemm, out, stride)
}

pub(super) fn depthwise_f32(depthwise: &DepthwiseF32<'_>, out: &mut [f32]) -> Option<()> {
    float::depthwise_f32::<float32x4_t, 2, 9>(depthwise, out)
}

#[expect(unsafe_code, reason = "vector instructions on checked memory")]
impl Lanes for float32x4_t {
    const LANES: usize = 4;
    const SUMS: usize = 16;
    type Four = float32x4_t;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: NEON belongs to the target, as `super` asserts, here and in what follows.
        unsafe { vdupq_n_f32(0.0) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's.
        unsafe { vld1q_f32(from) }
    }

    #[inline(always)]
    unsafe fn load_some(from: *const f32, count: usize) -> Self {
        // SAFETY: the caller's.
        unsafe {
            let mut values = vld1q_lane_f32::<0>(from, Self::zero());
            if count > 1 {
                values = vld1q_lane_f32::<1>(from.add(1), values);
            }
            if count > 2 {
                values = vld1q_lane_f32::<2>(from.add(2), values);
            }
            values
        }
    }

    #[inline(always)]
    unsafe fn codes(from: *const i8) -> Self {
        // SAFETY: the caller's.
        unsafe {
            let codes = vcreate_s8(u64::from(from.cast::<u32>().read_unaligned()));
            vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(codes))))
        }
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: NEON.
        unsafe { vdupq_n_f32(value) }
    }

    #[inline(always)]
    unsafe fn four(from: *const f32) -> Self {
        // SAFETY: the caller's.
        unsafe { vld1q_f32(from) }
    }

    #[inline(always)]
    unsafe fn spread<const I: i32>(four: Self) -> Self {
        // SAFETY: NEON.
        unsafe { vdupq_laneq_f32::<I>(four) }
    }

    #[inline(always)]
    unsafe fn fused(self, x: Self, w: Self) -> Self {
        // SAFETY: NEON.
        unsafe { vfmaq_f32(self, x, w) }
    }

    #[inline(always)]
    unsafe fn clamp(self, min: Self, max: Self) -> Self {
        // SAFETY: NEON.
        unsafe {
            let least = vbslq_f32(vcgtq_f32(self, min), self, min);
            vbslq_f32(vcltq_f32(least, max), least, max)
        }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's.
        unsafe { vst1q_f32(to, self) }
    }

    #[inline(always)]
    unsafe fn store_some(self, to: *mut f32, count: usize) {
        // SAFETY: the caller's.
        unsafe {
            vst1q_lane_f32::<0>(to, self);
            if count > 1 {
                vst1q_lane_f32::<1>(to.add(1), self);
            }
            if count > 2 {
                vst1q_lane_f32::<2>(to.add(2), self);
            }
        }
    }
}
