//! Float matrix products and depthwise convolutions in tiles, for sets with vector instructions: generic over what
//! a set does with some output channels side by side, so that each sum keeps its order.

#![expect(
    clippy::needless_range_loop,
    reason = "counted loops over registers, which the compiler unrolls"
)]

use super::depthwise::opaque;
use super::tile::{PLACES, Rows};
use super::{DepthwiseF32, FloatWeights, Floats, GemmF32, place};
use edgeprune_format::manifest::PANEL;

/// Bytes of a float.
const SIZE: usize = size_of::<f32>();

/// A float for each of some output channels, in a register.
///
/// # Safety
/// Of all functions: the processor has the set's instructions, and what is read or written is there.
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
pub(super) trait Lanes: Copy {
    /// Output channels, which divide [`PANEL`].
    const LANES: usize;
    /// Sums that registers can hold.
    const SUMS: usize;
    /// Four inputs that follow each other.
    type Four: Copy;

    unsafe fn zero() -> Self;
    unsafe fn load(from: *const f32) -> Self;
    /// Zeros follow the first `count`, which is at least 1.
    unsafe fn load_some(from: *const f32, count: usize) -> Self;
    /// The values of codes.
    unsafe fn codes(from: *const i8) -> Self;
    unsafe fn splat(value: f32) -> Self;
    unsafe fn four(from: *const f32) -> Self::Four;
    /// Input number `I` of four in every lane.
    unsafe fn spread<const I: i32>(four: Self::Four) -> Self;
    /// `self + x * w`, rounded once.
    unsafe fn fused(self, x: Self, w: Self) -> Self;
    /// [`crate::quantize::clamp`].
    unsafe fn clamp(self, min: Self, max: Self) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// Writes the first `count`, at least 1.
    unsafe fn store_some(self, to: *mut f32, count: usize);
}

/// What is stored for a weight or an input.
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
trait Element: Copy {
    /// # Safety
    /// As of [`Lanes`]; there are `count`, which are all lanes if `WHOLE`.
    unsafe fn load<L: Lanes, const WHOLE: bool>(from: *const Self, count: usize) -> L;
}

#[expect(unsafe_code, reason = "vector instructions on checked memory")]
impl Element for f32 {
    #[inline(always)]
    unsafe fn load<L: Lanes, const WHOLE: bool>(from: *const Self, count: usize) -> L {
        // SAFETY: the caller's.
        unsafe {
            match WHOLE {
                true => L::load(from),
                false => L::load_some(from, count),
            }
        }
    }
}

#[expect(unsafe_code, reason = "vector instructions on checked memory")]
impl Element for i8 {
    #[inline(always)]
    unsafe fn load<L: Lanes, const WHOLE: bool>(from: *const Self, count: usize) -> L {
        // SAFETY: the caller's; the buffer has every set's lanes.
        unsafe {
            if WHOLE {
                return L::codes(from);
            }
            let mut whole = [0; PANEL];
            for i in 0..count.min(L::LANES) {
                whole[i] = from.add(i).read();
            }
            L::codes(whole.as_ptr())
        }
    }
}

/// Panels of `N` vectors, a lone row `S` vectors at a time, since one panel gives it too few sums to keep the
/// multipliers busy.
#[inline(always)]
pub(super) fn gemm_f32<L: Lanes, const N: usize, const S: usize>(
    gemm: &GemmF32<'_>,
    out: &mut [f32],
    stride: usize,
) -> Option<()> {
    gemm.check()?;
    let last = gemm.rows().checked_sub(1)? * stride;
    let out = out.get_mut(..last + gemm.constants.bias.len())?;
    match gemm.constants.weights {
        FloatWeights::Floats(weights) => {
            let weights = weights.as_ptr().cast::<f32>();
            blocks::<L, f32, N, S>(gemm, weights, out.as_mut_ptr(), stride)
        }
        FloatWeights::Codes(weights) => {
            blocks::<L, i8, N, S>(gemm, weights.as_ptr(), out.as_mut_ptr(), stride)
        }
    }
}

/// Some rows by all panels, then the next rows: where their runs begin is found once.
#[inline(always)]
fn blocks<L: Lanes, W: Element, const N: usize, const S: usize>(
    gemm: &GemmF32<'_>,
    weights: *const W,
    out: *mut f32,
    stride: usize,
) -> Option<()> {
    let mut begins = [core::ptr::null(); PLACES];
    let most = PLACES / gemm.runs / ROWS * ROWS;
    let mut first = 0;
    while first < gemm.rows() {
        let rows = most.min(gemm.rows() - first);
        let starts = gemm.starts.get(first * gemm.runs..)?;
        let starts = starts.get(..rows * gemm.runs)?;
        for (begin, &start) in begins.iter_mut().zip(starts) {
            *begin = place(gemm.sources, start);
        }
        let block = Block {
            gemm,
            begins: begins.get(..starts.len())?,
            weights,
            out: out.wrapping_add(first * stride),
            stride,
        };
        block.run::<L, N, S>()?;
        first += rows;
    }
    Some(())
}

/// Most rows of a tile.
const ROWS: usize = 8;

/// Some rows of a product whose sizes are checked.
struct Block<'s, W> {
    gemm: &'s GemmF32<'s>,
    /// `[row][run]`
    begins: &'s [*const i8],
    weights: *const W,
    /// Where the first row goes.
    out: *mut f32,
    stride: usize,
}

/// Output channels of a tile.
#[derive(Clone, Copy)]
struct Columns {
    first: usize,
    /// How many are in the last vector.
    count: usize,
    /// How many the panel has.
    width: usize,
}

impl<W: Element> Block<'_, W> {
    #[inline(always)]
    fn run<L: Lanes, const N: usize, const S: usize>(&self) -> Option<()> {
        let channels = self.gemm.constants.bias.len();
        let mut columns = Columns {
            first: 0,
            count: L::LANES,
            width: PANEL,
        };
        let is_lone = self.begins.len() == self.gemm.runs;
        while is_lone && channels - columns.first >= S * L::LANES {
            self.tile::<L, 1, S, true>(0, columns)?;
            columns.first += S * L::LANES;
        }
        while channels - columns.first >= PANEL {
            self.rows::<L, N, true>(columns)?;
            columns.first += PANEL;
        }
        columns.width = channels - columns.first;
        while channels - columns.first >= L::LANES {
            self.rows::<L, 1, true>(columns)?;
            columns.first += L::LANES;
        }
        columns.count = channels - columns.first;
        if columns.count > 0 {
            self.rows::<L, 1, false>(columns)?;
        }
        Some(())
    }

    /// All rows by some columns.
    #[inline(always)]
    fn rows<L: Lanes, const N: usize, const WHOLE: bool>(&self, columns: Columns) -> Option<()> {
        let rows = self.begins.len() / self.gemm.runs;
        let mut row = 0;
        while row < rows {
            row += match rows - row {
                8.. if 8 * N <= L::SUMS => self.tile::<L, 8, N, WHOLE>(row, columns)?,
                4.. => self.tile::<L, 4, N, WHOLE>(row, columns)?,
                2.. => self.tile::<L, 2, N, WHOLE>(row, columns)?,
                _ => self.tile::<L, 1, N, WHOLE>(row, columns)?,
            };
        }
        Some(())
    }

    /// Computes `M` rows of `N` vectors; returns the rows.
    #[inline(always)]
    #[expect(unsafe_code, reason = "vector instructions on checked memory")]
    fn tile<L: Lanes, const M: usize, const N: usize, const WHOLE: bool>(
        &self,
        row: usize,
        columns: Columns,
    ) -> Option<usize> {
        let Columns { first, count, .. } = columns;
        let runs = self.gemm.runs;
        let begins = self.begins.get(row * runs..(row + M) * runs)?;
        let rows = Rows::<M>::new(begins.as_ptr(), runs, self.gemm.run);
        let end = first + (N - 1) * L::LANES + count;
        let constants = self.gemm.constants.finish_of(first..end)?;
        let out = self.out.wrapping_add(row * self.stride + first);
        // SAFETY: a set's functions are reached through its table alone, which is given out after the processor has
        // reported the instructions. `GemmF32::check` found the runs inside and a whole panel for each of these columns,
        // which `run` takes from one panel, or from whole panels that follow each other; `gemm_f32` found
        // room for every channel of every row.
        unsafe {
            let sums = self.sums::<L, M, N, WHOLE>(rows, columns);
            let finish = Finish::<L, N>::load::<WHOLE>(&constants, count);
            for m in 0..M {
                finish.store::<WHOLE>(sums[m], out.wrapping_add(m * self.stride), count);
            }
        }
        Some(M)
    }

    /// The sums of `M` rows of `N` vectors.
    ///
    /// # Safety
    /// See [`Self::tile`].
    #[inline(always)]
    #[expect(unsafe_code, reason = "vector instructions on checked memory")]
    unsafe fn sums<L: Lanes, const M: usize, const N: usize, const WHOLE: bool>(
        &self,
        rows: Rows<M>,
        columns: Columns,
    ) -> [[L; N]; M] {
        let Columns {
            first,
            count,
            width,
        } = columns;
        let (depth, within) = (self.gemm.depth(), first % PANEL);
        let panel = PANEL * depth;
        // SAFETY: the caller's.
        unsafe {
            let mut weights = self.weights.add((first - within) * depth + within);
            let mut sums = [[L::zero(); N]; M];
            for run in 0..rows.runs() {
                let begin = rows.begin(run);
                let mut at = 0;
                while at + 4 * SIZE <= rows.run() {
                    let mut x = [L::four(begin[0].add(at).cast()); M];
                    for m in 1..M {
                        x[m] = L::four(begin[m].add(at).cast());
                    }
                    sums = add_spread::<L, W, M, N, 0, WHOLE>(sums, x, (weights, panel), count);
                    weights = weights.add(width);
                    sums = add_spread::<L, W, M, N, 1, WHOLE>(sums, x, (weights, panel), count);
                    weights = weights.add(width);
                    sums = add_spread::<L, W, M, N, 2, WHOLE>(sums, x, (weights, panel), count);
                    weights = weights.add(width);
                    sums = add_spread::<L, W, M, N, 3, WHOLE>(sums, x, (weights, panel), count);
                    weights = weights.add(width);
                    at += 4 * SIZE;
                }
                while at < rows.run() {
                    let w = vectors::<L, W, N, WHOLE>((weights, panel), count);
                    for m in 0..M {
                        let x = begin[m].add(at).cast::<f32>().read_unaligned();
                        for n in 0..N {
                            sums[m][n] = sums[m][n].fused(L::splat(x), w[n]);
                        }
                    }
                    weights = weights.add(width);
                    at += SIZE;
                }
            }
            sums
        }
    }
}

/// Adds the products of one of four inputs of each row.
///
/// # Safety
/// See [`vectors`].
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
unsafe fn add_spread<
    L: Lanes,
    W: Element,
    const M: usize,
    const N: usize,
    const I: i32,
    const WHOLE: bool,
>(
    mut sums: [[L; N]; M],
    x: [L::Four; M],
    weights: (*const W, usize),
    count: usize,
) -> [[L; N]; M] {
    // SAFETY: the caller's.
    unsafe {
        let w = vectors::<L, W, N, WHOLE>(weights, count);
        for m in 0..M {
            for n in 0..N {
                sums[m][n] = sums[m][n].fused(L::spread::<I>(x[m]), w[n]);
            }
        }
    }
    sums
}

/// A weight of each column; from a panel to the next there are as many weights as given.
///
/// # Safety
/// As of [`Lanes`].
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
unsafe fn vectors<L: Lanes, W: Element, const N: usize, const WHOLE: bool>(
    (weights, panel): (*const W, usize),
    count: usize,
) -> [L; N] {
    // SAFETY: the caller's.
    unsafe {
        let mut vectors = [L::zero(); N];
        for n in 0..N {
            let (before, within) = (n * L::LANES / PANEL, n * L::LANES % PANEL);
            let from = weights.add(before * panel + within);
            vectors[n] = W::load::<L, WHOLE>(from, count);
        }
        vectors
    }
}

/// What follows the sums of some output channels.
#[derive(Clone, Copy)]
struct Finish<L, const N: usize> {
    bias: [L; N],
    multiplier: [L; N],
    bounds: [L; 2],
}

#[expect(unsafe_code, reason = "vector instructions on checked memory")]
impl<L: Lanes, const N: usize> Finish<L, N> {
    /// # Safety
    /// As of [`Lanes`]; the last vector has `count` channels.
    #[inline(always)]
    unsafe fn load<const WHOLE: bool>(constants: &Floats<'_>, count: usize) -> Self {
        let (bias, multiplier) = (constants.bias.as_ptr(), constants.multiplier.as_ptr());
        let (min, max) = constants.bounds;
        // SAFETY: the caller's.
        unsafe {
            let mut finish = Self {
                bias: [L::zero(); N],
                multiplier: [L::zero(); N],
                bounds: [L::splat(min), L::splat(max)],
            };
            for n in 0..N {
                finish.bias[n] = f32::load::<L, WHOLE>(bias.add(n * L::LANES), count);
                finish.multiplier[n] = f32::load::<L, WHOLE>(multiplier.add(n * L::LANES), count);
            }
            finish
        }
    }

    /// # Safety
    /// As of [`Lanes`]; the last vector has `count` channels.
    #[inline(always)]
    unsafe fn store<const WHOLE: bool>(&self, sums: [L; N], out: *mut f32, count: usize) {
        let [min, max] = self.bounds;
        for n in 0..N {
            // SAFETY: the caller's.
            unsafe {
                let values = self.bias[n]
                    .fused(sums[n], self.multiplier[n])
                    .clamp(min, max);
                match WHOLE {
                    true => values.store(out.add(n * L::LANES)),
                    false => values.store_some(out.add(n * L::LANES), count),
                }
            }
        }
    }
}

/// `N` vectors of channels at a time, with the weights of 9 taps, or of 25 if `HELD` is as much, in registers.
#[inline(always)]
pub(super) fn depthwise_f32<L: Lanes, const N: usize, const HELD: usize>(
    depthwise: &DepthwiseF32<'_>,
    out: &mut [f32],
) -> Option<()> {
    depthwise.check()?;
    let positions: usize = depthwise.segments().map(|(_, count)| count).sum();
    let out = out.get_mut(..positions * depthwise.constants.bias.len())?;
    match depthwise.constants.weights {
        FloatWeights::Floats(weights) => Depthwise {
            depthwise,
            weights: weights.as_ptr().cast::<f32>(),
            out: out.as_mut_ptr(),
        }
        .run::<L, N, HELD>(),
        FloatWeights::Codes(weights) => Depthwise {
            depthwise,
            weights: weights.as_ptr(),
            out: out.as_mut_ptr(),
        }
        .run::<L, N, HELD>(),
    }
}

/// A depthwise convolution whose sizes are checked.
struct Depthwise<'s, W> {
    depthwise: &'s DepthwiseF32<'s>,
    weights: *const W,
    out: *mut f32,
}

#[expect(unsafe_code, reason = "vector instructions on checked memory")]
impl<W: Element> Depthwise<'_, W> {
    #[inline(always)]
    fn run<L: Lanes, const N: usize, const HELD: usize>(&self) -> Option<()> {
        let channels = self.depthwise.constants.bias.len();
        let mut first = 0;
        while channels - first >= N * L::LANES {
            self.block::<L, N, HELD, true>(first, L::LANES)?;
            first += N * L::LANES;
        }
        while channels - first >= L::LANES {
            self.block::<L, 1, HELD, true>(first, L::LANES)?;
            first += L::LANES;
        }
        if first < channels {
            self.block::<L, 1, HELD, false>(first, channels - first)?;
        }
        Some(())
    }

    /// `N` vectors of channels from `first` on, of which the last has `count`, of every position.
    #[inline(always)]
    fn block<L: Lanes, const N: usize, const HELD: usize, const WHOLE: bool>(
        &self,
        first: usize,
        count: usize,
    ) -> Option<()> {
        let taps = self.depthwise.starts.len() / self.depthwise.counts.len().max(1);
        let end = first + (N - 1) * L::LANES + count;
        let constants = self.depthwise.constants.finish_of(first..end)?;
        // SAFETY: a set's functions are reached through its table alone, which is given out after the processor has
        // reported the instructions. `DepthwiseF32::check` found the constants whole and every tap of every position
        // inside, `depthwise_f32` room for every position; these channels are among all.
        unsafe {
            let finish = Finish::<L, N>::load::<WHOLE>(&constants, count);
            match taps {
                9 => self.held::<L, N, 9, WHOLE>(first, count, finish),
                25 if HELD >= 25 => self.held::<L, N, 25, WHOLE>(first, count, finish),
                _ => self.any::<L, N, WHOLE>(first, count, finish),
            }
        }
        Some(())
    }

    /// With the weights in registers.
    ///
    /// # Safety
    /// See [`Self::block`].
    #[inline(always)]
    unsafe fn held<L: Lanes, const N: usize, const TAPS: usize, const WHOLE: bool>(
        &self,
        first: usize,
        count: usize,
        finish: Finish<L, N>,
    ) {
        // SAFETY: the caller's.
        unsafe {
            let mut weights = [[L::zero(); N]; TAPS];
            for tap in 0..TAPS {
                weights[tap] = self.weights::<L, N, WHOLE>(tap, first, count);
            }
            let mut out = self.out.add(first);
            for (starts, positions) in self.depthwise.segments() {
                let mut inputs = [core::ptr::null(); TAPS];
                for tap in 0..TAPS {
                    inputs[tap] = self.input(*starts.as_ptr().add(tap), first);
                }
                let mut at = 0;
                for _ in 0..positions {
                    let mut sums = [L::zero(); N];
                    for tap in 0..TAPS {
                        let x = inputs[tap].add(at).cast();
                        let x = vectors::<L, f32, N, WHOLE>((x, 0), count);
                        for n in 0..N {
                            sums[n] = sums[n].fused(x[n], weights[tap][n]);
                        }
                    }
                    finish.store::<WHOLE>(sums, out, count);
                    out = out.wrapping_add(self.depthwise.constants.bias.len());
                    at = opaque(at + self.depthwise.step);
                }
            }
        }
    }

    /// With the weights in memory.
    ///
    /// # Safety
    /// See [`Self::block`].
    #[inline(always)]
    unsafe fn any<L: Lanes, const N: usize, const WHOLE: bool>(
        &self,
        first: usize,
        count: usize,
        finish: Finish<L, N>,
    ) {
        // SAFETY: the caller's.
        unsafe {
            let mut out = self.out.add(first);
            for (starts, positions) in self.depthwise.segments() {
                for position in 0..positions {
                    let at = position * self.depthwise.step;
                    let mut sums = [L::zero(); N];
                    for (tap, &start) in starts.iter().enumerate() {
                        let x = self.input(start, first).add(at).cast();
                        let x = vectors::<L, f32, N, WHOLE>((x, 0), count);
                        let w = self.weights::<L, N, WHOLE>(tap, first, count);
                        for n in 0..N {
                            sums[n] = sums[n].fused(x[n], w[n]);
                        }
                    }
                    finish.store::<WHOLE>(sums, out, count);
                    out = out.wrapping_add(self.depthwise.constants.bias.len());
                }
            }
        }
    }

    /// The weights of a tap.
    ///
    /// # Safety
    /// See [`Self::block`]; there is such a tap.
    #[inline(always)]
    unsafe fn weights<L: Lanes, const N: usize, const WHOLE: bool>(
        &self,
        tap: usize,
        first: usize,
        count: usize,
    ) -> [L; N] {
        // SAFETY: the caller's.
        unsafe {
            let from = self
                .weights
                .add(tap * self.depthwise.constants.bias.len() + first);
            vectors::<L, W, N, WHOLE>((from, 0), count)
        }
    }

    /// Where these channels of a tap begin.
    #[inline(always)]
    fn input(&self, start: u32, first: usize) -> *const i8 {
        place(self.depthwise.sources, start).wrapping_add(first * SIZE)
    }
}
