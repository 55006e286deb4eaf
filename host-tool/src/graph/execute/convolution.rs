//! Convolutions and fully connected layers: im2col and a matrix product, depthwise directly.

use super::matmul::{Rows, accumulate};
use crate::graph::patches::{POINT, Patches, inside};
use crate::graph::{Activation, Linear, Shape, Window};
use pulp::Arch;
use std::ops::Range;

/// Elements of a block of patches that is cut out at once: small enough for a second-level cache.
const BLOCK: usize = 1 << 16;
/// Rows of a block of patches, at least: each block packs the weights again.
const BLOCK_ROWS: usize = 128;

pub(super) fn conv_2d(
    linear: &Linear,
    window: Window,
    groups: usize,
    (input, in_shape): (&[f32], Shape),
    (output, out_shape): (&mut [f32], Shape),
) {
    let patches = Patches::of(in_shape, out_shape, window, groups);
    let (columns, depth) = (out_shape[3], patches.full_len());
    if patches.is_input() {
        return products(linear, groups, in_shape[3], input, output);
    }
    let rows = (BLOCK / depth.max(1))
        .max(BLOCK_ROWS)
        .min(patches.positions().max(1));
    let mut block = vec![0.0; rows * depth];
    for (index, out) in output.chunks_mut(rows * columns).enumerate() {
        let count = out.len() / columns;
        for (row, patch) in block.chunks_exact_mut(depth).take(count).enumerate() {
            patches.full_row(input, index * rows + row, patch);
        }
        products(linear, groups, in_shape[3], &block[..count * depth], out);
    }
}

pub(super) fn fully_connected(linear: &Linear, input: &[f32], output: &mut [f32]) {
    products(linear, 1, linear.shape[3], input, output);
}

/// `output = activation(patches * weights + bias)`, group by group, for whole rows of patches.
fn products(linear: &Linear, groups: usize, channels: usize, patches: &[f32], output: &mut [f32]) {
    let [columns, kh, kw, inner] = linear.shape;
    let (taps, depth) = (kh * kw, kh * kw * channels);
    let rows = output.len() / columns.max(1);
    for row in output.chunks_exact_mut(columns) {
        row.copy_from_slice(&linear.bias);
    }
    let per_group = columns / groups.max(1);
    let row_len = taps * inner;
    if groups == 1 {
        let (a, w) = (rows_of(patches, depth), rows_of(&linear.weights, depth));
        accumulate(output, columns, a, w, [rows, columns, depth]);
    } else {
        for group in 0..groups {
            for tap in 0..taps {
                let a = rows_of(&patches[tap * channels + group * inner..], depth);
                let w = rows_of(
                    &linear.weights[group * per_group * row_len + tap * inner..],
                    row_len,
                );
                let out = &mut output[group * per_group..];
                accumulate(out, columns, a, w, [rows, per_group, inner]);
            }
        }
    }
    activate(linear.activation, output);
}

fn rows_of(data: &[f32], stride: usize) -> Rows<'_> {
    Rows { data, stride }
}

/// Applies a fused activation in place.
pub(crate) fn activate(activation: Activation, values: &mut [f32]) {
    if activation == Activation::None {
        return;
    }
    let (min, max) = activation.bounds();
    Arch::new().dispatch(|| {
        for value in values {
            *value = value.max(min).min(max);
        }
    });
}

pub(super) fn depthwise_conv_2d(
    linear: &Linear,
    window: Window,
    (input, in_shape): (&[f32], Shape),
    (output, out_shape): (&mut [f32], Shape),
) {
    if window == POINT {
        scale_channels(linear, input, output);
    } else {
        let arch = Arch::new();
        for (y, line) in output
            .chunks_exact_mut(out_shape[2] * out_shape[3])
            .enumerate()
        {
            arch.dispatch(|| depthwise_line(linear, window, (input, in_shape), y, line));
        }
    }
    activate(linear.activation, output);
}

/// A depthwise convolution of one element: a factor and a term per channel.
fn scale_channels(linear: &Linear, input: &[f32], output: &mut [f32]) {
    let channels = linear.bias.len().max(1);
    for (out, row) in output
        .chunks_exact_mut(channels)
        .zip(input.chunks_exact(channels))
    {
        for (((o, x), w), b) in out
            .iter_mut()
            .zip(row)
            .zip(&linear.weights)
            .zip(&linear.bias)
        {
            *o = x * w + b;
        }
    }
}

/// One output row: blocks of channels are accumulated in registers.
#[inline(always)]
fn depthwise_line(
    linear: &Linear,
    window: Window,
    (input, [_, height, width, channels]): (&[f32], Shape),
    y: usize,
    line: &mut [f32],
) {
    let [kh, kw] = window.kernel.map(usize::from);
    let [dy, dx] = window.dilation.map(usize::from);
    let top = (y * usize::from(window.stride[0])) as isize - window.pad[0] as isize;
    let down = inside(top, kh, dy, height);
    for (x, out) in line.chunks_exact_mut(channels).enumerate() {
        let left = (x * usize::from(window.stride[1])) as isize - window.pad[1] as isize;
        let taps = Taps {
            down: down.clone(),
            across: inside(left, kw, dx, width),
            input: [
                top * width as isize + left,
                (dy * width) as isize,
                dx as isize,
            ],
            columns: kw,
            channels,
        };
        let mut c = 0;
        while c + 32 <= channels {
            taps.accumulate::<32>(linear, input, c, out);
            c += 32;
        }
        while c + 8 <= channels {
            taps.accumulate::<8>(linear, input, c, out);
            c += 8;
        }
        while c < channels {
            taps.accumulate::<1>(linear, input, c, out);
            c += 1;
        }
    }
}

/// The taps of a kernel at one output position that lie inside the input.
struct Taps {
    down: Range<usize>,
    across: Range<usize>,
    /// Pixel of the first tap, and the distance to the next one down and across.
    input: [isize; 3],
    columns: usize,
    channels: usize,
}

impl Taps {
    /// The output of `N` channels from `c` on.
    #[inline(always)]
    fn accumulate<const N: usize>(
        &self,
        linear: &Linear,
        input: &[f32],
        c: usize,
        out: &mut [f32],
    ) {
        let mut sums = [0.0f32; N];
        sums.copy_from_slice(&linear.bias[c..c + N]);
        let [first, down, across] = self.input;
        for ky in self.down.clone() {
            for kx in self.across.clone() {
                let pixel = (first + ky as isize * down + kx as isize * across) as usize;
                let x = &input[pixel * self.channels + c..][..N];
                let w = &linear.weights[(ky * self.columns + kx) * self.channels + c..][..N];
                for i in 0..N {
                    sums[i] += x[i] * w[i];
                }
            }
        }
        out[c..c + N].copy_from_slice(&sums);
    }
}
