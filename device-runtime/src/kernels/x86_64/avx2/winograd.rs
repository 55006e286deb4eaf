//! Convolutions in tiles of 4 x 4 output positions, by `vpmaddwd`: two input channels at a time, whose weights are side by side; see
//! [`winograd`](crate::kernels::winograd).

#![expect(
    clippy::needless_range_loop,
    reason = "counted loops over registers, which the compiler unrolls"
)]

use crate::kernels::winograd::convolve::{
    Before, COLUMNS, Factors, GROUP_POINTS, GROUP_WEIGHTS, NINTH, POINT_WEIGHTS, POSITIONS, TAPS,
    TILE_PRODUCTS, TOGETHER_COLUMNS, Vectors,
};
use crate::kernels::winograd::{GROUP, PATCH, POINTS, TILE, TOGETHER};
use crate::kernels::x86_64::vector::requantize;
use crate::quantize::Codes;
use core::arch::x86_64::*;

/// Columns of a vector of sums.
const LANES: usize = 8;

pub(in crate::kernels::x86_64) struct Avx2;

#[expect(unsafe_code, reason = "vector instructions on checked memory")]
impl Vectors for Avx2 {
    #[target_feature(enable = "avx2")]
    unsafe fn weights(codes: *const i8, tap: usize, column: usize, to: *mut i16) {
        // SAFETY: the caller's, here and in what follows.
        unsafe {
            // two channels of TOGETHER_COLUMNS columns
            let mut windows = [[_mm_setzero_si128(); TAPS]; GROUP / 2];
            for i in 0..TAPS {
                let pairs = transpose(codes.add(i * tap), TAPS * tap);
                for pair in 0..GROUP / 2 {
                    windows[pair][i] = pairs[pair];
                }
            }
            for pair in 0..GROUP / 2 {
                let to = to.add(2 * (pair * COLUMNS + column));
                transform_window(&windows[pair], to);
            }
        }
    }

    #[target_feature(enable = "avx2")]
    unsafe fn patch(patch: *const i8, row: usize, pixel: usize, to: *mut i16) {
        // SAFETY: the caller's.
        unsafe {
            let mut rows = [[_mm_setzero_si128(); PATCH]; PATCH];
            for y in 0..PATCH {
                let mut codes = [_mm_setzero_si128(); PATCH];
                for x in 0..PATCH {
                    let from = patch.add(y * row + x * pixel);
                    codes[x] = _mm_cvtepi8_epi16(_mm_loadl_epi64(from.cast()));
                }
                rows[y] = input_pass(codes);
            }
            for x in 0..PATCH {
                let mut column = [_mm_setzero_si128(); PATCH];
                for y in 0..PATCH {
                    column[y] = rows[y][x];
                }
                let points = input_pass(column);
                for y in 0..PATCH {
                    let to = to.add((y * PATCH + x) * TOGETHER * GROUP);
                    _mm_storeu_si128(to.cast(), points[y]);
                }
            }
        }
    }

    #[target_feature(enable = "avx2")]
    unsafe fn multiply(factors: Factors) {
        for point in 0..POINTS {
            for tiles in 0..factors.tiles {
                let (points, weights, products) = factors.at(point, tiles);
                // SAFETY: the caller's.
                unsafe { multiply_point(points, weights, factors.groups, products) };
            }
        }
    }

    #[target_feature(enable = "avx2")]
    unsafe fn sums(products: *const i32, before: Before, to: *mut i32) {
        for first in (0..COLUMNS).step_by(LANES) {
            // SAFETY: the caller's; these sums are read before they are written.
            unsafe {
                let sums = tile_sums(products, before, first);
                for position in 0..POSITIONS {
                    let to = to.add(position * COLUMNS + first);
                    _mm256_storeu_si256(to.cast(), sums[position]);
                }
            }
        }
    }

    #[target_feature(enable = "avx2")]
    unsafe fn codes(
        products: *const i32,
        before: Before,
        multipliers: *const f32,
        codes: Codes,
        to: &mut [[i8; COLUMNS]; POSITIONS],
    ) {
        let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        for first in (0..COLUMNS).step_by(LANES) {
            // SAFETY: the caller's.
            unsafe {
                let sums = tile_sums(products, before, first);
                let by = [_mm256_loadu_ps(multipliers.add(first)); TILE];
                for y in 0..TILE {
                    let mut row = [sums[TILE * y]; TILE];
                    for x in 1..TILE {
                        row[x] = sums[TILE * y + x];
                    }
                    let done = _mm256_permutevar8x32_epi32(requantize(row, by, codes), order);
                    let mut positions = [[0i8; LANES]; TILE];
                    _mm256_storeu_si256(positions.as_mut_ptr().cast(), done);
                    for x in 0..TILE {
                        to[TILE * y + x][first..first + LANES].copy_from_slice(&positions[x]);
                    }
                }
            }
        }
    }
}

/// GROUP codes of each of TOGETHER_COLUMNS columns, as those columns' codes of each channel; a vector has two channels.
///
/// # Safety
/// The processor has AVX2; the columns, `column` codes apart, have GROUP readable codes each.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
unsafe fn transpose(codes: *const i8, column: usize) -> [__m128i; GROUP / 2] {
    // SAFETY: the caller's.
    unsafe {
        let mut columns = [_mm_setzero_si128(); TOGETHER_COLUMNS];
        for i in 0..TOGETHER_COLUMNS {
            columns[i] = _mm_loadl_epi64(codes.add(i * column).cast());
        }
        // each pass moves the highest bit of the columns' index below that of the channels'
        let mut halves = [_mm_setzero_si128(); GROUP / 2];
        for i in 0..4 {
            halves[i] = _mm_unpacklo_epi8(columns[i], columns[i + 4]);
        }
        interleave(interleave(halves))
    }
}

/// Interleaves the eight halves: the first with the fifth, and so on.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions")]
unsafe fn interleave([a, b, c, d]: [__m128i; 4]) -> [__m128i; 4] {
    // SAFETY: the caller's.
    unsafe {
        [
            _mm_unpacklo_epi8(a, c),
            _mm_unpackhi_epi8(a, c),
            _mm_unpacklo_epi8(b, d),
            _mm_unpackhi_epi8(b, d),
        ]
    }
}

/// `G g G^T` of windows, a column of two channels each; the channels' results side by side.
///
/// # Safety
/// The processor has AVX2; `to` has room for two words of TOGETHER_COLUMNS columns at each of POINTS points, POINT_WEIGHTS apart.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
unsafe fn transform_window(taps: &[__m128i; TAPS], to: *mut i16) {
    // SAFETY: the caller's.
    unsafe {
        let mut rows = [[_mm256_setzero_si256(); PATCH]; 3];
        for y in 0..3 {
            let [a, b, c] = [taps[3 * y], taps[3 * y + 1], taps[3 * y + 2]];
            rows[y] = weights_pass([
                _mm256_cvtepi8_epi16(a),
                _mm256_cvtepi8_epi16(b),
                _mm256_cvtepi8_epi16(c),
            ]);
        }
        for x in 0..PATCH {
            let points = weights_pass([rows[0][x], rows[1][x], rows[2][x]]);
            for y in 0..PATCH {
                let first = _mm256_castsi256_si128(points[y]);
                let second = _mm256_extracti128_si256::<1>(points[y]);
                let to: *mut __m128i = to.add((y * PATCH + x) * POINT_WEIGHTS).cast();
                _mm_storeu_si128(to, _mm_unpacklo_epi16(first, second));
                _mm_storeu_si128(to.add(1), _mm_unpackhi_epi16(first, second));
            }
        }
    }
}

/// `G` times weights: at most 12 times the greatest.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions")]
unsafe fn weights_pass([a, b, c]: [__m256i; 3]) -> [__m256i; PATCH] {
    // SAFETY: the caller's.
    unsafe {
        let (six, minus_four) = (_mm256_set1_epi16(6), _mm256_set1_epi16(-4));
        let (outer, twice) = (_mm256_add_epi16(a, c), _mm256_add_epi16(b, b));
        let quadruple = _mm256_add_epi16(a, _mm256_slli_epi16::<2>(c));
        [
            _mm256_mullo_epi16(a, six),
            _mm256_mullo_epi16(_mm256_add_epi16(outer, b), minus_four),
            _mm256_mullo_epi16(_mm256_sub_epi16(outer, b), minus_four),
            _mm256_add_epi16(quadruple, twice),
            _mm256_sub_epi16(quadruple, twice),
            _mm256_mullo_epi16(c, six),
        ]
    }
}

/// `B^T` times codes: at most 10 times the greatest, after two passes 100 times, which is within 2^14.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions")]
unsafe fn input_pass([a, b, c, d, e, f]: [__m128i; PATCH]) -> [__m128i; PATCH] {
    // SAFETY: the caller's.
    unsafe {
        let even = _mm_sub_epi16(e, _mm_slli_epi16::<2>(c));
        let odd = _mm_sub_epi16(d, _mm_slli_epi16::<2>(b));
        let difference = _mm_sub_epi16(e, c);
        let half = _mm_sub_epi16(d, b);
        let twice = _mm_add_epi16(half, half);
        // 4 a - 5 c + e, and 4 b - 5 d + f
        let first = _mm_sub_epi16(_mm_slli_epi16::<2>(a), c);
        let last = _mm_sub_epi16(f, d);
        [
            _mm_add_epi16(first, even),
            _mm_add_epi16(even, odd),
            _mm_sub_epi16(even, odd),
            _mm_add_epi16(difference, twice),
            _mm_sub_epi16(difference, twice),
            _mm_sub_epi16(last, _mm_slli_epi16::<2>(half)),
        ]
    }
}

/// The products of a point of TOGETHER tiles with those of COLUMNS weights, over `groups` of channels.
///
/// # Safety
/// The processor has AVX2. For each group there are a point of TOGETHER tiles, GROUP_POINTS further, and POINT_WEIGHTS weights, GROUP_WEIGHTS further; `to` has
/// room for the COLUMNS products of TOGETHER tiles, TILE_PRODUCTS apart.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
unsafe fn multiply_point(
    mut points: *const i16,
    mut weights: *const i16,
    groups: usize,
    to: *mut i32,
) {
    // SAFETY: the caller's.
    unsafe {
        let mut sums = [[_mm256_setzero_si256(); COLUMNS / LANES]; TOGETHER];
        for _ in 0..groups {
            for pair in 0..GROUP / 2 {
                let w: *const __m256i = weights.add(2 * pair * COLUMNS).cast();
                let w = [_mm256_loadu_si256(w), _mm256_loadu_si256(w.add(1))];
                for tile in 0..TOGETHER {
                    let x: *const i32 = points.add(tile * GROUP + 2 * pair).cast();
                    let x = _mm256_set1_epi32(x.read_unaligned());
                    for i in 0..COLUMNS / LANES {
                        let products = _mm256_madd_epi16(x, w[i]);
                        sums[tile][i] = _mm256_add_epi32(sums[tile][i], products);
                    }
                }
            }
            points = points.add(GROUP_POINTS);
            weights = weights.add(GROUP_WEIGHTS);
        }
        for tile in 0..TOGETHER {
            for i in 0..COLUMNS / LANES {
                let to = to.add(tile * TILE_PRODUCTS + i * LANES);
                _mm256_storeu_si256(to.cast(), sums[tile][i]);
            }
        }
    }
}

/// `A^T m A` of the products of LANES columns from `first` on, which gives 576 times the sums, and with it the sums, `[position]`.
///
/// # Safety
/// See [`Vectors::sums`]; LANES columns from `first` on are there. The processor has AVX2.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
unsafe fn tile_sums(products: *const i32, before: Before, first: usize) -> [__m256i; POSITIONS] {
    // SAFETY: the caller's.
    unsafe {
        let mut columns = [[_mm256_setzero_si256(); TILE]; PATCH];
        for x in 0..PATCH {
            let mut column = [_mm256_setzero_si256(); PATCH];
            for y in 0..PATCH {
                let from = products.add((y * PATCH + x) * COLUMNS + first);
                column[y] = _mm256_loadu_si256(from.cast());
            }
            columns[x] = output_pass(column);
        }
        let mut sums = [_mm256_setzero_si256(); POSITIONS];
        for y in 0..TILE {
            let mut row = [_mm256_setzero_si256(); PATCH];
            for x in 0..PATCH {
                row[x] = columns[x][y];
            }
            let row = output_pass(row);
            for x in 0..TILE {
                let position = y * TILE + x;
                let before = before.sums.add(position * before.step + first);
                let sum = _mm256_mullo_epi32(row[x], _mm256_set1_epi32(NINTH));
                let sum = _mm256_srai_epi32::<6>(sum);
                sums[position] = _mm256_add_epi32(sum, _mm256_loadu_si256(before.cast()));
            }
        }
        sums
    }
}

/// `A^T` times products.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions")]
unsafe fn output_pass([a, b, c, d, e, f]: [__m256i; PATCH]) -> [__m256i; TILE] {
    // SAFETY: the caller's.
    unsafe {
        let (ones, odd_ones) = (_mm256_add_epi32(b, c), _mm256_sub_epi32(b, c));
        let (twos, odd_twos) = (_mm256_add_epi32(d, e), _mm256_sub_epi32(d, e));
        let doubled = _mm256_add_epi32(odd_twos, odd_twos);
        let last = _mm256_slli_epi32::<2>(_mm256_add_epi32(doubled, f));
        [
            _mm256_add_epi32(a, _mm256_add_epi32(ones, twos)),
            _mm256_add_epi32(odd_ones, doubled),
            _mm256_add_epi32(ones, _mm256_slli_epi32::<2>(twos)),
            _mm256_add_epi32(odd_ones, last),
        ]
    }
}
