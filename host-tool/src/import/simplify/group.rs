//! A convolution whose weights are zero outside of blocks along the diagonal is a grouped one.

use crate::graph::{Graph, Linear, Op};

/// Splits one convolution into as many groups as its zeros allow.
pub(super) fn split(graph: &mut Graph) -> bool {
    let found = graph
        .nodes
        .iter()
        .enumerate()
        .find_map(|(index, node)| match &node.op {
            Op::Conv2d {
                linear, groups: 1, ..
            } => Some((index, blocks(linear).filter(|&g| g > 1)?)),
            _ => None,
        });
    let Some((index, groups)) = found else {
        return false;
    };
    let node = &mut graph.nodes[index];
    if let Op::Conv2d { linear, window, .. } = &node.op {
        let window = *window;
        let linear = grouped(linear, groups);
        node.op = if linear.shape[3] == 1 && linear.shape[0] == groups {
            Op::DepthwiseConv2d {
                linear: depthwise(linear),
                window,
            }
        } else {
            Op::Conv2d {
                linear,
                window,
                groups,
            }
        };
    }
    true
}

/// The greatest number of diagonal blocks outside of which all weights are zero.
fn blocks(linear: &Linear) -> Option<usize> {
    let [outputs, _, _, inputs] = linear.shape;
    let common = |&g: &usize| outputs.is_multiple_of(g) && inputs.is_multiple_of(g);
    (1..=inputs)
        .rev()
        .filter(common)
        .find(|&groups| fits(linear, groups))
}

fn fits(linear: &Linear, groups: usize) -> bool {
    let [outputs, kh, kw, inputs] = linear.shape;
    let (row, inner) = (kh * kw * inputs, inputs / groups);
    linear.weights.iter().enumerate().all(|(index, &weight)| {
        weight == 0.0 || index / row * groups / outputs == index % inputs / inner
    })
}

fn grouped(linear: &Linear, groups: usize) -> Linear {
    let [outputs, kh, kw, inputs] = linear.shape;
    let inner = inputs / groups;
    let taps = linear.weights.chunks_exact(inputs).enumerate();
    let weights = taps.flat_map(|(tap, weights)| {
        let group = tap / (kh * kw) * groups / outputs;
        weights[group * inner..][..inner].iter().copied()
    });
    Linear {
        shape: [outputs, kh, kw, inner],
        weights: weights.collect(),
        bias: linear.bias.clone(),
        activation: linear.activation,
    }
}

/// `[channels, kh, kw, 1]` to `[1, kh, kw, channels]`.
fn depthwise(linear: Linear) -> Linear {
    let [channels, kh, kw, _] = linear.shape;
    let taps = kh * kw;
    let weight = |index: usize| linear.weights[index % channels * taps + index / channels];
    Linear {
        shape: [1, kh, kw, channels],
        weights: (0..linear.weights.len()).map(weight).collect(),
        ..linear
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{chain, linear, simplified};
    use super::*;
    use crate::graph::Window;

    fn dense(outputs: usize, inputs: usize, groups: usize) -> Graph {
        let mut layer = linear([outputs, 3, 3, inputs], outputs);
        for (index, weight) in layer.weights.iter_mut().enumerate() {
            let group = index / (9 * inputs) * groups / outputs;
            if group != index % inputs * groups / inputs {
                *weight = 0.0;
            }
        }
        let window = Window {
            kernel: [3, 3],
            ..crate::graph::POINT
        };
        let op = Op::Conv2d {
            linear: layer,
            window,
            groups: 1,
        };
        chain([1, 5, 5, inputs], vec![(op, [1, 3, 3, outputs])])
    }

    #[test]
    fn block_diagonal_weights_become_groups() {
        let after = simplified(&dense(12, 6, 3));
        assert!(matches!(after.nodes[0].op, Op::Conv2d { groups: 3, .. }));
        let after = simplified(&dense(12, 6, 6));
        assert!(matches!(after.nodes[0].op, Op::Conv2d { groups: 6, .. }));
        let after = simplified(&dense(6, 6, 6));
        assert!(matches!(after.nodes[0].op, Op::DepthwiseConv2d { .. }));
    }
}
