//! Nodes that do nothing or that nothing reads, and the numbering of tensors.

use super::Links;
use crate::graph::{Graph, Op, ResizeCoordinates, TensorId, UnaryKind};

/// Removes a node whose output nothing reads.
pub(super) fn drop_unused(graph: &mut Graph) -> bool {
    let uses = graph.uses();
    let before = graph.nodes.len();
    graph.nodes.retain(|node| uses[node.output] > 0);
    graph.nodes.len() != before
}

/// Removes a node whose output is its input.
pub(super) fn drop_identity(graph: &mut Graph) -> bool {
    let found = graph.nodes.iter().position(|node| {
        let same_shape =
            node.inputs.len() == 1 && graph.shape(node.inputs[0]) == graph.shape(node.output);
        same_shape && is_identity(&node.op)
    });
    let Some(index) = found else { return false };
    let node = graph.nodes.remove(index);
    redirect(graph, node.output, node.inputs[0]);
    true
}

/// For an operator whose input and output have the same dimensions.
fn is_identity(op: &Op) -> bool {
    match op {
        Op::Reshape | Op::Pad { .. } | Op::Slice { .. } => true,
        Op::Concat { .. } => true,
        Op::Resize { coordinates, .. } => !matches!(coordinates, ResizeCoordinates::Lines { .. }),
        Op::Transpose { perm } => *perm == [0, 1, 2, 3],
        Op::Unary {
            kind: UnaryKind::Affine { a, b },
        } => (a - 1.0).abs() < 1e-6 && *b == 0.0,
        Op::Unary {
            kind: UnaryKind::Clamp { min, max },
        } => *min == f32::NEG_INFINITY && *max == f32::INFINITY,
        _ => false,
    }
}

/// Merges a reshape into a reshape, a transpose into a transpose, a pad into a pad, a slice into a
/// slice.
pub(super) fn merge_movements(graph: &mut Graph) -> bool {
    let links = Links::new(graph);
    let found = graph.nodes.iter().enumerate().find_map(|(index, node)| {
        let (_, previous) = links.producer(graph, node.inputs[0])?;
        let op = match (&previous.op, &node.op) {
            (Op::Reshape, Op::Reshape) => Op::Reshape,
            (Op::Transpose { perm: first }, Op::Transpose { perm: second }) => Op::Transpose {
                perm: second.map(|axis| first[axis]),
            },
            (
                Op::Pad {
                    before: a,
                    value: x,
                },
                Op::Pad {
                    before: b,
                    value: y,
                },
            ) if x == y => Op::Pad {
                before: [a[0] + b[0], a[1] + b[1], a[2] + b[2]],
                value: *x,
            },
            (Op::Slice { start: a, step: s }, Op::Slice { start: b, step: t }) => Op::Slice {
                start: [0, 1, 2].map(|i| a[i] + b[i] * s[i]),
                step: [0, 1, 2].map(|i| s[i] * t[i]),
            },
            _ => return None,
        };
        fits_package(&op).then_some((index, op, previous.inputs[0]))
    });
    let Some((index, op, input)) = found else {
        return false;
    };
    graph.nodes[index].op = op;
    graph.nodes[index].inputs[0] = input;
    true
}

/// Whether the numbers of a merged operator fit those of a package.
fn fits_package(op: &Op) -> bool {
    let short = |numbers: &[usize; 3]| numbers.iter().all(|&n| u16::try_from(n).is_ok());
    match op {
        Op::Pad { before, .. } => short(before),
        Op::Slice { step, .. } => short(step),
        _ => true,
    }
}

/// A convolution of one element that reads every n-th position strides over the others.
pub(super) fn stride_over_slice(graph: &mut Graph) -> bool {
    let links = Links::new(graph);
    let found = graph.nodes.iter().enumerate().find_map(|(index, node)| {
        let (_, previous) = links.producer(graph, node.inputs[0])?;
        let Op::Slice {
            start: [0, 0, 0],
            step,
        } = previous.op
        else {
            return None;
        };
        let (Op::Conv2d { window, .. } | Op::DepthwiseConv2d { window, .. }) = &node.op else {
            return None;
        };
        let whole = graph.shape(previous.inputs[0])[3] == graph.shape(previous.output)[3];
        let point = window.kernel == [1, 1] && window.pad == [0, 0];
        let mut stride = window.stride;
        for i in 0..2 {
            stride[i] = stride[i].checked_mul(u16::try_from(step[i]).ok()?)?;
        }
        (whole && point).then_some((index, stride, previous.inputs[0]))
    });
    let Some((index, new, input)) = found else {
        return false;
    };
    let node = &mut graph.nodes[index];
    if let Op::Conv2d { window, .. } | Op::DepthwiseConv2d { window, .. } = &mut node.op {
        window.stride = new;
    }
    node.inputs[0] = input;
    true
}

/// Every reader of `from` reads `to` instead.
pub(super) fn redirect(graph: &mut Graph, from: TensorId, to: TensorId) {
    let inputs = graph.nodes.iter_mut().flat_map(|node| &mut node.inputs);
    let outputs = graph.outputs.iter_mut().map(|port| &mut port.tensor);
    for id in inputs.chain(outputs) {
        if *id == from {
            *id = to;
        }
    }
}

/// Leaves out tensors that are gone; the others are numbered in order of execution. Gives the new
/// numbers.
pub(super) fn renumber(graph: &mut Graph) -> Vec<Option<TensorId>> {
    let inputs = graph.inputs.iter().map(|port| port.tensor);
    let order: Vec<TensorId> = inputs
        .chain(graph.nodes.iter().map(|node| node.output))
        .collect();
    let mut number = vec![0; graph.tensors.len()];
    for (new, &old) in order.iter().enumerate() {
        number[old] = new;
    }
    graph.tensors = order
        .iter()
        .map(|&old| graph.tensors[old].clone())
        .collect();
    for node in &mut graph.nodes {
        node.inputs
            .iter_mut()
            .chain([&mut node.output])
            .for_each(|id| *id = number[*id]);
    }
    let ports = graph.inputs.iter_mut().chain(&mut graph.outputs);
    ports.for_each(|port| port.tensor = number[port.tensor]);
    let mut places = vec![None; number.len()];
    order
        .iter()
        .for_each(|&old| places[old] = Some(number[old]));
    places
}
