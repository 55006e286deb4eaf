//! Integer addition, eight codes at a time.

use super::requantize::Requantize;
use crate::kernels::{BinaryCodes, portable};

const LANES: usize = 8;

#[expect(unsafe_code, reason = "vector instructions on checked memory")]
pub(super) fn add_i8(a: &[i8], b: &[i8], operands: &BinaryCodes, out: &mut [i8]) {
    let len = a.len().min(b.len()).min(out.len());
    let done = len / LANES * LANES;
    if done == 0 {
        return portable::add_i8(a, b, operands, out);
    }
    let requantize = Requantize::new(operands.codes);
    let [za, zb] = operands.zero_points.each_ref().map(core::ptr::from_ref);
    let [ma, mb] = operands.multipliers.each_ref().map(core::ptr::from_ref);
    // SAFETY: a set's functions are reached through its table alone, which is given out after the system has reported
    // NEON. `a`, `b` and `out` have `done` codes, a multiple of the lanes and at least one. The assembly writes those of
    // `out` and the named registers alone.
    unsafe {
        neon_asm!(
            "vld1.8 {{d30[]}}, [{za}]",
            "vld1.8 {{d31[]}}, [{zb}]",
            "vld1.32 {{d28[], d29[]}}, [{ma}]",
            "vld1.32 {{d26[], d27[]}}, [{mb}]",
            "vld1.32 {{d16-d19}}, [{limits}]!",
            "vld1.32 {{d20-d23}}, [{limits}]",
            "2:",
            "vld1.8 {{d0}}, [{a}]!",
            "vld1.8 {{d1}}, [{b}]!",
            "vsubl.s8 q1, d0, d30",
            "vsubl.s8 q2, d1, d31",
            "vmovl.s16 q3, d2",
            "vmovl.s16 q4, d3",
            "vmovl.s16 q5, d4",
            "vmovl.s16 q6, d5",
            "vcvt.f32.s32 q3, q3",
            "vcvt.f32.s32 q4, q4",
            "vcvt.f32.s32 q5, q5",
            "vcvt.f32.s32 q6, q6",
            "vmul.f32 q3, q3, q14",
            "vmul.f32 q4, q4, q14",
            "vmul.f32 q5, q5, q13",
            "vmul.f32 q6, q6, q13",
            "vadd.f32 q3, q3, q5",
            "vadd.f32 q4, q4, q6",
            "vmax.f32 q3, q3, q8",
            "vmax.f32 q4, q4, q8",
            "vmin.f32 q3, q3, q9",
            "vmin.f32 q4, q4, q9",
            "vadd.f32 q3, q3, q10",
            "vadd.f32 q4, q4, q10",
            "vadd.i32 q3, q3, q11",
            "vadd.i32 q4, q4, q11",
            "vmovn.i32 d0, q3",
            "vmovn.i32 d1, q4",
            "vmovn.i16 d0, q0",
            "vst1.8 {{d0}}, [{out}]!",
            "subs {left}, {left}, #8",
            "bne 2b",
            za = in(reg) za,
            zb = in(reg) zb,
            ma = in(reg) ma,
            mb = in(reg) mb,
            limits = inout(reg) requantize.as_ptr() => _,
            a = inout(reg) a.as_ptr() => _,
            b = inout(reg) b.as_ptr() => _,
            out = inout(reg) out.as_mut_ptr() => _,
            left = inout(reg) done => _,
        );
    }
    portable::add_i8(&a[done..], &b[done..], operands, &mut out[done..]);
}
