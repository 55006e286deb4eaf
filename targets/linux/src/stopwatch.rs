//! Exact times of every node of every run, in memory that is there before the first.

use edgeprune_runtime::Observer;
use std::time::Instant;

/// Times of `nodes` nodes over a known number of runs.
pub(crate) struct Stopwatch {
    nodes: usize,
    /// Nanoseconds of each node, run after run.
    times: Vec<u64>,
    /// Nanoseconds of each run.
    runs: Vec<u64>,
    began: Instant,
    last: Instant,
}

impl Stopwatch {
    pub(crate) fn new(nodes: usize, runs: u32) -> Self {
        let now = Instant::now();
        Self {
            nodes,
            times: Vec::with_capacity(nodes * runs as usize),
            runs: Vec::with_capacity(runs as usize),
            began: now,
            last: now,
        }
    }

    /// Nanoseconds of each run, ascending.
    pub(crate) fn sorted(&self) -> Vec<u64> {
        let mut sorted = self.runs.clone();
        sorted.sort_unstable();
        sorted
    }

    /// Nanoseconds of each node in the median run.
    pub(crate) fn median_run(&self) -> &[u64] {
        let median = quantile(&self.sorted(), 0.5);
        let run = self.runs.iter().position(|&run| run == median).unwrap_or(0);
        let mut nodes = self.times.chunks_exact(self.nodes.max(1));
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
        self.times.push((now - self.last).as_nanos() as u64);
        self.last = now;
    }

    fn run_end(&mut self) {
        self.runs.push(self.began.elapsed().as_nanos() as u64);
    }
}

/// The least value that `share` of all do not exceed; 0 of none. `sorted` is ascending.
pub(crate) fn quantile(sorted: &[u64], share: f64) -> u64 {
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
        let mut watch = Stopwatch::new(2, 3);
        watch.runs = vec![30, 10, 20];
        watch.times = vec![10, 20, 4, 6, 9, 11];
        assert_eq!(watch.median_run(), [9, 11]);
    }
}
