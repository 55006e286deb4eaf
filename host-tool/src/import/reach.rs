//! How far windows reach along an axis (0: height, 1: width).

use crate::graph::Window;

/// Elements from the start of the first window, in the padding, to the end of the last.
pub(super) fn reach(window: &Window, axis: usize, output: usize) -> usize {
    output.saturating_sub(1) * usize::from(window.stride[axis]) + extent(window, axis)
}

/// Whether every window has a place inside of an input of height and width `input`.
pub(super) fn reads_everywhere(window: &Window, input: [usize; 2], output: [usize; 2]) -> bool {
    (0..2).all(|axis| {
        let (pad, extent) = (usize::from(window.pad[axis]), extent(window, axis));
        pad < extent && reach(window, axis, output[axis]) - extent < input[axis] + pad
    })
}

/// Elements that one window spans.
fn extent(window: &Window, axis: usize) -> usize {
    usize::from(window.kernel[axis]).saturating_sub(1) * usize::from(window.dilation[axis]) + 1
}
