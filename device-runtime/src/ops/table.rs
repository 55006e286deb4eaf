//! Any element-wise function of codes, as a table of 256 codes.

use super::linear::constant_place;
use super::{Checked, Context, Element, Memory, Place, Region, codes, codes_mut};
use edgeprune_format::manifest::{DType, Quantization, TensorId};

#[derive(Clone, Debug)]
pub(crate) struct Table {
    table: Place,
    input: Region,
}

impl Table {
    pub(crate) fn prepare(cx: &Context<'_, '_>, table: TensorId) -> Checked<Self> {
        let (input, output) = (cx.input()?, cx.output()?);
        if input.shape != output.shape {
            return Err("an element-wise operator keeps the shape");
        }
        let [Element::I8 { .. }, Element::I8 { .. }] = [input.element, output.element] else {
            return Err("a table maps I8 to I8");
        };
        let tensor = cx.tensor(table)?;
        let valid = tensor.dtype == DType::I8
            && tensor.elements() == Some(256)
            && tensor.quantization == Quantization::None;
        if !valid {
            return Err("a table has 256 I8 elements without quantization");
        }
        Ok(Self {
            table: constant_place(cx, table, &tensor)?,
            input: input.region,
        })
    }

    pub(crate) fn run(&self, memory: &mut Memory<'_>) -> Option<()> {
        let table: &[i8; 256] =
            codes(self.table.of(memory.body, memory.constants)?).first_chunk()?;
        let input = codes(memory.input(self.input)?);
        for (out, &code) in codes_mut(memory.output).iter_mut().zip(input) {
            // flipping the sign bit adds 128
            *out = table[usize::from(code as u8 ^ 0x80)];
        }
        Some(())
    }
}
