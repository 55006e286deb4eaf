//! 2-D convolution: a matrix product of the weights with what lies under the window at each output position. Integer
//! products read it in place, but at the edges; float products from gathered patches.

use super::bounds::{chunks, chunks_mut, copy, copy_over, row_and_column};
use super::linear::{Finish, Layout, Linear, finish_float};
use super::window::Geometry;
use super::{Checked, Context, Memory, Region, codes, codes_mut, words, words_mut};
use crate::kernels::{
    FloatWeights, GATHERED, Gemm, KernelName, LANES, MAX_RUNS, MAX_STEP, Out, Shape, Table,
};
use crate::plan;
use crate::quantize::clamp;
use core::ops::Range;
use edgeprune_format::manifest::{self, Window};

/// Output channels of one float product.
const COLUMNS: usize = 64;
/// Bytes of patches that are gathered at once, as far as that gives few enough positions.
const PATCHES: usize = 1 << 15;
const MIN_POSITIONS: usize = 8;
const MAX_POSITIONS: usize = 64;

/// How the input codes of an output position are read.
#[derive(Clone, Copy)]
enum Reading {
    /// A run for each row of the window: taps and channels are contiguous in the input.
    Rows { runs: usize, run: usize },
    /// A run for each tap.
    Taps { runs: usize, run: usize },
    /// Gathered into one run.
    Patches { run: usize },
}

impl Reading {
    /// Runs of a position, and codes of a run.
    fn runs(self) -> (usize, usize) {
        match self {
            Self::Rows { runs, run } | Self::Taps { runs, run } => (runs, run),
            Self::Patches { run } => (1, run),
        }
    }

    /// Whether nothing is ever gathered or padded, so that no memory is needed for it.
    fn is_in_place(self, geometry: &Geometry) -> bool {
        let whole = (0..2).all(|axis| geometry.inside(axis) == (0..geometry.output[axis]));
        whole && !matches!(self, Self::Patches { .. })
    }
}

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
        let layout = Layout::Rows { groups };
        Ok(Self {
            linear: Linear::prepare(cx, linear, (&input, &output), shape, layout, filters)?,
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
        self.geometry.window() * self.inputs
    }

    fn positions(&self) -> usize {
        self.geometry.output[0] * self.geometry.output[1]
    }

    /// Output positions of one integer block.
    fn block(&self) -> usize {
        let positions = PATCHES.checked_div(self.patch()).unwrap_or(0);
        let whole = positions - positions % MIN_POSITIONS;
        whole
            .clamp(MIN_POSITIONS, MAX_POSITIONS)
            .min(self.positions())
    }

    /// Codes of a patch, filled up for every set of kernels.
    fn patch(&self) -> usize {
        self.depth().next_multiple_of(MAX_STEP)
    }

    /// Whether what lies under a row of the window is contiguous in the input.
    fn is_row_together(&self) -> bool {
        self.groups == 1 && (self.geometry.kernel[1] == 1 || self.geometry.dilation[1] == 1)
    }

    /// How the patches of output positions are read by kernels that take `step` codes at a time.
    fn reading(&self, step: usize) -> Reading {
        let [height, width] = self.geometry.kernel;
        let together = self.is_row_together();
        let row = width * self.inputs;
        if together && row.is_multiple_of(step) && height <= MAX_RUNS {
            Reading::Rows {
                runs: height,
                run: row,
            }
        } else if self.inputs.is_multiple_of(step) && height * width <= MAX_RUNS {
            Reading::Taps {
                runs: height * width,
                run: self.inputs,
            }
        } else {
            Reading::Patches {
                run: self.depth().next_multiple_of(step),
            }
        }
    }

    /// Bytes of the starts, of the patches with a run of zero points, and of the sums of one integer block.
    fn parts(&self) -> Option<[usize; 3]> {
        let block = self.block();
        let runs = match self.is_row_together() {
            true => self.geometry.kernel[0],
            false => self.geometry.window(),
        };
        let runs = runs.min(MAX_RUNS);
        let starts = block.checked_mul(runs)?.checked_mul(4)?;
        let reading = self.reading(MAX_STEP);
        let patches = match reading.is_in_place(&self.geometry) {
            true => 0,
            // besides the gathered ones, one of zero points and room for copies that run over the end
            false => self
                .patch()
                .checked_mul(self.gathered(reading, block).checked_add(2)?)?,
        };
        let sums = match self.linear.finish {
            Finish::IntegerToFloat(..) => block.checked_mul(self.outputs)?.checked_mul(4)?,
            _ => 0,
        };
        Some([
            plan::aligned(starts)?,
            plan::aligned(patches)?,
            plan::aligned(sums)?,
        ])
    }

    /// Most patches of a block that are gathered: all, or those at the edges of the rows that it touches.
    fn gathered(&self, reading: Reading, block: usize) -> usize {
        let width = self.geometry.output[1];
        let rows = block / width.max(1) + 2;
        match reading {
            Reading::Patches { .. } => block,
            Reading::Rows { .. } => block.min(rows * (width - self.geometry.inside(1).len())),
            Reading::Taps { .. } => 0,
        }
    }

    pub(crate) fn scratch(&self) -> Option<usize> {
        match self.linear.finish {
            Finish::Float(..) => {
                let patch = self.depth().checked_mul(LANES * 4)?;
                patch.checked_add(self.outputs.min(COLUMNS) * LANES * 4)
            }
            _ => {
                let [starts, patches, sums] = self.parts()?;
                starts.checked_add(patches)?.checked_add(sums)
            }
        }
    }

    /// The kernel of a set that runs this.
    pub(crate) fn kernel(&self, table: &Table) -> KernelName {
        let operator = match self.reading(table.panel.step) {
            Reading::Rows { .. } if self.geometry.is_pointwise() => "gemm",
            _ => "igemm",
        };
        match self.linear.finish {
            Finish::Float(..) => table.kernel(
                "f32",
                operator,
                Shape::Tile {
                    rows: LANES,
                    columns: 4,
                    step: 1,
                },
            ),
            Finish::Codes(_) => table.kernel("qs8", operator, table.tile()),
            Finish::IntegerToFloat(..) => table.kernel("qs8-f32", operator, table.tile()),
        }
    }

    pub(crate) fn run(&self, memory: &mut Memory<'_>) -> Option<()> {
        match self.linear.finish {
            Finish::Float(min, max) => self.run_float(memory, min, max),
            _ => self.run_integer(memory),
        }
    }

    fn run_integer(&self, memory: &mut Memory<'_>) -> Option<()> {
        let input = codes(memory.input(self.input)?);
        let [starts, patches, _] = self.parts()?;
        let (starts, rest) = memory.scratch.split_at_mut_checked(starts)?;
        let (patches, sums) = rest.split_at_mut_checked(patches)?;
        let (starts, patches) = (words_mut::<u32>(starts)?, codes_mut(patches));
        let sums = words_mut::<i32>(sums)?;
        let kernels = memory.kernels.table();
        let expanded = self.linear.expanded(memory.body, memory.constants)?;
        let reading = self.reading(kernels.panel.step);
        let (runs, run) = reading.runs();
        let group_bytes = kernels.panel.count(self.outputs) * kernels.panel.bytes(self.depth());
        let filters = self.geometry.output[2];
        let block = self.block().max(1);
        for group in 0..self.groups {
            let panels = expanded.get(group * group_bytes..)?;
            for first in (0..self.positions()).step_by(block) {
                let count = block.min(self.positions() - first);
                let starts = starts.get_mut(..count * runs)?;
                self.place(reading, input, group, first..first + count, starts, patches)?;
                let gemm = Gemm {
                    sources: [input, patches],
                    starts,
                    runs,
                    run,
                    panels,
                    columns: self.outputs,
                };
                let at = first * filters + group * self.outputs;
                match self.linear.finish {
                    Finish::Codes(codes) => {
                        let out = codes_mut(memory.output).get_mut(at..)?;
                        (kernels.gemm_i8)(&gemm, Out::Codes(codes, out, filters))?;
                    }
                    Finish::IntegerToFloat(min, max) | Finish::Float(min, max) => {
                        (kernels.gemm_i8)(&gemm, Out::Sums(sums))?;
                        let out = words_mut::<f32>(memory.output)?.get_mut(at..)?;
                        let rows = out.chunks_mut(filters.max(1));
                        for (out, sums) in rows.zip(chunks(sums, self.outputs)?).take(count) {
                            let multipliers = kernels.panel.multipliers(panels, self.depth());
                            finish_float(sums, multipliers, (min, max), out);
                        }
                    }
                }
            }
        }
        Some(())
    }

    /// Finds where the runs of some output positions begin, and puts those together that do not lie in the
    /// input as they are. Taps in the padding read the zero point.
    #[inline(never)]
    fn place(
        &self,
        reading: Reading,
        input: &[i8],
        group: usize,
        positions: Range<usize>,
        starts: &mut [u32],
        patches: &mut [i8],
    ) -> Option<()> {
        let geometry = &self.geometry;
        let (runs, _) = reading.runs();
        if geometry.is_pointwise() && matches!(reading, Reading::Rows { .. }) {
            for (start, position) in starts.iter_mut().zip(positions) {
                *start = (position * geometry.input[2]) as u32;
            }
            return Some(());
        }
        // zero points first, since copies of patches may run over the end of the last
        let zeros = self.patch().min(patches.len());
        patches.get_mut(..zeros)?.fill(self.zero_point);
        let (whole_rows, inside) = (geometry.inside(0), geometry.inside(1));
        let (mut at, mut patch) = (positions.start, zeros);
        while at < positions.end {
            let (row, column) = row_and_column(at, geometry.output[1])?;
            let end = geometry.output[1].min(column + (positions.end - at));
            let whole = whole_rows.contains(&row) && self.is_row_together();
            let together =
                inside.contains(&column) && (whole || !matches!(reading, Reading::Patches { .. }));
            let count = match together {
                true => inside.end.min(end) - column,
                false => 1,
            };
            let origin = geometry.origins([row, column]);
            let starts = starts.get_mut((at - positions.start) * runs..)?;
            let starts = starts.get_mut(..count * runs)?;
            match reading {
                Reading::Patches { .. } if together => {
                    self.gather_whole(input, origin, count, patches.get_mut(patch..)?)?;
                    for start in starts {
                        *start = GATHERED | patch as u32;
                        patch += self.patch();
                    }
                }
                Reading::Patches { .. } => {
                    for ky in 0..geometry.kernel[0] {
                        let to = patch + ky * geometry.kernel[1] * self.inputs;
                        self.gather(input, group, origin, ky, patches.get_mut(to..)?)?;
                    }
                    *starts.first_mut()? = GATHERED | patch as u32;
                    patch += self.patch();
                }
                Reading::Rows { run, .. } if !inside.contains(&column) => {
                    for (ky, start) in starts.iter_mut().enumerate() {
                        let to = patch + ky * run;
                        self.gather(input, group, origin, ky, patches.get_mut(to..)?)?;
                        *start = GATHERED | to as u32;
                    }
                    patch += self.patch();
                }
                Reading::Rows { .. } => {
                    let taps = (0..runs).map(|ky| [ky, 0]);
                    self.place_taps(group, origin, taps, starts);
                }
                Reading::Taps { .. } => {
                    self.place_taps(group, origin, geometry.window_taps(), starts);
                }
            }
            at += count;
        }
        Some(())
    }

    /// Where taps begin at output positions in a row from `origin` on, along which they move together.
    fn place_taps(
        &self,
        group: usize,
        origin: [isize; 2],
        taps: impl ExactSizeIterator<Item = [usize; 2]>,
        starts: &mut [u32],
    ) {
        let geometry = &self.geometry;
        let channels = geometry.input[2];
        let runs = taps.len().max(1);
        for (index, tap) in taps.enumerate() {
            let (mut start, step) = match geometry.pixel(origin, tap) {
                Some(pixel) => (
                    (pixel * channels + group * self.inputs) as u32,
                    (geometry.stride[1] * channels) as u32,
                ),
                None => (GATHERED, 0),
            };
            for place in starts.iter_mut().skip(index).step_by(runs) {
                *place = start;
                start = start.wrapping_add(step);
            }
        }
    }

    /// Copies what lies under the windows of output positions in a row, which are all inside the input.
    #[inline(never)]
    fn gather_whole(
        &self,
        input: &[i8],
        origin: [isize; 2],
        count: usize,
        to: &mut [i8],
    ) -> Option<()> {
        let geometry = &self.geometry;
        let channels = geometry.input[2];
        let first = geometry.pixel(origin, [0, 0])? * channels;
        let next_row = geometry.dilation[0] * geometry.input[1] * channels;
        let len = geometry.kernel[1] * self.inputs;
        for position in 0..count {
            let mut from = first + position * geometry.stride[1] * channels;
            let mut at = position * self.patch();
            for _ in 0..geometry.kernel[0] {
                copy_over(to.get_mut(at..)?, input.get(from..)?, len)?;
                (from, at) = (from + next_row, at + len);
            }
        }
        Some(())
    }

    /// Copies what lies under one row of the window; what follows it in `to` may be overwritten.
    #[inline(always)]
    fn gather(
        &self,
        input: &[i8],
        group: usize,
        origin: [isize; 2],
        row: usize,
        to: &mut [i8],
    ) -> Option<()> {
        let geometry = &self.geometry;
        let [_, width, channels] = geometry.input;
        let taps = geometry.kernel[1];
        let Some(y) = geometry.coordinate(0, origin[0], row) else {
            to.get_mut(..taps * self.inputs)?.fill(self.zero_point);
            return Some(());
        };
        // Where taps and channels are both contiguous in the input, a row of taps is one copy.
        let whole = origin[1] >= 0 && origin[1] as usize + taps <= width;
        if whole && self.is_row_together() {
            let at = (y * width + origin[1] as usize) * channels;
            return copy_over(to, input.get(at..)?, taps * self.inputs);
        }
        for (column, to) in chunks_mut(to, self.inputs)?.enumerate().take(taps) {
            match geometry.pixel(origin, [row, column]) {
                Some(pixel) => {
                    let at = pixel * channels + group * self.inputs;
                    copy(to, input.get(at..at + self.inputs)?)?;
                }
                None => to.fill(self.zero_point),
            }
        }
        Some(())
    }

    fn run_float(&self, memory: &mut Memory<'_>, min: f32, max: f32) -> Option<()> {
        let kernels = memory.kernels.table();
        let input = words::<f32>(memory.input(self.input)?)?;
        let weights = self.linear.float_weights(memory.body, memory.constants)?;
        let vectors = self.linear.vectors(memory.constants)?;
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
        let patches = chunks_mut(patch, self.inputs * lanes)?;
        for (patch, tap) in patches.zip(self.geometry.window_taps()) {
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
        tap: [usize; 2],
    ) -> Option<&'s [f32]> {
        let geometry = &self.geometry;
        let (y, x) = row_and_column(position, geometry.output[1])?;
        match geometry.pixel(geometry.origins([y, x]), tap) {
            Some(pixel) => {
                let at = pixel * geometry.input[2] + group * self.inputs;
                input.get(at..at + self.inputs)
            }
            None => Some(&[]),
        }
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
