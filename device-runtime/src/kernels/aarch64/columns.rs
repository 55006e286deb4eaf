//! Integer depthwise convolution by the dot product extension: the three codes of a channel under a column of a 3x3
//! window are multiplied at once, and a column is put together once for all windows that it lies under.

use super::requantize::Requantize;
use crate::kernels::Depthwise3x3;
use crate::quantize::Codes;
use core::arch::aarch64::*;
use core::arch::asm;

/// Channels that are computed at once.
const LANES: usize = 16;

/// What lies under a column of the window: three codes of each channel, then one that counts for nothing.
type Column = [int8x16_t; 4];

/// In blocks of channels, of which the last overlaps the one before it; `None` with fewer channels, for other strides than 1 and 2,
/// or where slices are too short.
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
pub(super) fn depthwise_3x3(
    depthwise: &Depthwise3x3<'_>,
    codes: Codes,
    out: &mut [i8],
) -> Option<()> {
    let channels = depthwise.channels;
    let constants = depthwise.check(out)?.as_ptr();
    let last = channels.checked_sub(LANES)?;
    for first in (0..channels).step_by(LANES) {
        let first = first.min(last);
        // SAFETY: a set's functions are reached through its table alone, which is given out after the processor has reported
        // the dot product. `Depthwise3x3::check` has found the constants, eight bytes and nine codes for each channel, the
        // input, a row of zero points and room for the output; `first` plus the lanes is at most the number of channels.
        unsafe {
            let taps = constants.add(8 * channels + first).cast::<i8>();
            let weights = [0, 1, 2].map(|column| {
                let rows = [0, 3, 6].map(|row| taps.add((row + column) * channels));
                load(rows, 0, order())
            });
            let block = Block {
                biases: constants.cast::<i32>().add(first),
                multipliers: constants.cast::<f32>().add(channels + first),
                weights: in_memory(&weights),
                order: order(),
                padding: vdupq_n_s8(depthwise.zero_point),
                requantize: Requantize::new(codes),
                channels,
            };
            let row_len = depthwise.width * channels;
            let mut out = out.as_mut_ptr().add(first);
            for row in depthwise.rows.clone() {
                let row = Row::new(depthwise, row, first);
                let next = out.wrapping_add(row_len);
                match depthwise.stride[1] {
                    1 => block.row_by_one(row, out, next),
                    2 => block.row_by_two(row, out, next),
                    _ => return None,
                }
                out = next;
            }
        }
    }
    Some(())
}

/// Columns of the input under a row of output positions, and which of them is next.
struct Row {
    /// The input's rows under the window, or zero points.
    rows: [*const i8; 3],
    /// Codes of a row.
    len: usize,
    /// Where the next column begins in a row; wraps in the padding before the first.
    at: usize,
}

impl Row {
    #[inline(always)]
    fn new(depthwise: &Depthwise3x3<'_>, row: usize, first: usize) -> Self {
        let channels = depthwise.channels;
        let rows = [0, 1, 2].map(|ky| {
            let source = match depthwise.input_row(row, ky) {
                Some(row) => depthwise.input.as_ptr().wrapping_add(row),
                None => depthwise.zeros.as_ptr(),
            };
            source.wrapping_add(first)
        });
        Self {
            rows,
            len: depthwise.size[1] * channels,
            at: 0usize.wrapping_sub(depthwise.pad[1] * channels),
        }
    }
}

/// Some channels of every position.
struct Block {
    biases: *const i32,
    multipliers: *const f32,
    weights: *const i8,
    order: [uint8x16_t; 4],
    /// Zero points.
    padding: int8x16_t,
    requantize: Requantize,
    /// Codes from a position to the next.
    channels: usize,
}

#[expect(unsafe_code, reason = "vector instructions on checked memory")]
impl Block {
    /// Output positions up to `end`, whose windows share two columns with the next.
    ///
    /// # Safety
    /// The pointers are those of [`depthwise_3x3`], with at least one position from `out` to `end`.
    #[inline(always)]
    unsafe fn row_by_one(&self, mut row: Row, mut out: *mut i8, end: *mut i8) {
        // SAFETY: the caller's.
        unsafe {
            let mut a = self.next(&mut row);
            let mut b = self.next(&mut row);
            loop {
                let c = self.next(&mut row);
                out = self.store([a, b, c], out);
                if out == end {
                    break;
                }
                a = self.next(&mut row);
                out = self.store([b, c, a], out);
                if out == end {
                    break;
                }
                b = self.next(&mut row);
                out = self.store([c, a, b], out);
                if out == end {
                    break;
                }
            }
        }
    }

    /// Output positions up to `end`, whose windows share a column with the next.
    ///
    /// # Safety
    /// See `row_by_one`.
    #[inline(always)]
    unsafe fn row_by_two(&self, mut row: Row, mut out: *mut i8, end: *mut i8) {
        // SAFETY: the caller's.
        unsafe {
            let mut a = self.next(&mut row);
            while out != end {
                let b = self.next(&mut row);
                let c = self.next(&mut row);
                out = self.store([a, b, c], out);
                a = c;
            }
        }
    }

    /// The next column, which may lie in the padding.
    ///
    /// # Safety
    /// The rows are readable, these channels of every column.
    #[inline(always)]
    unsafe fn next(&self, row: &mut Row) -> Column {
        let column = match row.at < row.len {
            // SAFETY: the caller's; a column within the input.
            true => unsafe { load(row.rows, row.at, self.order) },
            false => [self.padding; 4],
        };
        row.at = row.at.wrapping_add(self.channels);
        column
    }

    /// Sums, requantizes and writes one position; returns the place of the next.
    ///
    /// # Safety
    /// The lanes of `out` are writable.
    #[inline(always)]
    unsafe fn store(&self, columns: [Column; 3], out: *mut i8) -> *mut i8 {
        // SAFETY: the caller's; the biases, multipliers and weights of these channels are readable. NEON belongs to the target, as
        // `super` asserts.
        unsafe {
            let mut sums = [0, 4, 8, 12].map(|lane| vld1q_s32(self.biases.add(lane)));
            for (column, codes) in columns.into_iter().enumerate() {
                for part in 0..4 {
                    let w = vld1q_s8(self.weights.add((4 * column + part) * LANES));
                    sdot!(sums[part], codes[part], w);
                }
            }
            let multipliers = [0, 4, 8, 12].map(|lane| vld1q_f32(self.multipliers.add(lane)));
            vst1q_s8(out, self.requantize.codes(sums, multipliers));
        }
        out.wrapping_add(self.channels)
    }
}

/// Which codes of three rows make a column.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions")]
fn order() -> [uint8x16_t; 4] {
    const NONE: u8 = 128;
    const FIRST: [u8; 16] = [
        0, 16, 32, NONE, 1, 17, 33, NONE, 2, 18, 34, NONE, 3, 19, 35, NONE,
    ];
    // SAFETY: NEON belongs to the target, as `super` asserts; one load of the 16 bytes.
    [0, 4, 8, 12].map(|lane| unsafe { vaddq_u8(vld1q_u8(FIRST.as_ptr()), vdupq_n_u8(lane)) })
}

/// # Safety
/// The lanes of the three rows are readable `at` codes after their beginning.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
unsafe fn load(rows: [*const i8; 3], at: usize, order: [uint8x16_t; 4]) -> Column {
    // SAFETY: the caller's; NEON belongs to the target, as `super` asserts.
    unsafe {
        let [a, b, c] = rows.map(|row| vld1q_s8(row.add(at)));
        order.map(|order| vqtbl3q_s8(int8x16x3_t(a, b, c), order))
    }
}

/// Where the weights are: in memory, since columns and sums take the registers. The compiler, which does not see that they
/// stay the same, leaves them there.
#[inline(always)]
#[expect(unsafe_code, reason = "an empty instruction")]
fn in_memory(weights: &[Column; 3]) -> *const i8 {
    let mut place: *const i8 = weights.as_ptr().cast();
    // SAFETY: there is no instruction.
    unsafe {
        asm!("/* {place} */", place = inout(reg) place, options(nostack, preserves_flags));
    }
    place
}
