//! Statistics repair: what compression did to the mean and the spread of each output channel is undone
//! by its bias and scale (as REFLOW, arXiv 2502.15790, does with batch normalization).

use super::QuantizedLinear;
use super::layer::bf16_nearest;

/// Most by which a scale changes, up or down.
const MOST_GAIN: f64 = 1.5;

/// Sums over values of one channel in the dense network and in the compressed one.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    dense: f64,
    compressed: f64,
    dense_squares: f64,
    compressed_squares: f64,
}

/// Statistics of every output channel of a layer, before its bias and activation.
#[derive(Clone, Debug)]
pub(super) struct Repair {
    values: f64,
    channels: Vec<Sums>,
}

impl Repair {
    /// No values yet.
    pub(super) fn new(channels: usize) -> Self {
        Self {
            values: 0.0,
            channels: vec![Sums::default(); channels],
        }
    }

    /// Adds one sample's values, `[position][channel]`.
    pub(super) fn add(&mut self, dense: &[f32], compressed: &[f32]) {
        let channels = self.channels.len();
        self.values += (dense.len() / channels) as f64;
        let rows = dense
            .chunks_exact(channels)
            .zip(compressed.chunks_exact(channels));
        for (dense, compressed) in rows {
            for ((sums, &z), &zq) in self.channels.iter_mut().zip(dense).zip(compressed) {
                let (z, zq) = (f64::from(z), f64::from(zq));
                sums.dense += z;
                sums.compressed += zq;
                sums.dense_squares += z * z;
                sums.compressed_squares += zq * zq;
            }
        }
    }

    /// Adds what another collected.
    pub(super) fn merge(&mut self, other: &Self) {
        self.values += other.values;
        for (sums, more) in self.channels.iter_mut().zip(&other.channels) {
            sums.dense += more.dense;
            sums.compressed += more.compressed;
            sums.dense_squares += more.dense_squares;
            sums.compressed_squares += more.compressed_squares;
        }
    }

    /// Corrects scales and biases; the factor of each channel's values that came of it. One scale of
    /// a whole layer stays one.
    pub(super) fn apply(&self, layer: &mut QuantizedLinear) -> Vec<f64> {
        let wanted = self.gains(layer.is_uniform());
        let mut gains = Vec::with_capacity(wanted.len());
        let uniform = layer.is_uniform();
        for (scale, gain) in layer.scales.iter_mut().zip(wanted) {
            let old = f64::from(*scale);
            let exact = (old * gain) as f32;
            *scale = if uniform { exact } else { bf16_nearest(exact) };
            gains.push(f64::from(*scale) / old);
        }
        let channels = self.channels.iter().zip(&gains);
        for (bias, (sums, gain)) in layer.bias.iter_mut().zip(channels) {
            *bias = ((sums.dense - gain * sums.compressed) / self.values) as f32;
        }
        gains
    }

    /// Ratio of the standard deviations of each channel, or of all together.
    fn gains(&self, together: bool) -> Vec<f64> {
        let variances: Vec<[f64; 2]> = self
            .channels
            .iter()
            .map(|sums| sums.variances(self.values))
            .collect();
        if together {
            let sum = |which: usize| variances.iter().map(|pair| pair[which]).sum();
            return vec![gain([sum(0), sum(1)]); variances.len()];
        }
        variances.into_iter().map(gain).collect()
    }
}

impl Sums {
    /// Variances times the number of values: dense, compressed.
    fn variances(&self, values: f64) -> [f64; 2] {
        let of = |sum: f64, squares: f64| (squares - sum * sum / values).max(0.0);
        [
            of(self.dense, self.dense_squares),
            of(self.compressed, self.compressed_squares),
        ]
    }
}

fn gain([dense, compressed]: [f64; 2]) -> f64 {
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
            bias: vec![0.0; scales.len()],
            scales,
        }
    }

    /// Two channels: the first came out at 0.8 of its spread and shifted, the second as it was.
    fn measured() -> (Repair, Vec<f32>, Vec<f32>) {
        let dense: Vec<f32> = (0..200).map(|i| (i as f32 * 0.7).sin() + 2.0).collect();
        let compressed: Vec<f32> = dense
            .chunks(2)
            .flat_map(|z| [z[0] * 0.8 - 1.0, z[1]])
            .collect();
        let mut repair = Repair::new(2);
        repair.add(&dense, &compressed);
        (repair, dense, compressed)
    }

    #[test]
    fn mean_and_spread_of_each_channel_come_back() {
        let (repair, dense, compressed) = measured();
        let mut layer = layer(vec![0.5, 0.25]);
        let gains = repair.apply(&mut layer);
        for (z, zq) in dense.chunks(2).zip(compressed.chunks(2)) {
            for channel in 0..2 {
                let repaired = gains[channel] as f32 * zq[channel] + layer.bias[channel];
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
        let (repair, ..) = measured();
        let mut layer = layer(vec![0.5, 0.5]);
        let gains = repair.apply(&mut layer);
        assert!(layer.is_uniform() && gains[0] > 1.0 && gains[0] < 1.25);
    }

    #[test]
    fn a_channel_without_spread_keeps_its_scale() {
        let mut repair = Repair::new(1);
        repair.add(&[1.0, 1.0], &[0.0, 0.0]);
        let mut layer = layer(vec![0.5]);
        assert_eq!(repair.apply(&mut layer), [1.0]);
        assert_eq!(layer.bias, [1.0]);
    }
}
