//! Measures how long an inference takes, on an input that is the same everywhere.

use crate::stopwatch::{Stopwatch, quantile};
use crate::{Error, Network, digest, open, processor};
use edgeprune_format::manifest::DType;
use edgeprune_runtime::{Arena, KernelSet, MAX_THREADS, Observer, Package, Pool};
use serde::{Deserialize, Serialize};
use std::os::unix::process::parent_id;
use std::thread::available_parallelism;
use std::time::Instant;

/// How to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BenchOptions {
    /// Inferences before the first that counts.
    pub warm_up: u32,
    /// Inferences that count.
    pub runs: u32,
    /// Threads of an inference.
    pub threads: u32,
}

impl Default for BenchOptions {
    fn default() -> Self {
        Self {
            warm_up: 5,
            runs: 50,
            threads: 1,
        }
    }
}

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
    /// The machine, as its firmware names it.
    pub machine: Option<String>,
    /// The processor.
    pub cpu: String,
    /// The set of kernels.
    pub kernels: String,
    /// Threads of an inference.
    pub threads: u32,
    /// Inferences before the first that counts.
    pub warm_up: u32,
    /// Inferences that count.
    pub runs: u32,
    /// From the package's bytes to the first output, in microseconds.
    pub cold_us: f64,
    /// Time of one inference.
    pub latency_us: LatencyUs,
    /// Nodes, in order of execution.
    pub layers: Vec<LayerTime>,
    /// SHA-256 over the output bytes, the same on every machine.
    pub output_sha256: String,
}

/// Quantiles of a latency, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatencyUs {
    /// Least.
    pub min: f64,
    /// Median.
    pub p50: f64,
    /// Nine in ten are at most this.
    pub p90: f64,
    /// Ninety-nine in a hundred are at most this.
    pub p99: f64,
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
    /// The kernel.
    pub kernel: String,
}

/// Opens `bytes`, runs the network and measures it.
///
/// # Errors
/// Bytes that are no package, no runs, no threads or more than this machine runs at a time, outputs that differ from run
/// to run.
pub fn bench(bytes: &[u8], options: BenchOptions) -> Result<BenchReport, Error> {
    if options.runs == 0 {
        return Err(Error::NoRuns);
    }
    let mut pool = pool(options.threads)?;
    let began = Instant::now();
    let package = Package::open(bytes)?;
    let arena_bytes = package.arena_bytes_for(options.threads as usize);
    let mut arena = Arena::new(arena_bytes);
    let mut opened = open(&package, arena.bytes_mut());
    let network = opened.as_mut().map_err(|error| *error)?;
    let inputs = inputs(network)?;
    infer(network, &mut pool, &inputs, &mut ())?;
    let cold_us = began.elapsed().as_secs_f64() * 1e6;
    let expected = digest(network)?;
    for _ in 0..options.warm_up {
        infer(network, &mut pool, &inputs, &mut ())?;
    }
    let mut watch = Stopwatch::new(network.nodes(), options.runs);
    for run in 0..options.runs {
        infer(network, &mut pool, &inputs, &mut watch)?;
        if digest(network)? != expected {
            return Err(Error::NotRepeatable { run });
        }
    }
    Ok(BenchReport {
        model: package.manifest().head.model.to_owned(),
        package_hash: package
            .hash()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
        package_bytes: bytes.len() as u64,
        arena_bytes: arena_bytes as u64,
        machine: processor::machine(),
        cpu: processor::processor(),
        kernels: network.kernels().name().to_owned(),
        threads: options.threads,
        warm_up: options.warm_up,
        runs: options.runs,
        cold_us,
        latency_us: latency(&watch.sorted()),
        layers: layers(network, watch.median_run()),
        output_sha256: expected,
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
    let mut arena = Arena::new(package.arena_bytes());
    let mut opened = open(&package, arena.bytes_mut());
    let network = opened.as_mut().map_err(|error| *error)?;
    let inputs = inputs(network)?;
    mark();
    for _ in 0..runs {
        infer(network, &mut None, &inputs, &mut ())?;
        mark();
    }
    if layers {
        infer(network, &mut None, &inputs, &mut Marks)?;
    }
    digest(network)
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
fn pool(threads: u32) -> Result<Option<Pool>, Error> {
    let most = available_parallelism().map_or(1, |threads| threads.get().min(MAX_THREADS));
    match threads as usize {
        1 => Ok(None),
        number if (2..=most).contains(&number) => {
            Pool::new(number).map(Some).map_err(Error::Thread)
        }
        _ => Err(Error::Threads { threads, most }),
    }
}

fn infer(
    network: &mut Network<'_, '_>,
    pool: &mut Option<Pool>,
    inputs: &[Vec<u8>],
    observer: &mut impl Observer,
) -> Result<(), Error> {
    for (index, bytes) in inputs.iter().enumerate() {
        let input = network.input(index)?;
        if input.len() == bytes.len() {
            input.copy_from_slice(bytes);
        }
    }
    match pool {
        Some(pool) => network.run_on(pool, observer)?,
        None => network.run(observer)?,
    }
    Ok(())
}

/// Bytes for every input: noise, from a generator that starts in the same state everywhere.
fn inputs(network: &Network<'_, '_>) -> Result<Vec<Vec<u8>>, Error> {
    let mut noise = Noise::default();
    (0..usize::from(network.package().manifest().head.counts.inputs))
        .map(|index| {
            let port = network.input_info(index)?;
            let codes = (0..port.elements()).map(|_| noise.code());
            Ok(match port.dtype {
                DType::F32 => codes
                    .flat_map(|code| (f32::from(code) / 64.0).to_ne_bytes())
                    .collect(),
                _ => codes.map(|code| code as u8).collect(),
            })
        })
        .collect()
}

/// Marsaglia's xorshift (Journal of Statistical Software 8, 2003), 64 bits.
struct Noise(u64);

impl Default for Noise {
    fn default() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }
}

impl Noise {
    fn code(&mut self) -> i8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 56) as i8
    }
}

fn latency(sorted: &[u64]) -> LatencyUs {
    let us = |share| quantile(sorted, share) as f64 / 1e3;
    LatencyUs {
        min: us(0.0),
        p50: us(0.5),
        p90: us(0.9),
        p99: us(0.99),
    }
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
            kernel: network.kernel(index).map_or_else(
                || KernelSet::portable().name().to_owned(),
                |kernel| kernel.to_string(),
            ),
        })
        .collect()
}
