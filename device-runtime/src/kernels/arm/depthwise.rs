//! Integer depthwise convolution, sixteen or eight channels of a position at a time.

use super::requantize::Requantize;
use crate::kernels::{Depthwise, Out, place, portable};

/// Most taps whose places are held at once; windows of more take the portable body.
const MAX_TAPS: usize = 64;
const WIDE: usize = 16;
const NARROW: usize = 8;

/// In blocks of the most lanes that there are channels for; the last block overlaps the one before it. With fewer
/// channels, or for sums, the portable body.
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
pub(super) fn depthwise_i8(depthwise: &Depthwise<'_>, out: Out<'_>) -> Option<()> {
    let (channels, taps) = (depthwise.channels, depthwise.taps());
    let (codes, out, stride) = match out {
        Out::Codes(codes, out, stride) if channels >= NARROW && (1..=MAX_TAPS).contains(&taps) => {
            (codes, out, stride)
        }
        out => return portable::depthwise_i8(depthwise, out),
    };
    let constants = depthwise.check()?.as_ptr();
    let positions: usize = depthwise.segments().map(|(_, count)| count).sum();
    let out = out.get_mut(..positions.checked_sub(1)? * stride + channels)?;
    let requantize = Requantize::new(codes);
    let lanes = if channels >= WIDE { WIDE } else { NARROW };
    let mut out = out.as_mut_ptr();
    let mut places = [core::ptr::null(); MAX_TAPS];
    for (starts, count) in depthwise.segments() {
        for (to, &start) in places.iter_mut().zip(starts) {
            *to = place(depthwise.sources, start);
        }
        for position in 0..count {
            for next in (0..channels).step_by(lanes) {
                let first = next.min(channels - lanes);
                // SAFETY: a set's functions are reached through its table alone, which is given out after the system
                // has reported NEON. `Depthwise::check` has found the constants, eight bytes and one code a tap for each
                // channel, and every tap of every position inside; `out` has room for the positions; `first` plus the
                // lanes is at most the number of channels.
                unsafe {
                    let block = Block {
                        places: places.as_ptr(),
                        taps,
                        at: position * depthwise.step + first,
                        biases: constants.add(4 * first),
                        multipliers: constants.add(4 * (channels + first)),
                        weights: constants.add(8 * channels + first),
                        channels,
                        out: out.add(first),
                    };
                    match lanes {
                        WIDE => block.wide(&requantize),
                        _ => block.narrow(&requantize),
                    }
                }
            }
            out = out.wrapping_add(stride);
        }
    }
    Some(())
}

/// Some channels of one position.
struct Block {
    places: *const *const i8,
    taps: usize,
    /// What the places lie before the codes.
    at: usize,
    biases: *const u8,
    multipliers: *const u8,
    weights: *const u8,
    channels: usize,
    out: *mut i8,
}

#[expect(unsafe_code, reason = "vector instructions on checked memory")]
impl Block {
    /// Sixteen channels. Weights are at least -127, so two products stay within 2 x 127 x 128 < 2^15.
    ///
    /// # Safety
    /// The pointers are those of [`depthwise_i8`].
    #[inline(always)]
    unsafe fn wide(&self, requantize: &Requantize) {
        // SAFETY: the caller's. The assembly writes the sixteen codes and the named registers alone.
        unsafe {
            neon_asm!(
                "vld1.32 {{d16-d19}}, [{biases}]!",
                "vld1.32 {{d20-d23}}, [{biases}]",
                "subs {taps}, {taps}, #2",
                "blt 3f",
                "2:",
                "ldr {x}, [{places}], #4",
                "ldr {y}, [{places}], #4",
                "add {x}, {x}, {at}",
                "add {y}, {y}, {at}",
                "vld1.8 {{d0-d1}}, [{x}]",
                "vld1.8 {{d2-d3}}, [{y}]",
                "vld1.8 {{d4-d5}}, [{weights}], {channels}",
                "vld1.8 {{d6-d7}}, [{weights}], {channels}",
                "vmull.s8 q12, d0, d4",
                "vmull.s8 q13, d1, d5",
                "vmlal.s8 q12, d2, d6",
                "vmlal.s8 q13, d3, d7",
                "subs {taps}, {taps}, #2",
                "vaddw.s16 q8, q8, d24",
                "vaddw.s16 q9, q9, d25",
                "vaddw.s16 q10, q10, d26",
                "vaddw.s16 q11, q11, d27",
                "bge 2b",
                "3:",
                "cmn {taps}, #1",
                "bne 4f",
                "ldr {x}, [{places}]",
                "add {x}, {x}, {at}",
                "vld1.8 {{d0-d1}}, [{x}]",
                "vld1.8 {{d4-d5}}, [{weights}]",
                "vmull.s8 q12, d0, d4",
                "vmull.s8 q13, d1, d5",
                "vaddw.s16 q8, q8, d24",
                "vaddw.s16 q9, q9, d25",
                "vaddw.s16 q10, q10, d26",
                "vaddw.s16 q11, q11, d27",
                "4:",
                "vld1.32 {{d0-d3}}, [{multipliers}]!",
                "vld1.32 {{d4-d7}}, [{multipliers}]",
                "vld1.32 {{d8-d11}}, [{limits}]!",
                "vld1.32 {{d12-d15}}, [{limits}]",
                "vcvt.f32.s32 q8, q8",
                "vcvt.f32.s32 q9, q9",
                "vcvt.f32.s32 q10, q10",
                "vcvt.f32.s32 q11, q11",
                "vmul.f32 q8, q8, q0",
                "vmul.f32 q9, q9, q1",
                "vmul.f32 q10, q10, q2",
                "vmul.f32 q11, q11, q3",
                "vmax.f32 q8, q8, q4",
                "vmax.f32 q9, q9, q4",
                "vmax.f32 q10, q10, q4",
                "vmax.f32 q11, q11, q4",
                "vmin.f32 q8, q8, q5",
                "vmin.f32 q9, q9, q5",
                "vmin.f32 q10, q10, q5",
                "vmin.f32 q11, q11, q5",
                "vadd.f32 q8, q8, q6",
                "vadd.f32 q9, q9, q6",
                "vadd.f32 q10, q10, q6",
                "vadd.f32 q11, q11, q6",
                "vadd.i32 q8, q8, q7",
                "vadd.i32 q9, q9, q7",
                "vadd.i32 q10, q10, q7",
                "vadd.i32 q11, q11, q7",
                "vmovn.i32 d0, q8",
                "vmovn.i32 d1, q9",
                "vmovn.i32 d2, q10",
                "vmovn.i32 d3, q11",
                "vmovn.i16 d0, q0",
                "vmovn.i16 d1, q1",
                "vst1.8 {{d0-d1}}, [{out}]",
                places = inout(reg) self.places => _,
                taps = inout(reg) self.taps => _,
                at = in(reg) self.at,
                biases = inout(reg) self.biases => _,
                multipliers = inout(reg) self.multipliers => _,
                limits = inout(reg) requantize.as_ptr() => _,
                weights = inout(reg) self.weights => _,
                channels = in(reg) self.channels,
                out = in(reg) self.out,
                x = out(reg) _,
                y = out(reg) _,
            );
        }
    }

    /// Eight channels.
    ///
    /// # Safety
    /// As [`Self::wide`].
    #[inline(always)]
    unsafe fn narrow(&self, requantize: &Requantize) {
        // SAFETY: the caller's. The assembly writes the eight codes and the named registers alone.
        unsafe {
            neon_asm!(
                "vld1.32 {{d16-d19}}, [{biases}]",
                "subs {taps}, {taps}, #2",
                "blt 3f",
                "2:",
                "ldr {x}, [{places}], #4",
                "ldr {y}, [{places}], #4",
                "add {x}, {x}, {at}",
                "add {y}, {y}, {at}",
                "vld1.8 {{d0}}, [{x}]",
                "vld1.8 {{d1}}, [{y}]",
                "vld1.8 {{d2}}, [{weights}], {channels}",
                "vld1.8 {{d3}}, [{weights}], {channels}",
                "vmull.s8 q12, d0, d2",
                "vmlal.s8 q12, d1, d3",
                "subs {taps}, {taps}, #2",
                "vaddw.s16 q8, q8, d24",
                "vaddw.s16 q9, q9, d25",
                "bge 2b",
                "3:",
                "cmn {taps}, #1",
                "bne 4f",
                "ldr {x}, [{places}]",
                "add {x}, {x}, {at}",
                "vld1.8 {{d0}}, [{x}]",
                "vld1.8 {{d2}}, [{weights}]",
                "vmull.s8 q12, d0, d2",
                "vaddw.s16 q8, q8, d24",
                "vaddw.s16 q9, q9, d25",
                "4:",
                "vld1.32 {{d0-d3}}, [{multipliers}]",
                "vld1.32 {{d8-d11}}, [{limits}]!",
                "vld1.32 {{d12-d15}}, [{limits}]",
                "vcvt.f32.s32 q8, q8",
                "vcvt.f32.s32 q9, q9",
                "vmul.f32 q8, q8, q0",
                "vmul.f32 q9, q9, q1",
                "vmax.f32 q8, q8, q4",
                "vmax.f32 q9, q9, q4",
                "vmin.f32 q8, q8, q5",
                "vmin.f32 q9, q9, q5",
                "vadd.f32 q8, q8, q6",
                "vadd.f32 q9, q9, q6",
                "vadd.i32 q8, q8, q7",
                "vadd.i32 q9, q9, q7",
                "vmovn.i32 d0, q8",
                "vmovn.i32 d1, q9",
                "vmovn.i16 d0, q0",
                "vst1.8 {{d0}}, [{out}]",
                places = inout(reg) self.places => _,
                taps = inout(reg) self.taps => _,
                at = in(reg) self.at,
                biases = in(reg) self.biases,
                multipliers = in(reg) self.multipliers,
                limits = inout(reg) requantize.as_ptr() => _,
                weights = inout(reg) self.weights => _,
                channels = in(reg) self.channels,
                out = in(reg) self.out,
                x = out(reg) _,
                y = out(reg) _,
            );
        }
    }
}
