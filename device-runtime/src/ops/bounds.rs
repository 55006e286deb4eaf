//! What the standard library does with a panic, done without: `None` where lengths do not fit.
//! Preparation has ruled every `None` out; this way the compiler need not take its word for it.

use core::slice::{ChunksExact, ChunksExactMut};

/// Elements that [`copy_over`] and [`fill_over`] write at once.
const OVER: usize = 32;

/// Chunks of `len` elements.
#[inline(always)]
pub(crate) fn chunks<T>(slice: &[T], len: usize) -> Option<ChunksExact<'_, T>> {
    if len == 0 {
        return None;
    }
    Some(slice.chunks_exact(len))
}

/// Chunks of `len` elements, to write.
#[inline(always)]
pub(crate) fn chunks_mut<T>(slice: &mut [T], len: usize) -> Option<ChunksExactMut<'_, T>> {
    if len == 0 {
        return None;
    }
    Some(slice.chunks_exact_mut(len))
}

/// Copies elements between slices of one length.
#[inline(always)]
pub(crate) fn copy<T: Copy>(to: &mut [T], from: &[T]) -> Option<()> {
    if to.len() != from.len() {
        return None;
    }
    to.copy_from_slice(from);
    Some(())
}

/// Copies `len` elements, and up to [`OVER`] where both slices have them: a short copy of fixed length
/// needs no call.
#[inline(always)]
pub(crate) fn copy_over<T: Copy>(to: &mut [T], from: &[T], len: usize) -> Option<()> {
    match (to.first_chunk_mut::<OVER>(), from.first_chunk::<OVER>()) {
        (Some(to), Some(from)) if len <= OVER => {
            *to = *from;
            Some(())
        }
        _ => copy(to.get_mut(..len)?, from.get(..len)?),
    }
}

/// Fills `len` elements, and up to [`OVER`] where the slice has them.
#[inline(always)]
pub(crate) fn fill_over<T: Copy>(to: &mut [T], value: T, len: usize) -> Option<()> {
    match to.first_chunk_mut::<OVER>() {
        Some(to) if len <= OVER => *to = [value; OVER],
        _ => to.get_mut(..len)?.fill(value),
    }
    Some(())
}

/// Row and column of a position.
#[inline(always)]
pub(crate) fn row_and_column(position: usize, width: usize) -> Option<(usize, usize)> {
    Some((position.checked_div(width)?, position.checked_rem(width)?))
}
