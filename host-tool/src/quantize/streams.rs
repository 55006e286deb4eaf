//! The activations of many samples while a network runs layer after layer.

use super::stored::Stored;
use super::{ActivationQuantization, Moments};
use crate::calibrate::ChannelSums;
use crate::dataset::HOLD_OUT;
use crate::graph::{Activation, Graph, Linear, Node, Patches, TensorId, activate, evaluate};
use pulp::Arch;
use rayon::prelude::*;

/// Input rows that the moments of a layer are taken from: at least this many if there are...
const LEAST_ROWS: usize = 8192;
/// ...and this many for each tap.
const ROWS_PER_TAP: usize = 4;
/// Samples whose rows are multiplied together.
const SAMPLES_AT_ONCE: usize = 32;

/// One of the network's tensors for each sample; freed when no node needs them any more.
pub struct Streams {
    /// `[sample][tensor]`.
    values: Vec<Vec<Stored>>,
}

impl Streams {
    /// Of network inputs, rounded as `activations` says per tensor.
    pub fn new(
        graph: &Graph,
        activations: &[Option<ActivationQuantization>],
        samples: &[Vec<Vec<f32>>],
    ) -> Self {
        let stream = |inputs: &Vec<Vec<f32>>| {
            let mut values = vec![Stored::Nothing; graph.tensors.len()];
            for (port, input) in graph.inputs.iter().zip(inputs) {
                values[port.tensor] = Stored::quantized(input, activations[port.tensor]);
            }
            values
        };
        Self {
            values: samples.iter().map(stream).collect(),
        }
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether a sample judges what is fitted to the others; of a few samples all do both.
    pub fn judges(&self, sample: usize) -> bool {
        self.len() < HOLD_OUT || sample % HOLD_OUT == HOLD_OUT - 1
    }

    /// Whether layers are fitted to a sample.
    pub fn fits(&self, sample: usize) -> bool {
        self.len() < HOLD_OUT || !self.judges(sample)
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Covariances (row-major `k x k`) of the inputs of each group of a layer, in the samples that
    /// `chosen` picks, from positions spread evenly over the output.
    pub fn covariances(
        &self,
        graph: &Graph,
        node: &Node,
        chosen: impl Fn(usize) -> bool,
    ) -> Vec<Vec<f64>> {
        let Some(patches) = Patches::new(graph, node) else {
            return Vec::new();
        };
        let wanted = LEAST_ROWS
            .max(ROWS_PER_TAP * patches.len())
            .div_ceil(self.values.len());
        let mut groups = vec![Moments::new(patches.len()); patches.groups()];
        let chosen: Vec<usize> = (0..self.values.len()).filter(|&i| chosen(i)).collect();
        for batch in chosen.chunks(SAMPLES_AT_ONCE) {
            let inputs: Vec<(Vec<usize>, Vec<f32>)> = batch
                .par_iter()
                .map(|&i| {
                    let positions = spread(patches.positions(), wanted, i);
                    (positions, self.values[i][node.inputs[0]].values())
                })
                .collect();
            groups
                .par_iter_mut()
                .enumerate()
                .for_each(|(group, moments)| {
                    let rows = inputs
                        .iter()
                        .flat_map(|(positions, input)| patches.rows(input, group, positions));
                    moments.add(&rows.collect::<Vec<f32>>());
                });
        }
        groups.into_par_iter().map(Moments::covariance).collect()
    }

    /// Runs a layer of the dense network; statistics of its output before the activation.
    pub(super) fn run_dense_layer(
        &mut self,
        graph: &Graph,
        node: &Node,
        linear: &Linear,
    ) -> ChannelSums {
        let plain = with_constants(node, linear.clone());
        self.observe(graph, &plain, |z| activate(linear.activation, z))
    }

    /// Runs a layer and stores what `then` makes of its output; statistics of what came out before.
    fn observe(
        &mut self,
        graph: &Graph,
        node: &Node,
        then: impl Fn(&mut [f32]) + Sync,
    ) -> ChannelSums {
        let channels = graph.shape(node.output)[3];
        let parts: Vec<ChannelSums> = self
            .values
            .par_iter_mut()
            .map(|tensors| {
                let mut output = run_node(graph, node, tensors);
                let sums = ChannelSums::of(&output, channels);
                then(&mut output);
                tensors[node.output] = Stored::half(&output);
                sums
            })
            .collect();
        let mut all = ChannelSums::default();
        parts.iter().for_each(|part| all.merge(part));
        all
    }

    /// Runs a layer with codes for weights and no activation; statistics of its output.
    pub(super) fn run_rounded_layer(
        &mut self,
        graph: &Graph,
        node: &Node,
        rounded: Linear,
    ) -> ChannelSums {
        self.observe(graph, &with_constants(node, rounded), |_| ())
    }

    /// Applies the corrections of a layer's values, its activation and its quantization.
    pub(super) fn correct(
        &mut self,
        output: TensorId,
        (gains, bias): (&[f32], &[f32]),
        activation: Activation,
        quantization: Option<ActivationQuantization>,
    ) {
        self.values.par_iter_mut().for_each(|tensors| {
            let mut values = tensors[output].values();
            Arch::new().dispatch(|| {
                for row in values.chunks_exact_mut(bias.len()) {
                    for ((value, gain), bias) in row.iter_mut().zip(gains).zip(bias) {
                        *value = *value * gain + bias;
                    }
                }
            });
            activate(activation, &mut values);
            tensors[output] = Stored::quantized(&values, quantization);
        });
    }

    /// Runs a node and rounds what comes out.
    pub fn run(
        &mut self,
        graph: &Graph,
        node: &Node,
        quantization: Option<ActivationQuantization>,
    ) {
        self.values.par_iter_mut().for_each(|tensors| {
            let output = run_node(graph, node, tensors);
            tensors[node.output] = Stored::quantized(&output, quantization);
        });
    }

    /// Frees what no node after `index` reads.
    pub fn forget(&mut self, graph: &Graph, index: usize) {
        let needed = |id| {
            graph.nodes[index + 1..]
                .iter()
                .any(|node| node.inputs.contains(&id))
        };
        let node = &graph.nodes[index];
        let ids = node.inputs.iter().copied().chain([node.output]);
        for id in ids.filter(|&id| !needed(id)) {
            for tensors in &mut self.values {
                tensors[id] = Stored::Nothing;
            }
        }
    }
}

/// Runs the dense network over the samples. `visit` sees each node before it runs. Per node with
/// weights: statistics of its output before the activation.
pub fn run_dense(
    graph: &Graph,
    samples: &[Vec<Vec<f32>>],
    mut visit: impl FnMut(usize, &Streams),
) -> Vec<Option<ChannelSums>> {
    let float = vec![None; graph.tensors.len()];
    let mut streams = Streams::new(graph, &float, samples);
    let mut statistics = vec![None; graph.nodes.len()];
    for (index, node) in graph.nodes.iter().enumerate() {
        visit(index, &streams);
        match node.op.linear() {
            Some(linear) => statistics[index] = Some(streams.run_dense_layer(graph, node, linear)),
            None => streams.run(graph, node, None),
        }
        streams.forget(graph, index);
    }
    statistics
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

/// A node's output from the values of all tensors.
fn run_node(graph: &Graph, node: &Node, values: &[Stored]) -> Vec<f32> {
    let inputs: Vec<Vec<f32>> = node.inputs.iter().map(|&id| values[id].values()).collect();
    let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    evaluate(graph, node, &inputs)
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
    size_of::<u16>() * peak
}
