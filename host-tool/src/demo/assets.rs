//! The network and the data that come with edgeprune, inside the binary.

use crate::Error;
use std::path::{Path, PathBuf};

/// A file of `host-tool/demo`.
struct Asset {
    name: &'static str,
    bytes: &'static [u8],
}

macro_rules! asset {
    ($name:literal) => {
        Asset {
            name: $name,
            bytes: include_bytes!(concat!("../../demo/", $name)),
        }
    };
}

const ASSETS: &[Asset] = &[
    asset!("fashion_mnist.onnx"),
    asset!("fashion_mnist.toml"),
    asset!("labels.txt"),
    asset!("calib_images.npy"),
    asset!("test_images.npy"),
    asset!("test_labels.npy"),
];

/// Where the files of the demonstration are.
#[derive(Clone, Debug)]
pub(super) struct Files {
    folder: PathBuf,
}

impl Files {
    /// Writes them to a folder, which is made if need be.
    pub(super) fn write(folder: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
        for asset in ASSETS {
            let path = folder.join(asset.name);
            crate::cli::write::write_file(&path, asset.bytes)?;
        }
        let folder = folder.to_path_buf();
        Ok(Self { folder })
    }

    pub(super) fn model(&self) -> PathBuf {
        self.folder.join("fashion_mnist.onnx")
    }

    pub(super) fn calibration(&self) -> PathBuf {
        self.folder.join("calib_images.npy")
    }

    pub(super) fn images(&self) -> PathBuf {
        self.folder.join("test_images.npy")
    }

    pub(super) fn labels(&self) -> PathBuf {
        self.folder.join("test_labels.npy")
    }
}
