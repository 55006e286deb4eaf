//! From `f32` to integer codes: activation ranges, error-compensated weights, corrected biases.

mod activation;
mod activation_plan;
mod compensate;
mod curvature;
mod equalize;
mod factor;
mod layer;
mod moments;
mod refit;
mod repair;
mod sequential;
mod stored;
mod streams;
mod taps;

pub use activation::ActivationQuantization;
pub use activation_plan::{ActivationPlan, LEAST_SQNR_DB};
pub use compensate::{Compensator, Rounding};
pub use curvature::Curvature;
pub use equalize::Equalization;
pub(crate) use factor::{inverse_factor, ridge};
pub use layer::{LayerShape, MAX_CODE, QuantizedLinear, bf16_above, code, scale_bytes, scales};
pub use moments::Moments;
pub use refit::refit;
pub use sequential::{Aim, QuantizedGraph, Steps, quantize};
pub use streams::{Streams, run_dense, stream_bytes};
pub use taps::TapStatistics;
