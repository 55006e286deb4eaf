//! Runs, checks and measures a package under Linux.
//!
//! The device binary is these parts and a command line. The host tool uses them too, so that a
//! figure of this machine and a figure of a board are measured in the same way.

mod bench;
mod cores;
mod error;
mod machine;
mod memory;
mod meter;
mod network;
mod npy;
mod report;
mod samples;
#[cfg(feature = "serve")]
mod serve;
mod stopwatch;

pub use bench::{BenchOptions, bench, repeat};
pub use error::Error;
pub use machine::{Condition, Machine};
pub use network::{Digest, Network, digest, hexadecimal, open};
pub use npy::{Npy, write_f32};
pub use report::{BenchReport, Bucket, Deadline, Energy, Interval, Latency, LayerTime, Resident};
pub use samples::{LayerDigest, RunReport, Samples, layers, run, top_class};
#[cfg(feature = "serve")]
pub use serve::{Broker, Outlet, STATE, ServeOptions, Served, serve};
