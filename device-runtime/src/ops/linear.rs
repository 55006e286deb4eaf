//! What convolutions and fully connected layers share: weights, bias, scales, requantization.
//!
//! An integer layer computes `acc = sum(code * weight) + bias'`, where the expanded bias
//! `bias' = bias - zero_point * sum(weight)` (clamped to +-2^30) makes padding taps that read the
//! zero point count as zero. Then `requantize(acc, (input * weight) / output)`, or, for an `F32` output, `f32(acc) * (input * weight)` and the activation. A float layer computes
//! `fma(sum, weight_scale, bias)` and the activation, the sum `s = fma(x, w, s)` in order of `kh, kw, ic` from
//! 0; the scale is 1 for `F32` weights. Each fused multiply-add rounds once.
//!
//! An integer layer's constants lie in panels, which a session writes into the arena, or reads where they lie if
//! the package has them as its kernels want them.

use super::panels::{ASYMMETRIC, Layout, Panels, add_to, least, place_columns, place_rows, sum};
use super::{Activation, Checked, Context, Element, Expansion, Fault, OUTSIDE, Place, Region};
use super::{blob, codes, codes_mut, constant_place, valid_scale, words, words_mut};
use crate::kernels::winograd::{self, Winograd};
use crate::kernels::{Depth, FloatWeights, Floats, MAX_STEP, Panel};
use crate::plan::aligned;
use crate::quantize::{Codes, bf16, multiplier};
use core::ops::Range;
use edgeprune_format::ALIGNMENT;
use edgeprune_format::manifest::{
    self, DType, Encoding, Quantization, Tensor, TensorId, float_place,
};

/// Bound of an expanded bias.
const MAX_BIAS: i64 = 1 << 30;

/// Longest sum: with a bias of 2^30 it stays within an `i32`, since products are below 2^14.
const MAX_DEPTH: usize = (1 << 16) - 1;

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
    id: TensorId,
    weights: Source,
    weight_dtype: DType,
    layout: Layout,
    channels: usize,
    depth: usize,
    bias: Option<(Region, BiasKind)>,
    scales: Scales,
    input: Element,
    output: Element,
    pub(crate) finish: Finish,
    /// What kernels read: for an integer layer its constants in the set's layout, none if the package has them so;
    /// for a float layer biases, multipliers and, where they are codes, weights; floats are read in place.
    expanded: Region,
}

/// How the package has the weights.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// One by one.
    Elements(Place),
    /// With the biases and multipliers of an integer layer, in panels.
    Panels(Region, Panel),
}

impl Source {
    fn of(weights: &Tensor) -> Checked<Self> {
        let (region, encoding) = blob(weights)?;
        if weights.dtype == DType::I8
            && encoding != Encoding::Rans
            && region.offset % ALIGNMENT != 0
        {
            return Err("weights that are read in place and not aligned");
        }
        let Encoding::Panels {
            columns,
            step,
            offset,
        } = encoding
        else {
            return constant_place(weights).map(Self::Elements);
        };
        let (columns, step) = (columns as usize, usize::from(step));
        if columns == 0
            || !(1..=MAX_STEP).contains(&step)
            || weights.quantization != Quantization::None
        {
            return Err(
                "panels without columns, with steps of 0 or more than 16 codes, or with scales",
            );
        }
        Ok(Self::Panels(
            region,
            Panel::new(columns, step, i32::from(offset)),
        ))
    }
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
        if depth == 0 || depth > MAX_DEPTH {
            return Err("too many products in a sum");
        }
        let bounds = linear.activation.bounds();
        let ordered = bounds.0 <= bounds.1;
        if !ordered {
            return Err("an activation whose bounds are not in order");
        }
        if input.element == Element::F32 && cfg!(not(feature = "float_layers")) {
            return Err(missing!("float_layers"));
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
        let source = Source::of(&weights)?;
        let bias = match linear.bias {
            Some(id) => Some(bias(&cx.tensor(id)?, input.element, channels)?),
            None => None,
        };
        let wanted = Panels::of(layout, cx.layout.panel, channels, depth).laid_out(layout);
        let expanded = match (finish, source) {
            (Finish::Float(..), Source::Panels(..)) => {
                return Err("panels of a layer in single precision");
            }
            (Finish::Float(..), Source::Elements(_)) => {
                float_constants(weights.dtype, channels, depth)
            }
            (_, Source::Elements(_)) => match layout {
                Layout::Tiles { inputs, depth } => winograd::constants(depth, inputs, channels),
                _ => wanted.bytes(),
            },
            (_, Source::Panels(..)) if bias.is_some() => return Err("a bias beside panels"),
            (_, Source::Panels(region, panel)) => {
                let stored = Panels::of(layout, panel, channels, depth);
                if stored.bytes() != Some(region.len)
                    || layout == Layout::Columns && panel != wanted.panel
                {
                    return Err("panels that do not fit the shape");
                }
                match stored == wanted {
                    true => Some(0),
                    false => wanted.bytes(),
                }
            }
        };
        Ok(Self {
            id: linear.weights,
            weights: source,
            weight_dtype: weights.dtype,
            layout,
            channels,
            depth,
            bias,
            scales: match source {
                Source::Elements(_) => scales(cx, &weights, channels)?,
                Source::Panels(..) => Scales::Unit,
            },
            input: input.element,
            output: output.element,
            finish,
            expanded: Region {
                offset: cx.constants,
                len: expanded.ok_or("constants that are too large")?,
            },
        })
    }

    /// Bytes of constants that this node takes.
    pub(crate) fn constants(&self) -> usize {
        self.expanded.len
    }

    /// Checks the scales, which are in the body, or the multipliers of stored panels.
    pub(crate) fn check_scales(&self, body: &[u8]) -> Checked<()> {
        if let Some((stored, panels)) = self.stored(body) {
            let multipliers = (0..self.channels).map(|channel| stored.head(panels, channel));
            let valid =
                multipliers.map(|head| head.is_some_and(|(_, x)| x >= 0.0 && x.is_finite()));
            return match valid.min() {
                Some(true) => Ok(()),
                _ => Err("a multiplier that is negative or not finite"),
            };
        }
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

    /// The panels that the package has.
    fn stored<'s>(&self, body: &'s [u8]) -> Option<(Panels, &'s [u8])> {
        match self.weights {
            Source::Elements(_) => None,
            Source::Panels(region, panel) => Some((self.panels(panel), region.of(body)?)),
        }
    }

    /// The panels of a package.
    fn panels(&self, panel: Panel) -> Panels {
        Panels::of(self.layout, panel, self.channels, self.depth)
    }

    /// The panels that kernels of this layout read.
    fn wanted(&self, panel: Panel) -> Panels {
        self.panels(panel).laid_out(self.layout)
    }

    /// How the package would have to say that it has the layer's constants as kernels of this layout read them; `None`
    /// for a layer in single precision, and where they read rows of a window apart, which a package cannot say.
    #[cfg(feature = "std")]
    pub(crate) fn encoding(&self, panel: Panel) -> Option<Encoding> {
        let stored = self.panels(panel);
        let as_read = stored == self.wanted(panel) && !matches!(self.finish, Finish::Float(..));
        let panel = stored.panel;
        let encoding = Encoding::Panels {
            columns: u32::try_from(panel.columns).ok()?,
            step: u8::try_from(panel.step).ok()?,
            offset: u8::try_from(panel.offset).ok()?,
        };
        as_read.then_some(encoding)
    }

    /// Writes what kernels read into `own`, the node's constants, or checks it where the package has it.
    pub(crate) fn expand(&self, body: &[u8], panel: Panel, own: &mut [u8]) -> Expansion {
        let Element::I8 { zero_point, .. } = self.input else {
            return match cfg!(feature = "float_layers") {
                true => self.expand_float(body, own),
                false => Ok(()),
            };
        };
        let wanted = self.wanted(panel);
        if let Some((stored, panels)) = self.stored(body)
            && stored == wanted
        {
            return stored.check(panels).map_err(Fault::What);
        }
        self.place_weights(body, wanted, own)?;
        self.write_heads(body, zero_point, wanted, own)
    }

    /// The same for kernels that compute tiles.
    pub(crate) fn expand_tiles(&self, body: &[u8], kernels: Winograd, own: &mut [u8]) -> Expansion {
        let (Element::I8 { zero_point, .. }, Layout::Tiles { inputs, depth }) =
            (self.input, self.layout)
        else {
            return Err(OUTSIDE.into());
        };
        self.place_tiles(body, (inputs, depth), kernels, own)?;
        self.write_heads(body, zero_point, self.wanted(winograd::PANEL), own)
    }

    /// Writes the bias and the multiplier of every channel.
    fn write_heads(
        &self,
        body: &[u8],
        zero_point: i8,
        wanted: Panels,
        own: &mut [u8],
    ) -> Expansion {
        for channel in 0..self.channels {
            let constants = self.channel_constants(body, channel, zero_point, wanted, own);
            constants.ok_or(OUTSIDE)?;
        }
        Ok(())
    }

    /// Writes each code to its place, and the sum of each channel's codes where its bias will be.
    fn place_weights(&self, body: &[u8], wanted: Panels, own: &mut [u8]) -> Expansion {
        own.fill(0);
        let (mut at, mut symmetric, mut inside) = (0, true, true);
        let mut sink = |codes: &[i8]| {
            symmetric &= least(codes) != i8::MIN;
            let placed = match self.layout {
                Layout::Rows { .. } => place_rows(wanted, at, codes, own),
                Layout::Columns => place_columns(self.channels, at, codes, own),
                Layout::Tiles { .. } => None,
            };
            inside &= placed.is_some();
            at += codes.len();
        };
        match self.weights {
            Source::Elements(place) => {
                place.read(self.id, self.channels * self.depth, body, &mut sink)?
            }
            Source::Panels(region, panel) => {
                let panels = region.of(body).ok_or(OUTSIDE)?;
                self.panels(panel)
                    .read(panels, self.channels, &mut sink)
                    .ok_or(OUTSIDE)?;
            }
        }
        match (symmetric, inside) {
            (false, _) => Err(ASYMMETRIC.into()),
            (_, false) => Err("constants outside the arena".into()),
            _ => Ok(()),
        }
    }

    /// Decodes the codes to the end of `own`, brings those of each panel to their place before, transformed where they are kept so,
    /// and writes the sum of each channel's codes where its bias will be.
    fn place_tiles(
        &self,
        body: &[u8],
        (inputs, depth): (usize, Depth),
        kernels: Winograd,
        own: &mut [u8],
    ) -> Expansion {
        let outside = "constants outside the arena";
        let begin = own.len().checked_sub(self.channels * self.depth);
        let mut begin = begin.ok_or(outside)?;
        let weights = own.get_mut(begin..).ok_or(outside)?;
        let Source::Elements(place) = self.weights else {
            return Err(outside.into());
        };
        place.copy(self.id, body, weights)?;
        if least(codes(weights)) == i8::MIN {
            return Err(ASYMMETRIC.into());
        }
        let bytes = winograd::PANEL.bytes(depth);
        let keeps = depth.codes() != self.depth;
        for panel in 0..winograd::PANEL.count(self.channels) {
            let (panels, weights) = own.split_at_mut_checked(begin).ok_or(outside)?;
            let panel = panels
                .get_mut(panel * bytes..(panel + 1) * bytes)
                .ok_or(outside)?;
            let mut each = weights.chunks(winograd::PANEL.columns * self.depth);
            let weights = codes(each.next().unwrap_or_default());
            panel.fill(0);
            let (head, place) = panel.split_at_mut(winograd::PANEL.head());
            for (column, weights) in weights.chunks(self.depth).enumerate() {
                add_to(head, 4 * column, sum(weights)).ok_or(outside)?;
            }
            match keeps {
                true => words_mut(place)
                    .and_then(|place| (kernels.transform_weights)(weights, inputs, place)),
                false => codes_mut(place)
                    .get_mut(..weights.len())
                    .map(|place| place.copy_from_slice(weights)),
            }
            .ok_or(outside)?;
            begin += weights.len();
        }
        Ok(())
    }

    /// Turns a channel's sum of codes into its expanded bias, and writes its multiplier.
    fn channel_constants(
        &self,
        body: &[u8],
        channel: usize,
        zero_point: i8,
        wanted: Panels,
        own: &mut [u8],
    ) -> Option<()> {
        let [bias, multiplier] = wanted.head_places(channel);
        let bias: &mut [u8; 4] = own.get_mut(bias..)?.first_chunk_mut()?;
        let sum = i32::from_le_bytes(*bias);
        let (total, value) = match self.stored(body) {
            Some((stored, panels)) => {
                let (bias, multiplier) = stored.head(panels, channel)?;
                (
                    bias.wrapping_add(stored.panel.offset.wrapping_mul(sum)),
                    multiplier,
                )
            }
            None => {
                let total =
                    self.integer_bias(body, channel)? - i64::from(zero_point) * i64::from(sum);
                let total = total.clamp(-MAX_BIAS, MAX_BIAS) as i32;
                (total, self.multiplier(self.scale(body, channel)?))
            }
        };
        *bias = total
            .wrapping_sub(wanted.panel.offset.wrapping_mul(sum))
            .to_le_bytes();
        *own.get_mut(multiplier..)?.first_chunk_mut()? = value.to_le_bytes();
        Some(())
    }

    fn expand_float(&self, body: &[u8], own: &mut [u8]) -> Expansion {
        let short = "constants outside the arena";
        let (vectors, weights) = own
            .split_at_mut_checked(self.vectors_bytes())
            .ok_or(short)?;
        let (biases, multipliers) = vectors.split_at_mut(self.vectors_bytes() / 2);
        let biases = words_mut::<f32>(biases).ok_or(short)?;
        let multipliers = words_mut::<f32>(multipliers).ok_or(short)?;
        let vectors = biases.iter_mut().zip(multipliers).enumerate();
        for (channel, (bias, multiplier)) in vectors.take(self.channels) {
            *bias = match self.bias {
                Some((region, _)) => element(region, body, channel).map(f32::from_le_bytes),
                None => Some(0.0),
            }
            .ok_or(OUTSIDE)?;
            *multiplier = self.multiplier(self.scale(body, channel).ok_or(OUTSIDE)?);
        }
        match (self.weight_dtype, self.weights) {
            (DType::I8, Source::Elements(place)) => {
                self.place_float_codes(place, body, codes_mut(weights))
            }
            _ => Ok(()),
        }
    }

    /// Writes each code to its place among those that float kernels read.
    fn place_float_codes(&self, place: Place, body: &[u8], own: &mut [i8]) -> Expansion {
        let (depth, elements) = (self.depth, self.channels * self.depth);
        let group = match self.layout {
            Layout::Rows { groups, .. } => Some(self.channels / groups.max(1)),
            Layout::Columns | Layout::Tiles { .. } => None,
        };
        let (mut at, mut inside) = (0, true);
        place.read(self.id, elements, body, &mut |codes| {
            for &code in codes {
                let place = match group {
                    Some(group) => float_place(at / depth, at % depth, depth, group),
                    None => at,
                };
                match own.get_mut(place) {
                    Some(own) => *own = code,
                    None => inside = false,
                }
                at += 1;
            }
        })?;
        match inside {
            true => Ok(()),
            false => Err("constants outside the arena".into()),
        }
    }

    fn vectors_bytes(&self) -> usize {
        2 * (4 * self.channels).next_multiple_of(ALIGNMENT)
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

    /// What an integer layer's kernels read.
    pub(crate) fn expanded<'s>(&self, body: &'s [u8], constants: &'s [u8]) -> Option<&'s [u8]> {
        match self.weights {
            Source::Panels(region, _) if self.expanded.len == 0 => region.of(body),
            _ => self.expanded.of(constants),
        }
    }

    /// What a float layer's kernels read for some output channels, clamped to `bounds`.
    pub(crate) fn floats<'s>(
        &self,
        (body, constants): (&'s [u8], &'s [u8]),
        channels: Range<usize>,
        bounds: (f32, f32),
    ) -> Option<Floats<'s>> {
        let expanded = self.expanded.of(constants)?;
        let (vectors, placed) = expanded.split_at_checked(self.vectors_bytes())?;
        let weights = match (self.weight_dtype, self.weights) {
            (DType::F32, Source::Elements(Place::Raw(region))) => {
                FloatWeights::Floats(region.of(body)?.as_chunks().0)
            }
            _ => FloatWeights::Codes(codes(placed)),
        };
        let (bias, multiplier) = vectors.split_at_checked(self.vectors_bytes() / 2)?;
        Some(Floats {
            weights: weights.range(channels.start * self.depth..channels.end * self.depth)?,
            bias: words(bias)?.get(channels.clone())?,
            multiplier: words(multiplier)?.get(channels)?,
            bounds,
        })
    }
}

/// Bytes of biases and multipliers, and of weights that are codes.
fn float_constants(weights: DType, channels: usize, depth: usize) -> Option<usize> {
    let vectors = aligned(4 * channels)?.checked_mul(2)?;
    match weights {
        DType::I8 => vectors.checked_add(channels * depth),
        _ => Some(vectors),
    }
}

fn element<const N: usize>(region: Region, body: &[u8], index: usize) -> Option<[u8; N]> {
    region.of(body)?.get(index * N..)?.first_chunk().copied()
}

/// A constant vector that is read in place.
fn vector(tensor: &Tensor, elements: usize) -> Checked<Region> {
    match blob(tensor)? {
        _ if tensor.elements() != Some(elements) => {
            Err("a bias or scale vector whose length is not the number of output channels")
        }
        (region, Encoding::Raw) => Ok(region),
        _ => Err("an encoded bias or scale vector"),
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
