//! The integer matrix product in tiles, for sets with vector instructions: generic over what a set
//! does with one step of two rows.

use super::{Product, STEP};

/// Columns of a tile of the integer product.
pub(super) const COLUMNS: usize = 4;

/// The integer dot product of a set: products of codes, added in lanes.
pub(super) trait Dot: Copy {
    /// [`STEP`] codes, loaded.
    type Vector: Copy;
    /// Partial sums.
    type Sums: Copy;
    fn zero() -> Self::Sums;
    fn load(codes: &[i8; STEP]) -> Self::Vector;
    fn add(sums: Self::Sums, a: Self::Vector, b: Self::Vector) -> Self::Sums;
    fn totals(sums: [Self::Sums; COLUMNS]) -> [i32; COLUMNS];
}

/// Integer matrix product in tiles of `M` rows by [`COLUMNS`]. A column's last, incomplete step is
/// copied to a buffer whose rest is zero, so what follows a row does not count.
#[inline(always)]
pub(super) fn product_i8<D: Dot, const M: usize>(
    product: &Product<'_>,
    acc: &mut [i32],
) -> Option<()> {
    let columns = product.columns();
    let acc = acc.get_mut(..product.count * columns)?;
    let mut column = 0;
    while column < columns {
        let mut tails = [[0i8; STEP]; COLUMNS];
        let mut weights: [&[[i8; STEP]]; COLUMNS] = [&[]; COLUMNS];
        for n in 0..COLUMNS {
            let start = (column + n).min(columns - 1) * product.depth;
            let row = product.weights.get(start..start + product.depth)?;
            let (steps, rest) = row.as_chunks::<STEP>();
            weights[n] = steps;
            tails[n].get_mut(..rest.len())?.copy_from_slice(rest);
        }
        let keep = COLUMNS.min(columns - column);
        let mut row = 0;
        while row < product.count {
            let at = row * columns + column;
            let left = product.count - row;
            if left > 1 {
                let rows: [&[[i8; STEP]]; M] = row_steps(product, row)?;
                let sums = tile::<D, M>(&rows, &weights, &tails)?;
                store(&sums, acc.get_mut(at..)?, columns, left, keep)?;
                row += M;
            } else {
                let rows: [&[[i8; STEP]]; 1] = row_steps(product, row)?;
                let sums = tile::<D, 1>(&rows, &weights, &tails)?;
                store(&sums, acc.get_mut(at..)?, columns, left, keep)?;
                row += 1;
            }
        }
        column += COLUMNS;
    }
    Some(())
}

/// The steps of `M` rows from `row` on; past the last row, the last again.
#[inline(always)]
fn row_steps<'s, const M: usize>(
    product: &Product<'s>,
    row: usize,
) -> Option<[&'s [[i8; STEP]]; M]> {
    let len = product.depth.next_multiple_of(STEP);
    let mut rows: [&[[i8; STEP]]; M] = [&[]; M];
    for (m, steps) in rows.iter_mut().enumerate() {
        let start = (row + m).min(product.count - 1) * product.stride;
        *steps = product.rows.get(start..start + len)?.as_chunks().0;
    }
    Some(rows)
}

/// Writes a tile, less what stands beyond the last row and column.
#[inline(always)]
fn store<const M: usize>(
    sums: &[[i32; COLUMNS]; M],
    acc: &mut [i32],
    columns: usize,
    rows: usize,
    keep: usize,
) -> Option<()> {
    for (m, sums) in sums.iter().enumerate().take(rows) {
        let acc = acc.get_mut(m * columns..)?;
        match acc.first_chunk_mut::<COLUMNS>() {
            Some(acc) if keep == COLUMNS => *acc = *sums,
            _ => acc.get_mut(..keep)?.copy_from_slice(sums.get(..keep)?),
        }
    }
    Some(())
}

/// One tile. Plain loops: a closure would be compiled without the instructions of the caller.
#[inline(always)]
fn tile<D: Dot, const M: usize>(
    rows: &[&[[i8; STEP]]; M],
    weights: &[&[[i8; STEP]]; COLUMNS],
    tails: &[[i8; STEP]; COLUMNS],
) -> Option<[[i32; COLUMNS]; M]> {
    let mut sums = [[D::zero(); COLUMNS]; M];
    let steps = weights[0].len();
    let mut whole: [&[[i8; STEP]]; M] = [&[]; M];
    let mut columns: [&[[i8; STEP]]; COLUMNS] = [&[]; COLUMNS];
    for m in 0..M {
        whole[m] = rows[m].get(..steps)?;
    }
    for n in 0..COLUMNS {
        columns[n] = weights[n].get(..steps)?;
    }
    for step in 0..steps {
        let mut a = [D::load(whole[0].get(step)?); M];
        for m in 1..M {
            a[m] = D::load(whole[m].get(step)?);
        }
        for n in 0..COLUMNS {
            let b = D::load(columns[n].get(step)?);
            for m in 0..M {
                sums[m][n] = D::add(sums[m][n], a[m], b);
            }
        }
    }
    if rows[0].len() > steps {
        for m in 0..M {
            let a = D::load(rows[m].get(steps)?);
            for n in 0..COLUMNS {
                sums[m][n] = D::add(sums[m][n], a, D::load(&tails[n]));
            }
        }
    }
    let mut totals = [[0; COLUMNS]; M];
    for m in 0..M {
        totals[m] = D::totals(sums[m]);
    }
    Some(totals)
}
