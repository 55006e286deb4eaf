//! Integer depthwise convolution by AVX2: the words of two taps are interleaved, so that one instruction adds both products (`vpmaddwd`).

#![expect(
    clippy::needless_range_loop,
    reason = "counted loops over registers, which the compiler unrolls"
)]

use crate::kernels::depthwise::Lanes;
use crate::kernels::x86_64::vector::{packed, words};
use crate::kernels::x86_64::windows::{Block, Columns, Widths};
use crate::quantize::Codes;
use core::arch::x86_64::*;

/// Sixteen channels where there are so many, else eight.
pub(in crate::kernels::x86_64) struct Most;

#[expect(unsafe_code, reason = "vector instructions on checked memory")]
impl Widths for Most {
    const LEAST: usize = EIGHT;
    type Wide = Words<2>;
    type Narrow = Words<1>;

    #[inline(always)]
    unsafe fn run<const SIDE: usize, const ADVANCE: usize>(
        block: &Block<'_>,
        left: usize,
    ) -> usize {
        // SAFETY: the caller's.
        unsafe {
            match left {
                16.. => block.run::<Words<2>, SIDE, ADVANCE>(),
                _ => block.run::<Words<1>, SIDE, ADVANCE>(),
            }
        }
    }
}

/// `N` times eight channels.
pub(in crate::kernels::x86_64) struct Words<const N: usize>;

/// Sums of a vector.
const EIGHT: usize = 8;
/// Most pairs of taps in a column.
const PAIRS: usize = 3;

#[expect(unsafe_code, reason = "vector instructions on checked memory")]
impl<const N: usize, const S: usize> Columns<S> for Words<N> {
    const CHANNELS: usize = N * EIGHT;
    type Column = [[__m256i; N]; PAIRS];
    type Sums = [__m256i; N];
    type Multipliers = [__m256; N];

    #[inline(always)]
    unsafe fn codes(taps: &[*const i8; S], at: usize) -> Self::Column {
        // SAFETY: the caller's, here and in what follows.
        unsafe {
            let mut column = [[_mm256_setzero_si256(); N]; PAIRS];
            for pair in 0..S / 2 {
                column[pair] = pairs([taps[2 * pair].add(at), taps[2 * pair + 1].add(at)]);
            }
            if S % 2 == 1 {
                column[S / 2] = singles(taps[S - 1].add(at));
            }
            column
        }
    }

    #[inline(always)]
    unsafe fn weights(taps: &[*const i8; S]) -> Self::Column {
        // SAFETY: the caller's.
        unsafe {
            let mut column = <Self as Columns<S>>::codes(taps, 0);
            if S % 2 == 1 {
                column[S / 2] = single_weights(taps[S - 1]);
            }
            column
        }
    }

    #[inline(always)]
    unsafe fn biases(biases: *const u8, _: &[Self::Column; S]) -> [__m256i; N] {
        // SAFETY: the caller's.
        unsafe { <Self as Lanes>::biases(biases.cast()) }
    }

    #[inline(always)]
    unsafe fn multipliers(multipliers: *const u8) -> [__m256; N] {
        // SAFETY: the caller's.
        unsafe {
            let mut all = [_mm256_setzero_ps(); N];
            for n in 0..N {
                all[n] = _mm256_loadu_ps(multipliers.cast::<f32>().add(n * EIGHT));
            }
            all
        }
    }

    #[inline(always)]
    unsafe fn add(sums: &mut [__m256i; N], codes: &Self::Column, weights: &Self::Column) {
        for pair in 0..S.div_ceil(2) {
            // SAFETY: the caller's.
            *sums = unsafe { added(*sums, codes[pair], weights[pair]) };
        }
    }

    #[inline(always)]
    unsafe fn store(sums: [__m256i; N], multipliers: &[__m256; N], codes: Codes, out: *mut i8) {
        // SAFETY: the caller's.
        unsafe { store(sums, *multipliers, codes, out) }
    }
}

/// Other windows; codes are loaded where they are multiplied.
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
impl<const N: usize> Lanes for Words<N> {
    const LANES: usize = N * EIGHT;
    type Codes = *const i8;
    type Sums = [__m256i; N];

    #[inline(always)]
    unsafe fn load(codes: *const i8) -> *const i8 {
        codes
    }

    #[inline(always)]
    unsafe fn biases(biases: *const i32) -> [__m256i; N] {
        // SAFETY: the caller's.
        unsafe {
            let mut all = [_mm256_setzero_si256(); N];
            for n in 0..N {
                all[n] = _mm256_loadu_si256(biases.add(n * EIGHT).cast());
            }
            all
        }
    }

    #[inline(always)]
    unsafe fn add_two(sums: [__m256i; N], x: [*const i8; 2], w: [*const i8; 2]) -> [__m256i; N] {
        // SAFETY: the caller's.
        unsafe { added(sums, pairs(x), pairs(w)) }
    }

    #[inline(always)]
    unsafe fn add_one(sums: [__m256i; N], x: *const i8, w: *const i8) -> [__m256i; N] {
        // SAFETY: the caller's.
        unsafe { added(sums, singles(x), single_weights(w)) }
    }

    #[inline(always)]
    unsafe fn store(sums: [__m256i; N], multipliers: *const f32, codes: Codes, out: *mut i8) {
        // SAFETY: the caller's.
        unsafe {
            let multipliers = <Self as Columns<3>>::multipliers(multipliers.cast());
            store(sums, multipliers, codes, out);
        }
    }
}

/// The codes of two taps in turn, widened.
///
/// # Safety
/// The processor has AVX2; the taps are readable.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
unsafe fn pairs<const N: usize>([a, b]: [*const i8; 2]) -> [__m256i; N] {
    // SAFETY: the caller's.
    unsafe {
        let mut pairs = [_mm256_setzero_si256(); N];
        if N == 2 {
            let (a, b) = (_mm_loadu_si128(a.cast()), _mm_loadu_si128(b.cast()));
            pairs[0] = _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(a, b));
            pairs[1] = _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(a, b));
        } else {
            let (a, b) = (_mm_loadl_epi64(a.cast()), _mm_loadl_epi64(b.cast()));
            pairs[0] = _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(a, b));
        }
        pairs
    }
}

/// The codes of a tap, widened to two words.
///
/// # Safety
/// The processor has AVX2; the tap is readable.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
unsafe fn singles<const N: usize>(tap: *const i8) -> [__m256i; N] {
    // SAFETY: the caller's.
    unsafe {
        let mut singles = [_mm256_setzero_si256(); N];
        for n in 0..N {
            singles[n] = _mm256_cvtepi8_epi32(_mm_loadl_epi64(tap.add(n * EIGHT).cast()));
        }
        singles
    }
}

/// The weights of a tap in the lower of two words each, and 0: so that a product with [`singles`] is one of bytes.
///
/// # Safety
/// See [`singles`].
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
unsafe fn single_weights<const N: usize>(tap: *const i8) -> [__m256i; N] {
    // SAFETY: the caller's.
    unsafe {
        let mut weights = singles(tap);
        for n in 0..N {
            weights[n] = _mm256_and_si256(weights[n], _mm256_set1_epi32(0xffff));
        }
        weights
    }
}

/// Adds the products of words.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions")]
unsafe fn added<const N: usize>(
    mut sums: [__m256i; N],
    x: [__m256i; N],
    w: [__m256i; N],
) -> [__m256i; N] {
    for n in 0..N {
        // SAFETY: the caller's.
        sums[n] = unsafe { _mm256_add_epi32(sums[n], _mm256_madd_epi16(x[n], w[n])) };
    }
    sums
}

/// Requantizes and writes.
///
/// # Safety
/// The processor has AVX2; the channels of `out` are writable.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
unsafe fn store<const N: usize>(
    sums: [__m256i; N],
    multipliers: [__m256; N],
    codes: Codes,
    out: *mut i8,
) {
    // SAFETY: the caller's.
    unsafe {
        let sums = [sums[0], sums[N - 1]];
        let words = words(sums, [multipliers[0], multipliers[N - 1]], codes);
        let low = _mm256_castsi256_si128(words);
        // four codes of each vector in turn
        let fours = packed(low, _mm256_extracti128_si256::<1>(words), codes);
        let done = _mm_shuffle_epi32::<0b11_01_10_00>(fours);
        match N {
            2 => _mm_storeu_si128(out.cast(), done),
            _ => _mm_storel_epi64(out.cast(), done),
        }
    }
}
