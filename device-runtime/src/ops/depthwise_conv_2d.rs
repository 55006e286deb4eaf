//! 2-D convolution of each channel with its own kernel. Taps in the padding are left out.

use super::bounds::chunks_mut;
use super::linear::{Finish, Layout, Linear, finish_float};
use super::window::Geometry;
use super::{Checked, Context, Memory, Region, codes, codes_mut, words, words_mut};
use crate::quantize::clamp;
use edgeprune_format::manifest::{self, Window};

#[derive(Clone, Debug)]
pub(crate) struct DepthwiseConv2d {
    pub(crate) linear: Linear,
    geometry: Geometry,
    input: Region,
    zero_point: i8,
}

impl DepthwiseConv2d {
    pub(crate) fn prepare(
        cx: &Context<'_, '_>,
        linear: manifest::Linear,
        window: Window,
    ) -> Checked<Self> {
        let (input, output) = (cx.input()?, cx.output()?);
        let geometry = Geometry::prepare(&input, &output, window)?;
        let [_, _, channels] = input.shape;
        if channels != output.shape[2] {
            return Err("a depthwise convolution keeps the channels");
        }
        let [height, width] = geometry.kernel;
        let shape = [1, height, width, channels];
        let operands = (&input, &output);
        Ok(Self {
            linear: Linear::prepare(cx, linear, operands, shape, Layout::Columns, channels)?,
            geometry,
            input: input.region,
            zero_point: input.element.zero_point(),
        })
    }

    pub(crate) fn scratch(&self) -> Option<usize> {
        match self.linear.finish {
            Finish::Float(..) => Some(0),
            _ => self.geometry.output[2].checked_mul(4),
        }
    }

    pub(crate) fn run(&self, memory: &mut Memory<'_>) -> Option<()> {
        match self.linear.finish {
            Finish::Codes(range) => {
                let kernels = memory.kernels.table();
                let vectors = self.linear.vectors::<i32>(memory.constants)?;
                self.run_integer(memory, |sums, output, at| {
                    let out = codes_mut(output).get_mut(at..at + sums.len())?;
                    (kernels.finish_i8)(sums, vectors.bias, vectors.multiplier, range, out);
                    Some(())
                })
            }
            Finish::IntegerToFloat(min, max) => {
                let vectors = self.linear.vectors::<i32>(memory.constants)?;
                self.run_integer(memory, |sums, output, at| {
                    let out = words_mut::<f32>(output)?.get_mut(at..at + sums.len())?;
                    finish_float(sums, vectors.bias, vectors.multiplier, (min, max), out);
                    Some(())
                })
            }
            Finish::Float(min, max) => self.run_float(memory, min, max),
        }
    }

    /// Gives the sums of each output position to `finish`, with the output and where in it.
    fn run_integer(
        &self,
        memory: &mut Memory<'_>,
        mut finish: impl FnMut(&[i32], &mut [u8], usize) -> Option<()>,
    ) -> Option<()> {
        let kernels = memory.kernels.table();
        let input = codes(memory.input(self.input)?);
        let weights = self.linear.codes(memory.body, memory.constants)?;
        let channels = self.geometry.output[2];
        let sums = words_mut::<i32>(memory.scratch)?.get_mut(..channels)?;
        for position in 0..self.geometry.positions() {
            let taps = self.geometry.taps_at(input, position)?;
            sums.fill(0);
            (kernels.depthwise_i8)(&taps, weights, self.zero_point, sums)?;
            finish(sums, memory.output, position * channels)?;
        }
        Some(())
    }

    fn run_float(&self, memory: &mut Memory<'_>, min: f32, max: f32) -> Option<()> {
        let kernels = memory.kernels.table();
        let input = words::<f32>(memory.input(self.input)?)?;
        let weights = self.linear.float_weights(memory.body, memory.constants)?;
        let vectors = self.linear.vectors::<f32>(memory.constants)?;
        let output = words_mut::<f32>(memory.output)?;
        let channels = self.geometry.output[2];
        for (position, out) in chunks_mut(output, channels)?.enumerate() {
            let taps = self.geometry.taps_at(input, position)?;
            out.fill(0.0);
            (kernels.depthwise_f32)(&taps, weights, out)?;
            let vectors = vectors.bias.iter().zip(vectors.multiplier);
            for (out, (bias, scale)) in out.iter_mut().zip(vectors) {
                *out = clamp(*out * scale + bias, min, max);
            }
        }
        Some(())
    }
}
