//! Mean over height and width: average pooling with a window of the whole input.

use super::average_pool_2d::AveragePool2d;
use super::{Checked, Context, Memory};

#[derive(Clone, Debug)]
pub(crate) struct Mean(AveragePool2d);

impl Mean {
    pub(crate) fn prepare(cx: &Context<'_, '_>) -> Checked<Self> {
        AveragePool2d::global(cx).map(Self)
    }

    pub(crate) fn scratch(&self) -> Option<usize> {
        self.0.scratch()
    }

    pub(crate) fn run(&self, memory: &mut Memory<'_>) -> Option<()> {
        self.0.run(memory)
    }
}
