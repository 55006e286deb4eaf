//! What `pack`, `eval`, `curve`, `bench` and `sensitivity` write as JSON: the contract between the
//! commands, scripts and the report. Fields are added, never renamed.

use crate::cli::output::human_bytes;
use crate::graph::Redundant;
use crate::latency::Prediction;
pub use edgeprune_device::{
    Bucket, Condition, Deadline, Energy, Interval, Latency, Machine, Resident,
};
use serde::{Deserialize, Serialize};

/// Which package a record is about. Records with the same hash are joined.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// Name of the model.
    #[serde(default)]
    pub model: String,
    /// The package's file, as it was named.
    #[serde(default)]
    pub package: String,
    /// The SHA-256 that ends the package, in hexadecimal.
    #[serde(default)]
    pub package_hash: String,
}

/// `pack --json`, and what a package says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pack {
    /// Which package.
    #[serde(flatten)]
    pub identity: Identity,
    /// Length of the file.
    pub package_bytes: u64,
    /// Length of the source model; unknown from a package alone.
    #[serde(default)]
    pub source_bytes: Option<u64>,
    /// Memory that a session needs.
    pub arena_bytes: u64,
    /// What that memory is for.
    #[serde(default)]
    pub arena: ArenaParts,
    /// Share of weights that are not zero.
    pub density: f64,
    /// Layers with weights, in order of execution.
    pub layers: Vec<PackLayer>,
    /// Output channels found dead or constant, and removed.
    pub removed_channels: u64,
    /// What the package loses of the original's quality; only where `--max-drop` measured it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<Loss>,
    /// How long it will take on a board; only where one is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Prediction>,
}

impl Pack {
    /// For people: the memory of a session, and what it is for.
    pub fn arena_words(&self) -> String {
        let [all, constants, activations, least, scratch] = [
            self.arena_bytes,
            self.arena.constants,
            self.arena.activations,
            self.arena.activations_lower_bound,
            self.arena.scratch,
        ]
        .map(human_bytes);
        format!(
            "{all} (constants {constants}, activations {activations} of at least {least}, scratch {scratch})"
        )
    }
}

/// Bytes of a session's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArenaParts {
    /// Constants in the layout that kernels read.
    pub constants: u64,
    /// Activations.
    pub activations: u64,
    /// The most bytes of activations that are alive together: no plan takes fewer.
    pub activations_lower_bound: u64,
    /// Working memory of kernels.
    pub scratch: u64,
}

/// A layer of a package.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PackLayer {
    /// Name of the node.
    pub name: String,
    /// How its weights are stored.
    pub encoding: String,
    /// Bytes in the file: weights, scales, biases.
    pub bytes: u64,
    /// Bits of the file for each weight.
    pub bits_per_weight: f64,
    /// Share of weights that are not zero.
    pub density: f64,
    /// Whether the layer computes in single precision.
    pub kept_float: bool,
    /// Its blocks of zeros, if there are kernels that leave them out.
    #[serde(default)]
    pub blocks: Option<LayerBlocks>,
}

/// The blocks of a layer that kernels leave out where they are zero: 4 input codes of 4 output channels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerBlocks {
    /// Share of blocks that are not all zero.
    pub density: f64,
    /// Each set that has such kernels.
    pub kernels: Vec<SetKernel>,
}

/// What a set of kernels does with a layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetKernel {
    /// Name of the set.
    pub set: String,
    /// The share of blocks that are not all zero below which a run without the others takes fewer instructions.
    pub break_even: f64,
    /// Whether a session leaves them out.
    pub sparse: bool,
}

impl PackLayer {
    /// The columns that [`Self::block_cells`] fills.
    pub const BLOCK_HEADER: [&str; 4] = ["blocks", "neon", "dotprod", "i8mm"];

    /// For people: the share of blocks that are not zero, and the kernel and the break-even of each set.
    pub fn block_cells(&self) -> Vec<String> {
        let per_cent = |share: f64| format!("{:.1} %", 100.0 * share);
        let Some(blocks) = &self.blocks else {
            return vec!["-".to_owned(); Self::BLOCK_HEADER.len()];
        };
        let cell = |set: &&str| {
            let kernel = blocks.kernels.iter().find(|kernel| kernel.set == **set);
            kernel.map_or("-".to_owned(), |kernel| {
                let name = if kernel.sparse { "sparse" } else { "dense" };
                format!("{name} ({})", per_cent(kernel.break_even))
            })
        };
        let sets = Self::BLOCK_HEADER.iter().skip(1).map(cell);
        std::iter::once(per_cent(blocks.density))
            .chain(sets)
            .collect()
    }
}

/// `eval --json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Eval {
    /// Which package.
    #[serde(flatten)]
    pub identity: Identity,
    /// Length of the package.
    #[serde(default)]
    pub package_bytes: u64,
    /// Number of samples.
    pub samples: u64,
    /// Per cent of samples whose label is the highest output; `null` without labels.
    pub top1: Option<f64>,
    /// Per cent of samples whose label is among the five highest outputs; `null` without labels.
    pub top5: Option<f64>,
    /// Per cent of samples with the original's highest output; `null` without `--against`.
    pub agreement: Option<f64>,
    /// Mean Kullback-Leibler divergence, in nats, of the class probabilities from the original's; `null`
    /// without `--against` or classes.
    #[serde(default)]
    pub divergence: Option<f64>,
    /// Signal to quantization noise of the output; `null` without `--against`.
    pub sqnr_db: Option<f64>,
    /// The original's `top1` on the same samples; `null` without labels or `--against`.
    #[serde(default)]
    pub original_top1: Option<f64>,
    /// The original's `top5` on the same samples.
    #[serde(default)]
    pub original_top5: Option<f64>,
    /// The layers that lose most, worst first.
    #[serde(default)]
    pub layers: Vec<EvalLayer>,
}

/// How much a layer's output differs from the original's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvalLayer {
    /// Name of the node.
    pub name: String,
    /// Operator.
    pub op: String,
    /// Signal to quantization noise of its output, everything before it included.
    pub sqnr_db: f64,
}

/// A figure of quality; more is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// [`Eval::top1`].
    Top1,
    /// [`Eval::agreement`].
    Agreement,
    /// [`Eval::sqnr_db`].
    SqnrDb,
}

impl Metric {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Top1 => "top-1",
            Self::Agreement => "agreement",
            Self::SqnrDb => "SQNR",
        }
    }

    /// A value for people: per cent or decibels.
    pub fn words(self, value: f64) -> String {
        match self {
            Self::Top1 | Self::Agreement => format!("{value:.2} %"),
            Self::SqnrDb => format!("{value:.1} dB"),
        }
    }

    /// Its value in a record.
    pub fn of(self, eval: &Eval) -> Option<f64> {
        match self {
            Self::Top1 => eval.top1,
            Self::Agreement => eval.agreement,
            Self::SqnrDb => eval.sqnr_db,
        }
    }
}

/// What a package loses of the original's quality, as `pack --max-drop` measured it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Loss {
    /// What was measured: `top1`, or `agreement` without labels.
    pub metric: Metric,
    /// The original's, in per cent; 100 for the agreement.
    pub original: f64,
    /// The package's, in per cent.
    pub packed: f64,
    /// Points lost, the difference of the two; negative if the package is better.
    pub points: f64,
    /// Most points that may be lost.
    pub allowed: f64,
    /// Number of samples.
    pub samples: u64,
    /// Packages that were made and scored to find this one.
    pub trials: u64,
}

impl Loss {
    /// Rounding of shares in per cent, far below what one sample in any data weighs.
    const ROUNDING: f64 = 1e-9;

    /// Whether no more is lost than allowed.
    pub fn is_allowed(&self) -> bool {
        self.points <= self.allowed + Self::ROUNDING
    }

    /// For people: `top-1 92.40 % (original 93.20 %), 0.80 points lost`.
    pub fn words(&self) -> String {
        let name = self.metric.name();
        let (packed, original) = (
            self.metric.words(self.packed),
            self.metric.words(self.original),
        );
        let against = match self.metric {
            Metric::Agreement => String::new(),
            _ => format!(" (original {original})"),
        };
        let change = if self.points < 0.0 { "gained" } else { "lost" };
        let points = self.points.abs();
        format!("{name} {packed}{against}, {points:.2} points {change}")
    }
}

/// `curve --json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Name of the model.
    pub model: String,
    /// Length of the source model.
    pub source_bytes: u64,
    /// Weights of the network, dead channels removed.
    pub weights: u64,
    /// Number of calibration samples.
    pub calibration_samples: u64,
    /// The file or folder of the samples that the packages are scored on.
    pub data: String,
    /// Number of those samples.
    pub samples: u64,
    /// Whether those are the calibration samples, so that the scores are optimistic.
    pub on_calibration: bool,
    /// The figure that the knee is of: `top1` with labels, `agreement` without, `sqnr_db` where the
    /// outputs are no classes.
    pub metric: Metric,
    /// The original's top-1 on the same samples; `null` without labels.
    pub original_top1: Option<f64>,
    /// The packages, by their length.
    pub points: Vec<CurvePoint>,
}

/// One package of a curve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// The SHA-256 that ends the package, in hexadecimal.
    pub package_hash: String,
    /// The limit that it was packed to; `null` for the package without one.
    pub max_size: Option<u64>,
    /// Length of the whole file.
    pub package_bytes: u64,
    /// Bits of the whole file for each weight of the network.
    pub bits_per_weight: f64,
    /// Share of weights that are not zero.
    pub density: f64,
    /// As in [`Eval`].
    pub top1: Option<f64>,
    /// As in [`Eval`].
    pub top5: Option<f64>,
    /// As in [`Eval`].
    pub agreement: Option<f64>,
    /// As in [`Eval`].
    pub divergence: Option<f64>,
    /// As in [`Eval`].
    pub sqnr_db: Option<f64>,
    /// Whether it is the curve's knee: at most one is.
    pub knee: bool,
}

impl CurvePoint {
    /// The value of a figure.
    pub fn quality(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::Top1 => self.top1,
            Metric::Agreement => self.agreement,
            Metric::SqnrDb => self.sqnr_db,
        }
    }
}

impl Curve {
    /// The knee, if the curve has one.
    pub fn knee(&self) -> Option<&CurvePoint> {
        self.points.iter().find(|point| point.knee)
    }

    /// The points as records of `eval`, named by their length.
    pub fn evals(&self) -> Vec<Eval> {
        self.points.iter().map(|point| self.eval(point)).collect()
    }

    fn eval(&self, point: &CurvePoint) -> Eval {
        let caveat = if self.on_calibration {
            ", scored on its calibration"
        } else {
            ""
        };
        Eval {
            identity: Identity {
                model: self.model.clone(),
                package: format!("{} bytes{caveat}", point.package_bytes),
                package_hash: point.package_hash.clone(),
            },
            package_bytes: point.package_bytes,
            samples: self.samples,
            top1: point.top1,
            top5: point.top5,
            agreement: point.agreement,
            divergence: point.divergence,
            sqnr_db: point.sqnr_db,
            original_top1: self.original_top1,
            original_top5: None,
            layers: Vec::new(),
        }
    }
}

/// `bench --json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bench {
    /// Which package.
    #[serde(flatten)]
    pub identity: Identity,
    /// The board's id, or `host`.
    pub board: String,
    /// The core, or the machine's processor.
    pub cpu: String,
    /// Whether an emulator ran it: then times are the emulator's, and instructions are what counts.
    #[serde(default)]
    pub emulated: bool,
    /// Number of inferences.
    pub runs: u64,
    /// Inferences before the first that counts.
    #[serde(default)]
    pub warm_up: u64,
    /// Threads of an inference.
    #[serde(default = "one")]
    pub threads: u64,
    /// The runtime's set of kernels.
    #[serde(default)]
    pub kernels: String,
    /// From the package's bytes to the first output, in microseconds.
    #[serde(default)]
    pub cold_us: Option<f64>,
    /// Time of one inference.
    pub latency_us: Latency,
    /// Most int8 multiply-accumulates a second that one of the board's cores can do; `null` where that is unknown.
    #[serde(default)]
    pub peak_int8_macs_per_second: Option<f64>,
    /// Instructions of one inference; `null` where nothing counts them.
    #[serde(default)]
    pub instructions_per_inference: Option<u64>,
    /// Memory that a session needs.
    pub arena_bytes: u64,
    /// Length of the package.
    pub package_bytes: u64,
    /// Nodes, in order of execution.
    pub layers: Vec<BenchLayer>,
    /// SHA-256 over the output bytes for the benchmark's own input: the same on every machine.
    #[serde(default)]
    pub output_sha256: String,
    /// Whether these are this machine's output bytes; `null` where they were not compared.
    #[serde(default)]
    pub matches_host: Option<bool>,
    /// Where ssh found the board; `null` where it was not needed.
    #[serde(default)]
    pub host: Option<String>,
    /// The edgeprune that measured.
    #[serde(default)]
    pub tool: String,
    /// SHA-256 of the device binary; `null` where this program itself measured.
    #[serde(default)]
    pub binary_sha256: Option<String>,
    /// What it ran on; `null` in old records.
    #[serde(default)]
    pub machine: Option<Machine>,
    /// The machine's condition before the first inference that counts.
    #[serde(default)]
    pub before: Condition,
    /// The machine's condition after the last.
    #[serde(default)]
    pub after: Condition,
    /// How many inferences took how long.
    #[serde(default)]
    pub histogram: Vec<Bucket>,
    /// How often an inference took longer than allowed; `null` without a limit.
    #[serde(default)]
    pub deadline: Option<Deadline>,
    /// How a long run went on; empty for others.
    #[serde(default)]
    pub timeline: Vec<Interval>,
    /// The memory of the process; `null` where the system does not tell.
    #[serde(default)]
    pub resident: Option<Resident>,
    /// What an inference takes from the supply; `null` without a meter.
    #[serde(default)]
    pub energy: Option<Energy>,
    /// Samples that ran there; `null` without any.
    #[serde(default)]
    pub on_device: Option<OnDevice>,
}

/// What samples gave on a device, beside this machine's own run of the same package.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OnDevice {
    /// Number of samples.
    pub samples: u64,
    /// Per cent of samples whose label is the highest output there; `null` without labels.
    pub top1: Option<f64>,
    /// Samples whose output bytes differ from this machine's; none is what should be.
    pub different: Vec<u64>,
    /// The first layer whose output differs, on the first sample that does.
    pub first_layer: Option<String>,
}

/// The threads of records from before there were more.
fn one() -> u64 {
    1
}

impl Bench {
    /// Where and how it ran, for people.
    pub fn place(&self) -> String {
        let mut place = self.board.clone();
        if self.threads != 1 {
            place += &format!(", {} threads", self.threads);
        }
        if self.emulated {
            place += " (emulated)";
        }
        place
    }
}

/// Time of one node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BenchLayer {
    /// Name of the node.
    pub name: String,
    /// Operator.
    pub op: String,
    /// Microseconds in the median run.
    pub us: f64,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Bytes of what it reads and writes; 0 in old records.
    #[serde(default)]
    pub bytes: u64,
    /// Layers of a class cost alike: the operator, with its window; empty in old records.
    #[serde(default)]
    pub class: String,
    /// The kernel that ran it.
    #[serde(default)]
    pub kernel: String,
    /// Instructions of one inference; `null` where nothing counts them.
    #[serde(default)]
    pub instructions: Option<u64>,
}

/// `sensitivity --json`. Losses are squared errors of the network's output in parts of its variance,
/// as the planner expects them from one layer's rounding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sensitivity {
    /// Name of the model.
    pub model: String,
    /// Number of samples that calibrated.
    pub calibration_samples: u64,
    /// The budget, where there is one.
    pub max_size: Option<u64>,
    /// About the bytes of a package with every layer at its finest level.
    pub finest_bytes: u64,
    /// Forecast of the smallest package's bytes: every layer at its coarsest level. No package is
    /// smaller; the real one can be larger.
    pub smallest_bytes: u64,
    /// About the bytes of the package that is planned for the budget.
    pub planned_bytes: Option<u64>,
    /// Sum of its layers' losses.
    pub planned_loss: Option<f64>,
    /// What every package has beside the codes.
    pub beside: Beside,
    /// Layers with weights, in order of execution, without dead channels.
    pub layers: Vec<SensitivityLayer>,
    /// The layers that take most bytes: at the budget, else in the smallest package. Most first.
    pub holds_up: Vec<Holder>,
    /// Layers with dead or constant output channels.
    pub dead_channels: Vec<DeadLayer>,
    /// Repetitions in the model as it came.
    pub redundant: Redundant,
}

/// Bytes of a package beside the codes of its weights and the scales of their channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beside {
    /// All.
    pub bytes: u64,
    /// Biases.
    pub biases: u64,
    /// Names, shapes and records of nodes and tensors.
    pub manifest: u64,
    /// Class names.
    pub class_names: u64,
    /// Header, hash, alignment, tables.
    pub other: u64,
}

/// A layer's bytes and losses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SensitivityLayer {
    /// Name of the node.
    pub name: String,
    /// Operator.
    pub op: String,
    /// Number of weights.
    pub weights: u64,
    /// Predicted bytes of codes and scales at the finest level: int8.
    pub finest_bytes: u64,
    /// The same at the coarsest level.
    pub smallest_bytes: u64,
    /// Loss for a unit of squared error in the layer's output.
    pub sensitivity: f64,
    /// Loss for a unit of noise relative to the power of the layer's output.
    pub noise_gain: f64,
    /// Some of its levels, from fine to coarse: those whose bytes are closest to round numbers of bits.
    pub levels: Vec<SensitivityLevel>,
    /// What the planner chooses at the budget.
    pub plan: Option<PlannedLevel>,
}

/// One way to store a layer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SensitivityLevel {
    /// The bits for a weight that were asked for.
    pub target_bits: f64,
    /// Bits for a weight that it takes.
    pub bits_per_weight: f64,
    /// Predicted bytes.
    pub bytes: u64,
    /// Least step size; 0 is int8 with a scale for each channel.
    pub step: f32,
    /// Loss.
    pub loss: f64,
}

/// The level that the planner chooses for a layer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedLevel {
    /// Bits for a weight.
    pub bits_per_weight: f64,
    /// Predicted bytes.
    pub bytes: u64,
    /// Least step size; 0 is int8 with a scale for each channel.
    pub step: f32,
    /// Loss.
    pub loss: f64,
    /// Share of the file, 0 to 1.
    pub share: f64,
    /// Loss for each byte that the next coarser level would save; `null` at the coarsest.
    pub loss_per_byte: Option<f64>,
}

/// A layer that takes many bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Holder {
    /// Name of the node.
    pub name: String,
    /// Predicted bytes.
    pub bytes: u64,
    /// Share of the file, 0 to 1.
    pub share: f64,
}

/// A layer with output channels that are dead or constant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLayer {
    /// Name of the node.
    pub name: String,
    /// Its output channels in the model.
    pub channels: u64,
    /// Those that are dead or constant: they are removed.
    pub dead: u64,
}

/// A record of any kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// Of `pack`.
    Pack(Pack),
    /// Of `eval`.
    Eval(Eval),
    /// Of `bench`.
    Bench(Bench),
}

impl Record {
    /// Reads a record, or a curve as a record a point.
    ///
    /// # Errors
    /// As [`Self::from_json`].
    pub fn all_from_json(text: &str) -> Result<Vec<Self>, String> {
        match serde_json::from_str(text) {
            Ok(value @ serde_json::Value::Object(_)) if value.get("points").is_some() => {
                let curve: Curve = serde_json::from_value(value).map_err(not_whole)?;
                Ok(curve.evals().into_iter().map(Self::Eval).collect())
            }
            Ok(serde_json::Value::Array(records)) => records
                .iter()
                .map(|record| Self::from_json(&record.to_string()))
                .collect(),
            _ => Ok(vec![Self::from_json(text)?]),
        }
    }

    /// Reads a record; its kind shows in its fields.
    ///
    /// # Errors
    /// A message: not JSON, no known kind, or a field that is missing or of the wrong type.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let value: serde_json::Value =
            serde_json::from_str(text).map_err(|cause| format!("not JSON: {cause}"))?;
        let has = |field: &str| value.get(field).is_some();
        let record = if has("latency_us") {
            serde_json::from_value(value).map(Self::Bench)
        } else if has("removed_channels") {
            serde_json::from_value(value).map(Self::Pack)
        } else if has("samples") {
            serde_json::from_value(value).map(Self::Eval)
        } else {
            return Err(
                "not a record: want what `pack`, `eval`, `curve` or `bench` write with --json"
                    .into(),
            );
        };
        record.map_err(not_whole)
    }

    /// Which package it is about.
    pub fn identity(&self) -> &Identity {
        match self {
            Self::Pack(record) => &record.identity,
            Self::Eval(record) => &record.identity,
            Self::Bench(record) => &record.identity,
        }
    }

    /// Length of the package.
    pub fn package_bytes(&self) -> u64 {
        match self {
            Self::Pack(record) => record.package_bytes,
            Self::Eval(record) => record.package_bytes,
            Self::Bench(record) => record.package_bytes,
        }
    }
}

fn not_whole(cause: serde_json::Error) -> String {
    format!("not a whole record: {cause}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_shows_in_the_fields() {
        let eval =
            r#"{"samples": 500, "top1": 80.2, "top5": null, "agreement": null, "sqnr_db": null}"#;
        assert!(matches!(Record::from_json(eval), Ok(Record::Eval(e)) if e.top1 == Some(80.2)));
        let pack = r#"{"package_bytes": 9, "source_bytes": 20, "arena_bytes": 3, "density": 0.5,
            "layers": [], "removed_channels": 0}"#;
        assert!(matches!(Record::from_json(pack), Ok(Record::Pack(_))));
        let bench = r#"{"board": "rpi4", "cpu": "cortex-a72", "runs": 3, "arena_bytes": 1, "package_bytes": 9,
            "latency_us": {"min": 1, "p50": 2, "p90": 3, "p99": 4}, "layers": []}"#;
        assert!(matches!(Record::from_json(bench), Ok(Record::Bench(_))));
    }

    #[test]
    fn other_json_is_refused() {
        for text in ["", "[]", "{}", r#"{"samples": "many"}"#] {
            assert!(Record::from_json(text).is_err(), "{text}");
            assert!(Record::all_from_json(text).is_err(), "{text}");
        }
        let refused = Record::all_from_json(r#"{"points": [], "model": "net"}"#);
        assert!(refused.unwrap_err().contains("missing field"));
    }

    fn loss(points: f64, allowed: f64) -> Loss {
        Loss {
            metric: Metric::Top1,
            original: 93.2,
            packed: 93.2 - points,
            points,
            allowed,
            samples: 500,
            trials: 3,
        }
    }

    #[test]
    fn a_loss_of_just_what_is_allowed_is_allowed() {
        assert!(loss(93.2 - 92.2, 1.0).is_allowed());
        assert!(loss(-0.2, 0.0).is_allowed());
        assert!(!loss(1.2, 1.0).is_allowed());
    }

    #[test]
    fn a_loss_reads_well() {
        let words = loss(0.8, 1.0).words();
        assert_eq!(words, "top-1 92.40 % (original 93.20 %), 0.80 points lost");
        assert!(loss(-0.4, 1.0).words().ends_with("0.40 points gained"));
    }
}
