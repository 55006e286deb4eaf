//! Softmax over the channels: `e[c] = exp(x[c] - max)`, their sum in order, `e[c] / sum`.

use super::bounds::{chunks_mut, copy};
use super::{Checked, Context, Element, Memory, Region, Work, codes, words, words_mut};
use crate::quantize::dequantize;

/// What an element costs, in products of an integer convolution.
const COST: u64 = 1024;

#[derive(Clone, Debug)]
pub(crate) struct Softmax {
    element: Element,
    /// Height, width, channels.
    shape: [usize; 3],
    input: Region,
}

impl Softmax {
    pub(crate) fn prepare(cx: &Context<'_, '_>) -> Checked<Self> {
        let (input, output) = (cx.input()?, cx.output()?);
        if input.shape != output.shape {
            return Err("softmax keeps the shape");
        }
        if output.element != Element::F32 {
            return Err("softmax gives F32");
        }
        Ok(Self {
            element: input.element,
            shape: input.shape,
            input: input.region,
        })
    }

    pub(crate) fn work(&self) -> Work {
        Work::of_positions(self.shape, COST)
    }

    pub(crate) fn run(&self, memory: &mut Memory<'_>) -> Option<()> {
        let [_, _, channels] = self.shape;
        let size = channels * self.element.size();
        let input = memory.input(self.input)?;
        let input = input.get(memory.pieces.start * size..memory.pieces.end * size)?;
        let output = words_mut::<f32>(memory.output)?;
        match self.element {
            Element::I8 { scale, zero_point } => {
                for (out, &code) in output.iter_mut().zip(codes(input)) {
                    *out = dequantize(code, scale, zero_point);
                }
            }
            Element::F32 => copy(output, words(input)?)?,
        }
        chunks_mut(output, channels)?.for_each(softmax);
        Some(())
    }
}

fn softmax(row: &mut [f32]) {
    let max = row
        .iter()
        .fold(f32::NEG_INFINITY, |max, &x| if x > max { x } else { max });
    let mut sum = 0.0;
    for x in row.iter_mut() {
        *x = libm::expf(*x - max);
        sum += *x;
    }
    row.iter_mut().for_each(|x| *x /= sum);
}
