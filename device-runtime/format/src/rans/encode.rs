//! The encoder; [`super::decode`] inverts it.

use super::models::{Model, Models};
use super::{CHUNK, STATE_END, choice_bits};
use alloc::vec;
use alloc::vec::Vec;

extern crate std;

/// Elements from which a second state, which decodes faster, is worth its four bytes.
const TWO_STATES_FROM: usize = 8192;
/// Mean number of bits that the states leave unused at the end of a chunk.
const STATE_BITS: f64 = 24.0;

/// Encodes elements in rows of `row`. Same elements, same bytes.
pub fn encode(elements: &[i8], row: usize) -> Vec<u8> {
    let Some(models) = Models::best(elements, row) else {
        return Vec::new();
    };
    let two_states = elements.len() >= TWO_STATES_FROM;
    let number = models.models.len();
    let mut stream =
        vec![models.scale_bits as u8 | u8::from(two_states) << 4 | ((number - 1) as u8) << 5];
    for model in &models.models {
        model.write(&mut stream);
    }
    if number > 1 {
        stream.extend((row as u32).to_le_bytes());
        let width = choice_bits(number);
        let bits = models
            .choices
            .iter()
            .flat_map(|&choice| bits(choice.into(), width));
        stream.extend(packed(bits));
    }
    let chunks: Vec<_> = elements
        .chunks(CHUNK)
        .enumerate()
        .map(|(index, chunk)| encode_chunk(&models, row, index * CHUNK, chunk, two_states))
        .collect();
    for chunk in chunks.iter().rev().skip(1).rev() {
        stream.extend((chunk.len() as u32).to_le_bytes());
    }
    stream.extend(chunks.iter().flatten());
    stream
}

/// Bytes that [`encode`] gives, within a few, without encoding.
pub fn coded_len(elements: &[i8], row: usize) -> usize {
    let chunks = elements.len().div_ceil(CHUNK) as f64;
    let states = if elements.len() >= TWO_STATES_FROM {
        2.0
    } else {
        1.0
    };
    Models::best(elements, row).map_or(0, |models| {
        let bits = models.cost + chunks * (STATE_BITS * states + 32.0) - 32.0;
        1 + std::primitive::f64::ceil(bits / 8.0) as usize
    })
}

/// The low `width` bits of a value, most significant first.
pub(super) fn bits(value: u32, width: u32) -> impl Iterator<Item = bool> {
    (0..width).rev().map(move |bit| value >> bit & 1 == 1)
}

/// Bits as bytes, most significant first, padded with zeros.
pub(super) fn packed(bits: impl Iterator<Item = bool>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (at, bit) in bits.enumerate() {
        if at % 8 == 0 {
            bytes.push(0);
        }
        if let Some(last) = bytes.last_mut() {
            *last |= u8::from(bit) << (7 - at % 8);
        }
    }
    bytes
}

/// Encodes the chunk that begins with the element of index `first`.
fn encode_chunk(
    models: &Models,
    row: usize,
    first: usize,
    elements: &[i8],
    two_states: bool,
) -> Vec<u8> {
    let mut states = [STATE_END; 2];
    let mut words: Vec<u16> = Vec::with_capacity(elements.len() / 2);
    for (i, &element) in elements.iter().enumerate().rev() {
        let [even, odd] = &mut states;
        let state = if two_states && i % 2 == 1 { odd } else { even };
        if let Some(model) = models.of_row((first + i) / row) {
            push(model, models.scale_bits, state, element, &mut words);
        }
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

fn push(model: &Model, scale_bits: u32, state: &mut u32, element: i8, words: &mut Vec<u16>) {
    let symbol = (i16::from(element) - i16::from(model.lowest)) as usize;
    let (Some(&frequency), Some(&start)) =
        (model.frequencies.get(symbol), model.starts.get(symbol))
    else {
        return; // every element is in the histogram that its row's model was made from
    };
    if u64::from(*state) >= u64::from(frequency) << (32 - scale_bits) {
        words.push(*state as u16);
        *state >>= 16;
    }
    *state = ((*state / frequency) << scale_bits) + *state % frequency + start;
}
