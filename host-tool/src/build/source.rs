//! Where edgeprune's own source is: the device binary is compiled from it.

use crate::Error;
use std::path::{Path, PathBuf};

/// Names another source folder than the one that this program was compiled from.
const VARIABLE: &str = "EDGEPRUNE_SOURCE";
/// The folder that this program was compiled from: the clone, or cargo's checkout of it.
const COMPILED_FROM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// A file that tells edgeprune's workspace from any other folder.
const MARK: &str = "targets/linux/Cargo.toml";

/// A folder with edgeprune's workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    root: PathBuf,
}

impl Source {
    /// `EDGEPRUNE_SOURCE`, or the folder that this program was compiled from, if it is still there.
    ///
    /// # Errors
    /// Neither holds edgeprune's workspace.
    pub fn find() -> Result<Self, Error> {
        match std::env::var_os(VARIABLE) {
            Some(folder) => Self::at(Path::new(&folder)).ok_or_else(|| {
                Error::Toolchain(format!(
                    "{VARIABLE} is {}, which is no clone of edgeprune ({MARK} is not there)",
                    Path::new(&folder).display()
                ))
            }),
            None => Self::at(Path::new(COMPILED_FROM)).ok_or_else(|| {
                Error::Toolchain(format!(
                    "the device binary is compiled from edgeprune's source, which is no longer at {COMPILED_FROM}: clone it again and set {VARIABLE} to the clone"
                ))
            }),
        }
    }

    /// The workspace's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where device binaries and emulator plugins are built.
    pub fn device_folder(&self) -> PathBuf {
        match std::env::var_os("CARGO_TARGET_DIR") {
            Some(target) => self.root.join(target), // an absolute one replaces the root
            None => self.root.join("target"),
        }
        .join("device")
    }

    fn at(folder: &Path) -> Option<Self> {
        folder.join(MARK).is_file().then(|| Self {
            root: folder.canonicalize().unwrap_or_else(|_| folder.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_the_workspace_is_not_a_source() {
        assert_eq!(Source::at(&std::env::temp_dir()), None);
        assert!(Source::at(Path::new(COMPILED_FROM)).is_some());
    }
}
