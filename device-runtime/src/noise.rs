//! What a benchmark feeds a network: bytes that are the same on every machine, so that its outputs are too.

use edgeprune_format::manifest::DType;

/// Noise from Marsaglia's xorshift (Journal of Statistical Software 8, 2003) of 64 bits, which starts in the same
/// state everywhere.
#[derive(Clone, Debug)]
pub struct Noise(u64);

impl Default for Noise {
    fn default() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }
}

impl Noise {
    /// Fills the bytes of an input: codes, or floats of -2 to 2 in the byte order of the processor.
    pub fn fill(&mut self, dtype: DType, bytes: &mut [u8]) {
        match dtype {
            DType::F32 => {
                for value in bytes.chunks_exact_mut(size_of::<f32>()) {
                    value.copy_from_slice(&(f32::from(self.code()) / 64.0).to_ne_bytes());
                }
            }
            _ => bytes.fill_with(|| self.code() as u8),
        }
    }

    fn code(&mut self) -> i8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 56) as i8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_values_never_change() {
        let mut codes = [0; 4];
        Noise::default().fill(DType::I8, &mut codes);
        let mut floats = [0; 16];
        Noise::default().fill(DType::F32, &mut floats);
        let floats = floats
            .as_chunks()
            .0
            .iter()
            .map(|&value| f32::from_ne_bytes(value));
        let expected = codes.map(|code| f32::from(code as i8) / 64.0);
        assert_eq!(codes, [220, 100, 123, 48]);
        assert!(floats.eq(expected));
    }
}
