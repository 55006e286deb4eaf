//! Records as bytes: a payload with version, number and checksum, and the frame around it.

use super::Record;
use core::fmt;
use crc::{CRC_32_ISO_HDLC, Crc, NoTable};

/// The version of frames and records.
pub const PROTOCOL: u8 = 1;
/// Most bytes of a payload.
pub const MAX_PAYLOAD: usize = 1000;
/// Most bytes of a frame: a zero on each side, and one byte for each 254 of the payload.
pub const MAX_FRAME: usize = 2 + cobs::max_encoding_length(MAX_PAYLOAD);

const CHECKSUM: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC);
const CHECKSUM_BYTES: usize = 4;

/// Why bytes are not a record, or a record has no bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// The bytes between two zeros are no COBS, or too few or too many.
    Framing,
    /// The CRC-32 does not match.
    Checksum,
    /// Of another version.
    Version {
        /// The version in the frame.
        found: u8,
    },
    /// No record of this version, or more than one.
    Record,
    /// A record that needs more than [`MAX_PAYLOAD`].
    TooLong,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Framing => f.write_str("bytes that are no frame"),
            Self::Checksum => f.write_str("a damaged frame"),
            Self::Version { found } => write!(
                f,
                "a frame of version {found}, but this reader knows version {PROTOCOL}: update the older side"
            ),
            Self::Record => f.write_str("a record that this reader does not know"),
            Self::TooLong => write!(f, "a record of more than {MAX_PAYLOAD} bytes"),
        }
    }
}

impl core::error::Error for FrameError {}

/// Writes a record as a payload: version, `sequence`, record, CRC-32.
///
/// # Errors
/// [`FrameError::TooLong`], which no record of this crate is.
pub fn payload<'b>(
    sequence: u32,
    record: &Record<'_>,
    buffer: &'b mut [u8; MAX_PAYLOAD],
) -> Result<&'b [u8], FrameError> {
    let body = postcard::to_slice(&(PROTOCOL, sequence, record), buffer);
    let length = body.map_err(|_| FrameError::TooLong)?.len();
    let (body, rest) = buffer.split_at_mut(length);
    let checksum = rest.first_chunk_mut().ok_or(FrameError::TooLong)?;
    *checksum = CHECKSUM.checksum(body).to_le_bytes();
    buffer
        .get(..length + CHECKSUM_BYTES)
        .ok_or(FrameError::TooLong)
}

/// Writes a record as a frame: a payload in COBS between zeros. Frames are numbered from 0 at every start.
///
/// # Errors
/// As [`payload`].
pub fn frame<'b>(
    sequence: u32,
    record: &Record<'_>,
    buffer: &'b mut [u8; MAX_FRAME],
) -> Result<&'b [u8], FrameError> {
    let mut scratch = [0; MAX_PAYLOAD];
    let payload = payload(sequence, record, &mut scratch)?;
    let (zero, rest) = buffer.split_at_mut(1);
    let length = cobs::try_encode(payload, rest).map_err(|_| FrameError::TooLong)?;
    zero.fill(0);
    *rest.get_mut(length).ok_or(FrameError::TooLong)? = 0;
    buffer.get(..length + 2).ok_or(FrameError::TooLong)
}

/// Reads a payload: its number and its record.
///
/// # Errors
/// Bytes that [`payload`] of this version does not write.
pub fn read_payload(bytes: &[u8]) -> Result<(u32, Record<'_>), FrameError> {
    let (body, checksum) = bytes
        .split_last_chunk::<CHECKSUM_BYTES>()
        .ok_or(FrameError::Framing)?;
    if CHECKSUM.checksum(body).to_le_bytes() != *checksum {
        return Err(FrameError::Checksum);
    }
    match body.split_first().ok_or(FrameError::Framing)? {
        (&PROTOCOL, rest) => match postcard::take_from_bytes(rest) {
            Ok((numbered, [])) => Ok(numbered),
            _ => Err(FrameError::Record),
        },
        (&found, _) => Err(FrameError::Version { found }),
    }
}
