//! Finds and removes output channels that are dead: those that hold the same value whatever the
//! input is, and those that nothing reads.
//!
//! The result of the network stays the same but for rounding. A channel's value is bounded by
//! interval arithmetic (a negative bias under a ReLU that its weights can never lift is a zero),
//! and a constant moves to the bias of the layers that read it; where such a layer pads with
//! zeros, only a zero may move.

mod bounds;

use super::channels::Channels;
use super::{Graph, Linear, Node, Op, Shape, TensorId, Window};
use bounds::bounds;

/// A weight below this share of its layer's greatest is taken as zero: its product is lost when
/// it is added in single precision.
pub const NEGLIGIBLE: f32 = f32::EPSILON;

/// What was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadChannels {
    /// Output channels of convolutions and fully connected layers.
    pub removed: usize,
    /// For each layer that lost some: its name, its output channels before and after.
    pub by_node: Vec<(String, usize, usize)>,
}

/// Removes dead channels until there are none. Inputs and outputs keep their shapes.
pub fn remove_dead_channels(mut graph: Graph) -> (Graph, DeadChannels) {
    let before = output_channels(&graph);
    while remove_once(&mut graph) {}
    let pairs = before.into_iter().zip(output_channels(&graph));
    let by_node: Vec<_> = pairs
        .filter(|((_, before), (_, after))| before != after)
        .map(|((name, before), (_, after))| (name, before, after))
        .collect();
    let removed = by_node
        .iter()
        .map(|(_, before, after)| before - after)
        .sum();
    (graph, DeadChannels { removed, by_node })
}

fn output_channels(graph: &Graph) -> Vec<(String, usize)> {
    let layers = graph
        .nodes
        .iter()
        .filter_map(|node| Some((node, node.op.linear()?)));
    layers
        .map(|(node, linear)| (node.name.clone(), linear.bias.len()))
        .collect()
}

/// Removes what can be seen to be dead now; more may follow from that.
fn remove_once(graph: &mut Graph) -> bool {
    let mut channels = Channels::new(graph);
    let constant: Vec<Option<f32>> = bounds(graph)
        .into_iter()
        .flatten()
        .map(|bound| (bound.low == bound.high).then_some(bound.low as f32))
        .collect();
    pin_readers(graph, &mut channels, &constant);
    keep_one_each(graph, &mut channels);
    let removed: Vec<bool> = (0..channels.len())
        .map(|channel| !channels.is_pinned(channels.group(channel)))
        .collect();
    let found = removed.contains(&true);
    if found {
        channels.remove(graph, &removed, &constant);
    }
    found
}

/// Pins the channels that a layer reads and whose value cannot move to its bias.
fn pin_readers(graph: &Graph, channels: &mut Channels, constant: &[Option<f32>]) {
    for node in &graph.nodes {
        let Some(linear) = mixing(node) else { continue };
        let input = node.inputs[0];
        let pads = reads_padding(graph, node);
        let read = channels_read(linear);
        for (channel, read) in read.into_iter().enumerate() {
            let index = channels.index(input, channel);
            let moves = constant[index].is_some_and(|value| value == 0.0 || !pads);
            if read && !moves {
                channels.pin(index);
            }
        }
    }
}

/// The constants of a layer that mixes all channels of its input.
fn mixing(node: &Node) -> Option<&Linear> {
    match &node.op {
        Op::Conv2d {
            linear, groups: 1, ..
        }
        | Op::FullyConnected { linear } => Some(linear),
        _ => None,
    }
}

/// For each input channel, whether a weight of the layer is more than negligible for it.
fn channels_read(linear: &Linear) -> Vec<bool> {
    let least = negligible(linear);
    let mut read = vec![false; linear.shape[3]];
    for tap in linear.weights.chunks_exact(linear.shape[3].max(1)) {
        for (read, weight) in read.iter_mut().zip(tap) {
            *read |= weight.abs() > least;
        }
    }
    read
}

/// The greatest magnitude that counts as zero in a layer.
fn negligible(linear: &Linear) -> f32 {
    linear
        .weights
        .iter()
        .fold(0.0f32, |max, weight| max.max(weight.abs()))
        * NEGLIGIBLE
}

pub(crate) fn reads_padding(graph: &Graph, node: &Node) -> bool {
    let (input, output) = (graph.shape(node.inputs[0]), graph.shape(node.output));
    match &node.op {
        Op::Conv2d { window, .. }
        | Op::DepthwiseConv2d { window, .. }
        | Op::AveragePool2d { window, .. } => leaves(*window, input, output),
        _ => false,
    }
}

/// Whether a tap of the window lies outside the input at some output position.
fn leaves(window: Window, input: Shape, output: Shape) -> bool {
    (0..2).any(|i| {
        let reach = (output[i + 1] - 1) * usize::from(window.stride[i])
            + (usize::from(window.kernel[i]) - 1) * usize::from(window.dilation[i]);
        window.pad[i] > 0 || reach >= input[i + 1]
    })
}

/// Pins one group in each tensor that would lose all of its channels.
fn keep_one_each(graph: &Graph, channels: &mut Channels) {
    for id in 0..graph.tensors.len() {
        let count = graph.shape(id)[3];
        let member = |id: TensorId, channel| channels.group(channels.index(id, channel));
        let stays = (0..count).any(|channel| channels.is_pinned(member(id, channel)));
        if !stays && count > 0 {
            channels.pin(channels.index(id, 0));
        }
    }
}

#[cfg(test)]
mod tests;
