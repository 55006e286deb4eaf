//! Runs a network for as long as samples come: from standard input or from the clients of a Unix socket.
//!
//! One thread computes; it never waits for who sends samples, takes answers or reads telemetry.

mod broker;
mod clients;
mod counts;
mod crew;
#[cfg(feature = "mqtt")]
mod mqtt;
mod outlet;
mod reporter;
mod socket;
mod wire;

pub use broker::{Broker, STATE};
pub use outlet::Outlet;

use crate::bench::pool;
use crate::network::arena;
use crate::{Error, Network, open, top_class};
use clients::{Intake, Reason, Request, Sample};
use counts::Counts;
use crew::Crew;
use edgeprune_runtime::{Package, Pool};
use reporter::{Identity, Reporter};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::{Duration, Instant};
use wire::{Status, answer, refusal};

/// How long answers and telemetry that are on their way are waited for after a signal.
const PATIENCE: Duration = Duration::from_secs(1);

/// How to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeOptions {
    /// Where clients connect; without it, samples come from standard input and answers go to standard output.
    pub socket: Option<PathBuf>,
    /// Samples and answers are real values, 32-bit floats, not the bytes of the network's own inputs and outputs.
    pub real: bool,
    /// Samples that may wait.
    pub queue: u32,
    /// Threads of an inference.
    pub threads: u32,
    /// When an answer should be ready, from the arrival of its sample.
    pub deadline: Option<Duration>,
    /// What telemetry calls this machine; the host name if none is given.
    pub name: Option<String>,
    /// Time between records of telemetry.
    pub every: Duration,
    /// Where telemetry goes.
    pub telemetry: Vec<Outlet>,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            socket: None,
            real: false,
            queue: 4,
            threads: 1,
            deadline: None,
            name: None,
            every: Duration::from_secs(1),
            telemetry: Vec::new(),
        }
    }
}

/// What became of all samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Inferences.
    pub inferences: u64,
    /// Samples that found the queue full.
    pub dropped: u64,
    /// Records that are no sample.
    pub refused: u64,
    /// Answers that nobody took.
    pub unanswered: u64,
    /// Answers that were ready after the deadline.
    pub missed: u64,
}

impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} inferences, {} dropped, {} refused, {} unanswered, {} missed the deadline",
            self.inferences, self.dropped, self.refused, self.unanswered, self.missed
        )
    }
}

/// Runs the network on every sample that comes, until the input ends, or SIGINT or SIGTERM.
///
/// # Errors
/// Bytes that are no package, a socket that cannot be made, an outlet that this program does not have, threads that
/// this machine does not have.
pub fn serve(bytes: &[u8], options: &ServeOptions) -> Result<Served, Error> {
    let began = Instant::now();
    let mut pool = pool(options.threads)?;
    let package = Package::open(bytes)?;
    let mut arena = arena(package.arena_bytes_for(options.threads as usize))?;
    let arena_bytes = arena.bytes_mut().len();
    let mut opened = open(&package, arena.bytes_mut());
    let network = opened.as_mut().map_err(|error| *error)?;
    let counts = Arc::new(Counts::default());
    let mut worker = Worker::new(network, &mut pool, options, Arc::clone(&counts))?;
    worker.infer()?; // the first is slow: it must not be a client's
    let (queue, requests) = mpsc::sync_channel(options.queue.max(1) as usize);
    stop_on_signal(queue.clone());
    let identity = Identity::new(worker.network, bytes.len(), arena_bytes, options);
    let reporter = Reporter::start(identity, began.elapsed(), Arc::clone(&counts), options)?;
    let (writers, rest) = Crew::new();
    let most = options.queue as usize;
    let intake = Intake::new(queue, most, worker.sample_bytes(), counts, writers);
    let intake = Arc::new(intake);
    let socket = take_in(&intake, options)?;
    let reason = worker.work(&requests)?;
    drop((socket, requests));
    intake.close();
    rest.wait((reason == Reason::Signal).then_some(PATIENCE));
    reporter.finish();
    Ok(worker.served())
}

/// A second handler cannot be installed, and none is needed. Where the end has begun already, it has a while to come.
fn stop_on_signal(queue: SyncSender<Request>) {
    let _ = ctrlc::set_handler(move || {
        if queue.send(Request::Stop(Reason::Signal)).is_err() {
            std::thread::sleep(2 * PATIENCE);
            std::process::exit(1);
        }
    });
}

fn take_in(
    intake: &Arc<Intake>,
    options: &ServeOptions,
) -> Result<Option<socket::SocketFile>, Error> {
    let Some(path) = &options.socket else {
        intake.only(|| Box::new(io::stdin().lock()), io::stdout())?;
        return Ok(None);
    };
    let intake = Arc::clone(intake);
    let connect = move |stream| drop(intake.connect(stream)); // no thread, no client
    socket::listen(path, connect).map(Some)
}

/// What computes.
struct Worker<'s, 'p, 'a> {
    network: &'s mut Network<'p, 'a>,
    pool: &'s mut Option<Pool>,
    real: bool,
    deadline: Option<Duration>,
    counts: Arc<Counts>,
    /// Bytes of each input in a sample.
    inputs: Vec<usize>,
    /// Real values of each output; the first is that of the scores.
    outputs: Vec<Vec<f32>>,
    /// Real values of one input.
    values: Vec<f32>,
}

impl<'s, 'p, 'a> Worker<'s, 'p, 'a> {
    fn new(
        network: &'s mut Network<'p, 'a>,
        pool: &'s mut Option<Pool>,
        options: &ServeOptions,
        counts: Arc<Counts>,
    ) -> Result<Self, Error> {
        let ports = network.package().manifest().head.counts;
        let mut inputs = Vec::new();
        for index in 0..usize::from(ports.inputs) {
            inputs.push(match options.real {
                true => network.input_info(index)?.elements() * size_of::<f32>(),
                false => network.input(index)?.len(),
            });
        }
        let scores = |index| Ok(vec![0.0; network.output_info(index)?.elements()]);
        let outputs = (0..usize::from(ports.outputs)).map(scores);
        Ok(Self {
            outputs: outputs.collect::<Result<_, Error>>()?,
            network,
            pool,
            real: options.real,
            deadline: options.deadline,
            counts,
            inputs,
            values: Vec::new(),
        })
    }

    fn sample_bytes(&self) -> usize {
        self.inputs.iter().sum()
    }

    fn served(&self) -> Served {
        Served {
            inferences: self.counts.inferences(),
            dropped: self.counts.dropped.value(),
            refused: self.counts.refused.value(),
            unanswered: self.counts.unanswered.value(),
            missed: self.counts.missed.value(),
        }
    }

    /// Answers requests until one wants an end.
    fn work(&mut self, requests: &Receiver<Request>) -> Result<Reason, Error> {
        for request in requests {
            match request {
                Request::Run(sample) => self.run(&sample)?,
                Request::Stop(reason) => return Ok(reason),
            }
        }
        Ok(Reason::End)
    }

    fn run(&mut self, sample: &Sample) -> Result<(), Error> {
        if self.real && !are_finite(&sample.bytes) {
            self.counts.refused.add();
            sample
                .client
                .answer(refusal(sample.number, Status::Refused));
            return Ok(());
        }
        self.set(&sample.bytes)?;
        let began = Instant::now();
        self.infer()?;
        self.counts.ran(began.elapsed());
        let answer = self.answer(sample.number)?;
        let is_late = |deadline| sample.arrived.elapsed() > deadline;
        if self.deadline.is_some_and(is_late) {
            self.counts.missed.add();
        }
        sample.client.answer(answer);
        Ok(())
    }

    fn infer(&mut self) -> Result<(), Error> {
        match self.pool {
            Some(pool) => self.network.run_on(pool, &mut ())?,
            None => self.network.run(&mut ())?,
        }
        Ok(())
    }

    /// Sets every input from a sample of [`Self::sample_bytes`].
    fn set(&mut self, mut sample: &[u8]) -> Result<(), Error> {
        for (index, &length) in self.inputs.iter().enumerate() {
            let (bytes, rest) = sample.split_at(length);
            sample = rest;
            if !self.real {
                self.network.input(index)?.copy_from_slice(bytes);
                continue;
            }
            let values = bytes.as_chunks().0.iter().copied();
            self.values.clear();
            self.values.extend(values.map(f32::from_le_bytes));
            self.network.set_input_f32(index, &self.values)?;
        }
        Ok(())
    }

    fn answer(&mut self, number: u64) -> Result<Vec<u8>, Error> {
        for (index, values) in self.outputs.iter_mut().enumerate() {
            self.network.output_f32(index, values)?;
        }
        let class = self.outputs.first().and_then(|scores| top_class(scores));
        let class = class.unwrap_or(0) as u32;
        let outputs = self.output_bytes()?;
        Ok(answer(number, Status::Computed, class, &outputs))
    }

    fn output_bytes(&self) -> Result<Vec<u8>, Error> {
        if self.real {
            let values = self.outputs.iter().flatten();
            return Ok(values.flat_map(|value| value.to_le_bytes()).collect());
        }
        let mut bytes = Vec::new();
        for index in 0..self.outputs.len() {
            bytes.extend_from_slice(self.network.output(index)?);
        }
        Ok(bytes)
    }
}

/// Whether there is no NaN and no infinity among floats: layers would hide them.
fn are_finite(bytes: &[u8]) -> bool {
    let mut words = bytes.as_chunks().0.iter();
    words.all(|&word| f32::from_le_bytes(word).is_finite())
}
