//! Measures how long an inference takes, on an input that is the same everywhere.

use crate::machine::{Condition, Machine};
use crate::memory::Memory;
use crate::meter::Meter;
use crate::network::{arena, hexadecimal};
use crate::report::{BenchReport, Energy, LayerTime};
use crate::stopwatch::Stopwatch;
use crate::{Error, Network, digest, open};
use edgeprune_runtime::noise::Noise;
use edgeprune_runtime::{KernelSet, MAX_THREADS, Observer, Package, Pool};
use std::os::unix::process::parent_id;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{available_parallelism, scope};
use std::time::{Duration, Instant};

/// How to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BenchOptions {
    /// Inferences before the first that counts.
    pub warm_up: u32,
    /// Inferences that count.
    pub runs: u32,
    /// Threads of an inference.
    pub threads: u32,
    /// Inferences that count go on for that long, whatever `runs` says.
    pub duration: Option<Duration>,
    /// A time that no inference should exceed.
    pub deadline: Option<Duration>,
}

impl Default for BenchOptions {
    fn default() -> Self {
        Self {
            warm_up: 5,
            runs: 50,
            threads: 1,
            duration: None,
            deadline: None,
        }
    }
}

/// Parts of a long run.
const INTERVALS: u32 = 60;
/// A part is at least this long.
const LEAST_INTERVAL: Duration = Duration::from_secs(1);

/// Opens `bytes`, runs the network and measures it.
///
/// # Errors
/// Bytes that are no package, no runs, no threads or more than this machine runs at a time, outputs that differ from run
/// to run.
pub fn bench(bytes: &[u8], options: BenchOptions) -> Result<BenchReport, Error> {
    if options.runs == 0 || options.duration.is_some_and(|time| time.is_zero()) {
        return Err(Error::NoRuns);
    }
    let mut pool = pool(options.threads)?;
    let memory = Memory::watch();
    let began = Instant::now();
    let package = Package::open(bytes)?;
    let arena_bytes = package.arena_bytes_for(options.threads as usize);
    let mut arena = arena(arena_bytes)?;
    let mut opened = open(&package, arena.bytes_mut());
    let network = opened.as_mut().map_err(|error| *error)?;
    let mut inference = Inference {
        inputs: inputs(network)?,
        network,
        pool: &mut pool,
    };
    inference.run(&mut ())?;
    let cold_us = began.elapsed().as_secs_f64() * 1e6;
    let resident = memory.and_then(|memory| memory.resident(arena_bytes as u64));
    let expected = digest(inference.network)?;
    for _ in 0..options.warm_up {
        inference.run(&mut ())?;
    }
    let before = Condition::read();
    let (watch, energy) = metered(|| inference.measure(options, &expected))?;
    let after = Condition::read();
    Ok(BenchReport {
        model: package.manifest().head.model.to_owned(),
        package_hash: hexadecimal(package.hash()),
        package_bytes: bytes.len() as u64,
        arena_bytes: arena_bytes as u64,
        machine: Machine::read(),
        before,
        after,
        kernels: inference.network.kernels().name().to_owned(),
        threads: options.threads,
        warm_up: options.warm_up,
        runs: watch.runs(),
        cold_us,
        latency_us: watch.latency(),
        histogram: watch.histogram(),
        deadline: watch.deadline(),
        timeline: watch.timeline().to_vec(),
        resident,
        energy,
        layers: layers(inference.network, watch.median_run()),
        output_sha256: expected,
    })
}

/// Does the work while a meter, if there is one, is read.
fn metered(
    work: impl FnOnce() -> Result<Stopwatch, Error>,
) -> Result<(Stopwatch, Option<Energy>), Error> {
    let done = AtomicBool::new(false);
    scope(|scope| {
        let readings = Meter::find().map(|meter| meter.watch(scope, &done));
        let watch = work();
        done.store(true, Ordering::Relaxed);
        let readings = readings.and_then(|thread| thread.join().ok());
        let watch = watch?;
        let energy = readings.and_then(|readings| readings.energy(watch.mean_seconds()));
        Ok((watch, energy))
    })
}

/// Runs the network that often without looking at a clock, for counters of instructions, with a
/// mark before the first run and after each; then, if wanted, once more with a mark before the
/// first layer and after each. Returns the output's SHA-256.
///
/// # Errors
/// As [`bench`].
pub fn repeat(bytes: &[u8], runs: u32, layers: bool) -> Result<String, Error> {
    let package = Package::open(bytes)?;
    let mut arena = arena(package.arena_bytes())?;
    let mut opened = open(&package, arena.bytes_mut());
    let network = opened.as_mut().map_err(|error| *error)?;
    let mut inference = Inference {
        inputs: inputs(network)?,
        network,
        pool: &mut None,
    };
    mark();
    for _ in 0..runs {
        inference.run(&mut ())?;
        mark();
    }
    if layers {
        inference.run(&mut Marks)?;
    }
    digest(inference.network)
}

/// Marks where layers begin and end.
struct Marks;

impl Observer for Marks {
    fn run_begin(&mut self) {
        mark();
    }

    fn node_end(&mut self, _index: usize, _output: &[u8]) {
        mark();
    }
}

/// Asks for the parent's number: a system call that nothing else here makes.
fn mark() {
    let _parent = parent_id();
}

/// The threads of an inference; none where it has one.
pub(crate) fn pool(threads: u32) -> Result<Option<Pool>, Error> {
    let most = available_parallelism().map_or(1, |threads| threads.get().min(MAX_THREADS));
    match threads as usize {
        1 => Ok(None),
        number if (2..=most).contains(&number) => {
            Pool::new(number).map(Some).map_err(Error::Thread)
        }
        _ => Err(Error::Threads { threads, most }),
    }
}

/// All that an inference needs.
struct Inference<'s, 'p, 'a> {
    network: &'s mut Network<'p, 'a>,
    pool: &'s mut Option<Pool>,
    /// Bytes of each input.
    inputs: Vec<Vec<u8>>,
}

impl Inference<'_, '_, '_> {
    fn run(&mut self, observer: &mut impl Observer) -> Result<(), Error> {
        for (index, bytes) in self.inputs.iter().enumerate() {
            let input = self.network.input(index)?;
            if input.len() == bytes.len() {
                input.copy_from_slice(bytes);
            }
        }
        match self.pool {
            Some(pool) => self.network.run_on(pool, observer)?,
            None => self.network.run(observer)?,
        }
        Ok(())
    }

    /// Measures as long as `options` say; every run must give `expected`.
    fn measure(&mut self, options: BenchOptions, expected: &str) -> Result<Stopwatch, Error> {
        let mut watch = Stopwatch::new(self.network.nodes(), options.runs, options.deadline);
        let interval = options
            .duration
            .map(|time| (time / INTERVALS).max(LEAST_INTERVAL));
        let began = Instant::now();
        let goes_on = |watch: &Stopwatch| match options.duration {
            Some(duration) => began.elapsed() < duration,
            None => watch.runs() < u64::from(options.runs),
        };
        while goes_on(&watch) {
            self.run(&mut watch)?;
            if digest(self.network)? != expected {
                return Err(Error::NotRepeatable { run: watch.runs() });
            }
            if interval.is_some_and(|length| watch.interval_began() + length <= began.elapsed()) {
                watch.close_interval(began.elapsed());
            }
        }
        if interval.is_some() {
            watch.close_interval(began.elapsed());
        }
        Ok(watch)
    }
}

/// Bytes for every input: noise that is the same everywhere.
fn inputs(network: &Network<'_, '_>) -> Result<Vec<Vec<u8>>, Error> {
    let mut noise = Noise::default();
    (0..usize::from(network.package().manifest().head.counts.inputs))
        .map(|index| {
            let port = network.input_info(index)?;
            let mut bytes = vec![0; port.elements() * port.dtype.size()];
            noise.fill(port.dtype, &mut bytes);
            Ok(bytes)
        })
        .collect()
}

fn layers(network: &Network<'_, '_>, nanoseconds: &[u64]) -> Vec<LayerTime> {
    let manifest = network.package().manifest();
    let nodes = manifest.nodes().zip(nanoseconds).enumerate();
    nodes
        .map(|(index, (node, &ns))| LayerTime {
            name: node.name.to_owned(),
            op: node.op.name().to_owned(),
            us: ns as f64 / 1e3,
            macs: manifest.macs(&node),
            bytes: manifest.bytes(&node),
            class: manifest.class(&node).to_string(),
            kernel: network.kernel(index).map_or_else(
                || KernelSet::portable().name().to_owned(),
                |kernel| kernel.to_string(),
            ),
        })
        .collect()
}
