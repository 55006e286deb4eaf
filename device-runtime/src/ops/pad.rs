//! Surrounds an activation with a constant.

use super::bounds::{chunks, copy, row_and_column};
use super::{Checked, Context, Element, Memory, Region, words_mut};
use crate::quantize::quantize;

#[derive(Clone, Debug)]
pub(crate) struct Pad {
    element: Element,
    value: f32,
    before: [usize; 3],
    /// Height, width, channels.
    input_shape: [usize; 3],
    output_shape: [usize; 3],
    input: Region,
}

impl Pad {
    pub(crate) fn prepare(cx: &Context<'_, '_>, before: [u16; 3], value: f32) -> Checked<Self> {
        let (input, output) = (cx.input()?, cx.output()?);
        if input.element != output.element {
            return Err("padding keeps element type and quantization");
        }
        let before = before.map(usize::from);
        for ((before, input), output) in before.iter().zip(input.shape).zip(output.shape) {
            if before + input > output {
                return Err("padding that makes an activation smaller");
            }
        }
        Ok(Self {
            element: input.element,
            value,
            before,
            input_shape: input.shape,
            output_shape: output.shape,
            input: input.region,
        })
    }

    pub(crate) fn run(&self, memory: &mut Memory<'_>) -> Option<()> {
        match self.element {
            Element::I8 { scale, zero_point } => {
                let code = quantize(self.value, scale, zero_point);
                memory.output.fill(code as u8);
            }
            Element::F32 => words_mut::<f32>(memory.output)?.fill(self.value),
        }
        let size = self.element.size();
        let [_, width, channels] = self.input_shape;
        let [_, output_width, output_channels] = self.output_shape;
        let [top, left, front] = self.before;
        let input = memory.input(self.input)?;
        for (position, pixel) in chunks(input, channels * size)?.enumerate() {
            let (y, x) = row_and_column(position, width)?;
            let (y, x) = (y + top, x + left);
            let at = ((y * output_width + x) * output_channels + front) * size;
            copy(memory.output.get_mut(at..at + pixel.len())?, pixel)?;
        }
        Some(())
    }
}
