//! Checks of the runtime for boards: that it builds where there is no operating system, by rustup's targets or by
//! compiling `core` from the distribution's source, and that its kernels are right on an emulated core.

use crate::setup::{LINKER, TRIPLE, cross_compiler};
use crate::shell::{Failure, Step};
use std::path::Path;

const RUNTIME: &str = "edgeprune-runtime";
const BARE: [&str; 2] = ["aarch64-unknown-none", "thumbv7em-none-eabihf"];
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_SOURCE: &str = "/usr/lib/rustlib/src/rust/library/core";
/// Apart from the rest: another compiler would invalidate it.
const FOLDER: &str = "target/bare";

/// A way to compile for a triple without an operating system.
enum Way {
    /// This compiler has `core` for it.
    Ready(&'static str),
    /// The distribution's compiler can compile `core` from its source.
    FromSource,
}

/// Runs the runtime's tests of operators on an emulated core that has every set of kernels.
pub(crate) fn emulated_tests() -> Result<(), Failure> {
    let rustc = cross_compiler().ok_or_else(no_compiler)?;
    Step::cargo(["test", "--release", "-p", RUNTIME, "--features", "std"])
        .args(["--test", "linear", "--test", "operators"])
        .args(["--target", TRIPLE, "--target-dir", FOLDER])
        .env("RUSTC", rustc)
        .env("RUSTFLAGS", "-Ctarget-feature=+crt-static")
        .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", LINKER)
        .env(
            "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER",
            "qemu-aarch64 -cpu max",
        )
        .run()
}

fn no_compiler() -> Failure {
    Failure(format!("no compiler for {TRIPLE}: run `cargo xtask setup`"))
}

/// The triples for which there is no way.
pub(crate) fn missing() -> Vec<&'static str> {
    BARE.into_iter()
        .filter(|triple| way(triple).is_none())
        .collect()
}

/// Builds the runtime without `std` for each triple.
pub(crate) fn check() -> Result<(), Failure> {
    for triple in BARE {
        build(triple)?;
    }
    let rustc = cross_compiler().ok_or_else(no_compiler)?;
    runtime(TRIPLE).env("RUSTC", rustc).run()
}

fn build(triple: &str) -> Result<(), Failure> {
    match way(triple) {
        Some(Way::Ready(rustc)) => runtime(triple).env("RUSTC", rustc).run(),
        Some(Way::FromSource) => runtime(triple)
            .args(["-Zbuild-std=core,alloc"])
            .env("RUSTC", DEBIAN_RUSTC)
            .env("RUSTC_BOOTSTRAP", "1")
            .run(),
        None => Err(Failure(format!(
            "nothing here builds for {triple}: `rustup target add {triple}`, or on Debian `apt-get install rustc-web rust-web-src`"
        ))),
    }
}

fn way(triple: &str) -> Option<Way> {
    let mut compilers = ["rustc", DEBIAN_RUSTC].into_iter();
    match compilers.find(|rustc| has_core(rustc, triple)) {
        Some(rustc) => Some(Way::Ready(rustc)),
        None => Path::new(DEBIAN_SOURCE).is_dir().then_some(Way::FromSource),
    }
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
