//! Integer depthwise convolution with windows of 3 x 3 and 5 x 5 taps, by columns of taps: a column's codes are made ready once and added
//! at once to the sums of all windows that have the column in common. Generic over what a set does with a column.

#![expect(
    clippy::needless_range_loop,
    reason = "counted loops over registers, which the compiler unrolls"
)]

use crate::kernels::depthwise::{self, Lanes};
use crate::kernels::{Depthwise, Out, place};
use crate::quantize::Codes;

/// Some channels of a window with `SIDE` x `SIDE` taps.
///
/// # Safety
/// Of all functions: the processor has the set's instructions; what pointers point to is there for the channels.
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
pub(super) trait Columns<const SIDE: usize> {
    const CHANNELS: usize;
    /// The codes or weights of a column of taps.
    type Column: Copy;
    type Sums: Copy;
    type Multipliers: Copy;

    /// # Safety
    /// See [`Columns`]; the codes of each tap are `at` after its pointer.
    unsafe fn codes(taps: &[*const i8; SIDE], at: usize) -> Self::Column;
    /// # Safety
    /// See [`Columns`].
    unsafe fn weights(taps: &[*const i8; SIDE]) -> Self::Column;
    /// Sums before the first product.
    ///
    /// # Safety
    /// See [`Columns`].
    unsafe fn biases(biases: *const u8, weights: &[Self::Column; SIDE]) -> Self::Sums;
    /// # Safety
    /// See [`Columns`].
    unsafe fn multipliers(multipliers: *const u8) -> Self::Multipliers;
    /// Adds the products of a column.
    ///
    /// # Safety
    /// See [`Columns`].
    unsafe fn add(sums: &mut Self::Sums, codes: &Self::Column, weights: &Self::Column);
    /// Requantizes and writes.
    ///
    /// # Safety
    /// See [`Columns`].
    unsafe fn store(sums: Self::Sums, multipliers: &Self::Multipliers, codes: Codes, out: *mut i8);
}

/// How many channels a set computes at once.
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
pub(super) trait Widths {
    /// Fewest channels that there must be for columns.
    const LEAST: usize;
    /// The lanes of other windows.
    type Wide: Lanes;
    /// The same with fewer channels.
    type Narrow: Lanes;

    /// Computes as many channels as the set can of `left`, by [`Block::run`]; returns how many.
    ///
    /// # Safety
    /// See [`Block::run`].
    unsafe fn run<const SIDE: usize, const ADVANCE: usize>(block: &Block<'_>, left: usize)
    -> usize;
}

/// By columns where the window and the channels are fit for that.
#[inline(always)]
pub(super) fn depthwise_i8<W: Widths>(depthwise: &Depthwise<'_>, out: Out<'_>) -> Option<()> {
    let is_known = matches!((depthwise.taps(), depthwise.columns), (9, 3) | (25, 5));
    let can = is_known && depthwise.row > 0 && depthwise.channels >= W::LEAST;
    match out {
        Out::Codes(codes, out, stride) if can => by_columns::<W>(depthwise, codes, out, stride),
        out => depthwise::depthwise_i8::<W::Wide, W::Narrow>(depthwise, out),
    }
}

/// All blocks of channels; `None` for other windows.
#[inline(always)]
fn by_columns<W: Widths>(
    depthwise: &Depthwise<'_>,
    codes: Codes,
    out: &mut [i8],
    stride: usize,
) -> Option<()> {
    match (depthwise.taps(), depthwise.columns, depthwise.advance) {
        (9, 3, 1) => blocks::<W, 3, 1>(depthwise, codes, out, stride),
        (9, 3, 2) => blocks::<W, 3, 2>(depthwise, codes, out, stride),
        (9, 3, _) => blocks::<W, 3, 3>(depthwise, codes, out, stride),
        (25, 5, 1) => blocks::<W, 5, 1>(depthwise, codes, out, stride),
        (25, 5, 2) => blocks::<W, 5, 2>(depthwise, codes, out, stride),
        (25, 5, _) => blocks::<W, 5, 5>(depthwise, codes, out, stride),
        _ => None,
    }
}

/// Every position and channel, in blocks as wide as there are channels for; the last overlaps the one before it.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
fn blocks<W: Widths, const SIDE: usize, const ADVANCE: usize>(
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
        let first = next.min(channels.checked_sub(W::LEAST)?);
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
        next += unsafe { W::run::<SIDE, ADVANCE>(&block, channels - next) };
    }
    Some(())
}

/// Some channels of every position.
pub(super) struct Block<'s> {
    biases: *const u8,
    multipliers: *const u8,
    weights: *const i8,
    out: *mut i8,
    first: usize,
    depthwise: &'s Depthwise<'s>,
    codes: Codes,
    stride: usize,
}

#[expect(unsafe_code, reason = "vector instructions on checked memory")]
impl Block<'_> {
    /// Returns how many channels.
    ///
    /// # Safety
    /// The pointers are those of [`blocks`], with `C`'s channels; the window has `S` x `S` taps and moves by `ADVANCE` columns.
    #[inline(always)]
    pub(super) unsafe fn run<C: Columns<S>, const S: usize, const ADVANCE: usize>(&self) -> usize {
        // SAFETY: the caller's.
        unsafe {
            let weights = self.weights::<C, S>();
            let biases = C::biases(self.biases, &weights);
            let multipliers = C::multipliers(self.multipliers);
            let depthwise = self.depthwise;
            // windows that have a column in common
            let open = S.div_ceil(ADVANCE);
            let mut out = self.out;
            let rows = depthwise.starts.chunks_exact(depthwise.row * S * S);
            for (starts, counts) in rows.zip(depthwise.counts.chunks_exact(depthwise.row)) {
                // the oldest first
                let mut sums = [biases; S];
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
                        add_columns::<C, S, ADVANCE>(&mut sums, &weights, &inputs, at, 0);
                        begun += 1;
                        if begun >= open {
                            C::store(sums[0], &multipliers, self.codes, out);
                            out = out.wrapping_add(self.stride);
                        }
                        for window in 1..open {
                            sums[window - 1] = sums[window];
                        }
                        sums[open - 1] = biases;
                    }
                }
                // what is left of the last position's window
                for after in 1..open {
                    add_columns::<C, S, ADVANCE>(&mut sums, &weights, &inputs, at, after);
                    if begun + after >= open {
                        C::store(sums[0], &multipliers, self.codes, out);
                        out = out.wrapping_add(self.stride);
                    }
                    for window in 1..open {
                        sums[window - 1] = sums[window];
                    }
                }
            }
            C::CHANNELS
        }
    }

    /// The weights of each column.
    ///
    /// # Safety
    /// See `run`.
    #[inline(always)]
    unsafe fn weights<C: Columns<S>, const S: usize>(&self) -> [C::Column; S] {
        // SAFETY: the caller's.
        unsafe {
            let column = |x: usize| {
                let mut taps = [self.weights; S];
                for y in 0..S {
                    taps[y] = self.weights.add((y * S + x) * self.depthwise.channels);
                }
                taps
            };
            let mut weights = [C::weights(&column(0)); S];
            for x in 1..S {
                weights[x] = C::weights(&column(x));
            }
            weights
        }
    }

    /// Where these channels of a tap begin.
    #[inline(always)]
    fn input(&self, start: u32) -> *const i8 {
        place(self.depthwise.sources, start).wrapping_add(self.first)
    }
}

/// Adds the products of the columns with which the window begins that comes `after` so many positions of the one at `inputs` and
/// `at`, as far as the latter's window has them, to the sums of all windows that have them, the oldest first.
///
/// # Safety
/// See [`Columns`]; the taps are readable.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
unsafe fn add_columns<C: Columns<S>, const S: usize, const ADVANCE: usize>(
    sums: &mut [C::Sums; S],
    weights: &[C::Column; S],
    inputs: &[[*const i8; S]; S],
    at: usize,
    after: usize,
) {
    let open = S.div_ceil(ADVANCE);
    for x in 0..ADVANCE {
        let input = after * ADVANCE + x;
        if input < S {
            // SAFETY: the caller's.
            let codes = unsafe { C::codes(&inputs[input], at) };
            for window in 0..open - after {
                let x = x + (open - 1 - window) * ADVANCE;
                if x < S {
                    // SAFETY: the caller's.
                    unsafe { C::add(&mut sums[window], &codes, &weights[x]) };
                }
            }
        }
    }
}
