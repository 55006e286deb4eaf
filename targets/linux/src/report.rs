//! What a benchmark says, as its JSON.

use crate::machine::{Condition, Machine};
use serde::{Deserialize, Serialize};

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BenchReport {
    /// Name of the model.
    pub model: String,
    /// The package's SHA-256, in hexadecimal.
    pub package_hash: String,
    /// Length of the package.
    pub package_bytes: u64,
    /// Memory of a session.
    pub arena_bytes: u64,
    /// What it ran on.
    pub machine: Machine,
    /// The machine's condition before the first inference.
    pub before: Condition,
    /// The machine's condition after the last inference.
    pub after: Condition,
    /// The set of kernels.
    pub kernels: String,
    /// Threads of an inference.
    pub threads: u32,
    /// Inferences before the first that counts.
    pub warm_up: u32,
    /// Inferences that count.
    pub runs: u64,
    /// From the package's bytes to the first output, in microseconds.
    pub cold_us: f64,
    /// Time of one inference.
    pub latency_us: Latency,
    /// How many inferences took how long, ascending, without empty buckets.
    pub histogram: Vec<Bucket>,
    /// How often an inference took longer than allowed.
    pub deadline: Option<Deadline>,
    /// How a long run went on.
    pub timeline: Vec<Interval>,
    /// The process's memory; nothing where the system does not tell.
    pub resident: Option<Resident>,
    /// What inferences take from the supply; nothing without a meter.
    pub energy: Option<Energy>,
    /// Nodes, in order of execution.
    pub layers: Vec<LayerTime>,
    /// SHA-256 over the output bytes, the same on every machine.
    pub output_sha256: String,
}

/// A latency's distribution, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Least.
    pub min: f64,
    /// Median.
    pub p50: f64,
    /// Nine in ten are at most this.
    pub p90: f64,
    /// Ninety-nine in a hundred are at most this.
    pub p99: f64,
    /// Most; nothing in old records.
    #[serde(default)]
    pub max: Option<f64>,
    /// Mean; nothing in old records.
    #[serde(default)]
    pub mean: Option<f64>,
}

/// Inferences that took about as long.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bucket {
    /// From this on, in microseconds; up to a sixteenth more.
    pub from_us: f64,
    /// Inferences.
    pub count: u64,
}

/// A time that an inference should not exceed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deadline {
    /// The time, in microseconds.
    pub us: f64,
    /// Inferences that took longer.
    pub misses: u64,
}

/// A part of a long run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Its end, in seconds since the first inference that counts.
    pub seconds: f64,
    /// Inferences.
    pub runs: u64,
    /// Median latency, in microseconds.
    pub p50_us: f64,
    /// Longest latency, in microseconds.
    pub max_us: f64,
    /// The machine at its end.
    pub condition: Condition,
}

/// Memory of the process without pages of files (its own code, a package that is part of it or mapped), in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resident {
    /// Before the package was opened, with the copy of its file.
    pub before_bytes: u64,
    /// The most, from then to the end of the first inference.
    pub peak_bytes: u64,
    /// What it should be at most: what there was before, and the arena.
    pub planned_bytes: u64,
}

impl Resident {
    /// For stacks, the session's own fields and pages that are not full.
    const SLACK: u64 = 1 << 20;

    /// Whether the session took no more memory than planned.
    pub fn is_as_planned(&self) -> bool {
        self.peak_bytes <= self.planned_bytes + Self::SLACK
    }
}

/// What inferences take from the supply.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Energy {
    /// Of one inference, in joules: the whole board's power for its time.
    pub joules_per_inference: f64,
    /// The board's mean power, in watts.
    pub watts: f64,
    /// Readings of the meter.
    pub readings: u64,
    /// The meter.
    pub meter: String,
}

/// A node, and its time in the median run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerTime {
    /// Name.
    pub name: String,
    /// Operator.
    pub op: String,
    /// Microseconds.
    pub us: f64,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Bytes of what it reads and writes.
    pub bytes: u64,
    /// Layers of a class cost alike: the operator, with its window.
    pub class: String,
    /// The kernel.
    pub kernel: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_beyond_the_plan_is_seen() {
        let resident = |peak_bytes| Resident {
            before_bytes: 1 << 20,
            peak_bytes,
            planned_bytes: 5 << 20,
        };
        assert!(resident(6 << 20).is_as_planned());
        assert!(!resident((6 << 20) + 1).is_as_planned());
    }
}
