//! See the module.

#[path = "random_graphs/mod.rs"]
mod random_graphs;
