//! Reads frames from a stream of bytes, whatever else is in it.

use super::Record;
use super::frame::{FrameError, MAX_FRAME, read_payload};
use core::mem;

/// Finds frames among bytes that come one by one. After damage it goes on with the next frame.
#[derive(Clone, Debug)]
pub struct Decoder {
    /// Bytes since the last zero.
    bytes: [u8; MAX_FRAME],
    length: usize,
    /// The number that the next record should have; none before the first of a stream that was joined.
    next: Option<u32>,
    tally: Tally,
}

/// What a decoder has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records read.
    pub records: u64,
    /// Records that were sent and not read, by the numbers of those that were.
    pub lost: u64,
    /// Pieces that are neither frame nor text.
    pub corrupt: u64,
}

/// What a decoder finds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is no allocator to box with"
)]
pub enum Event<'a> {
    /// A record.
    Record {
        /// Its number.
        sequence: u32,
        /// Records missing before it.
        lost: u32,
        /// The record.
        record: Record<'a>,
    },
    /// Text between frames, such as a boot loader's. A long one comes in pieces.
    Text(&'a str),
    /// Bytes that are neither.
    Corrupt(FrameError),
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub const fn new() -> Self {
        Self {
            bytes: [0; MAX_FRAME],
            length: 0,
            next: Some(0),
            tally: Tally {
                records: 0,
                lost: 0,
                corrupt: 0,
            },
        }
    }

    /// A decoder that joins a stream: what was sent before its first record is not lost.
    pub const fn joining() -> Self {
        let mut decoder = Self::new();
        decoder.next = None;
        decoder
    }

    /// What was seen so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Takes the next byte of the stream; returns what it completes.
    pub fn push(&mut self, byte: u8) -> Option<Event<'_>> {
        if byte == 0 {
            return self.finish();
        }
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
        // longer than any frame: a piece of something else
        (self.length == MAX_FRAME).then(|| self.finish()).flatten()
    }

    /// Ends a piece of the stream: returns what the bytes since the last zero are, if there are any.
    pub fn finish(&mut self) -> Option<Event<'_>> {
        let length = mem::take(&mut self.length);
        let bytes = self.bytes.get_mut(..length).filter(|b| !b.is_empty())?;
        if is_text(bytes) {
            return core::str::from_utf8(bytes).ok().map(Event::Text);
        }
        match read(bytes) {
            Ok((sequence, record)) => {
                let lost = self.next.map_or(0, |next| missing(next, sequence));
                self.next = Some(sequence.wrapping_add(1));
                self.tally.records += 1;
                self.tally.lost += u64::from(lost);
                Some(Event::Record {
                    sequence,
                    lost,
                    record,
                })
            }
            Err(error) => {
                self.tally.corrupt += 1;
                Some(Event::Corrupt(error))
            }
        }
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

/// A frame without its zeros.
fn read(bytes: &mut [u8]) -> Result<(u32, Record<'_>), FrameError> {
    let length = cobs::decode_in_place(bytes).map_err(|_| FrameError::Framing)?;
    read_payload(bytes.get(..length).ok_or(FrameError::Framing)?)
}

/// Records between the number that should come and the one that came. A lower number is that of a device
/// which has started again, and counts from 0.
fn missing(next: u32, came: u32) -> u32 {
    match came.wrapping_sub(next) {
        ahead if ahead <= u32::MAX / 2 => ahead,
        _ => came,
    }
}

/// A frame is no text: its version is a control character.
fn is_text(bytes: &[u8]) -> bool {
    let plain = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t' | '\x1b');
    core::str::from_utf8(bytes).is_ok_and(|text| text.chars().all(plain))
}
