//! Whether a board's core computes the bytes that this machine computes.

use super::emulator::Emulator;
use super::{device_error, open};
use crate::Error;
use crate::dataset::Dataset;
use edgeprune_boards::Board;
use edgeprune_device::{RunReport, write_f32};
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};

/// How the outputs of a board's emulated core compare with this machine's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Parity {
    /// The board.
    pub board: String,
    /// Its core.
    pub cpu: String,
    /// Number of samples.
    pub samples: usize,
    /// Samples whose output bytes differ.
    pub different: Vec<usize>,
    /// SHA-256 over this machine's output bytes.
    pub output_sha256: String,
}

impl Parity {
    /// Whether every output byte of every sample is the same.
    pub fn holds(&self) -> bool {
        self.different.is_empty()
    }
}

/// Runs the first `count` samples of `data` here and on the emulated cores of `boards`, and compares
/// the output bytes.
///
/// # Errors
/// A package that does not open, samples that do not fit, no toolchain or emulator.
pub fn parity(
    package: &Path,
    data: &Dataset,
    count: usize,
    boards: &[&Board],
) -> Result<Vec<Parity>, Error> {
    open(package)?;
    let folder = tempfile::tempdir().map_err(Error::io(Path::new("temporary folder")))?;
    let inputs = write_inputs(data, count, folder.path())?;
    let bytes = fs::read(package).map_err(Error::io(package))?;
    let here = edgeprune_device::run(&bytes, &inputs, &[]).map_err(device_error(package))?;
    boards
        .iter()
        .map(|board| {
            let there = Emulator::new(board)?.run(package, &inputs)?;
            Ok(compare(board, &here, &there))
        })
        .collect()
}

/// One `.npy` file for each model input, samples along the first dimension.
fn write_inputs(data: &Dataset, count: usize, folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut inputs: Vec<Vec<f32>> = Vec::new();
    let count = count.min(data.len());
    for index in 0..count {
        let sample = data.sample(index)?;
        inputs.resize(sample.len().max(inputs.len()), Vec::new());
        for (all, one) in inputs.iter_mut().zip(&sample) {
            all.extend_from_slice(one);
        }
    }
    let write = |(index, values): (usize, &Vec<f32>)| {
        let path = folder.join(format!("input-{index}.npy"));
        let shape = [count, values.len() / count.max(1)];
        fs::write(&path, write_f32(&shape, values)).map_err(Error::io(&path))?;
        Ok(path)
    };
    inputs.iter().enumerate().map(write).collect()
}

fn compare(board: &Board, here: &RunReport, there: &RunReport) -> Parity {
    let (ours, theirs) = (&here.sample_sha256, &there.sample_sha256);
    let different = (0..ours.len().max(theirs.len())).filter(|&i| ours.get(i) != theirs.get(i));
    Parity {
        board: board.id.clone(),
        cpu: board.cpu.core.clone(),
        samples: here.samples,
        different: different.collect(),
        output_sha256: here.output_sha256.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(hashes: &[&str]) -> RunReport {
        RunReport {
            model: String::new(),
            samples: hashes.len(),
            output_sha256: hashes.concat(),
            sample_sha256: hashes.iter().map(|&hash| hash.to_owned()).collect(),
        }
    }

    #[test]
    fn a_sample_that_differs_is_named() {
        let board = &edgeprune_boards::all()[0];
        let here = report(&["a", "b", "c"]);
        assert!(compare(board, &here, &here).holds());
        let parity = compare(board, &here, &report(&["a", "x", "c"]));
        assert_eq!(parity.different, [1]);
        assert!(!compare(board, &here, &report(&["a", "b"])).holds());
    }
}
