//! The portable bodies, compiled for AVX2 and for AVX-512 with VNNI, and their integer dot
//! products. For the host, which scores packages with the runtime itself.

use super::portable;
use super::tile::{self, COLUMNS, Dot};
use super::{BinaryCodes, FloatWeights, LANES, Product, STEP, Table, Taps};
use crate::quantize::Codes;
use core::arch::x86_64::*;

/// The AVX2 kernels, if this processor can run them.
pub(super) fn avx2() -> Option<&'static Table> {
    std::is_x86_feature_detected!("avx2").then_some(&avx2::TABLE)
}

/// The AVX-512 kernels, if this processor can run them.
pub(super) fn avx512() -> Option<&'static Table> {
    let all = std::is_x86_feature_detected!("avx2")
        && std::is_x86_feature_detected!("avx512f")
        && std::is_x86_feature_detected!("avx512bw")
        && std::is_x86_feature_detected!("avx512dq")
        && std::is_x86_feature_detected!("avx512vl")
        && std::is_x86_feature_detected!("avx512vnni");
    all.then_some(&avx512::TABLE)
}

/// Sixteen-bit products added in pairs.
#[derive(Clone, Copy)]
struct Avx2;

#[expect(unsafe_code, reason = "vector instructions")]
impl Dot for Avx2 {
    type Vector = [__m256i; 2];
    type Sums = __m256i;

    #[inline(always)]
    fn zero() -> __m256i {
        // SAFETY: only the functions of `avx2::TABLE` use this type, and `avx2` gives that table
        // out only after the processor has reported AVX2.
        unsafe { _mm256_setzero_si256() }
    }

    #[inline(always)]
    fn load(codes: &[i8; STEP]) -> [__m256i; 2] {
        let start = codes.as_ptr().cast::<__m128i>();
        // SAFETY: AVX2 as in `zero`; two unaligned loads of 16 bytes from the 32 of `codes`.
        unsafe {
            [
                _mm256_cvtepi8_epi16(_mm_loadu_si128(start)),
                _mm256_cvtepi8_epi16(_mm_loadu_si128(start.add(1))),
            ]
        }
    }

    #[inline(always)]
    fn add(sums: __m256i, a: [__m256i; 2], b: [__m256i; 2]) -> __m256i {
        // SAFETY: AVX2 as in `zero`.
        unsafe {
            let low = _mm256_madd_epi16(a[0], b[0]);
            let high = _mm256_madd_epi16(a[1], b[1]);
            _mm256_add_epi32(sums, _mm256_add_epi32(low, high))
        }
    }

    #[inline(always)]
    fn totals(sums: [__m256i; COLUMNS]) -> [i32; COLUMNS] {
        // SAFETY: AVX2 as in `zero`; one unaligned store of 16 bytes to the 16 of `totals`.
        unsafe {
            let pairs = _mm256_hadd_epi32(sums[0], sums[1]);
            let others = _mm256_hadd_epi32(sums[2], sums[3]);
            let halves = _mm256_hadd_epi32(pairs, others);
            let all = _mm_add_epi32(
                _mm256_castsi256_si128(halves),
                _mm256_extracti128_si256::<1>(halves),
            );
            let mut totals = [0; COLUMNS];
            _mm_storeu_si128(totals.as_mut_ptr().cast(), all);
            totals
        }
    }
}

/// Sixteen-bit products, added in pairs to the sums by one instruction.
#[derive(Clone, Copy)]
struct Avx512;

#[expect(unsafe_code, reason = "vector instructions")]
impl Dot for Avx512 {
    type Vector = __m512i;
    type Sums = __m512i;

    #[inline(always)]
    fn zero() -> __m512i {
        // SAFETY: only the functions of `avx512::TABLE` use this type, and `avx512` gives that
        // table out only after the processor has reported AVX-512 F, BW and VNNI.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    fn load(codes: &[i8; STEP]) -> __m512i {
        // SAFETY: AVX-512 as in `zero`; one unaligned load of the 32 bytes of `codes`.
        unsafe { _mm512_cvtepi8_epi16(_mm256_loadu_si256(codes.as_ptr().cast())) }
    }

    #[inline(always)]
    fn add(sums: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: AVX-512 as in `zero`.
        unsafe { _mm512_dpwssd_epi32(sums, a, b) }
    }

    #[inline(always)]
    fn totals(sums: [__m512i; COLUMNS]) -> [i32; COLUMNS] {
        let mut halves = [Avx2::zero(); COLUMNS];
        for n in 0..COLUMNS {
            // SAFETY: AVX-512 as in `zero`.
            halves[n] = unsafe {
                _mm256_add_epi32(
                    _mm512_castsi512_si256(sums[n]),
                    _mm512_extracti64x4_epi64::<1>(sums[n]),
                )
            };
        }
        Avx2::totals(halves)
    }
}

/// A table of portable bodies compiled for some features, behind functions that are safe to call
/// because only a checked constructor gives the table out.
macro_rules! set {
    ($name:ident, $features:literal, $dot:ty, $rows:literal) => {
        mod $name {
            use super::*;

            pub(super) static TABLE: Table = Table {
                name: stringify!($name),
                product_i8,
                finish_i8,
                product_f32,
                product_f32_one: portable::product_f32_one,
                depthwise_i8,
                depthwise_f32,
                max_i8,
                max_f32,
                sum_i8,
                sum_f32,
                add_i8,
            };

            set! { @ $features
                fn product_i8(product: &Product<'_>, acc: &mut [i32]) -> Option<()> {
                    tile::product_i8::<$dot, $rows>(product, acc)
                }
                fn finish_i8(acc: &[i32], bias: &[i32], multiplier: &[f32], codes: Codes, out: &mut [i8]) -> () {
                    portable::finish_i8(acc, bias, multiplier, codes, out)
                }
                fn product_f32(patch: &[[f32; LANES]], weights: FloatWeights<'_>, acc: &mut [[f32; LANES]]) -> Option<()> {
                    portable::product_f32::<LANES, 4>(patch, weights, acc)
                }
                fn depthwise_i8(taps: &Taps<'_, i8>, weights: &[i8], zero_point: i8, acc: &mut [i32]) -> Option<()> {
                    portable::depthwise_i8(taps, weights, zero_point, acc)
                }
                fn depthwise_f32(taps: &Taps<'_, f32>, weights: FloatWeights<'_>, acc: &mut [f32]) -> Option<()> {
                    portable::depthwise_f32(taps, weights, acc)
                }
                fn max_i8(taps: &Taps<'_, i8>, out: &mut [i8]) -> Option<()> {
                    portable::max_i8(taps, out)
                }
                fn max_f32(taps: &Taps<'_, f32>, out: &mut [f32]) -> Option<()> {
                    portable::max_f32(taps, out)
                }
                fn sum_i8(taps: &Taps<'_, i8>, acc: &mut [i32]) -> Option<()> {
                    portable::sum_i8(taps, acc)
                }
                fn sum_f32(taps: &Taps<'_, f32>, acc: &mut [f32]) -> Option<()> {
                    portable::sum_f32(taps, acc)
                }
                fn add_i8(a: &[i8], b: &[i8], operands: &BinaryCodes, out: &mut [i8]) -> () {
                    portable::add_i8(a, b, operands, out)
                }
            }
        }
    };
    (@ $features:literal $(fn $name:ident($($arg:ident: $type:ty),*) -> $result:ty $body:block)*) => {
        $(
            #[expect(unsafe_code, reason = "the call of a function for more instructions")]
            fn $name($($arg: $type),*) -> $result {
                #[target_feature(enable = $features)]
                fn body($($arg: $type),*) -> $result $body
                // SAFETY: this function is reached through `TABLE` alone, which is given out only
                // after the processor has reported these features.
                unsafe { body($($arg),*) }
            }
        )*
    };
}

set!(avx2, "avx2", Avx2, 2);
set!(
    avx512,
    "avx2,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni",
    Avx512,
    4
);
