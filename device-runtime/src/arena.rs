//! Memory for a session, aligned.

#[cfg(feature = "std")]
use core::alloc::Layout;

/// Aligned memory of a size known when the program is built, for a `static` or the stack.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub struct Aligned<const N: usize>(pub [u8; N]);

impl<const N: usize> Aligned<N> {
    /// Memory of zeros.
    pub const fn new() -> Self {
        Self([0; N])
    }
}

impl<const N: usize> Default for Aligned<N> {
    fn default() -> Self {
        Self::new()
    }
}

/// Aligned memory on the heap.
#[cfg(feature = "std")]
#[derive(Debug)]
pub struct Arena {
    bytes: std::boxed::Box<[u8]>,
    start: usize,
    len: usize,
}

#[cfg(feature = "std")]
impl Arena {
    /// `len` bytes of zeros. Ends the process where the system does not give them: see [`Arena::try_new`].
    pub fn new(len: usize) -> Self {
        match Self::try_new(len) {
            Some(arena) => arena,
            None => {
                std::alloc::handle_alloc_error(Self::layout(len).unwrap_or(Layout::new::<u8>()))
            }
        }
    }

    /// `len` bytes of zeros; `None` where the system does not give them.
    pub fn try_new(len: usize) -> Option<Self> {
        let alignment = edgeprune_format::ALIGNMENT;
        let layout = Self::layout(len)?;
        // zeroed by the system: pages that are never written take no memory
        #[expect(
            unsafe_code,
            reason = "a vector of zeros ends the process where it fails"
        )]
        // SAFETY: the layout has at least `ALIGNMENT` bytes. The allocator is that of boxes, and the box gets the layout
        // that was allocated: `layout.size()` bytes, initialized, without alignment.
        let bytes = unsafe {
            let start = std::alloc::alloc_zeroed(layout);
            if start.is_null() {
                return None;
            }
            let bytes = core::ptr::slice_from_raw_parts_mut(start, layout.size());
            std::boxed::Box::from_raw(bytes)
        };
        let start = bytes.as_ptr().align_offset(alignment).min(alignment);
        Some(Self { bytes, start, len })
    }

    /// Of `len` bytes that can be aligned by leaving some out.
    fn layout(len: usize) -> Option<Layout> {
        Layout::array::<u8>(len.checked_add(edgeprune_format::ALIGNMENT)?).ok()
    }

    /// The bytes.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let (start, len) = (self.start, self.len);
        self.bytes.get_mut(start..start + len).unwrap_or_default()
    }

    /// The bytes, to read.
    pub fn bytes(&self) -> &[u8] {
        let (start, len) = (self.start, self.len);
        self.bytes.get(start..start + len).unwrap_or_default()
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;

    #[test]
    fn an_arena_is_aligned_and_zero() {
        let mut arena = Arena::new(1000);
        assert_eq!(arena.bytes_mut(), [0; 1000]);
        assert_eq!(
            arena
                .bytes()
                .as_ptr()
                .align_offset(edgeprune_format::ALIGNMENT),
            0
        );
        assert!(Arena::new(0).bytes().is_empty());
    }

    #[test]
    fn memory_that_the_system_does_not_have_is_no_panic() {
        for len in [
            usize::MAX,
            isize::MAX as usize - 64,
            isize::MAX as usize / 2,
        ] {
            assert!(Arena::try_new(len).is_none(), "{len}");
        }
    }
}
