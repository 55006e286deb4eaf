//! Static rANS over single-byte elements (J. Duda, "Asymmetric numeral systems", arXiv 1311.2540).
//!
//! A tensor has one order-0 model, or up to [`MAX_MODELS`], of which each row (an output channel's
//! weights) takes one: rows differ in how large their codes are. A stream is:
//!
//! | part | content |
//! |---|---|
//! | byte 0 | bits 0..4: `scale_bits` (8 to 12); bit 4: two interleaved states instead of one; bits 5..8: number of models - 1 |
//! | models | one after the other, each as below |
//! | rows | only with several models: elements in a row, `u32`, then the model of each row, in as many bits as the number of models - 1 has, most significant bit first, padded to a byte |
//! | restart table | for every chunk but the last: its length in bytes, `u32` |
//! | chunks | each [`CHUNK`] elements (the last: what is left): the states, `u32` each, then `u16` words |
//!
//! A model is:
//!
//! | part | content |
//! |---|---|
//! | byte 0 | order `k` of the Exp-Golomb code, 0 to 7 |
//! | byte 1 | the lowest symbol, as `i8` |
//! | byte 2 | number of symbols - 1: the alphabet is `lowest ..= lowest + number - 1` |
//! | frequencies | one Exp-Golomb code of order `k` a symbol, most significant bit first, padded to a byte; they sum to `2^scale_bits` |
//!
//! Chunks decode independently of each other. Element `i` of a chunk uses state `i % states`:
//!
//! ```text
//! slot = x mod 2^scale_bits; s = symbol whose range holds slot
//! x = frequency[s] * (x >> scale_bits) + slot - start[s]; if x < 2^16: x = x << 16 | next word
//! ```
//!
//! Every state ends at 2^16 and every word is used: a decoder checks both.

#[cfg(feature = "encode")]
mod encode;
#[cfg(feature = "encode")]
mod models;

use crate::FormatError;
use core::ops::Range;
#[cfg(feature = "encode")]
pub use encode::{coded_len, encode};
#[cfg(feature = "encode")]
pub use models::row_models;

/// Elements in a chunk.
pub const CHUNK: usize = 1 << 16;
/// Lower end of the normalized interval of a state, and its value at the end of a chunk.
pub const STATE_END: u32 = 1 << 16;
/// Most bits of frequency resolution.
pub const MAX_SCALE_BITS: u32 = 12;
/// Least bits of frequency resolution.
pub const MIN_SCALE_BITS: u32 = 8;
/// Most models of a tensor.
pub const MAX_MODELS: usize = 8;
/// Greatest order of the code of the frequencies.
const MAX_ORDER: u8 = 7;

/// Elements that are decoded at a time.
const BUFFER: usize = 512;
const SLOTS: usize = 1 << MAX_SCALE_BITS;

/// Decodes a stream into `out`, whose length is the number of elements.
///
/// # Errors
/// [`FormatError::Stream`] if the stream is malformed; `out` then holds garbage.
pub fn decode(stream: &[u8], out: &mut [i8]) -> Result<(), FormatError> {
    let mut rest = &mut *out;
    decode_with(stream, rest.len(), &mut |decoded| {
        if let Some((head, tail)) = core::mem::take(&mut rest).split_at_mut_checked(decoded.len()) {
            head.copy_from_slice(decoded);
            rest = tail;
        }
    })
}

/// Decodes a stream of `elements`, which `sink` gets in order, some at a time.
///
/// # Errors
/// [`FormatError::Stream`] if the stream is malformed; what `sink` got is then garbage.
pub fn decode_with(
    stream: &[u8],
    elements: usize,
    sink: &mut dyn FnMut(&[i8]),
) -> Result<(), FormatError> {
    let mut models = [const { Model::EMPTY }; MAX_MODELS];
    let (decoder, mut payload) = Decoder::new(stream, elements, &mut models)?;
    let chunks = elements.div_ceil(CHUNK);
    let restarts = chunks.saturating_sub(1);
    let table = take(&mut payload, restarts * 4)?;
    let mut lengths = table.chunks_exact(4).map(|bytes| word32(bytes) as usize);
    for index in 0..chunks {
        let length = lengths.next().unwrap_or(payload.len());
        let chunk = index * CHUNK..elements.min((index + 1) * CHUNK);
        decoder.chunk(take(&mut payload, length)?, chunk, sink)?;
    }
    if payload.is_empty() {
        Ok(())
    } else {
        Err(malformed("bytes after the last chunk"))
    }
}

fn malformed(what: &'static str) -> FormatError {
    FormatError::Stream { what }
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], FormatError> {
    let (head, tail) = bytes
        .split_at_checked(length)
        .ok_or(malformed("cut short"))?;
    *bytes = tail;
    Ok(head)
}

fn word32(bytes: &[u8]) -> u32 {
    bytes
        .first_chunk()
        .map_or(0, |chunk| u32::from_le_bytes(*chunk))
}

/// Bits that name one of `models`.
fn choice_bits(models: usize) -> u32 {
    usize::BITS - (models - 1).leading_zeros()
}

/// What is read before the first chunk.
struct Decoder<'a> {
    scale_bits: u32,
    two_states: bool,
    models: &'a [Model],
    rows: Rows<'a>,
}

/// Which model each row takes.
struct Rows<'a> {
    /// Elements in a row.
    len: usize,
    choices: &'a [u8],
}

impl<'a> Decoder<'a> {
    /// Reads what stands before the restart table; also returns what follows it.
    fn new(
        mut stream: &'a [u8],
        elements: usize,
        models: &'a mut [Model; MAX_MODELS],
    ) -> Result<(Self, &'a [u8]), FormatError> {
        let &[flags] = take(&mut stream, 1)? else {
            return Err(malformed("cut short"));
        };
        let scale_bits = u32::from(flags & 15);
        if !(MIN_SCALE_BITS..=MAX_SCALE_BITS).contains(&scale_bits) {
            return Err(malformed("frequency resolution"));
        }
        let number = usize::from(flags >> 5) + 1;
        let models = models.get_mut(..number).unwrap_or_default();
        for model in models.iter_mut() {
            model.read(&mut stream, scale_bits)?;
        }
        let rows = match number {
            1 => Rows {
                len: usize::MAX,
                choices: &[],
            },
            _ => Rows::read(&mut stream, elements, number)?,
        };
        let decoder = Self {
            scale_bits,
            two_states: flags & 16 != 0,
            models,
            rows,
        };
        Ok((decoder, stream))
    }

    /// Decodes the chunk of the elements with these indices.
    fn chunk(
        &self,
        mut bytes: &[u8],
        elements: Range<usize>,
        sink: &mut dyn FnMut(&[i8]),
    ) -> Result<(), FormatError> {
        let mut states = [word32(take(&mut bytes, 4)?), STATE_END];
        if self.two_states {
            states[1] = word32(take(&mut bytes, 4)?);
        }
        let mut words = Words {
            bytes,
            cut_short: false,
        };
        let mut buffer = [0; BUFFER];
        let mut at = elements.start;
        while at < elements.end {
            let (row, before) = (at / self.rows.len, at % self.rows.len);
            let model = self.model(row)?;
            let end = elements.end.min(at.saturating_add(self.rows.len - before));
            while at < end {
                let out = buffer.get_mut(..BUFFER.min(end - at)).unwrap_or_default();
                if self.two_states {
                    model.interleaved(&mut states, self.scale_bits, &mut words, out);
                } else {
                    for element in &mut *out {
                        *element = model.step(&mut states[0], self.scale_bits, &mut words);
                    }
                }
                sink(out);
                at += out.len();
            }
        }
        if words.cut_short {
            Err(malformed("cut short"))
        } else if states == [STATE_END; 2] && words.bytes.is_empty() {
            Ok(())
        } else {
            Err(malformed("wrong state at the end of a chunk"))
        }
    }

    fn model(&self, row: usize) -> Result<&Model, FormatError> {
        let choice = match self.models.len() {
            1 => 0,
            number => self.rows.choice(row, choice_bits(number))?,
        };
        self.models
            .get(choice)
            .ok_or(malformed("a row's model does not exist"))
    }
}

impl<'a> Rows<'a> {
    fn read(stream: &mut &'a [u8], elements: usize, models: usize) -> Result<Self, FormatError> {
        let len = word32(take(stream, 4)?) as usize;
        if len == 0 {
            return Err(malformed("rows without elements"));
        }
        let bits = elements.div_ceil(len) as u64 * u64::from(choice_bits(models));
        let bytes = usize::try_from(bits.div_ceil(8)).map_err(|_| malformed("cut short"))?;
        let choices = take(stream, bytes)?;
        Ok(Self { len, choices })
    }

    fn choice(&self, row: usize, bits: u32) -> Result<usize, FormatError> {
        let mut reader = BitReader {
            bytes: self.choices,
            at: row * bits as usize,
        };
        Ok(reader.bits(bits)? as usize)
    }
}

/// A model, expanded for decoding.
struct Model {
    /// Element of each slot.
    elements: [u8; SLOTS],
    /// For each element, its frequency and, in the upper half, its first slot.
    ranges: [u32; 256],
}

impl Model {
    const EMPTY: Self = Self {
        elements: [0; SLOTS],
        ranges: [0; 256],
    };

    fn read(&mut self, stream: &mut &[u8], scale_bits: u32) -> Result<(), FormatError> {
        let &[order, lowest, last] = take(stream, 3)? else {
            return Err(malformed("cut short"));
        };
        if order > MAX_ORDER {
            return Err(malformed("order of the frequencies' code"));
        }
        let mut bits = BitReader {
            bytes: stream,
            at: 0,
        };
        let mut start = 0usize;
        for symbol in 0..=last {
            let element = lowest.wrapping_add(symbol);
            let frequency = bits.exp_golomb(u32::from(order))? as usize;
            let slots = self
                .elements
                .get_mut(start..start + frequency)
                .ok_or(malformed("frequencies"))?;
            slots.fill(element);
            if let Some(range) = self.ranges.get_mut(usize::from(element)) {
                *range = frequency as u32 | (start as u32) << 16;
            }
            start += frequency;
        }
        let used = bits.at.div_ceil(8);
        if start != 1 << scale_bits {
            return Err(malformed("frequencies"));
        }
        take(stream, used).map(|_| ())
    }

    /// Decodes elements that use the two states in turn, and leaves the states so that the first
    /// is that of the next element.
    #[inline(always)]
    fn interleaved(
        &self,
        states: &mut [u32; 2],
        scale_bits: u32,
        words: &mut Words<'_>,
        out: &mut [i8],
    ) {
        let [mut even, mut odd] = *states;
        let mut pairs = out.chunks_exact_mut(2);
        for pair in &mut pairs {
            if let [first, second] = pair {
                *first = self.step(&mut even, scale_bits, words);
                *second = self.step(&mut odd, scale_bits, words);
            }
        }
        *states = [even, odd];
        if let [last] = pairs.into_remainder() {
            *last = self.step(&mut even, scale_bits, words);
            *states = [odd, even];
        }
    }

    #[inline(always)]
    #[expect(
        clippy::indexing_slicing,
        reason = "a slot is below SLOTS, an element below 256: the compiler drops the checks"
    )]
    fn step(&self, state: &mut u32, scale_bits: u32, words: &mut Words<'_>) -> i8 {
        let slot = *state & ((1 << scale_bits) - 1);
        let element = self.elements[slot as usize % SLOTS];
        let range = self.ranges[usize::from(element)];
        // Cannot overflow: frequency <= 2^scale_bits, so the product is at most the old state.
        let mut x = (range & 0xffff)
            .wrapping_mul(*state >> scale_bits)
            .wrapping_add(slot)
            .wrapping_sub(range >> 16);
        if x < STATE_END {
            x = x << 16 | words.next();
        }
        *state = x;
        element as i8
    }
}

/// The words of a chunk. Beyond the last there are zeros, so that the inner loop has no way out.
struct Words<'a> {
    bytes: &'a [u8],
    cut_short: bool,
}

impl Words<'_> {
    #[inline(always)]
    fn next(&mut self) -> u32 {
        match self.bytes.split_first_chunk::<2>() {
            Some((word, rest)) => {
                self.bytes = rest;
                u32::from(u16::from_le_bytes(*word))
            }
            None => {
                self.cut_short = true;
                0
            }
        }
    }
}

struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl BitReader<'_> {
    fn bit(&mut self) -> Result<u32, FormatError> {
        let byte = self.bytes.get(self.at / 8).ok_or(malformed("cut short"))?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Ok(u32::from(bit))
    }

    fn bits(&mut self, width: u32) -> Result<u32, FormatError> {
        (0..width).try_fold(0, |value, _| Ok(value << 1 | self.bit()?))
    }

    /// Exp-Golomb of order `k`, values up to 2^[`MAX_SCALE_BITS`].
    fn exp_golomb(&mut self, k: u32) -> Result<u32, FormatError> {
        let mut width = k;
        while self.bit()? == 0 {
            width += 1;
            if width > MAX_SCALE_BITS + 1 {
                return Err(malformed("frequencies"));
            }
        }
        Ok((1 << width | self.bits(width)?) - (1 << k))
    }
}

#[cfg(all(test, feature = "encode"))]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    /// Random numbers below 2^31 from a linear congruential generator.
    fn noise() -> impl FnMut() -> u32 {
        let mut state = 1u64;
        move || {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 33) as u32
        }
    }

    /// Elements with a two-sided geometric distribution.
    fn elements(n: usize, zero_bits: u32) -> Vec<i8> {
        let mut next = noise();
        (0..n)
            .map(|_| {
                let magnitude = (next() >> 3).leading_zeros().saturating_sub(zero_bits) as i8;
                if next() & 1 == 0 {
                    magnitude
                } else {
                    -magnitude
                }
            })
            .collect()
    }

    /// Elements in rows whose magnitudes are below 2, 8, 32 and 128 in turn.
    fn uneven(n: usize, row: usize) -> Vec<i8> {
        let mut next = noise();
        (0..n)
            .map(|i| {
                let below = 2 << (2 * (i / row % 4));
                (next() % (2 * below)) as i8 - (below - 1) as i8
            })
            .collect()
    }

    fn models(stream: &[u8]) -> usize {
        usize::from(stream[0] >> 5) + 1
    }

    fn decoded(stream: &[u8], n: usize) -> Result<Vec<i8>, FormatError> {
        let mut out = vec![0; n];
        decode(stream, &mut out).map(|()| out)
    }

    const LENGTHS: [usize; 10] = [
        1,
        2,
        3,
        17,
        8191,
        8192,
        CHUNK - 1,
        CHUNK,
        CHUNK + 1,
        3 * CHUNK + 5,
    ];

    #[test]
    fn decoding_inverts_encoding_at_every_length_around_a_chunk() {
        for n in LENGTHS {
            for zero_bits in [3, 4, 6] {
                let elements = elements(n, zero_bits);
                let stream = encode(&elements, n);
                assert_eq!(decoded(&stream, n).unwrap(), elements, "{n} elements");
            }
        }
    }

    #[test]
    fn decoding_inverts_encoding_for_rows_of_every_kind() {
        for n in LENGTHS {
            for row in [16, 31, 576, 8191, 70_000] {
                let elements = uneven(n, row);
                let stream = encode(&elements, row);
                assert_eq!(
                    decoded(&stream, n).unwrap(),
                    elements,
                    "{n} in rows of {row}"
                );
            }
        }
    }

    #[test]
    fn rows_that_differ_take_models_of_their_own() {
        let elements = uneven(40_000, 100);
        let by_row = encode(&elements, 100);
        let one_model = encode(&elements, elements.len());
        assert_eq!((models(&by_row), models(&one_model)), (4, 1));
        assert!(10 * by_row.len() < 9 * one_model.len());
        let choices = row_models(&elements, 100);
        assert_eq!(choices.len(), 400);
        assert!(choices.iter().zip(&choices[4..]).all(|(a, b)| a == b));
    }

    #[test]
    fn rows_that_are_alike_share_a_model() {
        let elements = elements(40_000, 3);
        assert_eq!(models(&encode(&elements, 100)), 1);
        assert!(row_models(&elements, 100).is_empty());
    }

    #[test]
    fn every_symbol_survives() {
        let elements: Vec<i8> = (0..2000).map(|i| (i * 7 % 256 - 128) as i8).collect();
        for row in [1, 50, 2000] {
            assert_eq!(decoded(&encode(&elements, row), 2000).unwrap(), elements);
        }
    }

    #[test]
    fn the_predicted_length_is_within_a_few_bytes() {
        for (n, zero_bits) in [(1, 3), (300, 3), (5000, 4), (100_000, 3), (200_000, 5)] {
            for elements in [elements(n, zero_bits), uneven(n, 200)] {
                let stream = encode(&elements, 200).len();
                assert!(coded_len(&elements, 200).abs_diff(stream) <= 8 + stream / 2000);
            }
        }
    }

    #[test]
    fn a_stream_is_close_to_its_entropy() {
        let elements = elements(CHUNK, 3);
        let mut counts = [0f64; 256];
        for &e in &elements {
            counts[(i16::from(e) + 128) as usize] += 1.0;
        }
        let n = elements.len() as f64;
        let entropy: f64 = counts
            .iter()
            .filter(|&&c| c > 0.0)
            .map(|c| c * (n / c).log2())
            .sum();
        assert!((encode(&elements, 256).len() as f64) < entropy / 8.0 * 1.005 + 32.0);
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_refused_or_decodes_without_panic() {
        for (elements, row) in [(elements(700, 3), 700), (uneven(1600, 40), 40)] {
            let stream = encode(&elements, row);
            for cut in 0..stream.len() {
                assert!(
                    decoded(&stream[..cut], elements.len()).is_err(),
                    "cut at {cut}"
                );
            }
            for bit in 0..stream.len() * 8 {
                let mut broken = stream.clone();
                broken[bit / 8] ^= 1 << (bit % 8);
                let _ = decoded(&broken, elements.len());
            }
        }
    }

    #[test]
    fn a_model_that_is_not_there_and_rows_without_elements_are_refused() {
        let elements: Vec<i8> = uneven(2000, 50);
        let stream = encode(&elements, 50);
        let mut three = stream.clone();
        assert_eq!(models(&three), 4);
        // the fourth model becomes the row length and the choices that follow it
        three[0] -= 1 << 5;
        assert!(decoded(&three, 2000).is_err());
        let at = stream.windows(4).position(|word| word == [50, 0, 0, 0]);
        let mut endless = stream.clone();
        endless[at.unwrap()] = 0;
        let what = "rows without elements";
        assert_eq!(decoded(&endless, 2000), Err(FormatError::Stream { what }));
    }
}
