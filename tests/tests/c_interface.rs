//! The runtime as a library for C: a C program, compiled for this machine and for a board, gives the bytes that Rust gives.

use crate::small::{cores, need_toolchain, package, samples};
use edgeprune::build::{Compiler, Library, Source};
use edgeprune_runtime::{Arena, Package, Session};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

type TestResult = Result<(), Box<dyn Error>>;

const EXAMPLE: &str = "device-runtime/c/example/classify.c";
const INCLUDE: &str = "device-runtime/c/include";

/// For what the program is compiled, and what runs it.
struct Target {
    triple: Option<String>,
    compiler: String,
    runner: Vec<String>,
}

impl Target {
    fn host() -> Self {
        Self {
            triple: None,
            compiler: "cc".into(),
            runner: Vec::new(),
        }
    }

    /// The first 64-bit board.
    fn board() -> Option<Self> {
        let board = cores().into_iter().find(|board| board.is_64_bit())?;
        let tools = board.toolchain()?;
        Some(Self {
            triple: Some(tools.triple.clone()),
            compiler: tools.linker.clone(),
            runner: vec![
                tools.emulator.clone(),
                "-cpu".into(),
                board.emulator.cpu.clone(),
            ],
        })
    }

    /// Builds the library.
    fn library(&self, source: &Source) -> Result<PathBuf, Box<dyn Error>> {
        let folder = source.device_folder().with_file_name("c");
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .current_dir(source.root())
            .args([
                "build",
                "--release",
                "--package",
                "edgeprune-c",
                "--target-dir",
            ])
            .arg(&folder);
        let mut built = folder;
        if let Some(triple) = &self.triple {
            let found = Compiler::find(triple, Library::Std, source.root());
            let compiler = found.map_err(|rejected| format!("{rejected:?}"))?;
            cargo
                .args(["--target", triple])
                .env("RUSTC", compiler.program);
            built.push(triple);
        }
        succeeded(&mut cargo)?;
        Ok(built.join("release/libedgeprune_c.a"))
    }

    /// Compiles the example, with warnings as errors.
    fn program(&self, source: &Source, folder: &Path) -> Result<PathBuf, Box<dyn Error>> {
        let program = folder.join(self.triple.as_deref().unwrap_or("host"));
        let mut compiler = Command::new(&self.compiler);
        compiler
            .args(["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-static"])
            .arg(source.root().join(EXAMPLE))
            .arg("-I")
            .arg(source.root().join(INCLUDE))
            .arg(self.library(source)?)
            .args(["-lm", "-lpthread", "-o"])
            .arg(&program);
        succeeded(&mut compiler)?;
        Ok(program)
    }

    fn run(&self, program: &Path, words: &[&Path]) -> std::io::Result<Output> {
        let mut command = match self.runner.split_first() {
            None => Command::new(program),
            Some((runner, options)) => {
                let mut command = Command::new(runner);
                command.args(options).arg(program);
                command
            }
        };
        command.args(words).output()
    }
}

fn succeeded(command: &mut Command) -> TestResult {
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {said}").into()),
    }
}

/// The output bytes of the first sample, in hexadecimal, and its class.
fn expected(bytes: &[u8], values: &[f32]) -> Result<(String, usize), Box<dyn Error>> {
    let package = Package::open(bytes)?;
    let mut arena = Arena::new(package.arena_bytes());
    let mut session = Session::<256>::with_capacity(&package, arena.bytes_mut())?;
    session.set_input_f32(0, values)?;
    session.run(&mut ())?;
    let output = session.output(0)?;
    let text = output.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut scores = [0.0; 10];
    session.output_f32(0, &mut scores)?;
    let class = edgeprune_device::top_class(&scores).ok_or("no scores")?;
    Ok((text, class))
}

#[test]
fn a_c_program_gives_the_bytes_that_rust_gives() -> TestResult {
    gives_the_bytes_that_rust_gives(&Target::host())
}

#[test]
#[ignore = "needs a cross toolchain and emulators: `cargo xtask test` installs them"]
fn a_c_program_gives_the_bytes_that_rust_gives_on_a_board() -> TestResult {
    need_toolchain(&cores())?;
    gives_the_bytes_that_rust_gives(&Target::board().ok_or("no board")?)
}

fn gives_the_bytes_that_rust_gives(target: &Target) -> TestResult {
    let source = Source::find()?;
    let folder = TempDir::new()?;
    let package = package(folder.path())?;
    let values = samples().sample(0)?.concat();
    let input = folder.path().join("input.f32");
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_ne_bytes())
        .collect();
    fs::write(&input, bytes)?;
    let (output, class) = expected(&fs::read(&package)?, &values)?;

    let mut damaged = fs::read(&package)?;
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let damaged_file = folder.path().join("damaged.epk");
    fs::write(&damaged_file, damaged)?;

    let program = target.program(&source, folder.path())?;
    let answer = target.run(&program, &[&package, &input])?;
    let text = String::from_utf8(answer.stdout)?;
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with(&format!("class {class},")), "{text}");
    assert_eq!(lines[1], output);
    let refused = target.run(&program, &[&damaged_file, &input])?;
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8(refused.stderr)?.contains("damaged"));
    let wrong = target.run(&program, &[&package, &package])?;
    assert!(String::from_utf8(wrong.stderr)?.contains("number of elements"));
    Ok(())
}
