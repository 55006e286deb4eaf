//! Finds a Rust compiler that can build for a triple.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The oldest compiler that edgeprune builds with.
const OLDEST: &str = env!("CARGO_PKG_RUST_VERSION");
/// Where distributions put the source of the standard library.
const DISTRIBUTION_SOURCE: &str = "/usr/lib/rustlib/src/rust/library/core";
/// Where distributions put their compiler, behind rustup's in most search paths.
const DISTRIBUTION: &str = "/usr/bin/rustc";

/// A compiler that has been seen to build for a triple.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiler {
    /// The program.
    pub program: PathBuf,
    /// Its version, as in `1.91.0`.
    pub version: String,
    /// Whether it compiles the library from its source first.
    from_source: bool,
}

/// What a program is built on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// An operating system.
    Std,
    /// Nothing.
    Core,
}

impl Library {
    /// A program that needs it.
    fn probe(self) -> &'static str {
        match self {
            Self::Std => "pub fn probe() -> String { String::new() }",
            Self::Core => "#![no_std]\npub fn probe() {}",
        }
    }
}

/// A compiler that cannot build for the triple.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The program.
    pub program: PathBuf,
    /// Why not.
    pub cause: String,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.program.display(), self.cause)
    }
}

impl Compiler {
    /// The first of `$RUSTC`, `rustc` and the distribution's compiler that is new enough and has a
    /// `library` of its own version for `triple`, or else the distribution's with the source of `core`. Runs in
    /// `folder`, because rustup may choose by folder.
    ///
    /// # Errors
    /// None does: each with the reason.
    pub fn find(triple: &str, library: Library, folder: &Path) -> Result<Self, Vec<Rejected>> {
        let mut rejected = Vec::new();
        for program in candidates() {
            match Self::probe(&program, triple, library, folder) {
                Ok(compiler) => return Ok(compiler),
                Err(cause) => rejected.push(Rejected { program, cause }),
            }
        }
        Err(rejected)
    }

    fn probe(
        program: &Path,
        triple: &str,
        library: Library,
        folder: &Path,
    ) -> Result<Self, String> {
        let version = version(program, folder)?;
        if numbers(&version) < numbers(OLDEST) {
            return Err(format!(
                "version {version} is too old, edgeprune needs {OLDEST} or newer"
            ));
        }
        let compiled = compile_nothing(program, triple, library, folder);
        let from_source = compiled.is_err() && library == Library::Core && has_source(program);
        if !from_source {
            compiled?;
        }
        Ok(Self {
            program: program.to_path_buf(),
            version,
            from_source,
        })
    }

    /// Makes cargo compile with this compiler.
    pub(super) fn compile_with(&self, cargo: &mut Command) {
        cargo.env("RUSTC", &self.program);
        if self.from_source {
            cargo.arg("-Zbuild-std=core,alloc");
            cargo.env("RUSTC_BOOTSTRAP", "1");
        }
    }
}

/// Whether `program` can compile `core` from its source.
fn has_source(program: &Path) -> bool {
    program == Path::new(DISTRIBUTION) && Path::new(DISTRIBUTION_SOURCE).is_dir()
}

fn candidates() -> Vec<PathBuf> {
    let mut candidates: Vec<PathBuf> = std::env::var_os("RUSTC")
        .map(PathBuf::from)
        .into_iter()
        .collect();
    for program in ["rustc", DISTRIBUTION].map(PathBuf::from) {
        if !candidates.contains(&program) {
            candidates.push(program);
        }
    }
    candidates
}

fn version(program: &Path, folder: &Path) -> Result<String, String> {
    let output = Command::new(program)
        .arg("-vV")
        .current_dir(folder)
        .output()
        .map_err(|cause| format!("does not start ({cause})"))?;
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .find_map(|line| line.strip_prefix("release: "))
        .map(str::to_owned)
        .ok_or_else(|| "does not tell its version".into())
}

/// `1.91.0-nightly` becomes `[1, 91, 0]`.
fn numbers(version: &str) -> Vec<u32> {
    version
        .split(['.', '-'])
        .map_while(|part| part.parse().ok())
        .collect()
}

/// Compiles an empty library: this loads the standard library, and so tells one that is missing
/// or of another version from one that fits.
fn compile_nothing(
    program: &Path,
    triple: &str,
    library: Library,
    folder: &Path,
) -> Result<(), String> {
    let scratch = tempfile::tempdir().map_err(|cause| cause.to_string())?;
    let mut child = Command::new(program)
        .args(["--target", triple, "--crate-type=lib", "--crate-name=probe"])
        .args(["--emit=metadata", "--out-dir"])
        .arg(scratch.path())
        .arg("-")
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|cause| cause.to_string())?;
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(library.probe().as_bytes()); // else it fails below
    }
    let output = child
        .wait_with_output()
        .map_err(|cause| cause.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(match stderr.contains("E0463") {
        true => format!("has no standard library for {triple}"),
        false if stderr.contains("E0514") => {
            format!("its standard library for {triple} is of another version")
        }
        false => stderr.lines().next().unwrap_or("fails").to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(numbers("1.100.0") > numbers("1.91"));
        assert!(numbers("1.91.0-nightly") > numbers("1.90.2"));
        assert!(numbers("1.85.0") < numbers(OLDEST));
    }

    #[test]
    fn a_compiler_without_the_standard_library_says_so() {
        let answer = Compiler::find(
            "riscv64gc-unknown-linux-musl",
            Library::Std,
            &std::env::temp_dir(),
        );
        let causes = answer.map_or_else(|r| format!("{r:?}"), |c| c.version);
        assert!(causes.contains("standard library"), "{causes}");
    }
}
