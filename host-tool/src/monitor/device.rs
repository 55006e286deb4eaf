//! What is known of a device from its records.

use crate::report::record::{Bench, BenchLayer, Bucket, Identity, Latency};
use edgeprune_format::telemetry::{
    self, Counters, Decoder, Event, Hello, Hexadecimal, Layer, Record, Run, Tally,
};
use std::time::Duration;

/// The least time without a word that is taken for silence.
const PATIENCE: Duration = Duration::from_secs(3);
/// As many reports that do not come are silence.
const MISSING_INTERVALS: u64 = 3;

/// What is known of a device.
#[derive(Clone, Debug, Default)]
pub struct Device {
    /// As far as it is reported.
    bench: Bench,
    /// Nothing before it has introduced itself: durations have no unit then.
    ticks_per_second: Option<u64>,
    counters: Option<Counters>,
    fault: Option<String>,
    has_ended: bool,
    tally: Tally,
}

impl Device {
    /// What a whole stream of bytes says.
    pub fn of(stream: &[u8]) -> Self {
        let (mut device, mut decoder) = (Self::default(), Decoder::new());
        for &byte in stream {
            if let Some(event) = decoder.push(byte) {
                device.take(&event);
            }
        }
        device
    }

    /// Takes notice of an event.
    pub fn take(&mut self, event: &Event<'_>) {
        match event {
            Event::Record { lost, record, .. } => {
                self.tally.records += 1;
                self.tally.lost += u64::from(*lost);
                self.record(record);
            }
            Event::Corrupt(_) => self.tally.corrupt += 1,
            Event::Text(_) => {}
        }
    }

    /// Takes notice of what others keep of this device: who it is, whether it is there, has ended or is gone.
    #[cfg(feature = "mqtt")]
    pub(super) fn take_state(&mut self, event: &Event<'_>) {
        match event {
            Event::Record {
                record: Record::Hello(hello),
                ..
            } if self.is_of(hello) => (self.fault, self.has_ended) = (None, false),
            Event::Record { record, .. } => self.record(record),
            Event::Corrupt(_) => self.tally.corrupt += 1,
            Event::Text(_) => {}
        }
    }

    #[cfg(feature = "mqtt")]
    fn is_of(&self, hello: &Hello<'_>) -> bool {
        let hash = Hexadecimal(&hello.package_hash).to_string();
        self.bench.board == hello.board && self.bench.identity.package_hash == hash
    }

    fn record(&mut self, record: &Record<'_>) {
        match record {
            Record::Hello(hello) => self.hello(hello),
            Record::Run(run) => self.run(run),
            Record::Buckets { buckets } => {
                for bucket in buckets {
                    self.add_bucket(self.us(bucket.from), bucket.count.into());
                }
            }
            Record::Layer(layer) => self.layer(layer),
            Record::Output { sha256 } => {
                self.bench.output_sha256 = Hexadecimal(sha256).to_string();
            }
            Record::Counters(counters) => {
                let millidegrees = counters.millidegrees;
                self.bench.after.temperature_celsius = millidegrees.map(|m| f64::from(m) / 1e3);
                self.counters = Some(*counters);
            }
            Record::Fault { text } => self.fault = Some((*text).to_owned()),
            Record::End => self.has_ended = true,
        }
    }

    /// A device that introduces itself has just started: what was known of it is no longer true.
    fn hello(&mut self, hello: &Hello<'_>) {
        *self = Self {
            bench: Bench {
                identity: Identity {
                    model: hello.model.to_owned(),
                    package: String::new(),
                    package_hash: Hexadecimal(&hello.package_hash).to_string(),
                },
                board: hello.board.to_owned(),
                cpu: hello.core.to_owned(),
                threads: hello.threads.into(),
                kernels: hello.kernels.to_owned(),
                arena_bytes: hello.arena_bytes,
                package_bytes: hello.package_bytes,
                tool: hello.tool.to_owned(),
                peak_int8_macs_per_second: edgeprune_boards::find(hello.board)
                    .ok()
                    .map(edgeprune_boards::Board::peak_int8_macs_per_second),
                ..Bench::default()
            },
            ticks_per_second: Some(hello.ticks_per_second).filter(|&ticks| ticks > 0),
            tally: self.tally,
            ..Self::default()
        };
    }

    /// Adds to a histogram whose parts may overlap, as those of periods do.
    fn add_bucket(&mut self, from_us: f64, count: u64) {
        let histogram = &mut self.bench.histogram;
        let place = histogram.partition_point(|bucket| bucket.from_us < from_us);
        match histogram.get_mut(place) {
            Some(bucket) if bucket.from_us == from_us => bucket.count += count,
            _ => histogram.insert(place, Bucket { from_us, count }),
        }
    }

    fn run(&mut self, run: &Run) {
        self.bench.warm_up = run.warm_up.into();
        self.bench.runs = run.latency.count;
        self.bench.cold_us = Some(self.us(run.cold));
        self.bench.latency_us = self.latency(&run.latency);
        self.bench.histogram.clear();
        self.bench.layers.clear();
    }

    fn layer(&mut self, layer: &Layer<'_>) {
        let us = self.us(layer.latency.p50);
        self.bench.layers.push(BenchLayer {
            name: layer.name.to_owned(),
            op: layer.op.to_owned(),
            us,
            macs: layer.macs,
            bytes: layer.bytes,
            class: layer.class.to_owned(),
            kernel: layer.kernel.to_owned(),
            instructions: None,
        });
    }

    /// In microseconds.
    pub fn latency(&self, ticks: &telemetry::Latency) -> Latency {
        Latency {
            min: self.us(ticks.min),
            p50: self.us(ticks.p50),
            p90: self.us(ticks.p90),
            p99: self.us(ticks.p99),
            max: Some(self.us(ticks.max)),
            mean: Some(self.us(ticks.sum) / ticks.count.max(1) as f64),
        }
    }

    fn us(&self, ticks: u64) -> f64 {
        let second = self.ticks_per_second.unwrap_or(1_000_000);
        ticks as f64 * 1e6 / second as f64
    }

    /// Inferences a second of the last period of a product at work.
    pub fn rate(&self) -> Option<f64> {
        let counters = self.counters.as_ref()?;
        let seconds = self.us(counters.period_ticks) / 1e6;
        (seconds > 0.0).then(|| counters.period.count as f64 / seconds)
    }

    /// How long it may say nothing, once it has begun to report at intervals.
    pub fn patience(&self) -> Option<Duration> {
        let counters = self
            .counters
            .filter(|_| self.fault.is_none() && !self.has_ended)?;
        let intervals = self.us(counters.period_ticks.saturating_mul(MISSING_INTERVALS));
        Some(PATIENCE.max(Duration::try_from_secs_f64(intervals / 1e6).unwrap_or(Duration::MAX)))
    }

    /// The benchmark, once the device has introduced itself and reported its runs.
    pub fn bench(&self) -> Option<&Bench> {
        (self.ticks_per_second.is_some() && self.bench.runs > 0).then_some(&self.bench)
    }

    /// SHA-256 of the last outputs reported; empty before.
    pub fn output_sha256(&self) -> &str {
        &self.bench.output_sha256
    }

    /// Board and model; empty before the device has introduced itself.
    pub fn name(&self) -> [&str; 2] {
        [&self.bench.board, &self.bench.identity.model]
    }

    /// The state of a product at work, as last reported.
    pub fn counters(&self) -> Option<&Counters> {
        self.counters.as_ref()
    }

    /// What failed last.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Whether nothing follows.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Records read and lost, and damage seen.
    pub fn tally(&self) -> Tally {
        self.tally
    }
}
