//! Joins activations of one element type and quantization along an axis.

use super::bounds::{chunks, chunks_mut, copy};
use super::{Activation, Checked, Context, Memory};
use edgeprune_format::manifest::MAX_NODE_INPUTS;
use heapless::Vec;

#[derive(Clone, Debug)]
pub(crate) struct Concat {
    /// Bytes that each input adds to each run of the output.
    runs: Vec<usize, MAX_NODE_INPUTS>,
}

impl Concat {
    pub(crate) fn prepare(cx: &Context<'_, '_>, axis: u8) -> Checked<Self> {
        let output = cx.output()?;
        let axis = match axis {
            1..=3 => usize::from(axis) - 1,
            _ => return Err("a concatenation along an axis other than 1, 2 and 3"),
        };
        let inner: usize = output.shape[axis + 1..].iter().product();
        let mut runs = Vec::new();
        let mut extent = 0;
        for &id in &cx.node.inputs {
            let input = Activation::resolve(cx.manifest, &cx.tensor(id)?)?;
            if input.element != output.element {
                return Err("a concatenation keeps element type and quantization");
            }
            let mut shape = input.shape;
            shape[axis] = output.shape[axis];
            if shape != output.shape {
                return Err("inputs of a concatenation that differ beside its axis");
            }
            extent += input.shape[axis] as u64;
            let run = input.shape[axis] * inner * input.element.size();
            runs.push(run).map_err(|_| "too many inputs")?;
        }
        if extent != output.shape[axis] as u64 {
            return Err("inputs of a concatenation that do not add up to its output");
        }
        Ok(Self { runs })
    }

    pub(crate) fn run(&self, memory: &mut Memory<'_>) -> Option<()> {
        let whole: usize = self.runs.iter().sum();
        let mut first = 0;
        for (&region, &run) in memory.inputs.iter().zip(&self.runs) {
            let input = memory.input(region)?;
            let output = chunks_mut(memory.output, whole)?;
            for (out, input) in output.zip(chunks(input, run)?) {
                copy(out.get_mut(first..first + run)?, input)?;
            }
            first += run;
        }
        Some(())
    }
}
