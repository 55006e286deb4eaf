//! Static rANS over single-byte elements (J. Duda, "Asymmetric numeral systems", arXiv 1311.2540).
//!
//! One order-0 model per tensor. A stream is:
//!
//! | part | content |
//! |---|---|
//! | byte 0 | bits 0..4: `scale_bits` (8 to 12); bit 4: two interleaved states instead of one; bits 5..8: order `k` of the Exp-Golomb code |
//! | byte 1 | the lowest symbol, as `i8` |
//! | byte 2 | number of symbols - 1: the alphabet is `lowest ..= lowest + number - 1` |
//! | frequencies | one Exp-Golomb code of order `k` a symbol, most significant bit first, padded to a byte; they sum to `2^scale_bits` |
//! | restart table | for every chunk but the last: its length in bytes, `u32` |
//! | chunks | each [`CHUNK`] elements (the last: what is left): the states, `u32` each, then `u16` words |
//!
//! Chunks decode independently of each other. Element `i` of a chunk uses state `i % states`:
//!
//! ```text
//! slot = x mod 2^scale_bits; s = symbol whose range holds slot
//! x = frequency[s] * (x >> scale_bits) + slot - start[s]; if x < 2^16: x = x << 16 | next word
//! ```
//!
//! Every state ends at 2^16 and every word is used: a decoder checks both.

use crate::FormatError;

/// Elements in a chunk.
pub const CHUNK: usize = 1 << 16;
/// Lower end of the normalized interval of a state, and its value at the end of a chunk.
pub const STATE_END: u32 = 1 << 16;
/// Most bits of frequency resolution.
pub const MAX_SCALE_BITS: u32 = 12;
/// Least bits of frequency resolution.
pub const MIN_SCALE_BITS: u32 = 8;

const SLOTS: usize = 1 << MAX_SCALE_BITS;

/// Decodes a stream into `out`, whose length is the number of elements.
///
/// # Errors
/// [`FormatError::Stream`] if the stream is malformed; `out` then holds garbage.
pub fn decode(stream: &[u8], out: &mut [i8]) -> Result<(), FormatError> {
    let (decoder, mut payload) = Decoder::new(stream)?;
    let restarts = out.len().div_ceil(CHUNK).saturating_sub(1);
    let table = take(&mut payload, restarts * 4)?;
    let mut lengths = table.chunks_exact(4).map(|bytes| word32(bytes) as usize);
    for chunk in out.chunks_mut(CHUNK) {
        let length = lengths.next().unwrap_or(payload.len());
        decoder.chunk(take(&mut payload, length)?, chunk)?;
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

/// The model of one tensor, expanded for decoding.
struct Decoder {
    scale_bits: u32,
    two_states: bool,
    lowest: u8,
    /// Symbol of each slot.
    symbols: [u8; SLOTS],
    /// Frequency and first slot of each symbol.
    ranges: [(u16, u16); 256],
}

impl Decoder {
    /// Reads the model; also returns what follows it.
    fn new(stream: &[u8]) -> Result<(Self, &[u8]), FormatError> {
        let &[flags, lowest, last, ref rest @ ..] = stream else {
            return Err(malformed("cut short"));
        };
        let scale_bits = u32::from(flags & 15);
        if !(MIN_SCALE_BITS..=MAX_SCALE_BITS).contains(&scale_bits) {
            return Err(malformed("frequency resolution"));
        }
        let mut decoder = Self {
            scale_bits,
            two_states: flags & 16 != 0,
            lowest,
            symbols: [0; SLOTS],
            ranges: [(0, 0); 256],
        };
        let used = decoder.read_frequencies(rest, u32::from(flags >> 5), last)?;
        Ok((decoder, rest.get(used..).unwrap_or_default()))
    }

    fn read_frequencies(&mut self, bytes: &[u8], k: u32, last: u8) -> Result<usize, FormatError> {
        let mut bits = BitReader { bytes, at: 0 };
        let mut start = 0usize;
        for (symbol, range) in (0..=last).zip(self.ranges.iter_mut()) {
            let frequency = bits.exp_golomb(k)? as usize;
            let slots = self
                .symbols
                .get_mut(start..start + frequency)
                .ok_or(malformed("frequencies"))?;
            slots.fill(symbol);
            *range = (frequency as u16, start as u16);
            start += frequency;
        }
        if start == 1 << self.scale_bits {
            Ok(bits.at.div_ceil(8))
        } else {
            Err(malformed("frequencies"))
        }
    }

    fn chunk(&self, mut bytes: &[u8], out: &mut [i8]) -> Result<(), FormatError> {
        let mut even = word32(take(&mut bytes, 4)?);
        let mut odd = STATE_END;
        if self.two_states {
            odd = word32(take(&mut bytes, 4)?);
            for pair in out.chunks_mut(2) {
                let mut pair = pair.iter_mut();
                if let Some(element) = pair.next() {
                    *element = self.step(&mut even, &mut bytes)?;
                }
                if let Some(element) = pair.next() {
                    *element = self.step(&mut odd, &mut bytes)?;
                }
            }
        } else {
            for element in out {
                *element = self.step(&mut even, &mut bytes)?;
            }
        }
        if even == STATE_END && odd == STATE_END && bytes.is_empty() {
            Ok(())
        } else {
            Err(malformed("wrong state at the end of a chunk"))
        }
    }

    #[inline(always)]
    #[expect(
        clippy::indexing_slicing,
        reason = "a slot is below SLOTS, a symbol below 256: the compiler drops the checks"
    )]
    fn step(&self, state: &mut u32, words: &mut &[u8]) -> Result<i8, FormatError> {
        let slot = *state & ((1 << self.scale_bits) - 1);
        let symbol = self.symbols[slot as usize % SLOTS];
        let (frequency, start) = self.ranges[usize::from(symbol)];
        // Cannot overflow: frequency <= 2^scale_bits, so the product is at most the old state.
        let mut x = u32::from(frequency)
            .wrapping_mul(*state >> self.scale_bits)
            .wrapping_add(slot)
            .wrapping_sub(u32::from(start));
        if x < STATE_END {
            let (word, rest) = words
                .split_first_chunk::<2>()
                .ok_or(malformed("cut short"))?;
            *words = rest;
            x = x << 16 | u32::from(u16::from_le_bytes(*word));
        }
        *state = x;
        Ok(self.lowest.wrapping_add(symbol) as i8)
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

    /// Exp-Golomb of order `k`, values up to 2^[`MAX_SCALE_BITS`].
    fn exp_golomb(&mut self, k: u32) -> Result<u32, FormatError> {
        let mut width = k;
        while self.bit()? == 0 {
            width += 1;
            if width > MAX_SCALE_BITS + 1 {
                return Err(malformed("frequencies"));
            }
        }
        let mut value = 1;
        for _ in 0..width {
            value = value << 1 | self.bit()?;
        }
        Ok(value - (1 << k))
    }
}

#[cfg(feature = "encode")]
pub use encoder::{coded_len, encode};

#[cfg(feature = "encode")]
mod encoder {
    use super::{CHUNK, MAX_SCALE_BITS, MIN_SCALE_BITS, STATE_END};
    use alloc::vec;
    use alloc::vec::Vec;
    extern crate std;

    /// Elements from which a second state, which decodes faster, is worth its four bytes.
    const TWO_STATES_FROM: usize = 8192;
    /// Mean number of bits that the states leave unused at the end of a chunk.
    const STATE_BITS: f64 = 24.0;

    /// Encodes elements; [`super::decode`] inverts it. Same elements, same bytes.
    pub fn encode(elements: &[i8]) -> Vec<u8> {
        let Some(model) = Model::best(&histogram(elements)) else {
            return Vec::new();
        };
        let two_states = elements.len() >= TWO_STATES_FROM;
        let mut stream = vec![
            model.scale_bits as u8 | u8::from(two_states) << 4 | (model.k as u8) << 5,
            model.lowest as u8,
            (model.frequencies.len() - 1) as u8,
        ];
        model.write_frequencies(&mut stream);
        let chunks: Vec<_> = elements
            .chunks(CHUNK)
            .map(|chunk| model.chunk(chunk, two_states))
            .collect();
        for chunk in chunks.iter().rev().skip(1).rev() {
            stream.extend((chunk.len() as u32).to_le_bytes());
        }
        stream.extend(chunks.iter().flatten());
        stream
    }

    /// Bytes that [`encode`] gives for elements with this histogram (`counts[i]` counts
    /// `i - 128`), within a few bytes, without encoding.
    pub fn coded_len(counts: &[u32; 256]) -> usize {
        let elements: usize = counts.iter().map(|&c| c as usize).sum();
        let chunks = elements.div_ceil(CHUNK);
        let states = if elements >= TWO_STATES_FROM {
            2.0
        } else {
            1.0
        };
        Model::best(counts).map_or(0, |model| {
            let bits = model.cost + chunks as f64 * (STATE_BITS * states + 32.0) - 32.0;
            3 + std::primitive::f64::ceil(bits / 8.0) as usize
        })
    }

    fn histogram(elements: &[i8]) -> [u32; 256] {
        let mut counts = [0; 256];
        for &element in elements {
            if let Some(count) = counts.get_mut((i16::from(element) + 128) as usize) {
                *count += 1;
            }
        }
        counts
    }

    struct Model {
        scale_bits: u32,
        k: u32,
        lowest: i8,
        frequencies: Vec<u32>,
        starts: Vec<u32>,
        /// Bits of the frequency table and of the elements.
        cost: f64,
    }

    impl Model {
        /// The cheapest model, `None` where there is nothing to encode.
        fn best(counts: &[u32; 256]) -> Option<Self> {
            let first = counts.iter().position(|&c| c > 0)?;
            let last = counts.iter().rposition(|&c| c > 0)?;
            let counts = counts.get(first..=last)?;
            let lowest = (first as i16 - 128) as i8;
            (MIN_SCALE_BITS..=MAX_SCALE_BITS)
                .filter(|bits| counts.iter().filter(|&&c| c > 0).count() <= 1 << bits)
                .map(|bits| Self::at(counts, lowest, bits))
                .min_by(|a, b| a.cost.total_cmp(&b.cost))
        }

        fn at(counts: &[u32], lowest: i8, scale_bits: u32) -> Self {
            let frequencies = normalize(counts, 1 << scale_bits);
            let table = |k: u32| -> u32 { frequencies.iter().map(|&f| golomb_bits(f, k)).sum() };
            let k = (0..8).min_by_key(|&k| table(k)).unwrap_or(0);
            let elements: f64 = counts
                .iter()
                .zip(&frequencies)
                .filter(|(c, _)| **c > 0)
                .map(|(&c, &f)| f64::from(c) * (f64::from(scale_bits) - log2(f)))
                .sum();
            let starts = frequencies
                .iter()
                .scan(0, |sum, &f| {
                    *sum += f;
                    Some(*sum - f)
                })
                .collect();
            Self {
                cost: f64::from(table(k)) + elements,
                scale_bits,
                k,
                lowest,
                frequencies,
                starts,
            }
        }

        fn write_frequencies(&self, stream: &mut Vec<u8>) {
            let mut bits: Vec<bool> = Vec::new();
            for &frequency in &self.frequencies {
                let value = frequency + (1 << self.k);
                let width = value.ilog2();
                bits.extend((self.k..width).map(|_| false));
                bits.push(true);
                bits.extend((0..width).rev().map(|bit| value >> bit & 1 == 1));
            }
            stream.extend(bits.chunks(8).map(|byte| {
                byte.iter()
                    .enumerate()
                    .fold(0u8, |sum, (i, &bit)| sum | u8::from(bit) << (7 - i))
            }));
        }

        fn chunk(&self, elements: &[i8], two_states: bool) -> Vec<u8> {
            let mut states = [STATE_END; 2];
            let mut words: Vec<u16> = Vec::with_capacity(elements.len() / 2);
            for (i, &element) in elements.iter().enumerate().rev() {
                let [even, odd] = &mut states;
                let state = if two_states && i % 2 == 1 { odd } else { even };
                self.push(state, element, &mut words);
            }
            let used = if two_states { 2 } else { 1 };
            let mut bytes: Vec<u8> = states
                .iter()
                .take(used)
                .flat_map(|state| state.to_le_bytes())
                .collect();
            bytes.extend(words.iter().rev().flat_map(|word| word.to_le_bytes()));
            bytes
        }

        fn push(&self, state: &mut u32, element: i8, words: &mut Vec<u16>) {
            let symbol = (i16::from(element) - i16::from(self.lowest)) as usize;
            let (Some(&frequency), Some(&start)) =
                (self.frequencies.get(symbol), self.starts.get(symbol))
            else {
                return; // every element is in the histogram that the model was made from
            };
            if u64::from(*state) >= u64::from(frequency) << (32 - self.scale_bits) {
                words.push(*state as u16);
                *state >>= 16;
            }
            *state = ((*state / frequency) << self.scale_bits) + *state % frequency + start;
        }
    }

    fn golomb_bits(value: u32, k: u32) -> u32 {
        2 * (value + (1 << k)).ilog2() + 1 - k
    }

    fn log2(value: u32) -> f64 {
        std::primitive::f64::log2(f64::from(value))
    }

    /// Frequencies that sum to `total`, at least 1 where the count is not 0, close to least cost.
    fn normalize(counts: &[u32], total: u32) -> Vec<u32> {
        let sum: f64 = counts.iter().map(|&c| f64::from(c)).sum();
        let share = |c: u32| f64::from(c) * f64::from(total) / sum;
        let mut frequencies: Vec<u32> = counts
            .iter()
            .map(|&c| if c == 0 { 0 } else { (share(c) as u32).max(1) })
            .collect();
        loop {
            let have: u32 = frequencies.iter().sum();
            if have == total {
                return frequencies;
            }
            let up = have < total;
            // Bits lost (or gained, negated) by one step on this symbol; the least loss goes.
            let loss = |(&c, &f): (&u32, &u32)| -> f64 {
                let next = if up { f + 1 } else { f - 1 };
                f64::from(c) * (log2(f) - log2(next))
            };
            let best = counts
                .iter()
                .zip(&frequencies)
                .enumerate()
                .filter(|(_, (_, f))| **f > u32::from(!up))
                .min_by(|a, b| loss(a.1).total_cmp(&loss(b.1)))
                .map(|(i, _)| i);
            match best.and_then(|i| frequencies.get_mut(i)) {
                Some(f) if up => *f += 1,
                Some(f) => *f -= 1,
                None => return frequencies,
            }
        }
    }
}

#[cfg(all(test, feature = "encode"))]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    /// Elements with a two-sided geometric distribution from a linear congruential generator.
    fn elements(n: usize, zero_bits: u32) -> Vec<i8> {
        let mut state = 1u64;
        let mut next = move || {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 33) as u32
        };
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

    #[test]
    fn decoding_inverts_encoding_at_every_length_around_a_chunk() {
        for n in [
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
        ] {
            for zero_bits in [3, 4, 6] {
                let elements = elements(n, zero_bits);
                let stream = encode(&elements);
                let mut decoded = vec![0; n];
                decode(&stream, &mut decoded).unwrap();
                assert_eq!(decoded, elements, "{n} elements");
            }
        }
    }

    #[test]
    fn every_symbol_survives() {
        let elements: Vec<i8> = (0..2000).map(|i| (i * 7 % 256 - 128) as i8).collect();
        let mut decoded = vec![0; 2000];
        decode(&encode(&elements), &mut decoded).unwrap();
        assert_eq!(decoded, elements);
    }

    #[test]
    fn the_predicted_length_is_within_a_few_bytes() {
        for (n, zero_bits) in [(1, 3), (300, 3), (5000, 4), (100_000, 3), (200_000, 5)] {
            let elements = elements(n, zero_bits);
            let mut counts = [0; 256];
            for &e in &elements {
                counts[(i16::from(e) + 128) as usize] += 1;
            }
            let stream = encode(&elements).len();
            assert!(coded_len(&counts).abs_diff(stream) <= 8 + stream / 2000);
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
        assert!((encode(&elements).len() as f64) < entropy / 8.0 * 1.005 + 32.0);
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_refused_or_decodes_without_panic() {
        let elements = elements(700, 3);
        let stream = encode(&elements);
        let mut decoded = vec![0; elements.len()];
        for cut in 0..stream.len() {
            assert!(
                decode(&stream[..cut], &mut decoded).is_err(),
                "cut at {cut}"
            );
        }
        for bit in 0..stream.len() * 8 {
            let mut broken = stream.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            let _ = decode(&broken, &mut decoded);
        }
    }
}
