//! Any element-wise function of codes, as a table of 256 codes.

use super::{Checked, Context, Element, Expansion, Memory, Place, Region, Work};
use super::{codes, codes_mut, constant_place};
use edgeprune_format::manifest::{DType, Quantization, TensorId};

#[derive(Clone, Debug)]
pub(crate) struct Table {
    id: TensorId,
    table: Place,
    expanded: Region,
    input: Region,
}

const BYTES: usize = 256;
/// What an element costs, in products of an integer convolution.
const COST: u64 = 64;

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
            && tensor.elements() == Some(BYTES)
            && tensor.quantization == Quantization::None;
        if !valid {
            return Err("a table has 256 I8 elements without quantization");
        }
        Ok(Self {
            id: table,
            table: constant_place(&tensor)?,
            expanded: Region {
                offset: cx.constants,
                len: BYTES,
            },
            input: input.region,
        })
    }

    pub(crate) fn constants(&self) -> usize {
        match self.table {
            Place::Raw(_) => 0,
            Place::Coded(_) => BYTES,
        }
    }

    pub(crate) fn expand(&self, body: &[u8], own: &mut [u8]) -> Expansion {
        match self.table {
            Place::Raw(_) => Ok(()),
            Place::Coded(_) => self.table.copy(self.id, body, own),
        }
    }

    pub(crate) fn work(&self) -> Work {
        Work::of_elements(self.input.len, COST)
    }

    pub(crate) fn run(&self, memory: &mut Memory<'_>) -> Option<()> {
        let table = match self.table {
            Place::Raw(region) => region.of(memory.body)?,
            Place::Coded(_) => self.expanded.of(memory.constants)?,
        };
        let table: &[i8; BYTES] = codes(table).first_chunk()?;
        let input = codes(memory.input(self.input)?).get(memory.pieces.clone())?;
        for (out, &code) in codes_mut(memory.output).iter_mut().zip(input) {
            // flipping the sign bit adds 128
            *out = table[usize::from(code as u8 ^ 0x80)];
        }
        Some(())
    }
}
