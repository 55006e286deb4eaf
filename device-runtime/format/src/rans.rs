//! Static rANS over single-byte elements.

use crate::FormatError;

/// Decodes a stream into `out`, whose length is the number of elements.
///
/// # Errors
/// [`FormatError::Stream`] if the stream is malformed; `out` then holds garbage.
pub fn decode(_stream: &[u8], _out: &mut [i8]) -> Result<(), FormatError> {
    Err(FormatError::Stream { what: "stub" })
}
