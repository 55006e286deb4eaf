//! Mean over a window. In integers: `f32(sum(code - zero_point)) * (s_in / (count * s_out))`; in
//! single precision: the sum in order of the taps, divided by the count.

use super::bounds::chunks_mut;
use super::window::Geometry;
use super::{
    Activation, Checked, Context, Element, Memory, Region, Work, codes, codes_mut, words, words_mut,
};
use crate::quantize::Codes;
use edgeprune_format::manifest::Window;

/// Most elements of a window: a sum of codes stays within an `i32`, a count within an `f32`.
const MAX_WINDOW: usize = 1 << 23;
/// What an element of the window costs, in products of an integer convolution.
const COST: u64 = 16;

#[derive(Clone, Debug)]
pub(crate) struct AveragePool2d {
    geometry: Geometry,
    count_include_pad: bool,
    average: Average,
    input: Region,
}

/// The elements of a mean's input and output.
#[derive(Clone, Copy, Debug)]
enum Average {
    Integer {
        input_scale: f32,
        zero_point: i32,
        output_scale: f32,
        codes: Codes,
    },
    Float,
}

impl Average {
    fn prepare(input: &Activation, output: &Activation) -> Checked<Self> {
        match (input.element, output.element) {
            (
                Element::I8 {
                    scale: input_scale,
                    zero_point: from,
                },
                Element::I8 { scale, zero_point },
            ) => {
                if !(input_scale / scale).is_finite() {
                    return Err("scales whose ratio overflows");
                }
                Ok(Self::Integer {
                    input_scale,
                    zero_point: i32::from(from),
                    output_scale: scale,
                    codes: Codes::new(zero_point, i8::MIN, i8::MAX),
                })
            }
            (Element::F32, Element::F32) => Ok(Self::Float),
            _ => Err("a mean keeps the element type"),
        }
    }
}

impl AveragePool2d {
    pub(crate) fn prepare(
        cx: &Context<'_, '_>,
        window: Window,
        count_include_pad: bool,
    ) -> Checked<Self> {
        let (input, output) = (cx.input()?, cx.output()?);
        if input.shape[2] != output.shape[2] {
            return Err("pooling keeps the channels");
        }
        let geometry = Geometry::prepare(&input, &output, window)?;
        if geometry.window() > MAX_WINDOW {
            return Err("a mean of more than 2^23 elements");
        }
        Ok(Self {
            geometry,
            count_include_pad,
            average: Average::prepare(&input, &output)?,
            input: input.region,
        })
    }

    /// Sums of one output position, in integers.
    pub(crate) fn scratch(&self) -> Option<usize> {
        match self.average {
            Average::Integer { .. } => self.geometry.output[2].checked_mul(4),
            Average::Float => Some(0),
        }
    }

    pub(crate) fn work(&self) -> Work {
        let cost = (self.geometry.window() as u64).saturating_mul(COST);
        Work::of_positions(self.geometry.output, cost)
    }

    pub(crate) fn run(&self, memory: &mut Memory<'_>) -> Option<()> {
        let kernels = memory.kernels.table();
        let input = memory.input(self.input)?;
        let channels = self.geometry.output[2];
        let first = memory.pieces.start;
        match self.average {
            Average::Integer {
                input_scale,
                zero_point,
                output_scale,
                codes: range,
            } => {
                let sums = words_mut::<i32>(memory.scratch)?.get_mut(..channels)?;
                let rows = chunks_mut(codes_mut(memory.output), channels)?;
                for (position, out) in (first..).zip(rows) {
                    let taps = self.geometry.taps_at(codes(input), position)?;
                    let inside = taps.rows.len() * taps.columns.len();
                    sums.fill(0);
                    (kernels.sum_i8)(&taps, sums)?;
                    let offset = zero_point * inside as i32;
                    let multiplier = input_scale / (self.count(inside) * output_scale);
                    for (out, &sum) in out.iter_mut().zip(sums.iter()) {
                        *out = range.round(sum.wrapping_sub(offset) as f32 * multiplier);
                    }
                }
            }
            Average::Float => {
                let input = words::<f32>(input)?;
                let rows = chunks_mut(words_mut::<f32>(memory.output)?, channels)?;
                for (position, out) in (first..).zip(rows) {
                    let taps = self.geometry.taps_at(input, position)?;
                    let count = self.count(taps.rows.len() * taps.columns.len());
                    out.fill(0.0);
                    (kernels.sum_f32)(&taps, out)?;
                    out.iter_mut().for_each(|out| *out /= count);
                }
            }
        }
        Some(())
    }

    /// The divisor.
    fn count(&self, inside: usize) -> f32 {
        if self.count_include_pad {
            self.geometry.window() as f32
        } else {
            inside.max(1) as f32
        }
    }

    /// The mean over height and width.
    pub(crate) fn global(cx: &Context<'_, '_>) -> Checked<Self> {
        let (input, output) = (cx.input()?, cx.output()?);
        let [height, width, channels] = input.shape;
        if output.shape != [1, 1, channels] {
            return Err("a mean leaves height and width of 1, and the channels");
        }
        let dims = [height, width].map(u16::try_from);
        let [Ok(height), Ok(width)] = dims else {
            return Err("a mean over more than 65535 rows or columns");
        };
        let window = Window {
            kernel: [height, width],
            stride: [1, 1],
            dilation: [1, 1],
            pad: [0, 0],
        };
        Self::prepare(cx, window, false)
    }
}
