//! Checks of the runtime for boards: that it builds where there is no operating system, by rustup's targets or by
//! compiling `core` from the distribution's source, and that its kernels are right on an emulated core.

use crate::setup::{ARM32, ARM64, Architecture};
use crate::shell::{Failure, Step};
use std::path::Path;

const RUNTIME: &str = "edgeprune-runtime";
const BARE: [&str; 2] = ["aarch64-unknown-none", "thumbv7em-none-eabihf"];
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_SOURCE: &str = "/usr/lib/rustlib/src/rust/library/core";
/// Apart from the rest: another compiler would invalidate it.
const FOLDER: &str = "target/bare";

const BUILD: [&str; 4] = ["build", "--release", "--target-dir", FOLDER];
/// The operators of MLPerf Tiny's ResNet-8.
const NETWORK: [&str; 6] = [
    "conv_2d",
    "binary",
    "mean",
    "fully_connected",
    "softmax",
    "convert",
];
const MINIMAL: &str = "edgeprune-minimal";
/// The board's feature.
const BOARD: &str = "virt";
/// Fewest bytes of code of a program that does run them.
const LEAST_CODE: u32 = 40_000;
/// Most bytes of code of a program with those.
const MOST_CODE: u32 = 100_000;

/// Part of the cross toolchain, as is the compiler driver.
const LINKER: &str = "aarch64-linux-gnu-ld";
const SIZE: &str = "aarch64-linux-gnu-size";

/// A way to compile for a triple without an operating system.
enum Way {
    /// This compiler has `core` for it.
    Ready(&'static str),
    /// The distribution's compiler can compile `core` from its source.
    FromSource,
}

/// Runs the runtime's tests of operators on emulated cores that have every set of kernels.
pub(crate) fn emulated_tests() -> Result<(), Failure> {
    emulated_tests_of(&ARM64, &["linear::", "operators::", "winograd::"])?;
    emulated_tests_of(&ARM32, &["linear::", "operators::"])
}

/// Runs these modules of the runtime's tests.
fn emulated_tests_of(architecture: &Architecture, modules: &[&str]) -> Result<(), Failure> {
    let triple = architecture.triple;
    let variable = triple.to_ascii_uppercase().replace('-', "_");
    Step::cargo(["test", "--release", "-p", RUNTIME, "--features", "std"])
        .args(["--test", "runtime", "--target", triple])
        .args(["--target-dir", FOLDER, "--"])
        .args(modules.iter().copied())
        .env("RUSTC", compiler(architecture)?)
        .env("RUSTFLAGS", "-Ctarget-feature=+crt-static")
        .env(
            &format!("CARGO_TARGET_{variable}_LINKER"),
            architecture.linker,
        )
        .env(
            &format!("CARGO_TARGET_{variable}_RUNNER"),
            &format!("{} -cpu max", architecture.emulator),
        )
        .run()
}

fn compiler(architecture: &Architecture) -> Result<&'static str, Failure> {
    let triple = architecture.triple;
    architecture
        .compiler()
        .ok_or_else(|| Failure(format!("no compiler for {triple}: run `cargo xtask setup`")))
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
        build_for(triple, Step::cargo(BUILD).args(["--package", RUNTIME]))?;
    }
    let linux = Step::cargo(BUILD)
        .args(["--package", RUNTIME, "--target", ARM64.triple])
        .env("RUSTC", compiler(&ARM64)?);
    linux.run()?;
    check_size()
}

/// Links the smaller program of `targets/bare-metal` with the operators of one network, and asserts that it is small. The
/// processor allows loads that are not aligned where its caches are in use.
fn check_size() -> Result<(), Failure> {
    let [triple, _] = BARE;
    let operators = NETWORK.map(|feature| format!("{RUNTIME}/{feature}"));
    let features = format!("{BOARD},{}", operators.join(","));
    let program = Step::cargo(BUILD)
        .args(["--manifest-path", "targets/bare-metal/Cargo.toml"])
        .args(["--bin", MINIMAL])
        .args(["--no-default-features", "--features", &features])
        .env(
            "RUSTFLAGS",
            "-Ctarget-cpu=cortex-a72 -Ctarget-feature=-strict-align",
        )
        .env("CARGO_TARGET_AARCH64_UNKNOWN_NONE_LINKER", LINKER);
    build_for(triple, program)?;
    let file = format!("{FOLDER}/{triple}/release/{MINIMAL}");
    let sections = Step::new(SIZE).args(["-A", &file]).output();
    match sections.as_deref().and_then(code_bytes) {
        Some(bytes) if (LEAST_CODE..=MOST_CODE).contains(&bytes) => {
            eprintln!("{bytes} bytes of code without an operating system");
            Ok(())
        }
        Some(bytes) => Err(Failure(format!(
            "{file} has {bytes} bytes of code, not {LEAST_CODE} to {MOST_CODE}"
        ))),
        None => Err(Failure(format!("`{SIZE} -A {file}` names no code"))),
    }
}

/// The size of the section `.text` in what `size -A` prints.
fn code_bytes(sections: &str) -> Option<u32> {
    let line = sections.lines().find(|line| line.starts_with(".text"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Runs a build for a triple without an operating system.
fn build_for(triple: &str, cargo: Step) -> Result<(), Failure> {
    let cargo = cargo.args(["--target", triple]);
    match way(triple) {
        Some(Way::Ready(rustc)) => cargo.env("RUSTC", rustc).run(),
        Some(Way::FromSource) => cargo
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
