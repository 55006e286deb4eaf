//! Integer convolution with a window of 3 x 3 that steps by one: what a kernel needs to share what lies under the windows of
//! output positions in a row.

#[cfg(target_arch = "aarch64")]
use super::{Depth, Panel};
use crate::quantize::Codes;
use core::ops::Range;

/// Computes the codes of whole rows; `None`, having written nothing of use, where slices are too short.
pub(crate) type Convolve = fn(&Convolution3x3<'_>, Codes, &mut [i8]) -> Option<()>;

/// Output positions in a row that are computed at once.
pub(crate) const POSITIONS: usize = 8;
/// Input channels that are multiplied at once.
pub(crate) const CHANNELS: usize = 16;
/// Output channels that are computed at once.
pub(crate) const FILTERS: usize = 8;
/// Most bytes of weights: those of a layer are read again for each row of output positions, out of a cache.
const MAX_WEIGHTS: usize = 1 << 18;

/// Rows of output positions, whose input has the same extents and is padded by one on every side.
#[derive(Clone, Debug)]
#[cfg_attr(
    not(target_arch = "aarch64"),
    expect(dead_code, reason = "no other set has a kernel for it")
)]
pub(crate) struct Convolution3x3<'s> {
    /// The whole activation.
    pub(crate) input: &'s [i8],
    /// Zero points, as many as channels.
    pub(crate) zeros: &'s [i8],
    /// Rows and columns.
    pub(crate) size: [usize; 2],
    pub(crate) channels: usize,
    /// Output channels.
    pub(crate) filters: usize,
    /// Rows of output positions.
    pub(crate) rows: Range<usize>,
    /// The constants, in the set's layout.
    pub(crate) panels: &'s [u8],
}

/// Whether there are whole tiles of positions and output channels, and whole blocks of input channels.
pub(crate) fn suits(width: usize, channels: usize, filters: usize) -> bool {
    width.is_multiple_of(POSITIONS)
        && channels.is_multiple_of(CHANNELS)
        && filters.is_multiple_of(FILTERS)
        && 9 * channels * filters <= MAX_WEIGHTS
}

#[cfg(target_arch = "aarch64")]
impl<'s> Convolution3x3<'s> {
    /// The panels, if they, the input and the zero points are whole, `out` has room and a kernel can divide the layer.
    pub(super) fn check(&self, panel: Panel, out: &[i8]) -> Option<&'s [u8]> {
        let [height, width] = self.size;
        let pixels = height.checked_mul(width)?;
        let whole = self.input.len() >= pixels.checked_mul(self.channels)?
            && self.zeros.len() >= self.channels;
        let room = self.rows.end <= height && out.len() >= self.rows.len() * width * self.filters;
        let panels = panel.count(self.filters) * panel.bytes(self.depth());
        let divisible = suits(width, self.channels, self.filters);
        self.panels
            .get(..panels)
            .filter(|_| whole && room && divisible)
    }

    /// The codes of a sum.
    pub(super) fn depth(&self) -> Depth {
        Depth {
            rows: 3,
            row: 3 * self.channels,
        }
    }

    /// Where columns of the input begin, from the one before column `first` on, in the row above `row`, in `row` and below:
    /// as many as fit into each of `columns`.
    pub(super) fn place(&self, row: usize, first: usize, columns: [&mut [*const i8]; 3]) {
        let [height, width] = self.size;
        let zeros = self.zeros.as_ptr();
        for (ky, columns) in columns.into_iter().enumerate() {
            let (mut place, step) = match (row + ky).checked_sub(1).filter(|&y| y < height) {
                Some(y) => {
                    let at = (y * width + first) * self.channels;
                    let before = at.wrapping_sub(self.channels);
                    (self.input.as_ptr().wrapping_add(before), self.channels)
                }
                None => (zeros, 0),
            };
            for column in &mut *columns {
                *column = place;
                place = place.wrapping_add(step);
            }
            if let (0, Some(before)) = (first, columns.first_mut()) {
                *before = zeros;
            }
            if let Some(after) = columns.get_mut(width - first + 1) {
                *after = zeros;
            }
        }
    }
}
