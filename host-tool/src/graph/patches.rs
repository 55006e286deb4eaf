//! im2col: what a convolution's weights are multiplied with, one row per output position.

use super::{Graph, Node, Op, Shape, Window};
use std::ops::Range;

/// Cuts the patches of one linear node out of its input.
///
/// A full row has the order (kernel row, kernel column, input channel). A group's row is the part
/// of it that meets the group's weights, in the order of one row of those weights: for group `g` of
/// a grouped convolution the channels `g * in / groups ..`, for a depthwise convolution (whose
/// groups are its channels) the taps of channel `g`.
#[derive(Clone, Copy, Debug)]
pub struct Patches {
    input: Shape,
    output: Shape,
    window: Window,
    groups: usize,
}

impl Patches {
    /// The patches of `node`, or `None` if it has no weights.
    pub fn new(graph: &Graph, node: &Node) -> Option<Self> {
        let input = graph.shape(*node.inputs.first()?);
        let (window, groups) = match &node.op {
            Op::Conv2d { window, groups, .. } => (*window, *groups),
            Op::DepthwiseConv2d { window, .. } => (*window, input[3]),
            Op::FullyConnected { .. } => (POINT, 1),
            _ => return None,
        };
        Some(Self {
            input,
            output: graph.shape(node.output),
            window,
            groups,
        })
    }

    pub(super) fn of(input: Shape, output: Shape, window: Window, groups: usize) -> Self {
        Self {
            input,
            output,
            window,
            groups,
        }
    }

    /// Number of output positions: height times width.
    pub fn positions(&self) -> usize {
        self.output[1] * self.output[2]
    }

    /// Number of groups: 1 for a fully connected layer, the channels for a depthwise convolution.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Elements of a full row.
    pub fn full_len(&self) -> usize {
        let [kh, kw] = self.window.kernel.map(usize::from);
        kh * kw * self.input[3]
    }

    /// Elements of a group's row: the length of one row of weights.
    pub fn len(&self) -> usize {
        self.full_len() / self.groups
    }

    /// Whether rows have no elements.
    pub fn is_empty(&self) -> bool {
        self.full_len() == 0
    }

    /// Whether the input itself is the matrix of full rows (a 1x1 kernel without stride or padding).
    pub fn is_input(&self) -> bool {
        let w = &self.window;
        w.kernel == [1, 1]
            && w.stride == [1, 1]
            && w.pad == [0, 0]
            && self.input[..3] == self.output[..3]
    }

    /// The rows of `group` for the given output positions (`y * width + x`), row-major.
    pub fn rows(&self, input: &[f32], group: usize, positions: &[usize]) -> Vec<f32> {
        let mut rows = vec![0.0; positions.len() * self.len()];
        for (row, &position) in rows.chunks_exact_mut(self.len().max(1)).zip(positions) {
            self.group_row(input, group, position, row);
        }
        rows
    }

    /// The row of `group` for one output position.
    pub fn group_row(&self, input: &[f32], group: usize, position: usize, row: &mut [f32]) {
        let channels = self.input[3] / self.groups;
        let from = group * channels;
        self.taps(position, |tap, source| {
            let part = &mut row[tap * channels..][..channels];
            match source {
                Some(at) => part.copy_from_slice(&input[at + from..][..channels]),
                None => part.fill(0.0),
            }
        });
    }

    /// The full row for one output position.
    pub fn full_row(&self, input: &[f32], position: usize, row: &mut [f32]) {
        let channels = self.input[3];
        let [kh, kw] = self.window.kernel.map(usize::from);
        let [y, x] = self.origin(position);
        let across = self.clip(x, 1);
        let contiguous = self.window.dilation[1] == 1;
        for ky in 0..kh {
            let line = &mut row[ky * kw * channels..][..kw * channels];
            let at_y = y + (ky * usize::from(self.window.dilation[0])) as isize;
            if at_y < 0 || at_y >= self.input[1] as isize {
                line.fill(0.0);
                continue;
            }
            let start = at_y as usize * self.input[2];
            if contiguous {
                line[..across.start * channels].fill(0.0);
                line[across.end * channels..].fill(0.0);
                if !across.is_empty() {
                    let from = start + (x + across.start as isize) as usize;
                    line[across.start * channels..across.end * channels]
                        .copy_from_slice(&input[from * channels..][..across.len() * channels]);
                }
                continue;
            }
            for (kx, part) in line.chunks_exact_mut(channels).enumerate() {
                if across.contains(&kx) {
                    let at_x = x + (kx * usize::from(self.window.dilation[1])) as isize;
                    let from = (start + at_x as usize) * channels;
                    part.copy_from_slice(&input[from..][..channels]);
                } else {
                    part.fill(0.0);
                }
            }
        }
    }

    /// The transpose of [`full_row`](Self::full_row): adds each element of a row to the element of
    /// `input` that it was cut from.
    #[inline(always)]
    pub(super) fn add_full_row(&self, row: &[f32], position: usize, input: &mut [f32]) {
        let channels = self.input[3];
        let [kh, kw] = self.window.kernel.map(usize::from);
        let [dy, dx] = self.window.dilation.map(usize::from);
        let [y, x] = self.origin(position);
        let (down, across) = (self.clip(y, 0), self.clip(x, 1));
        // Taps without a gap are added as one run.
        let (run, step) = if dx == 1 {
            (across.len(), across.len())
        } else {
            (1, 1)
        };
        for ky in down {
            let start = (y + (ky * dy) as isize) as usize * self.input[2];
            for kx in across.clone().step_by(step.max(1)) {
                let to = (start + (x + (kx * dx) as isize) as usize) * channels;
                let from = (ky * kw + kx) * channels;
                let target = input[to..][..run * channels].iter_mut();
                target
                    .zip(&row[from..][..run * channels])
                    .for_each(|(t, r)| *t += r);
            }
        }
        debug_assert_eq!(row.len(), kh * kw * channels);
    }

    /// Shows each tap's index and where its first channel is in the input, if inside.
    fn taps(&self, position: usize, mut show: impl FnMut(usize, Option<usize>)) {
        let [kh, kw] = self.window.kernel.map(usize::from);
        let [y, x] = self.origin(position);
        let (down, across) = (self.clip(y, 0), self.clip(x, 1));
        let [dy, dx] = self.window.dilation.map(usize::from);
        for ky in 0..kh {
            for kx in 0..kw {
                let inside = down.contains(&ky) && across.contains(&kx);
                let source = inside.then(|| {
                    let at_y = (y + (ky * dy) as isize) as usize;
                    let at_x = (x + (kx * dx) as isize) as usize;
                    (at_y * self.input[2] + at_x) * self.input[3]
                });
                show(ky * kw + kx, source);
            }
        }
    }

    /// Input coordinates of the first tap of an output position, negative in the padding.
    fn origin(&self, position: usize) -> [isize; 2] {
        let at = [position / self.output[2], position % self.output[2]];
        [0, 1].map(|i| {
            (at[i] * usize::from(self.window.stride[i])) as isize - self.window.pad[i] as isize
        })
    }

    fn clip(&self, origin: isize, axis: usize) -> Range<usize> {
        inside(
            origin,
            usize::from(self.window.kernel[axis]),
            usize::from(self.window.dilation[axis]),
            self.input[axis + 1],
        )
    }
}

/// A window of one element.
pub(crate) const POINT: Window = Window {
    kernel: [1, 1],
    stride: [1, 1],
    dilation: [1, 1],
    pad: [0, 0],
};

/// The taps of a kernel line that lie inside `0..size` when the first is at `origin`.
pub(super) fn inside(origin: isize, kernel: usize, dilation: usize, size: usize) -> Range<usize> {
    let dilation = dilation.max(1) as isize;
    let first = if origin < 0 {
        ((-origin + dilation - 1) / dilation) as usize
    } else {
        0
    };
    let room = size as isize - origin;
    let end = if room <= 0 {
        0
    } else {
        ((room + dilation - 1) / dilation) as usize
    };
    first.min(kernel)..end.min(kernel).max(first.min(kernel))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taps_outside_the_input_are_clipped() {
        assert_eq!(inside(-1, 3, 1, 5), 1..3);
        assert_eq!(inside(3, 3, 1, 5), 0..2);
        assert_eq!(inside(-2, 3, 2, 5), 1..3);
        assert_eq!(inside(-3, 3, 2, 1), 2..2);
        assert_eq!(inside(7, 3, 1, 5), 0..0);
    }

    #[test]
    fn full_rows_and_group_rows_hold_the_same_elements() {
        let window = Window {
            kernel: [3, 2],
            stride: [2, 1],
            dilation: [1, 2],
            pad: [1, 1],
        };
        let patches = Patches::of([1, 5, 6, 4], [1, 3, 6, 4], window, 2);
        let input: Vec<f32> = (0..5 * 6 * 4).map(|i| i as f32 + 1.0).collect();
        for position in 0..patches.positions() {
            let mut full = vec![f32::NAN; patches.full_len()];
            patches.full_row(&input, position, &mut full);
            for group in 0..2 {
                let row = patches.rows(&input, group, &[position]);
                for (tap, part) in row.chunks(2).enumerate() {
                    assert_eq!(part, &full[tap * 4 + group * 2..][..2]);
                }
            }
        }
    }
}
