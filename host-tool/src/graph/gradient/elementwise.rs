//! Element-wise operators and the softmax.

use crate::graph::{BinaryKind, Shape, UnaryKind};
use edgeprune_runtime::math::unary as function;
use pulp::Arch;
use std::f32::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

/// `operands` are both operands with their shapes; the gradient is that of number `operand`.
pub(super) fn binary(
    kind: BinaryKind,
    operands: [(&[f32], Shape); 2],
    gradient: &[f32],
    (operand, into): (usize, &mut [f32]),
) {
    Arch::new().dispatch(|| match (kind, operand) {
        (BinaryKind::Add, 0) | (BinaryKind::Sub, 0) => {
            first(operands, gradient, into, |_, _| 1.0);
        }
        (BinaryKind::Add, _) => second(operands, gradient, into, |_, _| 1.0),
        (BinaryKind::Sub, _) => second(operands, gradient, into, |_, _| -1.0),
        (BinaryKind::Mul, 0) => first(operands, gradient, into, |_, b| b),
        (BinaryKind::Mul, _) => second(operands, gradient, into, |a, _| a),
        (BinaryKind::Max, 0) => first(operands, gradient, into, |a, b| factor(a >= b)),
        (BinaryKind::Max, _) => second(operands, gradient, into, |a, b| factor(a < b)),
        (BinaryKind::Min, 0) => first(operands, gradient, into, |a, b| factor(a <= b)),
        (BinaryKind::Min, _) => second(operands, gradient, into, |a, b| factor(a > b)),
    });
}

#[inline(always)]
fn factor(passes: bool) -> f32 {
    if passes { 1.0 } else { 0.0 }
}

/// Adds the gradient of the first operand, given the derivative with respect to it.
#[inline(always)]
fn first(
    operands: [(&[f32], Shape); 2],
    gradient: &[f32],
    into: &mut [f32],
    derivative: impl Fn(f32, f32) -> f32,
) {
    broadcast(operands, |at, a, from, b| {
        let pixel = at..at + a.len();
        let rows = into[pixel.clone()].iter_mut().zip(&gradient[pixel]).zip(a);
        if let [b] = operands[1].0[from..from + b] {
            rows.for_each(|((t, g), &a)| *t += g * derivative(a, b));
        } else {
            let b = &operands[1].0[from..from + b];
            rows.zip(b)
                .for_each(|(((t, g), &a), &b)| *t += g * derivative(a, b));
        }
    });
}

/// Adds the gradient of the second operand, summed over the dimensions in which it is broadcast.
#[inline(always)]
fn second(
    operands: [(&[f32], Shape); 2],
    gradient: &[f32],
    into: &mut [f32],
    derivative: impl Fn(f32, f32) -> f32,
) {
    broadcast(operands, |at, a, from, b| {
        let rows = gradient[at..at + a.len()].iter().zip(a);
        let target = &mut into[from..from + b];
        if let [t] = target {
            let b = operands[1].0[from];
            *t += rows.map(|(g, &a)| g * derivative(a, b)).sum::<f32>();
        } else {
            let b = &operands[1].0[from..from + b];
            for ((t, &b), (g, &a)) in target.iter_mut().zip(b).zip(rows) {
                *t += g * derivative(a, b);
            }
        }
    });
}

/// Calls `f` for runs of elements: where the first operand's run is and its elements, where the
/// second operand's run is and its length, which is 1 if one element meets the whole run.
#[inline(always)]
fn broadcast(
    [(a, shape), (_, b_shape)]: [(&[f32], Shape); 2],
    mut f: impl FnMut(usize, &[f32], usize, usize),
) {
    if shape == b_shape {
        return f(0, a, 0, a.len());
    }
    let [_, _, width, channels] = shape;
    for (position, row) in a.chunks_exact(channels).enumerate() {
        let y = if b_shape[1] == 1 { 0 } else { position / width };
        let x = if b_shape[2] == 1 { 0 } else { position % width };
        let from = (y * b_shape[2] + x) * b_shape[3];
        f(position * channels, row, from, b_shape[3]);
    }
}

pub(super) fn normalize(gain: &[f32], gradient: &[f32], into: &mut [f32]) {
    let rows = into.chunks_exact_mut(gain.len());
    for (row, gradient) in rows.zip(gradient.chunks_exact(gain.len())) {
        for ((t, g), gain) in row.iter_mut().zip(gradient).zip(gain) {
            *t += g * gain;
        }
    }
}

pub(super) fn unary(kind: UnaryKind, input: &[f32], gradient: &[f32], into: &mut [f32]) {
    for ((t, g), &x) in into.iter_mut().zip(gradient).zip(input) {
        let slope = derivative(kind, x);
        // A root or a quotient at its pole: nothing finite can be said.
        *t += if slope.is_finite() { g * slope } else { 0.0 };
    }
}

/// The derivative of a function at `x`; zero at and beyond the bounds of a clamp.
fn derivative(kind: UnaryKind, x: f32) -> f32 {
    let sigmoid = || function(UnaryKind::Sigmoid, x);
    match kind {
        UnaryKind::Clamp { min, max } => factor(x > min && x < max),
        UnaryKind::Affine { a, .. } => a,
        UnaryKind::LeakyRelu { slope } => if_positive(x, 1.0, slope),
        UnaryKind::Sigmoid => sigmoid() * (1.0 - sigmoid()),
        UnaryKind::Tanh => 1.0 - x.tanh().powi(2),
        UnaryKind::Silu => sigmoid() * (1.0 + x * (1.0 - sigmoid())),
        UnaryKind::HardSwish if x <= -3.0 => 0.0,
        UnaryKind::HardSwish if x >= 3.0 => 1.0,
        UnaryKind::HardSwish => (2.0 * x + 3.0) / 6.0,
        UnaryKind::HardSigmoid { a, b } => {
            let inner = a * x + b;
            a * factor(inner > 0.0 && inner < 1.0)
        }
        UnaryKind::Elu { alpha } => if_positive(x, 1.0, alpha * x.exp()),
        UnaryKind::Gelu => {
            let density = (-x * x / 2.0).exp() * FRAC_2_SQRT_PI * FRAC_1_SQRT_2 / 2.0;
            (1.0 + function(UnaryKind::Erf, x * FRAC_1_SQRT_2)) / 2.0 + x * density
        }
        UnaryKind::Erf => FRAC_2_SQRT_PI * (-x * x).exp(),
        UnaryKind::Exp => x.exp(),
        UnaryKind::Log => 1.0 / x,
        UnaryKind::Sqrt => 0.5 / x.sqrt(),
        UnaryKind::Rsqrt => -0.5 / (x * x.sqrt()),
        UnaryKind::Reciprocal => -1.0 / (x * x),
        UnaryKind::Abs => if_positive(x, 1.0, -1.0),
        UnaryKind::Square => 2.0 * x,
        UnaryKind::Softplus => sigmoid(),
        UnaryKind::Mish => {
            let inner = function(UnaryKind::Softplus, x).tanh();
            inner + x * sigmoid() * (1.0 - inner * inner)
        }
    }
}

fn if_positive(x: f32, positive: f32, otherwise: f32) -> f32 {
    if x > 0.0 { positive } else { otherwise }
}

/// `output` are the probabilities.
pub(super) fn softmax(output: &[f32], channels: usize, gradient: &[f32], into: &mut [f32]) {
    let channels = channels.max(1);
    let rows = output
        .chunks_exact(channels)
        .zip(gradient.chunks_exact(channels));
    for ((p, g), out) in rows.zip(into.chunks_exact_mut(channels)) {
        let mean: f32 = p.iter().zip(g).map(|(p, g)| p * g).sum();
        for ((t, p), g) in out.iter_mut().zip(p).zip(g) {
            *t += p * (g - mean);
        }
    }
}
