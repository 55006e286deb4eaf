//! Integer products by the baseline's multiplications of codes.

use super::requantize::Requantize;
use crate::kernels::panel::{self, Panel};
use crate::kernels::tile::{Rows, Tile};
use crate::quantize::Codes;
use core::arch::aarch64::*;
use core::arch::asm;

/// Two products in each sixteen-bit lane (`smull`, `smlal`), added in pairs to the sums (`sadalp`).
/// Weights are at least -127, so two products stay within 2 x 127 x 128 < 2^15.
pub(super) struct Neon;

const COLUMNS: usize = panel::NEON.columns;
const STEP: usize = panel::NEON.step;

/// The products of a step of one row with one of each column, side by side for cores that execute in order, and in
/// one statement, so that the compiler does not spread them over more registers than there are. `$add` puts the sums of
/// pairs (`saddlp`) or adds them (`sadalp`).
macro_rules! products {
    ($add:literal, $kind:ident, $sums:expr, $x:expr, $w:expr) => {{
        let [a, b, c, d] = &mut $sums;
        let [wa, wb, wc, wd] = $w;
        asm!(
            "smull {ta:v}.8h, {x:v}.8b, {wa:v}.8b",
            "smull {tb:v}.8h, {x:v}.8b, {wb:v}.8b",
            "smull {tc:v}.8h, {x:v}.8b, {wc:v}.8b",
            "smull {td:v}.8h, {x:v}.8b, {wd:v}.8b",
            "smlal2 {ta:v}.8h, {x:v}.16b, {wa:v}.16b",
            "smlal2 {tb:v}.8h, {x:v}.16b, {wb:v}.16b",
            "smlal2 {tc:v}.8h, {x:v}.16b, {wc:v}.16b",
            "smlal2 {td:v}.8h, {x:v}.16b, {wd:v}.16b",
            concat!($add, " {a:v}.4s, {ta:v}.8h"),
            concat!($add, " {b:v}.4s, {tb:v}.8h"),
            concat!($add, " {c:v}.4s, {tc:v}.8h"),
            concat!($add, " {d:v}.4s, {td:v}.8h"),
            a = $kind(vreg) *a,
            b = $kind(vreg) *b,
            c = $kind(vreg) *c,
            d = $kind(vreg) *d,
            x = in(vreg) $x,
            wa = in(vreg) wa,
            wb = in(vreg) wb,
            wc = in(vreg) wc,
            wd = in(vreg) wd,
            ta = out(vreg) _,
            tb = out(vreg) _,
            tc = out(vreg) _,
            td = out(vreg) _,
            options(pure, nomem, nostack, preserves_flags),
        );
    }};
}

/// The products of the next step of every row, which begins at `$at`.
macro_rules! step {
    ($partial:ident, $begin:ident, $weights:ident, $at:expr) => {
        $weights = $weights.add(COLUMNS * STEP);
        let w = columns($weights);
        for m in 0..M {
            let x = vld1q_s8($begin[m].add($at));
            products!("sadalp", inout, $partial[m], x, w);
        }
    };
}

#[expect(unsafe_code, reason = "vector instructions on checked memory")]
impl Tile for Neon {
    const PANEL: Panel = panel::NEON;
    const ROWS: usize = 4;
    type Sums = int32x4_t;
    type Requantize = Requantize;

    #[inline(always)]
    fn requantize(codes: Codes) -> Requantize {
        Requantize::new(codes)
    }

    #[inline(always)]
    unsafe fn sums<const M: usize>(rows: Rows<M>, panel: *const u8) -> [int32x4_t; M] {
        // SAFETY: the caller's panel has a head and, for each step of each run, COLUMNS x STEP codes; there is a run,
        // each is a whole number of steps, at least one, and its rows are readable. The assembly reads and
        // writes the named registers alone.
        unsafe {
            let mut partial = [[vdupq_n_s32(0); COLUMNS]; M];
            let mut weights = panel.add(Self::PANEL.head()).cast::<i8>();
            let mut begin = rows.begin(0);
            let w = columns(weights);
            for m in 0..M {
                products!("saddlp", out, partial[m], vld1q_s8(begin[m]), w);
            }
            let (mut run, mut at) = (0, STEP);
            loop {
                // of one row, the loop itself would be a sixth
                while M == 1 && at + STEP < rows.run() {
                    step!(partial, begin, weights, at);
                    step!(partial, begin, weights, at + STEP);
                    at += 2 * STEP;
                }
                while at < rows.run() {
                    step!(partial, begin, weights, at);
                    at += STEP;
                }
                run += 1;
                if run == rows.runs() {
                    break;
                }
                begin = rows.begin(run);
                at = 0;
            }
            let bias = vld1q_s32(panel.cast());
            let mut sums = [bias; M];
            for m in 0..M {
                let [a, b, c, d] = partial[m];
                let total = vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d));
                sums[m] = vaddq_s32(bias, total);
            }
            sums
        }
    }

    #[inline(always)]
    unsafe fn codes<const M: usize>(
        sums: [int32x4_t; M],
        panel: *const u8,
        requantize: Requantize,
        out: *mut i8,
        stride: usize,
    ) {
        // SAFETY: the caller's panel has a head; `out` has room for COLUMNS codes of M rows.
        unsafe {
            let multiplier = vld1q_f32(panel.add(4 * COLUMNS).cast());
            let four = [0, 1, 2, 3].map(|m| sums[m.min(M - 1)]);
            let codes = requantize.codes(four, [multiplier; 4]);
            let words = vreinterpretq_s32_s8(codes);
            let out = |m: usize| out.add(m * stride).cast::<i32>();
            vst1q_lane_s32::<0>(out(0), words);
            if M > 1 {
                vst1q_lane_s32::<1>(out(1), words);
            }
            if M > 2 {
                vst1q_lane_s32::<2>(out(2), words);
                vst1q_lane_s32::<3>(out(3), words);
            }
        }
    }

    #[inline(always)]
    unsafe fn store<const M: usize>(sums: &[int32x4_t; M], row: usize, out: *mut i32) {
        // SAFETY: `out` has room for COLUMNS sums.
        unsafe { vst1q_s32(out, sums[row]) }
    }
}

/// The codes of a step of each column.
///
/// # Safety
/// They are readable.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
unsafe fn columns(weights: *const i8) -> [int8x16_t; COLUMNS] {
    // SAFETY: the caller's; NEON belongs to the target, as `super` asserts.
    unsafe {
        [
            vld1q_s8(weights),
            vld1q_s8(weights.add(STEP)),
            vld1q_s8(weights.add(2 * STEP)),
            vld1q_s8(weights.add(3 * STEP)),
        ]
    }
}
