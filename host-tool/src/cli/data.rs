//! Flags and look-ups that commands share: where the samples are and how they become inputs.

use super::output::{note, warn};
use crate::bench::Samples;
use crate::dataset::{Dataset, Doubt, InputSpec};
use crate::graph::{Graph, Port};
use crate::report::describe::Description;
use crate::{Error, import};
use std::path::{Path, PathBuf};

/// Data that commands read.
pub(super) const DATA_HELP: &str = "\
Samples are one of
  a folder of JPEG or PNG images (or of sub-folders of them, one a class), or one image;
  an .npy array, samples along the first dimension, each in the model's own order or in
    height-width-channels order;
  an .npz archive of such arrays, one for each model input, by name.

Images need an input specification: how pixels become the network's input. It comes from
--input-spec, from the TOML file beside the model with the model's name, or, for packages, from
the package. Arrays of u8 are pixels, and go the same way if there is a specification; arrays of
other types, and u8 without a specification, are taken as they are.";

/// The specification for a model file; says which file it is, if it was found beside the model.
pub(super) fn spec_of_model(
    model: &Path,
    explicit: Option<&Path>,
) -> Result<Option<InputSpec>, Error> {
    let found = InputSpec::find(model, explicit)?;
    if let (Some((_, path)), None) = (&found, explicit) {
        note(format!("input specification: {}", path.display()));
    }
    Ok(found.map(|(spec, _)| spec))
}

/// Looks at samples before any work, and warns of what is doubtful.
pub(super) fn examine(samples: &Dataset) -> Result<Vec<Doubt>, Error> {
    let doubts = samples.examine()?;
    doubts.iter().for_each(warn);
    Ok(doubts)
}

/// The files of a model: itself, and its specification.
pub(super) fn files_of_model(model: &Path, spec: Option<&Path>) -> Vec<PathBuf> {
    let spec = spec.map_or_else(|| model.with_extension("toml"), Path::to_path_buf);
    vec![model.to_path_buf(), spec]
}

/// Reads a network, and says what could not be checked of it.
pub(super) fn load_model(path: &Path) -> Result<Graph, Error> {
    let imported = import::open(path)?;
    imported.doubts.iter().for_each(warn);
    Ok(imported.graph)
}

/// Where labelled samples are.
#[derive(Debug, clap::Args)]
pub(super) struct DataArgs {
    /// Samples: a folder of images, an image, an .npy array or an .npz archive.
    #[arg(long, value_name = "PATH")]
    pub(super) data: PathBuf,
    /// Class indices: a CSV `file,index`, or one a sample in .npy, .csv or .txt. Without it, labels.csv
    /// in the folder, or the sub-folders' names in sorted order.
    #[arg(long, value_name = "FILE")]
    pub(super) labels: Option<PathBuf>,
    /// How images become inputs, in place of what the package says.
    #[arg(long, value_name = "TOML")]
    pub(super) input_spec: Option<PathBuf>,
    /// Use only the first N samples.
    #[arg(long, value_name = "N", value_parser = super::at_least_one)]
    pub(super) limit: Option<usize>,
}

impl DataArgs {
    /// Opens the samples for a network with these inputs; `stored` is the package's specification.
    pub(super) fn open(
        &self,
        stored: Option<InputSpec>,
        inputs: &[Port],
    ) -> Result<Dataset, Error> {
        let spec = match &self.input_spec {
            Some(path) => Some(InputSpec::read(path)?),
            None => stored,
        };
        let data = Dataset::open(&self.data, self.labels.as_deref(), spec.as_ref(), inputs)?;
        let data = data.limit(self.limit.unwrap_or(usize::MAX));
        examine(&data)?;
        Ok(data)
    }
}

/// Samples that a command may run.
#[derive(Debug, clap::Args)]
pub(super) struct OptionalDataArgs {
    /// Samples to run on the board and to compare with this machine: a folder of images, an image, an .npy array or
    /// an .npz archive.
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Class indices of --data: a CSV `file,index`, or one a sample in .npy, .csv or .txt. Without it, labels.csv
    /// in the folder, or the sub-folders' names in sorted order.
    #[arg(long, value_name = "FILE", requires = "data")]
    labels: Option<PathBuf>,
    /// How images become inputs, in place of what the package says.
    #[arg(long, value_name = "TOML", requires = "data")]
    input_spec: Option<PathBuf>,
    /// Use only the first N samples.
    #[arg(long, value_name = "N", requires = "data", value_parser = super::at_least_one)]
    limit: Option<usize>,
}

impl OptionalDataArgs {
    /// Opens the samples, if they are given, and runs them here.
    pub(super) fn samples(&self, package: &Path) -> Result<Option<Samples>, Error> {
        let Some(data) = &self.data else {
            return Ok(None);
        };
        let arguments = DataArgs {
            data: data.clone(),
            labels: self.labels.clone(),
            input_spec: self.input_spec.clone(),
            limit: self.limit,
        };
        let bytes = read(package)?;
        let description = Description::of(package, &bytes)?;
        let data = arguments.open(description.input_spec()?, &description.inputs())?;
        Samples::write(package, &data).map(Some)
    }
}

/// Samples that a command which makes packages scores them on.
#[derive(Debug, clap::Args)]
pub(super) struct EvalArgs {
    /// Samples to score packages on, none of them used in calibration: a folder of images, an .npy
    /// array or an .npz archive.
    #[arg(long, value_name = "DATA")]
    pub(super) eval: Option<PathBuf>,
    /// Class indices of --eval: a CSV `file,index`, or one a sample in .npy, .csv or .txt. Without it,
    /// labels.csv in the folder, or the sub-folders' names in sorted order.
    #[arg(long, value_name = "LABELS", requires = "eval")]
    pub(super) eval_labels: Option<PathBuf>,
}

impl EvalArgs {
    /// Files and folders that are read.
    pub(super) fn files(&self) -> impl Iterator<Item = PathBuf> {
        self.eval.iter().chain(&self.eval_labels).cloned()
    }

    /// Opens the samples, if they are given, for a network with these inputs.
    pub(super) fn open(
        &self,
        spec: Option<&InputSpec>,
        inputs: &[Port],
    ) -> Result<Option<Dataset>, Error> {
        let Some(path) = &self.eval else {
            return Ok(None);
        };
        let data = Dataset::open(path, self.eval_labels.as_deref(), spec, inputs)?;
        examine(&data)?;
        Ok(Some(data))
    }
}

/// A model, and the samples that a command measures it on.
#[derive(Debug, clap::Args)]
pub(super) struct ModelArgs {
    /// The model: ONNX or TFLite.
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Calibration samples, without labels: a folder of images, an .npy array or an .npz archive.
    #[arg(long, value_name = "PATH")]
    calib: PathBuf,
    /// Calibrate on at most N samples, evenly spread over all.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = super::at_least_one)]
    calib_samples: usize,
    /// How images become inputs. Without it, the TOML file beside the model with the model's name, if
    /// there is one.
    #[arg(long, value_name = "TOML")]
    input_spec: Option<PathBuf>,
}

impl ModelArgs {
    /// Files and folders that are read.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let mut files = files_of_model(&self.model, self.input_spec.as_deref());
        files.push(self.calib.clone());
        files
    }

    /// The network, how samples become its inputs, and the samples.
    pub(super) fn open(&self) -> Result<(Graph, Option<InputSpec>, Dataset), Error> {
        let spec = spec_of_model(&self.model, self.input_spec.as_deref())?;
        let graph = load_model(&self.model)?;
        let samples = Dataset::open(&self.calib, None, spec.as_ref(), &graph.inputs)?;
        let samples = samples.unlabelled().spread(self.calib_samples);
        examine(&samples)?;
        Ok((graph, spec, samples))
    }
}

/// A file's content.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(Error::io(path))
}
