//! Installs what is missing to cross-compile and to emulate: by rustup where it reaches its
//! server, else by Debian's packages. Quick when everything is there.

use crate::bare;
use crate::shell::{Failure, Step, workspace};

/// 64-bit ARM Linux: every built-in board.
pub(crate) const TRIPLE: &str = "aarch64-unknown-linux-gnu";
/// Its linker.
pub(crate) const LINKER: &str = "aarch64-linux-gnu-gcc";
/// Debian's name of that architecture.
const DEBIAN_ARCH: &str = "arm64";
/// Debian's compiler, behind rustup's in the search path.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_RUST: [&str; 3] = ["rustc-web", "libstd-rust-web-dev:arm64", "rust-web-src"];
const DEBIAN_LINKER: [&str; 2] = ["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"];
const DEBIAN_EMULATOR: [&str; 1] = ["qemu-user"];
const DEBIAN_C_COMPILER: [&str; 2] = ["gcc", "libc6-dev"];

/// Installs what is missing.
pub(crate) fn run() -> Result<(), Failure> {
    let mut packages: Vec<&str> = Vec::new();
    if cross_compiler().is_none() && !(rustup_adds(&[TRIPLE]) && cross_compiler().is_some()) {
        packages.extend(DEBIAN_RUST);
    }
    if !starts(LINKER) {
        packages.extend(DEBIAN_LINKER);
    }
    if !starts("qemu-aarch64") {
        packages.extend(DEBIAN_EMULATOR);
    }
    if !starts("cc") {
        packages.extend(DEBIAN_C_COMPILER);
    }
    if packages.is_empty() {
        eprintln!("set-up: everything is there");
        return Ok(());
    }
    eprintln!("set-up: missing {}", packages.join(" "));
    install(&packages)?;
    verify()
}

/// Installs what is missing, and also what only the tests need: targets without an operating
/// system, the formatter and the linter.
pub(crate) fn for_tests() -> Result<(), Failure> {
    run()?;
    for (tool, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if !Step::cargo([tool, "--version"]).succeeds() {
            Step::new("rustup")
                .args(["component", "add", component])
                .run()?;
        }
    }
    let triples = bare::missing();
    if triples.is_empty() || rustup_adds(&triples) {
        return Ok(());
    }
    install(&DEBIAN_RUST)
}

/// The compiler that has the standard library for the boards: the one in the search path or Debian's.
pub(crate) fn cross_compiler() -> Option<&'static str> {
    ["rustc", DEBIAN_RUSTC]
        .into_iter()
        .find(|rustc| compiles_for_boards(rustc))
}

/// Compiles an empty library, which loads the standard library and so sees one of another version.
fn compiles_for_boards(rustc: &str) -> bool {
    let scratch = workspace().join("target/xtask");
    if std::fs::create_dir_all(&scratch).is_err() {
        return false;
    }
    let empty = scratch.join("probe.rs");
    std::fs::write(&empty, "pub fn probe() -> String { String::new() }\n").is_ok()
        && Step::new(rustc)
            .args(["--target", TRIPLE, "--crate-type=lib", "--emit=metadata"])
            .args(["--out-dir", "target/xtask", "target/xtask/probe.rs"])
            .succeeds()
}

fn rustup_adds(triples: &[&str]) -> bool {
    if !starts("rustup") {
        return false;
    }
    eprintln!("set-up: asking rustup for {}", triples.join(" "));
    Step::new("rustup")
        .args(["target", "add"])
        .args(triples.iter().copied())
        .run()
        .is_ok()
}

fn starts(program: &str) -> bool {
    Step::new(program).args(["--version"]).succeeds()
}

fn install(packages: &[&str]) -> Result<(), Failure> {
    if !starts("apt-get") {
        return Err(Failure(format!(
            "this system has no apt-get: install these or their like by hand, then run again: {}",
            packages.join(" ")
        )));
    }
    if packages.contains(&DEBIAN_RUST[0]) {
        add_architecture()?;
    }
    as_root("apt-get").args(["update", "-q"]).run()?;
    as_root("apt-get")
        .args(["install", "-y", "-q", "--no-install-recommends"])
        .args(packages.iter().copied())
        .run()
}

fn add_architecture() -> Result<(), Failure> {
    let foreign = Step::new("dpkg")
        .args(["--print-foreign-architectures"])
        .output();
    let native = Step::new("dpkg").args(["--print-architecture"]).output();
    let known = |list: &Option<String>| {
        list.as_deref()
            .is_some_and(|list| list.lines().any(|line| line == DEBIAN_ARCH))
    };
    match known(&foreign) || known(&native) {
        true => Ok(()),
        false => as_root("dpkg")
            .args(["--add-architecture", DEBIAN_ARCH])
            .run(),
    }
}

/// Runs a program as root: as it is, or through sudo. Never asks a question.
fn as_root(program: &str) -> Step {
    let root = Step::new("id")
        .args(["-u"])
        .output()
        .is_some_and(|id| id == "0");
    match root {
        true => Step::new(program).env("DEBIAN_FRONTEND", "noninteractive"),
        false => Step::new("sudo").args(["DEBIAN_FRONTEND=noninteractive", program]),
    }
}

fn verify() -> Result<(), Failure> {
    let problem = if cross_compiler().is_none() {
        "no compiler with a standard library of its own version for the boards: Debian's `rustc-web` and `libstd-rust-web-dev:arm64` must have the same version (try `apt-get upgrade`)"
    } else if !starts(LINKER) {
        "aarch64-linux-gnu-gcc does not start"
    } else if !starts("qemu-aarch64") {
        "qemu-aarch64 does not start"
    } else {
        return Ok(());
    };
    Err(Failure(format!("set-up ran, but {problem}")))
}
