//! Batch normalization and other affine maps, one factor and term per channel, fold into a
//! neighbouring linear operator.

use super::{absorb_consumer, absorb_producer, find_pair};
use crate::graph::{Activation, Graph, Op, POINT, UnaryKind, Window};

/// `a x + b` for all channels alike or for each.
enum Affine {
    Uniform(f32, f32),
    Channels(Vec<f32>, Vec<f32>),
}

impl Affine {
    fn of(op: &Op) -> Option<Self> {
        match op {
            Op::Unary {
                kind: UnaryKind::Affine { a, b },
            } => Some(Self::Uniform(*a, *b)),
            Op::DepthwiseConv2d { linear, window }
                if *window == POINT && linear.activation == Activation::None =>
            {
                Some(Self::Channels(linear.weights.clone(), linear.bias.clone()))
            }
            _ => None,
        }
    }

    fn at(&self, channel: usize) -> (f32, f32) {
        match self {
            Self::Uniform(a, b) => (*a, *b),
            Self::Channels(a, b) => (a[channel], b[channel]),
        }
    }

    /// Whether `act(x)` followed by this is this (without activation) followed by another clamp.
    fn passes(&self, activation: Activation) -> bool {
        match (activation, self) {
            (Activation::None, _) => true,
            (_, Self::Uniform(a, _)) => *a > 0.0,
            (Activation::Relu, Self::Channels(a, b)) => {
                a.iter().all(|&a| a > 0.0) && b.iter().all(|&b| b == 0.0)
            }
            _ => false,
        }
    }
}

/// Two uniform maps in a row become one.
pub(super) fn merge(graph: &mut Graph) -> bool {
    let pair = find_pair(graph, |first, second| {
        merged(&first.op, &second.op).is_some()
    });
    let Some((first, second)) = pair else {
        return false;
    };
    if let Some(op) = merged(&graph.nodes[first].op, &graph.nodes[second].op) {
        graph.nodes[second].op = op;
    }
    absorb_producer(graph, first, second);
    true
}

/// Two uniform maps as one, if it is finite.
fn merged(first: &Op, second: &Op) -> Option<Op> {
    let uniform = |op: &Op| match Affine::of(op) {
        Some(Affine::Uniform(a, b)) => Some((a, b)),
        _ => None,
    };
    let ((a, b), (c, d)) = (uniform(first)?, uniform(second)?);
    let (a, b) = (a * c, b * c + d);
    let kind = UnaryKind::Affine { a, b };
    (a.is_finite() && b.is_finite()).then_some(Op::Unary { kind })
}

/// A map after a linear operator scales its weights.
pub(super) fn fold_into_producer(graph: &mut Graph) -> bool {
    let pair = find_pair(graph, |first, second| {
        scaled_producer(&first.op, &second.op).is_some()
    });
    let Some((first, second)) = pair else {
        return false;
    };
    if let Some(op) = scaled_producer(&graph.nodes[first].op, &graph.nodes[second].op) {
        graph.nodes[first].op = op;
    }
    absorb_consumer(graph, first, second);
    true
}

/// A linear operator followed by a map as one, if its constants stay finite.
fn scaled_producer(first: &Op, second: &Op) -> Option<Op> {
    let map = Affine::of(second)?;
    let linear = first.linear()?;
    if !map.passes(linear.activation) {
        return None;
    }
    let mut op = first.clone();
    scale_outputs(&mut op, &map);
    has_finite_constants(&op).then_some(op)
}

fn has_finite_constants(op: &Op) -> bool {
    op.linear().is_none_or(|linear| {
        let mut constants = linear.weights.iter().chain(&linear.bias);
        constants.all(|value| value.is_finite())
    })
}

fn scale_outputs(op: &mut Op, map: &Affine) {
    let depthwise = matches!(op, Op::DepthwiseConv2d { .. });
    let Some(linear) = op.linear_mut() else {
        return;
    };
    let outputs = linear.bias.len().max(1);
    let row = (linear.weights.len() / outputs).max(1);
    for (index, weight) in linear.weights.iter_mut().enumerate() {
        let channel = if depthwise {
            index % outputs
        } else {
            index / row
        };
        *weight *= map.at(channel).0;
    }
    for (channel, bias) in linear.bias.iter_mut().enumerate() {
        let (a, b) = map.at(channel);
        *bias = *bias * a + b;
    }
    if let Activation::Clamp { min, max } = &mut linear.activation {
        let (a, b) = map.at(0);
        *min = *min * a + b;
        *max = *max * a + b;
    } else if let (Activation::Relu, (_, b)) = (linear.activation, map.at(0))
        && b != 0.0
    {
        linear.activation = Activation::Clamp {
            min: b,
            max: f32::INFINITY,
        };
    }
}

/// A map before a linear operator scales its weights and moves its bias. Exact where no tap reads
/// padding, and everywhere if the map keeps zero.
pub(super) fn fold_into_consumer(graph: &mut Graph) -> bool {
    let shapes: Vec<_> = graph.tensors.iter().map(|tensor| tensor.shape).collect();
    let pair = find_pair(graph, |first, second| {
        let Some(map) = Affine::of(&first.op) else {
            return false;
        };
        let keeps_zero = match &map {
            Affine::Uniform(_, b) => *b == 0.0,
            Affine::Channels(_, b) => b.iter().all(|&b| b == 0.0),
        };
        let inside = match &second.op {
            Op::Conv2d { window, .. } | Op::DepthwiseConv2d { window, .. } => {
                reads_no_padding(*window, shapes[second.inputs[0]], shapes[second.output])
            }
            Op::FullyConnected { .. } => true,
            _ => return false,
        };
        (keeps_zero || inside) && has_finite_constants(&scaled_consumer(&map, &second.op))
    });
    let Some((first, second)) = pair else {
        return false;
    };
    if let Some(map) = Affine::of(&graph.nodes[first].op) {
        graph.nodes[second].op = scaled_consumer(&map, &graph.nodes[second].op);
    }
    absorb_producer(graph, first, second);
    true
}

/// A linear operator after a map, as one.
fn scaled_consumer(map: &Affine, second: &Op) -> Op {
    let mut op = second.clone();
    scale_inputs(&mut op, map);
    op
}

fn reads_no_padding(window: Window, input: [usize; 4], output: [usize; 4]) -> bool {
    (0..2).all(|i| {
        let reach = (output[i + 1] - 1) * usize::from(window.stride[i])
            + (usize::from(window.kernel[i]) - 1) * usize::from(window.dilation[i]);
        window.pad[i] == 0 && reach < input[i + 1]
    })
}

fn scale_inputs(op: &mut Op, map: &Affine) {
    let channels = op.weight_channels();
    let (Some(channels), Some(linear)) = (channels, op.linear_mut()) else {
        return;
    };
    let mut terms: Vec<f64> = linear.bias.iter().map(|&bias| f64::from(bias)).collect();
    for (index, weight) in linear.weights.iter_mut().enumerate() {
        let (out, input) = channels(index);
        let (a, b) = map.at(input);
        terms[out] += f64::from(*weight) * f64::from(b);
        *weight *= a;
    }
    linear.bias = terms.into_iter().map(|term| term as f32).collect();
}

#[cfg(test)]
mod tests {
    use super::super::testing::{chain, linear, simplified};
    use super::*;

    fn window(pad: u16) -> Window {
        Window {
            kernel: [3, 3],
            pad: [pad, pad],
            ..POINT
        }
    }

    fn normalization(channels: usize) -> Op {
        Op::DepthwiseConv2d {
            linear: linear([1, 1, 1, channels], channels),
            window: POINT,
        }
    }

    fn conv(groups: usize, pad: u16) -> Op {
        Op::Conv2d {
            linear: linear([6, 3, 3, 4 / groups], 6),
            window: window(pad),
            groups,
        }
    }

    #[test]
    fn a_normalization_after_a_convolution_folds_into_it() {
        for groups in [1, 2] {
            let graph = chain(
                [1, 5, 5, 4],
                vec![
                    (conv(groups, 1), [1, 5, 5, 6]),
                    (normalization(6), [1, 5, 5, 6]),
                ],
            );
            assert_eq!(simplified(&graph).nodes.len(), 1);
        }
    }

    #[test]
    fn a_normalization_before_a_convolution_folds_only_without_padding() {
        for groups in [1, 2] {
            let graph = chain(
                [1, 5, 5, 4],
                vec![
                    (normalization(4), [1, 5, 5, 4]),
                    (conv(groups, 0), [1, 3, 3, 6]),
                ],
            );
            assert_eq!(simplified(&graph).nodes.len(), 1);
            let graph = chain(
                [1, 5, 5, 4],
                vec![
                    (normalization(4), [1, 5, 5, 4]),
                    (conv(groups, 1), [1, 5, 5, 6]),
                ],
            );
            assert_eq!(simplified(&graph).nodes.len(), 2);
        }
    }

    #[test]
    fn a_scale_folds_into_a_padded_depthwise_convolution() {
        let scale = Op::Unary {
            kind: UnaryKind::Affine { a: 0.25, b: 0.0 },
        };
        let depthwise = Op::DepthwiseConv2d {
            linear: linear([1, 3, 3, 4], 4),
            window: window(1),
        };
        let graph = chain(
            [1, 5, 5, 4],
            vec![(scale, [1, 5, 5, 4]), (depthwise, [1, 5, 5, 4])],
        );
        assert_eq!(simplified(&graph).nodes.len(), 1);
    }

    #[test]
    fn a_sum_divided_by_its_count_is_a_mean() {
        let affine = |a| Op::Unary {
            kind: UnaryKind::Affine { a, b: 0.0 },
        };
        let graph = chain(
            [1, 5, 5, 4],
            vec![
                (Op::Mean, [1, 1, 1, 4]),
                (affine(25.0), [1, 1, 1, 4]),
                (affine(1.0 / 25.0), [1, 1, 1, 4]),
            ],
        );
        assert_eq!(simplified(&graph).nodes.len(), 1);
    }
}
