//! Activations that wait for their readers, in as few bytes as they need.

use super::ActivationQuantization;
use pulp::Arch;

/// Values of one activation.
#[derive(Clone, Debug, Default)]
pub(super) enum Stored {
    /// Not computed yet, or not needed any more.
    #[default]
    Nothing,
    /// Codes of a quantized activation: exact.
    Codes(Vec<i8>, ActivationQuantization),
    /// bfloat16: rounding noise of -59 dB, far below that of any quantized layer.
    Half(Vec<u16>),
}

impl Stored {
    /// Rounds to nearest, ties to even.
    pub(super) fn half(values: &[f32]) -> Self {
        let mut halves = vec![0; values.len()];
        Arch::new().dispatch(|| {
            for (half, value) in halves.iter_mut().zip(values) {
                let bits = value.to_bits();
                *half = (bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16;
            }
        });
        Self::Half(halves)
    }

    /// Codes where there is a quantization.
    pub(super) fn quantized(values: &[f32], quantization: Option<ActivationQuantization>) -> Self {
        match quantization {
            Some(quantization) => Self::Codes(quantization.codes(values), quantization),
            None => Self::half(values),
        }
    }

    /// The values.
    pub(super) fn values(&self) -> Vec<f32> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Codes(codes, quantization) => quantization.values(codes),
            Self::Half(halves) => {
                let mut values = vec![0.0; halves.len()];
                Arch::new().dispatch(|| {
                    for (value, &half) in values.iter_mut().zip(halves) {
                        *value = f32::from_bits(u32::from(half) << 16);
                    }
                });
                values
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_comes_back_within_its_precision() {
        let values: Vec<f32> = (0..1000).map(|i| (i as f32 * 0.37).sin() * 3.0).collect();
        for (a, b) in values.iter().zip(Stored::half(&values).values()) {
            assert!((a - b).abs() <= a.abs() / 256.0);
        }
        let quantization = ActivationQuantization::from_range(-3.0, 3.0);
        let mut expected = values.clone();
        quantization.round_trip(&mut expected);
        let stored = Stored::quantized(&values, Some(quantization));
        assert_eq!(stored.values(), expected);
        assert!(Stored::default().values().is_empty());
    }
}
