//! From a trained network to a package that fits and runs on a small board.

pub mod cli;
mod error;
pub mod graph;

pub use error::Error;
