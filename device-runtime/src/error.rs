//! What can go wrong before a network runs. Nothing can while it runs.

use core::fmt;
use edgeprune_format::FormatError;
use edgeprune_format::manifest::TensorId;

/// Why [`crate::Package::open`] refuses bytes. Every variant is one refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// The container or the manifest does not decode.
    Format(FormatError),
    /// A record of the tensor table is not valid.
    Tensor {
        /// Index of the tensor.
        id: TensorId,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A node is not valid, or this runtime cannot run it.
    Node {
        /// Index of the node.
        index: u16,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A model input or output is not valid.
    Port {
        /// Index in the table of inputs or outputs.
        index: u16,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The memory that a session needs is no multiple of the alignment, or more than can be addressed.
    Arena {
        /// Which part of the arena.
        what: &'static str,
        /// Bytes declared.
        declared: u64,
        /// Bytes needed.
        need: u64,
    },
    /// The labels are not lines of text.
    Labels,
}

impl From<FormatError> for OpenError {
    fn from(error: FormatError) -> Self {
        Self::Format(error)
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Format(error) => error.fmt(f),
            Self::Tensor { id, what } => write!(f, "tensor {id}: {what}"),
            Self::Node { index, what } => write!(f, "node {index}: {what}"),
            Self::Port { index, what } => write!(f, "model input or output {index}: {what}"),
            Self::Arena {
                what,
                declared,
                need,
            } => write!(
                f,
                "the package declares {declared} arena bytes for {what}, a session needs {need}: not aligned, or more than can be addressed"
            ),
            Self::Labels => f.write_str("the labels are not UTF-8 text"),
        }
    }
}

impl core::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Format(error) => Some(error),
            _ => None,
        }
    }
}

/// Why a session cannot be made from a package and an arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionError {
    /// The arena is too short.
    ArenaTooShort {
        /// Bytes given.
        have: usize,
        /// Bytes needed: [`crate::Package::arena_bytes_with`].
        need: usize,
    },
    /// The arena does not start at a multiple of [`edgeprune_format::ALIGNMENT`].
    ArenaMisaligned,
    /// The network has more nodes than the session's capacity.
    Nodes {
        /// The capacity, `NODES`.
        have: usize,
        /// Nodes of the network.
        need: usize,
    },
    /// An entropy-coded constant does not decode.
    Constant {
        /// Index of the tensor.
        id: TensorId,
        /// Why.
        error: FormatError,
    },
    /// The constants of a node are not valid.
    Node {
        /// Index of the node.
        index: u16,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A node reads activations which were never written, or which a later node overwrote.
    Dataflow {
        /// Index of the node; the number of nodes stands for a model output.
        node: u16,
        /// Position among its inputs, or index of the model output.
        input: u8,
    },
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ArenaTooShort { have, need } => {
                write!(f, "the arena has {have} bytes, the package needs {need}")
            }
            Self::ArenaMisaligned => write!(
                f,
                "the arena must start at a multiple of {} bytes: use `Aligned` or `Arena`",
                edgeprune_format::ALIGNMENT
            ),
            Self::Nodes { have, need } => write!(
                f,
                "the session has room for {have} nodes, the network has {need}: use `Session::<{need}>::with_capacity`"
            ),
            Self::Constant { id, error } => write!(f, "tensor {id}: {error}"),
            Self::Node { index, what } => write!(f, "node {index}: {what}"),
            Self::Dataflow { node, input } => write!(
                f,
                "input {input} of node {node} is not what an earlier node wrote: the memory plan is wrong"
            ),
        }
    }
}

impl core::error::Error for SessionError {}

/// Why a call on a session failed. A package that opened never gives [`RunError::Node`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunError {
    /// The network has no input or output with that index.
    NoSuchPort {
        /// The index asked for.
        index: usize,
        /// Inputs or outputs that there are.
        count: usize,
    },
    /// The input or output has another element type than the call asks for.
    ElementType,
    /// The buffer has another number of elements than the input or output.
    Length {
        /// Elements given.
        have: usize,
        /// Elements of the input or output.
        need: usize,
    },
    /// The arena is too short for so many threads.
    ArenaTooShort {
        /// Bytes given.
        have: usize,
        /// Bytes needed: `Package::arena_bytes_for`.
        need: usize,
    },
    /// A node met a bound that preparation had ruled out.
    Node {
        /// Index of the node.
        index: usize,
    },
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoSuchPort { index, count } => write!(
                f,
                "there is no input or output {index}: the network has {count}"
            ),
            Self::ElementType => f.write_str("the input or output has another element type"),
            Self::Length { have, need } => {
                write!(f, "{have} elements given, the network has {need}")
            }
            Self::ArenaTooShort { have, need } => {
                write!(f, "the arena has {have} bytes, so many threads need {need}")
            }
            Self::Node { index } => write!(f, "node {index} met a bound that was ruled out"),
        }
    }
}

impl core::error::Error for RunError {}
