//! The integer matrix product in tiles, for sets with vector instructions: generic over what a set
//! does with some rows and one panel.

#[cfg(all(feature = "std", target_arch = "x86_64"))]
use super::Depth;
use super::{Gemm, MAX_COLUMNS, MAX_RUNS, Out, Panel, place};
use crate::quantize::{Codes, clamp};
use core::mem::MaybeUninit;

/// Most rows of a tile.
const MAX_ROWS: usize = 8;
/// Most output channels of a tile.
const MAX_TILE: usize = 2 * MAX_COLUMNS;
/// Places of runs that are held at once.
pub(super) const PLACES: usize = 256;
const _: () = assert!(PLACES / MAX_RUNS >= MAX_ROWS);

/// The product of `M` rows with a panel or more, in registers.
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
pub(super) trait Tile {
    const PANEL: Panel;
    /// Panels of a tile, one after the other.
    const PANELS: usize = 1;
    /// Output channels of a tile, up to [`MAX_TILE`].
    const COLUMNS: usize = Self::PANEL.columns * Self::PANELS;
    /// Rows of a tile: 2, 4, 6 or 8.
    const ROWS: usize;
    /// Rows and output channels of a tile.
    const SIZE: [usize; 2] = [Self::ROWS, Self::COLUMNS];
    /// The sums of one row.
    type Sums: Copy;
    /// The codes that an output can take, made ready.
    type Requantize: Copy;

    fn requantize(codes: Codes) -> Self::Requantize;

    /// Biases and products.
    ///
    /// # Safety
    /// The processor has the set's instructions; `panel` is [`Self::PANELS`] panels of [`Self::PANEL`] for the product's
    /// depth, and the runs of the `M` rows lie in their sources.
    unsafe fn sums<const M: usize>(rows: Rows<M>, panel: *const u8) -> [Self::Sums; M];

    /// Requantizes and writes [`Self::COLUMNS`] of each row.
    ///
    /// # Safety
    /// The processor has the set's instructions; `panel` as above; `out` has room for `M` rows,
    /// `stride` apart.
    unsafe fn codes<const M: usize>(
        sums: [Self::Sums; M],
        panel: *const u8,
        requantize: Self::Requantize,
        out: *mut i8,
        stride: usize,
    );

    /// The same of the first `keep` columns.
    ///
    /// # Safety
    /// See `codes`; `keep` is at most [`Self::COLUMNS`].
    #[inline(always)]
    unsafe fn some_codes<const M: usize>(
        sums: [Self::Sums; M],
        panel: *const u8,
        requantize: Self::Requantize,
        out: *mut i8,
        stride: usize,
        keep: usize,
    ) {
        let mut whole = [0i8; MAX_ROWS * MAX_COLUMNS];
        const { assert!(Self::ROWS * Self::COLUMNS <= MAX_ROWS * MAX_COLUMNS) };
        // SAFETY: the buffer has room for a tile; the rest is the caller's.
        unsafe {
            Self::codes(sums, panel, requantize, whole.as_mut_ptr(), Self::COLUMNS);
            for m in 0..M {
                let row = whole.as_ptr().add(m * Self::COLUMNS);
                out.add(m * stride).copy_from_nonoverlapping(row, keep);
            }
        }
    }

    /// Writes [`Self::COLUMNS`] of row number `row`.
    ///
    /// # Safety
    /// The processor has the set's instructions; `out` has room for the columns.
    unsafe fn store<const M: usize>(sums: &[Self::Sums; M], row: usize, out: *mut i32);
}

/// `M` rows of a product.
#[derive(Clone, Copy)]
pub(super) struct Rows<const M: usize> {
    /// `[row][run]`: where each run begins.
    begin: *const *const i8,
    runs: usize,
    run: usize,
}

#[expect(unsafe_code, reason = "the inner loop of a tile reads checked memory")]
impl<const M: usize> Rows<M> {
    /// Rows whose runs, of `run` codes each, begin where the places from `begin` on say.
    #[inline(always)]
    pub(super) fn new(begin: *const *const i8, runs: usize, run: usize) -> Self {
        Self { begin, runs, run }
    }

    /// Runs of a row.
    #[inline(always)]
    pub(super) fn runs(self) -> usize {
        self.runs
    }

    /// Codes of a run.
    #[inline(always)]
    pub(super) fn run(self) -> usize {
        self.run
    }

    /// Codes of a row.
    #[inline(always)]
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    pub(super) fn depth(self) -> Depth {
        Depth {
            rows: self.runs,
            row: self.run,
        }
    }

    /// `[row][run]`: where each run begins, for assembly that reads it.
    #[cfg(target_arch = "arm")]
    #[inline(always)]
    pub(super) fn places(self) -> *const *const i8 {
        self.begin
    }

    /// Where a run of each row begins. [`Gemm::check`] has found [`Self::run`] codes from there on inside
    /// the source.
    ///
    /// # Safety
    /// `run` is below [`Self::runs`].
    #[cfg_attr(
        target_arch = "arm",
        expect(dead_code, reason = "assembly reads the places")
    )]
    #[inline(always)]
    pub(super) unsafe fn begin(self, run: usize) -> [*const i8; M] {
        let mut begin = [core::ptr::null(); M];
        for (m, begin) in begin.iter_mut().enumerate() {
            // SAFETY: there are `runs` places for each of the `M` rows.
            *begin = unsafe { *self.begin.add(m * self.runs + run) };
        }
        begin
    }
}

/// Some rows by all panels, then the next rows: where their runs begin is found once. `Fewer` and then `Last` take the panels that are
/// left where there are too few for a tile of `T`.
#[inline(always)]
#[expect(unsafe_code, reason = "places that have been written")]
pub(super) fn gemm_i8<
    T: Tile,
    Fewer: Tile<Requantize = T::Requantize>,
    Last: Tile<Requantize = T::Requantize>,
>(
    gemm: &Gemm<'_>,
    mut out: Out<'_>,
) -> Option<()> {
    let panels = gemm.check(T::PANEL)?;
    let to = Place::new::<T>(gemm, &mut out)?;
    let mut begins = [MaybeUninit::uninit(); PLACES];
    let rows = PLACES / gemm.runs / MAX_ROWS * MAX_ROWS;
    let mut first = 0;
    while first < gemm.rows() {
        let rows = rows.min(gemm.rows() - first);
        let starts = gemm.starts.get(first * gemm.runs..)?;
        let starts = starts.get(..rows * gemm.runs)?;
        let begins = begins.get_mut(..starts.len())?;
        for (begin, &start) in begins.iter_mut().zip(starts) {
            begin.write(place(gemm.sources, start));
        }
        // SAFETY: there is a start for each, so all have been written.
        let begins = unsafe { core::slice::from_raw_parts(begins.as_ptr().cast(), begins.len()) };
        let to = to.at(first, 0);
        let mut left = (panels, 0);
        by_tiles::<T>(gemm, begins, to, &mut left);
        if Fewer::PANELS < T::PANELS {
            by_tiles::<Fewer>(gemm, begins, to, &mut left);
        }
        if Last::PANELS < Fewer::PANELS {
            by_tiles::<Last>(gemm, begins, to, &mut left);
        }
        first += rows;
    }
    Some(())
}

/// Some rows, whose runs begin at `begins`, by the panels that are left and that tiles of `T` take; the first
/// of them begins with the output channel beside it.
#[inline(always)]
fn by_tiles<T: Tile>(
    gemm: &Gemm<'_>,
    begins: &[*const i8],
    to: Place<T::Requantize>,
    left: &mut (&[u8], usize),
) {
    let bytes = T::PANELS * T::PANEL.bytes(gemm.depth());
    while let Some((panels, rest)) = left.0.split_at_checked(bytes) {
        let keep = T::COLUMNS.min(gemm.columns - left.1);
        rows_by_tile::<T>(gemm, begins, panels, to.at(0, left.1), keep);
        *left = (rest, left.1 + keep);
    }
}

/// Some rows, whose runs begin at `begins`, by the panels of a tile.
#[inline(always)]
fn rows_by_tile<T: Tile>(
    gemm: &Gemm<'_>,
    begins: &[*const i8],
    panels: &[u8],
    mut to: Place<T::Requantize>,
    keep: usize,
) {
    let (mut begin, mut left) = (begins.as_ptr(), begins.len() / gemm.runs);
    while left > 0 {
        let done = match left {
            8.. if T::ROWS >= 8 => tile::<T, 8>(gemm, begin, panels, to, keep),
            6.. if T::ROWS == 6 => tile::<T, 6>(gemm, begin, panels, to, keep),
            4.. if T::ROWS >= 4 => tile::<T, 4>(gemm, begin, panels, to, keep),
            2.. => tile::<T, 2>(gemm, begin, panels, to, keep),
            _ => tile::<T, 1>(gemm, begin, panels, to, keep),
        };
        begin = begin.wrapping_add(done * gemm.runs);
        to = to.at(done, 0);
        left -= done;
    }
}

/// Where the first output channel of the first row goes; there is room for all rows and channels.
#[derive(Clone, Copy)]
struct Place<R> {
    kind: Kind<R>,
    out: *mut u8,
    /// Bytes from a row to the next.
    stride: usize,
}

/// What goes there.
#[derive(Clone, Copy)]
enum Kind<R> {
    Codes(R),
    Floats((f32, f32)),
}

impl<R: Copy> Place<R> {
    #[inline(always)]
    fn new<T: Tile<Requantize = R>>(gemm: &Gemm<'_>, out: &mut Out<'_>) -> Option<Self> {
        let before = gemm.rows().checked_sub(1)?;
        Some(match out {
            Out::Codes(codes, out, stride) => Self {
                kind: Kind::Codes(T::requantize(*codes)),
                out: out
                    .get_mut(..before * *stride + gemm.columns)?
                    .as_mut_ptr()
                    .cast(),
                stride: *stride,
            },
            Out::Floats(bounds, out, stride) => Self {
                kind: Kind::Floats(*bounds),
                out: out
                    .get_mut(..before * *stride + gemm.columns)?
                    .as_mut_ptr()
                    .cast(),
                stride: size_of::<f32>() * *stride,
            },
        })
    }

    /// The place of another row and column.
    #[inline(always)]
    fn at(self, row: usize, column: usize) -> Self {
        let size = match self.kind {
            Kind::Codes(_) => 1,
            Kind::Floats(_) => size_of::<f32>(),
        };
        let out = self.out.wrapping_add(row * self.stride + column * size);
        Self { out, ..self }
    }
}

/// Computes a tile and writes the first `keep` columns; returns its rows.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions on checked memory")]
fn tile<T: Tile, const M: usize>(
    gemm: &Gemm<'_>,
    begin: *const *const i8,
    panel: &[u8],
    to: Place<T::Requantize>,
    keep: usize,
) -> usize {
    let rows = Rows::<M>::new(begin, gemm.runs, gemm.run);
    let (panels, panel) = (panel, panel.as_ptr());
    // SAFETY: a set's functions are reached through its table alone, which is given out after the
    // processor has reported the instructions. `Gemm::check` gave the panel and found the runs inside, `begin` has
    // the places of at least `M` rows; `Place::new` found room for `keep` columns of each row, and the buffers have room for every tile.
    unsafe {
        let sums = T::sums(rows, panel);
        match to.kind {
            Kind::Codes(requantize) if keep == T::COLUMNS => {
                T::codes(sums, panel, requantize, to.out.cast(), to.stride);
            }
            Kind::Codes(requantize) => {
                T::some_codes(sums, panel, requantize, to.out.cast(), to.stride, keep);
            }
            Kind::Floats(bounds) => {
                // all first, so that sums are in registers up to here
                let mut whole = [[0i32; MAX_TILE]; M];
                for (m, whole) in whole.iter_mut().enumerate() {
                    T::store(&sums, m, whole.as_mut_ptr());
                }
                for (m, whole) in whole.iter().enumerate() {
                    let values = floats::<T>(whole, panels, bounds);
                    let out: *mut f32 = to.at(m, 0).out.cast();
                    match keep == T::COLUMNS {
                        true => out.copy_from_nonoverlapping(values.as_ptr(), T::COLUMNS),
                        false => out.copy_from_nonoverlapping(values.as_ptr(), keep),
                    }
                }
            }
        }
    }
    M
}

/// `clamp(f32(sum) * multiplier)` of [`Tile::COLUMNS`] of a row.
///
/// # Safety
/// `panels` are [`Tile::PANELS`] panels with their heads.
#[expect(unsafe_code, reason = "multipliers in the heads of panels")]
unsafe fn floats<T: Tile>(
    sums: &[i32; MAX_TILE],
    panels: &[u8],
    (min, max): (f32, f32),
) -> [f32; MAX_TILE] {
    let mut values = [0f32; MAX_TILE];
    let (columns, bytes) = (T::PANEL.columns, panels.len() / T::PANELS);
    for i in 0..T::COLUMNS {
        let at = i / columns * bytes + 4 * (columns + i % columns);
        // SAFETY: multipliers follow as many biases in the head of each panel.
        let multiplier = unsafe { panels.as_ptr().add(at).cast::<f32>().read_unaligned() };
        values[i] = clamp(sums[i] as f32 * multiplier, min, max);
    }
    values
}
