//! How a set of kernels wants the constants of an integer layer: written once, when a session
//! opens, read in order by every run.

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
pub(super) const MAX_COLUMNS: usize = 16;
/// Every set's `step` divides this.
pub(crate) const MAX_STEP: usize = 16;

impl Panel {
    /// Input codes of an output channel, with those that fill the last step.
    pub(crate) fn depth(self, depth: usize) -> usize {
        depth.next_multiple_of(self.step)
    }

    /// Bytes of the biases and multipliers.
    pub(crate) const fn head(self) -> usize {
        8 * self.columns
    }

    /// Bytes of one panel.
    pub(crate) fn bytes(self, depth: usize) -> usize {
        self.head() + self.columns * self.depth(depth)
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

    /// The multipliers in panels, one for each output channel, then those of channels that only fill up.
    pub(crate) fn multipliers(self, panels: &[u8], depth: usize) -> impl Iterator<Item = f32> {
        let heads = panels.chunks(self.bytes(depth));
        let multipliers = heads.filter_map(move |panel| panel.get(4 * self.columns..self.head()));
        multipliers
            .flat_map(|bytes| bytes.as_chunks().0)
            .map(|bytes| f32::from_le_bytes(*bytes))
    }
}

/// Bytes that the panels of `groups` times `channels` output channels take in no set more than.
pub(crate) fn most_bytes(groups: usize, channels: usize, depth: usize) -> Option<usize> {
    let channels = channels.checked_next_multiple_of(MAX_COLUMNS)?;
    let depth = depth.checked_next_multiple_of(MAX_STEP)?;
    channels
        .checked_mul(depth.checked_add(8)?)?
        .checked_mul(groups)
}
