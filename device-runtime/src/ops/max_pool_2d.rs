//! Maximum over a window. A window that lies wholly in the padding gives the least value.

use super::bounds::chunks_mut;
use super::window::Geometry;
use super::{Checked, Context, Element, Memory, Region, Work, codes, codes_mut, words, words_mut};
use edgeprune_format::manifest::Window;

/// What an element of the window costs, in products of an integer convolution.
const COST: u64 = 16;

#[derive(Clone, Debug)]
pub(crate) struct MaxPool2d {
    geometry: Geometry,
    element: Element,
    input: Region,
}

impl MaxPool2d {
    pub(crate) fn prepare(cx: &Context<'_, '_>, window: Window) -> Checked<Self> {
        let (input, output) = (cx.input()?, cx.output()?);
        if input.element != output.element {
            return Err("max pooling keeps element type and quantization");
        }
        if input.shape[2] != output.shape[2] {
            return Err("pooling keeps the channels");
        }
        Ok(Self {
            geometry: Geometry::prepare(&input, &output, window)?,
            element: input.element,
            input: input.region,
        })
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
        match self.element {
            Element::I8 { .. } => {
                let output = codes_mut(memory.output);
                output.fill(i8::MIN);
                for (position, out) in (first..).zip(chunks_mut(output, channels)?) {
                    let taps = self.geometry.taps_at(codes(input), position)?;
                    (kernels.max_i8)(&taps, out)?;
                }
            }
            Element::F32 => {
                let input = words::<f32>(input)?;
                let output = words_mut::<f32>(memory.output)?;
                output.fill(f32::NEG_INFINITY);
                for (position, out) in (first..).zip(chunks_mut(output, channels)?) {
                    let taps = self.geometry.taps_at(input, position)?;
                    (kernels.max_f32)(&taps, out)?;
                }
            }
        }
        Some(())
    }
}
