//! Records of measurements, as devices report them: on a serial line, in a pipe, in messages.
//!
//! A record travels in a numbered and checked frame, which [`frame`] writes and a [`Decoder`] reads. The section
//! "Telemetry" of this crate's README specifies both byte by byte.
//!
//! ```
//! use edgeprune_format::telemetry::{Decoder, Event, MAX_FRAME, Record, frame};
//!
//! let mut buffer = [0; MAX_FRAME];
//! let bytes = frame(0, &Record::Output { sha256: [7; 32] }, &mut buffer)?;
//! let mut decoder = Decoder::new();
//! for &byte in bytes {
//!     if let Some(Event::Record { record, .. }) = decoder.push(byte) {
//!         assert_eq!(record, Record::Output { sha256: [7; 32] });
//!     }
//! }
//! assert_eq!(decoder.tally().records, 1);
//! # Ok::<(), edgeprune_format::telemetry::FrameError>(())
//! ```

mod decoder;
mod frame;

pub use decoder::{Decoder, Event, Tally};
pub use frame::{FrameError, MAX_FRAME, MAX_PAYLOAD, PROTOCOL, frame, payload, read_payload};

use core::fmt;
use heapless::Vec;
use serde::{Deserialize, Serialize, Serializer};

/// Most bytes of a text in a record; a longer one is cut where a character ends.
pub const MAX_TEXT: usize = 128;
/// Most buckets in one record; a histogram of more takes several.
pub const MAX_BUCKETS: usize = 32;

/// What a device reports. Durations are in ticks: [`Hello::ticks_per_second`] says how long one is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(
    clippy::large_enum_variant,
    reason = "there is no allocator to box with"
)]
pub enum Record<'a> {
    /// Who speaks and what it runs: the first record after a start.
    #[serde(borrow)]
    Hello(Hello<'a>),
    /// Whole runs.
    Run(Run),
    /// A part of the histogram of whole runs. Parts go on where the last one ended; after [`Record::Counters`] they are of
    /// its period.
    Buckets {
        /// Ascending; none is empty.
        buckets: Vec<Bucket, MAX_BUCKETS>,
    },
    /// One node of the network.
    #[serde(borrow)]
    Layer(Layer<'a>),
    /// What the network computed.
    Output {
        /// SHA-256 over the bytes of all outputs.
        #[serde(serialize_with = "hash")]
        sha256: [u8; 32],
    },
    /// The state of a product at work.
    Counters(Counters),
    /// Something failed.
    Fault {
        /// What, for people.
        #[serde(serialize_with = "cut")]
        text: &'a str,
    },
    /// Nothing follows.
    End,
}

/// Who speaks and what it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello<'a> {
    /// Name of the model.
    #[serde(serialize_with = "cut")]
    pub model: &'a str,
    /// The SHA-256 that ends the package.
    #[serde(serialize_with = "hash")]
    pub package_hash: [u8; 32],
    /// The program that speaks, and its version.
    #[serde(serialize_with = "cut")]
    pub tool: &'a str,
    /// What the program was built for, such as a board's id.
    #[serde(serialize_with = "cut")]
    pub board: &'a str,
    /// The processor, as it says itself.
    #[serde(serialize_with = "cut")]
    pub core: &'a str,
    /// The set of kernels.
    #[serde(serialize_with = "cut")]
    pub kernels: &'a str,
    /// How long a tick is.
    pub ticks_per_second: u64,
    /// Memory of a session.
    pub arena_bytes: u64,
    /// Length of the package.
    pub package_bytes: u64,
    /// Nodes of the network.
    pub nodes: u16,
    /// Threads of a run.
    pub threads: u16,
}

/// Whole runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Runs before the first that counts.
    pub warm_up: u32,
    /// From the package's bytes to the first output.
    pub cold: u64,
    /// Those that count.
    pub latency: Latency,
}

/// Durations of about the same length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// The shortest; the longest is up to a sixteenth more.
    pub from: u64,
    /// How many.
    pub count: u32,
}

/// One node of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer<'a> {
    /// Position in the order of execution.
    pub index: u16,
    /// Name of the node.
    #[serde(serialize_with = "cut")]
    pub name: &'a str,
    /// Operator.
    #[serde(serialize_with = "cut")]
    pub op: &'a str,
    /// The kernel that runs it.
    #[serde(serialize_with = "cut")]
    pub kernel: &'a str,
    /// Layers of a class cost alike: [`Class`](crate::Class).
    #[serde(serialize_with = "cut")]
    pub class: &'a str,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Bytes of what it reads and writes.
    pub bytes: u64,
    /// How long it takes.
    pub latency: Latency,
}

/// The state of a product at work. Counts are since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Ticks since the start.
    pub uptime: u64,
    /// Inferences done.
    pub inferences: u64,
    /// Inputs that were not run, because as many as may wait were waiting.
    pub dropped: u64,
    /// Inputs that were not run, because they were none: cut, or of a wrong length.
    pub refused: u64,
    /// Answers that nobody took.
    pub unanswered: u64,
    /// Inputs whose answer was ready after the deadline.
    pub missed: u64,
    /// Ticks since the record of this kind before, or since the start.
    pub period_ticks: u64,
    /// Inferences of this period.
    pub period: Latency,
    /// Inferences since the start.
    pub total: Latency,
    /// Memory of the session.
    pub arena_bytes: u64,
    /// Temperature of the processor in thousandths of a degree Celsius, where it can be read.
    pub millidegrees: Option<i32>,
    /// Clock of the fastest core in MHz, where it can be read.
    pub clock_mhz: Option<u32>,
    /// The Raspberry Pi firmware's `get_throttled`, where there is one.
    pub throttled: Option<u32>,
}

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

/// Writes the characters of a text that fit [`MAX_TEXT`].
fn cut<S: Serializer>(text: &&str, serializer: S) -> Result<S::Ok, S::Error> {
    let end = text.floor_char_boundary(MAX_TEXT);
    serializer.serialize_str(text.get(..end).unwrap_or_default())
}

/// Writes a hash as 32 bytes, or in hexadecimal where people may read it.
fn hash<S: Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    match serializer.is_human_readable() {
        true => serializer.collect_str(&Hexadecimal(bytes)),
        false => bytes.serialize(serializer),
    }
}

/// Bytes as hexadecimal digits.
#[derive(Clone, Copy, Debug)]
pub struct Hexadecimal<'a>(pub &'a [u8]);

impl fmt::Display for Hexadecimal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
