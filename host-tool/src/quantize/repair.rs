//! Statistics repair: what compression did to the mean and the spread of each output channel is undone
//! by its bias and scale (as REFLOW, arXiv 2502.15790, does with batch normalization).

use super::QuantizedLinear;
use super::layer::bf16_nearest;
use crate::calibrate::ChannelSums;

/// Most by which a scale changes, up or down.
const MOST_GAIN: f64 = 1.5;

/// Corrects scales and biases of a layer whose values, without a bias, have the statistics
/// `compressed`, until they have the mean and the spread of `dense`; the factor of each channel's values
/// that came of it. One scale of a whole layer stays one.
pub(super) fn repair(
    layer: &mut QuantizedLinear,
    dense: &ChannelSums,
    compressed: &ChannelSums,
) -> Vec<f32> {
    let uniform = layer.is_uniform();
    let wanted = gains(dense, compressed, uniform);
    let mut gains = Vec::with_capacity(wanted.len());
    for (channel, wanted) in wanted.into_iter().enumerate() {
        let old = f64::from(layer.scales[channel]);
        let exact = (old * wanted) as f32;
        let scale = if uniform { exact } else { bf16_nearest(exact) };
        let gain = f64::from(scale) / old;
        layer.scales[channel] = scale;
        layer.bias[channel] = (dense.mean(channel) - gain * compressed.mean(channel)) as f32;
        gains.push(gain as f32);
    }
    gains
}

/// Ratio of the standard deviations of each channel, or of all together.
fn gains(dense: &ChannelSums, compressed: &ChannelSums, together: bool) -> Vec<f64> {
    let channels = 0..dense.len();
    if together {
        let sum = |sums: &ChannelSums| channels.clone().map(|c| sums.variance(c)).sum();
        return vec![gain(sum(dense), sum(compressed)); dense.len()];
    }
    channels
        .map(|c| gain(dense.variance(c), compressed.variance(c)))
        .collect()
}

fn gain(dense: f64, compressed: f64) -> f64 {
    if dense > 0.0 && compressed > 0.0 {
        (dense / compressed)
            .sqrt()
            .clamp(1.0 / MOST_GAIN, MOST_GAIN)
    } else {
        1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(scales: Vec<f32>) -> QuantizedLinear {
        QuantizedLinear {
            codes: vec![1; scales.len()],
            row: 1,
            bias: vec![0.0; scales.len()],
            scales,
        }
    }

    /// Two channels: the first came out at 0.8 of its spread and shifted, the second as it was.
    fn measured() -> (Vec<f32>, Vec<f32>) {
        let dense: Vec<f32> = (0..200).map(|i| (i as f32 * 0.7).sin() + 2.0).collect();
        let compressed: Vec<f32> = dense
            .chunks(2)
            .flat_map(|z| [z[0] * 0.8 - 1.0, z[1]])
            .collect();
        (dense, compressed)
    }

    #[test]
    fn mean_and_spread_of_each_channel_come_back() {
        let (dense, compressed) = measured();
        let mut layer = layer(vec![0.5, 0.25]);
        let (z, zq) = (ChannelSums::of(&dense, 2), ChannelSums::of(&compressed, 2));
        let gains = repair(&mut layer, &z, &zq);
        for (z, zq) in dense.chunks(2).zip(compressed.chunks(2)) {
            for channel in 0..2 {
                let repaired = gains[channel] * zq[channel] + layer.bias[channel];
                assert!((repaired - z[channel]).abs() < 0.01);
            }
        }
        assert!(
            layer
                .scales
                .iter()
                .all(|scale| scale.to_bits() & 0xffff == 0)
        );
    }

    #[test]
    fn one_scale_of_a_layer_stays_one() {
        let (dense, compressed) = measured();
        let mut layer = layer(vec![0.5, 0.5]);
        let (z, zq) = (ChannelSums::of(&dense, 2), ChannelSums::of(&compressed, 2));
        let gains = repair(&mut layer, &z, &zq);
        assert!(layer.is_uniform() && gains[0] > 1.0 && gains[0] < 1.25);
    }

    #[test]
    fn a_channel_without_spread_keeps_its_scale() {
        let mut layer = layer(vec![0.5]);
        let (z, zq) = (
            ChannelSums::of(&[1.0, 1.0], 1),
            ChannelSums::of(&[0.0, 0.0], 1),
        );
        assert_eq!(repair(&mut layer, &z, &zq), [1.0]);
        assert_eq!(layer.bias, [1.0]);
    }
}
