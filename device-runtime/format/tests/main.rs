//! Tests of the format beside those of the crates that write and read packages, in one program.

mod slot;
mod telemetry;
