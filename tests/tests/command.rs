//! The command as a user meets it: cargo builds it for these tests.

use std::io;
use std::process::{Command, Output};

/// The command, still without arguments.
pub(crate) fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_edgeprune-tests"))
}

/// What the command says with these arguments.
pub(crate) fn edgeprune(arguments: &[&str]) -> io::Result<Output> {
    command().args(arguments).output()
}
