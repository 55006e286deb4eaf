//! How the weights of a layer split into independent problems `y = W x`, and their integer codes.

use crate::graph::{Linear, Op};
use edgeprune_format::rans;

/// The weights as `groups` matrices of `rows x k`: output channels by input taps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerShape {
    /// Independent groups (channels of a depthwise convolution).
    pub groups: usize,
    /// Output channels of a group.
    pub rows: usize,
    /// Taps: kernel height x width x input channels of a group.
    pub k: usize,
    depthwise: bool,
}

impl LayerShape {
    /// The shape of a layer with weights, else `None`.
    pub fn of(op: &Op) -> Option<Self> {
        let linear = op.linear()?;
        let [out, kh, kw, channels] = linear.shape;
        Some(match op {
            Op::DepthwiseConv2d { .. } => Self {
                groups: channels,
                rows: 1,
                k: kh * kw,
                depthwise: true,
            },
            Op::Conv2d { groups, .. } => Self {
                groups: *groups,
                rows: out / groups,
                k: kh * kw * channels,
                depthwise: false,
            },
            _ => Self {
                groups: 1,
                rows: out,
                k: kh * kw * channels,
                depthwise: false,
            },
        })
    }

    /// Output channels.
    pub fn outputs(&self) -> usize {
        self.groups * self.rows
    }

    /// Number of weights.
    pub fn weights(&self) -> usize {
        self.outputs() * self.k
    }

    /// Weights from one row of the weight array to the next: an output channel's where they lie
    /// together, else all.
    pub fn row(&self) -> usize {
        if self.depthwise {
            self.weights()
        } else {
            self.k
        }
    }

    /// Position in the weight array of one weight of an output channel.
    pub fn index(&self, output: usize, tap: usize) -> usize {
        if self.depthwise {
            tap * self.groups + output
        } else {
            output * self.k + tap
        }
    }
}

/// Integer weights of a layer: `weight = code * scale of its output channel`.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantizedLinear {
    /// Codes in [-127, 127], in the order of the weights.
    pub codes: Vec<i8>,
    /// Codes in a row: see [`LayerShape::row`].
    pub row: usize,
    /// One step size per output channel.
    pub scales: Vec<f32>,
    /// One per output channel, in real values, corrected.
    pub bias: Vec<f32>,
}

impl QuantizedLinear {
    /// Whether all output channels share one step size.
    pub fn is_uniform(&self) -> bool {
        is_uniform(&self.scales)
    }

    /// Share of codes that are not zero.
    pub fn density(&self) -> f64 {
        let kept = self.codes.iter().filter(|&&code| code != 0).count();
        kept as f64 / self.codes.len().max(1) as f64
    }

    /// Bytes that the codes, and scales that differ between channels, take in a package.
    pub fn coded_bytes(&self) -> usize {
        let codes = rans::coded_len(&self.codes, self.row).min(self.codes.len());
        codes + scale_bytes(&self.scales)
    }

    /// The layer's constants with the weights that the codes mean.
    pub fn dequantized(&self, shape: LayerShape, source: &Linear) -> Linear {
        let mut weights = vec![0.0; source.weights.len()];
        for output in 0..shape.outputs() {
            for tap in 0..shape.k {
                let i = shape.index(output, tap);
                weights[i] = f32::from(self.codes[i]) * self.scales[output];
            }
        }
        Linear {
            weights,
            bias: self.bias.clone(),
            ..source.clone()
        }
    }
}

fn is_uniform(scales: &[f32]) -> bool {
    scales.windows(2).all(|pair| pair[0] == pair[1])
}

/// Bytes that step sizes take in a package: none where one in the manifest does.
pub fn scale_bytes(scales: &[f32]) -> usize {
    if is_uniform(scales) {
        0
    } else {
        2 * scales.len()
    }
}

/// Greatest magnitude of a weight code.
pub const MAX_CODE: f32 = 127.0;

/// The finest step size of a channel, as a share of that of the channel with the largest weight.
const FINEST_SHARE: f32 = 1.0 / 512.0;

/// One step size per output channel: `step`, or more where the channel's largest weight needs it.
/// With a small step this is per-channel-max int8, with a large one a uniform step, whose codes
/// cost fewer bytes at equal error once they are entropy-coded. Raised scales take few bytes:
/// they are rounded up to values that the upper half of an `f32` holds. No channel's step is
/// finer than a [`FINEST_SHARE`] of the layer's largest: a bias counts in units of it.
pub fn scales(shape: LayerShape, linear: &Linear, step: f32) -> Vec<f32> {
    let largest = linear.weights.iter().fold(0f32, |m, w| m.max(w.abs()));
    let finest = match largest {
        0.0 => 1.0,
        _ => largest / MAX_CODE * FINEST_SHARE,
    };
    let step = bf16_above(step.max(finest));
    (0..shape.outputs())
        .map(|output| {
            let largest = (0..shape.k)
                .map(|tap| linear.weights[shape.index(output, tap)].abs())
                .fold(0.0, f32::max);
            let needed = largest / MAX_CODE;
            if needed <= step {
                step
            } else {
                bf16_above(needed)
            }
        })
        .collect()
}

/// The least bfloat16 value that is not below a positive `value`.
pub fn bf16_above(value: f32) -> f32 {
    f32::from_bits(value.to_bits().div_ceil(1 << 16) << 16)
}

/// The bfloat16 value closest to a positive `value`.
pub(super) fn bf16_nearest(value: f32) -> f32 {
    f32::from_bits((value.to_bits() + (1 << 15)) >> 16 << 16)
}

/// The code of a weight at a step size.
pub fn code(weight: f32, scale: f32) -> i8 {
    (weight / scale)
        .round_ties_even()
        .clamp(-MAX_CODE, MAX_CODE) as i8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_above_is_the_next_value_that_half_the_bits_hold() {
        assert_eq!(bf16_above(1.0), 1.0);
        for value in [1.0001f32, 0.0123, 3e-9, 127.3] {
            let above = bf16_above(value);
            assert!(above >= value && above < value * 1.008);
            assert_eq!(above.to_bits() & 0xffff, 0);
        }
    }
}
