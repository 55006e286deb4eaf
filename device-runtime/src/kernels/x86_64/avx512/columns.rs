//! Columns of taps by AVX-512: four taps of a column are interleaved, so that one instruction adds their products (`vpdpbusd`).

#![expect(
    clippy::needless_range_loop,
    reason = "counted loops over registers, which the compiler unrolls"
)]

use super::depthwise::{Eight, Sixteen};
use crate::kernels::x86_64::vector::{Vector, interleave, requantize};
use crate::kernels::x86_64::windows::{Block, Columns, Widths};
use crate::quantize::Codes;
use core::arch::x86_64::*;
use core::marker::PhantomData;

/// Most groups of four taps in a column.
const GROUPS: usize = 2;

/// As many channels as there are codes in a vector.
pub(super) struct Bytes<V>(PhantomData<V>);

/// The longest vectors that there are channels for.
pub(in crate::kernels::x86_64) struct Longest;

#[expect(unsafe_code, reason = "vector instructions on checked memory")]
impl Widths for Longest {
    const LEAST: usize = __m128i::CODES;
    type Wide = Sixteen;
    type Narrow = Eight;

    #[inline(always)]
    unsafe fn run<const SIDE: usize, const ADVANCE: usize>(
        block: &Block<'_>,
        left: usize,
    ) -> usize {
        // SAFETY: the caller's.
        unsafe {
            match left {
                64.. => block.run::<Bytes<__m512i>, SIDE, ADVANCE>(),
                32.. => block.run::<Bytes<__m256i>, SIDE, ADVANCE>(),
                _ => block.run::<Bytes<__m128i>, SIDE, ADVANCE>(),
            }
        }
    }
}

#[expect(unsafe_code, reason = "vector instructions on checked memory")]
impl<V: Vector, const S: usize> Columns<S> for Bytes<V> {
    const CHANNELS: usize = V::CODES;
    type Column = [[V; 4]; GROUPS];
    type Sums = [V; 4];
    type Multipliers = [V::Floats; 4];

    /// Flipped codes.
    #[inline(always)]
    unsafe fn codes(taps: &[*const i8; S], at: usize) -> Self::Column {
        // SAFETY: the caller's, here and in what follows.
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

    #[inline(always)]
    unsafe fn weights(taps: &[*const i8; S]) -> Self::Column {
        // SAFETY: the caller's.
        unsafe {
            let mut column = [[V::bytes(0); 4]; GROUPS];
            for group in 0..S.div_ceil(4) {
                let mut weights = [V::bytes(0); 4];
                for i in 0..4 {
                    if 4 * group + i < S {
                        weights[i] = V::load(taps[4 * group + i].cast());
                    }
                }
                column[group] = interleave(weights);
            }
            column
        }
    }

    #[inline(always)]
    unsafe fn biases(biases: *const u8, weights: &[Self::Column; S]) -> [V; 4] {
        // SAFETY: the caller's.
        unsafe {
            let mut sums = in_order::<V>(biases);
            for x in 0..S {
                for group in 0..S.div_ceil(4) {
                    // what flipped codes are too large by
                    for i in 0..4 {
                        let flipped = V::bytes(i8::MIN);
                        let excess = V::add_products(V::bytes(0), flipped, weights[x][group][i]);
                        sums[i] = V::subtract(sums[i], excess);
                    }
                }
            }
            sums
        }
    }

    #[inline(always)]
    unsafe fn multipliers(multipliers: *const u8) -> [V::Floats; 4] {
        // SAFETY: the caller's.
        unsafe {
            let bits = in_order::<V>(multipliers);
            let mut multipliers = [V::all(0.0); 4];
            for i in 0..4 {
                multipliers[i] = V::same_bits(bits[i]);
            }
            multipliers
        }
    }

    #[inline(always)]
    unsafe fn add(sums: &mut [V; 4], codes: &Self::Column, weights: &Self::Column) {
        for group in 0..S.div_ceil(4) {
            for i in 0..4 {
                // SAFETY: the caller's.
                sums[i] = unsafe { V::add_products(sums[i], codes[group][i], weights[group][i]) };
            }
        }
    }

    #[inline(always)]
    unsafe fn store(sums: [V; 4], multipliers: &[V::Floats; 4], codes: Codes, out: *mut i8) {
        // SAFETY: the caller's.
        unsafe { V::store(out.cast(), requantize(sums, *multipliers, codes)) }
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
