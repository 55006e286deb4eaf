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

/// `sums += dot(four codes of x, four codes of w)` in each lane. The intrinsic, `vdotq_s32`, is not stable.
macro_rules! sdot {
    ($sums:expr, $x:expr, $w:expr) => {
        asm!(
            ".arch_extension dotprod",
            "sdot {sums:v}.4s, {x:v}.16b, {w:v}.16b",
            sums = inout(vreg) $sums,
            x = in(vreg) $x,
            w = in(vreg) $w,
            options(pure, nomem, nostack, preserves_flags),
        )
    };
}

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
            let weights = constants.add(8 * channels + first).cast::<i8>();
            let block = Block {
                depthwise,
                first,
                biases: constants.cast::<i32>().add(first),
                multipliers: constants.cast::<f32>().add(channels + first),
                weights: Weights::new(weights, channels),
                order: order(),
                padding: vdupq_n_s8(depthwise.zero_point),
                requantize: Requantize::new(codes),
            };
            let mut out = out.as_mut_ptr().add(first);
            for row in depthwise.rows.clone() {
                match depthwise.stride[1] {
                    1 => block.row_by_one(row, out),
                    2 => block.row_by_two(row, out),
                    _ => return None,
                }
                out = out.wrapping_add(depthwise.width * channels);
            }
        }
    }
    Some(())
}

/// The weights of the columns, in memory: columns of codes and sums take the registers.
struct Weights([Column; 3]);

#[expect(unsafe_code, reason = "vector instructions on checked memory")]
impl Weights {
    /// # Safety
    /// The lanes of nine taps are readable, `channels` apart.
    #[inline(always)]
    unsafe fn new(weights: *const i8, channels: usize) -> Self {
        // SAFETY: the caller's.
        Self([0, 1, 2].map(|column| unsafe {
            let rows = [0, 3, 6].map(|row| weights.add((row + column) * channels));
            load(rows, 0, order())
        }))
    }
}

/// Some channels of every position.
struct Block<'s> {
    depthwise: &'s Depthwise3x3<'s>,
    first: usize,
    biases: *const i32,
    multipliers: *const f32,
    weights: Weights,
    order: [uint8x16_t; 4],
    /// Zero points.
    padding: int8x16_t,
    requantize: Requantize,
}

#[expect(unsafe_code, reason = "vector instructions on checked memory")]
impl Block<'_> {
    /// A row of output positions whose windows share two columns with the next.
    ///
    /// # Safety
    /// The pointers are those of [`depthwise_3x3`]; `out` is the row's place.
    #[inline(always)]
    unsafe fn row_by_one(&self, row: usize, mut out: *mut i8) {
        // SAFETY: the caller's.
        unsafe {
            let rows = self.rows(row);
            let mut at = Place::new(self.depthwise);
            let mut a = self.column(rows, at.next(self.depthwise));
            let mut b = self.column(rows, at.next(self.depthwise));
            let end = out.wrapping_add(self.depthwise.width * self.depthwise.channels);
            loop {
                let c = self.column(rows, at.next(self.depthwise));
                out = self.store([a, b, c], out);
                if out == end {
                    break;
                }
                a = self.column(rows, at.next(self.depthwise));
                out = self.store([b, c, a], out);
                if out == end {
                    break;
                }
                b = self.column(rows, at.next(self.depthwise));
                out = self.store([c, a, b], out);
                if out == end {
                    break;
                }
            }
        }
    }

    /// A row of output positions whose windows share a column with the next.
    ///
    /// # Safety
    /// See `row_by_one`.
    #[inline(always)]
    unsafe fn row_by_two(&self, row: usize, mut out: *mut i8) {
        // SAFETY: the caller's.
        unsafe {
            let rows = self.rows(row);
            let mut at = Place::new(self.depthwise);
            let mut a = self.column(rows, at.next(self.depthwise));
            for _ in 0..self.depthwise.width {
                let b = self.column(rows, at.next(self.depthwise));
                let c = self.column(rows, at.next(self.depthwise));
                out = self.store([a, b, c], out);
                a = c;
            }
        }
    }

    /// The input's rows under the window at a row of output positions, or zero points.
    #[inline(always)]
    fn rows(&self, row: usize) -> [*const i8; 3] {
        [0, 1, 2].map(|ky| {
            let source = match self.depthwise.input_row(row, ky) {
                Some(row) => self.depthwise.input.as_ptr().wrapping_add(row),
                None => self.depthwise.zeros.as_ptr(),
            };
            source.wrapping_add(self.first)
        })
    }

    /// # Safety
    /// The rows are those of `rows`.
    #[inline(always)]
    unsafe fn column(&self, rows: [*const i8; 3], at: Option<usize>) -> Column {
        match at {
            // SAFETY: the caller's; a column within the input.
            Some(at) => unsafe { load(rows, at, self.order) },
            None => [self.padding; 4],
        }
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
            let weights = in_memory(&self.weights);
            for column in 0..3 {
                for part in 0..4 {
                    let w = vld1q_s8(weights.add((4 * column + part) * LANES));
                    sdot!(sums[part], columns[column][part], w);
                }
            }
            let multipliers = [0, 4, 8, 12].map(|lane| vld1q_f32(self.multipliers.add(lane)));
            vst1q_s8(out, self.requantize.codes(sums, multipliers));
        }
        out.wrapping_add(self.depthwise.channels)
    }
}

/// The next column of the input, which may lie in the padding.
struct Place {
    /// Columns from the first to this; wraps in the padding before it.
    x: usize,
    /// Codes from the first column to this.
    at: usize,
}

impl Place {
    #[inline(always)]
    fn new(depthwise: &Depthwise3x3<'_>) -> Self {
        let x = 0usize.wrapping_sub(depthwise.pad[1]);
        Self {
            x,
            at: x.wrapping_mul(depthwise.channels),
        }
    }

    /// Where this column begins in a row, unless it lies in the padding; goes on to the next.
    #[inline(always)]
    fn next(&mut self, depthwise: &Depthwise3x3<'_>) -> Option<usize> {
        let at = (self.x < depthwise.size[1]).then_some(self.at);
        self.x = self.x.wrapping_add(1);
        self.at = self.at.wrapping_add(depthwise.channels);
        at
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

/// Where the weights are. The compiler, which does not see that they stay the same, keeps them out of registers.
#[inline(always)]
#[expect(unsafe_code, reason = "an empty instruction")]
fn in_memory(weights: &Weights) -> *const i8 {
    let mut place: *const i8 = (&raw const weights.0).cast();
    // SAFETY: there is no instruction.
    unsafe {
        asm!("/* {place} */", place = inout(reg) place, options(nostack, preserves_flags));
    }
    place
}
