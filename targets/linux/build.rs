//! Puts the package that `EDGEPRUNE_PACKAGE` names into the binary; without it, an empty one.

use std::path::Path;
use std::{env, fs};

pub(crate) fn main() -> Result<(), String> {
    println!("cargo::rerun-if-env-changed=EDGEPRUNE_PACKAGE");
    let folder = env::var("OUT_DIR").map_err(|cause| format!("OUT_DIR: {cause}"))?;
    let output = Path::new(&folder).join("package.epk");
    let bytes = match env::var_os("EDGEPRUNE_PACKAGE") {
        Some(path) => {
            let path = Path::new(&path);
            println!("cargo::rerun-if-changed={}", path.display());
            fs::read(path).map_err(|cause| format!("{}: {cause}", path.display()))?
        }
        None => Vec::new(),
    };
    fs::write(&output, bytes).map_err(|cause| format!("{}: {cause}", output.display()))
}
