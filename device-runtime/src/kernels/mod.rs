//! The inner loops, one table of functions for each set of instructions.
//!
//! [`portable`] defines every kernel. The other sets replace the integer products by instructions of their own
//! ([`tile`] and [`depthwise`] hold what they share) and compile the rest of the portable bodies. All sets give the
//! same bits: integer sums wrap, so their order is free, and each float sum has one order, of fused multiplications and
//! additions, which every processor rounds alike.
//!
//! Adding a set is adding a file with what it does to one tile, a `TABLE`, and a line in
//! [`KernelSet::available`].

/// A kernel; in a program without the feature that needs it, one that computes nothing.
macro_rules! kernel_of {
    ($feature:literal, $kernel:path, $($argument:ident),*) => {
        |$($argument),*| match cfg!(feature = $feature) {
            true => $kernel($($argument),*),
            false => None,
        }
    };
}

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(all(feature = "std", target_os = "linux", target_arch = "arm"))]
mod arm;
pub(crate) mod convolution;
#[cfg(any(target_arch = "aarch64", all(feature = "std", target_arch = "x86_64")))]
mod depthwise;
#[cfg(any(target_arch = "aarch64", all(feature = "std", target_arch = "x86_64")))]
mod float;
mod name;
mod panel;
pub(crate) mod portable;
pub(crate) mod sparse;
#[cfg(any(
    target_arch = "aarch64",
    all(feature = "std", target_arch = "x86_64"),
    all(feature = "std", target_os = "linux", target_arch = "arm")
))]
mod tile;
#[cfg_attr(
    not(any(target_arch = "aarch64", all(feature = "std", target_arch = "x86_64"))),
    expect(
        dead_code,
        reason = "other processors have no kernels that compute tiles"
    )
)]
pub(crate) mod winograd;
#[cfg(all(feature = "std", target_arch = "x86_64"))]
mod x86_64;

use crate::quantize::{Codes, clamp};
use convolution::Convolve;
use core::fmt;
use core::ops::Range;
pub use name::KernelName;
pub(crate) use name::Shape;
pub use panel::KernelLayout;
pub(crate) use panel::{Depth, MAX_COLUMNS, MAX_STEP, Panel, STEPS};
use winograd::Winograd;

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
            #[cfg(target_arch = "aarch64")]
            aarch64::i8mm(),
            #[cfg(all(feature = "std", target_os = "linux", target_arch = "arm"))]
            arm::neon(),
            #[cfg(all(feature = "std", target_arch = "x86_64"))]
            x86_64::avx2(),
            #[cfg(all(feature = "std", target_arch = "x86_64"))]
            x86_64::avx512(),
        ];
        sets.into_iter().flatten().map(Self)
    }

    /// The set's name: `portable`, `neon32`, `neon`, `neondot`, `neoni8mm`, `avx2`, `avx512vnni`.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// How it wants constants laid out.
    pub fn layout(self) -> KernelLayout {
        KernelLayout {
            name: self.0.name,
            panel: self.0.panel,
            tiles: self.0.winograd_i8.is_some(),
        }
    }

    /// Products of a large integer convolution in a microsecond, roughly.
    #[cfg(feature = "std")]
    pub(crate) fn products_per_microsecond(self) -> u64 {
        self.0.products_per_microsecond
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

impl Table {
    /// The name of a kernel of this set.
    pub(crate) fn kernel(
        &self,
        elements: &'static str,
        operator: &'static str,
        shape: Shape,
    ) -> KernelName {
        KernelName {
            elements,
            operator,
            shape,
            set: self.name,
        }
    }

    /// What the integer product computes at once.
    pub(crate) fn tile(&self) -> Shape {
        Shape::Tile {
            rows: self.tile[0],
            columns: self.tile[1],
            step: self.panel.step,
        }
    }
}

/// The kernels. Each returns `None`, having written nothing of use, where slices are too short.
#[expect(clippy::type_complexity, reason = "each signature stands here once")]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// Products of a large integer convolution in a microsecond, roughly: what is worth a thread of its own.
    #[cfg_attr(
        not(feature = "std"),
        expect(dead_code, reason = "there are no threads")
    )]
    pub(crate) products_per_microsecond: u64,
    /// Layout of the constants that `gemm_i8` reads.
    pub(crate) panel: Panel,
    /// Rows and output channels that `gemm_i8` computes at once.
    pub(crate) tile: [usize; 2],
    /// Integer matrix product, with the bias and what follows the sum.
    pub(crate) gemm_i8: fn(&Gemm<'_>, Out<'_>) -> Option<()>,
    /// The same for layers with blocks of zeros, where the set has something for them.
    pub(crate) sparse: Option<sparse::Sparse>,
    /// Integer depthwise convolution of output positions in a row.
    pub(crate) depthwise_i8: fn(&Depthwise<'_>, Out<'_>) -> Option<()>,
    /// The same by a 3x3 window, with strides of 1 or 2 along rows, if the set has a faster way and there are channels enough for it.
    pub(crate) depthwise_3x3: Option<fn(&Depthwise3x3<'_>, Codes, &mut [i8]) -> Option<()>>,
    /// Integer convolution with a window of 3 x 3, where it is faster by tiles than `gemm_i8`.
    pub(crate) winograd_i8: Option<Winograd>,
    /// The same, where neighbouring windows share their inputs, if the set has a faster way and [`convolution::suits`].
    pub(crate) convolution_3x3: Option<Convolve>,
    /// Rows that `gemm_f32` computes at once.
    pub(crate) rows_f32: usize,
    /// Float matrix product, with what follows the sum; from an output position to the next it is as many floats as given.
    pub(crate) gemm_f32: fn(&GemmF32<'_>, &mut [f32], usize) -> Option<()>,
    /// Float depthwise convolution of output positions in a row, one after the other.
    pub(crate) depthwise_f32: fn(&DepthwiseF32<'_>, &mut [f32]) -> Option<()>,
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

/// An integer matrix product: rows of input codes by the columns of panels.
#[derive(Clone, Copy)]
pub(crate) struct Gemm<'s> {
    /// Where the runs of a row are read from: the activation, and what was gathered.
    pub(crate) sources: [&'s [i8]; 2],
    /// `[row][run]`: where each run begins; see [`source`].
    pub(crate) starts: &'s [u32],
    /// Runs of a row, at least 1 and at most [`MAX_RUNS`].
    pub(crate) runs: usize,
    /// Codes of a run, a multiple of the panel's step.
    pub(crate) run: usize,
    /// The constants, in the set's layout, for `runs x run` codes a column.
    pub(crate) panels: &'s [u8],
    /// Output channels.
    pub(crate) columns: usize,
}

/// Most runs of a row.
pub(crate) const MAX_RUNS: usize = 32;
/// The bit of a start that chooses the second source.
pub(crate) const GATHERED: u32 = 1 << 31;

/// Which source a start means, and where in it.
#[inline(always)]
pub(crate) fn source(start: u32) -> (usize, usize) {
    ((start >> 31) as usize, (start & !GATHERED) as usize)
}

/// Where a start points to.
#[cfg(any(
    target_arch = "aarch64",
    all(feature = "std", target_arch = "x86_64"),
    all(feature = "std", target_os = "linux", target_arch = "arm")
))]
#[inline(always)]
fn place(sources: [&[i8]; 2], start: u32) -> *const i8 {
    let [input, gathered] = sources.map(<[i8]>::as_ptr);
    let from = if start & GATHERED == 0 {
        input
    } else {
        gathered
    };
    from.wrapping_add((start & !GATHERED) as usize)
}

/// Whether `len` codes from each start on lie in its source.
#[inline(always)]
fn are_inside(starts: &[u32], len: usize, sources: [&[i8]; 2]) -> bool {
    // as signed numbers, those with the bit are below all others; as unsigned numbers, above
    let (input, gathered) = starts.iter().fold((-1, 0), |(input, gathered), &start| {
        (start.cast_signed().max(input), start.max(gathered))
    });
    let fits = |start: u32| {
        let (source, at) = source(start);
        at + len <= sources[source].len()
    };
    (input < 0 || fits(input.cast_unsigned())) && (gathered < GATHERED || fits(gathered))
}

impl<'s> Gemm<'s> {
    #[inline(always)]
    pub(crate) fn rows(&self) -> usize {
        self.starts.len() / self.runs.max(1)
    }

    /// Codes of a row: each run is whole steps.
    #[inline(always)]
    fn depth(&self) -> Depth {
        Depth {
            rows: self.runs,
            row: self.run,
        }
    }

    /// The panels, if there are enough and every run lies in its source.
    #[inline(always)]
    fn check(&self, panel: Panel) -> Option<&'s [u8]> {
        let inside = are_inside(self.starts, self.run, self.sources);
        let bytes = panel.bytes(self.depth());
        let panels = self.panels.get(..panel.count(self.columns) * bytes)?;
        let whole = self.run > 0
            && self.run.is_multiple_of(panel.step)
            && (1..=MAX_RUNS).contains(&self.runs);
        (inside && whole).then_some(panels)
    }
}

/// Output positions of an integer depthwise convolution, in segments along which taps move together.
#[derive(Clone, Copy)]
pub(crate) struct Depthwise<'s> {
    /// Where the channels of a tap are read from: the activation, and zero points.
    pub(crate) sources: [&'s [i8]; 2],
    /// `[segment][tap]`: where the tap of the segment's first position begins; see [`source`].
    pub(crate) starts: &'s [u32],
    /// Positions of each segment.
    pub(crate) counts: &'s [u32],
    /// Segments of a row of positions: from one position of a row to the next, the window moves by `advance` columns of taps.
    #[cfg_attr(
        not(all(feature = "std", target_arch = "x86_64")),
        expect(dead_code, reason = "AVX-512 alone shares columns between windows")
    )]
    pub(crate) row: usize,
    /// Taps of a row of the window.
    #[cfg_attr(
        not(all(feature = "std", target_arch = "x86_64")),
        expect(dead_code, reason = "AVX-512 alone shares columns between windows")
    )]
    pub(crate) columns: usize,
    /// `columns` where windows of a row have none in common.
    #[cfg_attr(
        not(all(feature = "std", target_arch = "x86_64")),
        expect(dead_code, reason = "AVX-512 alone shares columns between windows")
    )]
    pub(crate) advance: usize,
    /// Codes from a position to the next.
    pub(crate) step: usize,
    pub(crate) channels: usize,
    /// Biases, `i32` each, multipliers, `f32` each, then the codes of each tap.
    pub(crate) constants: &'s [u8],
}

impl<'s> Depthwise<'s> {
    /// Bytes of the constants.
    pub(crate) fn constants(taps: usize, channels: usize) -> Option<usize> {
        channels.checked_mul(taps.checked_add(8)?)
    }

    /// The constants, if they are whole and every tap of every position lies in its source.
    #[inline(always)]
    fn check(&self) -> Option<&'s [u8]> {
        let inside = self.segments().all(|(starts, count)| {
            let last = count.saturating_sub(1) * self.step + self.channels;
            are_inside(starts, last, self.sources)
        });
        let bytes = Self::constants(self.taps(), self.channels)?;
        self.constants.get(..bytes).filter(|_| inside)
    }

    /// Taps of a position.
    #[inline(always)]
    fn taps(&self) -> usize {
        self.starts.len() / self.counts.len().max(1)
    }

    /// The starts and the positions of each segment.
    #[inline(always)]
    fn segments(&self) -> impl Iterator<Item = (&'s [u32], usize)> {
        segments(self.starts, self.counts)
    }
}

/// Rows of output positions of an integer depthwise convolution with a 3x3 window.
#[derive(Clone, Debug)]
#[cfg_attr(
    not(target_arch = "aarch64"),
    expect(dead_code, reason = "no other set has a kernel for it")
)]
pub(crate) struct Depthwise3x3<'s> {
    /// The whole activation.
    pub(crate) input: &'s [i8],
    /// Zero points, as many as codes of a row of the input.
    pub(crate) zeros: &'s [i8],
    /// Rows and columns of the input.
    pub(crate) size: [usize; 2],
    pub(crate) channels: usize,
    pub(crate) stride: [usize; 2],
    pub(crate) pad: [usize; 2],
    pub(crate) zero_point: i8,
    /// Rows of output positions.
    pub(crate) rows: Range<usize>,
    /// Output positions of a row, at least one.
    pub(crate) width: usize,
    /// See [`Depthwise::constants`].
    pub(crate) constants: &'s [u8],
}

impl<'s> Depthwise3x3<'s> {
    /// The constants, if they, the input and the zero points are whole and `out` has room.
    #[cfg(target_arch = "aarch64")]
    fn check(&self, out: &[i8]) -> Option<&'s [u8]> {
        let row = self.size[1] * self.channels;
        let whole = self.input.len() >= self.size[0] * row && self.zeros.len() >= row;
        let room = self.width > 0 && out.len() >= self.rows.len() * self.width * self.channels;
        let bytes = Depthwise::constants(9, self.channels)?;
        self.constants.get(..bytes).filter(|_| whole && room)
    }

    /// Where the row of the input begins that is row `ky` of the window at a row of output positions; none in the padding.
    #[cfg(target_arch = "aarch64")]
    #[inline(always)]
    fn input_row(&self, row: usize, ky: usize) -> Option<usize> {
        let y = (row * self.stride[0] + ky).checked_sub(self.pad[0])?;
        (y < self.size[0]).then(|| y * self.size[1] * self.channels)
    }
}

/// What follows an integer sum with its bias, and where it goes: one output position after the other.
pub(crate) enum Out<'s> {
    /// `requantize(sum, multiplier)`; from a position to the next it is so many codes.
    Codes(Codes, &'s mut [i8], usize),
    /// `clamp(f32(sum) * multiplier)`, within bounds; from a position to the next it is so many floats.
    Floats((f32, f32), &'s mut [f32], usize),
}

/// The starts of the taps and the positions of each segment.
#[inline(always)]
fn segments<'s>(
    starts: &'s [u32],
    counts: &'s [u32],
) -> impl Iterator<Item = (&'s [u32], usize)> + use<'s> {
    let taps = starts.len() / counts.len().max(1);
    let counts = counts.iter().map(|&count| count as usize);
    starts.chunks_exact(taps.max(1)).zip(counts)
}

/// A float matrix product: rows of input values by the columns of panels.
#[derive(Clone, Copy)]
pub(crate) struct GemmF32<'s> {
    /// As in [`Gemm`]; everything is counted in bytes, and the sources are the bytes of floats.
    pub(crate) sources: [&'s [i8]; 2],
    pub(crate) starts: &'s [u32],
    pub(crate) runs: usize,
    /// Bytes of a run, whole floats.
    pub(crate) run: usize,
    /// In panels, for output channels that share inputs.
    pub(crate) constants: Floats<'s>,
}

impl GemmF32<'_> {
    #[cfg(any(target_arch = "aarch64", all(feature = "std", target_arch = "x86_64")))]
    #[inline(always)]
    fn rows(&self) -> usize {
        self.starts.len() / self.runs.max(1)
    }

    /// Products of a sum.
    #[inline(always)]
    fn depth(&self) -> usize {
        self.runs * self.run / size_of::<f32>()
    }

    /// Whether the constants are whole and every run lies in its source.
    #[inline(always)]
    fn check(&self) -> Option<()> {
        let inside = are_inside(self.starts, self.run, self.sources);
        let runs = (1..=MAX_RUNS).contains(&self.runs);
        let whole = self.run > 0 && self.run.is_multiple_of(size_of::<f32>());
        (inside && runs && whole && self.constants.are_whole(self.depth())).then_some(())
    }
}

/// Output positions of a float depthwise convolution.
#[derive(Clone, Copy)]
pub(crate) struct DepthwiseF32<'s> {
    /// As in [`Depthwise`]; everything is counted in bytes, and the sources are the bytes of floats.
    pub(crate) sources: [&'s [i8]; 2],
    pub(crate) starts: &'s [u32],
    pub(crate) counts: &'s [u32],
    /// Bytes from a position to the next.
    pub(crate) step: usize,
    /// The weights are `[tap][channel]`.
    pub(crate) constants: Floats<'s>,
}

impl<'s> DepthwiseF32<'s> {
    /// Whether the constants are whole and every tap of every position lies in its source.
    #[inline(always)]
    fn check(&self) -> Option<()> {
        let channels = size_of_val(self.constants.bias);
        let inside = self.segments().all(|(starts, count)| {
            let last = count.saturating_sub(1) * self.step + channels;
            are_inside(starts, last, self.sources)
        });
        let taps = self.starts.len() / self.counts.len().max(1);
        (inside && self.constants.are_whole(taps)).then_some(())
    }

    /// The starts and the positions of each segment.
    #[inline(always)]
    fn segments(&self) -> impl Iterator<Item = (&'s [u32], usize)> + use<'s> {
        segments(self.starts, self.counts)
    }
}

/// The constants of a float layer: each sum is `s = fma(x, w, s)` from 0 on, in order of `kh, kw, ic`, and gives
/// `clamp(fma(s, multiplier, bias))`.
#[derive(Clone, Copy)]
pub(crate) struct Floats<'s> {
    pub(crate) weights: FloatWeights<'s>,
    /// One for each output channel.
    pub(crate) bias: &'s [f32],
    /// As many.
    pub(crate) multiplier: &'s [f32],
    /// Least and greatest value.
    pub(crate) bounds: (f32, f32),
}

impl Floats<'_> {
    /// Whether there are `depth` weights for each output channel.
    #[inline(always)]
    fn are_whole(&self, depth: usize) -> bool {
        let channels = self.bias.len();
        channels > 0 && self.multiplier.len() == channels && self.weights.len() == channels * depth
    }

    /// What follows the sums of some output channels.
    #[cfg(any(target_arch = "aarch64", all(feature = "std", target_arch = "x86_64")))]
    #[inline(always)]
    fn finish_of(&self, channels: Range<usize>) -> Option<Self> {
        Some(Self {
            bias: self.bias.get(channels.clone())?,
            multiplier: self.multiplier.get(channels)?,
            ..*self
        })
    }

    /// What a sum gives.
    #[inline(always)]
    fn finish(&self, channel: usize, sum: f32) -> Option<f32> {
        let (min, max) = self.bounds;
        let (bias, multiplier) = (*self.bias.get(channel)?, *self.multiplier.get(channel)?);
        Some(clamp(libm::fmaf(sum, multiplier, bias), min, max))
    }
}

/// The weights of a float layer: `[tap][channel]` for depthwise, else in panels
/// ([`edgeprune_format::manifest::float_place`]).
#[derive(Clone, Copy)]
pub(crate) enum FloatWeights<'s> {
    /// Little-endian floats, not necessarily aligned.
    Floats(&'s [[u8; 4]]),
    /// Codes, which count as integers.
    Codes(&'s [i8]),
}

impl<'s> FloatWeights<'s> {
    #[inline(always)]
    fn len(self) -> usize {
        match self {
            Self::Floats(floats) => floats.len(),
            Self::Codes(codes) => codes.len(),
        }
    }

    #[inline(always)]
    fn get(self, index: usize) -> Option<f32> {
        match self {
            Self::Floats(floats) => floats.get(index).map(|bytes| f32::from_le_bytes(*bytes)),
            Self::Codes(codes) => codes.get(index).map(|&code| f32::from(code)),
        }
    }

    /// Some of them.
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
