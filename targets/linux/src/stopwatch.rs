//! Times of runs and of their nodes, in memory that is there before the first.

use crate::machine::Condition;
use crate::report::{Bucket, Deadline, Interval, Latency};
use edgeprune_runtime::Observer;
use edgeprune_runtime::telemetry::Histogram;
use std::time::{Duration, Instant};

/// Runs whose exact times are kept: of more, quantiles are those of a histogram, within 3.2 %.
const KEPT: u32 = 10_000;
/// Nodes' times are kept of as many runs.
const KEPT_NODES: usize = 100_000;

/// Times of runs and of their nodes.
pub(crate) struct Stopwatch {
    nodes: usize,
    /// Nanoseconds of each node, run after run.
    times: Vec<u64>,
    /// Nanoseconds of each run that is kept.
    kept: Vec<u64>,
    all: Box<Histogram>,
    interval: Box<Histogram>,
    timeline: Vec<Interval>,
    deadline: Option<(Duration, u64)>,
    began: Instant,
    last: Instant,
}

impl Stopwatch {
    /// For about `runs` of `nodes`.
    pub(crate) fn new(nodes: usize, runs: u32, deadline: Option<Duration>) -> Self {
        let now = Instant::now();
        let runs = runs.min(KEPT) as usize;
        Self {
            nodes,
            times: Vec::with_capacity((nodes * runs).min(KEPT_NODES.max(nodes))),
            kept: Vec::with_capacity(runs),
            all: Box::default(),
            interval: Box::default(),
            timeline: Vec::new(),
            deadline: deadline.map(|time| (time, 0)),
            began: now,
            last: now,
        }
    }

    pub(crate) fn runs(&self) -> u64 {
        self.all.count()
    }

    pub(crate) fn mean_seconds(&self) -> f64 {
        let all = self.all.latency();
        all.sum as f64 / all.count.max(1) as f64 / 1e9
    }

    pub(crate) fn latency(&self) -> Latency {
        let all = self.all.latency();
        let sorted = self.sorted();
        let is_whole = sorted.len() as u64 == all.count;
        let us = |share: f64| match is_whole {
            true => quantile(&sorted, share) as f64 / 1e3,
            false => self.all.quantile((share * 1e3) as u64) as f64 / 1e3,
        };
        Latency {
            min: all.min as f64 / 1e3,
            p50: us(0.5),
            p90: us(0.9),
            p99: us(0.99),
            max: Some(all.max as f64 / 1e3),
            mean: Some(self.mean_seconds() * 1e6),
        }
    }

    pub(crate) fn histogram(&self) -> Vec<Bucket> {
        let bucket = |(from, count): (u64, u32)| Bucket {
            from_us: from as f64 / 1e3,
            count: count.into(),
        };
        self.all.buckets().map(bucket).collect()
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        self.deadline.map(|(time, misses)| Deadline {
            us: time.as_secs_f64() * 1e6,
            misses,
        })
    }

    pub(crate) fn timeline(&self) -> &[Interval] {
        &self.timeline
    }

    /// When the current part of a long run began, since the first inference that counts.
    pub(crate) fn interval_began(&self) -> Duration {
        let last = self.timeline.last();
        last.map_or(Duration::ZERO, |last| Duration::from_secs_f64(last.seconds))
    }

    /// Ends a part of a long run, if there were inferences in it.
    pub(crate) fn close_interval(&mut self, elapsed: Duration) {
        let latency = self.interval.latency();
        if latency.count == 0 {
            return;
        }
        self.timeline.push(Interval {
            seconds: elapsed.as_secs_f64(),
            runs: latency.count,
            p50_us: latency.p50 as f64 / 1e3,
            max_us: latency.max as f64 / 1e3,
            condition: Condition::read(),
        });
        *self.interval = Histogram::new();
    }

    /// Nanoseconds of each run that is kept, ascending.
    fn sorted(&self) -> Vec<u64> {
        let mut sorted = self.kept.clone();
        sorted.sort_unstable();
        sorted
    }

    /// Nanoseconds of each node in the median run of those whose nodes are kept.
    pub(crate) fn median_run(&self) -> &[u64] {
        let mut nodes = self.times.chunks_exact(self.nodes.max(1));
        let runs = self.kept.get(..nodes.len()).unwrap_or(&self.kept);
        let mut sorted = runs.to_vec();
        sorted.sort_unstable();
        let median = quantile(&sorted, 0.5);
        let run = runs.iter().position(|&run| run == median).unwrap_or(0);
        nodes.nth(run).unwrap_or_default()
    }
}

impl Observer for Stopwatch {
    fn run_begin(&mut self) {
        self.began = Instant::now();
        self.last = self.began;
    }

    fn node_end(&mut self, _index: usize, _output: &[u8]) {
        let now = Instant::now();
        if self.times.len() < self.times.capacity() {
            self.times.push((now - self.last).as_nanos() as u64);
        }
        self.last = now;
    }

    fn run_end(&mut self) {
        let time = self.began.elapsed();
        let nanoseconds = time.as_nanos() as u64;
        self.all.record(nanoseconds);
        self.interval.record(nanoseconds);
        if self.kept.len() < self.kept.capacity() {
            self.kept.push(nanoseconds);
        }
        if let Some((deadline, misses)) = &mut self.deadline {
            *misses += u64::from(time > *deadline);
        }
    }
}

/// The least value that `share` of all do not exceed; 0 of none. `sorted` is ascending.
fn quantile(sorted: &[u64], share: f64) -> u64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occurred() {
        let sorted: Vec<u64> = (1..=200).collect();
        assert_eq!(quantile(&sorted, 0.5), 100);
        assert_eq!(quantile(&sorted, 0.99), 198);
        assert_eq!(quantile(&[7], 0.99), 7);
        assert_eq!(quantile(&[], 0.5), 0);
    }

    #[test]
    fn the_nodes_are_those_of_the_median_run() {
        let mut watch = Stopwatch::new(2, 3, None);
        watch.kept = vec![30, 10, 20];
        watch.times = vec![10, 20, 4, 6, 9, 11];
        assert_eq!(watch.median_run(), [9, 11]);
    }

    #[test]
    fn a_long_run_has_intervals_and_counts_what_is_too_late() {
        let mut watch = Stopwatch::new(1, 2, Some(Duration::ZERO));
        for second in 1..=5 {
            watch.run_begin();
            watch.node_end(0, &[]);
            watch.run_end();
            if second % 2 == 0 {
                watch.close_interval(Duration::from_secs(second));
            }
        }
        assert_eq!(watch.interval_began(), Duration::from_secs(4));
        assert_eq!(watch.runs(), 5);
        assert_eq!(watch.deadline().map(|deadline| deadline.misses), Some(5));
        let runs: Vec<u64> = watch.timeline().iter().map(|part| part.runs).collect();
        assert_eq!(runs, [2, 2]);
        assert_eq!((watch.kept.len(), watch.median_run().len()), (2, 1));
        let counted: u64 = watch.histogram().iter().map(|bucket| bucket.count).sum();
        assert_eq!(counted, 5);
    }
}
