//! The portable kernels with an integer dot product for the baseline of 64-bit ARM (NEON).
//! Everything else in [`portable`] is compiled for NEON already.

use super::portable;
use super::tile::{self, COLUMNS, Dot};
use super::{STEP, Table};
use core::arch::aarch64::*;

pub(super) static TABLE: Table = Table {
    name: "neon",
    product_i8: |product, acc| tile::product_i8::<Neon, 4>(product, acc),
    ..portable::TABLE
};

/// Sixteen-bit products (`smull`), added in pairs to the sums (`sadalp`).
#[derive(Clone, Copy)]
struct Neon;

#[expect(unsafe_code, reason = "vector instructions")]
impl Dot for Neon {
    type Vector = [int8x16_t; 2];
    type Sums = int32x4_t;

    #[inline(always)]
    fn zero() -> int32x4_t {
        // SAFETY: NEON belongs to the target: see the assertion below.
        unsafe { vdupq_n_s32(0) }
    }

    #[inline(always)]
    fn load(codes: &[i8; STEP]) -> [int8x16_t; 2] {
        // SAFETY: NEON as in `zero`; two loads of 16 bytes from the 32 of `codes`.
        unsafe { [vld1q_s8(codes.as_ptr()), vld1q_s8(codes.as_ptr().add(16))] }
    }

    #[inline(always)]
    fn add(sums: int32x4_t, a: [int8x16_t; 2], b: [int8x16_t; 2]) -> int32x4_t {
        // One product may be 2^14 (-128 x -128): pairs of them overflow 16 bits, so each
        // product is widened as it is added.
        // SAFETY: NEON as in `zero`.
        unsafe {
            let sums = vpadalq_s16(sums, vmull_s8(vget_low_s8(a[0]), vget_low_s8(b[0])));
            let sums = vpadalq_s16(sums, vmull_high_s8(a[0], b[0]));
            let sums = vpadalq_s16(sums, vmull_s8(vget_low_s8(a[1]), vget_low_s8(b[1])));
            vpadalq_s16(sums, vmull_high_s8(a[1], b[1]))
        }
    }

    #[inline(always)]
    fn totals(sums: [int32x4_t; COLUMNS]) -> [i32; COLUMNS] {
        let mut totals = [0; COLUMNS];
        // SAFETY: NEON as in `zero`; one store of 16 bytes to the 16 of `totals`.
        unsafe {
            let pairs = vpaddq_s32(sums[0], sums[1]);
            let others = vpaddq_s32(sums[2], sums[3]);
            vst1q_s32(totals.as_mut_ptr(), vpaddq_s32(pairs, others));
        }
        totals
    }
}

#[cfg(not(target_feature = "neon"))]
compile_error!("the runtime needs NEON on 64-bit ARM");
