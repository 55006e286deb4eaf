//! An element-wise function in single precision.

use super::{Checked, Context, Element, Memory, Region, Work, words, words_mut};
use crate::math;
use edgeprune_format::manifest::UnaryKind;

/// What an element costs, in products of an integer convolution.
const COST: u64 = 1024;

#[derive(Clone, Debug)]
pub(crate) struct Unary {
    kind: UnaryKind,
    input: Region,
}

impl Unary {
    pub(crate) fn prepare(cx: &Context<'_, '_>, kind: UnaryKind) -> Checked<Self> {
        let (input, output) = (cx.input()?, cx.output()?);
        if input.shape != output.shape {
            return Err("an element-wise operator keeps the shape");
        }
        if [input.element, output.element] != [Element::F32; 2] {
            return Err("an element-wise function maps F32 to F32; I8 takes a table");
        }
        Ok(Self {
            kind,
            input: input.region,
        })
    }

    pub(crate) fn work(&self) -> Work {
        Work::of_elements(self.input.len / size_of::<f32>(), COST)
    }

    pub(crate) fn run(&self, memory: &mut Memory<'_>) -> Option<()> {
        let input = words::<f32>(memory.input(self.input)?)?;
        let input = input.get(memory.pieces.clone())?;
        for (out, &x) in words_mut::<f32>(memory.output)?.iter_mut().zip(input) {
            *out = math::unary(self.kind, x);
        }
        Some(())
    }
}
