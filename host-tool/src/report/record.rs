//! What `pack`, `eval`, `curve`, `bench` and `sensitivity` write as JSON: the contract between the
//! commands, scripts and the report. Fields are added, never renamed.

mod curve;
mod expected;
mod pack;
mod quality;
mod sensitivity;

pub use curve::{Curve, CurvePoint};
pub use edgeprune_device::{
    Bucket, Condition, Deadline, Energy, Interval, Latency, Machine, Resident,
};
pub use expected::{Expected, ExpectedOutput};
pub use pack::{ArenaParts, LayerBlocks, Pack, PackLayer, SetKernel};
pub use quality::{Eval, EvalLayer, Loss, Metric};
pub use sensitivity::{
    Beside, DeadLayer, Holder, PlannedLevel, Sensitivity, SensitivityLayer, SensitivityLevel,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

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

/// A record of any kind.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "a report has few records, and moves each once"
)]
pub enum Record {
    /// Of `pack`.
    Pack(Pack),
    /// Of `eval`.
    Eval(Eval),
    /// Of `bench`.
    Bench(Bench),
}

impl Record {
    /// Reads what a command wrote: a record, an array of them, or a curve as a record a point.
    ///
    /// # Errors
    /// A message: not JSON, no known kind, or a field that is missing or of the wrong type.
    pub fn all_from_json(text: &str) -> Result<Vec<Self>, String> {
        let value = serde_json::from_str(text).map_err(|cause| format!("not JSON: {cause}"))?;
        match value {
            Value::Array(values) if !values.is_empty() => {
                let each = values.into_iter().zip(1..);
                let records = each.map(|(value, i)| {
                    Self::all_of(value).map_err(|cause| format!("record {i}: {cause}"))
                });
                Ok(records.collect::<Result<Vec<_>, _>>()?.concat())
            }
            value => Self::all_of(value),
        }
    }

    fn all_of(value: Value) -> Result<Vec<Self>, String> {
        if value.get("points").is_some() {
            let curve: Curve = serde_json::from_value(value).map_err(not_whole)?;
            return Ok(curve.evals().into_iter().map(Self::Eval).collect());
        }
        Ok(vec![Self::of(value)?])
    }

    /// The kind shows in the fields.
    fn of(value: Value) -> Result<Self, String> {
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

    const EVAL: &str =
        r#"{"samples": 500, "top1": 80.2, "top5": null, "agreement": null, "sqnr_db": null}"#;
    const PACK: &str = r#"{"package_bytes": 9, "source_bytes": 20, "arena_bytes": 3, "density": 0.5,
        "layers": [], "removed_channels": 0}"#;
    const BENCH: &str = r#"{"board": "rpi4", "cpu": "cortex-a72", "runs": 3, "arena_bytes": 1, "package_bytes": 9,
        "latency_us": {"min": 1, "p50": 2, "p90": 3, "p99": 4}, "layers": []}"#;

    fn read(text: &str) -> Vec<Record> {
        Record::all_from_json(text).unwrap()
    }

    #[test]
    fn the_kind_shows_in_the_fields() {
        assert!(matches!(read(EVAL).as_slice(), [Record::Eval(e)] if e.top1 == Some(80.2)));
        assert!(matches!(read(PACK).as_slice(), [Record::Pack(_)]));
        assert!(matches!(read(BENCH).as_slice(), [Record::Bench(_)]));
    }

    #[test]
    fn an_array_gives_all_its_records() {
        let records = read(&format!("[{BENCH}, {EVAL}, {BENCH}]"));
        assert_eq!(records.len(), 3);
        let refused = Record::all_from_json(&format!("[{BENCH}, {{}}]"));
        assert!(refused.unwrap_err().starts_with("record 2: not a record"));
    }

    #[test]
    fn other_json_is_refused() {
        for text in ["", "[]", "{}", "[[]]", r#"{"samples": "many"}"#] {
            assert!(Record::all_from_json(text).is_err(), "{text}");
        }
        let refused = Record::all_from_json(r#"{"points": [], "model": "net"}"#);
        assert!(refused.unwrap_err().contains("missing field"));
    }
}
