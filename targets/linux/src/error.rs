//! Why a job on the device fails.

use edgeprune_runtime::{OpenError, RunError, SessionError};
use std::path::{Path, PathBuf};

/// Why a job on the device fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Bytes that are not a package that this runtime can run.
    #[error("{0}")]
    Open(#[from] OpenError),
    /// A package that opens, but does not become a session.
    #[error("{0}")]
    Session(#[from] SessionError),
    /// An input or output that does not fit.
    #[error("{0}")]
    Run(#[from] RunError),
    /// Memory that the system does not give.
    #[error("there is no memory for {what} of {bytes} bytes")]
    Memory {
        /// What it is for.
        what: &'static str,
        /// How much.
        bytes: usize,
    },
    /// A file of samples that does not fit the network.
    #[error("{}: {cause}", path.display())]
    Samples {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// The same input gave two outputs: broken memory or a broken processor.
    #[error(
        "run {run} gave other output bytes than the first on the same input: this machine does not compute reliably"
    )]
    NotRepeatable {
        /// Which run.
        run: u64,
    },
    /// No threads, or more than this machine runs at a time or a pool can have.
    #[error("{threads} threads: this machine has 1 to {most}")]
    Threads {
        /// Threads asked for.
        threads: u32,
        /// Most threads.
        most: usize,
    },
    /// A thread that the system does not start.
    #[error("a thread does not start: {0}")]
    Thread(#[source] std::io::Error),
    /// A broker is named, but this program cannot speak to one.
    #[error(
        "this program was built without MQTT: build it with cargo's feature `mqtt` of edgeprune-device, or use --telemetry"
    )]
    NoMqtt,
    /// A benchmark of no runs.
    #[error("a benchmark needs at least one run")]
    NoRuns,
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io {
            path: path.to_path_buf(),
            source,
        }
    }

    pub(crate) fn samples(path: &Path, cause: impl Into<String>) -> Self {
        Self::Samples {
            path: path.to_path_buf(),
            cause: cause.into(),
        }
    }
}
