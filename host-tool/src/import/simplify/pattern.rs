//! Functions that the source model writes as several operators.

use super::{Links, absorb_producer, find_pair};
use crate::graph::{Activation, BinaryKind, Graph, Op, UnaryKind};

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
        // ln(1 + exp(x)): the sum is in the logarithm already.
        (UnaryKind::Exp, UnaryKind::Softplus) => return None,
        (UnaryKind::Sqrt, UnaryKind::Reciprocal) => UnaryKind::Rsqrt,
        (UnaryKind::Abs, UnaryKind::Square) => UnaryKind::Square,
        _ => return None,
    };
    Some(Op::Unary { kind })
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
            let (gate, function) = links.private(graph, node.inputs[gate])?;
            let Op::Unary { kind } = function.op else {
                return None;
            };
            if function.inputs[0] == x {
                Some((index, gated(kind)?, x))
            } else {
                nested_gate(graph, &links, gate, kind, x).map(|kind| (index, kind, x))
            }
        })
    });
    let Some((index, kind, x)) = found else {
        return false;
    };
    graph.nodes[index].op = Op::Unary { kind };
    graph.nodes[index].inputs = vec![x];
    true
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

/// `x tanh(softplus(x))`.
fn nested_gate(
    graph: &Graph,
    links: &Links,
    gate: usize,
    kind: UnaryKind,
    x: usize,
) -> Option<UnaryKind> {
    let (_, inner) = links.private(graph, graph.nodes[gate].inputs[0])?;
    let softplus = matches!(
        inner.op,
        Op::Unary {
            kind: UnaryKind::Softplus
        }
    );
    (kind == UnaryKind::Tanh && softplus && inner.inputs[0] == x).then_some(UnaryKind::Mish)
}
