//! Integer products by the dot product extension.

use super::requantize::Requantize;
use crate::kernels::panel::{self, Panel};
use crate::kernels::tile::{Rows, Tile};
use crate::quantize::Codes;
use core::arch::aarch64::*;

/// Four products added to each sum by one instruction (`sdot`), four codes of a row against
/// those of four columns.
pub(super) struct DotProduct;

const COLUMNS: usize = panel::DOTPROD.columns;
const STEP: usize = panel::DOTPROD.step;

/// The products of one step: lane `$lane` of every row with the codes of every column.
macro_rules! step {
    ($sums:ident, $x:ident, $a:expr, $b:expr, $lane:literal) => {
        for m in 0..M {
            sdot!($sums[m][0], $a, $x[m], $lane);
            sdot!($sums[m][1], $b, $x[m], $lane);
        }
    };
}

/// The products of two lanes with the next codes of every column.
macro_rules! two_steps {
    ($sums:ident, $x:ident, $weights:ident, $first:literal, $second:literal) => {
        let [a, b, c, d] = next_64!($weights);
        step!($sums, $x, a, b, $first);
        step!($sums, $x, c, d, $second);
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
            for run in 0..rows.runs() {
                let mut begin = rows.begin(run);
                let mut x = [vdupq_n_s8(0); M];
                for _ in 0..rows.run() / 16 {
                    for m in 0..M {
                        x[m] = vld1q_s8(begin[m]);
                        begin[m] = begin[m].add(16);
                    }
                    two_steps!(sums, x, weights, 0, 1);
                    two_steps!(sums, x, weights, 2, 3);
                }
                if rows.run() & 8 > 0 {
                    for m in 0..M {
                        let codes = vld1_s8(begin[m]);
                        x[m] = vcombine_s8(codes, codes);
                        begin[m] = begin[m].add(8);
                    }
                    two_steps!(sums, x, weights, 0, 1);
                }
                if rows.run() & 4 > 0 {
                    for m in 0..M {
                        let codes = begin[m].cast::<i32>().read_unaligned();
                        x[m] = vreinterpretq_s8_s32(vdupq_n_s32(codes));
                    }
                    let w = [vld1q_s8(weights), vld1q_s8(weights.add(16))];
                    step!(sums, x, w[0], w[1], 0);
                    weights = weights.add(COLUMNS * STEP);
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
