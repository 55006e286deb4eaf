//! Runs a network in single precision, one sample at a time.
//!
//! The result does not depend on the number of threads: one sample is computed by one thread, and
//! callers spread samples over threads.

mod convolution;
mod elementwise;
mod matmul;
mod movement;
mod pooling;

pub(crate) use convolution::activate;
pub(crate) use movement::taps as resize_taps;

use super::{Graph, Node, Op, TensorId};
use std::borrow::Cow;

/// The output of one node for its inputs, all in NHWC order.
///
/// `graph` gives the dimensions; the weights are those of `node`, which may be a changed copy of
/// one of the graph's own nodes.
///
/// # Panics
/// If `inputs` do not have the sizes that `graph` gives them.
pub fn evaluate(graph: &Graph, node: &Node, inputs: &[&[f32]]) -> Vec<f32> {
    let mut output = vec![0.0; graph.tensors[node.output].elements()];
    evaluate_into(graph, node, inputs, &mut output);
    output
}

/// [`evaluate`] into a slice of the output's size. What it held does not matter.
///
/// # Panics
/// If `inputs` or `output` do not have the sizes that `graph` gives them.
pub fn evaluate_into(graph: &Graph, node: &Node, inputs: &[&[f32]], output: &mut [f32]) {
    let shapes: Vec<_> = node.inputs.iter().map(|&id| graph.shape(id)).collect();
    let (shape, out_shape) = (shapes[0], graph.shape(node.output));
    let input = inputs[0];
    match &node.op {
        Op::Conv2d {
            linear,
            window,
            groups,
        } => convolution::conv_2d(
            linear,
            *window,
            *groups,
            (input, shape),
            (output, out_shape),
        ),
        Op::DepthwiseConv2d { linear, window } => {
            convolution::depthwise_conv_2d(linear, *window, (input, shape), (output, out_shape));
        }
        Op::FullyConnected { linear } => convolution::fully_connected(linear, input, output),
        Op::Binary { kind, activation } => elementwise::binary(
            *kind,
            *activation,
            (input, shape),
            (inputs[1], shapes[1]),
            output,
        ),
        Op::MaxPool2d { window } => {
            pooling::max_pool_2d(*window, (input, shape), (output, out_shape));
        }
        Op::AveragePool2d {
            window,
            count_include_pad,
        } => pooling::average_pool_2d(
            *window,
            *count_include_pad,
            (input, shape),
            (output, out_shape),
        ),
        Op::Mean => pooling::mean(input, shape, output),
        Op::Normalize { gain, offset } => elementwise::normalize(gain, offset, input, output),
        Op::Unary { kind } => elementwise::unary(*kind, input, output),
        Op::Softmax => elementwise::softmax(input, shape[3], output),
        Op::Concat { axis } => movement::concat(*axis, inputs, &shapes, output),
        Op::Pad { before, value } => {
            movement::pad(*before, *value, (input, shape), (output, out_shape));
        }
        Op::Slice { start, step } => {
            movement::slice(*start, *step, (input, shape), (output, out_shape));
        }
        Op::Transpose { perm } => movement::transpose(*perm, input, shape, output),
        Op::Resize { kind, coordinates } => {
            movement::resize(*kind, *coordinates, (input, shape), (output, out_shape))
        }
        Op::Reshape => output.copy_from_slice(input),
    }
}

/// Every output of the network for one sample: NHWC in, NHWC out, in the order of the ports.
///
/// # Panics
/// If `inputs` do not have the sizes of the graph's inputs.
pub fn run(graph: &Graph, inputs: &[Vec<f32>]) -> Vec<Vec<f32>> {
    run_with(graph, inputs, |_, _| {})
}

/// [`run`], showing `observe` the index and the output of every node as soon as it is computed.
///
/// Activations are freed after their last use.
///
/// # Panics
/// If `inputs` do not have the sizes of the graph's inputs.
pub fn run_with<'a>(
    graph: &Graph,
    inputs: &'a [Vec<f32>],
    mut observe: impl FnMut(usize, &[f32]),
) -> Vec<Vec<f32>> {
    let mut values: Vec<Option<Cow<'a, [f32]>>> = vec![None; graph.tensors.len()];
    for (port, data) in graph.inputs.iter().zip(inputs) {
        assert_eq!(
            data.len(),
            graph.tensors[port.tensor].elements(),
            "input {}",
            port.name
        );
        values[port.tensor] = Some(Cow::Borrowed(data.as_slice()));
    }
    let last_use = graph.last_use();
    let mut free = Vec::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        let mut output = reuse(&mut free, graph.tensors[node.output].elements());
        let operands: Vec<&[f32]> = node.inputs.iter().map(|&id| present(&values, id)).collect();
        evaluate_into(graph, node, &operands, &mut output);
        observe(index, &output);
        values[node.output] = Some(Cow::Owned(output));
        for &id in node.inputs.iter().chain([&node.output]) {
            if last_use[id].is_none_or(|last| last <= index)
                && let Some(Cow::Owned(buffer)) = values[id].take()
            {
                free.push(buffer);
            }
        }
    }
    let outputs = graph.outputs.iter();
    outputs
        .map(|port| present(&values, port.tensor).to_vec())
        .collect()
}

fn present<'v>(values: &'v [Option<Cow<'_, [f32]>>], id: TensorId) -> &'v [f32] {
    values[id]
        .as_deref()
        .expect("a valid graph computes tensors before it reads them")
}

/// A buffer of `len` elements, from the smallest freed one that is large enough.
fn reuse(free: &mut Vec<Vec<f32>>, len: usize) -> Vec<f32> {
    let fitting = (0..free.len())
        .filter(|&i| free[i].capacity() >= len)
        .min_by_key(|&i| free[i].capacity());
    let mut buffer = fitting.map(|i| free.swap_remove(i)).unwrap_or_default();
    buffer.resize(len, 0.0);
    buffer
}

#[cfg(test)]
mod tests;
