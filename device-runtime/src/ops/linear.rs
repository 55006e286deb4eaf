//! What convolutions and fully connected layers share: weights, bias, scales, requantization.
//!
//! An integer layer computes `acc = sum(code * weight) + bias'`, where the expanded bias
//! `bias' = bias - zero_point * sum(weight)` (clamped to +-2^30) makes padding taps that read the
//! zero point count as zero. A depthwise layer leaves those taps out and computes
//! `acc = sum((code - zero_point) * weight) + bias` instead. Then `requantize(acc, (input * weight) / output)`, or, for an `F32`
//! output, `f32(acc) * (input * weight)` and the activation. A float layer computes
//! `sum(x * w) * weight_scale + bias` and the activation, the sum in order of `kh, kw, ic` from
//! 0, one multiplication and one addition each; the scale is 1 for `F32` weights.

use super::{Activation, Checked, Context, Element, Place, Region, codes, valid_scale, words};
use crate::kernels::FloatWeights;
use crate::plan;
use crate::quantize::{Codes, bf16, clamp, multiplier};
use edgeprune_format::ALIGNMENT;
use edgeprune_format::manifest::{self, DType, Encoding, Quantization, Storage, Tensor};

/// Bound of an expanded bias.
const MAX_BIAS: i64 = 1 << 30;

/// How weights are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `[channel][depth]`.
    Rows,
    /// `[depth][channel]`: depthwise.
    Columns,
}

impl Layout {
    /// Longest sum that, with a bias of 2^30, stays within an `i32`: products are below 2^14, and
    /// below 2^15 in depthwise layers.
    fn max_depth(self) -> usize {
        match self {
            Self::Rows => (1 << 16) - 1,
            Self::Columns => (1 << 15) - 1,
        }
    }
}

/// What follows the sum.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Finish {
    /// Integer in, integer out.
    Codes(Codes),
    /// Integer in, float out, with least and greatest value.
    IntegerToFloat(f32, f32),
    /// Float in, float out, with least and greatest value.
    Float(f32, f32),
}

/// The constants of a linear operator, checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Linear {
    weights: Place,
    weight_dtype: DType,
    layout: Layout,
    channels: usize,
    depth: usize,
    bias: Option<(Region, BiasKind)>,
    scales: Scales,
    input: Element,
    output: Element,
    pub(crate) finish: Finish,
    /// Expanded biases, then multipliers.
    vectors: Region,
}

#[derive(Clone, Copy, Debug)]
enum BiasKind {
    I16(u32),
    I32,
    F32,
}

#[derive(Clone, Copy, Debug)]
enum Scales {
    Unit,
    One(f32),
    Bf16(Region),
    F32(Region),
}

/// Expanded biases and multipliers, one of each per output channel.
pub(crate) struct Vectors<'s, T> {
    pub(crate) bias: &'s [T],
    pub(crate) multiplier: &'s [f32],
}

impl Linear {
    /// Checks the constants of a layer with weights of `shape`, one output channel for each of
    /// `channels`.
    pub(crate) fn prepare(
        cx: &Context<'_, '_>,
        linear: manifest::Linear,
        (input, output): (&Activation, &Activation),
        shape: [usize; 4],
        layout: Layout,
        channels: usize,
    ) -> Checked<Self> {
        let weights = cx.tensor(linear.weights)?;
        if weights.shape.map(|dim| dim as usize) != shape {
            return Err("weights of a shape that does not fit");
        }
        let depth = weights.elements().ok_or("weights that are too large")? / channels.max(1);
        if depth == 0 || depth > layout.max_depth() {
            return Err("too many products in a sum");
        }
        let bounds = linear.activation.bounds();
        let ordered = bounds.0 <= bounds.1;
        if !ordered {
            return Err("an activation whose bounds are not in order");
        }
        let finish = match (input.element, output.element, weights.dtype) {
            (Element::I8 { .. }, Element::I8 { scale, zero_point }, DType::I8) => {
                Finish::Codes(Codes::of(linear.activation, scale, zero_point))
            }
            (Element::I8 { .. }, Element::F32, DType::I8) => {
                Finish::IntegerToFloat(bounds.0, bounds.1)
            }
            (Element::F32, Element::F32, DType::I8 | DType::F32) => {
                Finish::Float(bounds.0, bounds.1)
            }
            (Element::I8 { .. }, _, _) => return Err("an I8 input takes I8 weights"),
            _ => return Err("an F32 input gives an F32 output, with I8 or F32 weights"),
        };
        let place = constant_place(cx, linear.weights, &weights)?;
        if let (DType::I8, Place::Body(region)) = (weights.dtype, place)
            && region.offset % ALIGNMENT != 0
        {
            return Err("raw weights that are not aligned");
        }
        let bias = match linear.bias {
            Some(id) => Some(bias(&cx.tensor(id)?, input.element, channels)?),
            None => None,
        };
        Ok(Self {
            weights: place,
            weight_dtype: weights.dtype,
            layout,
            channels,
            depth,
            bias,
            scales: scales(cx, &weights, channels)?,
            input: input.element,
            output: output.element,
            finish,
            vectors: Region {
                offset: cx.constants,
                len: plan::vectors_bytes(channels).ok_or("too many channels")?,
            },
        })
    }

    /// Bytes of constants that this node takes.
    pub(crate) fn constants(&self) -> usize {
        self.vectors.len
    }

    /// Checks the scales, which are in the body.
    pub(crate) fn check_scales(&self, body: &[u8]) -> Checked<()> {
        for channel in 0..self.channels {
            let scale = self
                .scale(body, channel)
                .ok_or("scales outside the package")?;
            valid_scale(scale)?;
            if !self.multiplier(scale).is_finite() {
                return Err("scales whose product overflows");
            }
        }
        Ok(())
    }

    fn scale(&self, body: &[u8], channel: usize) -> Option<f32> {
        Some(match self.scales {
            Scales::Unit => 1.0,
            Scales::One(scale) => scale,
            Scales::Bf16(region) => bf16(u16::from_le_bytes(element(region, body, channel)?)),
            Scales::F32(region) => f32::from_le_bytes(element(region, body, channel)?),
        })
    }

    fn multiplier(&self, weight_scale: f32) -> f32 {
        match (self.input, self.output) {
            (Element::I8 { scale: input, .. }, Element::I8 { scale: output, .. }) => {
                multiplier(input, weight_scale, output)
            }
            (Element::I8 { scale, .. }, Element::F32) => scale * weight_scale,
            (Element::F32, _) => weight_scale,
        }
    }

    /// Whether every weight of an integer layer is at least -127, which kernels rely on.
    pub(crate) fn has_symmetric_weights(&self, body: &[u8], decoded: &[u8]) -> bool {
        match self.input {
            Element::F32 => true,
            Element::I8 { .. } => self
                .codes(body, decoded)
                .is_some_and(|weights| weights.iter().all(|&weight| weight != i8::MIN)),
        }
    }

    /// Writes the expanded biases and the multipliers. `decoded` holds the decoded constants.
    pub(crate) fn expand(&self, body: &[u8], decoded: &[u8], vectors: &mut [u8]) -> Option<()> {
        let (biases, multipliers) = vectors.split_at_mut_checked(self.vectors.len / 2)?;
        let multipliers = super::words_mut::<f32>(multipliers)?;
        for (channel, multiplier) in multipliers.iter_mut().enumerate().take(self.channels) {
            *multiplier = self.multiplier(self.scale(body, channel)?);
        }
        match self.input {
            Element::I8 { zero_point, .. } => {
                let weights = codes(self.weights.of(body, decoded)?);
                let biases = super::words_mut::<i32>(biases)?;
                for (channel, expanded) in biases.iter_mut().enumerate().take(self.channels) {
                    let bias = self.integer_bias(body, channel)?;
                    let fold = match self.layout {
                        Layout::Rows => i64::from(zero_point) * self.weight_sum(weights, channel),
                        Layout::Columns => 0,
                    };
                    let total = bias - fold;
                    *expanded = total.clamp(-MAX_BIAS, MAX_BIAS) as i32;
                }
            }
            Element::F32 => {
                let biases = super::words_mut::<f32>(biases)?;
                for (channel, expanded) in biases.iter_mut().enumerate().take(self.channels) {
                    *expanded = match self.bias {
                        Some((region, _)) => f32::from_le_bytes(element(region, body, channel)?),
                        None => 0.0,
                    };
                }
            }
        }
        Some(())
    }

    fn integer_bias(&self, body: &[u8], channel: usize) -> Option<i64> {
        Some(match self.bias {
            Some((region, BiasKind::I16(shift))) => {
                i64::from(i16::from_le_bytes(element(region, body, channel)?)) << shift
            }
            Some((region, _)) => i64::from(i32::from_le_bytes(element(region, body, channel)?)),
            None => 0,
        })
    }

    fn weight_sum(&self, weights: &[i8], channel: usize) -> i64 {
        let from = weights.get(channel * self.depth..).unwrap_or_default();
        let row = from.iter().take(self.depth);
        row.map(|&weight| i64::from(weight)).sum()
    }

    /// The codes of the weights.
    pub(crate) fn codes<'s>(&self, body: &'s [u8], constants: &'s [u8]) -> Option<&'s [i8]> {
        self.weights.of(body, constants).map(codes)
    }

    /// The weights of a float layer.
    pub(crate) fn float_weights<'s>(
        &self,
        body: &'s [u8],
        constants: &'s [u8],
    ) -> Option<FloatWeights<'s>> {
        let bytes = self.weights.of(body, constants)?;
        Some(match self.weight_dtype {
            DType::I8 => FloatWeights::Codes(codes(bytes)),
            _ => FloatWeights::Floats(words(bytes)?),
        })
    }

    /// Expanded biases and multipliers.
    pub(crate) fn vectors<'s, T: bytemuck::AnyBitPattern>(
        &self,
        constants: &'s [u8],
    ) -> Option<Vectors<'s, T>> {
        let (bias, multiplier) = self
            .vectors
            .of(constants)?
            .split_at_checked(self.vectors.len / 2)?;
        Some(Vectors {
            bias: words(bias)?.get(..self.channels)?,
            multiplier: words(multiplier)?.get(..self.channels)?,
        })
    }
}

fn element<const N: usize>(region: Region, body: &[u8], index: usize) -> Option<[u8; N]> {
    region.of(body)?.get(index * N..)?.first_chunk().copied()
}

/// The stored bytes of a constant.
pub(crate) fn blob(tensor: &Tensor) -> Checked<(Region, Encoding)> {
    match tensor.storage {
        Storage::Blob {
            offset,
            len,
            encoding,
        } => Ok((
            Region {
                offset: offset as usize,
                len: len as usize,
            },
            encoding,
        )),
        Storage::Arena { .. } => Err("an activation where a constant belongs"),
    }
}

/// Where the elements of a constant of codes or floats can be read.
pub(crate) fn constant_place(
    cx: &Context<'_, '_>,
    id: manifest::TensorId,
    tensor: &Tensor,
) -> Checked<Place> {
    match blob(tensor)? {
        (region, Encoding::Raw) => Ok(Place::Body(region)),
        (_, Encoding::Rans) if tensor.dtype == DType::I8 => {
            Ok(Place::Constants(plan::decoded_region(cx.manifest, id)?))
        }
        (_, Encoding::Rans) => Err("an entropy-coded constant that is not I8"),
    }
}

/// A constant vector that is read in place.
fn vector(tensor: &Tensor, elements: usize) -> Checked<Region> {
    match blob(tensor)? {
        _ if tensor.elements() != Some(elements) => {
            Err("a bias or scale vector whose length is not the number of output channels")
        }
        (region, Encoding::Raw) => Ok(region),
        _ => Err("an entropy-coded bias or scale vector"),
    }
}

fn bias(tensor: &Tensor, input: Element, channels: usize) -> Checked<(Region, BiasKind)> {
    let kind = match (input, tensor.dtype, tensor.quantization) {
        (Element::I8 { .. }, DType::I32, Quantization::None) => BiasKind::I32,
        (Element::I8 { .. }, DType::I16, Quantization::Shift(shift)) if shift < 32 => {
            BiasKind::I16(u32::from(shift))
        }
        (Element::F32, DType::F32, Quantization::None) => BiasKind::F32,
        _ => return Err("a bias is I32, or I16 with a shift below 32, for an I8 input, else F32"),
    };
    Ok((vector(tensor, channels)?, kind))
}

fn scales(cx: &Context<'_, '_>, weights: &Tensor, channels: usize) -> Checked<Scales> {
    match (weights.dtype, weights.quantization) {
        (DType::F32, Quantization::None) => Ok(Scales::Unit),
        (
            DType::I8,
            Quantization::PerTensor {
                scale,
                zero_point: 0,
            },
        ) => Ok(Scales::One(scale)),
        (DType::I8, Quantization::PerChannel { scales }) => {
            let scales = cx.tensor(scales)?;
            let region = vector(&scales, channels)?;
            match (scales.dtype, scales.quantization) {
                (DType::Bf16, Quantization::None) => Ok(Scales::Bf16(region)),
                (DType::F32, Quantization::None) => Ok(Scales::F32(region)),
                _ => Err("weight scales are Bf16 or F32"),
            }
        }
        _ => Err("weights are I8 with scales and no zero point, or F32 without"),
    }
}

/// One row of float output from integer sums: `f32(sum + bias) * multiplier`, clamped.
pub(crate) fn finish_float(
    sums: &[i32],
    bias: &[i32],
    multiplier: &[f32],
    (min, max): (f32, f32),
    out: &mut [f32],
) {
    for (((out, sum), bias), multiplier) in out.iter_mut().zip(sums).zip(bias).zip(multiplier) {
        *out = clamp(sum.wrapping_add(*bias) as f32 * multiplier, min, max);
    }
}
