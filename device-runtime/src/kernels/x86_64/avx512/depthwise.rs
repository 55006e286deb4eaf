//! Integer depthwise convolution by windows that [`columns`](super::columns) does not have, sixteen or eight channels at a time: two taps are interleaved, so that one
//! instruction adds both products (`vpdpwssd`).

use super::requantize;
use crate::kernels::depthwise::Lanes;
use crate::quantize::Codes;
use core::arch::x86_64::*;

pub(in crate::kernels::x86_64) struct Sixteen;

#[expect(unsafe_code, reason = "vector instructions on checked memory")]
impl Lanes for Sixteen {
    const LANES: usize = 16;
    type Codes = __m128i;
    type Sums = __m512i;

    #[inline(always)]
    unsafe fn load(codes: *const i8) -> __m128i {
        // SAFETY: the caller's, here and in what follows.
        unsafe { _mm_loadu_si128(codes.cast()) }
    }

    #[inline(always)]
    unsafe fn biases(biases: *const i32) -> __m512i {
        // SAFETY: the caller's.
        unsafe { _mm512_loadu_si512(biases.cast()) }
    }

    #[inline(always)]
    unsafe fn add_two(sums: __m512i, x: [__m128i; 2], w: [__m128i; 2]) -> __m512i {
        // SAFETY: the caller's.
        unsafe { _mm512_dpwssd_epi32(sums, pairs(x), pairs(w)) }
    }

    #[inline(always)]
    unsafe fn add_one(sums: __m512i, x: __m128i, w: __m128i) -> __m512i {
        // SAFETY: the caller's.
        unsafe { _mm512_dpwssd_epi32(sums, _mm512_cvtepi8_epi32(x), low_halves(w)) }
    }

    #[inline(always)]
    unsafe fn store(sums: __m512i, multipliers: *const f32, codes: Codes, out: *mut i8) {
        // SAFETY: the caller's.
        unsafe {
            let codes = requantize(sums, _mm512_loadu_ps(multipliers), codes);
            _mm_storeu_si128(out.cast(), codes);
        }
    }
}

/// Eight codes, in the lower half of what [`Sixteen`] computes.
pub(in crate::kernels::x86_64) struct Eight;

#[expect(unsafe_code, reason = "vector instructions on checked memory")]
impl Lanes for Eight {
    const LANES: usize = 8;
    type Codes = __m128i;
    type Sums = __m512i;

    #[inline(always)]
    unsafe fn load(codes: *const i8) -> __m128i {
        // SAFETY: the caller's, here and in what follows.
        unsafe { _mm_loadl_epi64(codes.cast()) }
    }

    #[inline(always)]
    unsafe fn biases(biases: *const i32) -> __m512i {
        // SAFETY: the caller's.
        unsafe { _mm512_zextsi256_si512(_mm256_loadu_si256(biases.cast())) }
    }

    #[inline(always)]
    unsafe fn add_two(sums: __m512i, x: [__m128i; 2], w: [__m128i; 2]) -> __m512i {
        // SAFETY: the caller's.
        unsafe { Sixteen::add_two(sums, x, w) }
    }

    #[inline(always)]
    unsafe fn add_one(sums: __m512i, x: __m128i, w: __m128i) -> __m512i {
        // SAFETY: the caller's.
        unsafe { Sixteen::add_one(sums, x, w) }
    }

    #[inline(always)]
    unsafe fn store(sums: __m512i, multipliers: *const f32, codes: Codes, out: *mut i8) {
        // SAFETY: the caller's.
        unsafe {
            let multipliers = _mm512_zextps256_ps512(_mm256_loadu_ps(multipliers));
            _mm_storel_epi64(out.cast(), requantize(sums, multipliers, codes));
        }
    }
}

/// The codes of two taps in turn, widened. No closure, which would be compiled without the caller's instructions.
///
/// # Safety
/// The processor has AVX-512.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions")]
unsafe fn pairs([a, b]: [__m128i; 2]) -> __m512i {
    // SAFETY: the caller's.
    unsafe {
        let (low, high) = (_mm_unpacklo_epi8(a, b), _mm_unpackhi_epi8(a, b));
        _mm512_cvtepi8_epi16(_mm256_set_m128i(high, low))
    }
}

/// Codes in the lower sixteen bits of each lane, zeros above them.
///
/// # Safety
/// The processor has AVX-512.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions")]
unsafe fn low_halves(codes: __m128i) -> __m512i {
    // SAFETY: the caller's.
    unsafe { _mm512_and_si512(_mm512_cvtepi8_epi32(codes), _mm512_set1_epi32(0xffff)) }
}
