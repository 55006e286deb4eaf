//! Checks that the runtime builds where there is no operating system: by rustup's targets, or by
//! compiling `core` from the distribution's source.

use crate::setup::cross_compiler;
use crate::shell::{Failure, Step, workspace};

const RUNTIME: &str = "edgeprune-runtime";
const BARE: [&str; 2] = ["aarch64-unknown-none", "thumbv7em-none-eabihf"];
const LINUX: &str = "aarch64-unknown-linux-gnu";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_SOURCE: &str = "/usr/lib/rustlib/src/rust/library/core";
/// Apart from the rest: another compiler would invalidate it.
const FOLDER: &str = "target/bare";

/// Builds the runtime without `std` for each triple.
pub(crate) fn check() -> Result<(), Failure> {
    for triple in BARE {
        build(triple)?;
    }
    match cross_compiler() {
        Some(rustc) => runtime(LINUX).env("RUSTC", rustc).run(),
        None => Err(Failure(format!(
            "no compiler for {LINUX}: run `cargo xtask setup`"
        ))),
    }
}

fn build(triple: &str) -> Result<(), Failure> {
    if has_core("rustc", triple) {
        return runtime(triple).run();
    }
    if has_core(DEBIAN_RUSTC, triple) {
        return runtime(triple).env("RUSTC", DEBIAN_RUSTC).run();
    }
    if workspace().join(DEBIAN_SOURCE).is_dir() {
        return runtime(triple)
            .args(["-Zbuild-std=core,alloc"])
            .env("RUSTC", DEBIAN_RUSTC)
            .env("RUSTC_BOOTSTRAP", "1")
            .run();
    }
    Err(Failure(format!(
        "nothing here builds for {triple}: `rustup target add {triple}`, or on Debian `apt-get install rustc-web rust-web-src`"
    )))
}

fn runtime(triple: &str) -> Step {
    Step::cargo(["build", "--release", "--package", RUNTIME]).args([
        "--target",
        triple,
        "--target-dir",
        FOLDER,
    ])
}

fn has_core(rustc: &str, triple: &str) -> bool {
    let folder = Step::new(rustc)
        .args(["--print", "target-libdir", "--target", triple])
        .output();
    folder
        .and_then(|folder| std::fs::read_dir(folder).ok())
        .is_some_and(|mut files| {
            files.any(|file| {
                file.is_ok_and(|f| f.file_name().to_string_lossy().starts_with("libcore-"))
            })
        })
}
