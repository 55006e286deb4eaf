//! How a set of kernels wants the constants of an integer layer: written once, when a session
//! opens, read in order by every run.

use super::sparse::COSTS;

/// The layout of an integer convolution's constants: output channels in panels of `columns`. A panel
/// is the biases, `i32` each, the multipliers, `f32` each, then the codes, `[depth / step][columns][step]`,
/// 0 beyond the last input code and the last channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Panel {
    pub(crate) columns: usize,
    pub(crate) step: usize,
    /// What the set's product adds to input codes, so that biases are this times the sum of the weights less.
    pub(crate) offset: i32,
}

/// Every set's `columns` divide this.
pub(crate) const MAX_COLUMNS: usize = 16;
/// The steps of all sets, each a divisor of the last.
pub(crate) const STEPS: [usize; 3] = [4, 8, 16];
pub(crate) const MAX_STEP: usize = STEPS[STEPS.len() - 1];
/// What it costs to gather a row: about as much as so many products by a set with a step of 1. A longer step makes for
/// fewer products in an instruction.
const GATHERED_ROW: usize = 1536;

pub(super) const PORTABLE: Panel = Panel::new(1, 4, 0);
pub(super) const NEON: Panel = Panel::new(4, 16, 0);
pub(super) const DOTPROD: Panel = Panel::new(8, 4, 0);
pub(super) const I8MM: Panel = Panel::new(16, 8, 0);
pub(super) const AVX2: Panel = Panel::new(8, 4, 0);
pub(super) const AVX512: Panel = Panel::new(16, 4, 128);

/// How a set of kernels wants the constants of a network laid out. Known on every processor, whether it can
/// run the set or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelLayout {
    pub(super) name: &'static str,
    pub(crate) panel: Panel,
    /// Whether the set computes convolutions of 3 x 3 in tiles where that is faster.
    pub(crate) tiles: bool,
}

impl KernelLayout {
    /// The layouts of all sets.
    pub fn all() -> impl Iterator<Item = Self> {
        let all = [
            ("portable", PORTABLE, false),
            ("neon32", NEON, false),
            ("neon", NEON, true),
            ("neondot", DOTPROD, false),
            ("neoni8mm", I8MM, false),
            ("avx2", AVX2, true),
            ("avx512vnni", AVX512, false),
        ];
        all.into_iter()
            .map(|(name, panel, tiles)| Self { name, panel, tiles })
    }

    /// The same for layers of which none is computed in tiles.
    #[cfg(feature = "std")]
    pub(crate) fn without_tiles(self) -> Self {
        Self {
            tiles: false,
            ..self
        }
    }

    /// The layout of the set with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|layout| layout.name == name)
    }

    /// The name of the set: see [`crate::KernelSet::name`].
    pub fn name(self) -> &'static str {
        self.name
    }

    /// Whether the set has kernels that leave out blocks of zeros.
    pub(crate) fn has_sparse(self) -> bool {
        COSTS.iter().any(|cost| cost.set == self.name)
    }
}

/// The input codes of a sum: rows, which may lie apart in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Depth {
    pub(crate) rows: usize,
    /// Codes of a row.
    pub(crate) row: usize,
}

impl Depth {
    /// So many codes that lie together.
    pub(crate) const fn together(codes: usize) -> Self {
        Self {
            rows: 1,
            row: codes,
        }
    }

    /// All codes.
    pub(crate) fn codes(self) -> usize {
        self.rows * self.row
    }

    /// All codes, with those that fill each row's last step.
    pub(crate) fn filled(self, step: usize) -> usize {
        self.rows * self.row.next_multiple_of(step)
    }

    /// As kernels with such a step multiply it by so many `columns`: row by row, or all codes as one row where it costs more
    /// to fill each row's last step than to gather them.
    pub(crate) fn laid_out(self, step: usize, columns: usize) -> Self {
        let together = Self::together(self.codes());
        let more = self.filled(step) - together.filled(step);
        let pays = more * step <= self.rows * GATHERED_ROW / columns.max(1);
        if pays { self } else { together }
    }

    /// Codes that a kernel of any set multiplies at most.
    pub(crate) fn most_filled(self, columns: usize) -> usize {
        let filled = |step| self.laid_out(step, columns).filled(step);
        STEPS.into_iter().map(filled).max().unwrap_or(0)
    }
}

impl Panel {
    pub(crate) const fn new(columns: usize, step: usize, offset: i32) -> Self {
        Self {
            columns,
            step,
            offset,
        }
    }

    /// Bytes of the biases and multipliers.
    pub(crate) const fn head(self) -> usize {
        8 * self.columns
    }

    /// Bytes of one panel; every row of `depth` is filled up to whole steps.
    pub(crate) fn bytes(self, depth: Depth) -> usize {
        self.head() + self.columns * depth.filled(self.step)
    }

    /// Bytes of the panels of `groups` times `channels` output channels; `None` if they overflow.
    pub(crate) fn total(self, groups: usize, channels: usize, depth: Depth) -> Option<usize> {
        let depth = depth.filled(self.step);
        let panel = self.columns.checked_mul(depth.checked_add(8)?)?;
        let panels = groups.checked_mul(self.count(channels))?;
        panels.checked_mul(panel)
    }

    /// Panels of so many output channels.
    pub(crate) fn count(self, channels: usize) -> usize {
        channels.div_ceil(self.columns)
    }

    /// Where in a panel the code number `k` of a column is; the rest of its step follows it.
    pub(crate) fn code(self, column: usize, k: usize) -> usize {
        let (step, within) = (k / self.step, k % self.step);
        self.head() + (step * self.columns + column) * self.step + within
    }
}
