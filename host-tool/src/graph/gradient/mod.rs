//! Reverse-mode differentiation of a network with respect to its activations, one sample at a time.
//!
//! Each operator adds the product of the gradient at its output with its Jacobian to the gradients
//! at its inputs. One thread, always in the same order: callers spread samples over threads.

mod convolution;
mod elementwise;
mod matmul;
mod movement;
mod pooling;

pub use convolution::weight_gradient;

use super::{Activation, Graph, Node, Op, Patches, TensorId, evaluate};

/// Every activation of one sample, by tensor, NHWC: what [`backward`] needs.
///
/// # Panics
/// If `inputs` do not have the sizes of the graph's inputs.
pub fn activations(graph: &Graph, inputs: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let mut values = vec![Vec::new(); graph.tensors.len()];
    for (port, data) in graph.inputs.iter().zip(inputs) {
        values[port.tensor].clone_from(data);
    }
    for node in &graph.nodes {
        values[node.output] = evaluate(graph, node, &operands(node, &values));
    }
    values
}

/// Propagates gradients from `seeds` back through the network and calls `visit`, in reverse order of
/// execution, with each node that has weights and the gradient at its output *before* its fused
/// activation, NHWC.
///
/// `values` are all [`activations`] of a sample. The function that is differentiated is the sum over
/// `seeds` of the product of tensor and seed. A fused activation passes nothing where the output is
/// at or beyond one of its bounds; of equal operands or elements of a maximum the first gets the
/// gradient. Nodes that no gradient reaches are skipped.
///
/// # Panics
/// If `values` or `seeds` do not have the sizes of the graph's tensors.
pub fn backward(
    graph: &Graph,
    values: &[Vec<f32>],
    seeds: &[(TensorId, Vec<f32>)],
    mut visit: impl FnMut(usize, &[f32]),
) {
    let wanted = behind_weights(graph);
    let mut gradients: Vec<Option<Vec<f32>>> = vec![None; graph.tensors.len()];
    for (id, seed) in seeds {
        assert_eq!(seed.len(), graph.tensors[*id].elements(), "seed of {id}");
        let gradient = gradients[*id].get_or_insert_with(|| vec![0.0; seed.len()]);
        gradient.iter_mut().zip(seed).for_each(|(g, s)| *g += s);
    }
    let mut free = Vec::new();
    for (index, node) in graph.nodes.iter().enumerate().rev() {
        let Some(mut gradient) = gradients[node.output].take() else {
            continue;
        };
        mask(fused(&node.op), &values[node.output], &mut gradient);
        if node.op.linear().is_some() {
            visit(index, &gradient);
        }
        for (operand, &id) in node.inputs.iter().enumerate() {
            if wanted[id] {
                let into = gradients[id]
                    .get_or_insert_with(|| zeros(&mut free, graph.tensors[id].elements()));
                pull_back(graph, node, values, (operand, into), &gradient);
            }
        }
        free.push(gradient);
    }
}

/// Per tensor, whether weights have an influence on it.
fn behind_weights(graph: &Graph) -> Vec<bool> {
    let mut behind = vec![false; graph.tensors.len()];
    for node in &graph.nodes {
        behind[node.output] =
            node.op.linear().is_some() || node.inputs.iter().any(|&id| behind[id]);
    }
    behind
}

/// A buffer of zeros, from the smallest freed one that is large enough.
fn zeros(free: &mut Vec<Vec<f32>>, len: usize) -> Vec<f32> {
    let fitting = (0..free.len())
        .filter(|&i| free[i].capacity() >= len)
        .min_by_key(|&i| free[i].capacity());
    let mut buffer = fitting.map(|i| free.swap_remove(i)).unwrap_or_default();
    buffer.clear();
    buffer.resize(len, 0.0);
    buffer
}

fn operands<'v>(node: &Node, values: &'v [Vec<f32>]) -> Vec<&'v [f32]> {
    let ids = node.inputs.iter();
    ids.map(|&id| values[id].as_slice()).collect()
}

fn fused(op: &Op) -> Activation {
    match op {
        Op::Binary { activation, .. } => *activation,
        _ => op
            .linear()
            .map_or(Activation::None, |linear| linear.activation),
    }
}

/// Stops the gradient where the activation was at or beyond a bound.
fn mask(activation: Activation, output: &[f32], gradient: &mut [f32]) {
    if activation == Activation::None {
        return;
    }
    let (min, max) = activation.bounds();
    for (g, &y) in gradient.iter_mut().zip(output) {
        *g = if y > min && y < max { *g } else { 0.0 };
    }
}

/// Adds what `gradient` at the output of `node`, before its fused activation, means at one operand.
fn pull_back(
    graph: &Graph,
    node: &Node,
    values: &[Vec<f32>],
    (operand, into): (usize, &mut [f32]),
    gradient: &[f32],
) {
    let inputs = operands(node, values);
    let shapes: Vec<_> = node.inputs.iter().map(|&id| graph.shape(id)).collect();
    let (shape, out_shape) = (shapes[operand], graph.shape(node.output));
    let (input, output) = (inputs[operand], values[node.output].as_slice());
    match &node.op {
        Op::Conv2d {
            linear,
            window,
            groups,
        } => {
            let patches = Patches::of(shape, out_shape, *window, *groups);
            convolution::conv_2d(linear, patches, shape[3], gradient, into);
        }
        Op::DepthwiseConv2d { linear, window } => {
            let patches = Patches::of(shape, out_shape, *window, shape[3]);
            convolution::depthwise_conv_2d(linear, patches, gradient, into);
        }
        Op::FullyConnected { linear } => convolution::fully_connected(linear, gradient, into),
        Op::Binary { kind, .. } => elementwise::binary(
            *kind,
            [(inputs[0], shapes[0]), (inputs[1], shapes[1])],
            gradient,
            (operand, into),
        ),
        Op::MaxPool2d { window } => {
            let winners = (input, output);
            pooling::max_pool_2d(*window, winners, (gradient, out_shape), (into, shape));
        }
        Op::AveragePool2d {
            window,
            count_include_pad,
        } => pooling::average_pool_2d(
            *window,
            *count_include_pad,
            (gradient, out_shape),
            (into, shape),
        ),
        Op::Mean => pooling::mean(gradient, into, shape),
        Op::Normalize { gain, .. } => elementwise::normalize(gain, gradient, into),
        Op::Unary { kind } => elementwise::unary(*kind, input, gradient, into),
        Op::Softmax => elementwise::softmax(output, shape[3], gradient, into),
        Op::Concat { axis } => movement::concat(*axis, &shapes, gradient, (operand, into)),
        Op::Pad { before, .. } => movement::pad(*before, (gradient, out_shape), (into, shape)),
        Op::Slice { start, step } => {
            movement::slice(*start, *step, (gradient, out_shape), (into, shape));
        }
        Op::Transpose { perm } => movement::transpose(*perm, gradient, (into, shape)),
        Op::Resize { kind, coordinates } => {
            movement::resize(*kind, *coordinates, (gradient, out_shape), (into, shape));
        }
        Op::Reshape => add(into, gradient),
    }
}

fn add(into: &mut [f32], gradient: &[f32]) {
    into.iter_mut().zip(gradient).for_each(|(t, g)| *t += g);
}

#[cfg(test)]
mod tests;
