//! Reorders height, width and channels.

use super::bounds::{chunks, chunks_mut, copy, row_and_column};
use super::{Checked, Context, Memory, Region, Work};

/// What an element costs, in products of an integer convolution.
const COST: u64 = 128;

#[derive(Clone, Debug)]
pub(crate) struct Transpose {
    /// Distance in the input, in elements, of neighbours along each axis of the output.
    strides: [usize; 3],
    /// Height, width, channels of the output.
    shape: [usize; 3],
    size: usize,
    input: Region,
}

impl Transpose {
    pub(crate) fn prepare(cx: &Context<'_, '_>, perm: [u8; 4]) -> Checked<Self> {
        let (input, output) = (cx.input()?, cx.output()?);
        if input.element != output.element {
            return Err("a transposition keeps element type and quantization");
        }
        let mut sorted = perm;
        sorted.sort_unstable();
        let [0, axes @ ..] = perm else {
            return Err("a transposition of the batch");
        };
        if sorted != [0, 1, 2, 3] {
            return Err("a transposition that is not a permutation");
        }
        if permuted(input.shape, axes) != output.shape {
            return Err("an output whose shape is not the permuted input's");
        }
        let [_, width, channels] = input.shape;
        let strides = [width * channels, channels, 1];
        Ok(Self {
            strides: permuted(strides, axes),
            shape: output.shape,
            size: input.element.size(),
            input: input.region,
        })
    }

    pub(crate) fn work(&self) -> Work {
        Work::of_positions(self.shape, COST)
    }

    pub(crate) fn run(&self, memory: &mut Memory<'_>) -> Option<()> {
        let input = memory.input(self.input)?;
        let [_, width, channels] = self.shape;
        let size = self.size;
        let pixels = chunks_mut(memory.output, channels * size)?;
        for (position, out) in (memory.pieces.start..).zip(pixels) {
            let (y, x) = row_and_column(position, width)?;
            let at = y * self.strides[0] + x * self.strides[1];
            let from = input.get(at * size..)?;
            let from = chunks(from, size)?.step_by(self.strides[2].max(1));
            for (out, from) in chunks_mut(out, size)?.zip(from) {
                copy(out, from)?;
            }
        }
        Some(())
    }
}

/// Values of height, width and channels in the order of `axes`, which count from the batch.
fn permuted(values: [usize; 3], axes: [u8; 3]) -> [usize; 3] {
    let [height, width, channels] = values;
    axes.map(|axis| match axis {
        1 => height,
        2 => width,
        _ => channels,
    })
}
