//! Integer products by AVX2's sums of byte products.

#![expect(
    clippy::needless_range_loop,
    reason = "counted loops over registers, which the compiler unrolls"
)]

pub(super) mod depthwise;
pub(super) mod winograd;

use super::vector::requantize;
use crate::kernels::panel::{self, Panel};
use crate::kernels::tile::{Rows, Tile};
use crate::quantize::Codes;
use core::arch::x86_64::*;

/// Products of an unsigned and a signed byte, added in pairs (`vpmaddubsw`), then in fours (`vpmaddwd`). A code's sign goes to
/// the weight (`vpsignb`), so that the code is unsigned: 128 x 127 twice stays below 2^15, and nothing saturates. `PANELS` panels share the input codes.
pub(super) struct Signs<const PANELS: usize>;

const COLUMNS: usize = panel::AVX2.columns;
const STEP: usize = panel::AVX2.step;

/// The sums of a row.
#[derive(Clone, Copy)]
pub(super) struct Sums<const PANELS: usize> {
    sums: [__m256i; PANELS],
    /// Bytes from a panel to the next.
    panel: usize,
}

#[expect(unsafe_code, reason = "vector instructions on checked memory")]
impl<const PANELS: usize> Tile for Signs<PANELS> {
    const PANEL: Panel = panel::AVX2;
    const PANELS: usize = PANELS;
    const ROWS: usize = if PANELS == 4 { 2 } else { 4 };
    type Sums = Sums<PANELS>;
    type Requantize = Codes;

    fn requantize(codes: Codes) -> Codes {
        codes
    }

    #[inline(always)]
    unsafe fn sums<const M: usize>(rows: Rows<M>, panels: *const u8) -> [Sums<PANELS>; M] {
        let panel = Self::PANEL.bytes(rows.depth());
        // SAFETY: the caller's panels have heads and, for each step of each run, COLUMNS x STEP codes; a run is
        // a whole number of steps, and its rows are readable. The caller has seen to AVX2.
        unsafe {
            let mut all = [Sums {
                sums: [_mm256_setzero_si256(); PANELS],
                panel,
            }; M];
            for p in 0..PANELS {
                let biases = _mm256_loadu_si256(panels.add(p * panel).cast());
                for m in 0..M {
                    all[m].sums[p] = biases;
                }
            }
            let ones = _mm256_set1_epi16(1);
            let mut weights = panels.add(Self::PANEL.head());
            for run in 0..rows.runs() {
                let begin = rows.begin(run);
                for at in (0..rows.run()).step_by(STEP) {
                    let mut w = [ones; PANELS];
                    for p in 0..PANELS {
                        w[p] = _mm256_loadu_si256(weights.add(p * panel).cast());
                    }
                    for m in 0..M {
                        let codes = begin[m].add(at).cast::<i32>().read_unaligned();
                        let codes = _mm256_set1_epi32(codes);
                        let unsigned = _mm256_abs_epi8(codes);
                        for p in 0..PANELS {
                            let pairs =
                                _mm256_maddubs_epi16(unsigned, _mm256_sign_epi8(w[p], codes));
                            let fours = _mm256_madd_epi16(pairs, ones);
                            all[m].sums[p] = _mm256_add_epi32(all[m].sums[p], fours);
                        }
                    }
                    weights = weights.add(COLUMNS * STEP);
                }
            }
            all
        }
    }

    #[inline(always)]
    unsafe fn codes<const M: usize>(
        sums: [Sums<PANELS>; M],
        panels: *const u8,
        codes: Codes,
        out: *mut i8,
        stride: usize,
    ) {
        // SAFETY: the caller's panels have heads; `out` has room for a tile. The caller has seen to AVX2.
        unsafe {
            let mut multipliers = [_mm256_setzero_ps(); PANELS];
            for p in 0..PANELS {
                let head = panels.add(p * sums[0].panel);
                multipliers[p] = _mm256_loadu_ps(head.add(4 * COLUMNS).cast());
            }
            // four times eight sums at a time, of one row or more
            for first in (0..M * PANELS).step_by(4) {
                let mut some = [sums[0].sums[0]; 4];
                let mut by = [multipliers[0]; 4];
                for i in 0..4 {
                    let at = (first + i).min(M * PANELS - 1);
                    some[i] = sums[at / PANELS].sums[at % PANELS];
                    by[i] = multipliers[at % PANELS];
                }
                let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
                let done = _mm256_permutevar8x32_epi32(requantize(some, by, codes), order);
                if PANELS == 4 {
                    _mm256_storeu_si256(out.add(first / 4 * stride).cast(), done);
                } else {
                    let mut eights = [0i64; 4];
                    _mm256_storeu_si256(eights.as_mut_ptr().cast(), done);
                    for i in 0..4 {
                        let at = first + i;
                        if at < M * PANELS {
                            let to = out.add(at / PANELS * stride + at % PANELS * COLUMNS);
                            to.cast::<i64>().write_unaligned(eights[i]);
                        }
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn store<const M: usize>(sums: &[Sums<PANELS>; M], row: usize, out: *mut i32) {
        // SAFETY: `out` has room for the columns' sums.
        unsafe {
            for p in 0..PANELS {
                _mm256_storeu_si256(out.add(p * COLUMNS).cast(), sums[row].sums[p]);
            }
        }
    }
}
