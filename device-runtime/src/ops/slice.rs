//! Takes evenly spaced elements along height, width and channels.

use super::bounds::{chunks, chunks_mut, copy, row_and_column};
use super::{Checked, Context, Memory, Region, Work};

/// What an element costs, in products of an integer convolution.
const COST: u64 = 64;

#[derive(Clone, Debug)]
pub(crate) struct Slice {
    start: [usize; 3],
    step: [usize; 3],
    /// Height, width, channels.
    input_shape: [usize; 3],
    output_shape: [usize; 3],
    size: usize,
    input: Region,
}

impl Slice {
    pub(crate) fn prepare(cx: &Context<'_, '_>, start: [u32; 3], step: [u16; 3]) -> Checked<Self> {
        let (input, output) = (cx.input()?, cx.output()?);
        if input.element != output.element {
            return Err("a slice keeps element type and quantization");
        }
        for axis in 0..3 {
            let last =
                u64::from(start[axis]) + (output.shape[axis] as u64 - 1) * u64::from(step[axis]);
            if step[axis] == 0 || last >= input.shape[axis] as u64 {
                return Err("a slice outside its input");
            }
        }
        Ok(Self {
            start: start.map(|start| start as usize),
            step: step.map(usize::from),
            input_shape: input.shape,
            output_shape: output.shape,
            size: input.element.size(),
            input: input.region,
        })
    }

    pub(crate) fn work(&self) -> Work {
        Work::of_positions(self.output_shape, COST)
    }

    pub(crate) fn run(&self, memory: &mut Memory<'_>) -> Option<()> {
        let input = memory.input(self.input)?;
        let [_, width, channels] = self.output_shape;
        let [_, input_width, input_channels] = self.input_shape;
        let pixels = chunks_mut(memory.output, channels * self.size)?;
        for (position, out) in (memory.pieces.start..).zip(pixels) {
            let (y, x) = row_and_column(position, width)?;
            let y = self.start[0] + y * self.step[0];
            let x = self.start[1] + x * self.step[1];
            let at = ((y * input_width + x) * input_channels + self.start[2]) * self.size;
            let pixel = input.get(at..)?;
            if self.step[2] == 1 {
                copy(out, pixel.get(..out.len())?)?;
                continue;
            }
            let from = chunks(pixel, self.size)?.step_by(self.step[2].max(1));
            for (out, from) in chunks_mut(out, self.size)?.zip(from) {
                copy(out, from)?;
            }
        }
        Some(())
    }
}
