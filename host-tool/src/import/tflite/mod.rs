//! Reads TFLite files: as tract takes them, and directly.
//!
//! A file's integers stand for reals (`(code - zero_point) * scale`), so a network of integer
//! weights, or wholly of integers, is read as the real network that it approximates: [`file`]. For
//! tract it is [adapted](adapt) and [written](write) again; [`interpret`] computes it as it is.

mod adapt;
mod file;
pub(super) mod interpret;
mod options;
mod refuse;
mod write;

pub(super) use interpret::{Interpreter, Origin, Traced};

use file::Network;
use tract_tflite::tflite::BuiltinOperator;

/// Operators that tract reads, as it registers them.
const SUPPORTED: [BuiltinOperator; 60] = [
    BuiltinOperator::ABS,
    BuiltinOperator::ADD,
    BuiltinOperator::AVERAGE_POOL_2D,
    BuiltinOperator::BATCH_MATMUL,
    BuiltinOperator::BROADCAST_TO,
    BuiltinOperator::CEIL,
    BuiltinOperator::CONCATENATION,
    BuiltinOperator::CONV_2D,
    BuiltinOperator::COS,
    BuiltinOperator::DEPTHWISE_CONV_2D,
    BuiltinOperator::DEQUANTIZE,
    BuiltinOperator::DIV,
    BuiltinOperator::EQUAL,
    BuiltinOperator::EXP,
    BuiltinOperator::EXPAND_DIMS,
    BuiltinOperator::FLOOR,
    BuiltinOperator::FULLY_CONNECTED,
    BuiltinOperator::GREATER,
    BuiltinOperator::GREATER_EQUAL,
    BuiltinOperator::HARD_SWISH,
    BuiltinOperator::LEAKY_RELU,
    BuiltinOperator::LESS,
    BuiltinOperator::LESS_EQUAL,
    BuiltinOperator::LOG,
    BuiltinOperator::LOGICAL_AND,
    BuiltinOperator::LOGICAL_NOT,
    BuiltinOperator::LOGICAL_OR,
    BuiltinOperator::LOGISTIC,
    BuiltinOperator::MAXIMUM,
    BuiltinOperator::MAX_POOL_2D,
    BuiltinOperator::MEAN,
    BuiltinOperator::MINIMUM,
    BuiltinOperator::MUL,
    BuiltinOperator::NOT_EQUAL,
    BuiltinOperator::PAD,
    BuiltinOperator::PADV2,
    BuiltinOperator::QUANTIZE,
    BuiltinOperator::REDUCE_MAX,
    BuiltinOperator::REDUCE_MIN,
    BuiltinOperator::REDUCE_PROD,
    BuiltinOperator::RELU,
    BuiltinOperator::RELU6,
    BuiltinOperator::RESHAPE,
    BuiltinOperator::RESIZE_BILINEAR,
    BuiltinOperator::RESIZE_NEAREST_NEIGHBOR,
    BuiltinOperator::RSQRT,
    BuiltinOperator::SELECT,
    BuiltinOperator::SELECT_V2,
    BuiltinOperator::SHAPE,
    BuiltinOperator::SIN,
    BuiltinOperator::SLICE,
    BuiltinOperator::SOFTMAX,
    BuiltinOperator::SQRT,
    BuiltinOperator::SQUARE,
    BuiltinOperator::SQUEEZE,
    BuiltinOperator::STRIDED_SLICE,
    BuiltinOperator::SUB,
    BuiltinOperator::SUM,
    BuiltinOperator::TANH,
    BuiltinOperator::TRANSPOSE,
];

/// A file as tract can read it.
pub(super) struct Rewritten {
    pub(super) bytes: Vec<u8>,
    /// The names of the network's outputs, in their order.
    pub(super) outputs: Vec<String>,
}

/// Why a file cannot be read.
#[derive(Debug)]
pub(super) enum Refusal {
    /// What is damaged.
    Damaged(String),
    /// Every operator that edgeprune does not take: `name (type): why`.
    Unsupported(Vec<String>),
}

/// Rewrites a file for tract.
///
/// # Errors
/// What is damaged, or not supported.
pub(super) fn rewrite(bytes: &[u8]) -> Result<Rewritten, Refusal> {
    let network = Network::read(bytes).map_err(Refusal::Damaged)?;
    let refused = refuse::refusals(&network);
    if !refused.is_empty() {
        return Err(Refusal::Unsupported(refused));
    }
    let outputs = network.outputs.iter();
    let outputs = outputs
        .map(|&id| network.tensors[id].name.clone())
        .collect();
    let network = adapt::adapt(network).map_err(Refusal::Unsupported)?;
    let bytes = write::write(&network).map_err(Refusal::Damaged)?;
    Ok(Rewritten { bytes, outputs })
}

/// An axis counted from the front, of a tensor of that rank.
fn axis_index(axis: i64, rank: usize) -> Result<usize, String> {
    let index = if axis < 0 {
        axis.saturating_add(rank as i64)
    } else {
        axis
    };
    let index = usize::try_from(index).ok().filter(|&index| index < rank);
    index.ok_or_else(|| format!("there is no axis {axis} of {rank}"))
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
