//! How long runs and nodes take, in histograms of fixed size.

use crate::observer::Observer;
pub use edgeprune_format::telemetry::Latency;
use heapless::Vec;

/// Measures time.
pub trait Clock {
    /// Ticks since some moment.
    fn ticks(&mut self) -> u64;

    /// Ticks in a second.
    fn ticks_per_second(&self) -> u64;
}

/// The operating system's monotonic clock, in nanoseconds.
#[cfg(feature = "std")]
#[derive(Clone, Copy, Debug)]
pub struct StdClock(std::time::Instant);

#[cfg(feature = "std")]
impl StdClock {
    /// A clock that starts now.
    pub fn new() -> Self {
        Self(std::time::Instant::now())
    }
}

#[cfg(feature = "std")]
impl Default for StdClock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(feature = "std")]
impl Clock for StdClock {
    fn ticks(&mut self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }

    fn ticks_per_second(&self) -> u64 {
        1_000_000_000
    }
}

/// Buckets for each doubling: a bucket is 1/16 wide, its middle within 3.2 % of every value in it.
const PER_OCTAVE: u64 = 16;
/// Durations from here on share the last bucket.
const LIMIT: u64 = 1 << 40;
const BUCKETS: usize = bucket(LIMIT) + 1;

/// The bucket of a duration: one each below 16, then 16 for each doubling.
const fn bucket(ticks: u64) -> usize {
    if ticks >= LIMIT {
        return bucket(LIMIT - 1) + 1;
    }
    if ticks < PER_OCTAVE {
        return ticks as usize;
    }
    let shift = ticks.ilog2() - PER_OCTAVE.ilog2();
    let octave = shift as usize + 1;
    octave * PER_OCTAVE as usize + ((ticks >> shift) - PER_OCTAVE) as usize
}

/// The least duration of a bucket.
const fn least(bucket: usize) -> u64 {
    let (octave, index) = (bucket as u64 / PER_OCTAVE, bucket as u64 % PER_OCTAVE);
    match octave {
        0 => index,
        _ => (PER_OCTAVE + index) << (octave - 1),
    }
}

/// The middle of a bucket.
const fn middle(bucket: usize) -> u64 {
    match bucket as u64 / PER_OCTAVE {
        0 => least(bucket),
        octave => least(bucket) + ((1 << (octave - 1)) >> 1),
    }
}

/// A distribution of durations in log-linear buckets.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: [u32; BUCKETS],
    count: u64,
    min: u64,
    max: u64,
    sum: u64,
}

impl Histogram {
    /// No durations.
    pub const fn new() -> Self {
        Self {
            counts: [0; BUCKETS],
            count: 0,
            min: u64::MAX,
            max: 0,
            sum: 0,
        }
    }

    /// Adds a duration.
    pub fn record(&mut self, ticks: u64) {
        if let Some(count) = self.counts.get_mut(bucket(ticks)) {
            *count = count.saturating_add(1);
        }
        self.count += 1;
        self.min = self.min.min(ticks);
        self.max = self.max.max(ticks);
        self.sum = self.sum.saturating_add(ticks);
    }

    /// Durations recorded.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The duration that `per_mille` thousandths of all do not exceed, within 3.2 %.
    pub fn quantile(&self, per_mille: u64) -> u64 {
        let rank = (self.count * per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        for (bucket, &count) in self.counts.iter().enumerate() {
            seen += u64::from(count);
            if seen >= rank {
                return middle(bucket).max(self.min).min(self.max);
            }
        }
        self.max
    }

    /// The buckets that are not empty, ascending: the least duration of each, and how many are in it.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        let counts = self.counts.iter().enumerate();
        counts
            .filter(|(_, count)| **count > 0)
            .map(|(bucket, &count)| (least(bucket), count))
    }

    /// The distribution as a record.
    pub fn latency(&self) -> Latency {
        if self.count == 0 {
            return Latency::default();
        }
        Latency {
            count: self.count,
            min: self.min,
            max: self.max,
            sum: self.sum,
            p50: self.quantile(500),
            p90: self.quantile(900),
            p99: self.quantile(990),
        }
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

/// An [`Observer`] that measures each run and each of the first `NODES` nodes. About 2.5 kB a node:
/// keep it in a `static` or on the heap.
#[derive(Clone, Debug)]
pub struct Telemetry<C, const NODES: usize> {
    clock: C,
    run: Histogram,
    nodes: Vec<Histogram, NODES>,
    run_began: u64,
    node_began: u64,
}

impl<C: Clock, const NODES: usize> Telemetry<C, NODES> {
    /// Nothing measured yet.
    pub const fn new(clock: C) -> Self {
        Self {
            clock,
            run: Histogram::new(),
            nodes: Vec::new(),
            run_began: 0,
            node_began: 0,
        }
    }

    /// Forgets what was measured, for example after warming up.
    pub fn reset(&mut self) {
        self.run = Histogram::new();
        self.nodes.clear();
    }

    /// Ticks in a second.
    pub fn ticks_per_second(&self) -> u64 {
        self.clock.ticks_per_second()
    }

    /// Whole runs.
    pub fn run(&self) -> Latency {
        self.run.latency()
    }

    /// The buckets of whole runs, as [`Histogram::buckets`] gives them.
    pub fn run_buckets(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        self.run.buckets()
    }

    /// The nodes, in order of execution.
    pub fn nodes(&self) -> impl Iterator<Item = Latency> + '_ {
        self.nodes.iter().map(Histogram::latency)
    }
}

impl<C: Clock, const NODES: usize> Observer for Telemetry<C, NODES> {
    fn run_begin(&mut self) {
        self.run_began = self.clock.ticks();
    }

    fn node_begin(&mut self, _index: usize) {
        self.node_began = self.clock.ticks();
    }

    fn node_end(&mut self, index: usize, _output: &[u8]) {
        let ticks = self.clock.ticks().saturating_sub(self.node_began);
        if index == self.nodes.len() {
            // beyond `NODES` there is no room, and nothing to measure with
            let _ = self.nodes.push(Histogram::new());
        }
        if let Some(node) = self.nodes.get_mut(index) {
            node.record(ticks);
        }
    }

    fn run_end(&mut self) {
        let ticks = self.clock.ticks().saturating_sub(self.run_began);
        self.run.record(ticks);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bucket_holds_its_middle_and_values_within_its_resolution() {
        for ticks in (0..100_000).chain((0..40).map(|bit| (1u64 << bit) - 1)) {
            let (least, middle) = (least(bucket(ticks)), middle(bucket(ticks)));
            assert_eq!([bucket(least), bucket(middle)], [bucket(ticks); 2]);
            assert!(least <= ticks && (least == 0 || bucket(least - 1) < bucket(ticks)));
            assert!(
                middle.abs_diff(ticks) as f64 <= 0.032 * ticks as f64,
                "{ticks} {middle}"
            );
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_of_a_uniform_distribution_are_close() {
        let mut histogram = Histogram::new();
        (1..=10_000).for_each(|ticks| histogram.record(ticks));
        let latency = histogram.latency();
        assert_eq!(
            (latency.count, latency.min, latency.max),
            (10_000, 1, 10_000)
        );
        assert_eq!(latency.sum, 50_005_000);
        assert_eq!(
            histogram.buckets().map(|(_, count)| count).sum::<u32>(),
            10_000
        );
        assert!(histogram.buckets().is_sorted());
        for (value, exact) in [
            (latency.p50, 5_000),
            (latency.p90, 9_000),
            (latency.p99, 9_900),
        ] {
            assert!(
                value.abs_diff(exact) * 100 <= exact * 4,
                "{value} for {exact}"
            );
        }
    }

    #[test]
    fn one_duration_is_every_quantile() {
        let mut histogram = Histogram::new();
        histogram.record(1_234_567);
        let latency = histogram.latency();
        assert_eq!([latency.p50, latency.p90, latency.p99], [1_234_567; 3]);
    }
}
