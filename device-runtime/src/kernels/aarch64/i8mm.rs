//! Integer products by the matrix multiplication extension.

use super::requantize::Requantize;
use crate::kernels::panel::{self, Panel};
use crate::kernels::tile::{Rows, Tile};
use crate::quantize::Codes;
use core::arch::aarch64::*;
use core::arch::asm;

/// Eight products added to each of four sums by one instruction (`smmla`): two rows by two columns.
pub(super) struct MatrixProduct;

const COLUMNS: usize = panel::I8MM.columns;
const STEP: usize = panel::I8MM.step;
/// Pairs of columns.
const PAIRS: usize = COLUMNS / 2;

/// `sums += rows x columns`. The intrinsic, `vmmlaq_s32`, is not stable.
macro_rules! smmla {
    ($sums:expr, $rows:expr, $columns:expr) => {
        asm!(
            ".arch_extension i8mm",
            "smmla {sums:v}.4s, {rows:v}.16b, {columns:v}.16b",
            sums = inout(vreg) $sums,
            rows = in(vreg) $rows,
            columns = in(vreg) $columns,
            options(pure, nomem, nostack, preserves_flags),
        )
    };
}

/// The products of one step: the next codes of the two rows of each `$x` with those of every pair of columns.
macro_rules! step {
    ($sums:ident, $begin:ident, $weights:ident) => {
        let mut x = [vdupq_n_s8(0); M];
        for m in 0..M.div_ceil(2) {
            let row = vcombine_s8(vld1_s8($begin[2 * m]), vdup_n_s8(0));
            x[m] = match $begin.get(2 * m + 1) {
                Some(next) => {
                    let row = vreinterpretq_s64_s8(row);
                    vreinterpretq_s8_s64(vld1q_lane_s64::<1>(next.cast(), row))
                }
                None => row,
            };
        }
        for m in 0..M {
            $begin[m] = $begin[m].add(STEP);
        }
        for half in 0..2 {
            let w = next_64!($weights);
            for (pair, w) in w.into_iter().enumerate() {
                for m in 0..M.div_ceil(2) {
                    smmla!($sums[2 * m][4 * half + pair], x[m], w);
                }
            }
        }
    };
}

/// What a panel's head says of each pair of columns, twice.
///
/// # Safety
/// `from` is readable for four bytes of each column.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
unsafe fn pairs(from: *const u8) -> [int64x2_t; PAIRS] {
    // SAFETY: the caller's.
    unsafe {
        let [a, b, c, d] = [0, 2, 4, 6].map(|pair| vld1q_s64(from.cast::<i64>().add(pair)));
        [
            vdupq_laneq_s64::<0>(a),
            vdupq_laneq_s64::<1>(a),
            vdupq_laneq_s64::<0>(b),
            vdupq_laneq_s64::<1>(b),
            vdupq_laneq_s64::<0>(c),
            vdupq_laneq_s64::<1>(c),
            vdupq_laneq_s64::<0>(d),
            vdupq_laneq_s64::<1>(d),
        ]
    }
}

#[expect(unsafe_code, reason = "vector instructions on checked memory")]
impl Tile for MatrixProduct {
    const PANEL: Panel = panel::I8MM;
    const ROWS: usize = 6;
    /// Two rows by each pair of columns, with the first of the two rows.
    type Sums = [int32x4_t; PAIRS];
    type Requantize = Requantize;

    #[inline(always)]
    fn requantize(codes: Codes) -> Requantize {
        Requantize::new(codes)
    }

    #[inline(always)]
    unsafe fn sums<const M: usize>(rows: Rows<M>, panel: *const u8) -> [[int32x4_t; PAIRS]; M] {
        // SAFETY: the caller's panel has a head and, for each step of each run, COLUMNS x STEP codes; a run is
        // a whole number of steps, and its rows are readable. The caller has seen to the extension.
        unsafe {
            let biases = pairs(panel).map(|pair| vreinterpretq_s32_s64(pair));
            let mut squares = [biases; M];
            let mut weights = panel.add(Self::PANEL.head()).cast::<i8>();
            for run in 0..rows.runs() {
                let mut begin = rows.begin(run);
                for _ in 0..rows.run() / STEP {
                    step!(squares, begin, weights);
                }
            }
            squares
        }
    }

    #[inline(always)]
    unsafe fn codes<const M: usize>(
        squares: [[int32x4_t; PAIRS]; M],
        panel: *const u8,
        requantize: Requantize,
        out: *mut i8,
        stride: usize,
    ) {
        // SAFETY: the caller's panel has a head; `out` has room for COLUMNS codes of M rows.
        unsafe {
            let multipliers = pairs(panel.add(4 * COLUMNS)).map(|pair| vreinterpretq_f32_s64(pair));
            let [p, q, r, s, t, u, v, w] = multipliers;
            for m in (0..M).step_by(2) {
                let [a, b, c, d, e, f, g, h] = squares[m];
                let low = vreinterpretq_s16_s8(requantize.codes([a, b, c, d], [p, q, r, s]));
                let high = vreinterpretq_s16_s8(requantize.codes([e, f, g, h], [t, u, v, w]));
                let row = out.add(m * stride);
                vst1q_s16(row.cast(), vuzp1q_s16(low, high));
                if m + 1 < M {
                    vst1q_s16(row.add(stride).cast(), vuzp2q_s16(low, high));
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn store<const M: usize>(squares: &[[int32x4_t; PAIRS]; M], row: usize, out: *mut i32) {
        // SAFETY: `out` has room for COLUMNS sums.
        unsafe {
            for (pair, &square) in squares[row & !1].iter().enumerate() {
                let half = match row & 1 {
                    0 => vget_low_s32(square),
                    _ => vget_high_s32(square),
                };
                vst1_s32(out.add(2 * pair), half);
            }
        }
    }
}
