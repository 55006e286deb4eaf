//! Integer products of codes widened to sixteen bits.

#![expect(
    clippy::needless_range_loop,
    reason = "counted loops over registers, which the compiler unrolls"
)]

use crate::kernels::depthwise::{self, Lanes};
use crate::kernels::panel::{self, Panel};
use crate::kernels::tile::{Rows, Tile};
use crate::kernels::{Depthwise, Out};
use crate::quantize::Codes;
use core::arch::x86_64::*;

/// Sixteen-bit products, added in pairs (`vpmaddwd`).
pub(super) struct Avx2;

const COLUMNS: usize = panel::AVX2.columns;
const STEP: usize = panel::AVX2.step;

#[expect(unsafe_code, reason = "vector instructions on checked memory")]
impl Tile for Avx2 {
    const PANEL: Panel = panel::AVX2;
    const ROWS: usize = 2;
    type Sums = __m128i;
    type Requantize = Codes;

    fn requantize(codes: Codes) -> Codes {
        codes
    }

    #[inline(always)]
    unsafe fn sums<const M: usize>(rows: Rows<M>, panel: *const u8) -> [__m128i; M] {
        // SAFETY: the caller's panel has a head and, for each step of each run, COLUMNS x STEP codes; a run is
        // a whole number of steps, and its rows are readable. The caller has seen to AVX2.
        unsafe {
            let mut partial = [[_mm256_setzero_si256(); COLUMNS]; M];
            let mut weights = panel.add(Self::PANEL.head());
            for run in 0..rows.runs() {
                let begin = rows.begin(run);
                for at in (0..rows.run()).step_by(STEP) {
                    let mut x = [_mm256_setzero_si256(); M];
                    for m in 0..M {
                        x[m] = widened(begin[m].add(at));
                    }
                    for n in 0..COLUMNS {
                        let w = widened(weights.add(n * STEP).cast());
                        for m in 0..M {
                            let products = _mm256_madd_epi16(x[m], w);
                            partial[m][n] = _mm256_add_epi32(partial[m][n], products);
                        }
                    }
                    weights = weights.add(COLUMNS * STEP);
                }
            }
            let mut sums = [_mm_loadu_si128(panel.cast()); M];
            for m in 0..M {
                let [a, b, c, d] = partial[m];
                let halves = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
                let low = _mm256_castsi256_si128(halves);
                let total = _mm_add_epi32(low, _mm256_extracti128_si256::<1>(halves));
                sums[m] = _mm_add_epi32(sums[m], total);
            }
            sums
        }
    }

    #[inline(always)]
    unsafe fn codes<const M: usize>(
        sums: [__m128i; M],
        panel: *const u8,
        codes: Codes,
        out: *mut i8,
        stride: usize,
    ) {
        let (zero_point, [least, greatest]) = codes.parts();
        // SAFETY: the caller's panel has a head; `out` has room for COLUMNS codes of M rows. The caller
        // has seen to AVX2.
        unsafe {
            let multiplier = _mm_loadu_ps(panel.add(4 * COLUMNS).cast());
            for m in 0..M {
                let steps = _mm_mul_ps(_mm_cvtepi32_ps(sums[m]), multiplier);
                let steps =
                    _mm_min_ps(_mm_max_ps(steps, _mm_set1_ps(least)), _mm_set1_ps(greatest));
                // to nearest, ties to even: nothing here changes the rounding mode
                let codes = _mm_add_epi32(_mm_cvtps_epi32(steps), _mm_set1_epi32(zero_point));
                let words = _mm_packs_epi32(codes, codes);
                let codes = _mm_cvtsi128_si32(_mm_packs_epi16(words, words));
                out.add(m * stride).cast::<i32>().write_unaligned(codes);
            }
        }
    }

    #[inline(always)]
    unsafe fn store<const M: usize>(sums: &[__m128i; M], row: usize, out: *mut i32) {
        // SAFETY: `out` has room for COLUMNS sums.
        unsafe { _mm_storeu_si128(out.cast(), sums[row]) }
    }
}

#[inline(always)]
pub(super) fn depthwise_i8(depthwise: &Depthwise<'_>, out: Out<'_>) -> Option<()> {
    depthwise::depthwise_i8::<Avx2, Avx2>(depthwise, out)
}

/// Integer depthwise convolution of sixteen channels: two taps are interleaved, so that one instruction adds both products.
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
impl Lanes for Avx2 {
    const LANES: usize = 16;
    type Codes = __m128i;
    type Sums = [__m256i; 2];

    #[inline(always)]
    unsafe fn load(codes: *const i8) -> __m128i {
        // SAFETY: the caller's, here and in what follows.
        unsafe { _mm_loadu_si128(codes.cast()) }
    }

    #[inline(always)]
    unsafe fn biases(biases: *const i32) -> [__m256i; 2] {
        // SAFETY: the caller's.
        unsafe {
            let high = _mm256_loadu_si256(biases.add(8).cast());
            [_mm256_loadu_si256(biases.cast()), high]
        }
    }

    #[inline(always)]
    unsafe fn add_two(sums: [__m256i; 2], x: [__m128i; 2], w: [__m128i; 2]) -> [__m256i; 2] {
        // SAFETY: the caller's.
        unsafe {
            let (x, w) = (pairs(x), pairs(w));
            [
                _mm256_add_epi32(sums[0], _mm256_madd_epi16(x[0], w[0])),
                _mm256_add_epi32(sums[1], _mm256_madd_epi16(x[1], w[1])),
            ]
        }
    }

    #[inline(always)]
    unsafe fn add_one(sums: [__m256i; 2], x: __m128i, w: __m128i) -> [__m256i; 2] {
        // SAFETY: the caller's.
        unsafe {
            let none = _mm_setzero_si128();
            Self::add_two(sums, [x, none], [w, none])
        }
    }

    #[inline(always)]
    unsafe fn store(sums: [__m256i; 2], multipliers: *const f32, codes: Codes, out: *mut i8) {
        let (zero_point, [least, greatest]) = codes.parts();
        // SAFETY: the caller's.
        unsafe {
            let mut codes = sums;
            for half in 0..2 {
                let multipliers = _mm256_loadu_ps(multipliers.add(8 * half));
                let steps = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[half]), multipliers);
                let steps = _mm256_max_ps(steps, _mm256_set1_ps(least));
                let steps = _mm256_min_ps(steps, _mm256_set1_ps(greatest));
                // to nearest, ties to even: nothing here changes the rounding mode
                let steps = _mm256_cvtps_epi32(steps);
                codes[half] = _mm256_add_epi32(steps, _mm256_set1_epi32(zero_point));
            }
            // four of each half in turn
            let words = _mm256_packs_epi32(codes[0], codes[1]);
            let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(words);
            let high = _mm256_extracti128_si256::<1>(words);
            _mm_storeu_si128(
                out.cast(),
                _mm_packs_epi16(_mm256_castsi256_si128(words), high),
            );
        }
    }
}

/// The codes of two taps in turn, widened.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions")]
unsafe fn pairs([a, b]: [__m128i; 2]) -> [__m256i; 2] {
    // SAFETY: the caller's.
    unsafe {
        let high = _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(a, b));
        [_mm256_cvtepi8_epi16(_mm_unpacklo_epi8(a, b)), high]
    }
}

/// Sixteen codes in sixteen bits each.
///
/// # Safety
/// The processor has AVX2; `codes` are readable.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
unsafe fn widened(codes: *const i8) -> __m256i {
    // SAFETY: the caller's.
    unsafe { _mm256_cvtepi8_epi16(_mm_loadu_si128(codes.cast())) }
}
