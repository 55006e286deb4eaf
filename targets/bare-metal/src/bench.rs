//! Measures a package, and sends what was measured.

use crate::processor;
use crate::report::send;
use crate::timer::Timer;
use core::fmt::{self, Write as _};
use edgeprune_runtime::format::heapless::{String, Vec};
use edgeprune_runtime::format::slot::Slot;
use edgeprune_runtime::format::telemetry::{
    Bucket, Hello, Latency, Layer, MAX_BUCKETS, MAX_TEXT, Record, Run,
};
use edgeprune_runtime::noise::Noise;
use edgeprune_runtime::telemetry::{Clock, Telemetry};
use edgeprune_runtime::{KernelSet, MAX_NODES, Observer, OpenError, Package, RunError, SessionError};
use sha2::{Digest as _, Sha256};

const TOOL: &str = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"));
/// The id of the board's file, which `edgeprune build` gives.
const BOARD: &str = match option_env!("EDGEPRUNE_BOARD") {
    Some(id) => id,
    None => "a board without a name",
};
/// Runs of a package inside the program: before the first that counts, and those that count.
const RUNS: [u32; 2] = [3, 20];

type Session<'p, 'a> = edgeprune_runtime::Session<'p, 'a, MAX_NODES>;

/// Why there is no measurement.
pub(crate) enum Failure {
    Open(OpenError),
    Session(SessionError),
    Run(RunError),
    /// The same input gave two outputs.
    NotRepeatable,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(error) => error.fmt(f),
            Self::Session(error) => error.fmt(f),
            Self::Run(error) => error.fmt(f),
            Self::NotRepeatable => f.write_str("the same input gave two outputs"),
        }
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        Self::Run(error)
    }
}

/// Opens the package, runs its network and measures it, as often as the slot asks for that it came in.
pub(crate) fn bench(bytes: &[u8], arena: &mut [u8], slot: Option<Slot>) -> Result<(), Failure> {
    let [warm_up, runs] = slot.map_or(RUNS, |slot| [slot.warm_up, slot.runs]);
    let began = Timer.ticks();
    let package = Package::open(bytes).map_err(Failure::Open)?;
    let mut opened = Session::with_capacity(&package, arena);
    let session = opened.as_mut().map_err(|error| Failure::Session(*error))?;
    infer(session, &mut ())?;
    let cold = Timer.ticks() - began;
    send(&Record::Hello(hello(session, bytes.len())));
    let sha256 = digest(session)?;
    for _ in 0..warm_up {
        infer(session, &mut ())?;
    }
    let mut telemetry = Telemetry::<_, MAX_NODES>::new(Timer);
    for _ in 0..runs {
        infer(session, &mut telemetry)?;
        if digest(session)? != sha256 {
            return Err(Failure::NotRepeatable);
        }
    }
    let latency = telemetry.run();
    send(&Record::Run(Run {
        warm_up,
        cold,
        latency,
    }));
    send_buckets(telemetry.run_buckets());
    send_layers(session, telemetry.nodes());
    send(&Record::Output { sha256 });
    Ok(())
}

fn hello<'p>(session: &Session<'p, '_>, package_bytes: usize) -> Hello<'p> {
    let package = session.package();
    let head = &package.manifest().head;
    Hello {
        model: head.model,
        package_hash: package.hash().try_into().unwrap_or_default(),
        tool: TOOL,
        board: BOARD,
        core: processor::name(),
        kernels: session.kernels().name(),
        ticks_per_second: Timer.ticks_per_second(),
        arena_bytes: package.arena_bytes() as u64,
        package_bytes: package_bytes as u64,
        nodes: head.counts.nodes,
        threads: 1,
    }
}

/// Runs the network on the benchmark's input.
fn infer(session: &mut Session<'_, '_>, observer: &mut impl Observer) -> Result<(), RunError> {
    let mut noise = Noise::default();
    for index in 0..usize::from(session.package().manifest().head.counts.inputs) {
        let dtype = session.input_info(index)?.dtype;
        noise.fill(dtype, session.input(index)?);
    }
    session.run(observer)
}

/// SHA-256 over the bytes of all outputs.
fn digest(session: &Session<'_, '_>) -> Result<[u8; 32], RunError> {
    let mut digest = Sha256::new();
    for index in 0..usize::from(session.package().manifest().head.counts.outputs) {
        digest.update(session.output(index)?);
    }
    Ok(digest.finalize().into())
}

fn send_buckets(mut all: impl Iterator<Item = (u64, u32)>) {
    loop {
        let bucket = |(from, count)| Bucket { from, count };
        let buckets: Vec<_, MAX_BUCKETS> = all.by_ref().take(MAX_BUCKETS).map(bucket).collect();
        if buckets.is_empty() {
            return;
        }
        send(&Record::Buckets { buckets });
    }
}

fn send_layers(session: &Session<'_, '_>, latencies: impl Iterator<Item = Latency>) {
    let manifest = session.package().manifest();
    for ((index, node), latency) in (0..).zip(manifest.nodes()).zip(latencies) {
        let mut kernel = String::<MAX_TEXT>::new();
        let _ = match session.kernel(index.into()) {
            Some(name) => write!(kernel, "{name}"),
            None => kernel.write_str(KernelSet::portable().name()),
        }; // as much of it as fits
        let mut class = String::<MAX_TEXT>::new();
        let _ = write!(class, "{}", manifest.class(&node)); // always fits
        send(&Record::Layer(Layer {
            index,
            name: node.name,
            op: node.op.name(),
            kernel: &kernel,
            class: &class,
            macs: manifest.macs(&node),
            bytes: manifest.bytes(&node),
            latency,
        }));
    }
}
