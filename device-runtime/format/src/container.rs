//! The outer layer: header, manifest bytes, aligned body, hash.

use crate::FormatError;
use sha2::{Digest, Sha256};

/// The first eight bytes. Like PNG's, they reveal text-mode transfers.
pub const MAGIC: [u8; 8] = *b"\x89EPK\r\n\x1a\n";
/// The format version that this crate reads and writes.
pub const VERSION: u32 = 1;
/// Bytes before the manifest.
pub const HEADER_LEN: usize = 32;
/// The body, and every raw tensor in it, starts at a multiple of this.
pub const ALIGNMENT: usize = 64;
/// Bytes of the SHA-256 that ends a package.
pub const HASH_LEN: usize = 32;

/// The parts of a package whose header, lengths and hash have been checked.
#[derive(Clone, Copy, Debug)]
pub struct Container<'a> {
    /// The manifest's bytes: see [`crate::manifest`].
    pub manifest: &'a [u8],
    /// The tensor blobs; offsets in the manifest count from its start.
    pub body: &'a [u8],
    /// SHA-256 of everything before it: the package's identity.
    pub hash: &'a [u8],
}

impl<'a> Container<'a> {
    /// Splits `bytes`, checking in this order: minimal length, magic, version, flags, declared
    /// length against `bytes.len()`, SHA-256.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let container = Self::parse_unhashed(bytes)?;
        let content = bytes.get(..bytes.len() - HASH_LEN).unwrap_or_default();
        if Sha256::digest(content).as_slice() != container.hash {
            return Err(FormatError::Hash);
        }
        Ok(container)
    }

    /// As [`Self::parse`], but for the SHA-256, which takes time in proportion to the length.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn parse_unhashed(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let short = FormatError::TooShort {
            have: bytes.len(),
            need: HEADER_LEN + HASH_LEN,
        };
        if bytes.get(..MAGIC.len()).is_some_and(|magic| magic != MAGIC) {
            return Err(FormatError::NotAPackage);
        }
        if bytes.len() < HEADER_LEN + HASH_LEN {
            return Err(short);
        }
        let version = word(bytes, 8).ok_or(short)?;
        if version != VERSION {
            return Err(FormatError::Version {
                found: version,
                supported: VERSION,
            });
        }
        let flags = word(bytes, 24).ok_or(short)? | word(bytes, 28).ok_or(short)?;
        if flags != 0 {
            return Err(FormatError::Flags { found: flags });
        }
        let manifest_len = u64::from(word(bytes, 12).ok_or(short)?);
        let body_len = u64::from(word(bytes, 16).ok_or(short)?)
            | u64::from(word(bytes, 20).ok_or(short)?) << 32;
        let body_start = (HEADER_LEN as u64 + manifest_len).next_multiple_of(ALIGNMENT as u64);
        let declared = body_start
            .checked_add(body_len)
            .and_then(|end| end.checked_add(HASH_LEN as u64));
        let length = FormatError::Length {
            have: bytes.len() as u64,
            declared: declared.unwrap_or(u64::MAX),
        };
        if declared != Some(bytes.len() as u64) {
            return Err(length);
        }
        let (content, hash) = bytes
            .split_at_checked(bytes.len() - HASH_LEN)
            .ok_or(length)?;
        Ok(Self {
            manifest: content
                .get(HEADER_LEN..HEADER_LEN + manifest_len as usize)
                .ok_or(length)?,
            body: content.get(body_start as usize..).ok_or(length)?,
            hash,
        })
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|chunk| u32::from_le_bytes(*chunk))
}
