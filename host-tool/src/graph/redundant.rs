//! Finds weights that say the same twice: layers that share all of theirs, output channels that
//! repeat another of their layer, layers of nothing but zeros.
//!
//! Only what holds for every input counts. Nothing is changed: see [`super::remove_dead_channels`]
//! for what is removed by itself.

use super::{Graph, Linear, Node, Op};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// What was found. Bytes are those of int8 codes before entropy coding: one a weight.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redundant {
    /// Layers whose weights are the same, bit for bit.
    pub same_weights: Vec<SameWeights>,
    /// Layers with output channels that are always equal.
    pub same_channels: Vec<SameChannels>,
    /// Names of layers whose weights are all zero.
    pub zero_weights: Vec<String>,
}

/// Layers that hold one tensor of weights more than once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SameWeights {
    /// Names, in order of execution.
    pub layers: Vec<String>,
    /// Bytes of all copies but the first.
    pub bytes: u64,
}

/// Output channels of one layer that repeat others of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SameChannels {
    /// Name of the layer.
    pub layer: String,
    /// Its output channels.
    pub channels: usize,
    /// Channels that are equal to each other, by number.
    pub groups: Vec<Vec<usize>>,
    /// Bytes of the weights of all copies but the first of each group.
    pub bytes: u64,
}

impl Redundant {
    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl SameChannels {
    /// Channels that a layer without repetitions would not have.
    pub fn copies(&self) -> usize {
        self.groups.iter().map(|group| group.len() - 1).sum()
    }
}

/// Looks for repetitions in a network. Weights and channels that are all zero do not count as
/// repetitions of each other.
pub fn find_redundant(graph: &Graph) -> Redundant {
    Redundant {
        same_weights: same_weights(graph),
        same_channels: same_channels(graph),
        zero_weights: layers(graph)
            .filter(|(_, linear)| is_zero(&linear.weights))
            .map(|(node, _)| node.name.clone())
            .collect(),
    }
}

fn layers(graph: &Graph) -> impl Iterator<Item = (&Node, &Linear)> {
    let nodes = graph.nodes.iter();
    nodes.filter_map(|node| Some((node, node.op.linear()?)))
}

fn is_zero(weights: &[f32]) -> bool {
    weights.iter().all(|&weight| weight == 0.0)
}

/// The bits of values, the same for both zeros.
fn bits<'a>(values: impl IntoIterator<Item = &'a f32>) -> Vec<u32> {
    let values = values.into_iter();
    values.map(|value| (value + 0.0).to_bits()).collect()
}

fn same_weights(graph: &Graph) -> Vec<SameWeights> {
    let mut found: Vec<SameWeights> = Vec::new();
    let mut seen = HashMap::new();
    for (node, linear) in layers(graph).filter(|(_, linear)| !is_zero(&linear.weights)) {
        let at = *seen
            .entry((linear.shape, bits(&linear.weights)))
            .or_insert(found.len());
        match found.get_mut(at) {
            Some(same) => {
                same.layers.push(node.name.clone());
                same.bytes += linear.weights.len() as u64;
            }
            None => found.push(SameWeights {
                layers: vec![node.name.clone()],
                bytes: 0,
            }),
        }
    }
    found.retain(|same| same.layers.len() > 1);
    found
}

/// Numbers the channels of each tensor so that channels that are equal for every input share the
/// number of the first of them. Element-wise operators on one activation and poolings carry the
/// numbers on, others start anew.
fn same_channels(graph: &Graph) -> Vec<SameChannels> {
    let fresh = |channels: usize| (0..channels).collect::<Vec<usize>>();
    let mut numbers: Vec<Vec<usize>> = graph.tensors.iter().map(|t| fresh(t.shape[3])).collect();
    let mut found = Vec::new();
    for node in &graph.nodes {
        let input = &numbers[node.inputs[0]];
        if let Some(linear) = node.op.linear() {
            let output = of_layer(&node.op, linear, input);
            found.extend(report(node, linear, &output));
            numbers[node.output] = output;
        } else if carries(&node.op) {
            numbers[node.output] = input.clone();
        }
    }
    found
}

/// Whether each output channel is a function of the input's channel of that number alone.
fn carries(op: &Op) -> bool {
    matches!(
        op,
        Op::Unary { .. }
            | Op::MaxPool2d { .. }
            | Op::AveragePool2d { .. }
            | Op::Mean
            | Op::Normalize { .. }
            | Op::Resize { .. }
    )
}

/// The number of each output channel: that of the first with the same source, weights and bias.
fn of_layer(op: &Op, linear: &Linear, input: &[usize]) -> Vec<usize> {
    let mut first = HashMap::new();
    (0..linear.bias.len())
        .map(|channel| {
            let weights = weights_of(op, linear, channel);
            if weights.iter().all(|&bits| bits == 0) {
                return channel;
            }
            let key = (
                source(op, linear, input, channel),
                weights,
                bits([&linear.bias[channel]]),
            );
            match first.entry(key) {
                Entry::Occupied(first) => *first.get(),
                Entry::Vacant(new) => *new.insert(channel),
            }
        })
        .collect()
}

/// What a channel is computed from: a number that equal sources share.
fn source(op: &Op, linear: &Linear, input: &[usize], channel: usize) -> usize {
    match op {
        Op::DepthwiseConv2d { .. } => input[channel],
        Op::Conv2d { groups, .. } => channel * groups / linear.bias.len(),
        _ => 0,
    }
}

/// The bits of an output channel's weights.
fn weights_of(op: &Op, linear: &Linear, channel: usize) -> Vec<u32> {
    let channels = linear.bias.len();
    let taps = linear.weights.len() / channels;
    match op {
        Op::DepthwiseConv2d { .. } => bits(linear.weights.iter().skip(channel).step_by(channels)),
        _ => bits(&linear.weights[channel * taps..][..taps]),
    }
}

fn report(node: &Node, linear: &Linear, numbers: &[usize]) -> Option<SameChannels> {
    let mut groups: Vec<Vec<usize>> = vec![Vec::new(); numbers.len()];
    for (channel, &number) in numbers.iter().enumerate() {
        groups[number].push(channel);
    }
    groups.retain(|group| group.len() > 1);
    let mut same = SameChannels {
        layer: node.name.clone(),
        channels: numbers.len(),
        groups,
        bytes: 0,
    };
    same.bytes = (same.copies() * linear.weights.len() / numbers.len().max(1)) as u64;
    (!same.groups.is_empty()).then_some(same)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Activation, Layout, Port, Shape, TensorInfo, Window};

    const POINT: Window = Window {
        kernel: [1, 1],
        stride: [1, 1],
        dilation: [1, 1],
        pad: [0, 0],
    };

    fn linear(shape: Shape, outputs: usize, seed: usize) -> Linear {
        let count = shape.iter().product::<usize>();
        Linear {
            shape,
            weights: (0..count)
                .map(|i| ((i + seed) as f32 * 0.7).sin())
                .collect(),
            bias: (0..outputs).map(|i| (i + seed) as f32).collect(),
            activation: Activation::None,
        }
    }

    fn conv(linear: Linear, groups: usize) -> Op {
        Op::Conv2d {
            linear,
            window: POINT,
            groups,
        }
    }

    fn depthwise(linear: Linear) -> Op {
        Op::DepthwiseConv2d {
            linear,
            window: POINT,
        }
    }

    /// Nodes one after the other on four channels.
    fn chain(ops: Vec<Op>) -> Graph {
        let shape = [1, 2, 2, 4];
        let port = |tensor| Port {
            name: format!("t{tensor}"),
            tensor,
            source_shape: shape.to_vec(),
            layout: Layout::Nhwc,
        };
        let node = |(i, op)| Node {
            name: format!("n{i}"),
            op,
            inputs: vec![i],
            output: i + 1,
        };
        let graph = Graph {
            name: "test".into(),
            source_hash: [0; 32],
            source_bytes: 0,
            inputs: vec![port(0)],
            outputs: vec![port(ops.len())],
            tensors: vec![TensorInfo { shape }; ops.len() + 1],
            nodes: ops.into_iter().enumerate().map(node).collect(),
        };
        graph.validate().unwrap();
        graph
    }

    /// Makes one output channel of a (non-depthwise) layer the copy of another.
    fn copy(linear: &mut Linear, from: usize, to: usize) {
        let taps = linear.weights.len() / linear.bias.len();
        let row = linear.weights[from * taps..][..taps].to_vec();
        linear.weights[to * taps..][..taps].copy_from_slice(&row);
        linear.bias[to] = linear.bias[from];
    }

    #[test]
    fn a_network_of_distinct_weights_has_no_repetitions() {
        let graph = chain(vec![
            conv(linear([4, 1, 1, 4], 4, 0), 1),
            depthwise(linear([1, 1, 1, 4], 4, 50)),
            conv(linear([4, 1, 1, 4], 4, 100), 1),
        ]);
        assert!(find_redundant(&graph).is_empty());
    }

    #[test]
    fn layers_with_the_same_weights_are_found_whatever_their_biases() {
        let mut again = linear([4, 1, 1, 4], 4, 0);
        again.bias[0] = 9.0;
        let other = linear([4, 1, 1, 4], 4, 100);
        let first = linear([4, 1, 1, 4], 4, 0);
        let graph = chain(vec![conv(first, 1), conv(other, 1), conv(again, 1)]);
        let found = find_redundant(&graph);
        assert_eq!(
            found.same_weights,
            [SameWeights {
                layers: vec!["n0".into(), "n2".into()],
                bytes: 16
            }]
        );
        assert!(found.same_channels.is_empty() && found.zero_weights.is_empty());
    }

    #[test]
    fn repeated_channels_are_found_and_followed_through_a_depthwise_convolution() {
        let mut twice = linear([4, 1, 1, 4], 4, 0);
        copy(&mut twice, 1, 3);
        let mut same = linear([1, 1, 1, 4], 4, 50);
        same.weights.fill(0.5);
        same.bias.fill(1.0);
        let found = find_redundant(&chain(vec![conv(twice, 1), depthwise(same)]));
        let expected = |layer: &str, bytes| SameChannels {
            layer: layer.into(),
            channels: 4,
            groups: vec![vec![1, 3]],
            bytes,
        };
        assert_eq!(found.same_channels, [expected("n0", 4), expected("n1", 1)]);
        assert_eq!(found.same_channels[0].copies(), 1);
    }

    #[test]
    fn channels_that_differ_in_bias_or_group_are_not_the_same() {
        let mut bias = linear([4, 1, 1, 4], 4, 0);
        copy(&mut bias, 0, 1);
        bias.bias[1] += 1.0;
        let mut grouped = linear([4, 1, 1, 2], 4, 100);
        copy(&mut grouped, 0, 2);
        let found = find_redundant(&chain(vec![conv(bias, 1), conv(grouped, 2)]));
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn zeros_of_either_sign_are_zeros_and_no_repetitions() {
        let zeros = |sign: f32| {
            let mut linear = linear([4, 1, 1, 4], 4, 0);
            linear.weights.fill(0.0 * sign);
            linear.bias.fill(1.0);
            conv(linear, 1)
        };
        let found = find_redundant(&chain(vec![zeros(1.0), zeros(-1.0)]));
        assert_eq!(found.zero_weights, ["n0", "n1"]);
        assert!(found.same_weights.is_empty() && found.same_channels.is_empty());
    }
}
