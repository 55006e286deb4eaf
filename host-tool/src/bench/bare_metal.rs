//! Measures on an emulated machine without an operating system, by QEMU's system mode. The machine's clock counts
//! instructions there, so that times are the same every time.

use super::{BenchOptions, Job};
use crate::Error;
use crate::build::{self, Repetitions, tail};
use crate::monitor::Device;
use crate::report::record::Bench;
use edgeprune_boards::{Bare, Board};
use std::path::Path;
use std::process::{Command, Output};

/// One instruction takes a nanosecond of the machine's time, which never waits for the host's.
const INSTRUCTIONS_PER_US: f64 = 1e3;
/// Lines of a failed emulator's message that an error repeats.
const TAIL_LINES: usize = 15;

/// Puts the package behind the board's image and measures it; `expected` is the digest of the output here.
pub(super) fn emulated(
    board: &Board,
    bare: &Bare,
    job: Job<'_>,
    expected: &str,
) -> Result<Bench, Error> {
    let folder = tempfile::tempdir().map_err(Error::io(Path::new("temporary folder")))?;
    let image = folder.path().join("kernel.img");
    build::image_with_slot(board, job.package, repetitions(job)?, &image)?;
    let output = emulate(board, bare, &image)?;
    let device = Device::of(&output.stdout);
    if let Some(fault) = device.fault() {
        return Err(Error::Package {
            path: job.package.to_path_buf(),
            cause: format!("{} reports: {fault}", board.name),
        });
    }
    let mut record = device
        .bench()
        .ok_or_else(|| silent(board, &output))?
        .clone();
    record.identity.package = job.package.display().to_string();
    record.emulated = true;
    record.matches_host = Some(record.output_sha256 == expected);
    record.instructions_per_inference = Some(instructions(record.latency_us.p50));
    for layer in &mut record.layers {
        layer.instructions = Some(instructions(layer.us));
    }
    Ok(record)
}

fn instructions(us: f64) -> u64 {
    (us * INSTRUCTIONS_PER_US).round() as u64
}

fn repetitions(job: Job<'_>) -> Result<Repetitions, Error> {
    let plain = BenchOptions {
        warm_up: job.options.warm_up,
        runs: job.options.runs,
        ..super::EMULATED
    };
    if job.options != plain || job.samples.is_some() {
        return Err(Error::Usage(
            "without an operating system a benchmark has --runs and --warm-up, but no threads, times or samples".into(),
        ));
    }
    Ok(Repetitions {
        warm_up: plain.warm_up,
        runs: plain.runs,
    })
}

fn emulate(board: &Board, bare: &Bare, image: &Path) -> Result<Output, Error> {
    let Some(machine) = &bare.machine else {
        return Err(Error::Usage(format!(
            "no emulated machine stands in for {}: put the image of `edgeprune build` on a board, and watch it by `edgeprune monitor`",
            board.name
        )));
    };
    let program = &build::toolchain(board)?.emulator;
    let mut command = Command::new(program);
    command
        .args(["-M", machine, "-cpu", &board.emulator.cpu, "-m"])
        .arg(format!("{}M", bare.memory_mib))
        .args([
            "-icount",
            "shift=0,sleep=off",
            "-nic",
            "none",
            "-display",
            "none",
        ])
        .args(["-monitor", "none", "-serial", "stdio", "-no-reboot"])
        .arg("-kernel")
        .arg(image)
        .stdin(std::process::Stdio::null());
    command.output().map_err(|cause| {
        Error::Toolchain(format!(
            "{program} does not start ({cause}): `edgeprune doctor --board {}` names the command that installs it",
            board.id
        ))
    })
}

fn silent(board: &Board, output: &Output) -> Error {
    Error::Toolchain(format!(
        "{} has reported no measurement; the emulator says ({}):\n{}",
        board.name,
        output.status,
        tail(&String::from_utf8_lossy(&output.stderr), TAIL_LINES)
    ))
}
