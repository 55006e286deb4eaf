//! Cross-compiles the device binary for a board.
//!
//! Cargo does the work, in its own target directory, and decides what is fresh. The compiler is the
//! first that has the board's standard library: rustup's, or a distribution's.

mod bare;
mod compiler;
mod source;

pub use bare::{Repetitions, image, image_with_slot};
pub use compiler::{Compiler, Library, Rejected};
pub use source::Source;

use crate::Error;
use crate::cli::write::write_executable;
use edgeprune_boards::{Board, Toolchain};
use edgeprune_format::manifest::{DType, Node};
use edgeprune_format::{Container, FormatError, Manifest};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The package in the workspace that becomes the binary, and the binary's name.
const DEVICE_PACKAGE: &str = "edgeprune-device";
/// The package whose features are families of operators.
const RUNTIME: &str = "edgeprune-runtime";
/// The feature of layers in single precision.
const FLOAT_LAYERS: &str = "float_layers";
/// Lines of cargo's own message that an error repeats.
const TAIL_LINES: usize = 30;

/// Builds the device binary for `board`, puts it at `output` and returns the triple that it is compiled for; for a board
/// without an operating system, an [`image`]. With
/// `packages`, the binary has their operators alone, without any it has all; it contains a single package and
/// needs no other file on the board.
///
/// # Errors
/// A package that does not open, no source, compiler or linker for the board, a failed build.
pub fn device_binary<'b>(
    board: &'b Board,
    packages: &[PathBuf],
    jobs: Jobs,
    output: &Path,
) -> Result<&'b str, Error> {
    if board.bare.is_some() {
        let [package] = packages else {
            return Err(Error::Usage(format!(
                "{}: an image has exactly one package in it",
                board.name
            )));
        };
        return image(board, package, output);
    }
    let source = Source::find()?;
    let contents = Contents::of(packages, jobs)?;
    let folder = source.device_folder();
    fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
    let _lock = lock(&folder)?;
    let target = Target::find(board, &source)?;
    let built = compile(&source, board, &target, &contents)?;
    install(&built, output)?;
    Ok(target.triple)
}

/// The device binary for `board` without a package, where it stays for the next time.
///
/// # Errors
/// As [`device_binary`].
pub fn shared_device_binary(board: &Board) -> Result<PathBuf, Error> {
    let output = Source::find()?
        .device_folder()
        .join("boards")
        .join(&board.id)
        .join(DEVICE_PACKAGE);
    device_binary(board, &[], Jobs::default(), &output)?;
    Ok(output)
}

/// The toolchain file of a board.
///
/// # Errors
/// A board that was changed after it was read.
pub fn toolchain(board: &Board) -> Result<&'static Toolchain, Error> {
    board.toolchain().ok_or_else(|| {
        Error::Toolchain(format!(
            "{}: no toolchain is known for `{}`",
            board.id, board.build.triple
        ))
    })
}

/// Jobs of a device binary that take space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct Jobs {
    /// Let the binary serve: run samples as they come, with telemetry. Without packages it does in any case.
    #[arg(long)]
    pub serve: bool,
    /// Let it publish its telemetry to an MQTT broker.
    #[arg(long, requires = "serve")]
    pub mqtt: bool,
}

impl Jobs {
    /// The features of the device binary.
    fn features(self) -> impl Iterator<Item = String> {
        let all = [(self.serve, "serve"), (self.mqtt, "mqtt")];
        let wanted = all.into_iter().filter(|(wanted, _)| *wanted);
        wanted.map(|(_, job)| format!("{DEVICE_PACKAGE}/{job}"))
    }
}

/// What a device binary holds.
#[derive(Default)]
struct Contents {
    jobs: Jobs,
    /// A package, by its absolute path.
    package: Option<PathBuf>,
    /// The runtime's features; none stands for all.
    operators: BTreeSet<&'static str>,
}

impl Contents {
    fn of(packages: &[PathBuf], jobs: Jobs) -> Result<Self, Error> {
        let mut contents = Self {
            jobs,
            ..Self::default()
        };
        for path in packages {
            contents.operators.extend(operators(path)?);
        }
        if let [path] = packages {
            contents.package = Some(path.canonicalize().map_err(Error::io(path))?);
        }
        Ok(contents)
    }

    /// Cargo's arguments.
    fn features(&self) -> Vec<String> {
        let operators = self.operators.iter();
        let operators = operators.map(|family| format!("{RUNTIME}/{family}"));
        let features: Vec<String> = operators.chain(self.jobs.features()).collect();
        let mut arguments = vec!["--features".to_owned(), features.join(",")];
        if !self.operators.is_empty() {
            arguments.push("--no-default-features".into());
        }
        arguments
    }
}

/// The runtime's features that run the package at `path`.
fn operators(path: &Path) -> Result<BTreeSet<&'static str>, Error> {
    let bytes = fs::read(path).map_err(Error::io(path))?;
    let refused = |cause: FormatError| Error::Package {
        path: path.to_path_buf(),
        cause: cause.to_string(),
    };
    let container = Container::parse(&bytes).map_err(refused)?;
    let manifest = Manifest::parse(container.manifest).map_err(refused)?;
    let is_float = |node: &Node<'_>| {
        let input = node.inputs.first().and_then(|&id| manifest.tensor(id));
        node.op.linear().is_some() && input.is_some_and(|input| input.dtype == DType::F32)
    };
    let float = manifest.nodes().any(|node| is_float(&node));
    let families = manifest.nodes().map(|node| node.op.family());
    Ok(families.chain(float.then_some(FLOAT_LAYERS)).collect())
}

/// Two builds at once would overwrite each other's binary.
fn lock(folder: &Path) -> Result<File, Error> {
    let path = folder.join(".lock");
    let file = File::create(&path).map_err(Error::io(&path))?;
    file.lock().map_err(Error::io(&path))?;
    Ok(file)
}

/// What to compile for, and with which programs.
struct Target<'b> {
    triple: &'b str,
    linker: &'b str,
    compiler: Compiler,
}

impl<'b> Target<'b> {
    /// The small target of the board's toolchain where a compiler has it, else the board's own.
    fn find(board: &'b Board, source: &Source) -> Result<Self, Error> {
        let tools = toolchain(board)?;
        let compiler = |triple: &str| Compiler::find(triple, Library::Std, source.root());
        if let Some(small) = &tools.small
            && let Ok(compiler) = compiler(&small.triple)
        {
            return Ok(Self {
                triple: &small.triple,
                linker: &small.linker,
                compiler,
            });
        }
        Ok(Self {
            triple: &tools.triple,
            linker: &tools.linker,
            compiler: compiler(&tools.triple)
                .map_err(|rejected| no_compiler(board, tools, &rejected))?,
        })
    }
}

fn compile(
    source: &Source,
    board: &Board,
    target: &Target<'_>,
    contents: &Contents,
) -> Result<PathBuf, Error> {
    let folder = source.device_folder();
    let mut cargo = Command::new(cargo());
    cargo
        .current_dir(source.root())
        .args(["build", "--package", DEVICE_PACKAGE, "--profile", "device"])
        .args(contents.features())
        .args(["--target", target.triple, "--target-dir"])
        .arg(&folder)
        .env("CARGO_ENCODED_RUSTFLAGS", flags(board).join("\x1f"))
        .env(linker_variable(target.triple), target.linker)
        .env_remove("EDGEPRUNE_PACKAGE");
    target.compiler.compile_with(&mut cargo);
    if let Some(package) = &contents.package {
        cargo.env("EDGEPRUNE_PACKAGE", package);
    }
    run(&mut cargo, board)?;
    Ok(folder
        .join(target.triple)
        .join("device")
        .join(DEVICE_PACKAGE))
}

fn cargo() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}

/// A static binary runs on any distribution of the board, whatever its C library. A program that aborts needs no tables for
/// unwinding; kernels say themselves what is inlined, and of the rest little need be.
fn flags(board: &Board) -> Vec<String> {
    let mut flags = board.codegen_flags();
    flags.push("-Ctarget-feature=+crt-static".into());
    flags.push("-Cforce-unwind-tables=no".into());
    flags.push("-Cllvm-args=-inline-threshold=80".into());
    flags
}

fn linker_variable(triple: &str) -> String {
    let triple = triple.to_ascii_uppercase().replace('-', "_");
    format!("CARGO_TARGET_{triple}_LINKER")
}

fn run(command: &mut Command, board: &Board) -> Result<(), Error> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|cause| {
        Error::Toolchain(format!(
            "cannot start {program} ({cause}): `edgeprune doctor --board {}` says what building for {} needs",
            board.id, board.name
        ))
    })?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(Error::Toolchain(format!(
        "building for {} failed; `edgeprune doctor --board {}` checks the toolchain. The last lines of {program}:\n{}",
        board.id,
        board.id,
        tail(&stderr, TAIL_LINES)
    )))
}

/// The last `lines` lines.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.trim_end().lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

fn no_compiler(board: &Board, tools: &Toolchain, rejected: &[Rejected]) -> Error {
    let tried: String = rejected.iter().map(|r| format!("\n  {r}")).collect();
    Error::Toolchain(format!(
        "no Rust compiler can build for {} ({}):{tried}\n`edgeprune doctor --board {}` names the commands that install one",
        board.id, tools.triple, board.id
    ))
}

/// Copies a program.
fn install(built: &Path, output: &Path) -> Result<(), Error> {
    if let Some(folder) = output.parent() {
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
    }
    let bytes = fs::read(built).map_err(Error::io(built))?;
    write_executable(output, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_variable_for_a_linker_is_upper_case() {
        assert_eq!(
            linker_variable("armv7-plan9-gnu"),
            "CARGO_TARGET_ARMV7_PLAN9_GNU_LINKER"
        );
    }

    #[test]
    fn the_tail_of_a_message_is_its_last_lines() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
        assert_eq!(tail("a\n", 2), "a");
    }

    #[test]
    fn a_file_that_is_no_package_is_refused_before_anything_is_built() -> Result<(), Error> {
        let folder = tempfile::tempdir().map_err(Error::io(Path::new("temporary folder")))?;
        let path = folder.path().join("text.epk");
        fs::write(&path, "not a package, whatever its name says").map_err(Error::io(&path))?;
        let message = operators(&path).map_or_else(|e| e.to_string(), |_| String::new());
        assert!(
            message.contains("text.epk") && message.contains("magic"),
            "{message}"
        );
        Ok(())
    }
}
