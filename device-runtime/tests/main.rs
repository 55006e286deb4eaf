//! Tests of the runtime, in one program. `threads` is another: its allocator counts for all threads.

mod linear;
mod network;
mod operators;
mod robustness;
mod session;
mod winograd;
