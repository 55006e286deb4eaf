//! Real networks and their data, which are large and stay outside of the project.

use std::path::PathBuf;

/// The folder that `EDGEPRUNE_ZOO` names.
pub(crate) fn zoo() -> Option<PathBuf> {
    let folder = std::env::var_os("EDGEPRUNE_ZOO").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: EDGEPRUNE_ZOO names no folder of networks");
    }
    folder
}
