//! The integer arithmetic, defined once. Host and device both call these functions.
//!
//! Everything is IEEE single precision, one operation after the other: a product and a sum are
//! never fused, so every instruction set gives the same bits.

use edgeprune_format::manifest::Activation;

/// Adding 1.5 x 2^23 leaves no bits for a fraction: the sum is rounded to nearest, ties to even.
pub(crate) const MAGIC: f32 = 12_582_912.0;

/// Rounds to the nearest integer, ties to even. Valid for `|x| <= 2^22`: clamp first.
#[inline(always)]
pub const fn round_half_even(x: f32) -> i32 {
    ((x + MAGIC).to_bits() as i32).wrapping_sub(MAGIC.to_bits() as i32)
}

/// The codes that an output can take: a zero point and a clamp, which includes the fused
/// activation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Codes {
    zero_point: i32,
    /// Least code minus the zero point.
    lo: f32,
    /// Greatest code minus the zero point.
    hi: f32,
}

impl Codes {
    /// Codes from `lo` to `hi`; an empty range becomes `lo` alone.
    pub const fn new(zero_point: i8, lo: i8, hi: i8) -> Self {
        let zero_point = zero_point as i32;
        let hi = if hi < lo { lo } else { hi };
        Self {
            zero_point,
            lo: (lo as i32 - zero_point) as f32,
            hi: (hi as i32 - zero_point) as f32,
        }
    }

    /// The codes of a tensor after a fused activation.
    pub fn of(activation: Activation, scale: f32, zero_point: i8) -> Self {
        let (lo, hi) = activation_codes(activation, scale, zero_point);
        Self::new(zero_point, lo, hi)
    }

    /// The zero point, and least and greatest code less the zero point.
    #[cfg(any(
        target_arch = "aarch64",
        all(feature = "std", target_arch = "x86_64"),
        all(feature = "std", target_os = "linux", target_arch = "arm")
    ))]
    pub(crate) const fn parts(self) -> (i32, [f32; 2]) {
        (self.zero_point, [self.lo, self.hi])
    }

    /// The code of `steps`, a value in units of the scale: clamp, round to nearest even, add the
    /// zero point. Not a number becomes the least code.
    #[inline(always)]
    pub const fn round(self, steps: f32) -> i8 {
        let steps = if steps > self.lo { steps } else { self.lo };
        let steps = if steps < self.hi { steps } else { self.hi };
        round_half_even(steps).wrapping_add(self.zero_point) as i8
    }
}

/// An accumulator's code: `f32(acc) * multiplier`, then [`Codes::round`].
#[inline(always)]
pub const fn requantize(acc: i32, multiplier: f32, codes: Codes) -> i8 {
    codes.round(acc as f32 * multiplier)
}

/// The multiplier of a linear operator's output channel: `(input * weight) / output`, in that order.
#[inline(always)]
pub const fn multiplier(input_scale: f32, weight_scale: f32, output_scale: f32) -> f32 {
    (input_scale * weight_scale) / output_scale
}

/// The code of a real value: `x / scale` (a division, correctly rounded), then [`Codes::round`].
#[inline(always)]
pub const fn quantize(x: f32, scale: f32, zero_point: i8) -> i8 {
    Codes::new(zero_point, i8::MIN, i8::MAX).round(x / scale)
}

/// The real value of a code: `f32(code - zero_point) * scale`.
#[inline(always)]
pub const fn dequantize(code: i8, scale: f32, zero_point: i8) -> f32 {
    (code as i32 - zero_point as i32) as f32 * scale
}

/// Least and greatest code of a tensor after a fused activation.
pub fn activation_codes(activation: Activation, scale: f32, zero_point: i8) -> (i8, i8) {
    let (min, max) = activation.bounds();
    (
        quantize(min, scale, zero_point),
        quantize(max, scale, zero_point),
    )
}

/// Clamps a real value; not a number becomes `min`.
#[inline(always)]
pub const fn clamp(x: f32, min: f32, max: f32) -> f32 {
    let x = if x > min { x } else { min };
    if x < max { x } else { max }
}

/// The value of the upper half of an IEEE single.
pub const fn bf16(bits: u16) -> f32 {
    f32::from_bits((bits as u32) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_agrees_with_the_standard_library_on_ties_and_neighbours() {
        for i in -1024..=1024 {
            for x in [
                i as f32 / 4.0,
                (i as f32 / 4.0).next_up(),
                (i as f32 / 4.0).next_down(),
            ] {
                assert_eq!(round_half_even(x), x.round_ties_even() as i32, "{x}");
            }
        }
    }

    #[test]
    fn every_code_survives_dequantization_and_quantization() {
        for scale in [1e-6, 0.003_921_569, 0.1, 1.0, 977.3] {
            for zero_point in [-128, -1, 0, 1, 127] {
                for code in i8::MIN..=i8::MAX {
                    let x = dequantize(code, scale, zero_point);
                    assert_eq!(quantize(x, scale, zero_point), code);
                }
            }
        }
    }

    #[test]
    fn extreme_values_are_clamped_and_not_a_number_is_the_least_code() {
        assert_eq!(quantize(f32::INFINITY, 0.1, 3), 127);
        assert_eq!(quantize(f32::NEG_INFINITY, 0.1, 3), -128);
        assert_eq!(quantize(f32::NAN, 0.1, 3), -128);
        assert_eq!(requantize(i32::MAX, f32::MAX, Codes::new(-5, -100, 90)), 90);
        assert_eq!(requantize(i32::MIN, 1.0, Codes::new(127, -100, 90)), -100);
    }

    #[test]
    fn a_relu_begins_at_the_zero_point() {
        assert_eq!(activation_codes(Activation::Relu, 0.37, -11), (-11, 127));
        assert_eq!(activation_codes(Activation::None, 0.37, -11), (-128, 127));
        let relu6 = Activation::Clamp { min: 0.0, max: 6.0 };
        assert_eq!(activation_codes(relu6, 6.0 / 255.0, -128), (-128, 127));
    }
}
