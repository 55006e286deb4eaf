//! Mean and variance of each channel of an activation.

use pulp::Arch;
use serde::{Deserialize, Serialize};

/// Sums over the values of each channel, and over their squares.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChannelSums {
    values_per_channel: f64,
    sums: Vec<f64>,
    squares: Vec<f64>,
}

impl ChannelSums {
    /// Of `[position][channel]`.
    pub fn of(values: &[f32], channels: usize) -> Self {
        let mut all = Self {
            values_per_channel: (values.len() / channels) as f64,
            sums: vec![0.0; channels],
            squares: vec![0.0; channels],
        };
        let (sums, squares) = (&mut all.sums, &mut all.squares);
        Arch::new().dispatch(|| {
            for row in values.chunks_exact(channels) {
                let sums = sums.iter_mut().zip(squares.iter_mut());
                for ((sum, square), &value) in sums.zip(row) {
                    *sum += f64::from(value);
                    *square += f64::from(value) * f64::from(value);
                }
            }
        });
        all
    }

    /// Adds what another collected of the same channels; nothing takes the place of no values at all.
    pub fn merge(&mut self, other: &Self) {
        if self.is_empty() {
            self.clone_from(other);
            return;
        }
        self.values_per_channel += other.values_per_channel;
        for (sum, more) in self.sums.iter_mut().zip(&other.sums) {
            *sum += more;
        }
        for (square, more) in self.squares.iter_mut().zip(&other.squares) {
            *square += more;
        }
    }

    /// Whether there are no channels.
    pub fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }

    /// Number of channels.
    pub fn len(&self) -> usize {
        self.sums.len()
    }

    /// Mean of one channel.
    pub fn mean(&self, channel: usize) -> f64 {
        self.sums[channel] / self.values_per_channel
    }

    /// Variance of one channel.
    pub fn variance(&self, channel: usize) -> f64 {
        let mean = self.mean(channel);
        (self.squares[channel] / self.values_per_channel - mean * mean).max(0.0)
    }
}
