//! Clamps fuse into the operator before them.

use super::{absorb_consumer, find_pair};
use crate::graph::{Activation, Graph, Op, UnaryKind};

/// A clamp after a linear operator, a binary operator or another clamp.
pub(super) fn fuse(graph: &mut Graph) -> bool {
    let pair = find_pair(graph, |first, second| {
        clamp(&second.op).is_some() && activation(&first.op).is_some()
    });
    let Some((first, second)) = pair else {
        return false;
    };
    let bounds = (
        activation(&graph.nodes[first].op),
        clamp(&graph.nodes[second].op),
    );
    if let (Some(old), Some((min, max))) = bounds {
        let (low, high) = old.bounds();
        let fused = from_bounds(low.max(min).min(max), high.max(min).min(max));
        set_activation(&mut graph.nodes[first].op, fused);
    }
    absorb_consumer(graph, first, second);
    true
}

/// A clamp followed by an increasing affine map changes places with it, so that the map can merge
/// with what comes before.
pub(super) fn after_affine(graph: &mut Graph) -> bool {
    let pair = find_pair(graph, |first, second| {
        clamp(&first.op).is_some() && increasing(&second.op).is_some()
    });
    let Some((first, second)) = pair else {
        return false;
    };
    let ops = (
        clamp(&graph.nodes[first].op),
        increasing(&graph.nodes[second].op),
    );
    if let (Some((min, max)), Some((a, b))) = ops {
        graph.nodes[first].op = Op::Unary {
            kind: UnaryKind::Affine { a, b },
        };
        let kind = UnaryKind::Clamp {
            min: min * a + b,
            max: max * a + b,
        };
        graph.nodes[second].op = Op::Unary { kind };
    }
    true
}

fn clamp(op: &Op) -> Option<(f32, f32)> {
    match op {
        Op::Unary {
            kind: UnaryKind::Clamp { min, max },
        } => Some((*min, *max)),
        _ => None,
    }
}

fn increasing(op: &Op) -> Option<(f32, f32)> {
    match op {
        Op::Unary {
            kind: UnaryKind::Affine { a, b },
        } if *a > 0.0 => Some((*a, *b)),
        _ => None,
    }
}

fn activation(op: &Op) -> Option<Activation> {
    match op {
        Op::Binary { activation, .. } => Some(*activation),
        Op::Unary {
            kind: UnaryKind::Clamp { min, max },
        } => Some(from_bounds(*min, *max)),
        _ => op.linear().map(|linear| linear.activation),
    }
}

fn set_activation(op: &mut Op, new: Activation) {
    match op {
        Op::Binary { activation, .. } => *activation = new,
        Op::Unary {
            kind: UnaryKind::Clamp { min, max },
        } => (*min, *max) = new.bounds(),
        _ => {
            if let Some(linear) = op.linear_mut() {
                linear.activation = new;
            }
        }
    }
}

fn from_bounds(min: f32, max: f32) -> Activation {
    match (min, max) {
        (f32::NEG_INFINITY, f32::INFINITY) => Activation::None,
        (0.0, f32::INFINITY) => Activation::Relu,
        _ => Activation::Clamp { min, max },
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{chain, linear, simplified};
    use super::*;

    const SHAPE: [usize; 4] = [1, 2, 3, 4];

    fn unary(kind: UnaryKind) -> (Op, [usize; 4]) {
        (Op::Unary { kind }, SHAPE)
    }

    #[test]
    fn a_maximum_and_a_minimum_become_one_clamp_of_the_layer() {
        let fc = Op::FullyConnected {
            linear: linear([4, 1, 1, 4], 4),
        };
        let graph = chain(
            SHAPE,
            vec![
                (fc, SHAPE),
                unary(UnaryKind::Clamp {
                    min: 0.0,
                    max: f32::INFINITY,
                }),
                unary(UnaryKind::Clamp {
                    min: f32::NEG_INFINITY,
                    max: 1.5,
                }),
            ],
        );
        let after = simplified(&graph);
        assert_eq!(after.nodes.len(), 1);
        let linear = after.nodes[0].op.linear().unwrap();
        assert_eq!(linear.activation, Activation::Clamp { min: 0.0, max: 1.5 });
    }

    #[test]
    fn a_hard_sigmoid_after_a_layer_costs_nothing() {
        let fc = Op::FullyConnected {
            linear: linear([4, 1, 1, 4], 4),
        };
        let graph = chain(
            SHAPE,
            vec![
                (fc, SHAPE),
                unary(UnaryKind::Affine { a: 1.0, b: 3.0 }),
                unary(UnaryKind::Clamp { min: 0.0, max: 6.0 }),
                unary(UnaryKind::Affine {
                    a: 1.0 / 6.0,
                    b: 0.0,
                }),
            ],
        );
        assert_eq!(simplified(&graph).nodes.len(), 1);
    }
}
