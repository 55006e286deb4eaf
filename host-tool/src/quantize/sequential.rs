//! Quantizes a network layer after layer. The samples run through what is quantized so far: each layer
//! compensates for the inputs that it will really get, and its bias and scales are corrected until
//! its output has the mean and the spread of the dense network's.

use super::refit::refit;
use super::repair::repair;
use super::{ActivationQuantization, Compensator, LayerShape, QuantizedLinear, Rounding, Streams};
use crate::calibrate::ChannelSums;
use crate::graph::Graph;
use crate::progress::Progress;

/// A network whose layers have integer codes and whose activations have scales.
#[derive(Clone, Debug)]
pub struct QuantizedGraph {
    /// The dense network.
    pub graph: Graph,
    /// Per tensor: its quantization, `None` for `f32`.
    pub activations: Vec<Option<ActivationQuantization>>,
    /// Per node with weights: its codes, `None` for `f32`.
    pub layers: Vec<Option<QuantizedLinear>>,
}

/// What the quantized network shall be like.
#[derive(Clone, Copy, Debug)]
pub struct Aim<'a> {
    /// Per tensor: its quantization, `None` for `f32`.
    pub activations: &'a [Option<ActivationQuantization>],
    /// Per node with weights: statistics of the dense network's output before the activation.
    pub statistics: &'a [Option<ChannelSums>],
    /// Per node with weights: which of them must stay; `None` for all.
    pub masks: &'a [Option<Vec<bool>>],
    /// Network inputs, the same that the statistics were measured on.
    pub samples: &'a [Vec<Vec<f32>>],
}

/// Decides how each layer is rounded when its turn comes.
pub trait Steps {
    /// The rounding of the layer at a node.
    fn step(&mut self, node: usize) -> Rounding;
    /// What became of it.
    fn done(&mut self, node: usize, layer: &QuantizedLinear);
}

/// Quantizes `graph`.
pub fn quantize(
    graph: &Graph,
    aim: &Aim<'_>,
    steps: &mut impl Steps,
    progress: &Progress,
) -> QuantizedGraph {
    let bar = progress.stage("quantizing", graph.nodes.len());
    let mut streams = Streams::new(graph, aim.activations, aim.samples);
    let mut layers = vec![None; graph.nodes.len()];
    for (index, node) in graph.nodes.iter().enumerate() {
        match (LayerShape::of(&node.op), node.op.linear()) {
            (Some(shape), Some(linear)) => {
                let covariances = streams.covariances(graph, node, |_| true);
                let rounding = steps.step(index);
                let compensator = Compensator::new(shape, &covariances, rounding.damping);
                let mask = aim.masks[index].as_deref();
                let start = refit(shape, linear, &covariances, rounding.damping, mask);
                let mut layer = compensator.round(&start, rounding, mask);
                run_layer(graph, index, &mut streams, aim, &mut layer);
                steps.done(index, &layer);
                layers[index] = Some(layer);
            }
            _ => streams.run(graph, node, aim.activations[node.output]),
        }
        streams.forget(graph, index);
        bar.advance(1);
    }
    QuantizedGraph {
        graph: graph.clone(),
        activations: aim.activations.to_vec(),
        layers,
    }
}

/// Repairs a layer's statistics while it runs.
fn run_layer(
    graph: &Graph,
    index: usize,
    streams: &mut Streams,
    aim: &Aim<'_>,
    layer: &mut QuantizedLinear,
) {
    let node = &graph.nodes[index];
    let (Some(shape), Some(linear)) = (LayerShape::of(&node.op), node.op.linear()) else {
        return;
    };
    layer.bias.fill(0.0);
    let measured = streams.run_rounded_layer(graph, node, layer.dequantized(shape, linear));
    let gains = match &aim.statistics[index] {
        Some(dense) => repair(layer, dense, &measured),
        None => vec![1.0; shape.outputs()],
    };
    let quantization = aim.activations[node.output];
    let correction = (&gains[..], &layer.bias[..]);
    streams.correct(node.output, correction, linear.activation, quantization);
}
