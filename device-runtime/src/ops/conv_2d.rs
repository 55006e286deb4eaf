//! 2-D convolution: a matrix product of the weights with what lies under the window at each output position. Integer
//! products read it in place, but at the edges; float products from gathered patches.

use super::bounds::{chunks, chunks_mut, copy, copy_over, row_and_column};
use super::linear::{Finish, Layout, Linear, finish_float};
use super::window::Geometry;
use super::{Checked, Context, Element, Memory, Region, codes, codes_mut, words, words_mut};
use crate::kernels::winograd::{self, Convolution, Extents, Scratch};
use crate::kernels::{
    Depth, FloatWeights, GATHERED, Gemm, KernelName, LANES, MAX_RUNS, MAX_STEP, Out, STEPS, Shape,
    Table,
};
use crate::plan;
use crate::quantize::{Codes, clamp};
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
    /// A run for each row of the window: taps and channels are contiguous in the input. Where they are no whole steps, a run
    /// takes in what follows them.
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
    /// The codes of a sum: the rows of the window where each is contiguous in the input.
    depth: Depth,
    /// Codes of a patch, filled up for every set of kernels.
    patch: usize,
    input: Region,
    zero_point: i8,
    /// The extents, if the kernels compute this in tiles.
    tiles: Option<Extents>,
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
        let integer = matches!(
            (input.element, output.element),
            (Element::I8 { .. }, Element::I8 { .. })
        );
        let suits = cx.layout.tiles && groups == 1 && integer && !cx.has_panels(linear)?;
        let tiles = geometry.tiles().filter(|tiles| suits && tiles.pays());
        let depth = depth(&geometry, groups, inputs);
        let layout = match tiles {
            Some(_) => Layout::Tiles { inputs },
            None => Layout::Rows { groups, depth },
        };
        Ok(Self {
            linear: Linear::prepare(cx, linear, (&input, &output), shape, layout, filters)?,
            geometry,
            groups,
            inputs,
            outputs: filters / groups,
            depth,
            patch: depth
                .most_filled(filters / groups)
                .checked_next_multiple_of(MAX_STEP)
                .ok_or("too many products in a sum")?,
            input: input.region,
            zero_point: input.element.zero_point(),
            tiles,
        })
    }

    fn positions(&self) -> usize {
        self.geometry.output[0] * self.geometry.output[1]
    }

    /// Output positions of one integer block.
    fn block(&self) -> usize {
        let positions = PATCHES.checked_div(self.patch).unwrap_or(0);
        let whole = positions - positions % MIN_POSITIONS;
        whole
            .clamp(MIN_POSITIONS, MAX_POSITIONS)
            .min(self.positions())
    }

    /// Whether what lies under a row of the window is contiguous in the input.
    fn is_row_together(&self) -> bool {
        self.groups == 1 && (self.geometry.kernel[1] == 1 || self.geometry.dilation[1] == 1)
    }

    /// How the patches of output positions are read by kernels that take `step` codes at a time.
    fn reading(&self, step: usize) -> Reading {
        let [height, width] = self.geometry.kernel;
        let depth = self.depth.laid_out(step, self.outputs);
        if self.is_row_together() && depth.rows == height && height <= MAX_RUNS {
            Reading::Rows {
                runs: height,
                run: depth.row.next_multiple_of(step),
            }
        } else if self.inputs.is_multiple_of(step) && height * width <= MAX_RUNS {
            Reading::Taps {
                runs: height * width,
                run: self.inputs,
            }
        } else {
            Reading::Patches {
                run: self.depth.codes().next_multiple_of(step),
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
        let gathered = STEPS.map(|step| self.gathered(self.reading(step), block));
        let gathered = gathered.into_iter().max()?;
        let whole =
            (0..2).all(|axis| self.geometry.inside(axis) == (0..self.geometry.output[axis]));
        let patches = match whole && gathered == 0 {
            true => 0,
            // besides the gathered ones, one of zero points and room for copies that run over the end
            false => self.patch.checked_mul(gathered.checked_add(2)?)?,
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

    /// Most patches of a block that are gathered: all, or those at the edges of the rows that it touches and those whose runs
    /// would take in what follows the input.
    fn gathered(&self, reading: Reading, block: usize) -> usize {
        let [_, width, _] = self.geometry.output;
        let rows = block / width.max(1) + 2;
        match reading {
            Reading::Patches { .. } => block,
            Reading::Rows { run, .. } => {
                let edges = width - self.geometry.inside(1).len();
                let beyond = (run - self.depth.row).div_ceil(self.step().max(1));
                block.min(rows * (edges + beyond))
            }
            Reading::Taps { .. } => 0,
        }
    }

    /// Codes of the input from an output position to the next.
    fn step(&self) -> usize {
        self.geometry.stride[1] * self.geometry.input[2]
    }

    pub(crate) fn scratch(&self) -> Option<usize> {
        if let Some(shape) = &self.tiles {
            return shape.scratch();
        }
        match self.linear.finish {
            Finish::Float(..) => {
                let patch = self.depth.codes().checked_mul(LANES * 4)?;
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
        if self.tiles.is_some() {
            return table.kernel("qs8", "winograd", winograd::SHAPE);
        }
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
        match (self.linear.finish, &self.tiles) {
            (Finish::Float(min, max), _) => self.run_float(memory, min, max),
            (Finish::Codes(codes), Some(shape)) => self.run_tiles(memory, shape, codes),
            _ => self.run_integer(memory),
        }
    }

    fn run_tiles(&self, memory: &mut Memory<'_>, shape: &Extents, output: Codes) -> Option<()> {
        let convolution = Convolution {
            shape,
            input: codes(memory.input(self.input)?),
            zero_point: self.zero_point,
            panels: self.linear.expanded(memory.body, memory.constants)?,
            codes: output,
        };
        let scratch = Scratch::split(shape, memory.scratch)?;
        let convolve = memory.kernels.table().winograd_i8?;
        convolve(&convolution, scratch, codes_mut(memory.output))
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
        let depth = self.depth.laid_out(kernels.panel.step, self.outputs);
        let group_bytes = kernels.panel.count(self.outputs) * kernels.panel.bytes(depth);
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
                            let multipliers = kernels.panel.multipliers(panels, depth);
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
        let (runs, run) = reading.runs();
        if geometry.is_pointwise() && matches!(reading, Reading::Rows { .. }) {
            let last = (positions.end - 1) * geometry.input[2];
            if last + run <= input.len() {
                for (start, position) in starts.iter_mut().zip(positions) {
                    *start = (position * geometry.input[2]) as u32;
                }
                return Some(());
            }
        }
        // zero points first, since copies of patches may run over the end of the last
        let zeros = self.patch.min(patches.len());
        patches.get_mut(..zeros)?.fill(self.zero_point);
        let (whole_rows, inside) = (geometry.inside(0), geometry.inside(1));
        let (mut at, mut patch) = (positions.start, zeros);
        while at < positions.end {
            let (row, column) = row_and_column(at, geometry.output[1])?;
            let end = geometry.output[1].min(column + (positions.end - at));
            let origin = geometry.origins([row, column]);
            let reach = match reading {
                _ if !inside.contains(&column) => 0,
                Reading::Rows { run, .. } => self.readable(origin, run, input.len()),
                Reading::Taps { .. } => usize::MAX,
                Reading::Patches { .. } if !whole_rows.contains(&row) => 0,
                Reading::Patches { .. } if !self.is_row_together() => 0,
                Reading::Patches { .. } => usize::MAX,
            };
            let together = reach > 0;
            let left = inside.end.min(end).saturating_sub(column);
            let count = left.min(reach).max(1);
            let starts = starts.get_mut((at - positions.start) * runs..)?;
            let starts = starts.get_mut(..count * runs)?;
            match reading {
                Reading::Patches { .. } if together => {
                    self.gather_whole(input, origin, count, patches.get_mut(patch..)?)?;
                    for start in starts {
                        *start = GATHERED | patch as u32;
                        patch += self.patch;
                    }
                }
                Reading::Patches { .. } => {
                    for ky in 0..geometry.kernel[0] {
                        let to = patch + ky * geometry.kernel[1] * self.inputs;
                        self.gather(input, group, origin, ky, patches.get_mut(to..)?)?;
                    }
                    *starts.first_mut()? = GATHERED | patch as u32;
                    patch += self.patch;
                }
                Reading::Rows { run, .. } if !together => {
                    for (ky, start) in starts.iter_mut().enumerate() {
                        let to = patch + ky * run;
                        self.gather(input, group, origin, ky, patches.get_mut(to..)?)?;
                        *start = GATHERED | to as u32;
                    }
                    patch += self.patch;
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

    /// Output positions in a row from `origin` on whose runs end within the input.
    fn readable(&self, origin: [isize; 2], run: usize, input: usize) -> usize {
        if run == self.depth.row {
            return usize::MAX;
        }
        let mut rows = (0..self.geometry.kernel[0]).rev();
        let Some(last) = rows.find_map(|ky| self.geometry.pixel(origin, [ky, 0])) else {
            return usize::MAX;
        };
        match input.checked_sub(last * self.geometry.input[2] + run) {
            Some(room) => room.checked_div(self.step()).unwrap_or(0) + 1,
            None => 0,
        }
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
            let mut at = index;
            while let Some(place) = starts.get_mut(at) {
                *place = start;
                start = start.wrapping_add(step);
                at += runs;
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
            let mut at = position * self.patch;
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
        // Where taps and channels are both contiguous in the input, those inside are one copy.
        let inside = geometry.taps(1, origin[1]);
        if self.is_row_together() && !inside.is_empty() {
            let (before, end) = (inside.start * self.inputs, inside.end * self.inputs);
            let column = origin[1]
                .checked_add_unsigned(inside.start)?
                .cast_unsigned();
            let from = input.get((y * width + column) * channels..)?;
            to.get_mut(..before)?.fill(self.zero_point);
            copy_over(to.get_mut(before..)?, from, end - before)?;
            to.get_mut(end..taps * self.inputs)?.fill(self.zero_point);
            return Some(());
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
        let (patch, sums) = scratch.split_at_mut_checked(self.depth.codes() * LANES)?;
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
                    let range =
                        channel * self.depth.codes()..(channel + columns) * self.depth.codes();
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
            let patch = patch.as_chunks().0.get(..self.depth.codes())?;
            let sums = sums.as_chunks_mut().0.get_mut(..columns)?;
            (kernels.product_f32_one)(patch, weights, sums)
        } else {
            let patch = patch.as_chunks().0.get(..self.depth.codes())?;
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

/// The codes of a sum: the rows of the window where each is contiguous in the input, which are then run by run what kernels read.
fn depth(geometry: &Geometry, groups: usize, inputs: usize) -> Depth {
    let [height, width] = geometry.kernel;
    let contiguous = groups == 1 && (width == 1 || geometry.dilation[1] == 1);
    match contiguous && height <= MAX_RUNS {
        true => Depth {
            rows: height,
            row: width * inputs,
        },
        false => Depth {
            rows: 1,
            row: geometry.window() * inputs,
        },
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
