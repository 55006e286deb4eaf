//! Integer depthwise convolution of some channels at a time, for sets with vector instructions: generic over what
//! a set does with the taps of one position.

#![expect(
    clippy::needless_range_loop,
    reason = "counted loops over registers, which the compiler unrolls"
)]

use super::{Depthwise, Out, place, portable};
use crate::quantize::Codes;
use core::arch::asm;

/// Channels that are computed at once. Weights are at least -127, so two products stay within
/// 2 x 127 x 128 < 2^15.
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
pub(super) trait Lanes {
    const LANES: usize;
    type Codes: Copy;
    type Sums: Copy;

    /// # Safety
    /// The processor has the set's instructions; the lanes are readable.
    unsafe fn load(codes: *const i8) -> Self::Codes;
    /// # Safety
    /// See `load`.
    unsafe fn biases(biases: *const i32) -> Self::Sums;
    /// Adds the products of two taps.
    ///
    /// # Safety
    /// The processor has the set's instructions.
    unsafe fn add_two(sums: Self::Sums, x: [Self::Codes; 2], w: [Self::Codes; 2]) -> Self::Sums;
    /// Adds the products of one tap.
    ///
    /// # Safety
    /// The processor has the set's instructions.
    unsafe fn add_one(sums: Self::Sums, x: Self::Codes, w: Self::Codes) -> Self::Sums;
    /// Requantizes and writes.
    ///
    /// # Safety
    /// See `load`; the lanes of `out` are writable.
    unsafe fn store(sums: Self::Sums, multipliers: *const f32, codes: Codes, out: *mut i8);
}

/// In blocks of the most lanes that there are channels for; with fewer channels, or for sums, the
/// portable body.
#[inline(always)]
pub(super) fn depthwise_i8<Wide: Lanes, Narrow: Lanes>(
    depthwise: &Depthwise<'_>,
    out: Out<'_>,
) -> Option<()> {
    match out {
        Out::Codes(codes, out, stride) if depthwise.channels >= Wide::LANES => {
            blocks::<Wide>(depthwise, codes, out, stride)
        }
        Out::Codes(codes, out, stride) if depthwise.channels >= Narrow::LANES => {
            blocks::<Narrow>(depthwise, codes, out, stride)
        }
        out => portable::depthwise_i8(depthwise, out),
    }
}

/// Every position and channel; the last block overlaps the one before it.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
fn blocks<L: Lanes>(
    depthwise: &Depthwise<'_>,
    codes: Codes,
    out: &mut [i8],
    stride: usize,
) -> Option<()> {
    let channels = depthwise.channels;
    let constants = depthwise.check()?.as_ptr();
    let positions: usize = depthwise.segments().map(|(_, count)| count).sum();
    let out = out.get_mut(..positions.checked_sub(1)? * stride + channels)?;
    let mut next = 0;
    while next < channels {
        let first = next.min(channels - L::LANES);
        // SAFETY: a set's functions are reached through its table alone, which is given out after the processor
        // has reported the instructions. `Depthwise::check` has found the constants, eight bytes and one code a tap for each channel, and
        // every tap of every position inside; `out` has room for the positions; `first` plus the lanes is
        // at most the number of channels.
        unsafe {
            let block = Block {
                biases: constants.cast::<i32>().add(first),
                multipliers: constants.cast::<f32>().add(channels + first),
                weights: constants.add(8 * channels + first).cast(),
                out: out.as_mut_ptr().add(first),
                first,
                depthwise,
                codes,
                stride,
            };
            match depthwise.taps() {
                9 => block.run_fixed::<L, 9>(),
                _ => block.run::<L>(),
            }
        }
        next += L::LANES;
    }
    Some(())
}

/// Some channels of every position.
struct Block<'s> {
    biases: *const i32,
    multipliers: *const f32,
    weights: *const i8,
    out: *mut i8,
    first: usize,
    depthwise: &'s Depthwise<'s>,
    codes: Codes,
    stride: usize,
}

#[expect(unsafe_code, reason = "vector instructions on checked memory")]
impl Block<'_> {
    /// With the weights in registers.
    ///
    /// # Safety
    /// The pointers are those of [`blocks`], with `L`'s lanes.
    #[inline(always)]
    unsafe fn run_fixed<L: Lanes, const TAPS: usize>(&self) {
        // SAFETY: the caller's.
        unsafe {
            let mut weights = [L::load(self.weights); TAPS];
            for tap in 1..TAPS {
                weights[tap] = L::load(self.weights.add(tap * self.depthwise.channels));
            }
            let mut out = self.out;
            let (step, codes) = (self.depthwise.step, self.codes);
            for (starts, count) in self.depthwise.segments() {
                let mut inputs = [self.out.cast_const(); TAPS];
                for tap in 0..TAPS {
                    inputs[tap] = self.input(*starts.as_ptr().add(tap));
                }
                let mut at = 0;
                for _ in 0..count {
                    let mut sums = L::biases(self.biases);
                    for tap in (0..TAPS - 1).step_by(2) {
                        let x = L::load(inputs[tap].add(at));
                        let y = L::load(inputs[tap + 1].add(at));
                        sums = L::add_two(sums, [x, y], [weights[tap], weights[tap + 1]]);
                    }
                    if TAPS % 2 == 1 {
                        let x = L::load(inputs[TAPS - 1].add(at));
                        sums = L::add_one(sums, x, weights[TAPS - 1]);
                    }
                    L::store(sums, self.multipliers, codes, out);
                    out = out.wrapping_add(self.stride);
                    at = opaque(at + step);
                }
            }
        }
    }

    /// With the weights in memory.
    ///
    /// # Safety
    /// The pointers are those of [`blocks`], with `L`'s lanes.
    #[inline(always)]
    unsafe fn run<L: Lanes>(&self) {
        // SAFETY: the caller's.
        unsafe {
            let mut out = self.out;
            for (starts, count) in self.depthwise.segments() {
                for position in 0..count {
                    let at = position * self.depthwise.step;
                    let mut sums = L::biases(self.biases);
                    let mut tap = 0;
                    while tap + 2 <= starts.len() {
                        let (x, w) = self.tap::<L>(starts, tap, at);
                        let (y, v) = self.tap::<L>(starts, tap + 1, at);
                        sums = L::add_two(sums, [x, y], [w, v]);
                        tap += 2;
                    }
                    if tap < starts.len() {
                        let (x, w) = self.tap::<L>(starts, tap, at);
                        sums = L::add_one(sums, x, w);
                    }
                    L::store(sums, self.multipliers, self.codes, out);
                    out = out.wrapping_add(self.stride);
                }
            }
        }
    }

    /// Input codes and weights of a tap.
    ///
    /// # Safety
    /// The pointers are those of [`blocks`], with `L`'s lanes; there is such a tap.
    #[inline(always)]
    unsafe fn tap<L: Lanes>(&self, starts: &[u32], tap: usize, at: usize) -> (L::Codes, L::Codes) {
        // SAFETY: the caller's.
        unsafe {
            let input = self.input(*starts.as_ptr().add(tap)).add(at);
            let weights = self.weights.add(tap * self.depthwise.channels);
            (L::load(input), L::load(weights))
        }
    }

    /// Where these channels of a tap begin.
    #[inline(always)]
    fn input(&self, start: u32) -> *const i8 {
        place(self.depthwise.sources, start).wrapping_add(self.first)
    }
}

/// The same number, of which the compiler knows nothing: so that it keeps one index for all taps, not a
/// pointer for each.
#[inline(always)]
#[expect(unsafe_code, reason = "an empty instruction")]
pub(super) fn opaque(mut index: usize) -> usize {
    // SAFETY: there is no instruction.
    unsafe {
        asm!(
            "/* {index} */",
            index = inout(reg) index,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    index
}
