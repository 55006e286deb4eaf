//! Resizing: coordinates follow the source's scales, which are the ratios of the sizes only where
//! nothing was rounded.

use super::Lowering;
use super::layout::Lowered;
use crate::graph::{Op, ResizeCoordinates, ResizeKind, ResizeLine, resize_taps};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::nn::resize::{self as core, CoordTransformer, Interpolator};
use tract_onnx_opl::resize::{self as onnx, AspectRatio, CoordTransform};

/// What a resize does, however the source says it.
struct Resampling {
    kind: ResizeKind,
    transformer: CoordTransformer,
    rounding: Rounding,
    /// Along each axis.
    scales: Vec<f32>,
}

/// How nearest-neighbour coordinates become whole numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rounding {
    Floor,
    Ceil,
    /// To nearest, halves down.
    PreferFloor,
    /// To nearest, halves up.
    PreferCeil,
}

/// A positive fraction, and a coordinate as `(start + x * step) / denominator`.
#[derive(Clone, Copy, Debug)]
struct Line {
    start: i64,
    step: i64,
    denominator: i64,
}

impl Lowering<'_> {
    /// ONNX's resize, with all of its options.
    pub(super) fn onnx_resize(
        &mut self,
        node: &TypedNode,
        op: &onnx::Resize,
    ) -> Result<Lowered, String> {
        let CoordTransform::Plain(transformer) = &op.coord_transformer else {
            return Err("a resize that crops".into());
        };
        let (from, to) = (self.input(node, 0)?.dims(), self.dims(node.id.into())?);
        let scales = self.onnx_scales(node, op, &from, &to)?;
        if op.antialias && scales.iter().any(|&scale| scale < 1.0) {
            return Err("a resize with antialiasing".into());
        }
        let rounding = match op.nearest {
            onnx::Nearest::Floor => Rounding::Floor,
            onnx::Nearest::Ceil => Rounding::Ceil,
            onnx::Nearest::RoundPreferFloor => Rounding::PreferFloor,
            onnx::Nearest::RoundPreferCeil => Rounding::PreferCeil,
        };
        let resampling = Resampling {
            kind: kind(&op.interpolator)?,
            transformer: transformer.clone(),
            rounding,
            scales,
        };
        self.resample(node, &resampling, &to)
    }

    /// The scale of each axis: as given, or what the sizes ask for.
    fn onnx_scales(
        &self,
        node: &TypedNode,
        op: &onnx::Resize,
        from: &[usize],
        to: &[usize],
    ) -> Result<Vec<f32>, String> {
        let axes = op
            .resized_axes(from.len())
            .map_err(|error| error.to_string())?;
        let values = |slot: Option<usize>| {
            let constant = self.constant(*node.inputs.get(slot?)?)?;
            (constant.data.len() == axes.len()).then_some(constant.data)
        };
        let ratio = |axis: usize, size: f32| size / from[axis] as f32;
        let mut scales = vec![1.0; from.len()];
        if let Some(given) = values(op.optional_scales_input) {
            axes.iter()
                .zip(given)
                .for_each(|(&axis, scale)| scales[axis] = scale);
            return Ok(scales);
        }
        let sizes = values(op.optional_sizes_input).ok_or("its sizes are not constants")?;
        let ratios = || {
            axes.iter()
                .zip(&sizes)
                .map(|(&axis, &size)| ratio(axis, size))
        };
        let common = match op.keep_aspect_ratio_policy {
            AspectRatio::Stretch => None,
            AspectRatio::NotLarger => ratios().reduce(f32::min),
            AspectRatio::NotSmaller => ratios().reduce(f32::max),
        };
        for &axis in &axes {
            scales[axis] = common.unwrap_or_else(|| ratio(axis, to[axis] as f32));
        }
        Ok(scales)
    }

    /// tract's own resize, which TFLite files become.
    pub(super) fn core_resize(
        &mut self,
        node: &TypedNode,
        op: &core::Resize,
    ) -> Result<Lowered, String> {
        let (from, to) = (self.input(node, 0)?.dims(), self.dims(node.id.into())?);
        let given = op.optional_scales_input.and_then(|slot| {
            let constant = self.constant(*node.inputs.get(slot)?)?;
            (constant.data.len() == from.len()).then_some(constant.data)
        });
        let ratios = || {
            from.iter()
                .zip(&to)
                .map(|(&from, &to)| to as f32 / from as f32)
        };
        let resampling = Resampling {
            kind: kind(&op.interpolator)?,
            transformer: op.coord_transformer.clone(),
            rounding: match op.nearest {
                core::Nearest::Floor => Rounding::Floor,
                core::Nearest::RoundPreferCeil => Rounding::PreferCeil,
            },
            scales: given.unwrap_or_else(|| ratios().collect()),
        };
        self.resample(node, &resampling, &to)
    }

    fn resample(
        &mut self,
        node: &TypedNode,
        resampling: &Resampling,
        to: &[usize],
    ) -> Result<Lowered, String> {
        let value = self.input(node, 0)?;
        let from = value.dims();
        let resized = |&axis: &usize| from[axis] != to[axis] || resampling.scales[axis] != 1.0;
        let axes: Vec<usize> = (0..to.len()).filter(resized).collect();
        let [height, width] = match axes.as_slice() {
            [] => return Ok(value),
            &[w] => [None, Some(w)],
            &[h, w] => [Some(h), Some(w)],
            _ => return Err("resize of more than two dimensions".into()),
        };
        let coordinates = resampling.coordinates(&from, to, [height, width])?;
        let channels: Vec<usize> = (0..to.len()).filter(|axis| !axes.contains(axis)).collect();
        let parts = [
            height.into_iter().collect::<Vec<_>>(),
            width.into_iter().collect(),
            channels,
        ];
        let input =
            self.builder
                .arrange_axes(&value, [&parts[0], &parts[1], &parts[2]], &node.name);
        let size = |axes: &[usize]| axes.iter().map(|&axis| to[axis]).product::<usize>();
        let shape = [1, size(&parts[0]), size(&parts[1]), size(&parts[2])];
        let op = Op::Resize {
            kind: resampling.kind,
            coordinates,
        };
        let tensor = self.builder.node(&node.name, op, vec![input], shape);
        Ok(Lowered::ordered(tensor, to, &parts.concat()))
    }
}

fn kind(interpolator: &Interpolator) -> Result<ResizeKind, String> {
    match interpolator {
        Interpolator::Nearest => Ok(ResizeKind::Nearest),
        Interpolator::Linear => Ok(ResizeKind::Bilinear),
        Interpolator::Cubic => Err("cubic resize".into()),
    }
}

impl Resampling {
    /// The coordinates of height and width: a rule by the sizes if one fits, else lines.
    fn coordinates(
        &self,
        from: &[usize],
        to: &[usize],
        axes: [Option<usize>; 2],
    ) -> Result<ResizeCoordinates, String> {
        let line = |axis: Option<usize>| match axis {
            Some(axis) => self.line(from[axis], to[axis], self.scales[axis]),
            None => Ok(ResizeLine::IDENTITY),
        };
        let lines = ResizeCoordinates::Lines {
            height: line(axes[0])?,
            width: line(axes[1])?,
        };
        let taps = |coordinates, place: usize| {
            let sizes = axes[place].map_or([1, 1], |axis| [from[axis], to[axis]]);
            resize_taps(self.kind, coordinates, place, sizes)
        };
        let same = |rule: &ResizeCoordinates| {
            (0..2).all(|place| {
                let pairs = taps(*rule, place).into_iter().zip(taps(lines, place));
                pairs.into_iter().all(|(a, b)| equal(a, b))
            })
        };
        use ResizeCoordinates::{AlignCorners, Asymmetric, HalfPixel};
        let rule = [Asymmetric, HalfPixel, AlignCorners].into_iter().find(same);
        Ok(rule.unwrap_or(lines))
    }

    /// The coordinates along one axis.
    fn line(&self, from: usize, to: usize, scale: f32) -> Result<ResizeLine, String> {
        let exact = self.exact_line(from, to, scale)?;
        if self.kind == ResizeKind::Bilinear {
            return exact.narrow();
        }
        // The source computes in f32: where a coordinate is a tie it may fall to either side.
        let wanted = self.sources(from, to, scale);
        for nudge in [0, 1, -1] {
            let line = exact.rounded(self.rounding, nudge).narrow()?;
            let lines = ResizeCoordinates::Lines {
                height: line,
                width: line,
            };
            let taps = resize_taps(ResizeKind::Nearest, lines, 0, [from, to]);
            if taps.into_iter().map(|tap| tap.0).eq(wanted.iter().copied()) {
                return Ok(line);
            }
        }
        Err("a rounding of coordinates that edgeprune does not have".into())
    }

    /// Coordinates as the source's rule has them, in exact arithmetic.
    fn exact_line(&self, from: usize, to: usize, scale: f32) -> Result<Line, String> {
        let (p, q) = fraction(scale, from, to)?;
        let (n, m) = (from as i64, to as i64);
        let half_pixel = Line {
            start: q - p,
            step: 2 * q,
            denominator: 2 * p,
        };
        let line = match self.transformer {
            CoordTransformer::HalfPixel => half_pixel,
            CoordTransformer::PytorchHalfPixel if to > 1 => half_pixel,
            CoordTransformer::PytorchHalfPixel => Line {
                start: 0,
                step: 0,
                denominator: 1,
            },
            CoordTransformer::Asymmetric => Line {
                start: 0,
                step: q,
                denominator: p,
            },
            CoordTransformer::AlignCorners if n * p != m * q => {
                // ONNX takes the unrounded size here, ONNX Runtime the rounded one.
                return Err("align_corners by a scale that does not fit the size: \
                            export the network with sizes"
                    .into());
            }
            CoordTransformer::AlignCorners => Line {
                start: 0,
                step: n - 1,
                denominator: (m - 1).max(1),
            },
            CoordTransformer::HalfPixelSymmetric => Line {
                start: n * p - m * q + q - p,
                ..half_pixel
            },
            CoordTransformer::TfHalfPixelForNn => Line {
                start: q,
                ..half_pixel
            },
        };
        Ok(line)
    }

    /// The input element that each output element of a nearest-neighbour resize reads, computed
    /// in `f32` as exporters' runtimes do.
    fn sources(&self, from: usize, to: usize, scale: f32) -> Vec<usize> {
        let last = from.saturating_sub(1) as f32;
        let source = |x: usize| {
            let at = self.transformer.transform(x, scale, from, to);
            let at = match self.rounding {
                Rounding::Floor => at.floor(),
                Rounding::Ceil => at.ceil(),
                Rounding::PreferFloor => (at - 0.5).ceil(),
                Rounding::PreferCeil => (at + 0.5).floor(),
            };
            at.clamp(0.0, last) as usize
        };
        (0..to).map(source).collect()
    }
}

impl Line {
    /// The line whose floor is this line's rounded coordinate; `nudge` moves ties.
    fn rounded(self, rounding: Rounding, nudge: i64) -> Self {
        // Eighths of a denominator leave room for a nudge that moves ties and nothing else.
        let Self {
            start,
            step,
            denominator,
        } = self;
        let (start, step, whole) = (8 * start, 8 * step, 8 * denominator);
        let start = match rounding {
            Rounding::Floor => start,
            Rounding::Ceil => start + whole - 1,
            Rounding::PreferFloor => start + whole / 2 - 1,
            Rounding::PreferCeil => start + whole / 2,
        };
        let line = Self {
            start: start + 2 * nudge,
            step,
            denominator: whole,
        };
        match nudge {
            0 => line.reduced(),
            _ => line,
        }
    }

    /// The same line in lowest terms, where its coordinates are the same.
    fn reduced(self) -> Self {
        let divisor = gcd(gcd(self.start.abs(), self.step), self.denominator).max(1);
        Self {
            start: self.start / divisor,
            step: self.step / divisor,
            denominator: self.denominator / divisor,
        }
    }

    fn narrow(self) -> Result<ResizeLine, String> {
        let line = self.reduced();
        let narrowed = (|| {
            Some(ResizeLine {
                start: line.start.try_into().ok()?,
                step: line.step.try_into().ok()?,
                denominator: line.denominator.try_into().ok()?,
            })
        })();
        narrowed.ok_or_else(|| "a scale that is no simple fraction".into())
    }
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The simplest fraction that is `scale` in `f32`: `to / from`, or the first convergent.
fn fraction(scale: f32, from: usize, to: usize) -> Result<(i64, i64), String> {
    if !(scale.is_finite() && scale > 0.0) {
        return Err(format!("a scale of {scale}"));
    }
    let is_scale = |p: i64, q: i64| p as f32 / q as f32 == scale;
    if is_scale(to as i64, from as i64) {
        return Ok((to as i64, from as i64));
    }
    let (mut before, mut last) = ((0, 1), (1, 0));
    let mut rest = f64::from(scale);
    for _ in 0..32 {
        let whole = rest.floor();
        let term = whole as i64;
        let next = |a: i64, b: i64| term.checked_mul(b)?.checked_add(a);
        let convergent = next(before.0, last.0).zip(next(before.1, last.1));
        let Some((p, q)) = convergent else { break };
        if p > 0 && is_scale(p, q) {
            return Ok((p, q));
        }
        (before, last) = (last, (p, q));
        rest = (rest - whole).recip();
    }
    Err(format!("a scale of {scale}"))
}

/// Taps that read the same elements, up to the rounding of weights.
fn equal(a: (usize, usize, f32), b: (usize, usize, f32)) -> bool {
    let position = |tap: (usize, usize, f32)| tap.0 as f32 + tap.2 * (tap.1 - tap.0) as f32;
    a.0 == b.0 && a.1 == b.1 && (a.2 - b.2).abs() < 1e-6 || {
        // A weight of 0 or 1 names one element in two ways.
        let whole = |tap: (usize, usize, f32)| position(tap).fract() == 0.0;
        whole(a) && whole(b) && position(a) == position(b)
    }
}
