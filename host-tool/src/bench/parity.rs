//! Whether a board computes the bytes that this machine computes, and how it scores.

use super::device::Device;
use super::device_error;
use super::emulator::Emulator;
use crate::Error;
use crate::dataset::Dataset;
use crate::eval::{Opened, each_sample};
use crate::report::record::OnDevice;
use edgeprune_boards::Board;
use edgeprune_device::RunReport;
use rayon::prelude::*;
use serde::Serialize;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

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

/// Runs the samples of `data` here and on the emulated cores of `boards`, and compares
/// the output bytes.
///
/// # Errors
/// A package that does not open, samples that do not fit, no toolchain or emulator.
pub fn parity(package: &Path, data: &Dataset, boards: &[&Board]) -> Result<Vec<Parity>, Error> {
    let samples = Samples::write(package, data)?;
    let emulators = boards.iter().map(|board| Emulator::new(board));
    let emulators: Vec<Emulator> = emulators.collect::<Result<_, _>>()?;
    boards
        .par_iter()
        .zip(&emulators)
        .map(|(board, emulator)| {
            let there = emulator.run(package, &samples.files)?;
            Ok(Parity {
                board: board.id.clone(),
                cpu: board.cpu.core.clone(),
                samples: there.samples,
                different: samples.different(&there),
                output_sha256: samples.here.output_sha256.clone(),
            })
        })
        .collect()
}

/// Samples of a package as files, and what this machine makes of them.
#[derive(Debug)]
pub struct Samples {
    /// One for each input of the network.
    files: Vec<PathBuf>,
    here: RunReport,
    package: Vec<u8>,
    /// Where every sample has one.
    labels: Option<Vec<usize>>,
    _folder: TempDir,
}

impl Samples {
    /// Writes the samples of `data` and runs them here.
    ///
    /// # Errors
    /// A package that does not open, samples that do not fit it.
    pub fn write(package: &Path, data: &Dataset) -> Result<Self, Error> {
        let folder = tempfile::tempdir().map_err(Error::io(Path::new("temporary folder")))?;
        let bytes = fs::read(package).map_err(Error::io(package))?;
        let files = write_inputs(package, &bytes, data, folder.path())?;
        let here = edgeprune_device::run(&bytes, &files, &[]).map_err(device_error(package))?;
        Ok(Self {
            labels: (0..here.samples).map(|i| data.label(i)).collect(),
            files,
            here,
            package: bytes,
            _folder: folder,
        })
    }

    /// The samples whose output bytes differ.
    fn different(&self, there: &RunReport) -> Vec<usize> {
        let (ours, theirs) = (&self.here.sample_sha256, &there.sample_sha256);
        let all = 0..ours.len().max(theirs.len());
        all.filter(|&i| ours.get(i) != theirs.get(i)).collect()
    }

    /// Runs the samples on a device, scores them, and finds out where its outputs first differ from this machine's.
    pub(super) fn on(&self, device: &impl Device, package: &Path) -> Result<OnDevice, Error> {
        let there = device.run(package, &self.files)?;
        let different = self.different(&there);
        let first_layer = match different.first() {
            Some(&sample) => self.first_layer(device, package, sample)?,
            None => None,
        };
        Ok(OnDevice {
            samples: there.samples as u64,
            top1: self.top1(&there),
            different: different.iter().map(|&sample| sample as u64).collect(),
            first_layer,
        })
    }

    fn first_layer(
        &self,
        device: &impl Device,
        package: &Path,
        sample: usize,
    ) -> Result<Option<String>, Error> {
        let here = edgeprune_device::layers(&self.package, &self.files, sample)
            .map_err(device_error(package))?;
        let there = device.layers(package, &self.files, sample)?;
        let layers = here.into_iter().zip(there);
        let differing = layers.filter(|(here, there)| here != there);
        Ok(differing.map(|(here, _)| here.name).next())
    }

    fn top1(&self, there: &RunReport) -> Option<f64> {
        let labels = self.labels.as_ref()?;
        let right = labels.iter().zip(&there.classes);
        let right = right.filter(|(label, class)| label == class).count();
        Some(100.0 * right as f64 / labels.len() as f64)
    }
}

/// One file for each input of the network, with the bytes that it reads, sample after sample.
fn write_inputs(
    package: &Path,
    bytes: &[u8],
    data: &Dataset,
    folder: &Path,
) -> Result<Vec<PathBuf>, Error> {
    let opened = Opened::new(package, bytes)?;
    let paths: Vec<PathBuf> = (0..opened.input_elements().len())
        .map(|index| folder.join(format!("input-{index}.bin")))
        .collect();
    let create = |path: &PathBuf| File::create(path).map_err(Error::io(path));
    let mut files = paths.iter().map(create).collect::<Result<Vec<_>, _>>()?;
    let samples = each_sample(&opened, data.len(), |runner, sample| {
        runner.input_bytes(&data.sample(sample)?)
    })?;
    for inputs in samples {
        for ((file, path), bytes) in files.iter_mut().zip(&paths).zip(&inputs) {
            file.write_all(bytes).map_err(Error::io(path))?;
        }
    }
    Ok(paths)
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
            classes: vec![0; hashes.len()],
        }
    }

    fn samples(hashes: &[&str], labels: Option<Vec<usize>>) -> std::io::Result<Samples> {
        Ok(Samples {
            files: Vec::new(),
            here: report(hashes),
            package: Vec::new(),
            labels,
            _folder: tempfile::tempdir()?,
        })
    }

    #[test]
    fn a_sample_that_differs_is_named() -> std::io::Result<()> {
        let here = samples(&["a", "b", "c"], None)?;
        assert!(here.different(&report(&["a", "b", "c"])).is_empty());
        assert_eq!(here.different(&report(&["a", "x", "c"])), [1]);
        assert_eq!(here.different(&report(&["a", "b"])), [2]);
        Ok(())
    }

    #[test]
    fn samples_with_labels_are_scored() -> std::io::Result<()> {
        let there = report(&["a", "b"]);
        assert_eq!(samples(&["a", "b"], None)?.top1(&there), None);
        let labelled = samples(&["a", "b"], Some(vec![0, 3]))?;
        assert_eq!(labelled.top1(&there), Some(50.0));
        Ok(())
    }
}
