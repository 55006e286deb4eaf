//! Samples and answers as bytes. `targets/README.md`, section "In a product", specifies them.

use std::io::{self, BufRead, ErrorKind, Read as _};

/// Most bytes of a record: a longer one is taken for garbage.
const MOST_BYTES: u32 = 1 << 24;
/// Bytes of an answer between its length and the outputs.
const HEAD_BYTES: usize = 16;
/// Stands for the class where nothing was computed.
const NO_CLASS: u32 = u32::MAX;

/// What a client sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    Sample(Vec<u8>),
    WrongLength,
}

/// What became of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Computed = 0,
    Dropped = 1,
    Refused = 2,
}

/// The next record, which is a sample if it has `expected` bytes; nothing at the end.
///
/// # Errors
/// A record that is cut, or longer than any; nothing that follows can be understood.
pub(super) fn receive(input: &mut impl BufRead, expected: usize) -> io::Result<Option<Received>> {
    let Some(length) = length(input)? else {
        return Ok(None);
    };
    if length as usize == expected {
        let mut bytes = vec![0; expected];
        input.read_exact(&mut bytes)?;
        return Ok(Some(Received::Sample(bytes)));
    }
    if length > MOST_BYTES {
        return Err(ErrorKind::InvalidData.into());
    }
    let skipped = io::copy(&mut input.by_ref().take(length.into()), &mut io::sink())?;
    match skipped == u64::from(length) {
        true => Ok(Some(Received::WrongLength)),
        false => Err(ErrorKind::UnexpectedEof.into()),
    }
}

fn length(input: &mut impl BufRead) -> io::Result<Option<u32>> {
    // a connection that fails between records is at its end
    if !input.fill_buf().is_ok_and(|bytes| !bytes.is_empty()) {
        return Ok(None);
    }
    let mut bytes = [0; 4];
    input.read_exact(&mut bytes)?;
    Ok(Some(u32::from_le_bytes(bytes)))
}

/// An answer without outputs.
pub(super) fn refusal(number: u64, status: Status) -> Vec<u8> {
    answer(number, status, NO_CLASS, &[])
}

/// An answer: length, number of the sample, status, class, bytes of all outputs.
pub(super) fn answer(number: u64, status: Status, class: u32, outputs: &[u8]) -> Vec<u8> {
    let length = (HEAD_BYTES + outputs.len()) as u32;
    [
        &length.to_le_bytes()[..],
        &number.to_le_bytes(),
        &(status as u32).to_le_bytes(),
        &class.to_le_bytes(),
        outputs,
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A length and that many bytes.
    fn record(length: u32, bytes: &[u8]) -> Vec<u8> {
        [&length.to_le_bytes(), bytes].concat()
    }

    #[test]
    fn a_record_is_a_length_and_that_many_bytes() -> io::Result<()> {
        let stream = [record(3, &[7; 3]), record(0, &[]), record(3, &[9; 3])].concat();
        let mut input = stream.as_slice();
        for expected in [
            Some(Received::Sample(vec![7; 3])),
            Some(Received::WrongLength),
            Some(Received::Sample(vec![9; 3])),
            None,
        ] {
            assert_eq!(receive(&mut input, 3)?, expected);
        }
        Ok(())
    }

    #[test]
    fn every_truncation_and_an_impossible_length_are_errors() {
        for whole in [record(3, &[7; 3]), record(5, &[7; 5])] {
            for length in 1..whole.len() {
                assert!(receive(&mut &whole[..length], 3).is_err(), "{length}");
            }
        }
        assert!(receive(&mut record(u32::MAX, &[]).as_slice(), 3).is_err());
    }

    #[test]
    fn the_bytes_of_an_answer_never_change() {
        let bytes = refusal(258, Status::Refused);
        let expected = [
            16, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 255, 255, 255, 255,
        ];
        assert_eq!(bytes, expected);
        let bytes = answer(0, Status::Computed, 1, &[5, 6]);
        assert_eq!(bytes[..4], [18, 0, 0, 0]);
        assert_eq!(bytes[12..], [0, 0, 0, 0, 1, 0, 0, 0, 5, 6]);
    }
}
