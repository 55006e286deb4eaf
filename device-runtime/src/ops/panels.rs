//! Where an integer layer's weights, biases and multipliers lie in panels, and how they get there and back.

use super::{Checked, OUTSIDE, codes, codes_mut};
use crate::kernels::{Depth, Panel, winograd};

/// Codes that are read back from panels at once.
const CHUNK: usize = 512;

/// Bytes that the widest element which kernels read from a panel is aligned to.
const PANEL_ALIGNMENT: usize = 8;

/// How weights are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `[channel][depth]`, in groups of channels that share inputs.
    Rows { groups: usize, depth: Depth },
    /// `[channel][depth]`, with windows of 3 x 3 for kernels that compute tiles and have so many bytes of a channel; not of stored
    /// panels.
    Tiles { inputs: usize, depth: Depth },
    /// `[depth][channel]`: depthwise.
    Columns,
}

pub(super) const ASYMMETRIC: &str = "a weight of -128: codes go from -127 to 127";

/// The constants of an integer layer: `group` output channels of `depth` codes share inputs, and each group has its
/// own panels.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Panels {
    pub(super) panel: Panel,
    groups: usize,
    group: usize,
    depth: Depth,
}

impl Panels {
    /// A depthwise layer is one panel of all channels.
    pub(super) fn of(layout: Layout, panel: Panel, channels: usize, depth: usize) -> Self {
        let depth = Depth::together(depth);
        let (panel, groups, depth) = match layout {
            Layout::Rows { groups, .. } => (panel, groups.max(1), depth),
            Layout::Tiles { depth, .. } => (winograd::PANEL, 1, depth),
            Layout::Columns => (Panel::new(channels, 1, 0), 1, depth),
        };
        Self {
            panel,
            groups,
            group: channels / groups,
            depth,
        }
    }

    /// With rows of a window apart where kernels read them so.
    pub(super) fn laid_out(self, layout: Layout) -> Self {
        let depth = match layout {
            Layout::Rows { depth, .. } => depth.laid_out(self.panel.step, self.group),
            Layout::Tiles { .. } | Layout::Columns => return self,
        };
        // rows of whole steps are as good as one
        match depth.row.is_multiple_of(self.panel.step) {
            true => self,
            false => Self { depth, ..self },
        }
    }

    pub(super) fn bytes(self) -> Option<usize> {
        self.panel.total(self.groups, self.group, self.depth)
    }

    /// Where the panel of an output channel begins, and its column there.
    fn place(self, channel: usize) -> (usize, usize) {
        let (before, channel) = (channel / self.group, channel % self.group);
        let index = before * self.panel.count(self.group) + channel / self.panel.columns;
        (
            index * self.panel.bytes(self.depth),
            channel % self.panel.columns,
        )
    }

    /// Where the bias and the multiplier of an output channel are.
    pub(super) fn head_places(self, channel: usize) -> [usize; 2] {
        let (start, column) = self.place(channel);
        [0, self.panel.columns].map(|row| start + 4 * (row + column))
    }

    /// The bias and the multiplier of an output channel.
    pub(super) fn head(self, panels: &[u8], channel: usize) -> Option<(i32, f32)> {
        let [bias, multiplier] = self.head_places(channel);
        let word = |at: usize| panels.get(at..)?.first_chunk().copied();
        Some((
            i32::from_le_bytes(word(bias)?),
            f32::from_le_bytes(word(multiplier)?),
        ))
    }

    /// Gives the codes to `sink`, channel after channel, some at a time.
    pub(super) fn read(
        self,
        panels: &[u8],
        channels: usize,
        sink: &mut dyn FnMut(&[i8]),
    ) -> Option<()> {
        let mut chunk = [0; CHUNK];
        for channel in 0..channels {
            let (start, column) = self.place(channel);
            let panel = panels.get(start..)?;
            for first in (0..self.depth.row).step_by(CHUNK) {
                let chunk = chunk.get_mut(..CHUNK.min(self.depth.row - first))?;
                for (k, code) in (first..).zip(chunk.iter_mut()) {
                    *code = panel.get(self.panel.code(column, k))?.cast_signed();
                }
                sink(chunk);
            }
        }
        Some(())
    }

    /// Checks what kernels rely on in panels that they read where they lie: aligned, no code of -128, and zeros in
    /// the last step.
    pub(super) fn check(self, panels: &[u8]) -> Checked<()> {
        if panels.as_ptr().align_offset(PANEL_ALIGNMENT) != 0 {
            return Err("panels in a package that is not aligned in memory");
        }
        let Panel { columns, step, .. } = self.panel;
        let used = self.depth.row % step;
        for panel in panels.chunks(self.panel.bytes(self.depth)) {
            let codes = codes(panel.get(self.panel.head()..).ok_or(OUTSIDE)?);
            if least(codes) == i8::MIN {
                return Err(ASYMMETRIC);
            }
            let mut last = codes
                .rchunks(columns * step)
                .next()
                .unwrap_or_default()
                .chunks(step);
            if used != 0 && last.any(|step| step.iter().skip(used).any(|&code| code != 0)) {
                return Err("panels that are not filled up with zeros");
            }
        }
        Ok(())
    }
}

/// Places codes of rows, the first of which is number `at` of all.
pub(super) fn place_rows(
    wanted: Panels,
    mut at: usize,
    mut codes: &[i8],
    own: &mut [u8],
) -> Option<()> {
    let Panels { panel, depth, .. } = wanted;
    while !codes.is_empty() {
        let (channel, k) = (at / depth.codes(), at % depth.codes());
        let (number, within) = (k / depth.row, k % depth.row);
        let (row, rest) = codes.split_at(codes.len().min(depth.row - within));
        let k = number * depth.row.next_multiple_of(panel.step) + within;
        let (start, column) = wanted.place(channel);
        let own = own.get_mut(start..)?;
        add_to(own, 4 * column, sum(row))?;
        match panel.step {
            4 => place_steps::<4>(panel, column, k, row, own)?,
            8 => place_steps::<8>(panel, column, k, row, own)?,
            _ => place_steps::<16>(panel, column, k, row, own)?,
        }
        at += row.len();
        codes = rest;
    }
    Some(())
}

/// Lanes of a reduction that the compiler makes vectors of.
const LANES: usize = 16;

pub(super) fn sum(codes: &[i8]) -> i32 {
    let (chunks, rest) = codes.as_chunks::<LANES>();
    let mut sums = [0i32; LANES];
    for chunk in chunks {
        sums.iter_mut()
            .zip(chunk)
            .for_each(|(sum, &code)| *sum += i32::from(code));
    }
    let rest = rest.iter().map(|&code| i32::from(code));
    sums.into_iter().chain(rest).sum()
}

pub(super) fn least(codes: &[i8]) -> i8 {
    let (chunks, rest) = codes.as_chunks::<LANES>();
    let mut least = [i8::MAX; LANES];
    for chunk in chunks {
        least
            .iter_mut()
            .zip(chunk)
            .for_each(|(least, &code)| *least = code.min(*least));
    }
    let all = least.iter().chain(rest);
    all.fold(i8::MAX, |least, &code| code.min(least))
}

/// Places codes of a column from number `k` on, of which a panel has `STEP` together.
fn place_steps<const STEP: usize>(
    panel: Panel,
    column: usize,
    mut k: usize,
    row: &[i8],
    own: &mut [u8],
) -> Option<()> {
    let copy = |own: &mut [u8], k: usize, codes: &[i8]| {
        if codes.is_empty() {
            return Some(());
        }
        let to = own.get_mut(panel.code(column, k)..)?;
        codes_mut(to.get_mut(..codes.len())?).copy_from_slice(codes);
        Some(())
    };
    // up to the next whole step, whole steps, and what is left
    let (begun, row) = row.split_at(row.len().min(k.next_multiple_of(STEP) - k));
    copy(own, k, begun)?;
    k += begun.len();
    let (whole, left) = row.as_chunks::<STEP>();
    if !whole.is_empty() {
        let places = codes_mut(own.get_mut(panel.code(column, k)..)?);
        let steps = places.as_chunks_mut::<STEP>().0.iter_mut();
        for (to, codes) in steps.step_by(panel.columns.max(1)).zip(whole) {
            *to = *codes;
        }
    }
    copy(own, k + whole.len() * STEP, left)
}

/// Places codes of taps, the first of which is number `at` of all.
pub(super) fn place_columns(
    channels: usize,
    at: usize,
    codes: &[i8],
    own: &mut [u8],
) -> Option<()> {
    let to = own.get_mut(8 * channels + at..)?.get_mut(..codes.len())?;
    codes_mut(to).copy_from_slice(codes);
    for (i, &code) in codes.iter().enumerate() {
        add_to(own, 4 * ((at + i) % channels), i32::from(code))?;
    }
    Some(())
}

pub(super) fn add_to(bytes: &mut [u8], at: usize, value: i32) -> Option<()> {
    let sum: &mut [u8; 4] = bytes.get_mut(at..)?.first_chunk_mut()?;
    *sum = i32::from_le_bytes(*sum).wrapping_add(value).to_le_bytes();
    Some(())
}
