//! Runs calibration samples through the network and measures every activation, streaming.

mod histogram;

pub use histogram::Histogram;
