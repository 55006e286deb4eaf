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

/// Whether every window reads an element of an input of height and width `input`: dilated taps may step over all.
pub(super) fn reads_something(window: &Window, input: [usize; 2], output: [usize; 2]) -> bool {
    (0..2).all(|axis| {
        let [kernel, stride, dilation, pad] = [
            window.kernel[axis],
            window.stride[axis],
            window.dilation[axis].max(1),
            window.pad[axis],
        ]
        .map(usize::from);
        (0..output[axis]).all(|position| {
            let start = position * stride;
            let first = pad.saturating_sub(start).div_ceil(dilation);
            first < kernel && start + first * dilation < pad + input[axis]
        })
    })
}

/// Elements that one window spans.
fn extent(window: &Window, axis: usize) -> usize {
    usize::from(window.kernel[axis]).saturating_sub(1) * usize::from(window.dilation[axis]) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dilated_taps_may_step_over_the_input() {
        let window = |dilation| Window {
            kernel: [1, 2],
            stride: [1, 1],
            dilation: [1, dilation],
            pad: [0, 1],
        };
        assert!(reads_something(&window(1), [1, 2], [1, 3]));
        assert!(reads_something(&window(2), [1, 2], [1, 2]));
        assert!(!reads_something(&window(3), [1, 2], [1, 1]));
    }
}
