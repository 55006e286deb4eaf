//! From `f32` to integer codes: activation ranges, error-compensated weights, corrected biases.

mod activation;
mod activation_plan;
mod compensate;
mod curvature;
mod equalize;
mod factor;
mod float_fallback;
mod layer;
mod moments;
mod normalize;
mod refit;
mod repair;
mod sequential;
mod simulation;
mod stored;
mod streams;
mod taps;
mod ties;

pub use activation::ActivationQuantization;
pub use activation_plan::{ActivationPlan, LEAST_SQNR_DB};
pub use compensate::{Compensator, Rounding};
pub use curvature::Curvature;
pub use equalize::Equalization;
pub(crate) use factor::{inverse_factor, ridge};
pub use float_fallback::FloatActivation;
pub use layer::{LayerShape, MAX_CODE, QuantizedLinear, bf16_above, code, scale_bytes, scales};
pub use moments::Moments;
pub use normalize::Normalization;
pub use refit::refit;
pub use sequential::{Aim, QuantizedGraph, Steps, quantize};
pub use streams::{Streams, run_dense, stream_bytes};
pub use taps::TapStatistics;
pub(crate) use ties::keeps_codes;
