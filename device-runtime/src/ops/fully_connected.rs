//! `y = W x + b` over the channels: a convolution with a window of one element.

use super::conv_2d::Conv2d;
use super::linear::Linear;
use super::{Checked, Context, Memory, Work};
use crate::kernels::{KernelName, Table};
use edgeprune_format::manifest;

#[derive(Clone, Debug)]
pub(crate) struct FullyConnected(Conv2d);

impl FullyConnected {
    pub(crate) fn prepare(cx: &Context<'_, '_>, linear: manifest::Linear) -> Checked<Self> {
        if cx.input()?.shape[..2] != cx.output()?.shape[..2] {
            return Err("a fully connected layer keeps height and width");
        }
        Conv2d::pointwise(cx, linear).map(Self)
    }

    pub(crate) fn linear(&self) -> &Linear {
        &self.0.linear
    }

    pub(crate) fn scratch(&self) -> Option<usize> {
        self.0.scratch()
    }

    pub(crate) fn kernel(&self, table: &Table) -> KernelName {
        self.0.kernel(table)
    }

    pub(crate) fn work(&self) -> Work {
        self.0.work()
    }

    pub(crate) fn run(&self, memory: &mut Memory<'_>) -> Option<()> {
        self.0.run(memory)
    }
}
