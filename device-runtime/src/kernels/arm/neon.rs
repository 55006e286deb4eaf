//! Integer products: two products in each sixteen-bit lane (`vmull`, `vmlal`), added in pairs to the sums (`vpadal`).
//! Weights are at least -127, so two products stay within 2 x 127 x 128 < 2^15.

use super::requantize::Requantize;
use crate::kernels::Panel;
use crate::kernels::tile::{Rows, Tile};
use crate::quantize::Codes;

pub(super) struct Neon;

const COLUMNS: usize = 4;
const STEP: usize = 16;

#[expect(unsafe_code, reason = "vector instructions on checked memory")]
impl Tile for Neon {
    const PANEL: Panel = Panel {
        columns: COLUMNS,
        step: STEP,
        offset: 0,
    };
    const ROWS: usize = 2;
    type Sums = [i32; COLUMNS];
    type Requantize = Requantize;

    #[inline(always)]
    fn requantize(codes: Codes) -> Requantize {
        Requantize::new(codes)
    }

    #[inline(always)]
    unsafe fn sums<const M: usize>(rows: Rows<M>, panel: *const u8) -> [Self::Sums; M] {
        let mut sums = [[0; COLUMNS]; M];
        for (pair, sums) in sums.chunks_mut(2).enumerate() {
            // SAFETY: the caller's; the pair's rows are among the `M`.
            unsafe {
                match sums {
                    [a, b] => two_rows(rows, 2 * pair, panel, [a, b]),
                    [a] => one_row(rows, 2 * pair, panel, a),
                    _ => {}
                }
            }
        }
        sums
    }

    #[inline(always)]
    unsafe fn codes<const M: usize>(
        sums: [Self::Sums; M],
        panel: *const u8,
        requantize: Requantize,
        out: *mut i8,
        stride: usize,
    ) {
        for m in (0..M).step_by(2) {
            let next = (m + 1).min(M - 1);
            // SAFETY: the panel's head has a multiplier for each of the four sums, `out` has room for the four codes
            // of each row. The assembly writes those and the named registers alone.
            unsafe {
                neon_asm!(
                    "vld1.32 {{d0-d1}}, [{a}]",
                    "vld1.32 {{d2-d3}}, [{b}]",
                    "vld1.32 {{d4-d5}}, [{multipliers}]",
                    "vld1.32 {{d16-d19}}, [{limits}]!",
                    "vld1.32 {{d20-d23}}, [{limits}]",
                    "vcvt.f32.s32 q0, q0",
                    "vcvt.f32.s32 q1, q1",
                    "vmul.f32 q0, q0, q2",
                    "vmul.f32 q1, q1, q2",
                    "vmax.f32 q0, q0, q8",
                    "vmax.f32 q1, q1, q8",
                    "vmin.f32 q0, q0, q9",
                    "vmin.f32 q1, q1, q9",
                    "vadd.f32 q0, q0, q10",
                    "vadd.f32 q1, q1, q10",
                    "vadd.i32 q0, q0, q11",
                    "vadd.i32 q1, q1, q11",
                    "vmovn.i32 d0, q0",
                    "vmovn.i32 d1, q1",
                    "vmovn.i16 d0, q0",
                    "vst1.32 {{d0[1]}}, [{out_b}]",
                    "vst1.32 {{d0[0]}}, [{out_a}]",
                    a = in(reg) sums[m].as_ptr(),
                    b = in(reg) sums[next].as_ptr(),
                    multipliers = in(reg) panel.add(4 * COLUMNS),
                    limits = inout(reg) requantize.as_ptr() => _,
                    out_a = in(reg) out.add(m * stride),
                    out_b = in(reg) out.add(next * stride),
                );
            }
        }
    }

    #[inline(always)]
    unsafe fn store<const M: usize>(sums: &[Self::Sums; M], row: usize, out: *mut i32) {
        // SAFETY: `out` has room for COLUMNS sums.
        unsafe { out.cast::<Self::Sums>().write_unaligned(sums[row]) }
    }
}

/// The sums of row `m` and the next.
///
/// # Safety
/// As [`Tile::sums`]; there are two such rows.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
unsafe fn two_rows<const M: usize>(
    rows: Rows<M>,
    m: usize,
    panel: *const u8,
    [a, b]: [&mut [i32; COLUMNS]; 2],
) {
    // SAFETY: the caller's panel has a head and, for each step of each run, COLUMNS x STEP codes; there is a run, each
    // is a whole number of steps, at least one, and its rows are readable. The assembly reads those, writes the sums and
    // the named registers alone.
    unsafe {
        neon_asm!(
            "vmov.i32 q8, #0",
            "vmov.i32 q9, #0",
            "vmov.i32 q10, #0",
            "vmov.i32 q11, #0",
            "vmov.i32 q12, #0",
            "vmov.i32 q13, #0",
            "vmov.i32 q14, #0",
            "vmov.i32 q15, #0",
            "2:",
            "ldr {x}, [{place}]",
            "ldr {y}, [{place}, {next_row}]",
            "add {place}, {place}, #4",
            "mov {left}, {run}",
            "3:",
            "vld1.8 {{d0-d1}}, [{x}]!",
            "vld1.8 {{d2-d3}}, [{y}]!",
            "vld1.8 {{d4-d7}}, [{weights}]!",
            "vmull.s8 q4, d0, d4",
            "vmull.s8 q5, d2, d4",
            "vmull.s8 q6, d0, d6",
            "vmull.s8 q7, d2, d6",
            "vmlal.s8 q4, d1, d5",
            "vmlal.s8 q5, d3, d5",
            "vmlal.s8 q6, d1, d7",
            "vmlal.s8 q7, d3, d7",
            "vld1.8 {{d4-d7}}, [{weights}]!",
            "vpadal.s16 q8, q4",
            "vpadal.s16 q12, q5",
            "vpadal.s16 q9, q6",
            "vpadal.s16 q13, q7",
            "vmull.s8 q4, d0, d4",
            "vmull.s8 q5, d2, d4",
            "vmull.s8 q6, d0, d6",
            "vmull.s8 q7, d2, d6",
            "vmlal.s8 q4, d1, d5",
            "vmlal.s8 q5, d3, d5",
            "vmlal.s8 q6, d1, d7",
            "vmlal.s8 q7, d3, d7",
            "subs {left}, {left}, #16",
            "vpadal.s16 q10, q4",
            "vpadal.s16 q14, q5",
            "vpadal.s16 q11, q6",
            "vpadal.s16 q15, q7",
            "bne 3b",
            "subs {runs}, {runs}, #1",
            "bne 2b",
            "vld1.32 {{d8-d9}}, [{bias}]",
            "vpadd.i32 d0, d16, d17",
            "vpadd.i32 d1, d18, d19",
            "vpadd.i32 d2, d20, d21",
            "vpadd.i32 d3, d22, d23",
            "vpadd.i32 d4, d24, d25",
            "vpadd.i32 d5, d26, d27",
            "vpadd.i32 d6, d28, d29",
            "vpadd.i32 d7, d30, d31",
            "vpadd.i32 d0, d0, d1",
            "vpadd.i32 d1, d2, d3",
            "vpadd.i32 d4, d4, d5",
            "vpadd.i32 d5, d6, d7",
            "vadd.i32 q0, q0, q4",
            "vadd.i32 q2, q2, q4",
            "vst1.32 {{d0-d1}}, [{a}]",
            "vst1.32 {{d4-d5}}, [{b}]",
            place = inout(reg) rows.places().add(m * rows.runs()) => _,
            next_row = in(reg) rows.runs() * size_of::<*const i8>(),
            runs = inout(reg) rows.runs() => _,
            run = in(reg) rows.run(),
            weights = inout(reg) panel.add(Neon::PANEL.head()) => _,
            bias = in(reg) panel,
            a = in(reg) a.as_mut_ptr(),
            b = in(reg) b.as_mut_ptr(),
            x = out(reg) _,
            y = out(reg) _,
            left = out(reg) _,
        );
    }
}

/// The sums of row `m`.
///
/// # Safety
/// As [`Tile::sums`]; there is such a row.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
unsafe fn one_row<const M: usize>(
    rows: Rows<M>,
    m: usize,
    panel: *const u8,
    sums: &mut [i32; COLUMNS],
) {
    // SAFETY: as in `two_rows`.
    unsafe {
        neon_asm!(
            "vmov.i32 q8, #0",
            "vmov.i32 q9, #0",
            "vmov.i32 q10, #0",
            "vmov.i32 q11, #0",
            "2:",
            "ldr {x}, [{place}], #4",
            "mov {left}, {run}",
            "3:",
            "vld1.8 {{d0-d1}}, [{x}]!",
            "vld1.8 {{d4-d7}}, [{weights}]!",
            "vld1.8 {{d24-d27}}, [{weights}]!",
            "vmull.s8 q4, d0, d4",
            "vmull.s8 q5, d0, d6",
            "vmull.s8 q6, d0, d24",
            "vmull.s8 q7, d0, d26",
            "vmlal.s8 q4, d1, d5",
            "vmlal.s8 q5, d1, d7",
            "vmlal.s8 q6, d1, d25",
            "vmlal.s8 q7, d1, d27",
            "subs {left}, {left}, #16",
            "vpadal.s16 q8, q4",
            "vpadal.s16 q9, q5",
            "vpadal.s16 q10, q6",
            "vpadal.s16 q11, q7",
            "bne 3b",
            "subs {runs}, {runs}, #1",
            "bne 2b",
            "vld1.32 {{d8-d9}}, [{bias}]",
            "vpadd.i32 d0, d16, d17",
            "vpadd.i32 d1, d18, d19",
            "vpadd.i32 d2, d20, d21",
            "vpadd.i32 d3, d22, d23",
            "vpadd.i32 d0, d0, d1",
            "vpadd.i32 d1, d2, d3",
            "vadd.i32 q0, q0, q4",
            "vst1.32 {{d0-d1}}, [{sums}]",
            place = inout(reg) rows.places().add(m * rows.runs()) => _,
            runs = inout(reg) rows.runs() => _,
            run = in(reg) rows.run(),
            weights = inout(reg) panel.add(Neon::PANEL.head()) => _,
            bias = in(reg) panel,
            sums = in(reg) sums.as_mut_ptr(),
            x = out(reg) _,
            left = out(reg) _,
        );
    }
}
