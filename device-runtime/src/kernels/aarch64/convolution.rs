//! Integer convolution with a window of 3 x 3 by the dot product extension: what lies under the windows of eight output
//! positions in a row is loaded once for the three columns of the window, in which they share it.

use super::dotprod::DotProduct;
use super::requantize::Requantize;
use crate::kernels::convolution::{CHANNELS, Convolution3x3, FILTERS, POSITIONS};
use crate::kernels::panel;
use crate::kernels::tile::Tile;
use crate::quantize::Codes;
use core::arch::aarch64::*;

const PANEL: panel::Panel = panel::DOTPROD;
const _: () = assert!(PANEL.columns == FILTERS);
/// Most output positions of a row whose places are held at once.
const PLACES: usize = 64;
/// Columns of the input under a tile.
const COLUMNS: usize = POSITIONS + 2;

type Sums = [[int32x4_t; 2]; POSITIONS];

/// The products of one lane of the codes under column `$kx` of the windows.
macro_rules! step {
    ($sums:ident, $x:ident, $kx:literal, $a:expr, $b:expr, $lane:literal) => {
        for m in 0..POSITIONS {
            sdot!($sums[m][0], $a, $x[m + $kx], $lane);
            sdot!($sums[m][1], $b, $x[m + $kx], $lane);
        }
    };
}

/// The products of the codes under column `$kx` of the windows.
macro_rules! column {
    ($sums:ident, $x:ident, $kx:literal, $weights:ident) => {
        let [a, b, c, d] = next_64!($weights[$kx]);
        step!($sums, $x, $kx, a, b, 0);
        step!($sums, $x, $kx, c, d, 1);
        let [a, b, c, d] = next_64!($weights[$kx]);
        step!($sums, $x, $kx, a, b, 2);
        step!($sums, $x, $kx, c, d, 3);
    };
}

/// Positions of a row by all output channels, then the next. `None` where slices are too short.
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
pub(super) fn convolve(
    convolution: &Convolution3x3<'_>,
    codes: Codes,
    out: &mut [i8],
) -> Option<()> {
    let panels = convolution.check(PANEL, out)?;
    let (width, filters) = (convolution.size[1], convolution.filters);
    let requantize = Requantize::new(codes);
    let mut columns = [[core::ptr::null(); PLACES + 2]; 3];
    let mut out = out.as_mut_ptr();
    for row in convolution.rows.clone() {
        for first in (0..width).step_by(PLACES) {
            let count = PLACES.min(width - first);
            convolution.place(
                row,
                first,
                columns.each_mut().map(|row| &mut row[..count + 2]),
            );
            for (index, panel) in panels
                .chunks_exact(PANEL.bytes(convolution.depth()))
                .enumerate()
            {
                for at in (0..count).step_by(POSITIONS) {
                    let places = columns.each_ref().map(|row| row.as_ptr().wrapping_add(at));
                    let out = out.wrapping_add(at * filters + index * PANEL.columns);
                    // SAFETY: a set's functions are reached through its table alone, which is given out after the processor
                    // has reported the dot product. `Convolution3x3::check` has found whole panels, each column of the
                    // input and the zero points to be readable, and room for every position's output channels.
                    unsafe {
                        let sums = sums(places, convolution.channels, panel.as_ptr());
                        DotProduct::codes(sums, panel.as_ptr(), requantize, out, filters);
                    }
                }
            }
            out = out.wrapping_add(count * filters);
        }
    }
    Some(())
}

/// Biases and products of a tile.
///
/// # Safety
/// The processor has the dot product; `panel` is whole for a window of 3 x 3; at `places` are, for each row of the
/// window, the places of [`COLUMNS`] columns, of which each has `channels` codes, a multiple of [`CHANNELS`].
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
unsafe fn sums(places: [*const *const i8; 3], channels: usize, panel: *const u8) -> Sums {
    // SAFETY: the caller's.
    unsafe {
        let bias: *const i32 = panel.cast();
        let mut sums = [[vld1q_s32(bias), vld1q_s32(bias.add(4))]; POSITIONS];
        let tap = channels * PANEL.columns;
        let first = panel.add(PANEL.head()).cast::<i8>();
        let mut weights = [first, first.wrapping_add(tap), first.wrapping_add(2 * tap)];
        for places in places {
            let begin = places.cast::<[*const i8; COLUMNS]>().read();
            for at in (0..channels).step_by(CHANNELS) {
                let x = begin.map(|column| vld1q_s8(column.add(at)));
                column!(sums, x, 0, weights);
                column!(sums, x, 1, weights);
                column!(sums, x, 2, weights);
            }
            weights = weights.map(|weights| weights.wrapping_add(2 * tap));
        }
        sums
    }
}
