//! The kernels in plain Rust: the definition that every other set is tested against.
//!
//! Bodies are `inline(always)`, so that each set compiles them with its own instructions. Loops
//! run over chunks of fixed length, which the compiler turns into vectors.

use super::{BinaryCodes, FloatWeights, LANES, Product, Table, Taps};
use crate::quantize::{Codes, requantize};

pub(super) static TABLE: Table = Table {
    name: "portable",
    product_i8: product_i8_plain,
    finish_i8,
    product_f32: |patch, weights, acc| product_f32::<LANES, 4>(patch, weights, acc),
    product_f32_one,
    depthwise_i8,
    depthwise_f32,
    max_i8,
    max_f32,
    sum_i8,
    sum_f32,
    add_i8,
};

/// Integer matrix product, one sum after the other: the definition.
fn product_i8_plain(product: &Product<'_>, acc: &mut [i32]) -> Option<()> {
    let columns = product.columns();
    let acc = acc.get_mut(..product.count * columns)?;
    let depth = product.depth.max(1);
    for (row, acc) in acc.chunks_exact_mut(columns.max(1)).enumerate() {
        let row = product.rows.get(row * product.stride..)?.get(..depth)?;
        for (acc, column) in acc.iter_mut().zip(product.weights.chunks_exact(depth)) {
            let products = row.iter().zip(column);
            let products = products.map(|(&x, &w)| i32::from(x) * i32::from(w));
            *acc = products.fold(0, i32::wrapping_add);
        }
    }
    Some(())
}

#[inline(always)]
pub(super) fn finish_i8(
    acc: &[i32],
    bias: &[i32],
    multiplier: &[f32],
    codes: Codes,
    out: &mut [i8],
) {
    let len = out
        .len()
        .min(acc.len())
        .min(bias.len())
        .min(multiplier.len());
    let (acc, bias, multiplier) = (&acc[..len], &bias[..len], &multiplier[..len]);
    let out = &mut out[..len];
    for i in 0..len {
        out[i] = requantize(acc[i].wrapping_add(bias[i]), multiplier[i], codes);
    }
}

/// `P` output positions by all columns, `N` columns at a time.
#[inline(always)]
pub(super) fn product_f32<const P: usize, const N: usize>(
    patch: &[[f32; P]],
    weights: FloatWeights<'_>,
    acc: &mut [[f32; P]],
) -> Option<()> {
    match weights {
        FloatWeights::Floats(weights) => {
            product_by::<P, N, _>(patch, weights, |bytes| f32::from_le_bytes(*bytes), acc)
        }
        FloatWeights::Codes(weights) => {
            product_by::<P, N, _>(patch, weights, |&code| f32::from(code), acc)
        }
    }
}

/// One output position, where only the columns can be computed side by side.
pub(super) fn product_f32_one(
    patch: &[[f32; 1]],
    weights: FloatWeights<'_>,
    acc: &mut [[f32; 1]],
) -> Option<()> {
    product_f32::<1, 8>(patch, weights, acc)
}

#[inline(always)]
fn product_by<const P: usize, const N: usize, W>(
    patch: &[[f32; P]],
    weights: &[W],
    value: impl Fn(&W) -> f32,
    acc: &mut [[f32; P]],
) -> Option<()> {
    let columns = acc.len();
    let (blocks, rest) = acc.as_chunks_mut::<N>();
    let done = columns - rest.len();
    for (block, acc) in blocks.iter_mut().enumerate() {
        *acc = float_tile::<P, N, W>(patch, weights, block * N, &value)?;
    }
    for (n, acc) in rest.iter_mut().enumerate() {
        [*acc] = float_tile::<P, 1, W>(patch, weights, done + n, &value)?;
    }
    Some(())
}

/// The columns from `first` on.
#[inline(always)]
fn float_tile<const P: usize, const N: usize, W>(
    patch: &[[f32; P]],
    weights: &[W],
    first: usize,
    value: &impl Fn(&W) -> f32,
) -> Option<[[f32; P]; N]> {
    let depth = patch.len();
    let mut columns: [&[W]; N] = [&[]; N];
    for (n, column) in columns.iter_mut().enumerate() {
        *column = weights.get((first + n) * depth..)?.get(..depth)?;
    }
    let mut sums = [[0.0f32; P]; N];
    for (k, x) in patch.iter().enumerate() {
        for n in 0..N {
            let w = value(columns[n].get(k)?);
            for p in 0..P {
                sums[n][p] += w * x[p];
            }
        }
    }
    Some(sums)
}

/// Channels that a reduction over taps keeps in registers.
const CHUNK: usize = 32;
const SHORT: usize = 8;
/// The weights of a reduction without weights.
const UNWEIGHTED: &[()] = &[(); isize::MAX as usize];

#[inline(always)]
pub(super) fn depthwise_i8(
    taps: &Taps<'_, i8>,
    weights: &[i8],
    zero_point: i8,
    acc: &mut [i32],
) -> Option<()> {
    // |x - zero_point| <= 255 and |w| <= 128: the product fits an i16
    let zero_point = i16::from(zero_point);
    reduce(taps, weights, acc, |acc, x, w| {
        let product = (i16::from(x) - zero_point).wrapping_mul(i16::from(w));
        acc.wrapping_add(i32::from(product))
    })
}

#[inline(always)]
pub(super) fn depthwise_f32(
    taps: &Taps<'_, f32>,
    weights: FloatWeights<'_>,
    acc: &mut [f32],
) -> Option<()> {
    match weights {
        FloatWeights::Floats(weights) => reduce(taps, weights, acc, |acc, x, w| {
            acc + x * f32::from_le_bytes(w)
        }),
        FloatWeights::Codes(weights) => {
            reduce(taps, weights, acc, |acc, x, w| acc + x * f32::from(w))
        }
    }
}

/// Tap after tap over the whole row: as an accumulator of few bytes, the compiler would pack it
/// into integer registers.
#[inline(always)]
pub(super) fn max_i8(taps: &Taps<'_, i8>, out: &mut [i8]) -> Option<()> {
    let out = out.get_mut(..taps.channels)?;
    for row in taps.rows.clone() {
        for column in taps.columns.clone() {
            let at = taps.offset(row, column);
            let input = taps.input.get(at..)?.get(..taps.channels)?;
            for (max, &x) in out.iter_mut().zip(input) {
                *max = if x > *max { x } else { *max };
            }
        }
    }
    Some(())
}

#[inline(always)]
pub(super) fn max_f32(taps: &Taps<'_, f32>, out: &mut [f32]) -> Option<()> {
    reduce(
        taps,
        UNWEIGHTED,
        out,
        |max, x, ()| if x > max { x } else { max },
    )
}

#[inline(always)]
pub(super) fn sum_i8(taps: &Taps<'_, i8>, acc: &mut [i32]) -> Option<()> {
    reduce(taps, UNWEIGHTED, acc, |acc, x, ()| {
        acc.wrapping_add(i32::from(x))
    })
}

#[inline(always)]
pub(super) fn sum_f32(taps: &Taps<'_, f32>, acc: &mut [f32]) -> Option<()> {
    reduce(taps, UNWEIGHTED, acc, |acc, x, ()| acc + x)
}

/// `out[c] = fold(out[c], input[tap][c], weights[tap][c])`, in order of the taps.
#[inline(always)]
fn reduce<T: Copy, W: Copy, A: Copy>(
    taps: &Taps<'_, T>,
    weights: &[W],
    out: &mut [A],
    fold: impl Fn(A, T, W) -> A,
) -> Option<()> {
    let out = out.get_mut(..taps.channels)?;
    let (chunks, rest) = out.as_chunks_mut::<CHUNK>();
    let whole = chunks.len() * CHUNK;
    for (i, chunk) in chunks.iter_mut().enumerate() {
        reduce_chunk(taps, weights, i * CHUNK, chunk, &fold)?;
    }
    let (chunks, rest) = rest.as_chunks_mut::<SHORT>();
    let short = chunks.len() * SHORT;
    for (i, chunk) in chunks.iter_mut().enumerate() {
        reduce_chunk(taps, weights, whole + i * SHORT, chunk, &fold)?;
    }
    for (i, one) in rest.iter_mut().enumerate() {
        let one = core::array::from_mut(one);
        reduce_chunk(taps, weights, whole + short + i, one, &fold)?;
    }
    Some(())
}

#[inline(always)]
fn reduce_chunk<T: Copy, W: Copy, A: Copy, const C: usize>(
    taps: &Taps<'_, T>,
    weights: &[W],
    first: usize,
    out: &mut [A; C],
    fold: &impl Fn(A, T, W) -> A,
) -> Option<()> {
    let mut acc = *out;
    for row in taps.rows.clone() {
        for column in taps.columns.clone() {
            let at = taps.offset(row, column) + first;
            let input: &[T; C] = taps.input.get(at..)?.first_chunk()?;
            let tap = (row * taps.window_width + column) * taps.channels + first;
            let weights: &[W; C] = weights.get(tap..)?.first_chunk()?;
            for c in 0..C {
                acc[c] = fold(acc[c], input[c], weights[c]);
            }
        }
    }
    *out = acc;
    Some(())
}

#[inline(always)]
pub(super) fn add_i8(a: &[i8], b: &[i8], operands: &BinaryCodes, out: &mut [i8]) {
    let [za, zb] = operands.zero_points.map(i32::from);
    let [ma, mb] = operands.multipliers;
    each(a, b, out, |a, b| {
        let a = (i32::from(a) - za) as f32 * ma;
        let b = (i32::from(b) - zb) as f32 * mb;
        operands.codes.round(a + b)
    });
}

/// `out[i] = f(a[i], b[i])`; a `b` of one element stands for every `i`.
#[inline(always)]
pub(crate) fn each<T: Copy>(a: &[T], b: &[T], out: &mut [T], f: impl Fn(T, T) -> T) {
    match *b {
        [b] => out.iter_mut().zip(a).for_each(|(out, &a)| *out = f(a, b)),
        _ => {
            let operands = a.iter().zip(b);
            out.iter_mut()
                .zip(operands)
                .for_each(|(out, (&a, &b))| *out = f(a, b));
        }
    }
}
