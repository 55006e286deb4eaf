//! Compiles a package into an image that a board without an operating system starts.

use super::{Contents, Jobs, Source, compiler::Library, linker_variable, lock, toolchain};
use super::{cargo, install, no_compiler, run};
use crate::Error;
use crate::build::Compiler;
use edgeprune_boards::{Bare, Board};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The program's manifest, in edgeprune's source. It is no member of the workspace.
const MANIFEST: &str = "targets/bare-metal/Cargo.toml";
const PROGRAM: &str = "edgeprune-bare-metal";
/// The program asks for these when it is compiled.
const WARM_UP: &str = "EDGEPRUNE_WARM_UP";
const RUNS: &str = "EDGEPRUNE_RUNS";

/// Inferences of the benchmark in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repetitions {
    /// Inferences before the first that counts.
    pub warm_up: u32,
    /// Inferences that count.
    pub runs: u32,
}

/// Builds an image with `package` for `board` and puts it at `output`. Returns the triple that it is compiled for.
/// Without `repetitions` the program's own number counts.
///
/// # Errors
/// A board with an operating system, a package that does not open, no source, compiler, linker or objcopy for the
/// board, a failed build.
pub fn image<'b>(
    board: &'b Board,
    package: &Path,
    repetitions: Option<Repetitions>,
    output: &Path,
) -> Result<&'b str, Error> {
    let tools = toolchain(board)?;
    let (Some(bare), Some(bare_tools)) = (&board.bare, &tools.bare) else {
        return Err(Error::Usage(format!(
            "{} has an operating system: it takes a device binary, not an image",
            board.name
        )));
    };
    let source = Source::find()?;
    let contents = Contents::of(&[package.to_path_buf()], Jobs::default())?;
    let folder = source.device_folder();
    fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
    let _lock = lock(&folder)?;
    let program = compile(&source, board, bare, &contents, repetitions)?;
    let image = program.with_extension("img");
    let mut objcopy = Command::new(&bare_tools.objcopy);
    objcopy.args(["-O", "binary"]).arg(&program).arg(&image);
    run(&mut objcopy, board)?;
    install(&image, output)?;
    Ok(&board.build.triple)
}

fn compile(
    source: &Source,
    board: &Board,
    bare: &Bare,
    contents: &Contents,
    repetitions: Option<Repetitions>,
) -> Result<PathBuf, Error> {
    let tools = toolchain(board)?;
    let compiler = Compiler::find(&tools.triple, Library::Core, source.root())
        .map_err(|rejected| no_compiler(board, tools, &rejected))?;
    let folder = source.device_folder();
    let mut flags = board.codegen_flags();
    flags.extend(tools.bare.iter().flat_map(|bare| bare.flags.clone()));
    let mut cargo = Command::new(cargo());
    cargo
        .current_dir(source.root())
        .args(["build", "--release", "--manifest-path", MANIFEST])
        .args(["--bin", PROGRAM])
        .args(contents.features())
        .args(["--features", &bare.feature])
        .args(["--target", &tools.triple, "--target-dir"])
        .arg(&folder)
        .env("EDGEPRUNE_BOARD", &board.id)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .env(linker_variable(&tools.triple), &tools.linker);
    compiler.compile_with(&mut cargo);
    if let Some(package) = &contents.package {
        cargo.env("EDGEPRUNE_PACKAGE", package);
    }
    cargo.env_remove(WARM_UP).env_remove(RUNS);
    if let Some(Repetitions { warm_up, runs }) = repetitions {
        cargo.env(WARM_UP, warm_up.to_string());
        cargo.env(RUNS, runs.to_string());
    }
    run(&mut cargo, board)?;
    Ok(folder.join(&tools.triple).join("release").join(PROGRAM))
}
