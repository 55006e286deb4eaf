//! Runs an edgeprune package: `no_std`, no allocation, the same bits on every core.
#![cfg_attr(not(any(feature = "std", test)), no_std)]

mod arena;
mod error;
mod kernels;
pub mod math;
mod observer;
mod ops;
mod package;
pub mod plan;
pub mod quantize;
mod session;
pub mod telemetry;

pub use arena::Aligned;
#[cfg(feature = "std")]
pub use arena::Arena;
pub use edgeprune_format as format;
pub use error::{OpenError, RunError, SessionError};
pub use kernels::KernelSet;
pub use observer::Observer;
pub use package::{MAX_PORTS, Package, Port};
pub use session::{DEFAULT_NODES, Session};
