//! 2-D convolution of each channel with its own kernel: along each row of output positions, while
//! the taps move together.

use super::bounds::chunks_mut;
use super::linear::{Finish, Linear};
use super::panels::Layout;
use super::window::Geometry;
use super::{Checked, Context, Memory, Region, Work, codes, codes_mut, words_mut};
use crate::kernels::{
    Depthwise, Depthwise3x3, DepthwiseF32, GATHERED, KernelName, Out, Shape, Table,
};
use crate::plan;
use core::ops::Range;
use edgeprune_format::manifest::{self, Window};

/// Channels from which on a set's own way by a 3x3 window is taken.
const MIN_CHANNELS: usize = 16;
/// Output positions, in whole rows, that a kernel gets at once at least: it makes its weights ready each time.
const POSITIONS: usize = 16;
/// What a product costs, in those of an integer convolution.
const COST: u64 = 8;
/// The same in single precision.
const FLOAT_COST: u64 = 16;

#[derive(Clone, Debug)]
pub(crate) struct DepthwiseConv2d {
    pub(crate) linear: Linear,
    geometry: Geometry,
    input: Region,
    /// Bytes of an input.
    element: usize,
    zero_point: i8,
}

impl DepthwiseConv2d {
    pub(crate) fn prepare(
        cx: &Context<'_, '_>,
        linear: manifest::Linear,
        window: Window,
    ) -> Checked<Self> {
        let (input, output) = (cx.input()?, cx.output()?);
        let geometry = Geometry::prepare(&input, &output, window)?;
        let [_, _, channels] = input.shape;
        if channels != output.shape[2] {
            return Err("a depthwise convolution keeps the channels");
        }
        let [height, width] = geometry.kernel;
        let shape = [1, height, width, channels];
        let operands = (&input, &output);
        Ok(Self {
            linear: Linear::prepare(cx, linear, operands, shape, Layout::Columns, channels)?,
            geometry,
            input: input.region,
            element: input.element.size(),
            zero_point: input.element.zero_point(),
        })
    }

    fn channels(&self) -> usize {
        self.geometry.output[2]
    }

    /// Columns of taps by which the window moves from a position to the next; all, where windows have none in common.
    fn advance(&self) -> usize {
        let geometry = &self.geometry;
        match geometry.dilation[1] {
            1 => geometry.stride[1].min(geometry.kernel[1]),
            _ => geometry.kernel[1],
        }
    }

    /// Bytes of an input pixel.
    fn pixel(&self) -> usize {
        self.channels() * self.element
    }

    /// Most segments of a row along which taps move together: one, and a position each at the edges.
    fn segments(&self) -> usize {
        self.geometry.output[1] - self.geometry.inside(1).len() + 1
    }

    /// Rows of output positions that a kernel gets at once.
    fn rows(&self) -> usize {
        let [height, width, _] = self.geometry.output;
        POSITIONS.div_ceil(width.max(1)).min(height)
    }

    /// Bytes of the segments' counts and of the starts of their taps.
    fn starts(&self) -> Option<[usize; 2]> {
        let counts = self.segments().checked_mul(4 * self.rows())?;
        let starts = counts.checked_mul(self.geometry.window())?;
        Some([plan::aligned(counts)?, plan::aligned(starts)?])
    }

    /// Bytes of the zeros that taps in the padding read, as many as positions of a row reach and as a row of the input.
    fn zeros(&self) -> Option<usize> {
        let steps = (self.geometry.output[1] - 1).checked_mul(self.geometry.stride[1])?;
        let columns = steps.checked_add(1)?.max(self.geometry.input[1]);
        plan::aligned(columns.checked_mul(self.pixel())?)
    }

    pub(crate) fn scratch(&self) -> Option<usize> {
        let [counts, starts] = self.starts()?;
        counts.checked_add(starts)?.checked_add(self.zeros()?)
    }

    /// The kernel of a set that runs this.
    pub(crate) fn kernel(&self, table: &Table) -> KernelName {
        let elements = match self.linear.finish {
            Finish::Float(..) => "f32",
            Finish::Codes(_) => "qs8",
            Finish::IntegerToFloat(..) => "qs8-f32",
        };
        table.kernel(elements, "dwconv", Shape::Taps(self.geometry.window()))
    }

    /// Pieces are rows of output positions.
    pub(crate) fn work(&self) -> Work {
        let [rows, width, channels] = self.geometry.output;
        let products = (rows * width * channels) as u64 * self.geometry.window() as u64;
        let cost = match self.linear.finish {
            Finish::Float(..) => FLOAT_COST,
            _ => COST,
        };
        Work {
            pieces: rows,
            grain: 1,
            cost: products.saturating_mul(cost),
        }
    }

    pub(crate) fn run(&self, memory: &mut Memory<'_>) -> Option<()> {
        let input = codes(memory.input(self.input)?);
        let [counts, starts] = self.starts()?;
        let (counts, rest) = memory.scratch.split_at_mut_checked(counts)?;
        let (starts, rest) = rest.split_at_mut_checked(starts)?;
        let zeros = codes_mut(rest.get_mut(..self.zeros()?)?);
        let (counts, starts) = (words_mut::<u32>(counts)?, words_mut::<u32>(starts)?);
        zeros.fill(self.zero_point);
        let kernels = memory.kernels.table();
        let channels = self.channels();
        if let (Some(kernel), Finish::Codes(range)) = (kernels.depthwise_3x3, self.linear.finish)
            && self.is_3x3()
            && channels >= MIN_CHANNELS
        {
            let expanded = self.linear.expanded(memory.body, memory.constants)?;
            let depthwise = self.depthwise_3x3(input, zeros, expanded, memory.pieces.clone());
            return kernel(&depthwise, range, codes_mut(memory.output));
        }
        let row_len = self.geometry.output[1] * channels;
        let (sources, step) = ([input, &*zeros], self.geometry.stride[1] * self.pixel());
        let all = memory.pieces.clone();
        for first in all.clone().step_by(self.rows().max(1)) {
            let rows = first..all.end.min(first + self.rows());
            let row = self.segments_of(rows.clone(), starts, counts)?;
            let segments = row * rows.len();
            let starts = starts.get(..segments * self.geometry.window())?;
            let counts = counts.get(..segments)?;
            let integer = |constants| Depthwise {
                sources,
                starts,
                counts,
                row,
                columns: self.geometry.kernel[1],
                advance: self.advance(),
                step,
                channels,
                constants,
            };
            let out = (rows.start - all.start) * row_len..(rows.end - all.start) * row_len;
            match self.linear.finish {
                Finish::Codes(range) => {
                    let depthwise = integer(self.linear.expanded(memory.body, memory.constants)?);
                    let out = codes_mut(memory.output).get_mut(out)?;
                    (kernels.depthwise_i8)(&depthwise, Out::Codes(range, out, channels))?;
                }
                Finish::IntegerToFloat(min, max) => {
                    let depthwise = integer(self.linear.expanded(memory.body, memory.constants)?);
                    let out = words_mut::<f32>(memory.output)?.get_mut(out)?;
                    (kernels.depthwise_i8)(&depthwise, Out::Floats((min, max), out, channels))?;
                }
                Finish::Float(min, max) => {
                    let floats = (memory.body, memory.constants);
                    let depthwise = DepthwiseF32 {
                        sources,
                        starts,
                        counts,
                        step,
                        constants: self.linear.floats(floats, 0..channels, (min, max))?,
                    };
                    let out = words_mut::<f32>(memory.output)?.get_mut(out)?;
                    (kernels.depthwise_f32)(&depthwise, out)?;
                }
            }
        }
        Some(())
    }

    /// Whether [`Depthwise3x3`] describes this convolution.
    fn is_3x3(&self) -> bool {
        let Geometry {
            kernel,
            stride,
            dilation,
            ..
        } = self.geometry;
        kernel == [3, 3] && dilation == [1, 1] && stride[1] <= 2
    }

    fn depthwise_3x3<'s>(
        &self,
        input: &'s [i8],
        zeros: &'s [i8],
        constants: &'s [u8],
        rows: Range<usize>,
    ) -> Depthwise3x3<'s> {
        let [height, width, channels] = self.geometry.input;
        Depthwise3x3 {
            input,
            zeros,
            size: [height, width],
            channels,
            stride: self.geometry.stride,
            pad: self.geometry.pad,
            zero_point: self.zero_point,
            rows,
            width: self.geometry.output[1],
            constants,
        }
    }

    /// Divides rows of output positions into segments and finds where their taps begin; returns how many a row has.
    fn segments_of(
        &self,
        rows: Range<usize>,
        starts: &mut [u32],
        counts: &mut [u32],
    ) -> Option<usize> {
        let mut segments = 0;
        for (index, row) in rows.enumerate() {
            let first = index * segments;
            let starts = starts.get_mut(first * self.geometry.window()..)?;
            segments = self.place(row, starts, counts.get_mut(first..)?)?;
        }
        Some(segments)
    }

    /// Divides a row of output positions into segments and finds where their taps begin; returns how many.
    fn place(&self, row: usize, starts: &mut [u32], counts: &mut [u32]) -> Option<usize> {
        let geometry = &self.geometry;
        let inside = geometry.inside(1);
        let segments = chunks_mut(starts, geometry.window())?.zip(counts);
        let (mut column, mut number) = (0, 0);
        for (starts, count) in segments {
            if column == geometry.output[1] {
                break;
            }
            *count = match inside.contains(&column) {
                true => inside.len() as u32,
                false => 1,
            };
            let origin = geometry.origins([row, column]);
            for (start, tap) in starts.iter_mut().zip(geometry.window_taps()) {
                *start = match geometry.pixel(origin, tap) {
                    Some(pixel) => (pixel * self.pixel()) as u32,
                    None => GATHERED,
                };
            }
            column += *count as usize;
            number += 1;
        }
        Some(number)
    }
}
