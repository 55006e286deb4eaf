//! Runs a network on samples from files.

use crate::network::{arena, hexadecimal};
use crate::{Digest, Error, Network, Npy, digest, open, write_f32};
use edgeprune_format::manifest::{DType, Node};
use edgeprune_runtime::{Observer, Package};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

/// The values of one model input over all samples.
#[derive(Clone, Debug, PartialEq)]
pub enum Samples {
    /// Real values, NHWC, sample after sample.
    Real(Vec<f32>),
    /// Bytes as the network's input holds them: codes, or floats.
    Raw(Vec<u8>),
}

impl Samples {
    /// Reads real values from a `.npy` file, bytes from any other.
    ///
    /// # Errors
    /// A file that cannot be read, or is no array.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = fs::read(path).map_err(Error::io(path))?;
        if path.extension().is_none_or(|extension| extension != "npy") {
            return Ok(Self::Raw(bytes));
        }
        let npy = Npy::parse(&bytes).map_err(|cause| Error::samples(path, cause))?;
        Ok(Self::Real(npy.values))
    }

    fn len(&self) -> usize {
        match self {
            Self::Real(values) => values.len(),
            Self::Raw(bytes) => bytes.len(),
        }
    }

    /// The place of the first value that is not finite; codes have none.
    fn not_finite(&self, dtype: DType) -> Option<usize> {
        let is_bad = |value: &f32| !value.is_finite();
        match self {
            Self::Real(values) => values.iter().position(is_bad),
            Self::Raw(bytes) if dtype == DType::F32 => {
                let (words, _) = bytes.as_chunks::<4>();
                words
                    .iter()
                    .position(|word| is_bad(&f32::from_ne_bytes(*word)))
            }
            Self::Raw(_) => None,
        }
    }

    fn set(
        &self,
        network: &mut Network<'_, '_>,
        input: usize,
        sample: usize,
        size: usize,
    ) -> Result<(), Error> {
        let range = sample * size..(sample + 1) * size;
        match self {
            Self::Real(values) => {
                network.set_input_f32(input, values.get(range).unwrap_or_default())?;
            }
            Self::Raw(bytes) => network
                .input(input)?
                .copy_from_slice(bytes.get(range).unwrap_or_default()),
        }
        Ok(())
    }
}

/// What came out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunReport {
    /// Name of the model.
    pub model: String,
    /// Number of samples.
    pub samples: usize,
    /// SHA-256 over all output bytes.
    pub output_sha256: String,
    /// SHA-256 over each sample's output bytes.
    pub sample_sha256: Vec<String>,
    /// The index of the highest element of each sample's first output, the first of several.
    pub classes: Vec<usize>,
}

/// A node's output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerDigest {
    /// Name.
    pub name: String,
    /// SHA-256 over the output's bytes.
    pub sha256: String,
}

/// Runs every sample of `inputs` (a file for each model input) and writes `outputs` (a file for
/// each of the first model outputs: real values to a `.npy`, bytes to any other).
///
/// # Errors
/// Files that cannot be read or written, or do not fit the network.
pub fn run(bytes: &[u8], inputs: &[PathBuf], outputs: &[PathBuf]) -> Result<RunReport, Error> {
    let package = Package::open(bytes)?;
    let mut arena = arena(package.arena_bytes())?;
    let mut opened = open(&package, arena.bytes_mut());
    let network = opened.as_mut().map_err(|error| *error)?;
    let files = Files::read(network, inputs)?;
    let mut writers = writers(network, outputs)?;
    let mut all = Digest::default();
    let mut sample_sha256 = Vec::with_capacity(files.samples);
    let mut classes = Vec::with_capacity(files.samples);
    for sample in 0..files.samples {
        files.set(network, sample)?;
        network.run(&mut ())?;
        all.add(network)?;
        sample_sha256.push(digest(network)?);
        classes.push(class(network)?);
        for (index, writer) in writers.iter_mut().enumerate() {
            writer.add(network, index)?;
        }
    }
    for writer in &writers {
        writer.finish(files.samples)?;
    }
    Ok(RunReport {
        model: package.manifest().head.model.to_owned(),
        samples: files.samples,
        output_sha256: all.hex(),
        sample_sha256,
        classes,
    })
}

/// Runs one sample of `inputs`, and returns a digest of each node's output, in order of execution.
///
/// # Errors
/// As [`run`]; no such sample.
pub fn layers(bytes: &[u8], inputs: &[PathBuf], sample: usize) -> Result<Vec<LayerDigest>, Error> {
    let package = Package::open(bytes)?;
    let mut arena = arena(package.arena_bytes())?;
    let mut opened = open(&package, arena.bytes_mut());
    let network = opened.as_mut().map_err(|error| *error)?;
    let files = Files::read(network, inputs)?;
    if sample >= files.samples {
        let path = inputs.first().cloned().unwrap_or_default();
        let cause = format!("there is no sample {sample}, only {}", files.samples);
        return Err(Error::Samples { path, cause });
    }
    files.set(network, sample)?;
    let mut digests = Digests(Vec::with_capacity(network.nodes()));
    network.run(&mut digests)?;
    let named = package.manifest().nodes().zip(digests.0);
    let layer = |(node, sha256): (Node<'_>, String)| LayerDigest {
        name: node.name.to_owned(),
        sha256,
    };
    Ok(named.map(layer).collect())
}

/// Of every node's output.
struct Digests(Vec<String>);

impl Observer for Digests {
    fn node_end(&mut self, _index: usize, output: &[u8]) {
        self.0.push(hexadecimal(&Sha256::digest(output)));
    }
}

/// The index of the highest element of the first output.
fn class(network: &Network<'_, '_>) -> Result<usize, Error> {
    let mut scores = vec![0.0; network.output_info(0)?.elements()];
    network.output_f32(0, &mut scores)?;
    Ok(top_class(&scores).unwrap_or(0))
}

/// The class with the highest score; of equal scores, the lowest index.
pub fn top_class(scores: &[f32]) -> Option<usize> {
    let classes = 0..scores.len();
    classes.max_by(|&a, &b| scores[a].total_cmp(&scores[b]).then(b.cmp(&a)))
}

/// The samples of every model input.
struct Files {
    inputs: Vec<(Samples, usize)>,
    samples: usize,
}

impl Files {
    fn read(network: &mut Network<'_, '_>, paths: &[PathBuf]) -> Result<Self, Error> {
        let need = usize::from(network.package().manifest().head.counts.inputs);
        let Some(first) = paths.first().filter(|_| paths.len() == need) else {
            let path = paths.last().cloned().unwrap_or_else(|| "inputs".into());
            let cause = format!(
                "{} input file(s) given, the network has {need} input(s)",
                paths.len()
            );
            return Err(Error::Samples { path, cause });
        };
        let mut inputs = Vec::with_capacity(need);
        let mut samples = None;
        for (index, path) in paths.iter().enumerate() {
            let values = Samples::read(path)?;
            let size = size(network, index, &values)?;
            let count = values.len() / size.max(1);
            if count == 0 || count * size != values.len() {
                let cause = format!(
                    "{} values are no whole number of samples of {size}",
                    values.len()
                );
                return Err(Error::samples(path, cause));
            }
            let port = network.input_info(index)?;
            if let Some(at) = values.not_finite(port.dtype) {
                let [sample, element] = [at / port.elements().max(1), at % port.elements().max(1)];
                let cause = format!("sample {sample}: element {element} is not a finite number");
                return Err(Error::samples(path, cause));
            }
            if *samples.get_or_insert(count) != count {
                let cause = format!(
                    "{count} samples, but {} has another number",
                    first.display()
                );
                return Err(Error::samples(path, cause));
            }
            inputs.push((values, size));
        }
        Ok(Self {
            inputs,
            samples: samples.unwrap_or(0),
        })
    }

    fn set(&self, network: &mut Network<'_, '_>, sample: usize) -> Result<(), Error> {
        for (index, (values, size)) in self.inputs.iter().enumerate() {
            values.set(network, index, sample, *size)?;
        }
        Ok(())
    }
}

/// Values or bytes of one sample.
fn size(network: &mut Network<'_, '_>, input: usize, samples: &Samples) -> Result<usize, Error> {
    Ok(match samples {
        Samples::Real(_) => network.input_info(input)?.elements(),
        Samples::Raw(_) => network.input(input)?.len(),
    })
}

/// Collects one model output.
struct Writer {
    path: PathBuf,
    shape: Vec<usize>,
    real: Option<Vec<f32>>,
    raw: Vec<u8>,
}

fn writers(network: &Network<'_, '_>, paths: &[PathBuf]) -> Result<Vec<Writer>, Error> {
    let writer = |(index, path): (usize, &PathBuf)| {
        let port = network.output_info(index)?;
        Ok(Writer {
            path: path.clone(),
            shape: port.shape.iter().map(|&dim| dim as usize).collect(),
            real: path.extension().is_some_and(|e| e == "npy").then(Vec::new),
            raw: Vec::new(),
        })
    };
    paths.iter().enumerate().map(writer).collect()
}

impl Writer {
    fn add(&mut self, network: &Network<'_, '_>, index: usize) -> Result<(), Error> {
        match &mut self.real {
            None => self.raw.extend_from_slice(network.output(index)?),
            Some(values) => {
                let start = values.len();
                values.resize(start + self.shape.iter().product::<usize>(), 0.0);
                network.output_f32(index, values.get_mut(start..).unwrap_or_default())?;
            }
        }
        Ok(())
    }

    fn finish(&self, samples: usize) -> Result<(), Error> {
        let mut shape = self.shape.clone();
        if let Some(batch) = shape.first_mut() {
            *batch = samples;
        }
        let bytes = match &self.real {
            Some(values) => write_f32(&shape, values),
            None => self.raw.clone(),
        };
        let temporary = self.path.with_added_extension("part");
        fs::write(&temporary, bytes).map_err(Error::io(&temporary))?;
        fs::rename(&temporary, &self.path).map_err(Error::io(&self.path))
    }
}
