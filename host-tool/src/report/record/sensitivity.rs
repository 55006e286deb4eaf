//! What `sensitivity --json` writes.

use crate::graph::Redundant;
use serde::{Deserialize, Serialize};

/// `sensitivity --json`. Losses are squared errors of the network's output in parts of its variance,
/// as the planner expects them from one layer's rounding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sensitivity {
    /// Name of the model.
    pub model: String,
    /// Number of samples that calibrated.
    pub calibration_samples: u64,
    /// The budget, where there is one.
    pub max_size: Option<u64>,
    /// About the bytes of a package with every layer at its finest level.
    pub finest_bytes: u64,
    /// Forecast of the smallest package's bytes: every layer at its coarsest level. No package is
    /// smaller; the real one can be larger.
    pub smallest_bytes: u64,
    /// About the bytes of the package that is planned for the budget.
    pub planned_bytes: Option<u64>,
    /// Sum of its layers' losses.
    pub planned_loss: Option<f64>,
    /// What every package has beside the codes.
    pub beside: Beside,
    /// Layers with weights, in order of execution, without dead channels.
    pub layers: Vec<SensitivityLayer>,
    /// The layers that take most bytes: at the budget, else in the smallest package. Most first.
    pub holds_up: Vec<Holder>,
    /// Layers with dead or constant output channels.
    pub dead_channels: Vec<DeadLayer>,
    /// Repetitions in the model as it came.
    pub redundant: Redundant,
}

/// Bytes of a package beside the codes of its weights and the scales of their channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beside {
    /// All.
    pub bytes: u64,
    /// Biases.
    pub biases: u64,
    /// Names, shapes and records of nodes and tensors.
    pub manifest: u64,
    /// Class names.
    pub class_names: u64,
    /// Header, hash, alignment, tables.
    pub other: u64,
}

/// A layer's bytes and losses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SensitivityLayer {
    /// Name of the node.
    pub name: String,
    /// Operator.
    pub op: String,
    /// Number of weights.
    pub weights: u64,
    /// Predicted bytes of codes and scales at the finest level: int8.
    pub finest_bytes: u64,
    /// The same at the coarsest level.
    pub smallest_bytes: u64,
    /// Loss for a unit of squared error in the layer's output.
    pub sensitivity: f64,
    /// Loss for a unit of noise relative to the power of the layer's output.
    pub noise_gain: f64,
    /// Some of its levels, from fine to coarse: those whose bytes are closest to round numbers of bits.
    pub levels: Vec<SensitivityLevel>,
    /// What the planner chooses at the budget.
    pub plan: Option<PlannedLevel>,
}

/// One way to store a layer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SensitivityLevel {
    /// The bits for a weight that were asked for.
    pub target_bits: f64,
    /// Bits for a weight that it takes.
    pub bits_per_weight: f64,
    /// Predicted bytes.
    pub bytes: u64,
    /// Least step size; 0 is int8 with a scale for each channel.
    pub step: f32,
    /// Loss.
    pub loss: f64,
}

/// The level that the planner chooses for a layer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedLevel {
    /// Bits for a weight.
    pub bits_per_weight: f64,
    /// Predicted bytes.
    pub bytes: u64,
    /// Least step size; 0 is int8 with a scale for each channel.
    pub step: f32,
    /// Loss.
    pub loss: f64,
    /// Share of the file, 0 to 1.
    pub share: f64,
    /// Loss for each byte that the next coarser level would save; `null` at the coarsest.
    pub loss_per_byte: Option<f64>,
}

/// A layer that takes many bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Holder {
    /// Name of the node.
    pub name: String,
    /// Predicted bytes.
    pub bytes: u64,
    /// Share of the file, 0 to 1.
    pub share: f64,
}

/// A layer with output channels that are dead or constant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLayer {
    /// Name of the node.
    pub name: String,
    /// Its output channels in the model.
    pub channels: u64,
    /// Those that are dead or constant: they are removed.
    pub dead: u64,
}
