//! Installs what is missing to cross-compile and to emulate: by rustup where it reaches its
//! server, else by Debian's packages. Quick when everything is there.

use crate::bare;
use crate::shell::{Failure, Step, workspace};
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the lists of Debian's packages were fetched, for every architecture that is known since.
static LISTS_ARE_NEW: AtomicBool = AtomicBool::new(false);

/// What the boards of one architecture need.
pub(crate) struct Architecture {
    /// The compiler's name.
    pub(crate) triple: &'static str,
    /// With a smaller C library, where boards use one; only rustup has it.
    small: Option<&'static str>,
    pub(crate) linker: &'static str,
    pub(crate) emulator: &'static str,
    /// Debian's name of the architecture.
    debian: &'static str,
    debian_rust: &'static str,
    debian_linker: [&'static str; 2],
}

/// 64-bit ARM Linux.
pub(crate) const ARM64: Architecture = Architecture {
    triple: "aarch64-unknown-linux-gnu",
    small: Some("aarch64-unknown-linux-musl"),
    linker: "aarch64-linux-gnu-gcc",
    emulator: "qemu-aarch64",
    debian: "arm64",
    debian_rust: "libstd-rust-web-dev:arm64",
    debian_linker: ["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"],
};

/// 32-bit ARM Linux.
pub(crate) const ARM32: Architecture = Architecture {
    triple: "armv7-unknown-linux-gnueabihf",
    small: None,
    linker: "arm-linux-gnueabihf-gcc",
    emulator: "qemu-arm",
    debian: "armhf",
    debian_rust: "libstd-rust-web-dev:armhf",
    debian_linker: ["gcc-arm-linux-gnueabihf", "libc6-dev-armhf-cross"],
};

const ARCHITECTURES: [Architecture; 2] = [ARM64, ARM32];
/// Debian's compiler, behind rustup's in the search path.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_RUST: [&str; 2] = ["rustc-web", "rust-web-src"];
const DEBIAN_EMULATOR: [&str; 1] = ["qemu-user"];
/// The MQTT broker that tests talk to: program, where Debian puts it, and its package.
const DEBIAN_BROKER: (&str, &str) = ("/usr/sbin/mosquitto", "mosquitto");
/// What emulates whole machines, and what the emulated board with Linux is made of and reached by: program and Debian's package.
const DEBIAN_BOARD: [(&str, &str); 4] = [
    ("qemu-system-aarch64", "qemu-system-arm"),
    ("ssh", "openssh-client"),
    ("cpio", "cpio"),
    ("dpkg-deb", "dpkg"),
];
/// Names of a browser that tests can drive, and Debian's package of the first.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
const DEBIAN_BROWSER: [&str; 1] = ["chromium"];
const DEBIAN_C_COMPILER: [&str; 2] = ["gcc", "libc6-dev"];

/// Installs what is missing.
pub(crate) fn run() -> Result<(), Failure> {
    let mut packages: Vec<&str> = Vec::new();
    for architecture in &ARCHITECTURES {
        packages.extend(architecture.missing());
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
/// system, the formatter, the linter and a browser.
pub(crate) fn for_tests() -> Result<(), Failure> {
    run()?;
    for (tool, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if !Step::cargo([tool, "--version"]).succeeds() {
            Step::new("rustup")
                .args(["component", "add", component])
                .run()?;
        }
    }
    let packages = DEBIAN_BOARD
        .iter()
        .chain([&DEBIAN_BROKER])
        .filter(|(program, _)| !is_there(program));
    let packages: Vec<&str> = packages.map(|(_, package)| *package).collect();
    if !packages.is_empty() {
        install(&packages)?;
    }
    browser();
    let triples = bare::missing();
    if triples.is_empty() || rustup_adds(&triples) {
        return Ok(());
    }
    install(&DEBIAN_RUST)
}

/// The tests of the report in a browser are skipped without one, so that its absence stops nothing else.
fn browser() {
    if !has_browser() && install(&DEBIAN_BROWSER).is_err() {
        eprintln!("set-up: no browser: the report is not looked at in one");
    }
}

/// Whether tests can drive a browser.
pub(crate) fn has_browser() -> bool {
    BROWSERS.into_iter().any(starts)
}

impl Architecture {
    /// The compiler that has the standard library for it: the one in the search path or Debian's.
    pub(crate) fn compiler(&self) -> Option<&'static str> {
        ["rustc", DEBIAN_RUSTC]
            .into_iter()
            .find(|rustc| compiles(rustc, self.triple))
    }

    /// Debian's packages of what is missing and rustup does not have.
    fn missing(&self) -> Vec<&'static str> {
        let mut packages = Vec::new();
        let small = self.small.filter(|small| !compiles("rustc", small));
        if compiles("rustc", self.triple) {
            small.map(|small| rustup_adds(&[small])); // without it, binaries are larger
        } else if self.compiler().is_none() {
            let triples: Vec<&str> = [self.triple].into_iter().chain(small).collect();
            if !rustup_adds(&triples) {
                packages.extend(DEBIAN_RUST);
                packages.push(self.debian_rust);
            }
        }
        if !starts(self.linker) {
            packages.extend(self.debian_linker);
        }
        if !starts(self.emulator) {
            packages.extend(DEBIAN_EMULATOR);
        }
        packages
    }

    fn problem(&self) -> Option<String> {
        if self.compiler().is_none() {
            return Some(format!(
                "no compiler with a standard library of its own version for {}: Debian's `rustc-web` and `{}` must have the same version (try `apt-get upgrade`)",
                self.triple, self.debian_rust
            ));
        }
        let mut programs = [self.linker, self.emulator].into_iter();
        let program = programs.find(|program| !starts(program))?;
        Some(format!("{program} does not start"))
    }
}

/// Compiles an empty library, which loads the standard library and so sees one of another version.
fn compiles(rustc: &str, triple: &str) -> bool {
    let scratch = workspace().join("target/xtask");
    if std::fs::create_dir_all(&scratch).is_err() {
        return false;
    }
    let empty = scratch.join("probe.rs");
    std::fs::write(&empty, "pub fn probe() -> String { String::new() }\n").is_ok()
        && Step::new(rustc)
            .args(["--target", triple, "--crate-type=lib", "--emit=metadata"])
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

/// Whether a program is in the search path; not every one knows `--version`.
fn is_there(program: &str) -> bool {
    Step::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .succeeds()
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
    for architecture in &ARCHITECTURES {
        if packages.contains(&architecture.debian_rust) {
            add_architecture(architecture.debian)?;
        }
    }
    if !LISTS_ARE_NEW.swap(true, Ordering::Relaxed) {
        as_root("apt-get").args(["update", "-q"]).run()?;
    }
    as_root("apt-get")
        .args(["install", "-y", "-q", "--no-install-recommends"])
        .args(packages.iter().copied())
        .run()
}

fn add_architecture(name: &str) -> Result<(), Failure> {
    let foreign = Step::new("dpkg")
        .args(["--print-foreign-architectures"])
        .output();
    let native = Step::new("dpkg").args(["--print-architecture"]).output();
    let known = |list: &Option<String>| {
        list.as_deref()
            .is_some_and(|list| list.lines().any(|line| line == name))
    };
    match known(&foreign) || known(&native) {
        true => Ok(()),
        false => {
            LISTS_ARE_NEW.store(false, Ordering::Relaxed);
            as_root("dpkg").args(["--add-architecture", name]).run()
        }
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
    match ARCHITECTURES.iter().find_map(Architecture::problem) {
        None => Ok(()),
        Some(problem) => Err(Failure(format!("set-up ran, but {problem}"))),
    }
}
