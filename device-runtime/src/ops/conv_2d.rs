//! 2-D convolution: a matrix product of the weights with what lies under the window at each output position, which
//! is read in place, but at the edges. Inputs are counted in bytes, so that one finds the places of codes and of floats.

use super::bounds::{chunks_mut, copy, copy_over, fill_over, row_and_column};
use super::linear::{Finish, Linear};
use super::panels::Layout;
use super::window::Geometry;
use super::{
    Checked, Context, Element, Expansion, Memory, Region, Work, codes, codes_mut, words_mut,
};
use crate::kernels::convolution::{self, Convolution3x3, Convolve};
use crate::kernels::sparse::{self, STRIP, SparseLayer};
use crate::kernels::winograd::{self, Convolution, Extents, Scratch};
use crate::kernels::{
    Depth, GATHERED, Gemm, GemmF32, KernelName, MAX_COLUMNS, MAX_RUNS, MAX_STEP, Out, Panel, STEPS,
    Shape, Table,
};
use crate::plan;
use crate::quantize::Codes;
use core::ops::Range;
use edgeprune_format::manifest::{self, Window};

/// Inputs of patches that are gathered at once, as far as that gives few enough positions.
const PATCHES: usize = 1 << 15;
const MIN_POSITIONS: usize = 8;
const MAX_POSITIONS: usize = 64;
/// A part of the output has a multiple of so many positions: rows of a tile, of which the last of a part can be fewer.
const TILE: usize = 4;
/// What a float product costs, in integer products.
const FLOAT_COST: u64 = 4;

/// How the inputs of an output position are read; a run is so many bytes.
#[derive(Clone, Copy, Debug)]
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
    /// Runs of a position, and bytes of a run.
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
    /// An input pixel has the bytes of its channels.
    geometry: Geometry,
    groups: usize,
    /// Bytes of the input channels of a group.
    inputs: usize,
    /// Bytes of an input.
    element: usize,
    /// Output channels of a group.
    outputs: usize,
    /// The bytes of a sum: the rows of the window where each is contiguous in the input.
    depth: Depth,
    /// Bytes of a patch, filled up for every set of kernels.
    patch: usize,
    /// How the kernels read the inputs.
    reading: Reading,
    /// Bytes of the starts, and of the patches with a run of zero points, of one block.
    parts: [usize; 2],
    input: Region,
    zero_point: i8,
    /// Whether the kernels compute this in tiles.
    is_tiled: bool,
    /// Whether the constants are strips without blocks of zeros.
    sparse: bool,
}

impl Conv2d {
    pub(crate) fn prepare(
        cx: &Context<'_, '_>,
        linear: manifest::Linear,
        window: Window,
        groups: u32,
    ) -> Checked<Self> {
        let (input, output) = (cx.input()?, cx.output()?);
        let mut geometry = Geometry::prepare(&input, &output, window)?;
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
        let element = input.element.size();
        geometry.input[2] = channels * element;
        let depth = depth(&geometry, groups, inputs * element);
        let layout = match tiles {
            Some(tiles) => Layout::Tiles {
                inputs,
                depth: tiles.depth(),
            },
            None => Layout::Rows { groups, depth },
        };
        let mut layer = Self {
            linear: Linear::prepare(cx, linear, (&input, &output), shape, layout, filters)?,
            geometry,
            groups,
            inputs: inputs * element,
            element,
            outputs: filters / groups,
            depth,
            patch: depth
                .most_filled(filters / groups)
                .checked_next_multiple_of(MAX_STEP)
                .ok_or("too many products in a sum")?,
            input: input.region,
            zero_point: input.element.zero_point(),
            is_tiled: tiles.is_some(),
            sparse: false,
            reading: Reading::Patches { run: 0 },
            parts: [0; 2],
        };
        layer.reading = layer.reading_by(cx.layout.panel.step);
        layer.parts = layer
            .block_parts()
            .ok_or("working memory that is too large")?;
        Ok(layer)
    }

    /// Writes the constants for these kernels: without blocks of zeros, where that makes a run faster and leaves it enough memory.
    pub(crate) fn expand(
        &mut self,
        body: &[u8],
        kernels: &Table,
        scratch: usize,
        own: &mut [u8],
    ) -> Expansion {
        if let Some(winograd) = kernels.winograd_i8.filter(|_| self.is_tiled) {
            return self.linear.expand_tiles(body, winograd, own);
        }
        self.linear.expand(body, kernels.panel, own)?;
        // weights that are read in place stay as they are
        let fits = |layer: &SparseLayer| layer.scratch <= scratch && !own.is_empty();
        let layer = self.sparse_layer().filter(fits);
        let (Some(sparse), Some(layer)) = (&kernels.sparse, layer) else {
            return Ok(());
        };
        let blocks = sparse::count(kernels.panel, own, layer.depth, self.outputs);
        if !layer.pays(sparse.cost, blocks.ok_or("constants outside the arena")?) {
            return Ok(());
        }
        self.linear.expand(body, STRIP, own)?;
        let strips = own.chunks_exact_mut(STRIP.bytes(Depth::together(layer.depth)));
        for strip in strips.take(STRIP.count(self.outputs)) {
            sparse::compact(strip).ok_or("too many products in a sum")?;
        }
        self.sparse = true;
        self.reading = self.reading_by(STRIP.step);
        Ok(())
    }

    /// What sparse kernels need to know; `None` where they cannot run.
    pub(crate) fn sparse_layer(&self) -> Option<SparseLayer> {
        let depth = self.depth.codes();
        let is_codes = matches!(self.linear.finish, Finish::Codes(_));
        // rows that have to be filled up are few: those of first layers
        let whole = self.depth.rows == 1 || self.depth.row.is_multiple_of(MAX_STEP);
        let suits = is_codes && whole && self.groups == 1 && !self.is_tiled;
        let fits = depth <= sparse::MAX_DEPTH && self.positions() >= sparse::LEAST_POSITIONS;
        if !(suits && fits) {
            return None;
        }
        let codes = sparse::scratch(depth)?;
        Some(SparseLayer {
            depth,
            channels: self.outputs,
            scratch: plan::aligned(self.starts_and_patches()?.checked_add(codes)?)?,
        })
    }

    fn positions(&self) -> usize {
        self.geometry.output[0] * self.geometry.output[1]
    }

    /// Output positions of one block.
    fn block(&self) -> usize {
        let positions = (PATCHES * self.element)
            .checked_div(self.patch)
            .unwrap_or(0);
        let whole = positions - positions % MIN_POSITIONS;
        whole
            .clamp(MIN_POSITIONS, MAX_POSITIONS)
            .min(self.positions())
    }

    /// Whether what lies under a row of the window is contiguous in the input.
    fn is_row_together(&self) -> bool {
        self.groups == 1 && (self.geometry.kernel[1] == 1 || self.geometry.dilation[1] == 1)
    }

    /// Bytes that kernels take at a time, of codes `step`.
    fn unit(&self, step: usize) -> usize {
        match self.linear.finish {
            Finish::Float(..) => self.element,
            _ => step,
        }
    }

    /// How the patches of output positions are read by kernels that take `step` codes at a time.
    fn reading_by(&self, step: usize) -> Reading {
        let step = self.unit(step);
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

    /// Bytes of the starts, and of the patches with a run of zero points, of one block.
    fn block_parts(&self) -> Option<[usize; 2]> {
        let block = self.block();
        let runs = match self.is_row_together() {
            true => self.geometry.kernel[0],
            false => self.geometry.window(),
        };
        let runs = runs.min(MAX_RUNS);
        let starts = block.checked_mul(runs)?.checked_mul(4)?;
        let gathered = STEPS.map(|step| self.gathered(self.reading_by(step), block));
        let gathered = gathered.into_iter().max()?;
        let whole =
            (0..2).all(|axis| self.geometry.inside(axis) == (0..self.geometry.output[axis]));
        let patches = match whole && gathered == 0 {
            true => 0,
            // besides the gathered ones, one of zero points and room for copies that run over the end
            false => self.patch.checked_mul(gathered.checked_add(2)?)?,
        };
        Some([plan::aligned(starts)?, plan::aligned(patches)?])
    }

    fn starts_and_patches(&self) -> Option<usize> {
        let [starts, patches] = self.parts;
        starts.checked_add(patches)
    }

    /// Most patches of a block that are gathered: all, or those at the edges of the rows that it touches and those whose runs
    /// would take in what follows the input.
    #[inline(never)]
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

    /// Bytes of the input from an output position to the next.
    fn step(&self) -> usize {
        self.geometry.stride[1] * self.geometry.input[2]
    }

    pub(crate) fn scratch(&self) -> Option<usize> {
        match self.tiles() {
            Some(shape) => shape.scratch(),
            None => self.starts_and_patches(),
        }
    }

    /// The kernel of a set that runs this.
    pub(crate) fn kernel(&self, table: &Table) -> KernelName {
        if self.is_tiled {
            return table.kernel("qs8", "winograd", winograd::SHAPE);
        }
        if self.convolution_3x3(table).is_some() {
            return table.kernel("qs8", "conv3x3", table.tile());
        }
        let operator = match self.reading {
            Reading::Rows { .. } if self.geometry.is_pointwise() => "gemm",
            _ => "igemm",
        };
        match self.linear.finish {
            Finish::Float(..) => table.kernel(
                "f32",
                operator,
                Shape::Tile {
                    rows: table.rows_f32,
                    columns: manifest::PANEL,
                    step: 1,
                },
            ),
            Finish::Codes(_) if self.sparse => table.kernel(
                "qs8",
                "spmm",
                Shape::Tile {
                    rows: sparse::POSITIONS,
                    columns: STRIP.columns,
                    step: STRIP.step,
                },
            ),
            Finish::Codes(_) => table.kernel("qs8", operator, table.tile()),
            Finish::IntegerToFloat(..) => table.kernel("qs8-f32", operator, table.tile()),
        }
    }

    /// Pieces are output positions, in whole rows where kernels may share their inputs, the channels of the only one, or rows where
    /// the kernels compute tiles.
    pub(crate) fn work(&self) -> Work {
        let [height, _, filters] = self.geometry.output;
        let inputs = self.geometry.window() * self.inputs / self.element;
        let products = (self.positions() * filters) as u64 * inputs as u64;
        let cost = match self.linear.finish {
            Finish::Float(..) => products.saturating_mul(FLOAT_COST),
            _ if self.is_tiled => products / 2,
            _ => products,
        };
        let (pieces, grain) = match self.is_tiled {
            true => (height, winograd::TILE),
            false if self.is_divided_by_channels() => (filters, MAX_COLUMNS),
            false if self.shares_windows() => (self.positions(), self.geometry.output[1]),
            false => (self.positions(), TILE),
        };
        Work {
            pieces,
            grain,
            cost,
        }
    }

    /// The extents, if the kernels compute this in tiles.
    fn tiles(&self) -> Option<Extents> {
        self.geometry.tiles().filter(|_| self.is_tiled)
    }

    /// Whether this has the shape for kernels that share the inputs of neighbouring windows.
    fn shares_windows(&self) -> bool {
        let [_, width, filters] = self.geometry.output;
        let suits = convolution::suits(width, self.inputs, filters);
        suits && self.groups == 1 && self.geometry.is_same_3x3()
    }

    fn is_divided_by_channels(&self) -> bool {
        self.positions() == 1 && self.groups == 1
    }

    /// Positions, and channels of each group, of some pieces.
    fn positions_and_channels(&self, pieces: &Range<usize>) -> [Range<usize>; 2] {
        match self.is_divided_by_channels() {
            true => [0..1, pieces.clone()],
            false => [pieces.clone(), 0..self.outputs],
        }
    }

    pub(crate) fn run(&self, memory: &mut Memory<'_>) -> Option<()> {
        match (self.linear.finish, self.tiles()) {
            (Finish::Codes(codes), Some(shape)) => self.run_tiles(memory, &shape, codes),
            (Finish::Codes(codes), None) => match self.convolution_3x3(memory.kernels.table()) {
                Some(convolve) => self.run_rows(memory, codes, convolve),
                None => self.run_products(memory),
            },
            _ => self.run_products(memory),
        }
    }

    /// The kernel of a set that shares the inputs of neighbouring windows, if this is a layer for it.
    fn convolution_3x3(&self, table: &Table) -> Option<Convolve> {
        let suits = !self.sparse && matches!(self.linear.finish, Finish::Codes(_));
        let kernel = table.convolution_3x3;
        kernel.filter(|_| suits && self.shares_windows())
    }

    fn run_rows(&self, memory: &mut Memory<'_>, output: Codes, convolve: Convolve) -> Option<()> {
        let [height, width, filters] = self.geometry.output;
        let input = codes(memory.input(self.input)?);
        let zeros = codes_mut(memory.scratch.get_mut(..self.inputs)?);
        zeros.fill(self.zero_point);
        let pieces = &memory.pieces;
        let convolution = Convolution3x3 {
            input,
            zeros,
            size: [height, width],
            channels: self.inputs,
            filters,
            rows: pieces.start.checked_div(width)?..pieces.end.checked_div(width)?,
            panels: self.linear.expanded(memory.body, memory.constants)?,
        };
        convolve(&convolution, output, codes_mut(memory.output))
    }

    fn run_tiles(&self, memory: &mut Memory<'_>, shape: &Extents, output: Codes) -> Option<()> {
        let convolution = Convolution {
            shape,
            input: codes(memory.input(self.input)?),
            zero_point: self.zero_point,
            panels: self.linear.expanded(memory.body, memory.constants)?,
            codes: output,
            rows: memory.pieces.clone(),
        };
        let scratch = Scratch::split(shape, memory.scratch)?;
        let kernels = memory.kernels.table().winograd_i8?;
        (kernels.convolve)(&convolution, scratch, codes_mut(memory.output))
    }

    fn run_products(&self, memory: &mut Memory<'_>) -> Option<()> {
        let input = codes(memory.input(self.input)?);
        let [starts, patches] = self.parts;
        let (starts, rest) = memory.scratch.split_at_mut_checked(starts)?;
        let (patches, rest) = rest.split_at_mut_checked(patches)?;
        let (starts, patches) = (words_mut::<u32>(starts)?, codes_mut(patches));
        let (kernels, constants) = (memory.kernels.table(), (memory.body, memory.constants));
        let sparse = kernels.sparse.as_ref().filter(|_| self.sparse);
        let panel = sparse.map_or(kernels.panel, |_| STRIP);
        let (runs, run) = self.reading.runs();
        let filters = self.geometry.output[2];
        let block = self.block().max(1);
        let [positions, channels] = self.positions_and_channels(&memory.pieces);
        for group in 0..self.groups {
            for first in positions.clone().step_by(block) {
                let count = block.min(positions.end - first);
                let starts = starts.get_mut(..count * runs)?;
                self.place(input, group, first..first + count, starts, patches)?;
                let sources = [input, &*patches];
                let at = (first - positions.start) * filters + group * self.outputs;
                let integer = |panels| Gemm {
                    sources,
                    starts,
                    runs,
                    run,
                    panels,
                    columns: channels.len(),
                };
                match self.linear.finish {
                    Finish::Codes(codes) => {
                        let gemm = integer(self.panels(panel, constants, group, channels.start)?);
                        let out = codes_mut(memory.output).get_mut(at..)?;
                        let out = Out::Codes(codes, out, filters);
                        match sparse {
                            Some(sparse) => (sparse.gemm_i8)(&gemm, rest, out)?,
                            None => (kernels.gemm_i8)(&gemm, out)?,
                        }
                    }
                    Finish::IntegerToFloat(min, max) => {
                        let gemm = integer(self.panels(panel, constants, group, channels.start)?);
                        let out = words_mut::<f32>(memory.output)?.get_mut(at..)?;
                        (kernels.gemm_i8)(&gemm, Out::Floats((min, max), out, filters))?;
                    }
                    Finish::Float(min, max) => {
                        let first = group * self.outputs;
                        let channels = first + channels.start..first + channels.end;
                        let gemm = GemmF32 {
                            sources,
                            starts,
                            runs,
                            run,
                            constants: self.linear.floats(constants, channels, (min, max))?,
                        };
                        let out = words_mut::<f32>(memory.output)?.get_mut(at..)?;
                        (kernels.gemm_f32)(&gemm, out, filters)?;
                    }
                }
            }
        }
        Some(())
    }

    /// What an integer product of a group reads, from the panel of its channel `first` on.
    fn panels<'s>(
        &self,
        panel: Panel,
        places: (&'s [u8], &'s [u8]),
        group: usize,
        first: usize,
    ) -> Option<&'s [u8]> {
        let depth = self.depth.laid_out(panel.step, self.outputs);
        let before = group * panel.count(self.outputs) + first / panel.columns;
        self.linear
            .expanded(places.0, places.1)?
            .get(before * panel.bytes(depth)..)
    }

    /// Finds where the runs of some output positions begin, and puts those together that do not lie in the
    /// input as they are. Taps in the padding read the zero point.
    #[inline(never)]
    fn place(
        &self,
        input: &[i8],
        group: usize,
        positions: Range<usize>,
        starts: &mut [u32],
        patches: &mut [i8],
    ) -> Option<()> {
        let (geometry, reading) = (&self.geometry, self.reading);
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
        let runs = taps.len().max(1);
        let mut taps = taps.map(|tap| self.start_and_step(group, origin, tap));
        if runs == 3
            && let (Some(a), Some(b), Some(c)) = (taps.next(), taps.next(), taps.next())
        {
            return place_three([a, b, c], starts);
        }
        for (index, (mut start, step)) in taps.enumerate() {
            let mut at = index;
            while let Some(place) = starts.get_mut(at) {
                *place = start;
                start = start.wrapping_add(step);
                at += runs;
            }
        }
    }

    /// Where a tap begins at an output position, and how far it moves to the next in the row.
    fn start_and_step(&self, group: usize, origin: [isize; 2], tap: [usize; 2]) -> (u32, u32) {
        let channels = self.geometry.input[2];
        match self.geometry.pixel(origin, tap) {
            Some(pixel) => (
                (pixel * channels + group * self.inputs) as u32,
                (self.geometry.stride[1] * channels) as u32,
            ),
            None => (GATHERED, 0),
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
            return fill_over(to, self.zero_point, taps * self.inputs);
        };
        // Where taps and channels are both contiguous in the input, those inside are one copy.
        let inside = geometry.taps(1, origin[1]);
        if self.is_row_together() && !inside.is_empty() {
            let (before, end) = (inside.start * self.inputs, inside.end * self.inputs);
            let column = origin[1]
                .checked_add_unsigned(inside.start)?
                .cast_unsigned();
            let from = input.get((y * width + column) * channels..)?;
            let row = taps * self.inputs;
            if before > 0 {
                fill_over(to, self.zero_point, before)?;
            }
            copy_over(to.get_mut(before..)?, from, end - before)?;
            if end < row {
                fill_over(to.get_mut(end..)?, self.zero_point, row - end)?;
            }
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

/// Where three taps begin at output positions in a row: from one to the next in one step for all, the most common window.
fn place_three(taps: [(u32, u32); 3], starts: &mut [u32]) {
    let [(mut a, a_step), (mut b, b_step), (mut c, c_step)] = taps;
    for starts in starts.as_chunks_mut().0 {
        *starts = [a, b, c];
        a = a.wrapping_add(a_step);
        b = b.wrapping_add(b_step);
        c = c.wrapping_add(c_step);
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
