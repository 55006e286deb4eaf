//! What `pack`, `eval`, `bench` and `sensitivity` write as JSON: the contract between the commands,
//! scripts and the report. Fields are added, never renamed.

use crate::graph::Redundant;
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
    /// Share of weights that are not zero.
    pub density: f64,
    /// Layers with weights, in order of execution.
    pub layers: Vec<PackLayer>,
    /// Output channels found dead or constant, and removed.
    pub removed_channels: u64,
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

/// `bench --json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// The runtime's set of kernels.
    #[serde(default)]
    pub kernels: String,
    /// From the package's bytes to the first output, in microseconds.
    #[serde(default)]
    pub cold_us: Option<f64>,
    /// Time of one inference.
    pub latency_us: Latency,
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
}

/// Quantiles of a latency, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Least.
    pub min: f64,
    /// Median.
    pub p50: f64,
    /// Nine in ten are at most this.
    pub p90: f64,
    /// Ninety-nine in a hundred are at most this.
    pub p99: f64,
}

/// Time of one node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BenchLayer {
    /// Name of the node.
    pub name: String,
    /// Operator.
    pub op: String,
    /// Microseconds in the median run.
    pub us: f64,
    /// Multiply-accumulates.
    pub macs: u64,
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
                "not a record: want what `pack`, `eval` or `bench` write with --json".into(),
            );
        };
        record.map_err(|cause| format!("not a whole record: {cause}"))
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
        }
    }
}
