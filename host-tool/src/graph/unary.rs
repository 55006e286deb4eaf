//! The element-wise functions, in single precision.

use super::UnaryKind;

/// One value of an element-wise function.
pub fn unary(kind: UnaryKind, x: f32) -> f32 {
    match kind {
        UnaryKind::Clamp { min, max } => x.max(min).min(max),
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
        UnaryKind::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        UnaryKind::HardSigmoid { a, b } => (a * x + b).clamp(0.0, 1.0),
        UnaryKind::Elu { alpha } => {
            if x > 0.0 {
                x
            } else {
                alpha * libm::expm1f(x)
            }
        }
        UnaryKind::Gelu => 0.5 * x * (1.0 + libm::erff(x * std::f32::consts::FRAC_1_SQRT_2)),
        UnaryKind::Erf => libm::erff(x),
        UnaryKind::Exp => libm::expf(x),
        UnaryKind::Log => libm::logf(x),
        UnaryKind::Sqrt => libm::sqrtf(x),
        UnaryKind::Rsqrt => 1.0 / libm::sqrtf(x),
        UnaryKind::Reciprocal => 1.0 / x,
        UnaryKind::Abs => x.abs(),
        UnaryKind::Square => x * x,
        UnaryKind::Softplus => softplus(x),
        UnaryKind::Mish => x * libm::tanhf(softplus(x)),
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + libm::expf(-x))
}

fn softplus(x: f32) -> f32 {
    x.max(0.0) + libm::log1pf(libm::expf(-x.abs()))
}
