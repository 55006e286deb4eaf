//! `edgeprune run`.

use super::data::{DATA_HELP, examine, read};
use super::output;
use super::write::{check_outputs, write_file};
use crate::Error;
use crate::dataset::{Dataset, InputSpec};
use crate::eval::{Opened, Runner, ranked};
use crate::report::describe::Description;
use edgeprune_format::manifest::{Layout, Output};
use edgeprune_runtime::Arena;
use npyz::WriterBuilder;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Run samples through a package.
///
/// Prints the five highest outputs of each sample, by class name if the package has names; -o
/// writes all outputs to an .npy file.
#[derive(Debug, clap::Args)]
#[command(after_long_help = DATA_HELP)]
pub(super) struct Args {
    /// The package.
    #[arg(value_name = "MODEL.epk")]
    package: PathBuf,
    /// Images, folders of images, .npy arrays or .npz archives.
    #[arg(required = true, value_name = "SAMPLES")]
    samples: Vec<PathBuf>,
    /// How images become inputs, in place of what the package says.
    #[arg(long, value_name = "TOML")]
    input_spec: Option<PathBuf>,
    /// Write the outputs: an .npy file, samples along the first dimension. Further outputs of a
    /// network with several go beside it, with the output's number in the name.
    #[arg(short, long, value_name = "NPY")]
    output: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// One sample's result.
#[derive(Debug, Serialize)]
struct Answer {
    sample: String,
    /// The five highest elements of the first output, if it is a vector of class scores.
    top: Vec<Class>,
    #[serde(skip)]
    outputs: Vec<Vec<f32>>,
}

#[derive(Debug, Serialize)]
struct Class {
    index: usize,
    name: Option<String>,
    score: f32,
}

impl Args {
    pub(super) fn run(self) -> Result<(), Error> {
        let bytes = read(&self.package)?;
        let opened = Opened::new(&self.package, &bytes)?;
        let files = self.outputs(opened.package().manifest().outputs().count());
        check_outputs(files.iter().map(PathBuf::as_path), &self.inputs())?;
        let description = Description::of(&self.package, &bytes)?;
        let stored = description.input_spec()?;
        let names: Vec<String> = description
            .labels()?
            .map(|labels| labels.lines().map(str::to_owned).collect())
            .unwrap_or_default();
        let spec = match &self.input_spec {
            Some(path) => Some(InputSpec::read(path)?),
            None => stored,
        };
        let mut answers = Vec::new();
        for path in &self.samples {
            let data = Dataset::open(path, None, spec.as_ref(), &description.inputs())?;
            examine(&data)?;
            answers.extend(answer(&opened, &data, &names)?);
        }
        for (index, file) in files.iter().enumerate() {
            write(file, &opened, index, &answers)?;
        }
        if self.json {
            return output::print_json(&answers);
        }
        output::print(&answers.iter().map(text).collect::<String>())
    }

    /// Files and folders that are read.
    fn inputs(&self) -> Vec<PathBuf> {
        let mut inputs = vec![self.package.clone()];
        inputs.extend(self.samples.iter().chain(&self.input_spec).cloned());
        inputs
    }

    /// The files that are written, one for each of `count` outputs; none without -o.
    fn outputs(&self, count: usize) -> Vec<PathBuf> {
        let output = self.output.iter();
        output
            .flat_map(|path| (0..count).map(|index| numbered(path, index)))
            .collect()
    }
}

/// Writes an output of all samples.
fn write(file: &Path, opened: &Opened<'_>, index: usize, answers: &[Answer]) -> Result<(), Error> {
    let Some(output) = opened.package().manifest().outputs().nth(index) else {
        return Ok(());
    };
    let elements = opened.output_elements()[index];
    let mut shape = vec![answers.len() as u64];
    shape.extend(sample_shape(&output.source_shape, elements));
    let values = answers
        .iter()
        .flat_map(|answer| source_order(&output, &answer.outputs[index]));
    let bytes = npy(&shape, values).map_err(Error::io(file))?;
    write_file(file, &bytes)?;
    output::note(format!("wrote {}", file.display()));
    Ok(())
}

/// Dimensions of one sample's output: those of the source model without a batch of 1. A scalar has none, and an output
/// that the model has squeezed keeps all of its dimensions.
fn sample_shape(source: &[u32], elements: usize) -> Vec<u64> {
    let shape = match source {
        [1, rest @ ..] => rest,
        all => all,
    };
    let shape: Vec<u64> = shape.iter().map(|&dim| dim.into()).collect();
    let is_whole = shape.iter().product::<u64>() == elements as u64;
    // of a rank beyond what a package holds
    if is_whole {
        shape
    } else {
        vec![elements as u64]
    }
}

fn answer(opened: &Opened<'_>, data: &Dataset, names: &[String]) -> Result<Vec<Answer>, Error> {
    let mut arena = Arena::new(opened.package().arena_bytes());
    let mut runner = Runner::new(opened, &mut arena)?;
    (0..data.len())
        .map(|i| {
            let outputs = runner.run(&data.sample(i)?)?;
            let top = match outputs.first() {
                Some(scores) if opened.is_classifier() => top(scores, names),
                _ => Vec::new(),
            };
            Ok(Answer {
                sample: data.name(i),
                top,
                outputs,
            })
        })
        .collect()
}

fn top(scores: &[f32], names: &[String]) -> Vec<Class> {
    let classes = ranked(scores).into_iter().take(5);
    classes
        .map(|index| Class {
            index,
            name: names.get(index).cloned(),
            score: scores[index],
        })
        .collect()
}

fn text(answer: &Answer) -> String {
    let mut text = format!("{}\n", answer.sample);
    for class in &answer.top {
        let name = class.name.as_deref().unwrap_or("");
        text += &format!("  {:>10.4}  {:>5}  {name}\n", class.score, class.index);
    }
    if answer.top.is_empty() {
        for (index, values) in answer.outputs.iter().enumerate() {
            let low = values.iter().copied().fold(f32::INFINITY, f32::min);
            let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let count = values.len();
            text += &format!("  output {index}: {count} values from {low:.4} to {high:.4}\n");
        }
    }
    text
}

/// A sample's values in the order of the source model's dimensions.
fn source_order(output: &Output<'_>, values: &[f32]) -> Vec<f32> {
    match (output.layout, output.source_shape.as_slice()) {
        (Layout::Nchw, &[images, channels, ..]) => {
            let channels = (channels as usize).max(1);
            let image = |image: &[f32]| {
                let of_channel = |c| image.iter().skip(c).step_by(channels).copied();
                (0..channels).flat_map(of_channel).collect::<Vec<f32>>()
            };
            let each = values.len() / (images as usize).max(1);
            values.chunks_exact(each.max(1)).flat_map(image).collect()
        }
        _ => values.to_vec(),
    }
}

/// `out.npy`, then `out.1.npy` and so on for further outputs.
fn numbered(path: &Path, index: usize) -> PathBuf {
    match index {
        0 => path.to_path_buf(),
        _ => path.with_extension(format!("{index}.npy")),
    }
}

fn npy(shape: &[u64], values: impl Iterator<Item = f32>) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let options = npyz::WriteOptions::new().default_dtype();
    let mut writer = options.shape(shape).writer(&mut bytes).begin_nd()?;
    writer.extend(values)?;
    writer.finish()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_of_one_is_left_out_and_no_other_dimension() {
        assert_eq!(sample_shape(&[1, 3, 4], 12), [3, 4]);
        assert_eq!(sample_shape(&[5], 5), [5]);
        assert_eq!(sample_shape(&[2, 3, 4], 24), [2, 3, 4]);
        assert!(sample_shape(&[], 1).is_empty());
        assert!(sample_shape(&[1], 1).is_empty());
        assert_eq!(sample_shape(&[1, 2, 2, 2, 2, 2], 64), [64], "a cut shape");
    }

    #[test]
    fn each_image_of_several_is_reordered_by_itself() {
        let shape = [2, 2, 1, 2];
        let output = Output {
            name: "y",
            tensor: 0,
            source_shape: shape.into_iter().collect(),
            layout: Layout::Nchw,
        };
        let values = [0.0, 10.0, 1.0, 11.0, 20.0, 30.0, 21.0, 31.0];
        let expected = [0.0, 1.0, 10.0, 11.0, 20.0, 21.0, 30.0, 31.0];
        assert_eq!(source_order(&output, &values), expected);
    }
}
