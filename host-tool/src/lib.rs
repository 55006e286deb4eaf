//! From a trained network to a package that fits and runs on a small board.

pub mod calibrate;
pub mod cli;
pub mod dataset;
mod error;
pub mod graph;
pub mod quantize;
pub mod report;

pub use error::Error;
