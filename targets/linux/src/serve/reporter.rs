//! Telemetry of a network at work: who it is, every period what happened, at the end everything.

use super::ServeOptions;
use super::counts::{Counts, Runs};
use super::crew::{Crew, Rest};
use super::outlet::Open;
use crate::machine::read;
use crate::{Condition, Error, Machine, Network};
use edgeprune_format::telemetry::{
    Bucket, Counters, Hello, MAX_BUCKETS, MAX_FRAME, Record, Run, frame,
};
use edgeprune_runtime::telemetry::Histogram;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

const HOST_NAME: &str = "/proc/sys/kernel/hostname";
/// Nanoseconds.
const TICKS_PER_SECOND: u64 = 1_000_000_000;
const TOOL: &str = concat!("edgeprune-device ", env!("CARGO_PKG_VERSION"));

/// Who speaks.
pub(super) struct Identity {
    model: String,
    package_hash: [u8; 32],
    board: String,
    core: String,
    kernels: &'static str,
    arena_bytes: u64,
    package_bytes: u64,
    nodes: u16,
    threads: u16,
}

impl Identity {
    pub(super) fn new(
        network: &Network<'_, '_>,
        package_bytes: usize,
        arena_bytes: usize,
        options: &ServeOptions,
    ) -> Self {
        let package = network.package();
        let host = || read(Path::new(HOST_NAME)).unwrap_or_default();
        Self {
            model: package.manifest().head.model.to_owned(),
            package_hash: package.hash().first_chunk().copied().unwrap_or_default(),
            board: options.name.clone().unwrap_or_else(host),
            core: Machine::read().cpu,
            kernels: network.kernels().name(),
            arena_bytes: arena_bytes as u64,
            package_bytes: package_bytes as u64,
            nodes: network.nodes() as u16,
            threads: options.threads as u16,
        }
    }

    fn hello(&self) -> Record<'_> {
        Record::Hello(Hello {
            model: &self.model,
            package_hash: self.package_hash,
            tool: TOOL,
            board: &self.board,
            core: &self.core,
            kernels: self.kernels,
            ticks_per_second: TICKS_PER_SECOND,
            arena_bytes: self.arena_bytes,
            package_bytes: self.package_bytes,
            nodes: self.nodes,
            threads: self.threads,
        })
    }

    /// The introduction as a frame.
    pub(super) fn frame(&self, number: u32) -> Arc<[u8]> {
        bytes(number, &self.hello())
    }
}

/// A record as a frame.
pub(super) fn bytes(number: u32, record: &Record<'_>) -> Arc<[u8]> {
    let mut buffer = [0; MAX_FRAME];
    frame(number, record, &mut buffer)
        .unwrap_or_default()
        .into() // no record is too long
}

/// A thread that reports.
pub(super) struct Reporter {
    /// Dropped to end it.
    running: Sender<()>,
    rest: Rest,
}

impl Reporter {
    /// Starts to report; nothing is done where nobody wants it.
    pub(super) fn start(
        identity: Identity,
        cold: Duration,
        counts: Arc<Counts>,
        options: &ServeOptions,
    ) -> Result<Self, Error> {
        let (crew, rest) = Crew::new();
        let (running, stopped) = mpsc::channel();
        let identity = Arc::new(identity);
        let open = options.telemetry.iter().map(|o| o.open(&identity, &crew));
        let mut stream = Stream {
            outlets: open.collect::<Result<_, _>>()?,
            next: 0,
        };
        if stream.outlets.is_empty() {
            return Ok(Self { running, rest });
        }
        stream.send(&identity.hello());
        let mut report = Report {
            began: Instant::now(),
            last: Duration::ZERO,
            arena_bytes: identity.arena_bytes,
            counts,
            stream,
        };
        let every = options.every;
        crew.spawn(move || {
            report.periods(every, &stopped);
            report.end(cold);
        })?;
        Ok(Self { running, rest })
    }

    /// Reports the last period, and waits a while until all is sent.
    pub(super) fn finish(self) {
        drop(self.running);
        self.rest.wait(Some(super::PATIENCE));
    }
}

/// Numbers records.
struct Stream {
    outlets: Vec<Open>,
    next: u32,
}

impl Stream {
    fn send(&mut self, record: &Record<'_>) {
        let frame = bytes(self.next, record);
        for outlet in &self.outlets {
            outlet.send((self.next, Arc::clone(&frame)));
        }
        self.next = self.next.wrapping_add(1);
    }

    fn send_histogram(&mut self, histogram: &Histogram) {
        let buckets = histogram.buckets();
        let buckets: Vec<Bucket> = buckets
            .map(|(from, count)| Bucket { from, count })
            .collect();
        for part in buckets.chunks(MAX_BUCKETS) {
            let buckets = part.iter().copied().collect();
            self.send(&Record::Buckets { buckets });
        }
    }
}

/// What is reported.
struct Report {
    began: Instant,
    /// End of the last period, from the start.
    last: Duration,
    arena_bytes: u64,
    counts: Arc<Counts>,
    stream: Stream,
}

impl Report {
    /// Closes a period `every` so often, until this is to end.
    fn periods(&mut self, every: Duration, stopped: &Receiver<()>) {
        let mut next = every;
        loop {
            let wait = next.saturating_sub(self.began.elapsed());
            if stopped.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
            self.close_period();
            next = (next + every).max(self.began.elapsed());
        }
    }

    fn close_period(&mut self) -> Runs {
        let runs = self.counts.close_period();
        let now = self.began.elapsed();
        let condition = Condition::read();
        let millidegrees = |degrees: f64| (degrees * 1e3) as i32;
        self.stream.send(&Record::Counters(Counters {
            uptime: now.as_nanos() as u64,
            inferences: runs.total.count(),
            dropped: self.counts.dropped.value(),
            refused: self.counts.refused.value(),
            unanswered: self.counts.unanswered.value(),
            missed: self.counts.missed.value(),
            period_ticks: (now - self.last).as_nanos() as u64,
            period: runs.period.latency(),
            total: runs.total.latency(),
            arena_bytes: self.arena_bytes,
            millidegrees: condition.temperature_celsius.map(millidegrees),
            clock_mhz: condition.clock_mhz,
            throttled: condition.throttled,
        }));
        self.stream.send_histogram(&runs.period);
        self.last = now;
        runs
    }

    /// Reports all runs as a benchmark does.
    fn end(&mut self, cold: Duration) {
        let runs = self.close_period();
        self.stream.send(&Record::Run(Run {
            warm_up: 1,
            cold: cold.as_nanos() as u64,
            latency: runs.total.latency(),
        }));
        self.stream.send_histogram(&runs.total);
        self.stream.send(&Record::End);
    }
}
