//! Measures a package: on this machine, or on a board's emulated core.
//!
//! Both run the same code, [`edgeprune_device`]. An emulator's times are not the board's: there,
//! the exact number of instructions is what counts, and that the output bytes are the host's.

mod emulator;
mod parity;

pub use edgeprune_device::BenchOptions;
pub use parity::{Parity, parity};

use crate::Error;
use crate::report::record::{Bench, BenchLayer, Identity};
use edgeprune_boards::Board;
use edgeprune_device::BenchReport;
use emulator::Emulator;
use std::fs;
use std::path::Path;

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
/// device binary first.
///
/// # Errors
/// As [`host`]; no toolchain or emulator, or one that fails.
pub fn emulated(package: &Path, board: &Board, options: BenchOptions) -> Result<Bench, Error> {
    open(package)?;
    let emulator = Emulator::new(board)?;
    let report = emulator.bench(package, options)?;
    let instructions = emulator.instructions(package, report.layers.len())?;
    let mut record = record(package, &board.id, report);
    record.cpu.clone_from(&board.cpu.core);
    record.emulated = true;
    record.machine = None; // the emulator shows the host's
    record.resident = None;
    record.peak_int8_macs_per_second = Some(board.peak_int8_macs_per_second());
    record.instructions_per_inference = Some(instructions.all);
    for (layer, instructions) in record.layers.iter_mut().zip(instructions.layers) {
        layer.instructions = Some(instructions);
    }
    Ok(record)
}

/// Refuses a package before anything is built for it.
fn open(package: &Path) -> Result<(), Error> {
    let bytes = fs::read(package).map_err(Error::io(package))?;
    edgeprune_runtime::Package::open(&bytes).map_err(|cause| Error::Package {
        path: package.to_path_buf(),
        cause: cause.to_string(),
    })?;
    Ok(())
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
