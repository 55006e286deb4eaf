//! Integer products by the dot product extension.

use super::requantize::Requantize;
use crate::kernels::panel::{self, Panel};
use crate::kernels::tile::{Rows, Tile};
use crate::quantize::Codes;
use core::arch::aarch64::*;
use core::sync::atomic::{Ordering, compiler_fence};

/// Four products added to each sum by one instruction (`sdot`), four codes of a row against
/// those of four columns.
pub(super) struct DotProduct;

const COLUMNS: usize = panel::DOTPROD.columns;
const STEP: usize = panel::DOTPROD.step;

/// The products of one step: lane `$lane` of every row with the next codes of every column.
macro_rules! step {
    ($sums:ident, $x:ident, $weights:ident, $lane:literal) => {
        let w = [vld1q_s8($weights), vld1q_s8($weights.add(16))];
        for m in 0..M {
            sdot!($sums[m][0], w[0], $x[m], $lane);
            sdot!($sums[m][1], w[1], $x[m], $lane);
        }
        $weights = $weights.add(COLUMNS * STEP);
    };
}

/// The products of sixteen codes of every row, from `$at` on.
macro_rules! four_steps {
    ($sums:ident, $x:ident, $weights:ident, $begin:ident, $at:expr) => {
        for m in 0..M {
            $x[m] = vld1q_s8($begin[m].add($at));
        }
        step!($sums, $x, $weights, 0);
        step!($sums, $x, $weights, 1);
        step!($sums, $x, $weights, 2);
        step!($sums, $x, $weights, 3);
    };
}

#[expect(unsafe_code, reason = "vector instructions on checked memory")]
impl Tile for DotProduct {
    const PANEL: Panel = panel::DOTPROD;
    const ROWS: usize = 8;
    type Sums = [int32x4_t; 2];
    type Requantize = Requantize;

    #[inline(always)]
    fn requantize(codes: Codes) -> Requantize {
        Requantize::new(codes)
    }

    #[inline(always)]
    unsafe fn sums<const M: usize>(rows: Rows<M>, panel: *const u8) -> [[int32x4_t; 2]; M] {
        // SAFETY: the caller's panel has a head and, for each step of each run, COLUMNS x STEP codes; a run is
        // a whole number of steps, and its rows are readable. The caller has seen to the dot product.
        unsafe {
            let bias: *const i32 = panel.cast();
            let mut sums = [[vld1q_s32(bias), vld1q_s32(bias.add(4))]; M];
            let mut weights = panel.add(Self::PANEL.head()).cast::<i8>();
            let whole = rows.run() & !31;
            for run in 0..rows.runs() {
                let begin = rows.begin(run);
                let mut x = [vdupq_n_s8(0); M];
                let mut at = 0;
                while at < whole {
                    four_steps!(sums, x, weights, begin, at);
                    // no registers are left for codes that would be loaded ahead
                    compiler_fence(Ordering::SeqCst);
                    four_steps!(sums, x, weights, begin, at + 16);
                    at += 32;
                }
                if at + 16 <= rows.run() {
                    four_steps!(sums, x, weights, begin, at);
                    at += 16;
                }
                if at + 8 <= rows.run() {
                    for m in 0..M {
                        let codes = vld1_s8(begin[m].add(at));
                        x[m] = vcombine_s8(codes, codes);
                    }
                    step!(sums, x, weights, 0);
                    step!(sums, x, weights, 1);
                    at += 8;
                }
                if at < rows.run() {
                    for m in 0..M {
                        let codes = begin[m].add(at).cast::<i32>().read_unaligned();
                        x[m] = vreinterpretq_s8_s32(vdupq_n_s32(codes));
                    }
                    step!(sums, x, weights, 0);
                }
            }
            sums
        }
    }

    #[inline(always)]
    unsafe fn codes<const M: usize>(
        sums: [[int32x4_t; 2]; M],
        panel: *const u8,
        requantize: Requantize,
        mut out: *mut i8,
        stride: usize,
    ) {
        // SAFETY: the caller's panel has a head; `out` has room for COLUMNS codes of M rows.
        unsafe {
            let multiplier: *const f32 = panel.add(4 * COLUMNS).cast();
            let multiplier = [vld1q_f32(multiplier), vld1q_f32(multiplier.add(4))];
            let [low, high] = multiplier;
            for m in (0..M).step_by(2) {
                let next = (m + 1).min(M - 1);
                let four = [sums[m][0], sums[m][1], sums[next][0], sums[next][1]];
                let codes = requantize.codes(four, [low, high, low, high]);
                vst1_s8(out, vget_low_s8(codes));
                if m + 1 < M {
                    out = out.wrapping_add(stride);
                    vst1_s8(out, vget_high_s8(codes));
                }
                out = out.wrapping_add(stride);
            }
        }
    }

    #[inline(always)]
    unsafe fn store<const M: usize>(sums: &[[int32x4_t; 2]; M], row: usize, out: *mut i32) {
        // SAFETY: `out` has room for COLUMNS sums.
        unsafe {
            vst1q_s32(out, sums[row][0]);
            vst1q_s32(out.add(4), sums[row][1]);
        }
    }
}
