//! How an image without an operating system gets a package that was not compiled into it: the package lies behind the
//! image, in the same file, in a slot whose place the image tells.
//!
//! | offset in the image | bytes | content |
//! |---|---|---|
//! | 8 | 8 | [`MAGIC`] |
//! | 16 | 8 | offset of the slot from the start of the image |
//!
//! | offset in the slot | bytes | content |
//! |---|---|---|
//! | 0 | 8 | [`MAGIC`] |
//! | 8 | 8 | length of the package |
//! | 16 | 4 | inferences before the first that counts |
//! | 20 | 4 | inferences that count |
//! | 24 | 40 | zeros |
//! | 64 | | the package |
//!
//! All numbers are little-endian. Between image and slot are zeros, where the program has its stack and variables.

/// What the head of an image that has a slot holds, and what a slot with a package begins with.
pub const MAGIC: u64 = u64::from_le_bytes(*b"EPK SLOT");

/// The head of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Length of the package that follows.
    pub package_bytes: u64,
    /// Inferences before the first that counts.
    pub warm_up: u32,
    /// Inferences that count.
    pub runs: u32,
}

impl Slot {
    /// Bytes of the head; keeps the package aligned.
    pub const BYTES: usize = 64;

    /// The head as it lies before the package.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let fields = MAGIC
            .to_le_bytes()
            .into_iter()
            .chain(self.package_bytes.to_le_bytes())
            .chain(self.warm_up.to_le_bytes())
            .chain(self.runs.to_le_bytes());
        bytes
            .iter_mut()
            .zip(fields)
            .for_each(|(byte, field)| *byte = field);
        bytes
    }

    /// The head and the package at the start of `memory`, and the memory behind them, as aligned as the start. `None`
    /// where no whole package is.
    pub fn split(memory: &mut [u8]) -> Option<(Self, &mut [u8], &mut [u8])> {
        let (head, rest) = memory.split_first_chunk_mut::<{ Self::BYTES }>()?;
        let slot = Self::parse(head)?;
        let bytes = usize::try_from(slot.package_bytes).ok()?;
        let (package, rest) = rest.split_at_mut_checked(bytes)?;
        let (_, aligned) = rest.split_at_mut_checked(bytes.wrapping_neg() % Self::BYTES)?;
        Some((slot, package, aligned))
    }

    fn parse(head: &[u8; Self::BYTES]) -> Option<Self> {
        let slot = Self {
            package_bytes: number(head, 8)?,
            warm_up: u32::from_le_bytes(*head.get(16..)?.first_chunk()?),
            runs: u32::from_le_bytes(*head.get(20..)?.first_chunk()?),
        };
        (number(head, 0)? == MAGIC).then_some(slot)
    }
}

/// The offset of an image's slot from the image's start; nothing for an image without one.
pub fn offset(image: &[u8]) -> Option<u64> {
    (number(image, 8)? == MAGIC).then(|| number(image, 16))?
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
