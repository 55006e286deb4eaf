//! Integer products by AVX-512's dot product of bytes.

#![expect(
    clippy::needless_range_loop,
    reason = "counted loops over registers, which the compiler unrolls"
)]

use crate::kernels::panel::{self, Panel};
use crate::kernels::tile::{Rows, Tile};
use crate::quantize::Codes;
use core::arch::asm;
use core::arch::x86_64::*;

/// Four products of an unsigned and a signed byte added to each sum by one instruction (`vpdpbusd`). A
/// code plus 128 is unsigned; the panel's biases make up for it.
pub(super) struct Avx512;

const COLUMNS: usize = panel::AVX512.columns;
const STEP: usize = panel::AVX512.step;

#[expect(unsafe_code, reason = "vector instructions on checked memory")]
impl Tile for Avx512 {
    const PANEL: Panel = panel::AVX512;
    const ROWS: usize = 8;
    type Sums = __m512i;
    type Requantize = Codes;

    fn requantize(codes: Codes) -> Codes {
        codes
    }

    #[inline(always)]
    unsafe fn sums<const M: usize>(rows: Rows<M>, panel: *const u8) -> [__m512i; M] {
        // SAFETY: the caller's panel has a head and, for each step of each run, COLUMNS x STEP codes; a run is
        // a whole number of steps, and its rows are readable. The caller has seen to AVX-512.
        unsafe {
            let flip = flip();
            // two sums each, since an addition takes longer than the products of all rows
            let mut sums = [_mm512_loadu_si512(panel.cast()); M];
            let mut others = [_mm512_setzero_si512(); M];
            let mut weights = panel.add(Self::PANEL.head());
            for run in 0..rows.runs() {
                let begin = rows.begin(run);
                let mut at = 0;
                while at + 2 * STEP <= rows.run() {
                    let w = _mm512_loadu_si512(weights.cast());
                    let v = _mm512_loadu_si512(weights.add(COLUMNS * STEP).cast());
                    for m in 0..M {
                        let codes = begin[m].add(at);
                        sums[m] = _mm512_dpbusd_epi32(sums[m], four(codes, flip), w);
                        others[m] = _mm512_dpbusd_epi32(others[m], four(codes.add(STEP), flip), v);
                    }
                    weights = weights.add(2 * COLUMNS * STEP);
                    at += 2 * STEP;
                }
                if at < rows.run() {
                    let w = _mm512_loadu_si512(weights.cast());
                    for m in 0..M {
                        sums[m] = _mm512_dpbusd_epi32(sums[m], four(begin[m].add(at), flip), w);
                    }
                    weights = weights.add(COLUMNS * STEP);
                }
            }
            for m in 0..M {
                sums[m] = _mm512_add_epi32(sums[m], others[m]);
            }
            sums
        }
    }

    #[inline(always)]
    unsafe fn codes<const M: usize>(
        sums: [__m512i; M],
        panel: *const u8,
        codes: Codes,
        out: *mut i8,
        stride: usize,
    ) {
        // SAFETY: the caller's panel has a head; `out` has room for COLUMNS codes of M rows. The caller
        // has seen to AVX-512.
        unsafe {
            let multiplier = _mm512_loadu_ps(panel.add(4 * COLUMNS).cast());
            for m in 0..M {
                let codes = requantize(sums[m], multiplier, codes);
                _mm_storeu_si128(out.add(m * stride).cast(), codes);
            }
        }
    }

    #[inline(always)]
    unsafe fn store(sums: __m512i, out: *mut i32) {
        // SAFETY: `out` has room for COLUMNS sums.
        unsafe { _mm512_storeu_si512(out.cast(), sums) }
    }
}

/// 128 in every byte, of which the compiler does not know: it would flip codes before it broadcasts them, which takes a
/// detour by an integer register.
#[inline(always)]
#[expect(unsafe_code, reason = "an empty instruction")]
fn flip() -> __m512i {
    // SAFETY: the set's functions are reached after the processor has reported AVX-512; there is no instruction.
    unsafe {
        let mut flip = _mm_set1_epi8(i8::MIN);
        asm!(
            "/* {flip} */",
            flip = inout(xmm_reg) flip,
            options(pure, nomem, nostack, preserves_flags),
        );
        _mm512_broadcast_i32x4(flip)
    }
}

/// Four codes, each plus 128, in every lane.
///
/// # Safety
/// The processor has AVX-512; the codes are readable.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
unsafe fn four(codes: *const i8, flip: __m512i) -> __m512i {
    // SAFETY: the caller's.
    unsafe {
        let codes = codes.cast::<i32>().read_unaligned();
        _mm512_xor_si512(_mm512_set1_epi32(codes), flip)
    }
}

/// [`crate::quantize::requantize`] of sixteen sums.
///
/// # Safety
/// The processor has AVX-512.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions")]
pub(super) unsafe fn requantize(sums: __m512i, multipliers: __m512, codes: Codes) -> __m128i {
    let (zero_point, [least, greatest]) = codes.parts();
    // SAFETY: the caller's.
    unsafe {
        let steps = _mm512_mul_ps(_mm512_cvtepi32_ps(sums), multipliers);
        let steps = _mm512_max_ps(steps, _mm512_set1_ps(least));
        let steps = _mm512_min_ps(steps, _mm512_set1_ps(greatest));
        // to nearest, ties to even: nothing here changes the rounding mode
        let codes = _mm512_add_epi32(_mm512_cvtps_epi32(steps), _mm512_set1_epi32(zero_point));
        _mm512_cvtepi32_epi8(codes)
    }
}
