//! Integer products by AVX-512's dot product of bytes.

#![expect(
    clippy::needless_range_loop,
    reason = "counted loops over registers, which the compiler unrolls"
)]

pub(super) mod columns;
mod depthwise;

use super::vector;
use crate::kernels::panel::{self, Panel};
use crate::kernels::tile::{Rows, Tile};
use crate::quantize::Codes;
use core::arch::asm;
use core::arch::x86_64::*;

/// Four products of an unsigned and a signed byte added to each sum by one instruction (`vpdpbusd`). A
/// code plus 128 is unsigned; the panel's biases make up for it. Two panels share the input codes.
pub(super) struct TwoPanels;

/// The same for a panel that is left.
pub(super) struct OnePanel;

const COLUMNS: usize = panel::AVX512.columns;
const STEP: usize = panel::AVX512.step;

/// The sums of a row by two panels, and the second panel.
#[derive(Clone, Copy)]
pub(super) struct Pair {
    sums: [__m512i; 2],
    second: *const u8,
}

#[expect(unsafe_code, reason = "vector instructions on checked memory")]
impl Tile for TwoPanels {
    const PANEL: Panel = panel::AVX512;
    const PANELS: usize = 2;
    const ROWS: usize = 8;
    type Sums = Pair;
    type Requantize = Codes;

    fn requantize(codes: Codes) -> Codes {
        codes
    }

    #[inline(always)]
    unsafe fn sums<const M: usize>(rows: Rows<M>, panels: *const u8) -> [Pair; M] {
        // SAFETY: the caller's panels lie one after the other; see `products`.
        unsafe {
            let second = panels.add(Self::PANEL.bytes(rows.depth()));
            let sums = products(rows, [panels, second]);
            let mut pairs = [Pair {
                sums: sums[0],
                second,
            }; M];
            for m in 1..M {
                pairs[m].sums = sums[m];
            }
            pairs
        }
    }

    #[inline(always)]
    unsafe fn codes<const M: usize>(
        sums: [Pair; M],
        panels: *const u8,
        codes: Codes,
        out: *mut i8,
        stride: usize,
    ) {
        // SAFETY: the caller's.
        unsafe { Self::some_codes(sums, panels, codes, out, stride, Self::COLUMNS) }
    }

    #[inline(always)]
    unsafe fn some_codes<const M: usize>(
        sums: [Pair; M],
        panels: *const u8,
        codes: Codes,
        out: *mut i8,
        stride: usize,
        keep: usize,
    ) {
        // SAFETY: the caller's panels have heads; `out` has room for `keep` codes of M rows. The caller has seen to AVX-512.
        unsafe {
            let kept = u32::MAX >> (Self::COLUMNS - keep);
            let a = multipliers(panels);
            let b = multipliers(sums[0].second);
            for m in (0..M).step_by(2) {
                let next = (m + 1).min(M - 1);
                let ([p, q], [r, s]) = (sums[m].sums, sums[next].sums);
                let rows = requantize_four([p, q, r, s], [a, b, a, b], codes);
                let (row, next_row) = (
                    _mm512_castsi512_si256(rows),
                    _mm512_extracti64x4_epi64::<1>(rows),
                );
                _mm256_mask_storeu_epi8(out.add(m * stride), kept, row);
                if next > m {
                    _mm256_mask_storeu_epi8(out.add(next * stride), kept, next_row);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn store<const M: usize>(sums: &[Pair; M], row: usize, out: *mut i32) {
        // SAFETY: `out` has room for two panels' sums.
        unsafe {
            _mm512_storeu_si512(out.cast(), sums[row].sums[0]);
            _mm512_storeu_si512(out.add(COLUMNS).cast(), sums[row].sums[1]);
        }
    }
}

#[expect(unsafe_code, reason = "vector instructions on checked memory")]
impl Tile for OnePanel {
    const PANEL: Panel = panel::AVX512;
    const ROWS: usize = 8;
    type Sums = __m512i;
    type Requantize = Codes;

    fn requantize(codes: Codes) -> Codes {
        codes
    }

    #[inline(always)]
    unsafe fn sums<const M: usize>(rows: Rows<M>, panel: *const u8) -> [__m512i; M] {
        // SAFETY: the caller's.
        let each = unsafe { products(rows, [panel]) };
        let mut sums = [each[0][0]; M];
        for m in 1..M {
            sums[m] = each[m][0];
        }
        sums
    }

    #[inline(always)]
    unsafe fn codes<const M: usize>(
        sums: [__m512i; M],
        panel: *const u8,
        codes: Codes,
        out: *mut i8,
        stride: usize,
    ) {
        // SAFETY: the caller's.
        unsafe { Self::some_codes(sums, panel, codes, out, stride, COLUMNS) }
    }

    #[inline(always)]
    unsafe fn some_codes<const M: usize>(
        sums: [__m512i; M],
        panel: *const u8,
        codes: Codes,
        out: *mut i8,
        stride: usize,
        keep: usize,
    ) {
        // SAFETY: the caller's panel has a head; `out` has room for `keep` codes of M rows. The caller has seen to AVX-512.
        unsafe {
            let kept = u16::MAX >> (COLUMNS - keep);
            let multipliers = multipliers(panel);
            for m in (0..M).step_by(4) {
                let four = [m, m + 1, m + 2, m + 3];
                let mut some = [sums[m]; 4];
                for i in 1..4 {
                    some[i] = sums[four[i].min(M - 1)];
                }
                let rows = requantize_four(some, [multipliers; 4], codes);
                let rows = [
                    _mm512_castsi512_si128(rows),
                    _mm512_extracti32x4_epi32::<1>(rows),
                    _mm512_extracti32x4_epi32::<2>(rows),
                    _mm512_extracti32x4_epi32::<3>(rows),
                ];
                for i in 0..4 {
                    if four[i] < M {
                        _mm_mask_storeu_epi8(out.add(four[i] * stride), kept, rows[i]);
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn store<const M: usize>(sums: &[__m512i; M], row: usize, out: *mut i32) {
        // SAFETY: `out` has room for COLUMNS sums.
        unsafe { _mm512_storeu_si512(out.cast(), sums[row]) }
    }
}

/// Biases and products of `M` rows by `P` panels.
///
/// # Safety
/// The processor has AVX-512. A panel has a head and, for each step of each run, COLUMNS x STEP codes; a run is a whole
/// number of steps, and its rows are readable.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
unsafe fn products<const M: usize, const P: usize>(
    rows: Rows<M>,
    mut panels: [*const u8; P],
) -> [[__m512i; P]; M] {
    // SAFETY: the caller's.
    unsafe {
        let flip = flip();
        let mut sums = [[_mm512_setzero_si512(); P]; M];
        for p in 0..P {
            let biases = _mm512_loadu_si512(panels[p].cast());
            for m in 0..M {
                sums[m][p] = biases;
            }
            panels[p] = panels[p].add(panel::AVX512.head());
        }
        let mut step = 0;
        for run in 0..rows.runs() {
            let begin = rows.begin(run);
            for at in (0..rows.run()).step_by(STEP) {
                let mut weights = [_mm512_setzero_si512(); P];
                for p in 0..P {
                    weights[p] = _mm512_loadu_si512(panels[p].add(step).cast());
                }
                for m in 0..M {
                    let codes = four(begin[m].add(at), flip);
                    for p in 0..P {
                        sums[m][p] = _mm512_dpbusd_epi32(sums[m][p], codes, weights[p]);
                    }
                }
                step += COLUMNS * STEP;
            }
        }
        sums
    }
}

/// The multipliers of a panel.
///
/// # Safety
/// The processor has AVX-512; the panel has a head.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
unsafe fn multipliers(panel: *const u8) -> __m512 {
    // SAFETY: the caller's.
    unsafe { _mm512_loadu_ps(panel.add(4 * COLUMNS).cast()) }
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
unsafe fn requantize(sums: __m512i, multipliers: __m512, codes: Codes) -> __m128i {
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

/// [`crate::quantize::requantize`] of sixteen sums four times: the codes of the first, then of the second, and so on.
///
/// # Safety
/// The processor has AVX-512.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions")]
unsafe fn requantize_four(sums: [__m512i; 4], multipliers: [__m512; 4], codes: Codes) -> __m512i {
    // SAFETY: the caller's.
    unsafe {
        let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        _mm512_permutexvar_epi32(order, vector::requantize(sums, multipliers, codes))
    }
}
