//! From a trained network to a package that fits and runs on a small board.

mod error;
pub mod graph;

pub use error::Error;
