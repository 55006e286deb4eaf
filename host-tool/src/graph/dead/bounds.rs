//! Bounds of every channel, for all inputs and all positions, by interval arithmetic.

use super::{negligible, reads_padding};
use crate::graph::{Activation, BinaryKind, Graph, Linear, Node, Op, UnaryKind};
use edgeprune_runtime::math;

/// The least and the greatest value of a channel. Where they are equal the channel is constant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bound {
    pub(super) low: f64,
    pub(super) high: f64,
}

const UNKNOWN: Bound = Bound {
    low: f64::NEG_INFINITY,
    high: f64::INFINITY,
};
const ZERO: Bound = Bound {
    low: 0.0,
    high: 0.0,
};

impl Bound {
    fn hull(self, other: Self) -> Self {
        Self {
            low: self.low.min(other.low),
            high: self.high.max(other.high),
        }
    }

    fn add(self, other: Self) -> Self {
        Self {
            low: self.low + other.low,
            high: self.high + other.high,
        }
    }

    fn scale(self, factor: f64) -> Self {
        if factor == 0.0 {
            return ZERO;
        }
        let (a, b) = (self.low * factor, self.high * factor);
        Self {
            low: a.min(b),
            high: a.max(b),
        }
    }

    fn clamp(self, activation: Activation) -> Self {
        let (min, max) = activation.bounds();
        let clamp = |x: f64| x.max(f64::from(min)).min(f64::from(max));
        Self {
            low: clamp(self.low),
            high: clamp(self.high),
        }
    }

    fn times(self, other: Self) -> Self {
        let product = |a: f64, b: f64| if a == 0.0 || b == 0.0 { 0.0 } else { a * b };
        let corners = [
            product(self.low, other.low),
            product(self.low, other.high),
            product(self.high, other.low),
            product(self.high, other.high),
        ];
        Self {
            low: corners.into_iter().fold(f64::INFINITY, f64::min),
            high: corners.into_iter().fold(f64::NEG_INFINITY, f64::max),
        }
    }
}

/// For each tensor, the bounds of each channel.
pub(super) fn bounds(graph: &Graph) -> Vec<Vec<Bound>> {
    let mut bounds: Vec<Vec<Bound>> = graph
        .tensors
        .iter()
        .map(|tensor| vec![UNKNOWN; tensor.shape[3]])
        .collect();
    for node in &graph.nodes {
        let output = of_node(graph, node, &bounds);
        if output.len() == bounds[node.output].len() {
            bounds[node.output] = output;
        }
    }
    bounds
}

fn of_node(graph: &Graph, node: &Node, known: &[Vec<Bound>]) -> Vec<Bound> {
    let input = &known[node.inputs[0]];
    let shape = graph.shape(node.output);
    let padded = || {
        let zero = if reads_padding(graph, node) {
            Some(ZERO)
        } else {
            None
        };
        input
            .iter()
            .map(|bound| zero.map_or(*bound, |zero| bound.hull(zero)))
            .collect::<Vec<_>>()
    };
    match &node.op {
        Op::Conv2d { linear, groups, .. } => linear_rows(linear, *groups, &padded()),
        Op::FullyConnected { linear } => linear_rows(linear, 1, input),
        Op::DepthwiseConv2d { linear, .. } => depthwise(linear, &padded()),
        Op::Binary { kind, activation } => {
            let other = &known[node.inputs[1]];
            let pair = |(c, a): (usize, &Bound)| {
                binary(*kind, *a, other[if other.len() == 1 { 0 } else { c }]).clamp(*activation)
            };
            input.iter().enumerate().map(pair).collect()
        }
        Op::Unary { kind } => input.iter().map(|bound| unary(*kind, *bound)).collect(),
        Op::Normalize { gain, offset } => {
            let constants = gain.iter().zip(offset);
            let of = |(bound, (&gain, &offset)): (&Bound, (&f32, &f32))| {
                let shift = Bound {
                    low: f64::from(offset),
                    high: f64::from(offset),
                };
                bound.scale(f64::from(gain)).add(shift)
            };
            input.iter().zip(constants).map(of).collect()
        }
        Op::AveragePool2d {
            count_include_pad: true,
            ..
        } => padded(),
        Op::MaxPool2d { .. } | Op::AveragePool2d { .. } | Op::Mean | Op::Resize { .. } => {
            input.clone()
        }
        Op::Slice { start, step } => (0..shape[3])
            .map(|channel| input[start[2] + channel * step[2]])
            .collect(),
        Op::Pad { before, value } => {
            let around = Bound {
                low: f64::from(*value),
                high: f64::from(*value),
            };
            let inside = before[2]..before[2] + input.len();
            let channel = |c: usize| {
                if inside.contains(&c) {
                    input[c - before[2]].hull(around)
                } else {
                    around
                }
            };
            (0..shape[3]).map(channel).collect()
        }
        Op::Concat { axis: 3 } => node
            .inputs
            .iter()
            .flat_map(|&id| known[id].clone())
            .collect(),
        Op::Concat { .. } => (0..shape[3])
            .map(|c| {
                node.inputs
                    .iter()
                    .map(|&id| known[id][c])
                    .reduce(Bound::hull)
                    .unwrap_or(UNKNOWN)
            })
            .collect(),
        Op::Softmax => vec![
            Bound {
                low: 0.0,
                high: 1.0
            };
            shape[3]
        ],
        Op::Reshape | Op::Transpose { .. } if shape[3] == input.len() => match &node.op {
            Op::Transpose { perm } if perm[3] != 3 => vec![UNKNOWN; shape[3]],
            _ => input.clone(),
        },
        Op::Reshape if shape[3].is_multiple_of(input.len()) => (0..shape[3])
            .map(|channel| input[channel % input.len()])
            .collect(),
        Op::Reshape | Op::Transpose { .. } => vec![UNKNOWN; shape[3]],
    }
}

fn linear_rows(linear: &Linear, groups: usize, input: &[Bound]) -> Vec<Bound> {
    let least = negligible(linear);
    let outputs = linear.bias.len();
    let row = linear.weights.len() / outputs.max(1);
    let inner = linear.shape[3].max(1);
    let rows = linear
        .weights
        .chunks_exact(row.max(1))
        .zip(&linear.bias)
        .enumerate();
    rows.map(|(out, (weights, &bias))| {
        let first = out * groups / outputs * inner;
        let start = Bound {
            low: f64::from(bias),
            high: f64::from(bias),
        };
        let read = weights
            .iter()
            .enumerate()
            .filter(|(_, weight)| weight.abs() > least);
        read.fold(start, |sum, (k, &weight)| {
            sum.add(input[first + k % inner].scale(f64::from(weight)))
        })
        .clamp(linear.activation)
    })
    .collect()
}

fn depthwise(linear: &Linear, input: &[Bound]) -> Vec<Bound> {
    let least = negligible(linear);
    let channels = linear.bias.len();
    (0..channels)
        .map(|channel| {
            let bias = f64::from(linear.bias[channel]);
            let taps = linear.weights.iter().skip(channel).step_by(channels);
            taps.filter(|weight| weight.abs() > least)
                .fold(
                    Bound {
                        low: bias,
                        high: bias,
                    },
                    |sum, &weight| sum.add(input[channel].scale(f64::from(weight))),
                )
                .clamp(linear.activation)
        })
        .collect()
}

fn binary(kind: BinaryKind, a: Bound, b: Bound) -> Bound {
    match kind {
        BinaryKind::Add => a.add(b),
        BinaryKind::Sub => a.add(b.scale(-1.0)),
        BinaryKind::Mul => a.times(b),
        BinaryKind::Max => Bound {
            low: a.low.max(b.low),
            high: a.high.max(b.high),
        },
        BinaryKind::Min => Bound {
            low: a.low.min(b.low),
            high: a.high.min(b.high),
        },
    }
}

fn unary(kind: UnaryKind, bound: Bound) -> Bound {
    if bound.low == bound.high {
        let value = f64::from(math::unary(kind, bound.low as f32));
        return if value.is_nan() {
            UNKNOWN
        } else {
            Bound {
                low: value,
                high: value,
            }
        };
    }
    match kind {
        UnaryKind::Clamp { min, max } => bound.clamp(Activation::Clamp { min, max }),
        UnaryKind::Affine { a, b } => bound.scale(f64::from(a)).add(Bound {
            low: f64::from(b),
            high: f64::from(b),
        }),
        UnaryKind::Sigmoid | UnaryKind::HardSigmoid { .. } => Bound {
            low: 0.0,
            high: 1.0,
        },
        UnaryKind::Exp | UnaryKind::Abs | UnaryKind::Square | UnaryKind::Sqrt => Bound {
            low: 0.0,
            high: f64::INFINITY,
        },
        _ => UNKNOWN,
    }
}
