//! The kernels in plain Rust: the definition that every other set is tested against.
//!
//! Bodies are `inline(always)`, so that each set compiles them with its own instructions. Loops
//! run over chunks of fixed length, which the compiler turns into vectors.

use super::{BinaryCodes, Depthwise, FloatWeights, Gemm, LANES, Out, Table, Taps, panel, source};
use crate::quantize::requantize;

pub(super) static TABLE: Table = Table {
    name: "portable",
    panel: panel::PORTABLE,
    rows: 1,
    gemm_i8,
    depthwise_i8,
    depthwise_3x3: None,
    winograd_i8: None,
    product_f32: |patch, weights, acc| product_f32::<LANES, 4>(patch, weights, acc),
    product_f32_one,
    depthwise_f32,
    max_i8,
    max_f32,
    sum_i8,
    sum_f32,
    add_i8,
};

/// Integer matrix product, one sum after the other: the definition.
fn gemm_i8(gemm: &Gemm<'_>, mut out: Out<'_>) -> Option<()> {
    let panel = TABLE.panel;
    let panels = gemm.check(panel)?;
    for (column, constants) in panels.chunks_exact(panel.bytes(gemm.depth())).enumerate() {
        let (head, weights) = constants.split_at_checked(panel.head())?;
        let (bias, multiplier) = head.split_first_chunk()?;
        let bias = i32::from_le_bytes(*bias);
        let multiplier = f32::from_le_bytes(*multiplier.first_chunk()?);
        for row in 0..gemm.rows() {
            let starts = gemm.starts.get(row * gemm.runs..)?.get(..gemm.runs)?;
            let mut sum = bias;
            for (&start, weights) in starts.iter().zip(weights.chunks_exact(gemm.run)) {
                let (source, at) = source(start);
                let run = gemm.sources[source].get(at..)?.get(..gemm.run)?;
                let products = run.iter().zip(weights);
                sum = products.fold(sum, |sum, (&x, &w)| {
                    sum.wrapping_add(i32::from(x) * i32::from(w as i8))
                });
            }
            match &mut out {
                Out::Codes(codes, out, stride) => {
                    *out.get_mut(row * *stride + column)? = requantize(sum, multiplier, *codes);
                }
                Out::Sums(out) => *out.get_mut(row * gemm.columns + column)? = sum,
            }
        }
    }
    Some(())
}

/// Integer depthwise convolution, some channels of one position after the other.
#[inline(always)]
pub(super) fn depthwise_i8(depthwise: &Depthwise<'_>, mut out: Out<'_>) -> Option<()> {
    let channels = depthwise.channels;
    let constants = depthwise.check()?;
    let (biases, rest) = constants.split_at_checked(4 * channels)?;
    let (multipliers, weights) = rest.split_at_checked(4 * channels)?;
    let (biases, multipliers) = (biases.as_chunks().0, multipliers.as_chunks().0);
    let places = depthwise.segments().flat_map(|(starts, count)| {
        (0..count).map(move |position| (starts, position * depthwise.step))
    });
    for (position, (starts, moved)) in places.enumerate() {
        for first in (0..channels).step_by(CHUNK) {
            let len = CHUNK.min(channels - first);
            let mut sums = [0i32; CHUNK];
            let sums = sums.get_mut(..len)?;
            for (sum, bias) in sums.iter_mut().zip(biases.get(first..)?) {
                *sum = i32::from_le_bytes(*bias);
            }
            for (&start, weights) in starts.iter().zip(weights.chunks_exact(channels)) {
                let (source, at) = source(start);
                let at = at + moved + first;
                let input = depthwise.sources[source].get(at..)?.get(..len)?;
                let products = input.iter().zip(weights.get(first..)?);
                for (sum, (&x, &w)) in sums.iter_mut().zip(products) {
                    *sum = sum.wrapping_add(i32::from(i16::from(x) * i16::from(w as i8)));
                }
            }
            match &mut out {
                Out::Codes(codes, out, stride) => {
                    let out = out.get_mut(position * *stride + first..)?.get_mut(..len)?;
                    let terms = sums.iter().zip(multipliers.get(first..)?);
                    for (out, (&sum, multiplier)) in out.iter_mut().zip(terms) {
                        *out = requantize(sum, f32::from_le_bytes(*multiplier), *codes);
                    }
                }
                Out::Sums(out) => {
                    let out = out.get_mut(position * channels + first..)?;
                    out.get_mut(..len)?.copy_from_slice(sums);
                }
            }
        }
    }
    Some(())
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
