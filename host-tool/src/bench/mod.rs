//! Measures a package: on this machine, on a board's emulated core, or on boards that ssh reaches.
//!
//! All run the same code, [`edgeprune_device`]. An emulator's times are not the board's: there,
//! the exact number of instructions is what counts, and that the output bytes are the host's.

mod bare_metal;
mod board_vm;
mod device;
mod emulator;
mod parity;
mod ssh;

pub use board_vm::BoardVm;
pub use edgeprune_device::BenchOptions;
pub use parity::{Parity, Samples, parity};
pub use ssh::Ssh;

use crate::Error;
use crate::build;
use crate::progress::{Line, Progress};
use crate::report::record::{Bench, BenchLayer, Identity};
use device::Device;
use edgeprune_boards::Board;
use edgeprune_device::{BenchReport, hexadecimal};
use edgeprune_runtime::Package;
use emulator::Emulator;
use sha2::{Digest, Sha256};
use ssh::Remote;
use std::fs;
use std::path::{Path, PathBuf};

/// What a record of this machine has in place of a board's id.
pub const HOST: &str = "host";

/// For emulators: their times mean little, their instructions need no repetition.
pub const EMULATED: BenchOptions = BenchOptions {
    warm_up: 0,
    runs: 3,
    threads: 1,
    duration: None,
    deadline: None,
};

/// What to measure, and how.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The package.
    pub package: &'a Path,
    /// Runs, threads, times.
    pub options: BenchOptions,
    /// Samples to run there and to compare with this machine's run.
    pub samples: Option<&'a Samples>,
}

impl<'a> Job<'a> {
    /// Without samples.
    pub fn new(package: &'a Path, options: BenchOptions) -> Self {
        Self {
            package,
            options,
            samples: None,
        }
    }
}

/// A board that ssh reaches.
#[derive(Clone, Debug)]
pub struct Destination {
    /// As ssh takes it: `pi@raspberrypi.local`, `ssh://pi@10.0.0.4:2222`, a name of its configuration.
    pub address: String,
    /// Which board it is.
    pub board: Board,
}

/// Measures on this machine, in this process.
///
/// # Errors
/// A package that cannot be read or does not open; no runs; no threads, or more than this machine runs at a time.
pub fn host(package: &Path, options: BenchOptions) -> Result<Bench, Error> {
    let bytes = fs::read(package).map_err(Error::io(package))?;
    let report = edgeprune_device::bench(&bytes, options).map_err(device_error(package))?;
    Ok(record(package, HOST, report))
}

/// Measures on the board's emulated core, and counts the instructions of one inference. Builds the
/// device binary or, where there is no operating system, the image first.
///
/// # Errors
/// As [`host`]; no toolchain or emulator, or one that fails.
pub fn emulated(board: &Board, job: Job<'_>) -> Result<Bench, Error> {
    let expected = output_here(job.package)?;
    if let Some(bare) = &board.bare {
        return bare_metal::emulated(board, bare, job, &expected);
    }
    let emulator = Emulator::new(board)?;
    let mut record = measure(&emulator, board, job, &expected)?;
    let instructions = emulator.instructions(job.package, record.layers.len())?;
    record.cpu.clone_from(&board.cpu.core);
    record.emulated = true;
    record.machine = None; // the emulator shows the host's
    record.resident = None;
    record.instructions_per_inference = Some(instructions.all);
    for (layer, instructions) in record.layers.iter_mut().zip(instructions.layers) {
        layer.instructions = Some(instructions);
    }
    Ok(record)
}

/// Instructions of one inference on the board's emulated core, without measuring anything else.
///
/// # Errors
/// A package that cannot be read or does not open; no toolchain or emulator, or one that fails.
pub fn instructions(board: &Board, package: &Path) -> Result<u64, Error> {
    let bytes = fs::read(package).map_err(Error::io(package))?;
    let opened = Package::open(&bytes).map_err(|cause| Error::Package {
        path: package.to_path_buf(),
        cause: cause.to_string(),
    })?;
    let layers = usize::from(opened.manifest().head.counts.nodes);
    Ok(Emulator::new(board)?.instructions(package, layers)?.all)
}

/// Measures on boards that ssh reaches, on all at once. Builds the device binaries first, one after the other. The
/// results are in the order of `destinations`; one that fails does not stop the others.
///
/// # Errors
/// Of the whole: a package that does not open, no toolchain. Of a board: not reached, of another kind, without room,
/// stopped.
pub fn remote(
    destinations: &[Destination],
    ssh: &Ssh,
    job: Job<'_>,
    progress: Progress,
) -> Result<Vec<Result<Bench, Error>>, Error> {
    if let Some(Destination { board, .. }) = destinations.iter().find(|d| d.board.bare.is_some()) {
        return Err(Error::Usage(format!(
            "{} has no operating system that ssh could reach: `edgeprune build` makes its image, `edgeprune monitor` reads what it sends",
            board.name
        )));
    }
    let expected = output_here(job.package)?;
    let binary = |destination: &Destination| build::shared_device_binary(&destination.board);
    let binaries: Vec<PathBuf> = destinations.iter().map(binary).collect::<Result<_, _>>()?;
    let lines = progress.lines();
    Ok(std::thread::scope(|scope| {
        let all = destinations.iter().zip(binaries);
        let threads: Vec<_> = all
            .map(|(destination, binary)| {
                let line = lines.add(&destination.address);
                let expected = &expected;
                scope.spawn(move || on_board(destination, ssh, binary, job, expected, line))
            })
            .collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        threads.into_iter().map(join).collect()
    }))
}

fn on_board(
    destination: &Destination,
    ssh: &Ssh,
    binary: PathBuf,
    job: Job<'_>,
    expected: &str,
    line: Line,
) -> Result<Bench, Error> {
    let Destination { address, board } = destination;
    let device = Remote::open(address, ssh, board, binary, line)?;
    let mut record = measure(&device, board, job, expected)?;
    record.host = Some(address.clone());
    let machine = record.machine.as_ref();
    record.emulated = machine.is_some_and(|machine| machine.is_emulated());
    Ok(record)
}

/// Measures on a machine that has the device binary.
fn measure(
    device: &impl Device,
    board: &Board,
    job: Job<'_>,
    expected: &str,
) -> Result<Bench, Error> {
    let binary = device.binary();
    let bytes = fs::read(binary).map_err(Error::io(binary))?;
    let report = device.bench(job.package, job.options)?;
    let mut record = record(job.package, &board.id, report);
    record.binary_sha256 = Some(hexadecimal(&Sha256::digest(bytes)));
    record.peak_int8_macs_per_second = Some(board.peak_int8_macs_per_second());
    record.matches_host = Some(record.output_sha256 == expected);
    let on = |samples: &Samples| samples.on(device, job.package);
    record.on_device = job.samples.map(on).transpose()?;
    Ok(record)
}

/// The digest of the output bytes for the benchmark's own input on this machine. Refuses a package before anything
/// is built for it.
fn output_here(package: &Path) -> Result<String, Error> {
    let bytes = fs::read(package).map_err(Error::io(package))?;
    edgeprune_device::repeat(&bytes, 1, false).map_err(device_error(package))
}

fn device_error(package: &Path) -> impl FnOnce(edgeprune_device::Error) -> Error + '_ {
    |error| match error {
        edgeprune_device::Error::Io { path, source } => Error::Io { path, source },
        edgeprune_device::Error::NoRuns | edgeprune_device::Error::Threads { .. } => {
            Error::Usage(error.to_string())
        }
        other => Error::Package {
            path: package.to_path_buf(),
            cause: other.to_string(),
        },
    }
}

fn record(package: &Path, board: &str, report: BenchReport) -> Bench {
    let layers = report.layers.into_iter().map(|layer| BenchLayer {
        name: layer.name,
        op: layer.op,
        us: layer.us,
        macs: layer.macs,
        bytes: layer.bytes,
        class: layer.class,
        kernel: layer.kernel,
        instructions: None,
    });
    Bench {
        identity: Identity {
            model: report.model,
            package: package.display().to_string(),
            package_hash: report.package_hash,
        },
        board: board.to_owned(),
        cpu: report.machine.cpu.clone(),
        runs: report.runs,
        warm_up: report.warm_up.into(),
        threads: report.threads.into(),
        kernels: report.kernels,
        cold_us: Some(report.cold_us),
        latency_us: report.latency_us,
        arena_bytes: report.arena_bytes,
        package_bytes: report.package_bytes,
        layers: layers.collect(),
        output_sha256: report.output_sha256,
        tool: env!("CARGO_PKG_VERSION").to_owned(),
        machine: Some(report.machine),
        before: report.before,
        after: report.after,
        histogram: report.histogram,
        deadline: report.deadline,
        timeline: report.timeline,
        resident: report.resident,
        energy: report.energy,
        ..Bench::default()
    }
}
