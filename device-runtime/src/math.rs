//! The element-wise functions in single precision, by `libm`'s portable code: the same bits on
//! every target. The device applies them to `F32` activations; the host builds tables with them.

use crate::quantize::clamp;
use edgeprune_format::manifest::UnaryKind;

/// `kind` of `x`.
pub fn unary(kind: UnaryKind, x: f32) -> f32 {
    match kind {
        UnaryKind::Clamp { min, max } => clamp(x, min, max),
        UnaryKind::Affine { a, b } => a * x + b,
        UnaryKind::LeakyRelu { slope } => {
            if x > 0.0 {
                x
            } else {
                slope * x
            }
        }
        UnaryKind::Sigmoid => sigmoid(x),
        UnaryKind::Tanh => libm::tanhf(x),
        UnaryKind::Silu => x * sigmoid(x),
        UnaryKind::HardSwish => x * clamp(x + 3.0, 0.0, 6.0) / 6.0,
        UnaryKind::HardSigmoid { a, b } => clamp(a * x + b, 0.0, 1.0),
        UnaryKind::Elu { alpha } => {
            if x > 0.0 {
                x
            } else {
                alpha * libm::expm1f(x)
            }
        }
        UnaryKind::Gelu => x * (1.0 + libm::erff(x * core::f32::consts::FRAC_1_SQRT_2)) / 2.0,
        UnaryKind::Erf => libm::erff(x),
        UnaryKind::Exp => libm::expf(x),
        UnaryKind::Log => libm::logf(x),
        UnaryKind::Sqrt => libm::sqrtf(x),
        UnaryKind::Rsqrt => 1.0 / libm::sqrtf(x),
        UnaryKind::Reciprocal => 1.0 / x,
        UnaryKind::Abs => libm::fabsf(x),
        UnaryKind::Square => x * x,
        UnaryKind::Softplus => softplus(x),
        UnaryKind::Mish => x * libm::tanhf(softplus(x)),
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + libm::expf(-x))
}

/// `ln(1 + exp(x))` without overflow.
fn softplus(x: f32) -> f32 {
    clamp(x, 0.0, f32::INFINITY) + libm::log1pf(libm::expf(-libm::fabsf(x)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(kind: UnaryKind, x: f32, expected: f64) {
        let y = f64::from(unary(kind, x));
        assert!(
            (y - expected).abs() <= 1e-6 * expected.abs().max(1.0),
            "{kind:?}({x}) = {y}, not {expected}"
        );
    }

    #[test]
    fn functions_agree_with_double_precision() {
        for i in -40..=40 {
            let x = i as f32 / 4.0;
            let d = f64::from(x);
            close(UnaryKind::Sigmoid, x, 1.0 / (1.0 + (-d).exp()));
            close(UnaryKind::Tanh, x, d.tanh());
            close(UnaryKind::Silu, x, d / (1.0 + (-d).exp()));
            close(UnaryKind::HardSwish, x, d * (d + 3.0).clamp(0.0, 6.0) / 6.0);
            close(
                UnaryKind::HardSigmoid { a: 0.2, b: 0.5 },
                x,
                (f64::from(0.2f32) * d + 0.5).clamp(0.0, 1.0),
            );
            close(UnaryKind::Softplus, x, d.exp().ln_1p());
            close(UnaryKind::Mish, x, d * d.exp().ln_1p().tanh());
            close(
                UnaryKind::Elu { alpha: 1.5 },
                x,
                if d > 0.0 { d } else { 1.5 * d.exp_m1() },
            );
            close(
                UnaryKind::LeakyRelu { slope: 0.25 },
                x,
                if d > 0.0 { d } else { 0.25 * d },
            );
            close(UnaryKind::Square, x, d * d);
            close(UnaryKind::Abs, x, d.abs());
        }
        close(UnaryKind::Erf, 0.5, 0.520_499_877_813_046_5);
        close(UnaryKind::Gelu, 1.0, 0.841_344_746_068_542_9);
        close(UnaryKind::Sqrt, 2.0, 2f64.sqrt());
        close(UnaryKind::Rsqrt, 4.0, 0.5);
    }
}
