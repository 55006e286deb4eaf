//! The geometry of a window that slides over an activation.

use super::bounds::row_and_column;
use super::{Activation, Checked};
use crate::kernels::Taps;
use crate::kernels::winograd::Extents;
use core::ops::Range;
use edgeprune_format::manifest::Window;

/// Input and output extents and a [`Window`], checked so that coordinates stay within 31 bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    /// Height, width, channels of the input.
    pub(crate) input: [usize; 3],
    /// Height, width, channels of the output.
    pub(crate) output: [usize; 3],
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) dilation: [usize; 2],
    pub(crate) pad: [usize; 2],
}

impl Geometry {
    pub(crate) fn prepare(
        input: &Activation,
        output: &Activation,
        window: Window,
    ) -> Checked<Self> {
        let geometry = Self {
            input: input.shape,
            output: output.shape,
            kernel: window.kernel.map(usize::from),
            stride: window.stride.map(usize::from),
            dilation: window.dilation.map(usize::from),
            pad: window.pad.map(usize::from),
        };
        for axis in 0..2 {
            geometry.check(axis)?;
        }
        Ok(geometry)
    }

    fn check(&self, axis: usize) -> Checked<()> {
        let [kernel, stride, dilation] =
            [self.kernel[axis], self.stride[axis], self.dilation[axis]];
        if kernel == 0 || stride == 0 || dilation == 0 {
            return Err("a window, stride or dilation of 0");
        }
        let extent = (kernel as u64 - 1) * dilation as u64 + 1;
        let last = (self.output[axis] as u64 - 1) * stride as u64;
        let input = self.input[axis] as u64;
        if last >= input + self.pad[axis] as u64 + extent {
            return Err("an output higher or wider than its input and window give");
        }
        if input + extent + self.pad[axis] as u64 + last > 1 << 30 {
            return Err("a window that is too large");
        }
        Ok(())
    }

    /// First input coordinate under the window at `position`, which may lie in the padding.
    #[inline(always)]
    fn origin(&self, axis: usize, position: usize) -> isize {
        (position * self.stride[axis]) as isize - self.pad[axis] as isize
    }

    /// The taps along an axis that lie inside the input when the window begins at `origin`.
    #[inline(always)]
    pub(crate) fn taps(&self, axis: usize, origin: isize) -> Range<usize> {
        let dilation = self.dilation[axis].max(1); // never 0, as the compiler should see
        let before = (-origin).max(0) as usize;
        let inside = (self.input[axis] as isize - origin).max(0) as usize;
        let first = before.div_ceil(dilation).min(self.kernel[axis]);
        let end = inside.div_ceil(dilation).min(self.kernel[axis]);
        first..end.max(first)
    }

    /// The output positions along an axis whose taps all lie inside the input.
    pub(crate) fn inside(&self, axis: usize) -> Range<usize> {
        let stride = self.stride[axis].max(1);
        let reach = (self.kernel[axis] - 1) * self.dilation[axis];
        let first = self.pad[axis].div_ceil(stride);
        let end = match (self.input[axis] + self.pad[axis]).checked_sub(reach + 1) {
            Some(last) => last / stride + 1,
            None => 0,
        };
        first..end.min(self.output[axis]).max(first)
    }

    /// The input's coordinate along an axis under a tap of the window that begins at `origin`; none in the padding.
    #[inline(always)]
    pub(crate) fn coordinate(&self, axis: usize, origin: isize, tap: usize) -> Option<usize> {
        let at = origin + (tap * self.dilation[axis]) as isize;
        usize::try_from(at).ok().filter(|&at| at < self.input[axis])
    }

    /// First coordinates under the window at an output row and column.
    #[inline(always)]
    pub(crate) fn origins(&self, position: [usize; 2]) -> [isize; 2] {
        [0, 1].map(|axis| self.origin(axis, position[axis]))
    }

    /// Rows and columns of the window's taps.
    pub(crate) fn window_taps(&self) -> impl ExactSizeIterator<Item = [usize; 2]> + use<> {
        let width = self.kernel[1].max(1);
        (0..self.window()).map(move |tap| [tap / width, tap % width])
    }

    /// The input's pixel under a tap of the window that begins at `origin`; none in the padding.
    #[inline(always)]
    pub(crate) fn pixel(&self, origin: [isize; 2], tap: [usize; 2]) -> Option<usize> {
        let [y, x] = [0, 1].map(|axis| self.coordinate(axis, origin[axis], tap[axis]));
        Some(y? * self.input[1] + x?)
    }

    /// Number of taps of the window, inside the input or not.
    pub(crate) fn window(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// The taps of an output position that lie inside the input.
    #[inline(always)]
    pub(crate) fn taps_at<'s, T>(&self, input: &'s [T], position: usize) -> Option<Taps<'s, T>> {
        let (row, column) = row_and_column(position, self.output[1])?;
        let origin = self.origins([row, column]);
        Some(Taps {
            input,
            width: self.input[1],
            channels: self.input[2],
            origin,
            dilation: self.dilation,
            rows: self.taps(0, origin[0]),
            columns: self.taps(1, origin[1]),
        })
    }

    /// The extents, if the window is 3 x 3 elements that lie together and steps by one.
    pub(crate) fn tiles(&self) -> Option<Extents> {
        let suits = self.kernel == [3, 3] && self.stride == [1, 1] && self.dilation == [1, 1];
        suits.then_some(Extents {
            input: self.input,
            output: self.output,
            pad: self.pad,
        })
    }

    /// Whether the window is 3 x 3 elements that lie together, steps by one and is padded for an output as large as the input.
    pub(crate) fn is_same_3x3(&self) -> bool {
        self.tiles().is_some() && self.pad == [1, 1] && self.input[..2] == self.output[..2]
    }

    /// Whether the window is one element that steps by one: rows of the input are patches.
    pub(crate) fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1]
            && self.stride == [1, 1]
            && self.pad == [0, 0]
            && self.input[..2] == self.output[..2]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taps_are_those_inside_the_input() {
        for input in 1..7usize {
            for kernel in 1..5usize {
                for dilation in 1..4usize {
                    let geometry = Geometry {
                        input: [input, 1, 1],
                        output: [1, 1, 1],
                        kernel: [kernel, 1],
                        stride: [1, 1],
                        dilation: [dilation, 1],
                        pad: [0, 0],
                    };
                    for origin in -12..12isize {
                        let inside = |&tap: &usize| {
                            (0..input as isize).contains(&(origin + (tap * dilation) as isize))
                        };
                        let expected: Vec<usize> = (0..kernel).filter(inside).collect();
                        let taps: Vec<usize> = geometry.taps(0, origin).collect();
                        assert_eq!(taps, expected);
                    }
                }
            }
        }
    }
}
