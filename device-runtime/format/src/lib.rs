#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[cfg(feature = "encode")]
extern crate alloc;

mod container;
mod cost;
#[cfg(feature = "encode")]
pub mod encode;
mod error;
pub mod manifest;
pub mod rans;
pub mod slot;
pub mod telemetry;

pub use container::{ALIGNMENT, Container, HASH_LEN, HEADER_LEN, MAGIC, VERSION};
pub use cost::Class;
pub use error::FormatError;
pub use heapless;
pub use manifest::Manifest;
