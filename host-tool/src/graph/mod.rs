//! edgeprune's own network: NHWC activations of batch 1, `f32` weights, a closed set of operators.
//!
//! Every importer lowers to this, every later stage reads only this. The operators mirror those of
//! the package ([`edgeprune_format::manifest::Op`]), with the constants inside.

mod channels;
mod dead;
mod execute;
mod gradient;
mod limits;
mod patches;
mod redundant;
mod validate;

pub use channels::Channels;
pub(crate) use dead::reads_padding;
pub use dead::{DeadChannels, NEGLIGIBLE, remove_dead_channels};
pub(crate) use execute::{activate, resize_taps};
pub use execute::{evaluate, evaluate_into, run, run_with};
pub use gradient::{activations, backward, weight_gradient};
pub use limits::MAX_MAGNITUDE;
pub(crate) use patches::POINT;
pub use patches::Patches;
pub use redundant::{Redundant, SameChannels, SameWeights, find_redundant};

pub use edgeprune_format::manifest::{
    Activation, BinaryKind, Layout, ResizeCoordinates, ResizeKind, ResizeLine, UnaryKind, Window,
};

/// Index into [`Graph::tensors`].
pub type TensorId = usize;

/// Dimensions of an activation: batch (1), height, width, channels.
pub type Shape = [usize; 4];

/// A network.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// The source file's stem.
    pub name: String,
    /// SHA-256 of the source file.
    pub source_hash: [u8; 32],
    /// Bytes of the source file.
    pub source_bytes: u64,
    /// Inputs, in the source model's order.
    pub inputs: Vec<Port>,
    /// Outputs, in the source model's order.
    pub outputs: Vec<Port>,
    /// Every activation.
    pub tensors: Vec<TensorInfo>,
    /// Nodes in order of execution; each tensor is a graph input or the output of one node.
    pub nodes: Vec<Node>,
}

/// An input or output of the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// Name in the source model.
    pub name: String,
    /// The NHWC tensor that holds it.
    pub tensor: TensorId,
    /// Dimensions in the source model.
    pub source_shape: Vec<usize>,
    /// Order of the dimensions in the source model. Only rank 4 has an order to speak of: other
    /// ranks keep their element order and are `Nhwc`.
    pub layout: Layout,
}

/// An activation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Dimensions.
    pub shape: Shape,
}

impl TensorInfo {
    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// A node.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Short unique name, derived from the source model's.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// Activations that it reads.
    pub inputs: Vec<TensorId>,
    /// The activation that it writes.
    pub output: TensorId,
}

/// The operators. See [`edgeprune_format::manifest::Op`] for their meaning.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "fields as in the package's operators")]
pub enum Op {
    /// Weights `[out, kh, kw, in / groups]`.
    Conv2d {
        linear: Linear,
        window: Window,
        groups: usize,
    },
    /// Weights `[1, kh, kw, channels]`.
    DepthwiseConv2d {
        linear: Linear,
        window: Window,
    },
    /// Weights `[out, 1, 1, in]`.
    FullyConnected {
        linear: Linear,
    },
    /// Two activations; the second may be broadcast.
    Binary {
        kind: BinaryKind,
        activation: Activation,
    },
    MaxPool2d {
        window: Window,
    },
    AveragePool2d {
        window: Window,
        count_include_pad: bool,
    },
    /// Mean over height and width.
    Mean,
    /// `gain * x + offset` of each channel, always in `f32`: what layers read whose input has channels of
    /// very different ranges.
    Normalize {
        gain: Vec<f32>,
        offset: Vec<f32>,
    },
    /// An element-wise function.
    Unary {
        kind: UnaryKind,
    },
    /// Over the channels.
    Softmax,
    Concat {
        axis: usize,
    },
    Pad {
        before: [usize; 3],
        value: f32,
    },
    Slice {
        start: [usize; 3],
        step: [usize; 3],
    },
    Transpose {
        perm: [usize; 4],
    },
    Resize {
        kind: ResizeKind,
        coordinates: ResizeCoordinates,
    },
    /// The same elements in the same order with other dimensions.
    Reshape,
}

impl Op {
    /// The operator's name in reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Conv2d { .. } => "conv_2d",
            Self::DepthwiseConv2d { .. } => "depthwise_conv_2d",
            Self::FullyConnected { .. } => "fully_connected",
            Self::Binary { kind, .. } => match kind {
                BinaryKind::Add => "add",
                BinaryKind::Sub => "sub",
                BinaryKind::Mul => "mul",
                BinaryKind::Max => "max",
                BinaryKind::Min => "min",
            },
            Self::MaxPool2d { .. } => "max_pool_2d",
            Self::AveragePool2d { .. } => "average_pool_2d",
            Self::Mean => "mean",
            Self::Normalize { .. } => "normalize",
            Self::Unary { .. } => "unary",
            Self::Softmax => "softmax",
            Self::Concat { .. } => "concat",
            Self::Pad { .. } => "pad",
            Self::Slice { .. } => "slice",
            Self::Transpose { .. } => "transpose",
            Self::Resize { .. } => "resize",
            Self::Reshape => "reshape",
        }
    }

    /// The constants, if the operator has weights.
    pub fn linear(&self) -> Option<&Linear> {
        match self {
            Self::Conv2d { linear, .. }
            | Self::DepthwiseConv2d { linear, .. }
            | Self::FullyConnected { linear } => Some(linear),
            _ => None,
        }
    }

    /// The output and the input channel of the weight at an index, if the operator has weights.
    pub(crate) fn weight_channels(&self) -> Option<impl Fn(usize) -> (usize, usize) + use<>> {
        let linear = self.linear()?;
        let groups = match self {
            Self::Conv2d { groups, .. } => *groups,
            _ => 1,
        };
        let depthwise = matches!(self, Self::DepthwiseConv2d { .. });
        let inner = linear.shape[3].max(1);
        let outputs = linear.bias.len().max(1);
        let row = (linear.weights.len() / outputs).max(1);
        Some(move |index: usize| {
            if depthwise {
                (index % outputs, index % outputs)
            } else {
                let output = index / row;
                (output, output * groups / outputs * inner + index % inner)
            }
        })
    }

    /// The constants, if the operator has weights, to change.
    pub fn linear_mut(&mut self) -> Option<&mut Linear> {
        match self {
            Self::Conv2d { linear, .. }
            | Self::DepthwiseConv2d { linear, .. }
            | Self::FullyConnected { linear } => Some(linear),
            _ => None,
        }
    }
}

/// The constants of a convolution or a fully connected layer, and its fused activation.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// Dimensions of `weights`: see [`Op`].
    pub shape: Shape,
    /// Row-major weights.
    pub weights: Vec<f32>,
    /// One per output channel, zeros where the source has none.
    pub bias: Vec<f32>,
    /// Fused activation.
    pub activation: Activation,
}

impl Graph {
    /// Number of weights and biases.
    pub fn parameters(&self) -> usize {
        self.nodes
            .iter()
            .filter_map(|node| node.op.linear())
            .map(|linear| linear.weights.len() + linear.bias.len())
            .sum()
    }

    /// The shape of a tensor.
    pub fn shape(&self, id: TensorId) -> Shape {
        self.tensors[id].shape
    }

    /// Multiply-accumulates of one node for one sample.
    pub fn macs(&self, node: &Node) -> u64 {
        let out = self.shape(node.output);
        let positions = (out[1] * out[2]) as u64;
        node.op
            .linear()
            .map_or(0, |linear| positions * linear.weights.len() as u64)
    }

    /// Multiply-accumulates of all nodes for one sample.
    pub fn total_macs(&self) -> u64 {
        self.nodes.iter().map(|node| self.macs(node)).sum()
    }

    /// The network's outputs, or what their softmax reads: there errors are not saturated.
    pub fn judged_outputs(&self) -> Vec<TensorId> {
        let before_softmax = |id: TensorId| {
            let producer = self.nodes.iter().find(|node| node.output == id);
            match producer {
                Some(node) if node.op == Op::Softmax => node.inputs[0],
                _ => id,
            }
        };
        self.outputs
            .iter()
            .map(|port| before_softmax(port.tensor))
            .collect()
    }

    /// For each tensor, the index of the last node that reads it. Graph outputs are read after the
    /// last node; `None` is a tensor that nothing reads.
    pub fn last_use(&self) -> Vec<Option<usize>> {
        let mut last = vec![None; self.tensors.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            for &input in &node.inputs {
                last[input] = Some(index);
            }
        }
        for port in &self.outputs {
            last[port.tensor] = Some(self.nodes.len());
        }
        last
    }

    /// For each tensor, how many nodes and graph outputs read it.
    pub fn uses(&self) -> Vec<usize> {
        let mut uses = vec![0; self.tensors.len()];
        let read = self.nodes.iter().flat_map(|node| &node.inputs);
        for &id in read.chain(self.outputs.iter().map(|port| &port.tensor)) {
            uses[id] += 1;
        }
        uses
    }

    /// For each tensor, the index of the node that computes it; `None` for graph inputs.
    pub fn producers(&self) -> Vec<Option<usize>> {
        let mut producers = vec![None; self.tensors.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            producers[node.output] = Some(index);
        }
        producers
    }
}
