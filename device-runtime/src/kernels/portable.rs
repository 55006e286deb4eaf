//! The kernels in plain Rust: the definition that every other set is tested against.
//!
//! Bodies are `inline(always)`, so that each set compiles them with its own instructions. Loops
//! run over chunks of fixed length, which the compiler turns into vectors.

use super::{BinaryCodes, Depthwise, DepthwiseF32, Gemm, GemmF32, Out, Table, Taps, panel, source};
use crate::quantize::{clamp, requantize};
use edgeprune_format::manifest::float_place;

pub(super) static TABLE: Table = Table {
    name: "portable",
    products_per_microsecond: 1_000,
    panel: panel::PORTABLE,
    tile: [1, panel::PORTABLE.columns],
    gemm_i8,
    sparse: None,
    depthwise_i8: kernel_of!("depthwise_conv_2d", depthwise_i8, depthwise, out),
    depthwise_3x3: None,
    winograd_i8: None,
    convolution_3x3: None,
    rows_f32: 1,
    gemm_f32: kernel_of!("float_layers", gemm_f32, gemm, out, stride),
    depthwise_f32: kernel_of!("float_layers", depthwise_f32, depthwise, out),
    max_i8: kernel_of!("max_pool_2d", max_i8, taps, out),
    max_f32: kernel_of!("max_pool_2d", max_f32, taps, out),
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
                Out::Floats((min, max), out, stride) => {
                    let value = sum as f32 * multiplier;
                    *out.get_mut(row * *stride + column)? = clamp(value, *min, *max);
                }
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
                Out::Floats((min, max), out, stride) => {
                    let out = out.get_mut(position * *stride + first..)?.get_mut(..len)?;
                    let terms = sums.iter().zip(multipliers.get(first..)?);
                    for (out, (&sum, multiplier)) in out.iter_mut().zip(terms) {
                        let value = sum as f32 * f32::from_le_bytes(*multiplier);
                        *out = clamp(value, *min, *max);
                    }
                }
            }
        }
    }
    Some(())
}

/// Float matrix product, one sum after the other: the definition.
fn gemm_f32(gemm: &GemmF32<'_>, out: &mut [f32], stride: usize) -> Option<()> {
    gemm.check()?;
    let constants = &gemm.constants;
    let channels = constants.bias.len();
    for (row, starts) in gemm.starts.chunks_exact(gemm.runs).enumerate() {
        for column in 0..channels {
            let mut sum = 0.0;
            let values = starts
                .iter()
                .flat_map(|&start| floats(gemm.sources, start, gemm.run));
            for (k, x) in values.enumerate() {
                let w = constants
                    .weights
                    .get(float_place(column, k, gemm.depth(), channels))?;
                sum = libm::fmaf(x, w, sum);
            }
            *out.get_mut(row * stride + column)? = constants.finish(column, sum)?;
        }
    }
    Some(())
}

/// Float depthwise convolution, one sum after the other.
fn depthwise_f32(depthwise: &DepthwiseF32<'_>, out: &mut [f32]) -> Option<()> {
    depthwise.check()?;
    let constants = &depthwise.constants;
    let channels = constants.bias.len();
    let places = depthwise.segments().flat_map(|(starts, count)| {
        (0..count).map(move |position| (starts, position * depthwise.step))
    });
    for (out, (starts, moved)) in out.chunks_exact_mut(channels).zip(places) {
        for (channel, out) in out.iter_mut().enumerate() {
            let mut sum = 0.0;
            for (tap, start) in starts.iter().enumerate() {
                let at = start + (moved + channel * size_of::<f32>()) as u32;
                let x = floats(depthwise.sources, at, size_of::<f32>()).next()?;
                sum = libm::fmaf(x, constants.weights.get(tap * channels + channel)?, sum);
            }
            *out = constants.finish(channel, sum)?;
        }
    }
    Some(())
}

/// The floats in `len` bytes from a start on.
fn floats(sources: [&[i8]; 2], start: u32, len: usize) -> impl Iterator<Item = f32> {
    let (source, at) = source(start);
    let run = sources[source].get(at..).and_then(|from| from.get(..len));
    let words = run.unwrap_or_default().as_chunks().0.iter();
    words.map(|word: &[i8; 4]| f32::from_ne_bytes(word.map(|byte| byte as u8)))
}

/// Channels that a reduction over taps keeps in registers.
const CHUNK: usize = 32;
const SHORT: usize = 8;

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
    reduce(taps, out, |max, x| if x > max { x } else { max })
}

#[inline(always)]
pub(super) fn sum_i8(taps: &Taps<'_, i8>, acc: &mut [i32]) -> Option<()> {
    reduce(taps, acc, |acc, x| acc.wrapping_add(i32::from(x)))
}

#[inline(always)]
pub(super) fn sum_f32(taps: &Taps<'_, f32>, acc: &mut [f32]) -> Option<()> {
    reduce(taps, acc, |acc, x| acc + x)
}

/// `out[c] = fold(out[c], input[tap][c])`, in order of the taps.
#[inline(always)]
fn reduce<T: Copy, A: Copy>(
    taps: &Taps<'_, T>,
    out: &mut [A],
    fold: impl Fn(A, T) -> A,
) -> Option<()> {
    let out = out.get_mut(..taps.channels)?;
    let (chunks, rest) = out.as_chunks_mut::<CHUNK>();
    let whole = chunks.len() * CHUNK;
    for (i, chunk) in chunks.iter_mut().enumerate() {
        reduce_chunk(taps, i * CHUNK, chunk, &fold)?;
    }
    let (chunks, rest) = rest.as_chunks_mut::<SHORT>();
    let short = chunks.len() * SHORT;
    for (i, chunk) in chunks.iter_mut().enumerate() {
        reduce_chunk(taps, whole + i * SHORT, chunk, &fold)?;
    }
    for (i, one) in rest.iter_mut().enumerate() {
        let one = core::array::from_mut(one);
        reduce_chunk(taps, whole + short + i, one, &fold)?;
    }
    Some(())
}

#[inline(always)]
fn reduce_chunk<T: Copy, A: Copy, const C: usize>(
    taps: &Taps<'_, T>,
    first: usize,
    out: &mut [A; C],
    fold: &impl Fn(A, T) -> A,
) -> Option<()> {
    let mut acc = *out;
    for row in taps.rows.clone() {
        for column in taps.columns.clone() {
            let at = taps.offset(row, column) + first;
            let input: &[T; C] = taps.input.get(at..)?.first_chunk()?;
            for c in 0..C {
                acc[c] = fold(acc[c], input[c]);
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

/// `out[i] = f(a[i], b[i])`.
#[inline(always)]
pub(crate) fn each<T: Copy>(a: &[T], b: &[T], out: &mut [T], f: impl Fn(T, T) -> T) {
    let operands = a.iter().zip(b);
    out.iter_mut()
        .zip(operands)
        .for_each(|(out, (&a, &b))| *out = f(a, b));
}
