//! Runs the device binary on a board's emulated core, by QEMU's user mode.

use super::device::{Device, Word, last_words};
use crate::Error;
use crate::build::{self, Source};
use crate::doctor::C_COMPILER;
use edgeprune_boards::Board;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The instruction counter, in edgeprune's source.
const COUNTER_SOURCE: &str = "targets/emulator/count_instructions.c";
/// What the counter writes before its figure.
const COUNTER_LABEL: &str = "instructions: ";
/// The first QEMU with the second version of the plugin interface.
const SECOND_INTERFACE: u32 = 9;

/// A board's device binary, and the emulator that runs it.
pub(super) struct Emulator {
    program: String,
    cpu: String,
    board: String,
    binary: PathBuf,
}

/// Instructions of one inference.
pub(super) struct Instructions {
    pub(super) all: u64,
    /// In order of execution.
    pub(super) layers: Vec<u64>,
}

impl Instructions {
    /// From what was counted between marks: before the first, two inferences, up to the first layer, the layers.
    fn of(counts: &[u64], layers: usize) -> Option<Self> {
        match counts {
            [_, _, all, _, counts @ ..] if counts.len() == layers => Some(Self {
                all: *all,
                layers: counts.to_vec(),
            }),
            _ => None,
        }
    }
}

impl Emulator {
    /// Builds the device binary.
    pub(super) fn new(board: &Board) -> Result<Self, Error> {
        Ok(Self {
            program: build::toolchain(board)?.emulator.clone(),
            cpu: board.emulator.cpu.clone(),
            board: board.id.clone(),
            binary: build::shared_device_binary(board)?,
        })
    }

    /// Instructions of the second of two inferences, and those of its `layers` nodes.
    pub(super) fn instructions(
        &self,
        package: &Path,
        layers: usize,
    ) -> Result<Instructions, Error> {
        let counter = self.counter()?;
        let log = tempfile::NamedTempFile::new().map_err(Error::io(Path::new("temporary file")))?;
        let plugin: [&OsStr; 6] = [
            "-plugin".as_ref(),
            counter.as_ref(),
            "-d".as_ref(),
            "plugin".as_ref(),
            "-D".as_ref(),
            log.path().as_ref(),
        ];
        let mut command = self.device(&plugin);
        command.arg("repeat").arg(package);
        command.args(["--runs", "2", "--layers"]);
        self.output_of(command)?;
        let text = fs::read_to_string(log.path()).map_err(Error::io(log.path()))?;
        let counts = text
            .lines()
            .filter_map(|line| line.strip_prefix(COUNTER_LABEL)?.parse().ok());
        Instructions::of(&counts.collect::<Vec<u64>>(), layers).ok_or_else(|| {
                Error::Toolchain(format!(
                    "{} did not write the instruction counter's figure: does it support plugins? (`edgeprune doctor`)",
                    self.program
                ))
            })
    }

    /// The counter as a library, compiled if there is none newer than its source.
    fn counter(&self) -> Result<PathBuf, Error> {
        let source = Source::find()?;
        let interface = self.plugin_interface()?;
        let file = source.root().join(COUNTER_SOURCE);
        let folder = source.device_folder();
        let library = folder.join(format!("count_instructions-{interface}.so"));
        if is_newer(&library, &file) {
            return Ok(library);
        }
        fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
        let scratch = tempfile::tempdir_in(&folder).map_err(Error::io(&folder))?;
        let fresh = scratch.path().join("plugin.so");
        let mut cc = Command::new(C_COMPILER);
        cc.args(["-O2", "-shared", "-fPIC", "-Wall", "-Wextra"])
            .arg(format!("-DPLUGIN_VERSION={interface}"))
            .arg(&file)
            .arg("-o")
            .arg(&fresh);
        self.output_of(cc)?;
        fs::rename(&fresh, &library).map_err(Error::io(&library))?;
        Ok(library)
    }

    fn plugin_interface(&self) -> Result<u32, Error> {
        let mut command = Command::new(&self.program);
        command.arg("--version");
        let text = self.output_of(command)?;
        let major = text
            .split_whitespace()
            .find_map(|word| word.split('.').next()?.parse::<u32>().ok());
        Ok(match major {
            Some(SECOND_INTERFACE..) => 2,
            _ => 1,
        })
    }

    fn device(&self, options: &[&OsStr]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["-cpu", &self.cpu]).args(options);
        command.arg(&self.binary);
        command
    }

    fn output_of(&self, mut command: Command) -> Result<String, Error> {
        let program = command.get_program().to_string_lossy().into_owned();
        let output = command.output().map_err(|cause| {
            Error::Toolchain(format!(
                "{program} does not start ({cause}): `edgeprune doctor --board {}` names the command that installs it",
                self.board
            ))
        })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(Error::Toolchain(format!(
            "{program} for {} failed ({}):\n{}",
            self.board,
            output.status,
            last_words(&output.stderr)
        )))
    }
}

impl Device for Emulator {
    fn name(&self) -> &str {
        &self.board
    }

    fn binary(&self) -> &Path {
        &self.binary
    }

    fn output(&self, words: &[Word<'_>]) -> Result<String, Error> {
        let mut command = self.device(&[]);
        for word in words {
            match word {
                Word::Text(text) => command.arg(text),
                Word::File(path) => command.arg(path),
            };
        }
        self.output_of(command)
    }
}

fn is_newer(library: &Path, source: &Path) -> bool {
    let time = |path: &Path| fs::metadata(path).and_then(|data| data.modified()).ok();
    matches!((time(library), time(source)), (Some(library), Some(source)) if library > source)
}
