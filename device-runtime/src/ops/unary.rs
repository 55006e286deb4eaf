//! An element-wise function in single precision.

use super::{Checked, Context, Element, Memory, Region, words, words_mut};
use crate::math;
use edgeprune_format::manifest::UnaryKind;

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

    pub(crate) fn run(&self, memory: &mut Memory<'_>) -> Option<()> {
        let input = words::<f32>(memory.input(self.input)?)?;
        for (out, &x) in words_mut::<f32>(memory.output)?.iter_mut().zip(input) {
            *out = math::unary(self.kind, x);
        }
        Some(())
    }
}
