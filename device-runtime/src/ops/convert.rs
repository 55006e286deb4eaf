//! Changes the element type or the quantization.

use super::bounds::copy;
use super::{Checked, Context, Element, Memory, Region, Work, codes, codes_mut, words, words_mut};
use crate::quantize::{Codes, dequantize, quantize};

/// What an element costs, in products of an integer convolution.
const COST: u64 = 64;

#[derive(Clone, Debug)]
pub(crate) struct Convert {
    from: Element,
    to: Element,
    input: Region,
}

impl Convert {
    pub(crate) fn prepare(cx: &Context<'_, '_>) -> Checked<Self> {
        let (input, output) = (cx.input()?, cx.output()?);
        if input.shape != output.shape {
            return Err("a conversion keeps the shape");
        }
        if let (Element::I8 { scale: from, .. }, Element::I8 { scale: to, .. }) =
            (input.element, output.element)
            && !(from / to).is_finite()
        {
            return Err("scales whose ratio overflows");
        }
        Ok(Self {
            from: input.element,
            to: output.element,
            input: input.region,
        })
    }

    pub(crate) fn work(&self) -> Work {
        Work::of_elements(self.input.len / self.from.size(), COST)
    }

    pub(crate) fn run(&self, memory: &mut Memory<'_>) -> Option<()> {
        let size = self.from.size();
        let input = memory.input(self.input)?;
        let input = input.get(memory.pieces.start * size..memory.pieces.end * size)?;
        match (self.from, self.to) {
            (Element::F32, Element::F32) => copy(memory.output, input)?,
            (Element::F32, Element::I8 { scale, zero_point }) => {
                for (out, &x) in codes_mut(memory.output)
                    .iter_mut()
                    .zip(words::<f32>(input)?)
                {
                    *out = quantize(x, scale, zero_point);
                }
            }
            (Element::I8 { scale, zero_point }, Element::F32) => {
                let output = words_mut::<f32>(memory.output)?;
                for (out, &code) in output.iter_mut().zip(codes(input)) {
                    *out = dequantize(code, scale, zero_point);
                }
            }
            (
                Element::I8 {
                    scale: from,
                    zero_point,
                },
                Element::I8 {
                    scale: to,
                    zero_point: output_zero_point,
                },
            ) => {
                let range = Codes::new(output_zero_point, i8::MIN, i8::MAX);
                let (ratio, zero_point) = (from / to, i32::from(zero_point));
                for (out, &code) in codes_mut(memory.output).iter_mut().zip(codes(input)) {
                    *out = range.round((i32::from(code) - zero_point) as f32 * ratio);
                }
            }
        }
        Some(())
    }
}
