//! How far windows reach.

use crate::graph::Window;

/// What a window reads along an axis (0: height, 1: width).
pub(super) trait Reach {
    /// Elements from the start of the first window, in the padding, to the end of the last.
    fn reach(&self, axis: usize, output: usize) -> usize;

    /// Whether every window has a place inside of an input of height and width `input`.
    fn reads_everywhere(&self, input: [usize; 2], output: [usize; 2]) -> bool;
}

impl Reach for Window {
    fn reach(&self, axis: usize, output: usize) -> usize {
        output.saturating_sub(1) * usize::from(self.stride[axis]) + extent(self, axis)
    }

    fn reads_everywhere(&self, input: [usize; 2], output: [usize; 2]) -> bool {
        (0..2).all(|axis| {
            let (pad, extent) = (usize::from(self.pad[axis]), extent(self, axis));
            pad < extent && self.reach(axis, output[axis]) - extent < input[axis] + pad
        })
    }
}

/// Elements that one window spans.
fn extent(window: &Window, axis: usize) -> usize {
    usize::from(window.kernel[axis]).saturating_sub(1) * usize::from(window.dilation[axis]) + 1
}
