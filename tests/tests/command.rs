//! The command as a user meets it: cargo builds it for these tests.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The command, still without arguments.
pub(crate) fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_edgeprune-tests"))
}

/// What the command says with these arguments.
pub(crate) fn edgeprune(arguments: &[&str]) -> io::Result<Output> {
    command().args(arguments).output()
}

/// A folder where all tests of this run keep what they measured of networks, so that each is measured once. What an
/// earlier run has left there is removed: other code may have measured it.
pub(crate) fn studies() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("studies");
        let _ = fs::remove_dir_all(&folder); // there may be none
        folder
    })
}
