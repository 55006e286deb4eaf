//! Masks in a bit for each weight.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

type Masks = Vec<Option<Vec<bool>>>;
type Packed = Vec<Option<(usize, Vec<u8>)>>;

pub(super) fn serialize<S: Serializer>(masks: &Masks, serializer: S) -> Result<S::Ok, S::Error> {
    let pack = |mask: &Vec<bool>| {
        let byte = |bits: &[bool]| {
            bits.iter()
                .rev()
                .fold(0, |byte, &bit| byte << 1 | u8::from(bit))
        };
        (mask.len(), mask.chunks(8).map(byte).collect::<Vec<u8>>())
    };
    let packed: Packed = masks.iter().map(|mask| mask.as_ref().map(pack)).collect();
    packed.serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Masks, D::Error> {
    let unpack = |(len, bytes): (usize, Vec<u8>)| {
        let bits = bytes
            .iter()
            .flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
        bits.take(len).collect()
    };
    let packed = Packed::deserialize(deserializer)?;
    Ok(packed.into_iter().map(|mask| mask.map(unpack)).collect())
}
