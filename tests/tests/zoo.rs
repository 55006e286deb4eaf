//! Real networks and their data, which are large and stay outside of the project.

use std::path::PathBuf;

/// The folder that `EDGEPRUNE_ZOO` names. Tests that ask for it are ignored unless they are asked for.
pub(crate) fn zoo() -> PathBuf {
    let folder = std::env::var_os("EDGEPRUNE_ZOO").map(PathBuf::from);
    folder.expect("EDGEPRUNE_ZOO names a folder of real networks")
}
