//! Memory for a session, aligned.

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
    /// `len` bytes of zeros.
    pub fn new(len: usize) -> Self {
        let alignment = edgeprune_format::ALIGNMENT;
        let bytes = std::vec![0; len + alignment].into_boxed_slice();
        let start = bytes.as_ptr().align_offset(alignment).min(alignment);
        Self { bytes, start, len }
    }

    /// The bytes.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let (start, len) = (self.start, self.len);
        self.bytes.get_mut(start..start + len).unwrap_or_default()
    }
}
