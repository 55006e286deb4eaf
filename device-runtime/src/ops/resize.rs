//! Changes height and width. Coordinates are exact fractions; only the interpolation rounds.

use super::bounds::{chunks_mut, copy, row_and_column};
use super::{Checked, Context, Element, Memory, Region, Work, codes, codes_mut, words, words_mut};
use crate::quantize::round_half_even;
use edgeprune_format::manifest::{ResizeCoordinates, ResizeKind};

/// What an element costs, in products of an integer convolution.
const COST: u64 = 128;

#[derive(Clone, Debug)]
pub(crate) struct Resize {
    kind: ResizeKind,
    coordinates: ResizeCoordinates,
    element: Element,
    /// Height, width, channels.
    input_shape: [usize; 3],
    output_shape: [usize; 3],
    input: Region,
}

/// Two neighbours along an axis and the weight of the second.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Between {
    first: usize,
    second: usize,
    weight: f32,
}

impl Resize {
    pub(crate) fn prepare(
        cx: &Context<'_, '_>,
        kind: ResizeKind,
        coordinates: ResizeCoordinates,
    ) -> Checked<Self> {
        let (input, output) = (cx.input()?, cx.output()?);
        if input.element != output.element {
            return Err("a resize keeps element type and quantization");
        }
        if input.shape[2] != output.shape[2] {
            return Err("a resize keeps the channels");
        }
        if let ResizeCoordinates::Lines { height, width } = coordinates
            && (height.denominator == 0 || width.denominator == 0)
        {
            return Err("a resize divides coordinates by zero");
        }
        Ok(Self {
            kind,
            coordinates,
            element: input.element,
            input_shape: input.shape,
            output_shape: output.shape,
            input: input.region,
        })
    }

    pub(crate) fn work(&self) -> Work {
        Work::of_positions(self.output_shape, COST)
    }

    pub(crate) fn run(&self, memory: &mut Memory<'_>) -> Option<()> {
        let input = memory.input(self.input)?;
        let first = memory.pieces.start;
        match (self.kind, self.element) {
            (ResizeKind::Nearest, element) => {
                self.nearest(first, input, memory.output, element.size())
            }
            (ResizeKind::Bilinear, Element::I8 { .. }) => {
                let output = codes_mut(memory.output);
                self.bilinear(first, codes(input), output, f32::from, |value| {
                    round_half_even(value) as i8
                })
            }
            (ResizeKind::Bilinear, Element::F32) => self.bilinear(
                first,
                words::<f32>(input)?,
                words_mut::<f32>(memory.output)?,
                |value| value,
                |value| value,
            ),
        }
    }

    /// From position `first` on.
    fn nearest(&self, first: usize, input: &[u8], output: &mut [u8], size: usize) -> Option<()> {
        let [_, input_width, channels] = self.input_shape;
        let width = self.output_shape[1];
        let len = channels * size;
        for (position, out) in (first..).zip(chunks_mut(output, len)?) {
            let (y, x) = row_and_column(position, width)?;
            let (y, x) = (self.between(0, y)?.first, self.between(1, x)?.first);
            let at = (y * input_width + x) * len;
            copy(out, input.get(at..at + len)?)?;
        }
        Some(())
    }

    /// From position `first` on.
    fn bilinear<T: Copy>(
        &self,
        first: usize,
        input: &[T],
        output: &mut [T],
        value: impl Fn(T) -> f32,
        element: impl Fn(f32) -> T,
    ) -> Option<()> {
        let [_, input_width, channels] = self.input_shape;
        let width = self.output_shape[1];
        let pixel = |y: usize, x: usize| {
            let at = (y * input_width + x) * channels;
            input.get(at..at + channels)
        };
        for (position, out) in (first..).zip(chunks_mut(output, channels)?) {
            let (y, x) = row_and_column(position, width)?;
            let (y, x) = (self.between(0, y)?, self.between(1, x)?);
            let top = pixel(y.first, x.first)?
                .iter()
                .zip(pixel(y.first, x.second)?);
            let bottom = pixel(y.second, x.first)?
                .iter()
                .zip(pixel(y.second, x.second)?);
            for (out, (top, bottom)) in out.iter_mut().zip(top.zip(bottom)) {
                let top = mix(value(*top.0), value(*top.1), x.weight);
                let bottom = mix(value(*bottom.0), value(*bottom.1), x.weight);
                *out = element(mix(top, bottom, y.weight));
            }
        }
        Some(())
    }

    /// Where an output coordinate lies in the input.
    fn between(&self, axis: usize, at: usize) -> Option<Between> {
        let (input, output) = (
            self.input_shape[axis] as i64,
            self.output_shape[axis] as i64,
        );
        let at = at as i64;
        let (numerator, denominator) = match self.coordinates {
            ResizeCoordinates::Asymmetric => (at * input, output),
            ResizeCoordinates::HalfPixel => ((2 * at + 1) * input - output, 2 * output),
            ResizeCoordinates::AlignCorners => (at * (input - 1), (output - 1).max(1)),
            ResizeCoordinates::Lines { height, width } => {
                let line = if axis == 0 { height } else { width };
                let steps = at.checked_mul(line.step.into())?;
                let numerator = steps.checked_add(line.start.into())?;
                (numerator, line.denominator.into())
            }
        };
        let first = numerator.checked_div_euclid(denominator)?;
        if first < 0 {
            return Some(Between::exactly(0));
        }
        if first >= input - 1 {
            return Some(Between::exactly(input as usize - 1));
        }
        let rest = numerator.checked_rem_euclid(denominator)?;
        Some(Between {
            first: first as usize,
            second: first as usize + 1,
            weight: rest as f32 / denominator as f32,
        })
    }
}

impl Between {
    fn exactly(at: usize) -> Self {
        Self {
            first: at,
            second: at,
            weight: 0.0,
        }
    }
}

fn mix(a: f32, b: f32, weight: f32) -> f32 {
    a + (b - a) * weight
}
