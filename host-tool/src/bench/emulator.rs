//! Runs the device binary on a board's emulated core, by QEMU's user mode.

use crate::Error;
use crate::build::{self, Source, tail};
use crate::doctor::C_COMPILER;
use edgeprune_boards::Board;
use edgeprune_device::{BenchOptions, BenchReport, RunReport};
use serde::de::DeserializeOwned;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The instruction counter, in edgeprune's source.
const COUNTER_SOURCE: &str = "targets/emulator/count_instructions.c";
/// What the counter writes before its figure.
const COUNTER_LABEL: &str = "instructions: ";
/// The first QEMU with the second version of the plugin interface.
const SECOND_INTERFACE: u32 = 9;
/// Lines of a failed program's message that an error repeats.
const TAIL_LINES: usize = 15;

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

    pub(super) fn bench(
        &self,
        package: &Path,
        options: BenchOptions,
    ) -> Result<BenchReport, Error> {
        let mut command = self.device(&[], "bench", package);
        command.args(bench_words(options));
        self.json(command)
    }

    pub(super) fn run(&self, package: &Path, inputs: &[PathBuf]) -> Result<RunReport, Error> {
        let mut command = self.device(&[], "run", package);
        for input in inputs {
            command.arg("--input").arg(input);
        }
        self.json(command)
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
        let mut command = self.device(&plugin, "repeat", package);
        command.args(["--runs", "2", "--layers"]);
        self.output(command)?;
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
        self.output(cc)?;
        fs::rename(&fresh, &library).map_err(Error::io(&library))?;
        Ok(library)
    }

    fn plugin_interface(&self) -> Result<u32, Error> {
        let mut command = Command::new(&self.program);
        command.arg("--version");
        let text = self.output(command)?;
        let major = text
            .split_whitespace()
            .find_map(|word| word.split('.').next()?.parse::<u32>().ok());
        Ok(match major {
            Some(SECOND_INTERFACE..) => 2,
            _ => 1,
        })
    }

    fn device(&self, options: &[&OsStr], job: &str, package: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["-cpu", &self.cpu]).args(options);
        command.arg(&self.binary).arg(job).arg(package);
        command
    }

    fn json<T: DeserializeOwned>(&self, command: Command) -> Result<T, Error> {
        let text = self.output(command)?;
        serde_json::from_str(&text).map_err(|cause| {
            Error::Toolchain(format!(
                "the device binary for {} answered something else than its report: {cause}",
                self.board
            ))
        })
    }

    fn output(&self, mut command: Command) -> Result<String, Error> {
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
            tail(&String::from_utf8_lossy(&output.stderr), TAIL_LINES)
        )))
    }
}

/// The device binary's options for a benchmark.
pub(super) fn bench_words(options: BenchOptions) -> Vec<String> {
    let mut numbers = vec![
        ("--runs", u128::from(options.runs)),
        ("--warm-up", options.warm_up.into()),
        ("--threads", options.threads.into()),
    ];
    let seconds = |time: Duration| time.as_millis().div_ceil(1000);
    numbers.extend(options.duration.map(|time| ("--duration", seconds(time))));
    let deadline = options.deadline.map(|time| time.as_micros());
    numbers.extend(deadline.map(|time| ("--deadline", time)));
    let words = numbers.iter();
    words
        .flat_map(|(option, number)| [(*option).to_owned(), number.to_string()])
        .collect()
}

fn is_newer(library: &Path, source: &Path) -> bool {
    let time = |path: &Path| fs::metadata(path).and_then(|data| data.modified()).ok();
    matches!((time(library), time(source)), (Some(library), Some(source)) if library > source)
}
