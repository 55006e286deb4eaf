//! Operators that move elements: concatenation, padding, slices, transposes and resizing.

use crate::graph::{ResizeCoordinates, ResizeKind, ResizeLine, Shape};

pub(super) fn concat(axis: usize, inputs: &[&[f32]], shapes: &[Shape], output: &mut [f32]) {
    let runs = shapes
        .iter()
        .map(|shape| shape[axis..].iter().product::<usize>());
    let runs: Vec<usize> = runs.collect();
    let total: usize = runs.iter().sum();
    for (outer, out) in output.chunks_exact_mut(total.max(1)).enumerate() {
        let mut at = 0;
        for (input, &run) in inputs.iter().zip(&runs) {
            out[at..at + run].copy_from_slice(&input[outer * run..][..run]);
            at += run;
        }
    }
}

pub(super) fn pad(
    before: [usize; 3],
    value: f32,
    (input, [_, height, width, channels]): (&[f32], Shape),
    (output, out_shape): (&mut [f32], Shape),
) {
    output.fill(value);
    for y in 0..height {
        for x in 0..width {
            let to = ((y + before[0]) * out_shape[2] + x + before[1]) * out_shape[3] + before[2];
            let from = (y * width + x) * channels;
            output[to..to + channels].copy_from_slice(&input[from..from + channels]);
        }
    }
}

pub(super) fn slice(
    start: [usize; 3],
    step: [usize; 3],
    (input, [_, _, width, channels]): (&[f32], Shape),
    (output, [_, out_height, out_width, out_channels]): (&mut [f32], Shape),
) {
    let mut out = output.iter_mut();
    for y in 0..out_height {
        for x in 0..out_width {
            let row = start[0] + y * step[0];
            let from = (row * width + start[1] + x * step[1]) * channels + start[2];
            for (c, o) in out.by_ref().take(out_channels).enumerate() {
                *o = input[from + c * step[2]];
            }
        }
    }
}

pub(super) fn transpose(perm: [usize; 4], input: &[f32], shape: Shape, output: &mut [f32]) {
    let strides = [
        shape[1] * shape[2] * shape[3],
        shape[2] * shape[3],
        shape[3],
        1,
    ];
    let [_, height, width, channels] = perm.map(|axis| shape[axis]);
    let [_, down, across, along] = perm.map(|axis| strides[axis]);
    let mut out = output.iter_mut();
    for y in 0..height {
        for x in 0..width {
            let from = y * down + x * across;
            for (c, o) in out.by_ref().take(channels).enumerate() {
                *o = input[from + c * along];
            }
        }
    }
}

pub(super) fn resize(
    kind: ResizeKind,
    coordinates: ResizeCoordinates,
    (input, [_, height, width, channels]): (&[f32], Shape),
    (output, [_, out_height, out_width, _]): (&mut [f32], Shape),
) {
    let rows: Vec<_> = taps(kind, coordinates, 0, [height, out_height]);
    let columns: Vec<_> = taps(kind, coordinates, 1, [width, out_width]);
    let pixel = |y: usize, x: usize| &input[(y * width + x) * channels..][..channels];
    let mut pixels = output.chunks_exact_mut(channels);
    for &(y0, y1, fy) in &rows {
        for (&(x0, x1, fx), out) in columns.iter().zip(&mut pixels) {
            let corners = [pixel(y0, x0), pixel(y0, x1), pixel(y1, x0), pixel(y1, x1)];
            for (c, o) in out.iter_mut().enumerate() {
                let [a, b, d, e] = corners.map(|corner| corner[c]);
                let (top, bottom) = (a + (b - a) * fx, d + (e - d) * fx);
                *o = top + (bottom - top) * fy;
            }
        }
    }
}

/// For each output coordinate along an axis (0: height, 1: width), the two input coordinates and
/// the weight of the second.
pub(crate) fn taps(
    kind: ResizeKind,
    coordinates: ResizeCoordinates,
    axis: usize,
    [size, out_size]: [usize; 2],
) -> Vec<(usize, usize, f32)> {
    if let ResizeCoordinates::Lines { height, width } = coordinates {
        let line = if axis == 0 { height } else { width };
        return (0..out_size)
            .map(|out| tap_on_line(kind, line, size, out))
            .collect();
    }
    let scale = size as f32 / out_size as f32;
    let corners = size.saturating_sub(1) as f32 / out_size.saturating_sub(1).max(1) as f32;
    let last = size.saturating_sub(1);
    let tap = |out: usize| {
        let at = match coordinates {
            ResizeCoordinates::Asymmetric => out as f32 * scale,
            ResizeCoordinates::HalfPixel => (out as f32 + 0.5) * scale - 0.5,
            ResizeCoordinates::AlignCorners => out as f32 * corners,
            ResizeCoordinates::Lines { .. } => out as f32,
        };
        let at = at.clamp(0.0, last as f32);
        let low = (at.floor() as usize).min(last);
        match kind {
            ResizeKind::Nearest => (low, low, 0.0),
            ResizeKind::Bilinear => (low, (low + 1).min(last), at - low as f32),
        }
    };
    (0..out_size).map(tap).collect()
}

/// One of [`taps`], exact but for the weight's rounding.
fn tap_on_line(kind: ResizeKind, line: ResizeLine, size: usize, out: usize) -> (usize, usize, f32) {
    let (start, step) = (i128::from(line.start), i128::from(line.step));
    let denominator = i128::from(line.denominator.max(1));
    let numerator = start + out as i128 * step;
    let last = size.saturating_sub(1);
    let first = numerator.div_euclid(denominator);
    match usize::try_from(first) {
        Err(_) => (0, 0, 0.0),
        Ok(first) if first >= last => (last, last, 0.0),
        Ok(first) if kind == ResizeKind::Nearest => (first, first, 0.0),
        Ok(first) => {
            let rest = numerator.rem_euclid(denominator);
            (first, first + 1, rest as f32 / denominator as f32)
        }
    }
}
