//! Quantizes a network layer after layer. Two streams of the same samples run side by side, one
//! through the dense network and one through what is quantized so far: each layer compensates for
//! the inputs that it will really get, and its bias and scales are corrected until its output has the
//! mean and the spread of the dense network's.

use super::repair::Repair;
use super::stored::Stored;
use super::{ActivationQuantization, LayerShape, Moments, QuantizedLinear, compensate, scales};
use crate::graph::{Activation, Graph, Linear, Node, Patches, evaluate};
use crate::progress::Progress;
use rayon::prelude::*;

/// Input rows that the moments of a layer are taken from: at least this many if there are...
const LEAST_ROWS: usize = 8192;
/// ...and this many for each tap.
const ROWS_PER_TAP: usize = 4;
/// Rows that are multiplied together.
const ROWS_AT_ONCE: usize = 2048;

/// A network whose layers have integer codes and whose activations have scales.
#[derive(Clone, Debug)]
pub struct QuantizedGraph {
    /// The dense network.
    pub graph: Graph,
    /// Per tensor: its quantization, `None` for `f32`.
    pub activations: Vec<Option<ActivationQuantization>>,
    /// Per node with weights: its codes.
    pub layers: Vec<Option<QuantizedLinear>>,
    /// Per node with weights: signal-to-noise ratio in dB of its output before the activation,
    /// against the dense network, on the calibration samples.
    pub sqnr_db: Vec<Option<f64>>,
}

/// Decides the step size of each layer when its turn comes.
pub trait Steps {
    /// The least step size for the layer at a node.
    fn step(&mut self, node: usize) -> f32;
    /// What became of it.
    fn done(&mut self, node: usize, layer: &QuantizedLinear);
}

/// Quantizes `graph`. `samples` are network inputs, `masks` says per node which weights must stay.
pub fn quantize(
    graph: &Graph,
    activations: Vec<Option<ActivationQuantization>>,
    samples: &[Vec<Vec<f32>>],
    masks: &[Option<Vec<bool>>],
    steps: &mut impl Steps,
    progress: &Progress,
) -> QuantizedGraph {
    let bar = progress.stage("quantizing", graph.nodes.len());
    let mut streams = Streams::new(graph, &activations, samples);
    let mut layers = vec![None; graph.nodes.len()];
    let mut sqnr_db = vec![None; graph.nodes.len()];
    for (index, node) in graph.nodes.iter().enumerate() {
        match (LayerShape::of(&node.op), node.op.linear()) {
            (Some(shape), Some(linear)) => {
                let scales = scales(shape, linear, steps.step(index));
                let mask = masks[index].as_deref();
                let codes = compensate(shape, linear, &scales, mask, |group| {
                    streams.covariance(graph, node, group)
                });
                let mut layer = QuantizedLinear {
                    codes,
                    scales,
                    bias: vec![0.0; shape.outputs()],
                };
                sqnr_db[index] = Some(streams.run_layer(
                    graph,
                    node,
                    shape,
                    &mut layer,
                    activations[node.output],
                ));
                steps.done(index, &layer);
                layers[index] = Some(layer);
            }
            _ => streams.run(graph, node, activations[node.output]),
        }
        streams.forget(graph, index);
        bar.advance(1);
    }
    QuantizedGraph {
        graph: graph.clone(),
        activations,
        layers,
        sqnr_db,
    }
}

/// The activations of one sample that are still needed, in both networks.
struct Stream {
    dense: Vec<Stored>,
    quantized: Vec<Stored>,
}

struct Streams(Vec<Stream>);

impl Streams {
    fn new(
        graph: &Graph,
        activations: &[Option<ActivationQuantization>],
        samples: &[Vec<Vec<f32>>],
    ) -> Self {
        let stream = |inputs: &Vec<Vec<f32>>| {
            let mut stream = Stream {
                dense: vec![Stored::Nothing; graph.tensors.len()],
                quantized: vec![Stored::Nothing; graph.tensors.len()],
            };
            for (port, values) in graph.inputs.iter().zip(inputs) {
                stream.dense[port.tensor] = Stored::half(values);
                stream.quantized[port.tensor] = Stored::quantized(values, activations[port.tensor]);
            }
            stream
        };
        Self(samples.iter().map(stream).collect())
    }

    /// Covariance of a layer's quantized inputs, from positions spread evenly over the output.
    fn covariance(&self, graph: &Graph, node: &Node, group: usize) -> Vec<f64> {
        let Some(patches) = Patches::new(graph, node) else {
            return Vec::new();
        };
        let k = patches.len();
        let wanted = LEAST_ROWS.max(ROWS_PER_TAP * k).div_ceil(self.0.len());
        let mut moments = Moments::new(k);
        let mut rows = Vec::new();
        for (i, stream) in self.0.iter().enumerate() {
            let positions = spread(patches.positions(), wanted, i);
            let input = stream.quantized[node.inputs[0]].values();
            rows.extend(patches.rows(&input, group, &positions));
            if rows.len() >= ROWS_AT_ONCE * k {
                moments.add(&rows);
                rows.clear();
            }
        }
        moments.add(&rows);
        moments.covariance()
    }

    /// Runs a layer in both networks, correcting the quantized one's bias and scales; its SQNR in dB.
    fn run_layer(
        &mut self,
        graph: &Graph,
        node: &Node,
        shape: LayerShape,
        layer: &mut QuantizedLinear,
        quantization: Option<ActivationQuantization>,
    ) -> f64 {
        let Some(linear) = node.op.linear() else {
            return 0.0;
        };
        let dense = with_constants(node, linear.clone());
        let rounded = with_constants(node, layer.dequantized(shape, linear));
        let channels = shape.outputs();
        let parts: Vec<Repair> = self
            .0
            .par_iter_mut()
            .map(|stream| {
                let z = run_node(graph, &dense, &stream.dense);
                let zq = run_node(graph, &rounded, &stream.quantized);
                let mut repair = Repair::new(channels);
                repair.add(&z, &zq);
                stream.dense[node.output] = Stored::half(&z);
                stream.quantized[node.output] = Stored::half(&zq);
                repair
            })
            .collect();
        let mut repair = Repair::new(channels);
        parts.iter().for_each(|part| repair.merge(part));
        let gains = repair.apply(layer);
        self.finish_layer(
            node.output,
            &gains,
            &layer.bias,
            linear.activation,
            quantization,
        )
    }

    /// Applies the corrected bias and scales, measures the noise, applies activation and quantization.
    fn finish_layer(
        &mut self,
        output: usize,
        gains: &[f64],
        bias: &[f32],
        activation: Activation,
        quantization: Option<ActivationQuantization>,
    ) -> f64 {
        let (least, most) = activation.bounds();
        let powers: Vec<(f64, f64)> = self
            .0
            .par_iter_mut()
            .map(|stream| {
                let mut dense = stream.dense[output].values();
                let mut quantized = stream.quantized[output].values();
                let (mut signal, mut noise) = (0.0, 0.0);
                for (zs, zqs) in dense
                    .chunks_exact_mut(bias.len())
                    .zip(quantized.chunks_exact_mut(bias.len()))
                {
                    for (((z, zq), bias), gain) in zs.iter_mut().zip(zqs).zip(bias).zip(gains) {
                        *zq = *zq * *gain as f32 + bias;
                        signal += f64::from(*z) * f64::from(*z);
                        noise += f64::from(*z - *zq) * f64::from(*z - *zq);
                        *z = z.clamp(least, most);
                        *zq = zq.clamp(least, most);
                    }
                }
                stream.dense[output] = Stored::half(&dense);
                stream.quantized[output] = Stored::quantized(&quantized, quantization);
                (signal, noise)
            })
            .collect();
        let signal: f64 = powers.iter().map(|p| p.0).sum();
        let noise: f64 = powers.iter().map(|p| p.1).sum();
        10.0 * (signal / noise.max(f64::MIN_POSITIVE)).log10()
    }

    /// Runs a node without weights in both networks.
    fn run(&mut self, graph: &Graph, node: &Node, quantization: Option<ActivationQuantization>) {
        self.0.par_iter_mut().for_each(|stream| {
            let z = run_node(graph, node, &stream.dense);
            let zq = run_node(graph, node, &stream.quantized);
            stream.dense[node.output] = Stored::half(&z);
            stream.quantized[node.output] = Stored::quantized(&zq, quantization);
        });
    }

    /// Frees what no node after `index` reads.
    fn forget(&mut self, graph: &Graph, index: usize) {
        let needed = |id| {
            graph.nodes[index + 1..]
                .iter()
                .any(|node| node.inputs.contains(&id))
        };
        let node = &graph.nodes[index];
        for id in node
            .inputs
            .iter()
            .copied()
            .chain([node.output])
            .filter(|&id| !needed(id))
        {
            for stream in &mut self.0 {
                stream.dense[id] = Stored::Nothing;
                stream.quantized[id] = Stored::Nothing;
            }
        }
    }
}

fn run_node(graph: &Graph, node: &Node, values: &[Stored]) -> Vec<f32> {
    let inputs: Vec<Vec<f32>> = node.inputs.iter().map(|&id| values[id].values()).collect();
    let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    evaluate(graph, node, &inputs)
}

/// The node with other constants and no fused activation.
fn with_constants(node: &Node, linear: Linear) -> Node {
    let mut node = node.clone();
    if let Some(constants) = node.op.linear_mut() {
        *constants = Linear {
            activation: Activation::None,
            ..linear
        };
    }
    node
}

/// About `wanted` of `all` positions, evenly spaced, starting at another one for each sample.
fn spread(all: usize, wanted: usize, sample: usize) -> Vec<usize> {
    let step = all.div_ceil(wanted).max(1);
    (sample % step..all).step_by(step).collect()
}

/// Bytes that the streams take for one sample at their peak.
pub fn stream_bytes(graph: &Graph) -> usize {
    let mut last_use = vec![0; graph.tensors.len()];
    for (index, node) in graph.nodes.iter().enumerate() {
        node.inputs.iter().for_each(|&id| last_use[id] = index);
    }
    let mut live: usize = graph
        .inputs
        .iter()
        .map(|port| graph.tensors[port.tensor].elements())
        .sum();
    let mut peak = live;
    for (index, node) in graph.nodes.iter().enumerate() {
        live += graph.tensors[node.output].elements();
        peak = peak.max(live);
        let mut freed = node.inputs.clone();
        freed.dedup();
        for id in freed.into_iter().filter(|&id| last_use[id] == index) {
            live -= graph.tensors[id].elements();
        }
    }
    (2 * size_of::<u16>()) * peak
}
