//! `edgeprune pack`.

use super::board::BoardArg;
use super::cache::CacheArgs;
use super::data::{DATA_HELP, EvalArgs, examine, files_of_model, load_model, spec_of_model};
use super::latency::LatencyArgs;
use super::output::{self, human_bytes, note, table, warn};
use super::size;
use super::write::{check_outputs, write_file};
use crate::Error;
use crate::dataset::{Dataset, InputSpec};
use crate::eval::{self, Opened};
use crate::graph::{Graph, Port};
use crate::pack::{Goal, Packed, pack, pack_float};
use crate::progress::Progress;
use crate::prune::{Criterion, Pattern, Pruning, Schedule, Scope};
use crate::quantize::FloatActivation;
use crate::report::describe::Description;
use crate::report::record::{Expected, Loss, Pack, PackLayer};
use crate::tradeoff::{MaxDrop, Samples, pack_within};
use edgeprune_runtime::KernelLayout;
use std::path::{Path, PathBuf};

/// Synthetic inputs that stand in for calibration samples.
const SYNTHETIC: usize = 32;

/// Prune, quantize and pack a network.
///
/// Without a goal, every layer is quantized to int8 with the least loss. --max-size makes a package
/// whose whole file is at most that, as accurate as can be; --max-drop the smallest that loses at most
/// so much on the samples of --eval; --sparsity one with that share of zeros.
#[derive(Debug, clap::Args)]
#[command(after_long_help = DATA_HELP)]
pub(super) struct Args {
    /// The model: ONNX or TFLite.
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Most bytes of the package's file: 25MB, 800kB, 1.5MiB or plain bytes.
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    max_size: Option<u64>,
    /// Most points (of 100) that may be lost on --eval: of top-1, or, where there are no labels, of
    /// agreement with the original network. Packs and scores at about ten sizes, and keeps the
    /// smallest file that serves.
    #[arg(long, value_name = "POINTS", value_parser = points, requires = "eval", conflicts_with = "max_size")]
    max_drop: Option<f64>,
    #[command(flatten)]
    eval: EvalArgs,
    /// Least share of weights that are zero, 0 to 1 (such as 0.5).
    #[arg(long, value_name = "SHARE", value_parser = share)]
    sparsity: Option<f64>,
    /// What a weight is worth, when --sparsity or --pattern make some zero. magnitude and synflow need no
    /// samples to choose.
    #[arg(long, value_enum, default_value_t)]
    criterion: Criterion,
    /// Compare weights within each layer or across the network.
    #[arg(long, value_enum, default_value_t)]
    scope: Scope,
    /// one-shot, or iterative:N: in N rounds, between which the weights that are left are refit and scored
    /// anew.
    #[arg(long, default_value_t)]
    schedule: Schedule,
    /// Which weights become zero together, with --sparsity: any, or groups that kernels can leave out. Groups save time
    /// (4x4, on ARM) or tables of positions (2:4, 1x4); single weights lose least. 2:4 is a sparsity of a half by itself.
    #[arg(long, value_enum, default_value_t)]
    pattern: Pattern,
    /// Lay the weights out for this board's kernels, which then read them where they lie in the package (in flash, or in
    /// memory): a session opens at once and needs no memory for weights, but every weight takes a byte of
    /// the file. Elsewhere the package runs too, with the weights laid out in memory.
    #[arg(long, value_name = "BOARD", conflicts_with = "max_drop")]
    in_place: Option<BoardArg>,
    /// Calibration samples, without labels: a folder of images, an .npy array or an .npz archive. Never
    /// use what accuracy is measured on. Without it, inputs are made up and accuracy suffers.
    #[arg(long, value_name = "PATH")]
    calib: Option<PathBuf>,
    /// Calibrate on at most N samples, evenly spread over all.
    #[arg(long, value_name = "N", default_value_t = 64, requires = "calib", value_parser = super::at_least_one)]
    calib_samples: usize,
    /// How images become inputs; it is stored in the package. Without it, the TOML file beside the
    /// model with the model's name, if there is one.
    #[arg(long, value_name = "TOML")]
    input_spec: Option<PathBuf>,
    /// Quantize nothing: every layer runs in f32, with the weights of the model. Takes four times the space of int8,
    /// and more time; for networks that int8 does not serve, and to compare with.
    #[arg(long, conflicts_with_all = ["max_size", "max_drop", "sparsity", "pattern", "calib", "in_place"])]
    float: bool,
    /// The package to write [default: the model's name with .epk, in the current folder].
    #[arg(short, long, value_name = "MODEL.epk")]
    output: Option<PathBuf>,
    #[command(flatten)]
    cache: CacheArgs,
    #[command(flatten)]
    latency: LatencyArgs,
    /// Fail, and write nothing, where the package is likely useless: an output below 15 dB, or channels or
    /// decisions that are lost on held-out samples, or calibration samples that are seldom meant (blank, of another
    /// scale). Without it, that is a warning.
    #[arg(long)]
    strict: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..1.0).contains(&share) => Ok(share),
        _ => Err("want a number from 0 to below 1, such as 0.5".into()),
    }
}

fn points(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(points) if (0.0..=100.0).contains(&points) => Ok(points),
        _ => Err("want points of 100, such as 1.0".into()),
    }
}

impl Args {
    pub(super) fn run(self) -> Result<(), Error> {
        let pruning = self.pruning()?;
        self.check_eval()?;
        check_outputs([self.package().as_path()], &self.files())?;
        let spec = spec_of_model(&self.model, self.input_spec.as_deref())?;
        let graph = load_model(&self.model)?;
        if self.float {
            let packed = pack_float(&graph, spec.as_ref())?;
            let samples = Dataset::synthetic(SYNTHETIC, spec.as_ref(), &graph.inputs);
            let expected = self.expected(&graph, &packed, &samples)?;
            return self.finish(&packed, None, expected, "not quantized");
        }
        let evaluation = self.eval.open(spec.as_ref(), &graph.inputs)?;
        let calibration = self.samples(spec.as_ref(), &graph.inputs)?;
        let samples = Samples {
            calibration: &calibration,
            evaluation: evaluation.as_ref(),
            spec: spec.as_ref(),
            cache: &self.cache.open(),
        };
        let (packed, loss) = self.pack(&graph, pruning, samples)?;
        let calibrated = match calibration.is_synthetic() {
            true => "not calibrated".to_owned(),
            false => format!("calibrated on {} samples", calibration.len()),
        };
        let expected = self.expected(&graph, &packed, &calibration)?;
        self.finish(&packed, loss, expected, &calibrated)
    }

    /// Measures the expected loss. Prints its warnings, or fails on them under `--strict`.
    fn expected(
        &self,
        graph: &Graph,
        packed: &Packed,
        samples: &Dataset,
    ) -> Result<Expected, Error> {
        let path = self.package();
        let opened = Opened::new(&path, &packed.bytes)?;
        let expected = eval::expected(&opened, graph, samples, &Progress::Terminal)?;
        self.refuse(expected.warnings.clone())?;
        expected.warnings.iter().for_each(warn);
        Ok(expected)
    }

    /// Under `--strict` warnings are an error.
    fn refuse(&self, warnings: Vec<String>) -> Result<(), Error> {
        match self.strict && !warnings.is_empty() {
            true => Err(Error::Lossy {
                path: self.package(),
                warnings,
            }),
            false => Ok(()),
        }
    }

    /// The file to write.
    fn package(&self) -> PathBuf {
        let path = self.output.clone();
        path.unwrap_or_else(|| default_output(&self.model))
    }

    /// Files and folders that are read.
    fn files(&self) -> Vec<PathBuf> {
        let mut files = files_of_model(&self.model, self.input_spec.as_deref());
        files.extend(self.calib.iter().cloned().chain(self.eval.files()));
        files
    }

    /// Writes the package and says what it is.
    fn finish(
        &self,
        packed: &Packed,
        loss: Option<Loss>,
        expected: Expected,
        calibrated: &str,
    ) -> Result<(), Error> {
        let path = self.package();
        write_file(&path, &packed.bytes)?;
        let mut record = record(&path, packed)?;
        record.loss = loss;
        record.kept_float.clone_from(&packed.float);
        record.expected = Some(expected);
        let description = Description::of(&path, &packed.bytes)?;
        record.latency = self.latency.predict(&description.manifest)?;
        if self.json {
            return output::print_json(&record);
        }
        output::print(&text(&record, calibrated))
    }

    fn pack(
        &self,
        graph: &Graph,
        pruning: Option<Pruning>,
        samples: Samples<'_>,
    ) -> Result<(Packed, Option<Loss>), Error> {
        let progress = &Progress::Terminal;
        if let Some(points) = self.max_drop {
            let goal = MaxDrop { points, pruning };
            let (packed, loss) = pack_within(graph, goal, samples, progress)?;
            return Ok((packed, Some(loss)));
        }
        let goal = Goal {
            max_size: self.max_size,
            pruning,
            in_place: self.layout(),
        };
        let packed = pack(
            graph,
            goal,
            samples.calibration,
            samples.spec,
            samples.cache,
            progress,
        )?;
        Ok((packed, None))
    }

    fn layout(&self) -> Option<KernelLayout> {
        let board = self.in_place.as_ref().map(|argument| &argument.board);
        board.and_then(|board| KernelLayout::named(board.kernels()))
    }

    /// Scores serve --max-drop alone: without it, --eval would be ignored.
    fn check_eval(&self) -> Result<(), Error> {
        if self.eval.eval.is_some() && self.max_drop.is_none() {
            return Err(Error::Usage(
                "--eval needs --max-drop; to score a finished package, use `edgeprune eval`".into(),
            ));
        }
        Ok(())
    }

    fn pruning(&self) -> Result<Option<Pruning>, Error> {
        let sparsity = self.pattern.sparsity(self.sparsity);
        let sparsity = sparsity.map_err(|cause| Error::Usage(cause.to_string()))?;
        Ok((sparsity > 0.0).then_some(Pruning {
            sparsity,
            criterion: self.criterion,
            scope: self.scope,
            schedule: self.schedule,
            pattern: self.pattern,
        }))
    }

    fn samples(&self, spec: Option<&InputSpec>, inputs: &[Port]) -> Result<Dataset, Error> {
        match &self.calib {
            Some(path) => {
                let samples = Dataset::open(path, None, spec, inputs)?;
                let samples = samples.spread(self.calib_samples);
                let doubts = examine(&samples)?;
                self.refuse(doubts.iter().map(ToString::to_string).collect())?;
                Ok(samples)
            }
            None => {
                note(
                    "note: without --calib the ranges come from made-up inputs; the package is marked as \
                     uncalibrated, and is less accurate than it could be",
                );
                Ok(Dataset::synthetic(SYNTHETIC, spec, inputs))
            }
        }
    }
}

fn default_output(model: &Path) -> PathBuf {
    let stem = model.file_stem().unwrap_or("model".as_ref());
    let mut name = stem.to_os_string();
    name.push(".epk");
    name.into()
}

/// What `--json` prints.
pub(super) fn record(path: &Path, packed: &Packed) -> Result<Pack, Error> {
    let mut record = Description::of(path, &packed.bytes)?.pack()?;
    record.source_bytes = Some(packed.source_bytes);
    Ok(record)
}

fn text(record: &Pack, calibrated: &str) -> String {
    let rows: Vec<Vec<String>> = record
        .layers
        .iter()
        .map(|layer| {
            let mut row = vec![
                layer.name.clone(),
                human_bytes(layer.bytes),
                format!("{:.2}", layer.bits_per_weight),
                format!("{:.1} %", 100.0 * layer.density),
                if layer.kept_float { "f32" } else { "int8" }.to_owned(),
            ];
            row.extend(layer.block_cells());
            row
        })
        .collect();
    let source = record.source_bytes.unwrap_or(0).max(1);
    let mut header = vec!["layer", "bytes", "bits per weight", "non-zero", "runs in"];
    header.extend(PackLayer::BLOCK_HEADER);
    format!(
        "{}\n{}: {} ({} bytes), {:.1} % of the model\n\
         {:.1} % of weights are not zero, {} channels removed, {calibrated}\n\
         memory to run: {}, and under Linux a copy of the package\n{}{}{}{}",
        table(&header, &rows),
        record.identity.package,
        human_bytes(record.package_bytes),
        record.package_bytes,
        100.0 * record.package_bytes as f64 / source as f64,
        100.0 * record.density,
        record.removed_channels,
        record.arena_words(),
        record
            .latency
            .as_ref()
            .map_or_else(String::new, |latency| format!(
                "latency: {}\n",
                latency.words()
            )),
        record.kept_float.iter().map(kept_float).collect::<String>(),
        record
            .expected
            .as_ref()
            .map_or_else(String::new, |expected| format!(
                "expected: {}\n",
                expected.words()
            )),
        record.loss.map_or_else(String::new, lost),
    )
}

fn kept_float(activation: &FloatActivation) -> String {
    format!("{} stays f32: {}\n", activation.name, activation.reason)
}

fn lost(loss: Loss) -> String {
    format!(
        "{} on {} samples, at most {} allowed; the smallest that keeps to it of {} packages made\n",
        loss.words(),
        loss.samples,
        loss.allowed,
        loss.trials
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_named_after_its_model() {
        assert_eq!(
            default_output(Path::new("/a/net.v2.onnx")),
            Path::new("net.v2.epk")
        );
    }

    #[test]
    fn drops_are_points_of_a_hundred() {
        assert_eq!(points("0"), Ok(0.0));
        assert_eq!(points("1.5"), Ok(1.5));
        for text in ["-1", "101", "1%", "nan", "inf", ""] {
            assert!(points(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shares_are_below_one() {
        assert_eq!(share("0.5"), Ok(0.5));
        for text in ["1", "-0.1", "half", "nan"] {
            assert!(share(text).is_err(), "{text}");
        }
    }
}
