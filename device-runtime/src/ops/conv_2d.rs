//! 2-D convolution: a block of output positions at a time, their patches gathered into rows, then
//! a matrix product with the weights.

use super::bounds::{chunks, chunks_mut, copy, row_and_column};
use super::linear::{Finish, Layout, Linear};
use super::window::Geometry;
use super::{Checked, Context, Memory, Region, codes, codes_mut, words, words_mut};
use crate::kernels::{FloatWeights, LANES, Product, STEP, Table};
use crate::plan;
use crate::quantize::clamp;
use edgeprune_format::manifest::{self, Window};

/// Output channels of one integer product.
const COLUMNS: usize = 64;
/// Bytes of patches that are gathered at once, as far as that gives few enough positions.
const PATCHES: usize = 1 << 15;
const MIN_POSITIONS: usize = 8;
const MAX_POSITIONS: usize = 64;

#[derive(Clone, Debug)]
pub(crate) struct Conv2d {
    pub(crate) linear: Linear,
    geometry: Geometry,
    groups: usize,
    /// Input channels of a group.
    inputs: usize,
    /// Output channels of a group.
    outputs: usize,
    input: Region,
    zero_point: i8,
}

impl Conv2d {
    pub(crate) fn prepare(
        cx: &Context<'_, '_>,
        linear: manifest::Linear,
        window: Window,
        groups: u32,
    ) -> Checked<Self> {
        let (input, output) = (cx.input()?, cx.output()?);
        let geometry = Geometry::prepare(&input, &output, window)?;
        let [_, _, channels] = input.shape;
        let [_, _, filters] = output.shape;
        let groups = groups as usize;
        if groups == 0 || channels % groups != 0 || filters % groups != 0 {
            return Err("groups that do not divide the channels");
        }
        let inputs = channels / groups;
        let [height, width] = geometry.kernel;
        let shape = [filters, height, width, inputs];
        Ok(Self {
            linear: Linear::prepare(cx, linear, (&input, &output), shape, Layout::Rows, filters)?,
            geometry,
            groups,
            inputs,
            outputs: filters / groups,
            input: input.region,
            zero_point: input.element.zero_point(),
        })
    }

    /// Products in one sum.
    fn depth(&self) -> usize {
        self.geometry.kernel[0] * self.geometry.kernel[1] * self.inputs
    }

    fn positions(&self) -> usize {
        self.geometry.output[0] * self.geometry.output[1]
    }

    /// Output positions of one integer block.
    fn block(&self) -> usize {
        let row = self.depth().next_multiple_of(STEP);
        PATCHES
            .checked_div(row)
            .unwrap_or(0)
            .clamp(MIN_POSITIONS, MAX_POSITIONS)
            .min(self.positions())
    }

    /// Bytes of the patches of one integer block.
    fn patches(&self) -> Option<usize> {
        plan::aligned(
            self.depth()
                .next_multiple_of(STEP)
                .checked_mul(self.block())?,
        )
    }

    pub(crate) fn scratch(&self) -> Option<usize> {
        match self.linear.finish {
            Finish::Float(..) => {
                let patch = self.depth().checked_mul(LANES * 4)?;
                patch.checked_add(self.outputs.min(COLUMNS) * LANES * 4)
            }
            _ => {
                let sums = self.block() * self.outputs.min(COLUMNS) * 4;
                self.patches()?.checked_add(plan::aligned(sums)?)
            }
        }
    }

    pub(crate) fn run(&self, memory: &mut Memory<'_>) -> Option<()> {
        match self.linear.finish {
            Finish::Float(min, max) => self.run_float(memory, min, max),
            _ => self.run_integer(memory),
        }
    }

    fn run_integer(&self, memory: &mut Memory<'_>) -> Option<()> {
        let kernels = memory.kernels.table();
        let input = codes(memory.input(self.input)?);
        let weights = self.linear.codes(memory.body, memory.constants)?;
        let (patches, sums) = memory.scratch.split_at_mut_checked(self.patches()?)?;
        let (patches, sums) = (codes_mut(patches), words_mut::<i32>(sums)?);
        let depth = self.depth();
        for group in 0..self.groups {
            let weights = weights.get(group * self.outputs * depth..)?;
            let weights = weights.get(..self.outputs * depth)?;
            for first in (0..self.positions()).step_by(self.block().max(1)) {
                let count = self.block().min(self.positions() - first);
                let (rows, stride) = match self.in_place(input, first, count) {
                    Some(rows) => (rows, self.inputs),
                    None => {
                        self.gather(input, group, first, count, patches)?;
                        (&*patches, depth.next_multiple_of(STEP))
                    }
                };
                for (i, weights) in weights.chunks((COLUMNS * depth).max(1)).enumerate() {
                    let product = Product {
                        rows,
                        stride,
                        count,
                        weights,
                        depth,
                    };
                    (kernels.product_i8)(&product, sums)?;
                    let channel = group * self.outputs + i * COLUMNS;
                    self.finish(
                        kernels,
                        memory.constants,
                        sums,
                        (first, count),
                        (channel, product.columns()),
                        memory.output,
                    )?;
                }
            }
        }
        Some(())
    }

    /// The input itself as rows, where it has that form and enough codes after the last row.
    fn in_place<'s>(&self, input: &'s [i8], first: usize, count: usize) -> Option<&'s [i8]> {
        if !self.geometry.is_pointwise() || self.groups != 1 {
            return None;
        }
        let rows = input.get(first * self.inputs..)?;
        let need = (count - 1) * self.inputs + self.inputs.next_multiple_of(STEP);
        (rows.len() >= need).then_some(rows)
    }

    /// Copies the patches of some output positions into rows; the padding reads the zero point.
    fn gather(
        &self,
        input: &[i8],
        group: usize,
        first: usize,
        count: usize,
        patches: &mut [i8],
    ) -> Option<()> {
        let geometry = &self.geometry;
        let stride = self.depth().next_multiple_of(STEP);
        let [kernel_height, kernel_width] = geometry.kernel;
        let row_len = kernel_width * self.inputs;
        let [_, width, channels] = geometry.input;
        // Where taps and channels are both contiguous in the input, a row of taps is one copy.
        let contiguous = geometry.dilation[1] == 1 && self.groups == 1;
        for (i, patch) in chunks_mut(patches, stride)?.take(count).enumerate() {
            let [y, x] = self.origin(first + i)?;
            let (rows, columns) = (geometry.taps(0, y), geometry.taps(1, x));
            let whole = rows.len() == kernel_height && columns.len() == kernel_width;
            if !whole {
                patch.get_mut(..self.depth())?.fill(self.zero_point);
            }
            if columns.is_empty() {
                continue;
            }
            for row in rows {
                let y = (y + (row * geometry.dilation[0]) as isize) as usize;
                let patch = patch.get_mut(row * row_len..)?.get_mut(..row_len)?;
                let from = |column: usize| {
                    let x = (x + (column * geometry.dilation[1]) as isize) as usize;
                    (y * width + x) * channels + group * self.inputs
                };
                if contiguous {
                    let at = from(columns.start);
                    let len = columns.len() * self.inputs;
                    let patch = patch
                        .get_mut(columns.start * self.inputs..)?
                        .get_mut(..len)?;
                    copy(patch, input.get(at..)?.get(..len)?)?;
                } else {
                    for column in columns.clone() {
                        let taps = input.get(from(column)..)?.get(..self.inputs)?;
                        let patch = patch.get_mut(column * self.inputs..)?;
                        copy(patch.get_mut(..self.inputs)?, taps)?;
                    }
                }
            }
        }
        Some(())
    }

    fn origin(&self, position: usize) -> Option<[isize; 2]> {
        let (row, column) = row_and_column(position, self.geometry.output[1])?;
        Some([
            self.geometry.origin(0, row),
            self.geometry.origin(1, column),
        ])
    }

    /// Turns sums of `(first, count)` positions and `(channel, columns)` channels into output.
    fn finish(
        &self,
        kernels: &Table,
        constants: &[u8],
        sums: &[i32],
        (first, count): (usize, usize),
        (channel, columns): (usize, usize),
        output: &mut [u8],
    ) -> Option<()> {
        let vectors = self.linear.vectors::<i32>(constants)?;
        let bias = vectors.bias.get(channel..channel + columns)?;
        let multiplier = vectors.multiplier.get(channel..channel + columns)?;
        let filters = self.geometry.output[2];
        let rows = chunks(sums, columns)?.take(count).enumerate();
        match self.linear.finish {
            Finish::Codes(codes) => {
                let output = codes_mut(output);
                for (i, sums) in rows {
                    let at = (first + i) * filters + channel;
                    let out = output.get_mut(at..at + columns)?;
                    (kernels.finish_i8)(sums, bias, multiplier, codes, out);
                }
            }
            Finish::IntegerToFloat(min, max) | Finish::Float(min, max) => {
                let output = words_mut::<f32>(output)?;
                for (i, sums) in rows {
                    let at = (first + i) * filters + channel;
                    let out = output.get_mut(at..at + columns)?;
                    super::linear::finish_float(sums, bias, multiplier, (min, max), out);
                }
            }
        }
        Some(())
    }

    fn run_float(&self, memory: &mut Memory<'_>, min: f32, max: f32) -> Option<()> {
        let kernels = memory.kernels.table();
        let input = words::<f32>(memory.input(self.input)?)?;
        let weights = self.linear.float_weights(memory.body, memory.constants)?;
        let vectors = self.linear.vectors::<f32>(memory.constants)?;
        let output = words_mut::<f32>(memory.output)?;
        let scratch = words_mut::<f32>(memory.scratch)?;
        let (patch, sums) = scratch.split_at_mut_checked(self.depth() * LANES)?;
        let filters = self.geometry.output[2];
        let positions = self.positions();
        for group in 0..self.groups {
            let mut first = 0;
            while first < positions {
                // A lone position would leave all lanes but one idle.
                let lanes = if positions - first == 1 { 1 } else { LANES };
                let count = lanes.min(positions - first);
                self.gather_lanes(input, group, first, count, lanes, patch)?;
                for channel in (0..self.outputs).step_by(COLUMNS) {
                    let columns = COLUMNS.min(self.outputs - channel);
                    let channel = group * self.outputs + channel;
                    let range = channel * self.depth()..(channel + columns) * self.depth();
                    let weights = weights.range(range)?;
                    self.product_f32(kernels, patch, weights, lanes, columns, sums)?;
                    let range = channel..channel + columns;
                    let bias = vectors.bias.get(range.clone())?;
                    let scale = vectors.multiplier.get(range)?;
                    for lane in 0..count {
                        let at = (first + lane) * filters + channel;
                        let out = output.get_mut(at..at + columns)?.iter_mut();
                        let sums = sums.get(lane..)?.iter().step_by(lanes);
                        let terms = sums.zip(bias).zip(scale);
                        for (out, ((sum, bias), scale)) in out.zip(terms) {
                            *out = clamp(sum * scale + bias, min, max);
                        }
                    }
                }
                first += count;
            }
        }
        Some(())
    }

    fn product_f32(
        &self,
        kernels: &Table,
        patch: &[f32],
        weights: FloatWeights<'_>,
        lanes: usize,
        columns: usize,
        sums: &mut [f32],
    ) -> Option<()> {
        if lanes == 1 {
            let patch = patch.as_chunks().0.get(..self.depth())?;
            let sums = sums.as_chunks_mut().0.get_mut(..columns)?;
            (kernels.product_f32_one)(patch, weights, sums)
        } else {
            let patch = patch.as_chunks().0.get(..self.depth())?;
            let sums = sums.as_chunks_mut().0.get_mut(..columns)?;
            (kernels.product_f32)(patch, weights, sums)
        }
    }

    /// Copies the patches of some output positions into columns, `lanes` apart.
    fn gather_lanes(
        &self,
        input: &[f32],
        group: usize,
        first: usize,
        count: usize,
        lanes: usize,
        patch: &mut [f32],
    ) -> Option<()> {
        let [kernel_height, kernel_width] = self.geometry.kernel;
        let patches = chunks_mut(patch, self.inputs * lanes)?;
        let taps = (0..kernel_height).flat_map(|row| (0..kernel_width).map(move |c| (row, c)));
        for (patch, tap) in patches.zip(taps) {
            let mut sources: [&[f32]; LANES] = [&[]; LANES];
            for (lane, source) in sources.iter_mut().enumerate().take(count) {
                *source = self.tap(input, group, first + lane, tap)?;
            }
            match patch.as_chunks_mut::<LANES>() {
                (patch, []) if lanes == LANES => interleave(&sources, patch),
                _ => {
                    patch.fill(0.0);
                    for (lane, source) in sources.iter().enumerate().take(lanes) {
                        let column = patch.get_mut(lane..)?.iter_mut().step_by(lanes);
                        column.zip(*source).for_each(|(to, from)| *to = *from);
                    }
                }
            }
        }
        Some(())
    }

    /// The channels under a tap at an output position; none in the padding.
    fn tap<'s>(
        &self,
        input: &'s [f32],
        group: usize,
        position: usize,
        (row, column): (usize, usize),
    ) -> Option<&'s [f32]> {
        let geometry = &self.geometry;
        let [height, width, channels] = geometry.input;
        let [y, x] = self.origin(position)?;
        let y = y + (row * geometry.dilation[0]) as isize;
        let x = x + (column * geometry.dilation[1]) as isize;
        let inside = y >= 0 && x >= 0 && y < height as isize && x < width as isize;
        if !inside {
            return Some(&[]);
        }
        let at = (y as usize * width + x as usize) * channels + group * self.inputs;
        input.get(at..at + self.inputs)
    }

    /// A convolution that is a fully connected layer over the channels.
    pub(crate) fn pointwise(cx: &Context<'_, '_>, linear: manifest::Linear) -> Checked<Self> {
        let window = Window {
            kernel: [1, 1],
            stride: [1, 1],
            dilation: [1, 1],
            pad: [0, 0],
        };
        Self::prepare(cx, linear, window, 1)
    }
}

/// `patch[c][lane] = sources[lane][c]`, 0 where a source is empty.
fn interleave(sources: &[&[f32]; LANES], patch: &mut [[f32; LANES]]) {
    for (c, lanes) in patch.iter_mut().enumerate() {
        for (to, source) in lanes.iter_mut().zip(sources) {
            *to = source.get(c).copied().unwrap_or(0.0);
        }
    }
}
