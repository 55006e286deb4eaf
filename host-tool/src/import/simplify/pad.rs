//! Padding as a node of its own merges into the window that follows.

use super::{Links, absorb_producer};
use crate::graph::{Graph, Node, Op, UnaryKind, Window};
use crate::import::reach::reads_everywhere;

/// Merges one pad into a convolution or pooling.
pub(super) fn merge(graph: &mut Graph) -> bool {
    let links = Links::new(graph);
    let found = graph.nodes.iter().enumerate().find_map(|(index, node)| {
        let (pad, previous) = links.private(graph, *node.inputs.first()?)?;
        let op = merged(graph, &links, previous, node)?;
        Some((pad, index, op))
    });
    let Some((pad, index, op)) = found else {
        return false;
    };
    graph.nodes[index].op = op;
    absorb_producer(graph, pad, index);
    true
}

fn merged(graph: &Graph, links: &Links, pad: &Node, node: &Node) -> Option<Op> {
    let Op::Pad { before, value } = &pad.op else {
        return None;
    };
    let (inner, outer) = (graph.shape(pad.inputs[0]), graph.shape(pad.output));
    if before[2] != 0 || inner[3] != outer[3] {
        return None;
    }
    let widen = |window: &Window| {
        let mut window = *window;
        for (pad, &before) in window.pad.iter_mut().zip(before) {
            *pad = pad.checked_add(u16::try_from(before).ok()?)?;
        }
        Some(window)
    };
    let out = graph.shape(node.output);
    let keeps_reading = |window: &Window| {
        widen(window)
            .is_some_and(|window| reads_everywhere(&window, [inner[1], inner[2]], [out[1], out[2]]))
    };
    match &node.op {
        Op::Conv2d {
            linear,
            window,
            groups,
        } if *value == 0.0 && keeps_reading(window) => Some(Op::Conv2d {
            linear: linear.clone(),
            window: widen(window)?,
            groups: *groups,
        }),
        Op::DepthwiseConv2d { linear, window } if *value == 0.0 && keeps_reading(window) => {
            Some(Op::DepthwiseConv2d {
                linear: linear.clone(),
                window: widen(window)?,
            })
        }
        Op::AveragePool2d { window, .. }
            if *value == 0.0 && covers(window, outer, graph.shape(node.output)) =>
        {
            Some(Op::AveragePool2d {
                window: widen(window)?,
                count_include_pad: true,
            })
        }
        Op::MaxPool2d { window }
            if least(graph, links, pad.inputs[0]) >= *value
                && every_window_reads(before, window, inner, outer) =>
        {
            Some(Op::MaxPool2d {
                window: widen(window)?,
            })
        }
        _ => None,
    }
}

/// Whether no window of a pooling reaches beyond its (already padded) input.
fn covers(window: &Window, input: [usize; 4], output: [usize; 4]) -> bool {
    (0..2).all(|i| {
        let reach = (output[i + 1] - 1) * usize::from(window.stride[i])
            + (usize::from(window.kernel[i]) - 1) * usize::from(window.dilation[i]);
        window.pad[i] == 0 && reach < input[i + 1]
    })
}

/// Whether every window has an element that is not padding.
fn every_window_reads(
    before: &[usize; 3],
    window: &Window,
    inner: [usize; 4],
    outer: [usize; 4],
) -> bool {
    (0..2).all(|i| {
        let after = outer[i + 1] - inner[i + 1] - before[i];
        let kernel = usize::from(window.kernel[i]);
        window.dilation[i] == 1 && before[i] < kernel && after < kernel
    })
}

/// A lower bound of a tensor's elements.
fn least(graph: &Graph, links: &Links, tensor: usize) -> f32 {
    let Some((_, node)) = links.producer(graph, tensor) else {
        return f32::NEG_INFINITY;
    };
    match &node.op {
        Op::Binary { activation, .. } => activation.bounds().0,
        Op::Unary {
            kind: UnaryKind::Clamp { min, .. },
        } => *min,
        Op::MaxPool2d { .. } => least(graph, links, node.inputs[0]),
        op => op
            .linear()
            .map_or(f32::NEG_INFINITY, |linear| linear.activation.bounds().0),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{chain, linear, simplified};
    use super::*;
    use crate::graph::{Activation, POINT};

    const PADDED: [usize; 4] = [1, 7, 8, 2];

    fn pad(value: f32) -> (Op, [usize; 4]) {
        (
            Op::Pad {
                before: [1, 2, 0],
                value,
            },
            PADDED,
        )
    }

    fn window() -> Window {
        Window {
            kernel: [3, 3],
            stride: [2, 2],
            ..POINT
        }
    }

    #[test]
    fn zeros_around_a_convolution_become_its_padding() {
        let conv = Op::Conv2d {
            linear: linear([3, 3, 3, 2], 3),
            window: window(),
            groups: 1,
        };
        let graph = chain([1, 5, 5, 2], vec![pad(0.0), (conv.clone(), [1, 3, 3, 3])]);
        assert_eq!(simplified(&graph).nodes.len(), 1);
        let graph = chain([1, 5, 5, 2], vec![pad(1.0), (conv, [1, 3, 3, 3])]);
        assert_eq!(simplified(&graph).nodes.len(), 2);
    }

    #[test]
    fn zeros_around_a_pooling_merge_where_the_result_is_the_same() {
        let average = Op::AveragePool2d {
            window: window(),
            count_include_pad: false,
        };
        let graph = chain([1, 5, 5, 2], vec![pad(0.0), (average, [1, 3, 3, 2])]);
        assert_eq!(simplified(&graph).nodes.len(), 1);
        let max = (Op::MaxPool2d { window: window() }, [1, 3, 3, 2]);
        let graph = chain([1, 5, 5, 2], vec![pad(0.0), max.clone()]);
        assert_eq!(simplified(&graph).nodes.len(), 2);
        let mut layer = linear([2, 1, 1, 2], 2);
        layer.activation = Activation::Relu;
        let layer = (Op::FullyConnected { linear: layer }, [1, 5, 5, 2]);
        let graph = chain([1, 5, 5, 2], vec![layer, pad(0.0), max]);
        assert_eq!(simplified(&graph).nodes.len(), 2);
    }
}
