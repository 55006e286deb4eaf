//! From the quantized graph to the package's nodes and activations: every node gets one element
//! type, conversions go where types meet, reshapes become second names of the same bytes.

use super::memory::Lifetime;
use crate::graph::{Graph, Node, Op, TensorId};
use crate::quantize::{ActivationQuantization, QuantizedGraph, keeps_codes};
use edgeprune_format::manifest::{DType, Quantization};

/// An activation of the package.
#[derive(Clone, Debug)]
pub(super) struct Activation {
    /// Dimensions.
    pub(super) shape: [usize; 4],
    /// `None` for `f32`.
    pub(super) quantization: Option<ActivationQuantization>,
    /// The activation whose bytes it shares: itself, or the source of a reshape.
    pub(super) storage: usize,
}

impl Activation {
    /// Element type.
    pub(super) fn dtype(&self) -> DType {
        if self.quantization.is_some() {
            DType::I8
        } else {
            DType::F32
        }
    }

    /// Bytes.
    pub(super) fn bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype().size()
    }

    /// As the manifest says it.
    pub(super) fn manifest_quantization(&self) -> Quantization {
        self.quantization
            .map_or(Quantization::None, |q| Quantization::PerTensor {
                scale: q.scale,
                zero_point: q.zero_point,
            })
    }
}

/// A node of the package.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// The graph's node that it computes, `None` for a conversion.
    pub(super) source: Option<usize>,
    /// Activations that it reads.
    pub(super) inputs: Vec<usize>,
    /// The activation that it writes.
    pub(super) output: usize,
}

/// The package's activations and nodes.
#[derive(Clone, Debug)]
pub(super) struct Lowered {
    /// Activations; the first are the graph's tensors.
    pub(super) activations: Vec<Activation>,
    /// Nodes in order of execution.
    pub(super) steps: Vec<Step>,
}

impl Lowered {
    /// Lowers every node.
    pub(super) fn new(quantized: &QuantizedGraph) -> Self {
        let graph = &quantized.graph;
        let mut lowered = Self {
            activations: (0..graph.tensors.len())
                .map(|id| Activation {
                    shape: graph.shape(id),
                    quantization: quantized.activations[id],
                    storage: id,
                })
                .collect(),
            steps: Vec::new(),
        };
        for (index, node) in graph.nodes.iter().enumerate() {
            lowered.add(index, node);
        }
        lowered
    }

    fn add(&mut self, index: usize, node: &Node) {
        if node.op == Op::Reshape {
            // Planning gave both the same quantization.
            self.activations[node.output].storage = self.activations[node.inputs[0]].storage;
            return;
        }
        let integer = self.computes_in_integers(node);
        let mut inputs: Vec<usize> = node
            .inputs
            .iter()
            .map(|&id| self.converted(id, integer))
            .collect();
        let float_output = matches!(node.op, Op::Softmax) || !integer;
        let quantization = self.activations[node.output].quantization;
        let output = if float_output && quantization.is_some() {
            self.temporary(node.output, None)
        } else if integer && keeps_codes(&node.op) {
            self.moved(node, &mut inputs)
        } else {
            node.output
        };
        self.steps.push(Step {
            source: Some(index),
            inputs,
            output,
        });
        if output != node.output {
            self.convert(output, node.output);
        }
    }

    /// Integers, if all inputs are codes and the operator can write what the output is.
    fn computes_in_integers(&self, node: &Node) -> bool {
        let is_code = |id: &TensorId| self.activations[*id].quantization.is_some();
        let writes_float = node.op.linear().is_some() || node.op == Op::Softmax;
        node.inputs.iter().all(is_code) && (writes_float || is_code(&node.output))
    }

    /// The activation, or a new one with its values in the other element type.
    fn converted(&mut self, id: usize, integer: bool) -> usize {
        if integer || self.activations[id].quantization.is_none() {
            return id;
        }
        self.requantized(id, None)
    }

    /// Where an operator that only moves codes writes: what it joins takes the output's scale first, what it
    /// cuts out keeps its own until it is there.
    fn moved(&mut self, node: &Node, inputs: &mut [usize]) -> usize {
        let to = self.activations[node.output].quantization;
        let from = self.activations[inputs[0]].quantization;
        if matches!(node.op, Op::Concat { .. }) {
            for input in inputs {
                if self.activations[*input].quantization != to {
                    *input = self.requantized(*input, to);
                }
            }
        } else if from != to {
            return self.temporary(node.output, from);
        }
        node.output
    }

    /// A new activation with the values of another.
    fn requantized(&mut self, id: usize, quantization: Option<ActivationQuantization>) -> usize {
        let new = self.temporary(id, quantization);
        self.convert(id, new);
        new
    }

    /// A new activation of the same shape.
    fn temporary(&mut self, like: usize, quantization: Option<ActivationQuantization>) -> usize {
        let storage = self.activations.len();
        self.activations.push(Activation {
            shape: self.activations[like].shape,
            quantization,
            storage,
        });
        storage
    }

    fn convert(&mut self, input: usize, output: usize) {
        self.steps.push(Step {
            source: None,
            inputs: vec![input],
            output,
        });
    }

    /// When each activation is alive; a shared one as long as any that shares it. Inputs are
    /// written before the first step, outputs read after the last.
    pub(super) fn lifetimes(&self, graph: &Graph) -> Vec<Lifetime> {
        let end = self.steps.len() + 1;
        let mut lifetimes: Vec<Lifetime> = self
            .activations
            .iter()
            .map(|activation| Lifetime {
                size: activation.bytes(),
                first: end,
                last: 0,
            })
            .collect();
        let mut touch = |id: usize, step: usize| {
            let lifetime = &mut lifetimes[self.activations[id].storage];
            lifetime.first = lifetime.first.min(step);
            lifetime.last = lifetime.last.max(step);
        };
        graph.inputs.iter().for_each(|port| touch(port.tensor, 0));
        for (step, node) in self.steps.iter().enumerate() {
            node.inputs
                .iter()
                .chain([&node.output])
                .for_each(|&id| touch(id, step + 1));
        }
        graph
            .outputs
            .iter()
            .for_each(|port| touch(port.tensor, end));
        lifetimes
    }
}
