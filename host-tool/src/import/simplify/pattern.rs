//! Functions that the source model writes as several operators.

use super::{Links, absorb_producer, find_pair};
use crate::graph::{Activation, BinaryKind, Graph, Node, Op, UnaryKind};

/// Two functions in a row that are one.
pub(super) fn fuse_function(graph: &mut Graph) -> bool {
    let pair = find_pair(graph, |first, second| {
        fused(&first.op, &second.op).is_some()
    });
    let Some((first, second)) = pair else {
        return false;
    };
    if let Some(op) = fused(&graph.nodes[first].op, &graph.nodes[second].op) {
        graph.nodes[second].op = op;
    }
    absorb_producer(graph, first, second);
    true
}

fn fused(first: &Op, second: &Op) -> Option<Op> {
    let (Op::Unary { kind: first }, Op::Unary { kind: second }) = (first, second) else {
        return None;
    };
    let kind = match (*first, *second) {
        (UnaryKind::Affine { a, b }, UnaryKind::Clamp { min: 0.0, max: 1.0 }) => {
            UnaryKind::HardSigmoid { a, b }
        }
        (UnaryKind::Sqrt, UnaryKind::Reciprocal) => UnaryKind::Rsqrt,
        (UnaryKind::Abs, UnaryKind::Square) => UnaryKind::Square,
        _ => return None,
    };
    Some(Op::Unary { kind })
}

/// `ln(1 + exp(x))`.
pub(super) fn fuse_softplus(graph: &mut Graph) -> bool {
    let links = Links::new(graph);
    let found = graph.nodes.iter().enumerate().find_map(|(index, node)| {
        let function = |node: &Node| match node.op {
            Op::Unary { kind } => Some(kind),
            _ => None,
        };
        let (_, sum) = links.private(graph, node.inputs[0])?;
        let (_, exponential) = links.private(graph, sum.inputs[0])?;
        let kinds = (function(exponential)?, function(sum)?, function(node)?);
        let one = UnaryKind::Affine { a: 1.0, b: 1.0 };
        (kinds == (UnaryKind::Exp, one, UnaryKind::Log)).then(|| (index, exponential.inputs[0]))
    });
    let Some((index, x)) = found else {
        return false;
    };
    graph.nodes[index].op = Op::Unary {
        kind: UnaryKind::Softplus,
    };
    graph.nodes[index].inputs[0] = x;
    true
}

/// `x f(x)` for the gates that have a name.
pub(super) fn fuse_self_gate(graph: &mut Graph) -> bool {
    let links = Links::new(graph);
    let found = graph.nodes.iter().enumerate().find_map(|(index, node)| {
        let Op::Binary {
            kind: BinaryKind::Mul,
            activation: Activation::None,
        } = node.op
        else {
            return None;
        };
        [[0, 1], [1, 0]].into_iter().find_map(|[x, gate]| {
            let x = node.inputs[x];
            let (_, function) = links.private(graph, node.inputs[gate])?;
            let Op::Unary { kind } = function.op else {
                return None;
            };
            if function.inputs[0] == x {
                return Some((index, gated(kind)?, 1.0, x));
            }
            let (_, inner) = links.private(graph, function.inputs[0])?;
            match inner.op {
                Op::Unary { kind: first } if inner.inputs[0] == x => {
                    let (kind, factor) = gated_twice(first, kind)?;
                    Some((index, kind, factor, x))
                }
                _ => None,
            }
        })
    });
    let Some((index, kind, factor, x)) = found else {
        return false;
    };
    graph.nodes[index].op = Op::Unary { kind };
    graph.nodes[index].inputs = vec![x];
    if factor != 1.0 {
        scale_output(graph, index, factor);
    }
    true
}

/// Appends a factor to a node.
fn scale_output(graph: &mut Graph, index: usize, factor: f32) {
    let mut scale = graph.nodes[index].clone();
    graph.tensors.push(graph.tensors[scale.output].clone());
    let between = graph.tensors.len() - 1;
    graph.nodes[index].output = between;
    scale.inputs = vec![between];
    scale.op = Op::Unary {
        kind: UnaryKind::Affine { a: factor, b: 0.0 },
    };
    graph.nodes.insert(index + 1, scale);
}

fn gated(gate: UnaryKind) -> Option<UnaryKind> {
    let near = |x: f32, y: f32| (x - y).abs() < 1e-6;
    match gate {
        UnaryKind::Sigmoid => Some(UnaryKind::Silu),
        UnaryKind::HardSigmoid { a, b } if near(a, 1.0 / 6.0) && near(b, 0.5) => {
            Some(UnaryKind::HardSwish)
        }
        _ => None,
    }
}

/// `x g(f(x))` as a function and a factor.
fn gated_twice(first: UnaryKind, second: UnaryKind) -> Option<(UnaryKind, f32)> {
    match (first, second) {
        (UnaryKind::Softplus, UnaryKind::Tanh) => Some((UnaryKind::Mish, 1.0)),
        (UnaryKind::Affine { a: 1.0, b: 3.0 }, UnaryKind::Clamp { min: 0.0, max: 6.0 }) => {
            Some((UnaryKind::HardSwish, 6.0))
        }
        _ => None,
    }
}
