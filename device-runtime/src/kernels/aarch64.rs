//! The portable kernels with integer dot products for 64-bit ARM: for its baseline (NEON) and for
//! cores with the dot product extension (Cortex-A55, A75 and later). Everything else in
//! [`portable`] is compiled for NEON already.

use super::portable;
use super::tile::{self, COLUMNS, Dot};
use super::{STEP, Table};
use core::arch::aarch64::*;
use core::arch::asm;

pub(super) static NEON: Table = Table {
    name: "neon",
    product_i8: |product, acc| tile::product_i8::<Neon, 4>(product, acc),
    ..portable::TABLE
};

static DOTPROD: Table = Table {
    name: "dotprod",
    product_i8: |product, acc| tile::product_i8::<DotProduct, 4>(product, acc),
    ..portable::TABLE
};

/// The kernels with dot products, if this processor can run them: if it says so (with the feature
/// `std`), or if the program is compiled for such processors alone.
pub(super) fn dotprod() -> Option<&'static Table> {
    #[cfg(feature = "std")]
    let detected = std::arch::is_aarch64_feature_detected!("dotprod");
    #[cfg(not(feature = "std"))]
    let detected = cfg!(target_feature = "dotprod");
    detected.then_some(&DOTPROD)
}

/// Two products in each sixteen-bit lane (`smull`, `smlal`), added in pairs to the sums (`sadalp`).
/// Weights are at least -127, so two products stay within 2 x 127 x 128 < 2^15.
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
        // SAFETY: NEON as in `zero`.
        unsafe {
            let first = vmull_s8(vget_low_s8(a[0]), vget_low_s8(b[0]));
            let sums = vpadalq_s16(sums, vmlal_high_s8(first, a[0], b[0]));
            let second = vmull_s8(vget_low_s8(a[1]), vget_low_s8(b[1]));
            vpadalq_s16(sums, vmlal_high_s8(second, a[1], b[1]))
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

/// Four products added to each sum by one instruction (`sdot`).
#[derive(Clone, Copy)]
struct DotProduct;

#[expect(unsafe_code, reason = "vector instructions")]
impl Dot for DotProduct {
    type Vector = [int8x16_t; 2];
    type Sums = int32x4_t;

    #[inline(always)]
    fn zero() -> int32x4_t {
        Neon::zero()
    }

    #[inline(always)]
    fn load(codes: &[i8; STEP]) -> [int8x16_t; 2] {
        Neon::load(codes)
    }

    #[inline(always)]
    fn add(mut sums: int32x4_t, a: [int8x16_t; 2], b: [int8x16_t; 2]) -> int32x4_t {
        // The intrinsic, `vdotq_s32`, is not stable.
        // SAFETY: the instructions read and write the named registers alone, and the processor has
        // them: only `DOTPROD` uses this type, and `dotprod` gives that table out after the
        // processor, or the target, has reported the extension.
        unsafe {
            asm!(
                ".arch_extension dotprod",
                "sdot {sums:v}.4s, {a0:v}.16b, {b0:v}.16b",
                "sdot {sums:v}.4s, {a1:v}.16b, {b1:v}.16b",
                sums = inout(vreg) sums,
                a0 = in(vreg) a[0],
                b0 = in(vreg) b[0],
                a1 = in(vreg) a[1],
                b1 = in(vreg) b[1],
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        sums
    }

    #[inline(always)]
    fn totals(sums: [int32x4_t; COLUMNS]) -> [i32; COLUMNS] {
        Neon::totals(sums)
    }
}

#[cfg(not(target_feature = "neon"))]
compile_error!("the runtime needs NEON on 64-bit ARM");
