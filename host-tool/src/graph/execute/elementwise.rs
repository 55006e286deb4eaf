//! Element-wise operators and the softmax.

use super::convolution::activate;
use crate::graph::{Activation, BinaryKind, Shape, UnaryKind};
use pulp::Arch;

pub(super) fn binary(
    kind: BinaryKind,
    activation: Activation,
    first: (&[f32], Shape),
    second: (&[f32], Shape),
    output: &mut [f32],
) {
    Arch::new().dispatch(|| match kind {
        BinaryKind::Add => broadcast(first, second, output, |a, b| a + b),
        BinaryKind::Sub => broadcast(first, second, output, |a, b| a - b),
        BinaryKind::Mul => broadcast(first, second, output, |a, b| a * b),
        BinaryKind::Max => broadcast(first, second, output, f32::max),
        BinaryKind::Min => broadcast(first, second, output, f32::min),
    });
    activate(activation, output);
}

#[inline(always)]
fn broadcast(
    (a, shape): (&[f32], Shape),
    (b, b_shape): (&[f32], Shape),
    output: &mut [f32],
    f: impl Fn(f32, f32) -> f32,
) {
    if shape == b_shape {
        for ((o, &a), &b) in output.iter_mut().zip(a).zip(b) {
            *o = f(a, b);
        }
        return;
    }
    let [_, _, width, channels] = shape;
    let pixels = output
        .chunks_exact_mut(channels)
        .zip(a.chunks_exact(channels));
    for (position, (out, a)) in pixels.enumerate() {
        let y = if b_shape[1] == 1 { 0 } else { position / width };
        let x = if b_shape[2] == 1 { 0 } else { position % width };
        let b = &b[(y * b_shape[2] + x) * b_shape[3]..][..b_shape[3]];
        if let &[b] = b {
            out.iter_mut().zip(a).for_each(|(o, &a)| *o = f(a, b));
        } else {
            out.iter_mut()
                .zip(a)
                .zip(b)
                .for_each(|((o, &a), &b)| *o = f(a, b));
        }
    }
}

pub(super) fn normalize(gain: &[f32], offset: &[f32], input: &[f32], output: &mut [f32]) {
    let rows = output.chunks_exact_mut(gain.len());
    for (row, input) in rows.zip(input.chunks_exact(gain.len())) {
        let constants = gain.iter().zip(offset);
        for ((o, &x), (gain, offset)) in row.iter_mut().zip(input).zip(constants) {
            *o = x * gain + offset;
        }
    }
}

pub(super) fn unary(kind: UnaryKind, input: &[f32], output: &mut [f32]) {
    for (o, &x) in output.iter_mut().zip(input) {
        *o = edgeprune_runtime::math::unary(kind, x);
    }
}

pub(super) fn softmax(input: &[f32], channels: usize, output: &mut [f32]) {
    let rows = input.chunks_exact(channels.max(1));
    for (row, out) in rows.zip(output.chunks_exact_mut(channels.max(1))) {
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut sum = 0.0;
        for (o, x) in out.iter_mut().zip(row) {
            *o = (x - max).exp();
            sum += *o;
        }
        out.iter_mut().for_each(|o| *o /= sum);
    }
}
