//! From a trained network to a package that fits and runs on a small board.

pub mod bench;
pub mod build;
pub mod calibrate;
pub mod cli;
pub mod dataset;
pub mod demo;
pub mod doctor;
mod error;
pub mod eval;
pub mod fidelity;
pub mod graph;
pub mod import;
pub mod latency;
pub mod monitor;
pub mod pack;
pub mod package;
pub mod plan;
pub mod progress;
pub mod prune;
pub mod quantize;
pub mod report;
pub mod sensitivity;
pub mod study;
pub mod tradeoff;

pub use error::Error;
