//! Images that a board without an operating system starts: with a package inside, or behind.

use super::{Contents, Jobs, Source, compiler::Library, linker_variable, lock, toolchain};
use super::{cargo, install, no_compiler, run};
use crate::Error;
use crate::build::Compiler;
use edgeprune_boards::{Bare, Board};
use edgeprune_format::slot::{self, Slot};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The program's manifest, in edgeprune's source. It is no member of the workspace.
const MANIFEST: &str = "targets/bare-metal/Cargo.toml";
const PROGRAM: &str = "edgeprune-bare-metal";
/// Inferences of the benchmark in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repetitions {
    /// Inferences before the first that counts.
    pub warm_up: u32,
    /// Inferences that count.
    pub runs: u32,
}

/// Builds an image for `board` that contains `package` and only the operators that it uses, and writes it to
/// `output`. Returns the triple that it is compiled for.
///
/// # Errors
/// A board with an operating system, a package that does not open, no source, compiler, linker or objcopy for the
/// board, a failed build.
pub fn image<'b>(board: &'b Board, package: &Path, output: &Path) -> Result<&'b str, Error> {
    let contents = Contents::of(&[package.to_path_buf()], Jobs::default())?;
    build(board, &contents, output)?;
    Ok(&board.build.triple)
}

/// Writes an image to `output` that has every operator and `package` behind it. The image is compiled once for a board,
/// whatever the package.
///
/// # Errors
/// As [`image`]; a package that cannot be read.
pub fn image_with_slot(
    board: &Board,
    package: &Path,
    repetitions: Repetitions,
    output: &Path,
) -> Result<(), Error> {
    let package = fs::read(package).map_err(Error::io(package))?;
    build(board, &Contents::default(), output)?;
    let mut image = fs::read(output).map_err(Error::io(output))?;
    fill_slot(&mut image, &package, repetitions).ok_or_else(|| {
        Error::Toolchain(format!("the image for {} takes no package", board.name))
    })?;
    fs::write(output, image).map_err(Error::io(output))
}

/// Appends the package and the zeros before it to the image.
fn fill_slot(image: &mut Vec<u8>, package: &[u8], repetitions: Repetitions) -> Option<()> {
    let offset = usize::try_from(slot::offset(image)?).ok()?;
    let head = Slot {
        package_bytes: package.len() as u64,
        warm_up: repetitions.warm_up,
        runs: repetitions.runs,
    };
    if offset < image.len() {
        return None;
    }
    image.resize(offset, 0);
    image.extend(head.to_bytes());
    image.extend(package);
    Some(())
}

/// Compiles the program and puts its image at `output`.
fn build(board: &Board, contents: &Contents, output: &Path) -> Result<(), Error> {
    let tools = toolchain(board)?;
    let (Some(bare), Some(bare_tools)) = (&board.bare, &tools.bare) else {
        return Err(Error::Usage(format!(
            "{} has an operating system: it takes a device binary, not an image",
            board.name
        )));
    };
    let source = Source::find()?;
    let folder = source.device_folder();
    fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
    let _lock = lock(&folder)?;
    let program = compile(&source, board, bare, contents)?;
    let image = program.with_extension("img");
    let mut objcopy = Command::new(&bare_tools.objcopy);
    objcopy.args(["-O", "binary"]).arg(&program).arg(&image);
    run(&mut objcopy, board)?;
    install(&image, output)
}

fn compile(
    source: &Source,
    board: &Board,
    bare: &Bare,
    contents: &Contents,
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
        .env(linker_variable(&tools.triple), &tools.linker)
        .env_remove("EDGEPRUNE_PACKAGE");
    compiler.compile_with(&mut cargo);
    if let Some(package) = &contents.package {
        cargo.env("EDGEPRUNE_PACKAGE", package);
    }
    run(&mut cargo, board)?;
    Ok(folder.join(&tools.triple).join("release").join(PROGRAM))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPETITIONS: Repetitions = Repetitions {
        warm_up: 2,
        runs: 5,
    };

    /// An image of 24 bytes that takes a package at `offset`.
    fn image(offset: u64) -> Vec<u8> {
        let head = [0, slot::MAGIC, offset].map(u64::to_le_bytes);
        head.concat()
    }

    #[test]
    fn a_package_lies_where_the_image_looks_for_it() {
        let mut image = image(100);
        assert_eq!(fill_slot(&mut image, b"package", REPETITIONS), Some(()));
        assert_eq!(image[24..100], [0; 76]);
        image.extend([0; 64]);
        let found = Slot::split(&mut image[100..]).map(|(slot, package, _)| (slot, &*package));
        let slot = Slot {
            package_bytes: 7,
            warm_up: 2,
            runs: 5,
        };
        assert_eq!(found, Some((slot, b"package".as_slice())));
    }

    #[test]
    fn images_without_a_slot_behind_them_take_no_package() {
        assert_eq!(fill_slot(&mut vec![0; 64], b"package", REPETITIONS), None);
        assert_eq!(fill_slot(&mut image(20), b"package", REPETITIONS), None);
    }
}
