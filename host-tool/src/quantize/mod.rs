//! From `f32` to integer codes: activation ranges, error-compensated weights, corrected biases.

mod activation;
mod compensate;
mod layer;
mod moments;

pub use activation::ActivationQuantization;
pub use compensate::compensate;
pub use layer::{LayerShape, MAX_CODE, QuantizedLinear, bf16_above, code, scales};
pub use moments::Moments;
