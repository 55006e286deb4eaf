//! Inputs whose channels have very different ranges (pressure beside humidity, acceleration beside rotation)
//! stay `f32` until each channel is normalized: one scale for all of them would drown the small ones. Often the
//! trained network normalizes by itself, and the importer has folded that into its first layer; here it comes out
//! of the layer again.

use super::LayerShape;
use super::ties::keeps_codes;
use crate::calibrate::Statistics;
use crate::graph::{Graph, Node, Op, POINT, TensorId, TensorInfo, reads_padding};
use serde::{Deserialize, Serialize};

/// Channels of a network's inputs that are normalized before layers read them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Normalization {
    inputs: Vec<Normalized>,
}

/// One activation that is normalized.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Normalized {
    tensor: TensorId,
    /// Nodes that read it normalized.
    readers: Vec<usize>,
    /// Subtracted from each channel; 0 where a reader pads with zeros.
    mean: Vec<f32>,
    /// What each channel is then divided by.
    deviation: Vec<f32>,
}

impl Normalization {
    /// Of those network inputs, or what only moves their values, that are `float` (per tensor), in front of the
    /// layers that read them. `None` if there are none.
    pub fn new(graph: &Graph, statistics: &Statistics, float: &[bool]) -> Option<Self> {
        let raw = raw_inputs(graph);
        let tensors = (0..graph.tensors.len()).filter(|&id| raw[id] && float[id]);
        let inputs: Vec<Normalized> = tensors
            .filter_map(|id| Normalized::new(graph, statistics, id))
            .collect();
        (!inputs.is_empty()).then_some(Self { inputs })
    }

    /// The network with normalized channels: its outputs are the same, but for rounding.
    pub fn apply(&self, graph: &Graph) -> Graph {
        let mut changed = graph.clone();
        let mut before: Vec<Vec<Node>> = vec![Vec::new(); graph.nodes.len()];
        for input in &self.inputs {
            let tensor = changed.tensors.len();
            let shape = graph.shape(input.tensor);
            changed.tensors.push(TensorInfo { shape });
            for &reader in &input.readers {
                input.absorb(&mut changed, reader);
                changed.nodes[reader].inputs[0] = tensor;
            }
            before[input.readers[0]].push(input.node(graph, tensor));
        }
        let nodes = std::mem::take(&mut changed.nodes);
        for (node, before) in nodes.into_iter().zip(before) {
            changed.nodes.extend(before);
            changed.nodes.push(node);
        }
        changed
    }
}

/// Which tensors hold values of the network's inputs as they are.
pub(super) fn raw_inputs(graph: &Graph) -> Vec<bool> {
    let mut raw = vec![false; graph.tensors.len()];
    graph.inputs.iter().for_each(|port| raw[port.tensor] = true);
    for node in &graph.nodes {
        let moves = keeps_codes(&node.op) && !matches!(node.op, Op::Pad { .. });
        raw[node.output] = moves && node.inputs.iter().all(|&id| raw[id]);
    }
    raw
}

impl Normalized {
    fn new(graph: &Graph, statistics: &Statistics, tensor: TensorId) -> Option<Self> {
        let nodes = graph.nodes.iter().enumerate();
        let readers: Vec<usize> = nodes
            .filter(|(_, node)| node.inputs[0] == tensor && gains(&node.op))
            .map(|(index, _)| index)
            .collect();
        let channels = graph.shape(tensor)[3];
        let measured = &statistics.tensors[tensor];
        let padded = readers
            .iter()
            .any(|&reader| reads_padding(graph, &graph.nodes[reader]));
        let of = |channel: usize| {
            let mean = if padded { 0.0 } else { measured.mean(channel) };
            let spread = measured.variance(channel) + (measured.mean(channel) - mean).powi(2);
            let deviation = spread.sqrt() as f32;
            let constant = !deviation.is_normal();
            (mean as f32, if constant { 1.0 } else { deviation })
        };
        let (mean, deviation) = (0..channels).map(of).unzip();
        (!readers.is_empty()).then_some(Self {
            tensor,
            readers,
            mean,
            deviation,
        })
    }

    fn node(&self, graph: &Graph, output: TensorId) -> Node {
        let gain: Vec<f32> = self
            .deviation
            .iter()
            .map(|deviation| 1.0 / deviation)
            .collect();
        let offset = self
            .mean
            .iter()
            .zip(&gain)
            .map(|(mean, gain)| -mean * gain)
            .collect();
        Node {
            name: format!("{}.normalize", graph.nodes[self.readers[0]].name),
            op: Op::Normalize { gain, offset },
            inputs: vec![self.tensor],
            output,
        }
    }

    /// Takes the normalization into account in the weights and the bias of a reader.
    fn absorb(&self, graph: &mut Graph, reader: usize) {
        let op = &mut graph.nodes[reader].op;
        let (Some(shape), Some(channels)) = (LayerShape::of(op), op.weight_channels()) else {
            return;
        };
        let Some(linear) = op.linear_mut() else {
            return;
        };
        for output in 0..shape.outputs() {
            let mut moved = f64::from(linear.bias[output]);
            for tap in 0..shape.k {
                let index = shape.index(output, tap);
                let (_, channel) = channels(index);
                let weight = &mut linear.weights[index];
                moved += f64::from(*weight) * f64::from(self.mean[channel]);
                *weight *= self.deviation[channel];
            }
            linear.bias[output] = moved as f32;
        }
    }
}

/// Layers that win by normalized channels. One that does no more than scale each channel is run in `f32` itself.
fn gains(op: &Op) -> bool {
    match op {
        Op::DepthwiseConv2d { window, .. } => *window != POINT,
        _ => op.linear().is_some(),
    }
}
