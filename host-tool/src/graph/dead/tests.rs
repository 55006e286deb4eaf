use super::*;
use crate::graph::{Activation, BinaryKind, Layout, Port, TensorInfo, run};

const KERNEL: Window = Window {
    kernel: [3, 3],
    stride: [1, 1],
    dilation: [1, 1],
    pad: [1, 1],
};

/// Grows a graph node by node.
struct Sketch(Graph);

impl Sketch {
    fn new(shape: Shape) -> Self {
        Self(Graph {
            name: "test".into(),
            source_hash: [0; 32],
            source_bytes: 0,
            inputs: vec![port(0, shape)],
            outputs: Vec::new(),
            tensors: vec![TensorInfo { shape }],
            nodes: Vec::new(),
        })
    }

    fn node(&mut self, op: Op, inputs: &[usize], shape: Shape) -> usize {
        self.0.tensors.push(TensorInfo { shape });
        let output = self.0.tensors.len() - 1;
        self.0.nodes.push(Node {
            name: format!("n{output}"),
            op,
            inputs: inputs.to_vec(),
            output,
        });
        output
    }

    fn finish(mut self, output: usize) -> Graph {
        self.0.outputs.push(port(output, self.0.shape(output)));
        self.0.validate().unwrap();
        self.0
    }
}

fn port(tensor: usize, shape: Shape) -> Port {
    Port {
        name: format!("t{tensor}"),
        tensor,
        source_shape: shape.to_vec(),
        layout: Layout::Nhwc,
    }
}

fn layer(shape: Shape, outputs: usize) -> Linear {
    let value = |i: usize| ((i * 37 + 11) % 23) as f32 / 10.0 - 1.05;
    Linear {
        shape,
        weights: (0..shape.iter().product()).map(value).collect(),
        bias: (0..outputs).map(|i| value(i * 5 + 1)).collect(),
        activation: Activation::Relu,
    }
}

/// Makes an output channel of a (non-depthwise) layer ignore its input.
fn deaden(linear: &mut Linear, output: usize, bias: f32) {
    let row = linear.weights.len() / linear.bias.len();
    linear.weights[output * row..][..row].fill(1e-30);
    linear.bias[output] = bias;
}

/// Removes dead channels and checks that the output stays the same.
fn cleaned(graph: &Graph) -> (Graph, DeadChannels) {
    let input: Vec<f32> = (0..graph.tensors[0].elements())
        .map(|i| ((i * 29) % 31) as f32 / 8.0 - 2.0)
        .collect();
    let expected = run(graph, std::slice::from_ref(&input)).concat();
    let (after, report) = remove_dead_channels(graph.clone());
    after.validate().unwrap();
    let actual = run(&after, &[input]).concat();
    assert_eq!(actual.len(), expected.len());
    for (a, e) in actual.iter().zip(&expected) {
        assert!((a - e).abs() <= 1e-5 * e.abs().max(1.0), "{e} became {a}");
    }
    (after, report)
}

/// conv -> depthwise -> conv, as in MobileNet.
fn separable(first: Linear, depthwise: Linear) -> Graph {
    let mut sketch = Sketch::new([1, 5, 5, 2]);
    let a = sketch.node(
        Op::Conv2d {
            linear: first,
            window: KERNEL,
            groups: 1,
        },
        &[0],
        [1, 5, 5, 4],
    );
    let b = sketch.node(
        Op::DepthwiseConv2d {
            linear: depthwise,
            window: KERNEL,
        },
        &[a],
        [1, 5, 5, 4],
    );
    let last = Op::Conv2d {
        linear: layer([3, 1, 1, 4], 3),
        window: crate::graph::POINT,
        groups: 1,
    };
    let c = sketch.node(last, &[b], [1, 5, 5, 3]);
    sketch.finish(c)
}

#[test]
fn a_negative_bias_without_weights_is_dead_through_a_depthwise_convolution() {
    let mut first = layer([4, 3, 3, 2], 4);
    deaden(&mut first, 1, -0.5);
    let (after, report) = cleaned(&separable(first, layer([1, 3, 3, 4], 4)));
    assert_eq!(after.shape(1)[3], 3);
    assert_eq!(report.removed, 2);
    assert_eq!(
        report.by_node,
        [("n1".to_string(), 4, 3), ("n2".to_string(), 4, 3)]
    );
}

#[test]
fn a_positive_constant_before_zero_padding_stays() {
    let mut first = layer([4, 3, 3, 2], 4);
    deaden(&mut first, 1, 0.5);
    let mut depthwise = layer([1, 3, 3, 4], 4);
    depthwise.bias[1] = 2.0;
    let (_, report) = cleaned(&separable(first, depthwise));
    assert_eq!(report.removed, 0);
}

#[test]
fn a_constant_moves_to_the_bias_of_a_layer_without_padding() {
    let mut sketch = Sketch::new([1, 1, 1, 6]);
    let mut first = layer([5, 1, 1, 6], 5);
    deaden(&mut first, 0, 0.75);
    deaden(&mut first, 4, -0.75);
    let a = sketch.node(Op::FullyConnected { linear: first }, &[0], [1, 1, 1, 5]);
    let b = sketch.node(
        Op::FullyConnected {
            linear: layer([3, 1, 1, 5], 3),
        },
        &[a],
        [1, 1, 1, 3],
    );
    let (after, report) = cleaned(&sketch.finish(b));
    assert_eq!((after.shape(1)[3], report.removed), (3, 2));
}

#[test]
fn a_relu_that_weights_can_never_open_is_dead() {
    let mut sketch = Sketch::new([1, 1, 1, 6]);
    let a = sketch.node(
        Op::FullyConnected {
            linear: layer([5, 1, 1, 6], 5),
        },
        &[0],
        [1, 1, 1, 5],
    );
    let mut second = layer([4, 1, 1, 5], 4);
    second.weights[5..10].iter_mut().for_each(|w| *w = -w.abs());
    second.bias[1] = -0.1;
    let b = sketch.node(Op::FullyConnected { linear: second }, &[a], [1, 1, 1, 4]);
    let c = sketch.node(
        Op::FullyConnected {
            linear: layer([3, 1, 1, 4], 3),
        },
        &[b],
        [1, 1, 1, 3],
    );
    let (_, report) = cleaned(&sketch.finish(c));
    assert_eq!(report.by_node, [("n2".to_string(), 4, 3)]);
}

#[test]
fn a_channel_that_nothing_reads_is_removed_with_what_it_alone_reads() {
    let mut sketch = Sketch::new([1, 1, 1, 6]);
    let a = sketch.node(
        Op::FullyConnected {
            linear: layer([5, 1, 1, 6], 5),
        },
        &[0],
        [1, 1, 1, 5],
    );
    let mut second = layer([4, 1, 1, 5], 4);
    (0..4)
        .filter(|&o| o != 2)
        .for_each(|o| second.weights[o * 5 + 3] = 0.0);
    let b = sketch.node(Op::FullyConnected { linear: second }, &[a], [1, 1, 1, 4]);
    let mut third = layer([3, 1, 1, 4], 3);
    (0..3).for_each(|o| third.weights[o * 4 + 2] = 0.0);
    let c = sketch.node(Op::FullyConnected { linear: third }, &[b], [1, 1, 1, 3]);
    let (_, report) = cleaned(&sketch.finish(c));
    assert_eq!(
        report.by_node,
        [("n1".to_string(), 5, 4), ("n2".to_string(), 4, 3)]
    );
}

#[test]
fn a_residual_keeps_a_channel_that_one_of_its_branches_needs() {
    let mut sketch = Sketch::new([1, 1, 1, 6]);
    let a = sketch.node(
        Op::FullyConnected {
            linear: layer([5, 1, 1, 6], 5),
        },
        &[0],
        [1, 1, 1, 5],
    );
    let mut branch = layer([5, 1, 1, 5], 5);
    deaden(&mut branch, 2, -1.0);
    let b = sketch.node(Op::FullyConnected { linear: branch }, &[a], [1, 1, 1, 5]);
    let add = Op::Binary {
        kind: BinaryKind::Add,
        activation: Activation::None,
    };
    let c = sketch.node(add, &[a, b], [1, 1, 1, 5]);
    let d = sketch.node(
        Op::FullyConnected {
            linear: layer([3, 1, 1, 5], 3),
        },
        &[c],
        [1, 1, 1, 3],
    );
    let (_, report) = cleaned(&sketch.finish(d));
    assert_eq!(report.removed, 0);
}

#[test]
fn flattening_removes_a_channel_at_every_position() {
    let mut sketch = Sketch::new([1, 5, 5, 2]);
    let mut first = layer([4, 3, 3, 2], 4);
    deaden(&mut first, 3, 0.25);
    let a = sketch.node(
        Op::Conv2d {
            linear: first,
            window: KERNEL,
            groups: 1,
        },
        &[0],
        [1, 5, 5, 4],
    );
    let b = sketch.node(Op::Reshape, &[a], [1, 1, 1, 100]);
    let c = sketch.node(
        Op::FullyConnected {
            linear: layer([3, 1, 1, 100], 3),
        },
        &[b],
        [1, 1, 1, 3],
    );
    let (after, report) = cleaned(&sketch.finish(c));
    assert_eq!((after.shape(2)[3], report.removed), (75, 1));
}

#[test]
fn a_network_whose_channels_are_all_dead_keeps_one_of_each() {
    let mut first = layer([4, 3, 3, 2], 4);
    first.weights.fill(0.0);
    first.bias.fill(-1.0);
    let (after, _) = cleaned(&separable(first, layer([1, 3, 3, 4], 4)));
    assert_eq!((after.shape(1)[3], after.shape(2)[3]), (1, 1));
}
