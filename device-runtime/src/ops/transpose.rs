//! Reorders height, width and channels.

use super::{Checked, Context, Memory, Region};

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
        let axes = axes.map(|axis| usize::from(axis) - 1);
        if axes.map(|axis| input.shape[axis]) != output.shape {
            return Err("an output whose shape is not the permuted input's");
        }
        let [_, width, channels] = input.shape;
        let strides = [width * channels, channels, 1];
        Ok(Self {
            strides: axes.map(|axis| strides[axis]),
            shape: output.shape,
            size: input.element.size(),
            input: input.region,
        })
    }

    pub(crate) fn run(&self, memory: &mut Memory<'_>) -> Option<()> {
        let input = memory.input(self.input)?;
        let [_, width, channels] = self.shape;
        let size = self.size;
        let pixels = memory.output.chunks_exact_mut(channels * size);
        for (position, out) in pixels.enumerate() {
            let at = position / width * self.strides[0] + position % width * self.strides[1];
            let from = input.get(at * size..)?;
            let from = from.chunks(size).step_by(self.strides[2]);
            for (out, from) in out.chunks_exact_mut(size).zip(from) {
                out.copy_from_slice(from);
            }
        }
        Some(())
    }
}
