//! The inner loops, one table of functions for each set of instructions.
//!
//! [`portable`] defines every kernel; the other sets compile the same bodies for more
//! instructions and replace the integer dot product. All sets give the same bits: integer sums
//! wrap, so their order is free, and each float sum has one order.
//!
//! Adding a set is adding a file with a `TABLE` and a line in [`KernelSet::available`].

#[cfg(target_arch = "aarch64")]
mod aarch64;
pub(crate) mod portable;
#[cfg(any(target_arch = "aarch64", all(feature = "std", target_arch = "x86_64")))]
mod tile;
#[cfg(all(feature = "std", target_arch = "x86_64"))]
mod x86_64;

use crate::quantize::Codes;
use core::fmt;
use core::ops::Range;

/// Rows of an integer product are read in steps of that many codes.
pub(crate) const STEP: usize = 32;
/// Output positions that a float product computes at once.
pub(crate) const LANES: usize = 16;

/// A set of kernels that this processor can run: holding the value is the proof.
#[derive(Clone, Copy)]
pub struct KernelSet(&'static Table);

impl KernelSet {
    /// The kernels for every processor of the target.
    pub fn portable() -> Self {
        Self(&portable::TABLE)
    }

    /// The fastest kernels that this processor can run, as far as the target tells. Asks the
    /// processor only with the feature `std`.
    pub fn detect() -> Self {
        Self::available().last().unwrap_or_else(Self::portable)
    }

    /// Every set that this processor can run, slowest first.
    pub fn available() -> impl Iterator<Item = Self> {
        let sets = [
            Some(&portable::TABLE),
            #[cfg(target_arch = "aarch64")]
            Some(&aarch64::NEON),
            #[cfg(target_arch = "aarch64")]
            aarch64::dotprod(),
            #[cfg(all(feature = "std", target_arch = "x86_64"))]
            x86_64::avx2(),
            #[cfg(all(feature = "std", target_arch = "x86_64"))]
            x86_64::avx512(),
        ];
        sets.into_iter().flatten().map(Self)
    }

    /// The set's name: `portable`, `neon`, `dotprod`, `avx2`, `avx512`.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    pub(crate) fn table(self) -> &'static Table {
        self.0
    }
}

impl fmt::Debug for KernelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The kernels. Each returns `None`, having written nothing of use, where slices are too short.
#[expect(clippy::type_complexity, reason = "each signature stands here once")]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// `acc[row][column] = sum(rows[row] * weights[column])`.
    pub(crate) product_i8: fn(&Product<'_>, &mut [i32]) -> Option<()>,
    /// One row of output codes from accumulators without bias.
    pub(crate) finish_i8: fn(&[i32], &[i32], &[f32], Codes, &mut [i8]),
    /// `acc[column][lane] = sum(weights[column][k] * patch[k][lane])`, in order of `k`.
    pub(crate) product_f32:
        fn(&[[f32; LANES]], FloatWeights<'_>, &mut [[f32; LANES]]) -> Option<()>,
    /// The same for one output position.
    pub(crate) product_f32_one: fn(&[[f32; 1]], FloatWeights<'_>, &mut [[f32; 1]]) -> Option<()>,
    /// `acc[c] += sum((input[tap][c] - zero_point) * weights[tap][c])`.
    pub(crate) depthwise_i8: fn(&Taps<'_, i8>, &[i8], i8, &mut [i32]) -> Option<()>,
    /// `acc[c] = sum(input[tap][c] * weights[tap][c])`, in order of the taps.
    pub(crate) depthwise_f32: fn(&Taps<'_, f32>, FloatWeights<'_>, &mut [f32]) -> Option<()>,
    /// Greatest code of the taps, for each channel.
    pub(crate) max_i8: fn(&Taps<'_, i8>, &mut [i8]) -> Option<()>,
    /// Greatest value of the taps, for each channel.
    pub(crate) max_f32: fn(&Taps<'_, f32>, &mut [f32]) -> Option<()>,
    /// Sum of the taps' codes, for each channel.
    pub(crate) sum_i8: fn(&Taps<'_, i8>, &mut [i32]) -> Option<()>,
    /// Sum of the taps' values in their order, for each channel.
    pub(crate) sum_f32: fn(&Taps<'_, f32>, &mut [f32]) -> Option<()>,
    /// `codes(f32(a - za) * ma (+ or -) f32(b - zb) * mb)`.
    pub(crate) add_i8: fn(&[i8], &[i8], &BinaryCodes, &mut [i8]),
}

/// An integer matrix product. `rows` holds `count` rows, `stride` apart, of `depth` codes;
/// from the start of the last row on there are at least `depth` codes rounded up to [`STEP`].
/// What stands beyond `depth` does not count.
#[derive(Clone, Copy)]
pub(crate) struct Product<'s> {
    pub(crate) rows: &'s [i8],
    pub(crate) stride: usize,
    pub(crate) count: usize,
    /// `[column][depth]`.
    pub(crate) weights: &'s [i8],
    pub(crate) depth: usize,
}

impl Product<'_> {
    pub(crate) fn columns(&self) -> usize {
        self.weights.len() / self.depth.max(1)
    }
}

/// The weights of a float product: `[column][k]`, or `[tap][channel]` for depthwise.
#[derive(Clone, Copy)]
pub(crate) enum FloatWeights<'s> {
    /// Little-endian floats, not necessarily aligned.
    Floats(&'s [[u8; 4]]),
    /// Codes, which count as integers.
    Codes(&'s [i8]),
}

impl<'s> FloatWeights<'s> {
    pub(crate) fn range(self, range: Range<usize>) -> Option<Self> {
        Some(match self {
            Self::Floats(floats) => Self::Floats(floats.get(range)?),
            Self::Codes(codes) => Self::Codes(codes.get(range)?),
        })
    }
}

/// The taps of a window that lie inside an activation.
#[derive(Clone, Debug)]
pub(crate) struct Taps<'s, T> {
    /// The whole activation.
    pub(crate) input: &'s [T],
    pub(crate) width: usize,
    pub(crate) channels: usize,
    /// Coordinates of tap (0, 0), which may lie in the padding.
    pub(crate) origin: [isize; 2],
    pub(crate) dilation: [usize; 2],
    /// Rows and columns of the taps inside.
    pub(crate) rows: Range<usize>,
    pub(crate) columns: Range<usize>,
    /// Columns of the whole window.
    pub(crate) window_width: usize,
}

impl<T> Taps<'_, T> {
    /// Where the channels of a tap inside begin.
    #[inline(always)]
    pub(crate) fn offset(&self, row: usize, column: usize) -> usize {
        let y = self.origin[0] + (row * self.dilation[0]) as isize;
        let x = self.origin[1] + (column * self.dilation[1]) as isize;
        (y as usize * self.width + x as usize) * self.channels
    }
}

/// Operands of an integer addition or subtraction, in steps of the output's scale.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BinaryCodes {
    pub(crate) zero_points: [i8; 2],
    pub(crate) multipliers: [f32; 2],
    pub(crate) codes: Codes,
}
