//! What can be wrong with the bytes of a package.

use core::fmt;

/// Why bytes are not a package that this version can read. Every variant is one refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FormatError {
    /// Fewer bytes than the header and the hash need.
    TooShort {
        /// Bytes given.
        have: usize,
        /// Bytes that the smallest package needs.
        need: usize,
    },
    /// The first eight bytes are not the magic number.
    NotAPackage,
    /// A format version that this reader does not know.
    Version {
        /// Version in the header.
        found: u32,
        /// The version that this reader reads.
        supported: u32,
    },
    /// Header flags that this reader does not know.
    Flags {
        /// The flags in the header.
        found: u32,
    },
    /// The file is shorter or longer than its header says.
    Length {
        /// Bytes given.
        have: u64,
        /// Bytes that the header declares.
        declared: u64,
    },
    /// The SHA-256 at the end does not match the content: the file is damaged.
    Hash,
    /// A manifest record does not decode.
    Manifest {
        /// Which record.
        what: &'static str,
        /// Index of the record in its table.
        index: u32,
    },
    /// A tensor blob lies outside the package body.
    Blob {
        /// Index of the tensor.
        tensor: u16,
    },
    /// An entropy-coded stream is malformed.
    Stream {
        /// What is wrong with it.
        what: &'static str,
    },
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TooShort { have, need } => {
                write!(
                    f,
                    "{have} bytes are too short for a package (at least {need})"
                )
            }
            Self::NotAPackage => f.write_str("not an edgeprune package (wrong magic number)"),
            Self::Version { found, supported } => write!(
                f,
                "package format version {found}, but this reader knows version {supported}: pack again or update the reader"
            ),
            Self::Flags { found } => write!(f, "unknown header flags {found:#x}"),
            Self::Length { have, declared } => write!(
                f,
                "the file has {have} bytes, its header declares {declared}: it was cut or extended"
            ),
            Self::Hash => f.write_str("the SHA-256 does not match: the file is damaged"),
            Self::Manifest { what, index } => {
                write!(
                    f,
                    "manifest: {what} {index} does not decode: damaged, or of a newer version"
                )
            }
            Self::Blob { tensor } => write!(f, "tensor {tensor} lies outside the package"),
            Self::Stream { what } => write!(f, "entropy-coded tensor: {what}"),
        }
    }
}

impl core::error::Error for FormatError {}
