//! Samples for calibration and scoring: images, arrays, or synthetic inputs.
//!
//! A sample is decoded when it is asked for, so memory does not grow with the number of samples.
//! Samples are in the order of their file names, whatever the file system's order.

mod arrays;
mod doubt;
mod images;
mod labels;
mod order;
pub mod spec;
mod synthetic;
mod text;

pub use doubt::{Doubt, DoubtKind, Scale};
pub use spec::InputSpec;

use crate::Error;
use crate::graph::Port;
use arrays::Arrays;
use images::Images;
use order::InputForm;
use std::path::{Path, PathBuf};
use synthetic::Synthetic;

/// Elements of all made-up samples together: 32 pictures of 590 x 590 in three colours.
const MAX_SYNTHETIC_ELEMENTS: usize = 1 << 25;
/// Made-up samples that there are of the largest inputs.
const MIN_SYNTHETIC: usize = 2;

/// Samples that fit the inputs of one network, and their labels where there are any.
#[derive(Debug)]
pub struct Dataset {
    path: PathBuf,
    forms: Vec<InputForm>,
    spec: Option<InputSpec>,
    source: Source,
    /// Indices into the source: a subset may have been chosen.
    chosen: Vec<usize>,
    /// By index into the source.
    labels: Option<Vec<usize>>,
}

/// Every 5th sample is held out for validation.
pub(crate) const HOLD_OUT: usize = 5;

#[derive(Debug)]
enum Source {
    Images(Images),
    Arrays(Arrays),
    Synthetic(Synthetic),
}

impl Dataset {
    /// Opens samples for a network with these `inputs`.
    ///
    /// `path` is one of
    /// - a folder of JPEG or PNG files, or of sub-folders of them, one a class;
    /// - a JPEG or PNG file: one sample;
    /// - an `.npy` array, samples along its first dimension, each in NHWC order or in the source
    ///   model's;
    /// - an `.npz` archive of such arrays, one for each model input, by name.
    ///
    /// Images need a `spec`. Arrays of `u8` are pixels and go the same way if there is a spec; all
    /// other arrays, and `u8` without a spec, are the network's input as it is.
    ///
    /// `labels` is a CSV `file,index` (images), or an `.npy`, `.csv` or `.txt` of one index a
    /// sample; without it `labels.csv` in the folder, the names of sub-folders, or an array
    /// `labels` in the archive serve, if there.
    ///
    /// # Errors
    /// Files that cannot be read, an empty folder, samples that do not fit the inputs, labels that
    /// do not fit the samples. The content of images is checked when they are decoded.
    pub fn open(
        path: &Path,
        labels: Option<&Path>,
        spec: Option<&InputSpec>,
        inputs: &[Port],
    ) -> Result<Self, Error> {
        let forms = forms(inputs, spec);
        let (source, found) = if path.is_dir() || images::is_image(path) {
            let (images, found) = Images::open(path, labels, spec, &forms)?;
            (Source::Images(images), found)
        } else {
            let (arrays, found) = Arrays::open(path, labels, spec, &forms)?;
            (Source::Arrays(arrays), found)
        };
        Ok(Self::new(path, forms, spec, source, found))
    }

    /// `count` deterministic inputs that look like data, fewer of large ones: smooth images where there is a
    /// `spec`, normal noise elsewhere. The same arguments give the same values on every machine.
    pub fn synthetic(count: usize, spec: Option<&InputSpec>, inputs: &[Port]) -> Self {
        let forms = forms(inputs, spec);
        let elements: usize = forms.iter().map(InputForm::elements).sum();
        let affordable = (MAX_SYNTHETIC_ELEMENTS / elements.max(1)).max(MIN_SYNTHETIC);
        let source = Source::Synthetic(Synthetic::new(count.min(affordable)));
        Self::new(Path::new("synthetic inputs"), forms, spec, source, None)
    }

    fn new(
        path: &Path,
        forms: Vec<InputForm>,
        spec: Option<&InputSpec>,
        source: Source,
        labels: Option<Vec<usize>>,
    ) -> Self {
        Self {
            path: path.to_path_buf(),
            forms,
            spec: spec.cloned(),
            chosen: (0..source.len()).collect(),
            source,
            labels,
        }
    }

    /// Where the samples are.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.chosen.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.chosen.is_empty()
    }

    /// Whether the samples are made up rather than real.
    pub fn is_synthetic(&self) -> bool {
        matches!(self.source, Source::Synthetic(_))
    }

    /// Whether every sample has a label.
    pub fn is_labelled(&self) -> bool {
        self.labels.is_some()
    }

    /// Forgets the labels.
    #[must_use]
    pub fn unlabelled(mut self) -> Self {
        self.labels = None;
        self
    }

    /// Keeps the first `count` samples.
    #[must_use]
    pub fn limit(mut self, count: usize) -> Self {
        self.chosen.truncate(count);
        self
    }

    /// Keeps `count` samples, evenly spread over all: sorted data often has one class after the
    /// other.
    #[must_use]
    pub fn spread(mut self, count: usize) -> Self {
        let len = self.chosen.len();
        if count < len {
            self.chosen = (0..count)
                .map(|i| self.chosen[(2 * i + 1) * len / (2 * count)])
                .collect();
        }
        self
    }

    /// One sample, preprocessed, NHWC: the values of each model input in order.
    ///
    /// # Errors
    /// A file that cannot be read or decoded, an image whose size or channels do not fit, values that
    /// are not finite, an `i` that is not below [`Self::len`].
    pub fn sample(&self, i: usize) -> Result<Vec<Vec<f32>>, Error> {
        self.at(self.index(i)?)
    }

    /// At most `most` samples to judge on what was fitted to these: of those that [`Self::spread`] left out,
    /// evenly spread; made-up ones that are not among these; else every fifth of these.
    pub fn held_out(&self, most: usize) -> HeldOut<'_> {
        let all = self.source.len();
        let mut is_chosen = vec![false; all];
        self.chosen
            .iter()
            .for_each(|&index| is_chosen[index] = true);
        let mut others: Vec<usize> = match self.is_synthetic() {
            true => (all..all + most).collect(),
            false => (0..all).filter(|&index| !is_chosen[index]).collect(),
        };
        let unseen = !others.is_empty();
        if !unseen {
            let every = if self.len() < HOLD_OUT { 1 } else { HOLD_OUT };
            others = self
                .chosen
                .iter()
                .copied()
                .skip(every - 1)
                .step_by(every)
                .collect();
        }
        let count = most.min(others.len());
        let spread = (0..count).map(|i| others[(2 * i + 1) * others.len() / (2 * count)]);
        HeldOut {
            data: self,
            indices: spread.collect(),
            unseen,
        }
    }

    fn at(&self, index: usize) -> Result<Vec<Vec<f32>>, Error> {
        let spec = self.spec.as_ref();
        match &self.source {
            Source::Images(images) => images.sample(index, spec, &self.forms),
            Source::Arrays(arrays) => arrays.sample(index, spec, &self.forms),
            Source::Synthetic(synthetic) => Ok(synthetic.sample(index, spec, &self.forms)),
        }
    }

    fn index(&self, i: usize) -> Result<usize, Error> {
        let none = || Error::data(&self.path, format!("there is no sample {i}"));
        self.chosen.get(i).copied().ok_or_else(none)
    }

    /// The class index of a sample.
    pub fn label(&self, i: usize) -> Option<usize> {
        self.labels.as_ref()?.get(*self.chosen.get(i)?).copied()
    }

    /// What to call a sample: its file's name, or its place in the array.
    pub fn name(&self, i: usize) -> String {
        match (&self.source, self.chosen.get(i)) {
            (Source::Images(images), Some(&index)) => images.name(index),
            (_, Some(index)) => format!("{}[{index}]", self.path.display()),
            (_, None) => String::new(),
        }
    }
}

/// Samples to judge on what was fitted to others.
#[derive(Debug)]
pub struct HeldOut<'a> {
    data: &'a Dataset,
    indices: Vec<usize>,
    unseen: bool,
}

impl HeldOut<'_> {
    /// Number of samples.
    pub fn len(&self) -> usize {
        self.indices.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }

    /// Whether nothing was fitted to them.
    pub fn is_unseen(&self) -> bool {
        self.unseen
    }

    /// One sample, as [`Dataset::sample`].
    ///
    /// # Errors
    /// As there.
    pub fn sample(&self, i: usize) -> Result<Vec<Vec<f32>>, Error> {
        let none = || Error::data(self.data.path(), format!("there is no sample {i}"));
        self.data.at(*self.indices.get(i).ok_or_else(none)?)
    }
}

fn forms(inputs: &[Port], spec: Option<&InputSpec>) -> Vec<InputForm> {
    let layout = spec.and_then(|spec| spec.layout);
    inputs
        .iter()
        .map(|port| InputForm::new(port, layout))
        .collect()
}

impl Source {
    fn len(&self) -> usize {
        match self {
            Self::Images(images) => images.len(),
            Self::Arrays(arrays) => arrays.len(),
            Self::Synthetic(synthetic) => synthetic.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Layout;

    fn port() -> Port {
        Port {
            name: "x".into(),
            tensor: 0,
            source_shape: vec![1, 5],
            layout: Layout::Nhwc,
        }
    }

    #[test]
    fn a_spread_subset_reaches_both_ends() {
        let all = Dataset::synthetic(100, None, &[port()]);
        assert_eq!(all.spread(4).chosen, [12, 37, 62, 87]);
    }

    #[test]
    fn a_subset_larger_than_the_data_is_the_data() {
        let all = Dataset::synthetic(3, None, &[port()]);
        assert_eq!(all.spread(9).limit(7).chosen, [0, 1, 2]);
    }

    #[test]
    fn large_inputs_are_made_up_less_often() {
        let mut large = port();
        large.source_shape = vec![1, 1 << 22];
        assert_eq!(Dataset::synthetic(32, None, &[large.clone()]).len(), 8);
        large.source_shape = vec![1, 1 << 27];
        assert_eq!(Dataset::synthetic(32, None, &[large]).len(), 2);
    }

    #[test]
    fn made_up_samples_are_held_out_beyond_those_that_calibrate() {
        let data = Dataset::synthetic(3, None, &[port()]);
        let held_out = data.held_out(2);
        assert!(held_out.is_unseen());
        assert_eq!(held_out.indices, [3, 4]);
        assert_ne!(held_out.sample(0).unwrap(), data.sample(0).unwrap());
        assert!(held_out.sample(2).is_err());
    }

    #[test]
    fn a_sample_that_is_not_there_is_an_error() {
        let data = Dataset::synthetic(3, None, &[port()]);
        assert!(data.sample(3).is_err());
        assert_eq!(data.sample(2).unwrap()[0].len(), 5);
    }
}
