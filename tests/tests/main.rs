//! Tests across crates, in one program: linking the importer takes long. One module for each topic; `command`, `small`,
//! `broker` and `zoo` are what they share.

mod accuracy;
mod bare_metal;
mod boards;
mod broker;
mod c_interface;
mod cli;
mod command;
mod data;
mod files;
mod import;
mod monitor;
mod outputs;
mod quantization;
mod random_graphs;
mod report;
mod small;
mod ssh;
mod zoo;
