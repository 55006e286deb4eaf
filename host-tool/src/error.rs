//! Every way in which a job of the host tool fails. A message names the file, the node or field,
//! and the way out.

use std::path::{Path, PathBuf};

/// An error of the host tool.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A model file that tract cannot read, or that is not a model.
    #[error("{}: cannot read the model: {cause}", path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// What is wrong, and the way out.
        cause: String,
    },
    /// Operators that edgeprune does not know.
    #[error("{}: {} unsupported operator(s):{}", path.display(), nodes.len(), list(nodes))]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// Every such node: `name (type): why`.
        nodes: Vec<String>,
    },
    /// Samples, labels or an input specification that do not fit.
    #[error("{}: {cause}", path.display())]
    Data {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong, and the way out.
        cause: String,
    },
    /// A network that cannot be run or quantized on any machine: too large, or with weights that cannot be meant.
    #[error("{model}: {cause}")]
    Network {
        /// The model's name.
        model: String,
        /// The node or tensor, what is wrong with it, and the way out.
        cause: String,
    },
    /// A budget of bytes or of accuracy that the model cannot meet.
    #[error("{0}")]
    Budget(String),
    /// Bytes that are not a valid package.
    #[error("{}: {cause}", path.display())]
    Package {
        /// The package.
        path: PathBuf,
        /// The runtime's answer.
        cause: String,
    },
    /// A board, toolchain or emulator that is missing or failed.
    #[error("{0}")]
    Toolchain(String),
    /// A board that ssh does not reach, or that cannot do what was asked.
    #[error("{host}: {cause}")]
    Board {
        /// Where the board is.
        host: String,
        /// What is wrong, and what would help.
        cause: String,
    },
    /// A measurement that was to be free of doubts and is not.
    #[error("{place}: this measurement is in doubt: {doubts}")]
    Doubtful {
        /// Board and threads.
        place: String,
        /// Why.
        doubts: String,
    },
    /// A package that is likely useless, where that was to be refused.
    #[error("{}: not written: the package is likely useless:{}", path.display(), list(warnings))]
    Lossy {
        /// The package.
        path: PathBuf,
        /// What it loses, and the way out.
        warnings: Vec<String>,
    },
    /// Conditions of `report --fail-on` that runs met.
    #[error("{} condition(s) failed:{}", .0.len(), list(.0))]
    FailOn(Vec<String>),
    /// Arguments that contradict each other or make no sense.
    #[error("{0}")]
    Usage(String),
}

fn list(nodes: &[String]) -> String {
    nodes.iter().map(|node| format!("\n  {node}")).collect()
}

impl Error {
    /// For `map_err` on an operation on a file.
    pub fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io {
            path: path.to_path_buf(),
            source,
        }
    }

    /// Samples, labels or an input specification that do not fit.
    pub fn data(path: &Path, cause: impl Into<String>) -> Self {
        Self::Data {
            path: path.to_path_buf(),
            cause: cause.into(),
        }
    }

    /// An option whose cargo feature this program was built without.
    pub(crate) fn not_built_in(option: &str, feature: &str) -> Self {
        Self::Usage(format!(
            "{option} is not built into this edgeprune: `cargo install --path host-tool --features {feature}` adds it"
        ))
    }

    /// The process's exit code: 2 for bad usage, 1 for a failed job.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            _ => 1,
        }
    }
}
