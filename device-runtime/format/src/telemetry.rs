//! Records of measurements, as devices report them.

use serde::{Deserialize, Serialize};

/// A distribution of durations, in ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// Durations measured.
    pub count: u64,
    /// Shortest.
    pub min: u64,
    /// Longest.
    pub max: u64,
    /// All together.
    pub sum: u64,
    /// Half of the durations are at most this.
    pub p50: u64,
    /// Nine tenths of the durations are at most this.
    pub p90: u64,
    /// 99 of 100 durations are at most this.
    pub p99: u64,
}
