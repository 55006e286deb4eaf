//! Integer depthwise convolution with windows of 3 x 3 and 5 x 5 taps. Four taps of a column are interleaved, so that one
//! instruction adds their products (`vpdpbusd`), and added at once to the sums of all windows that have the column in common.

#![expect(
    clippy::needless_range_loop,
    reason = "counted loops over registers, which the compiler unrolls"
)]

use super::vector::{Vector, interleave, requantize};
use crate::kernels::{Depthwise, place};
use crate::quantize::Codes;
use core::arch::x86_64::*;

/// Most taps of a side of a window.
const SIDE: usize = 5;
/// Most groups of four taps in a column.
const GROUPS: usize = SIDE.div_ceil(4);

/// All blocks of channels; `None` for what [`can`] excludes.
#[inline(always)]
pub(super) fn depthwise_i8(
    depthwise: &Depthwise<'_>,
    codes: Codes,
    out: &mut [i8],
    stride: usize,
) -> Option<()> {
    match (depthwise.taps(), depthwise.columns, depthwise.advance) {
        (9, 3, 1) => blocks::<3, 1>(depthwise, codes, out, stride),
        (9, 3, 2) => blocks::<3, 2>(depthwise, codes, out, stride),
        (9, 3, _) => blocks::<3, 3>(depthwise, codes, out, stride),
        (25, 5, 1) => blocks::<5, 1>(depthwise, codes, out, stride),
        (25, 5, 2) => blocks::<5, 2>(depthwise, codes, out, stride),
        (25, 5, _) => blocks::<5, 5>(depthwise, codes, out, stride),
        _ => None,
    }
}

/// Whether [`depthwise_i8`] computes it.
#[inline(always)]
pub(super) fn can(depthwise: &Depthwise<'_>) -> bool {
    let is_known = matches!((depthwise.taps(), depthwise.columns), (9, 3) | (25, 5));
    is_known && depthwise.row > 0 && depthwise.channels >= __m128i::CODES
}

/// Every position and channel, in blocks as wide as there are channels for; the last overlaps the one before it.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
fn blocks<const SIDE: usize, const ADVANCE: usize>(
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
        let left = channels - next;
        let first = next.min(channels - __m128i::CODES);
        let block = Block {
            biases: constants.wrapping_add(4 * first),
            multipliers: constants.wrapping_add(4 * (channels + first)),
            weights: constants.wrapping_add(8 * channels + first).cast(),
            out: out.as_mut_ptr().wrapping_add(first),
            first,
            depthwise,
            codes,
            stride,
        };
        // SAFETY: a set's functions are reached through its table alone, which is given out after the processor has reported
        // the instructions. `Depthwise::check` has found the constants, eight bytes and one code a tap for each channel, and
        // every tap of every position inside; `out` has room for the positions; `first` plus the block's channels is at
        // most the number of channels; there are SIDE x SIDE taps.
        next += unsafe {
            match left {
                64.. => block.run::<__m512i, SIDE, ADVANCE>(),
                32.. => block.run::<__m256i, SIDE, ADVANCE>(),
                _ => block.run::<__m128i, SIDE, ADVANCE>(),
            }
        };
    }
    Some(())
}

/// Some channels of every position.
struct Block<'s> {
    biases: *const u8,
    multipliers: *const u8,
    weights: *const i8,
    out: *mut i8,
    first: usize,
    depthwise: &'s Depthwise<'s>,
    codes: Codes,
    stride: usize,
}

/// What a block keeps: sums before the first product, multipliers, and the weights of each column.
struct Constants<V: Vector> {
    sums: [V; 4],
    multipliers: [V::Floats; 4],
    weights: [[[V; 4]; GROUPS]; SIDE],
}

#[expect(unsafe_code, reason = "vector instructions on checked memory")]
impl Block<'_> {
    /// Returns how many channels.
    ///
    /// # Safety
    /// The pointers are those of [`blocks`], with `V`'s channels; the window has `S` x `S` taps and moves by `ADVANCE` columns.
    #[inline(always)]
    unsafe fn run<V: Vector, const S: usize, const ADVANCE: usize>(&self) -> usize {
        // SAFETY: the caller's.
        unsafe {
            let constants = self.constants::<V, S>();
            let depthwise = self.depthwise;
            // windows that have a column in common
            let open = S.div_ceil(ADVANCE);
            let mut out = self.out;
            let rows = depthwise.starts.chunks_exact(depthwise.row * S * S);
            for (starts, counts) in rows.zip(depthwise.counts.chunks_exact(depthwise.row)) {
                // the oldest first
                let mut sums = [constants.sums; S];
                let mut inputs = [[self.out.cast_const(); S]; S];
                let (mut begun, mut at) = (0, 0);
                for (starts, &count) in starts.chunks_exact(S * S).zip(counts) {
                    for y in 0..S {
                        for x in 0..S {
                            inputs[x][y] = self.input(*starts.as_ptr().add(y * S + x));
                        }
                    }
                    for position in 0..count as usize {
                        at = position * depthwise.step;
                        constants.add_columns::<S, ADVANCE>(&mut sums, &inputs, at, 0);
                        begun += 1;
                        if begun >= open {
                            self.store(sums[0], &constants, out);
                            out = out.wrapping_add(self.stride);
                        }
                        for window in 1..open {
                            sums[window - 1] = sums[window];
                        }
                        sums[open - 1] = constants.sums;
                    }
                }
                // what is left of the last position's window
                for after in 1..open {
                    constants.add_columns::<S, ADVANCE>(&mut sums, &inputs, at, after);
                    if begun + after >= open {
                        self.store(sums[0], &constants, out);
                        out = out.wrapping_add(self.stride);
                    }
                    for window in 1..open {
                        sums[window - 1] = sums[window];
                    }
                }
            }
            V::CODES
        }
    }

    /// # Safety
    /// See `run`; `out` has room for the block's channels.
    #[inline(always)]
    unsafe fn store<V: Vector>(&self, sums: [V; 4], constants: &Constants<V>, out: *mut i8) {
        // SAFETY: the caller's.
        unsafe {
            V::store(
                out.cast(),
                requantize(sums, constants.multipliers, self.codes),
            )
        }
    }

    /// # Safety
    /// See `run`.
    #[inline(always)]
    unsafe fn constants<V: Vector, const S: usize>(&self) -> Constants<V> {
        // SAFETY: the caller's.
        unsafe {
            let none = V::bytes(0);
            let mut sums = in_order::<V>(self.biases);
            let mut multipliers = [V::all(0.0); 4];
            for (multipliers, bits) in multipliers.iter_mut().zip(in_order::<V>(self.multipliers)) {
                *multipliers = V::same_bits(bits);
            }
            let mut weights = [[[none; 4]; GROUPS]; SIDE];
            for x in 0..S {
                for group in 0..S.div_ceil(4) {
                    let mut taps = [none; 4];
                    for i in 0..4 {
                        let y = 4 * group + i;
                        if y < S {
                            let tap = self.weights.add((y * S + x) * self.depthwise.channels);
                            taps[i] = V::load(tap.cast());
                        }
                    }
                    weights[x][group] = interleave(taps);
                    // what flipped codes are too large by
                    for i in 0..4 {
                        let excess = V::add_products(none, V::bytes(i8::MIN), weights[x][group][i]);
                        sums[i] = V::subtract(sums[i], excess);
                    }
                }
            }
            Constants {
                sums,
                multipliers,
                weights,
            }
        }
    }

    /// Where these channels of a tap begin.
    #[inline(always)]
    fn input(&self, start: u32) -> *const i8 {
        place(self.depthwise.sources, start).wrapping_add(self.first)
    }
}

#[expect(unsafe_code, reason = "vector instructions on checked memory")]
impl<V: Vector> Constants<V> {
    /// Adds the products of the columns with which the window begins that comes `after` so many positions of the one at `inputs` and
    /// `at`, as far as the latter's window has them, to the sums of all windows that have them, the oldest first.
    ///
    /// # Safety
    /// See [`Vector`]; the taps are readable.
    #[inline(always)]
    unsafe fn add_columns<const S: usize, const ADVANCE: usize>(
        &self,
        sums: &mut [[V; 4]; S],
        inputs: &[[*const i8; S]; S],
        at: usize,
        after: usize,
    ) {
        let open = S.div_ceil(ADVANCE);
        for x in 0..ADVANCE {
            let input = after * ADVANCE + x;
            if input < S {
                // SAFETY: the caller's.
                let column = unsafe { column::<V, S>(&inputs[input], at) };
                for window in 0..open - after {
                    let x = x + (open - 1 - window) * ADVANCE;
                    if x < S {
                        // SAFETY: the caller's.
                        unsafe { add::<V, S>(&mut sums[window], column, &self.weights[x]) };
                    }
                }
            }
        }
    }
}

/// The words of a block's channels in the order of [`interleave`].
///
/// # Safety
/// See [`Vector`]; there is a word for each channel.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
unsafe fn in_order<V: Vector>(words: *const u8) -> [V; 4] {
    // SAFETY: the caller's; a vector holds four words for each sixteen channels.
    unsafe {
        let mut ordered = [V::bytes(0); 4];
        for lane in 0..V::CODES / 16 {
            for i in 0..4 {
                let to = ordered.as_mut_ptr().add(i).cast::<u8>().add(16 * lane);
                to.copy_from_nonoverlapping(words.add(64 * lane + 16 * i), 16);
            }
        }
        ordered
    }
}

/// Flipped codes of a column of taps, interleaved.
///
/// # Safety
/// See [`Vector`]; the taps are readable.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
unsafe fn column<V: Vector, const S: usize>(taps: &[*const i8; S], at: usize) -> [[V; 4]; GROUPS] {
    // SAFETY: the caller's.
    unsafe {
        let mut column = [[V::bytes(0); 4]; GROUPS];
        for group in 0..S.div_ceil(4) {
            // weights are 0 where there is no tap
            let mut codes = [V::bytes(0); 4];
            for i in 0..4 {
                let tap = taps[(4 * group + i).min(S - 1)];
                codes[i] = V::xor(V::load(tap.add(at).cast()), V::bytes(i8::MIN));
            }
            column[group] = interleave(codes);
        }
        column
    }
}

/// Adds the products of a column.
///
/// # Safety
/// See [`Vector`].
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions")]
unsafe fn add<V: Vector, const S: usize>(
    sums: &mut [V; 4],
    column: [[V; 4]; GROUPS],
    weights: &[[V; 4]; GROUPS],
) {
    for group in 0..S.div_ceil(4) {
        for i in 0..4 {
            // SAFETY: the caller's.
            sums[i] = unsafe { V::add_products(sums[i], column[group][i], weights[group][i]) };
        }
    }
}
