//! `edgeprune run`.

use super::data::{DATA_HELP, read};
use super::output;
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
            answers.extend(answer(&opened, &data, &names)?);
        }
        self.write(&opened, &answers)?;
        if self.json {
            return output::print_json(&answers);
        }
        output::print(&answers.iter().map(text).collect::<String>())
    }

    fn write(&self, opened: &Opened<'_>, answers: &[Answer]) -> Result<(), Error> {
        let Some(path) = &self.output else {
            return Ok(());
        };
        for (index, output) in opened.package().manifest().outputs().enumerate() {
            let each = output.source_shape.iter().skip(1).map(|&d| u64::from(d));
            let shape: Vec<u64> = std::iter::once(answers.len() as u64).chain(each).collect();
            let values = answers
                .iter()
                .flat_map(|answer| source_order(&output, &answer.outputs[index]));
            let file = numbered(path, index);
            let bytes = npy(&shape, values).map_err(Error::io(&file))?;
            output::write_file(&file, &bytes)?;
            output::note(format!("wrote {}", file.display()));
        }
        Ok(())
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
        (Layout::Nchw, &[_, channels, ..]) => {
            let channels = channels as usize;
            let of_channel = |c| values.iter().skip(c).step_by(channels.max(1)).copied();
            (0..channels).flat_map(of_channel).collect()
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
