//! Every operator against its definition, written as plainly as possible.

use super::*;
use crate::graph::{
    Activation, BinaryKind, Layout, Linear, Port, ResizeCoordinates, ResizeKind, Shape, TensorInfo,
    UnaryKind, Window,
};

/// A graph of one node.
fn single(op: Op, inputs: &[Shape], output: Shape) -> Graph {
    let port = |tensor: usize, shape: Shape| Port {
        name: format!("t{tensor}"),
        tensor,
        source_shape: shape.to_vec(),
        layout: Layout::Nhwc,
    };
    let shapes = inputs.iter().chain([&output]);
    let graph = Graph {
        name: "test".into(),
        source_hash: [0; 32],
        source_bytes: 0,
        inputs: inputs
            .iter()
            .enumerate()
            .map(|(i, &shape)| port(i, shape))
            .collect(),
        outputs: vec![port(inputs.len(), output)],
        tensors: shapes.map(|&shape| TensorInfo { shape }).collect(),
        nodes: vec![Node {
            name: "node".into(),
            op,
            inputs: (0..inputs.len()).collect(),
            output: inputs.len(),
        }],
    };
    graph.validate().unwrap();
    graph
}

/// Values that differ from each other, between -2 and 2.
fn values(count: usize, seed: usize) -> Vec<f32> {
    (0..count)
        .map(|i| ((i * 7919 + seed * 104_729) % 401) as f32 / 100.0 - 2.0)
        .collect()
}

fn size(shape: Shape) -> usize {
    shape.iter().product()
}

fn index(shape: Shape, y: usize, x: usize, c: usize) -> usize {
    (y * shape[2] + x) * shape[3] + c
}

fn assert_close(actual: &[f32], expected: &[f32]) {
    assert_eq!(actual.len(), expected.len());
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        assert!(
            (a - e).abs() <= 1e-4 * e.abs().max(1.0),
            "element {i}: {a}, not {e}"
        );
    }
}

/// The element of the input under tap `(ky, kx)` of output `(y, x)`, if it is inside.
fn under(input: Shape, window: Window, at: [usize; 2], tap: [usize; 2]) -> Option<[usize; 2]> {
    let mut out = [0; 2];
    for i in 0..2 {
        let from = (at[i] * usize::from(window.stride[i])) as isize - window.pad[i] as isize
            + (tap[i] * usize::from(window.dilation[i])) as isize;
        out[i] = usize::try_from(from)
            .ok()
            .filter(|&from| from < input[i + 1])?;
    }
    Some(out)
}

fn naive_conv(
    linear: &Linear,
    window: Window,
    groups: usize,
    (input, shape): (&[f32], Shape),
    out: Shape,
) -> Vec<f32> {
    let [_, kh, kw, inner] = linear.shape;
    let (low, high) = linear.activation.bounds();
    let mut result = Vec::new();
    for y in 0..out[1] {
        for x in 0..out[2] {
            for o in 0..out[3] {
                let first = o / (out[3] / groups) * inner;
                let mut sum = f64::from(linear.bias[o]);
                for ky in 0..kh {
                    for kx in 0..kw {
                        let Some([iy, ix]) = under(shape, window, [y, x], [ky, kx]) else {
                            continue;
                        };
                        for c in 0..inner {
                            let w = linear.weights[((o * kh + ky) * kw + kx) * inner + c];
                            sum += f64::from(w * input[index(shape, iy, ix, first + c)]);
                        }
                    }
                }
                result.push((sum as f32).max(low).min(high));
            }
        }
    }
    result
}

fn windows() -> Vec<Window> {
    let window = |kernel, stride, dilation, pad| Window {
        kernel,
        stride,
        dilation,
        pad,
    };
    vec![
        window([1, 1], [1, 1], [1, 1], [0, 0]),
        window([1, 1], [2, 2], [1, 1], [0, 0]),
        window([3, 3], [1, 1], [1, 1], [1, 1]),
        window([3, 3], [2, 2], [1, 1], [0, 1]),
        window([3, 2], [1, 2], [2, 1], [2, 0]),
        window([5, 3], [2, 1], [1, 2], [2, 2]),
    ]
}

fn output_size(input: Shape, window: Window, channels: usize) -> Shape {
    let side = |i: usize| {
        let reach = (usize::from(window.kernel[i]) - 1) * usize::from(window.dilation[i]) + 1;
        (input[i + 1] + 2 * usize::from(window.pad[i]) - reach) / usize::from(window.stride[i]) + 1
    };
    [1, side(0), side(1), channels]
}

#[test]
fn convolutions_match_their_definition() {
    let input = [1, 9, 8, 6];
    for (seed, window) in windows().into_iter().enumerate() {
        for groups in [1, 2, 3] {
            let shape = [
                12,
                usize::from(window.kernel[0]),
                usize::from(window.kernel[1]),
                6 / groups,
            ];
            let linear = Linear {
                shape,
                weights: values(size(shape), seed),
                bias: values(12, seed + 1),
                activation: [
                    Activation::Relu,
                    Activation::None,
                    Activation::Clamp {
                        min: -1.0,
                        max: 2.0,
                    },
                ][groups - 1],
            };
            let out = output_size(input, window, 12);
            let x = values(size(input), seed + 2);
            let expected = naive_conv(&linear, window, groups, (&x, input), out);
            let graph = single(
                Op::Conv2d {
                    linear,
                    window,
                    groups,
                },
                &[input],
                out,
            );
            assert_close(&run(&graph, &[x])[0], &expected);
        }
    }
}

#[test]
fn depthwise_convolutions_are_grouped_ones_with_a_group_for_each_channel() {
    for channels in [3, 32, 37, 70] {
        let input = [1, 9, 8, channels];
        for (seed, window) in windows().into_iter().enumerate() {
            let [kh, kw] = window.kernel.map(usize::from);
            let taps = kh * kw;
            let weights = values(taps * channels, seed);
            let bias = values(channels, seed + 1);
            let activation = Activation::Clamp { min: 0.0, max: 3.0 };
            let grouped = Linear {
                shape: [channels, kh, kw, 1],
                weights: (0..channels)
                    .flat_map(|c| (0..taps).map(move |t| (c, t)))
                    .map(|(c, t)| weights[t * channels + c])
                    .collect(),
                bias: bias.clone(),
                activation,
            };
            let out = output_size(input, window, channels);
            let x = values(size(input), seed + 2);
            let expected = naive_conv(&grouped, window, channels, (&x, input), out);
            let linear = Linear {
                shape: [1, kh, kw, channels],
                weights,
                bias,
                activation,
            };
            let graph = single(Op::DepthwiseConv2d { linear, window }, &[input], out);
            assert_close(&run(&graph, &[x])[0], &expected);
        }
    }
}

#[test]
fn fully_connected_layers_act_on_each_row() {
    let input = [1, 2, 3, 5];
    let linear = Linear {
        shape: [4, 1, 1, 5],
        weights: values(20, 1),
        bias: values(4, 2),
        activation: Activation::None,
    };
    let x = values(size(input), 3);
    let out = [1, 2, 3, 4];
    let point = crate::graph::POINT;
    let expected = naive_conv(&linear, point, 1, (&x, input), out);
    let graph = single(Op::FullyConnected { linear }, &[input], out);
    assert_close(&run(&graph, &[x])[0], &expected);
}

#[test]
fn binary_operators_broadcast_the_second_operand() {
    let first = [1, 2, 3, 4];
    for second in [
        [1, 2, 3, 4],
        [1, 1, 1, 4],
        [1, 2, 3, 1],
        [1, 1, 3, 4],
        [1, 2, 1, 1],
        [1, 1, 1, 1],
    ] {
        for (kind, f) in [
            (BinaryKind::Add, (|a, b| a + b) as fn(f32, f32) -> f32),
            (BinaryKind::Sub, |a, b| a - b),
            (BinaryKind::Mul, |a, b| a * b),
            (BinaryKind::Max, f32::max),
            (BinaryKind::Min, f32::min),
        ] {
            let (a, b) = (values(size(first), 1), values(size(second), 2));
            let mut expected = Vec::new();
            for y in 0..2 {
                for x in 0..3 {
                    for c in 0..4 {
                        let other = index(second, y % second[1], x % second[2], c % second[3]);
                        expected.push(f(a[index(first, y, x, c)], b[other]).max(0.0));
                    }
                }
            }
            let op = Op::Binary {
                kind,
                activation: Activation::Relu,
            };
            let graph = single(op, &[first, second], first);
            assert_close(&run(&graph, &[a, b])[0], &expected);
        }
    }
}

#[test]
fn poolings_match_their_definition() {
    let input = [1, 9, 8, 3];
    for window in windows() {
        let out = output_size(input, window, 3);
        let x = values(size(input), 4);
        let [kh, kw] = window.kernel.map(usize::from);
        let (mut max, mut inside, mut whole) = (Vec::new(), Vec::new(), Vec::new());
        for y in 0..out[1] {
            for column in 0..out[2] {
                for c in 0..3 {
                    let taps = (0..kh).flat_map(|ky| (0..kw).map(move |kx| [ky, kx]));
                    let read: Vec<f32> = taps
                        .filter_map(|tap| under(input, window, [y, column], tap))
                        .map(|[iy, ix]| x[index(input, iy, ix, c)])
                        .collect();
                    let sum: f32 = read.iter().sum();
                    max.push(read.iter().copied().fold(f32::NEG_INFINITY, f32::max));
                    inside.push(sum / read.len() as f32);
                    whole.push(sum / (kh * kw) as f32);
                }
            }
        }
        let result = |op: Op| run(&single(op, &[input], out), std::slice::from_ref(&x)).concat();
        assert_close(&result(Op::MaxPool2d { window }), &max);
        let average = |count_include_pad| Op::AveragePool2d {
            window,
            count_include_pad,
        };
        assert_close(&result(average(false)), &inside);
        assert_close(&result(average(true)), &whole);
    }
}

#[test]
fn means_and_softmax_are_over_space_and_over_channels() {
    let input = [1, 2, 2, 3];
    let x: Vec<f32> = (0..12).map(|i| i as f32).collect();
    let graph = single(Op::Mean, &[input], [1, 1, 1, 3]);
    assert_close(&run(&graph, std::slice::from_ref(&x))[0], &[4.5, 5.5, 6.5]);
    let graph = single(Op::Softmax, &[input], input);
    let expected = [0.090_030_57, 0.244_728_48, 0.665_240_94].repeat(4);
    assert_close(&run(&graph, &[x])[0], &expected);
}

#[test]
fn movements_put_elements_where_they_say() {
    let input = [1, 2, 3, 2];
    let x: Vec<f32> = (0..12).map(|i| i as f32).collect();
    let result =
        |op: Op, out: Shape| run(&single(op, &[input], out), std::slice::from_ref(&x)).concat();
    let transposed = result(Op::Transpose { perm: [0, 3, 1, 2] }, [1, 2, 2, 3]);
    assert_eq!(
        transposed,
        [0., 2., 4., 6., 8., 10., 1., 3., 5., 7., 9., 11.]
    );
    let slice = Op::Slice {
        start: [1, 0, 1],
        step: [1, 2, 1],
    };
    assert_eq!(result(slice, [1, 1, 2, 1]), [7., 11.]);
    let padded = result(
        Op::Pad {
            before: [1, 0, 1],
            value: 9.0,
        },
        [1, 3, 4, 3],
    );
    assert_eq!(padded[..12], [9.0; 12]);
    assert_eq!(padded[12..18], [9., 0., 1., 9., 2., 3.]);
    let joined = single(Op::Concat { axis: 3 }, &[input, [1, 2, 3, 1]], [1, 2, 3, 3]);
    let joined = run(&joined, &[x.clone(), vec![-1.0; 6]]).concat();
    assert_eq!(joined[..6], [0., 1., -1., 2., 3., -1.]);
    let square = Op::Unary {
        kind: UnaryKind::Square,
    };
    assert_eq!(result(square, input)[3], 9.0);
}

#[test]
fn resizing_reads_where_the_coordinates_say() {
    let input = [1, 1, 4, 1];
    let x = vec![0.0, 1.0, 2.0, 3.0];
    let resize = |kind, coordinates, width| {
        let op = Op::Resize { kind, coordinates };
        run(
            &single(op, &[input], [1, 1, width, 1]),
            std::slice::from_ref(&x),
        )
        .concat()
    };
    let nearest = resize(ResizeKind::Nearest, ResizeCoordinates::Asymmetric, 8);
    assert_eq!(nearest, [0., 0., 1., 1., 2., 2., 3., 3.]);
    let bilinear = resize(ResizeKind::Bilinear, ResizeCoordinates::HalfPixel, 8);
    assert_close(&bilinear, &[0., 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.]);
    let corners = resize(ResizeKind::Bilinear, ResizeCoordinates::AlignCorners, 7);
    assert_close(&corners, &[0., 0.5, 1., 1.5, 2., 2.5, 3.]);
}

#[test]
fn every_node_is_observed_and_buffers_are_reused() {
    let shape = [1, 1, 1, 3];
    let mut graph = single(
        Op::Unary {
            kind: UnaryKind::Affine { a: 2.0, b: 1.0 },
        },
        &[shape],
        shape,
    );
    for index in 1..4 {
        let mut node = graph.nodes[0].clone();
        node.name = format!("node{index}");
        node.inputs = vec![index];
        node.output = index + 1;
        graph.tensors.push(TensorInfo { shape });
        graph.nodes.push(node);
    }
    graph.outputs[0].tensor = 4;
    let mut seen = Vec::new();
    let output = run_with(&graph, &[vec![0.0, 1.0, 2.0]], |index, values| {
        seen.push((index, values[0]))
    });
    assert_eq!(seen, [(0, 1.0), (1, 3.0), (2, 7.0), (3, 15.0)]);
    assert_eq!(output[0], [15.0, 31.0, 47.0]);
}
