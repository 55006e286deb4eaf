//! Vectors of three lengths behind one trait.

use crate::quantize::Codes;
use core::arch::x86_64::*;

/// Declares [`Vector`] with functions of one or two vectors, and implements it.
macro_rules! vectors {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*) -> $result:ty = $long:ident, $middle:ident, $short:ident;)*) => {
        /// A vector of codes, words or sums. Instructions that interleave and pack do so within sixteen bytes.
        #[expect(unsafe_code, reason = "vector instructions")]
        pub(super) trait Vector: Copy {
            /// Codes of a vector.
            const CODES: usize = size_of::<Self>();
            type Floats: Copy;

            $(
                $(#[$doc])*
                ///
                /// # Safety
                /// The processor has AVX-512 with VNNI and vectors of all lengths, or, but for [`Vector::add_products`] and the longest vectors, AVX2; a
                /// pointer has room for a vector.
                unsafe fn $name($($arg: $type),*) -> $result;
            )*
        }

        vectors! { @ __m512i, __m512, $(fn $name($($arg: $type),*) -> $result = $long;)* }
        vectors! { @ __m256i, __m256, $(fn $name($($arg: $type),*) -> $result = $middle;)* }
        vectors! { @ __m128i, __m128, $(fn $name($($arg: $type),*) -> $result = $short;)* }
    };
    (@ $vector:ty, $floats:ty, $(fn $name:ident($($arg:ident: $type:ty),*) -> $result:ty = $instruction:ident;)*) => {
        #[expect(unsafe_code, reason = "vector instructions")]
        impl Vector for $vector {
            type Floats = $floats;

            $(
                #[inline(always)]
                unsafe fn $name($($arg: $type),*) -> $result {
                    // SAFETY: the caller's.
                    unsafe { $instruction($($arg),*) }
                }
            )*
        }
    };
}

vectors! {
    fn load(from: *const Self) -> Self = _mm512_loadu_si512, _mm256_loadu_si256, _mm_loadu_si128;
    fn store(to: *mut Self, vector: Self) -> () = _mm512_storeu_si512, _mm256_storeu_si256, _mm_storeu_si128;
    fn bytes(byte: i8) -> Self = _mm512_set1_epi8, _mm256_set1_epi8, _mm_set1_epi8;
    fn words(word: i16) -> Self = _mm512_set1_epi16, _mm256_set1_epi16, _mm_set1_epi16;
    fn all(float: f32) -> Self::Floats = _mm512_set1_ps, _mm256_set1_ps, _mm_set1_ps;
    fn xor(a: Self, b: Self) -> Self = _mm512_xor_si512, _mm256_xor_si256, _mm_xor_si128;
    /// Bytes in turn, of the first half of each sixteen.
    fn low_bytes(a: Self, b: Self) -> Self = _mm512_unpacklo_epi8, _mm256_unpacklo_epi8, _mm_unpacklo_epi8;
    /// Bytes in turn, of the second half.
    fn high_bytes(a: Self, b: Self) -> Self = _mm512_unpackhi_epi8, _mm256_unpackhi_epi8, _mm_unpackhi_epi8;
    /// Words in turn, of the first half.
    fn low_words(a: Self, b: Self) -> Self = _mm512_unpacklo_epi16, _mm256_unpacklo_epi16, _mm_unpacklo_epi16;
    /// Words in turn, of the second half.
    fn high_words(a: Self, b: Self) -> Self = _mm512_unpackhi_epi16, _mm256_unpackhi_epi16, _mm_unpackhi_epi16;
    /// Adds the products of four unsigned codes with four weights to each sum.
    fn add_products(sums: Self, codes: Self, weights: Self) -> Self = _mm512_dpbusd_epi32, _mm256_dpbusd_epi32, _mm_dpbusd_epi32;
    fn subtract(sums: Self, others: Self) -> Self = _mm512_sub_epi32, _mm256_sub_epi32, _mm_sub_epi32;
    fn to_floats(sums: Self) -> Self::Floats = _mm512_cvtepi32_ps, _mm256_cvtepi32_ps, _mm_cvtepi32_ps;
    fn same_bits(bits: Self) -> Self::Floats = _mm512_castsi512_ps, _mm256_castsi256_ps, _mm_castsi128_ps;
    fn multiply(a: Self::Floats, b: Self::Floats) -> Self::Floats = _mm512_mul_ps, _mm256_mul_ps, _mm_mul_ps;
    /// The lesser; `b` where one is no number.
    fn least(a: Self::Floats, b: Self::Floats) -> Self::Floats = _mm512_min_ps, _mm256_min_ps, _mm_min_ps;
    /// To nearest, ties to even: nothing here changes the rounding mode. What is too small, and what is no number, becomes
    /// the least integer.
    fn round(floats: Self::Floats) -> Self = _mm512_cvtps_epi32, _mm256_cvtps_epi32, _mm_cvtps_epi32;
    /// Saturates.
    fn pack_sums(a: Self, b: Self) -> Self = _mm512_packs_epi32, _mm256_packs_epi32, _mm_packs_epi32;
    /// Saturates.
    fn pack_words(a: Self, b: Self) -> Self = _mm512_packs_epi16, _mm256_packs_epi16, _mm_packs_epi16;
    /// Saturates.
    fn add_words(a: Self, b: Self) -> Self = _mm512_adds_epi16, _mm256_adds_epi16, _mm_adds_epi16;
    fn greatest_bytes(a: Self, b: Self) -> Self = _mm512_max_epi8, _mm256_max_epi8, _mm_max_epi8;
}

/// Bytes of four vectors in turn: the inverse of what packing does twice.
///
/// # Safety
/// See [`Vector`].
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions")]
pub(super) unsafe fn interleave<V: Vector>([a, b, c, d]: [V; 4]) -> [V; 4] {
    // SAFETY: the caller's.
    unsafe {
        let (p, q) = (V::low_bytes(a, b), V::low_bytes(c, d));
        let (r, s) = (V::high_bytes(a, b), V::high_bytes(c, d));
        [
            V::low_words(p, q),
            V::high_words(p, q),
            V::low_words(r, s),
            V::high_words(r, s),
        ]
    }
}

/// [`crate::quantize::requantize`] of four vectors of sums: four codes of each of the four in turn.
///
/// # Safety
/// See [`Vector`].
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions")]
pub(super) unsafe fn requantize<V: Vector>(
    [p, q, r, s]: [V; 4],
    [a, b, c, d]: [V::Floats; 4],
    codes: Codes,
) -> V {
    // SAFETY: the caller's.
    unsafe {
        let low = words([p, q], [a, b], codes);
        packed(low, words([r, s], [c, d], codes), codes)
    }
}

/// The codes of two vectors of sums, four of each in turn, as words that may still be below the least code: what is, stays so,
/// since packing and adding saturate.
///
/// # Safety
/// See [`Vector`].
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions")]
pub(super) unsafe fn words<V: Vector>(
    sums: [V; 2],
    multipliers: [V::Floats; 2],
    codes: Codes,
) -> V {
    let (zero_point, [_, greatest]) = codes.parts();
    // SAFETY: the caller's.
    unsafe {
        let mut steps = sums;
        for i in 0..2 {
            let exact = V::multiply(V::to_floats(sums[i]), multipliers[i]);
            steps[i] = V::round(V::least(V::all(greatest), exact));
        }
        V::add_words(
            V::pack_sums(steps[0], steps[1]),
            V::words(zero_point as i16),
        )
    }
}

/// The codes of two vectors of [`words`], eight of each in turn.
///
/// # Safety
/// See [`Vector`].
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions")]
pub(super) unsafe fn packed<V: Vector>(low: V, high: V, codes: Codes) -> V {
    let (zero_point, [least, _]) = codes.parts();
    // SAFETY: the caller's.
    unsafe {
        let least = V::bytes((least as i32 + zero_point) as i8);
        V::greatest_bytes(V::pack_words(low, high), least)
    }
}
