//! Every operator's gradient against finite differences of its evaluation.

use super::*;
use crate::graph::{
    BinaryKind, Layout, Linear, Port, ResizeCoordinates, ResizeKind, Shape, TensorInfo, UnaryKind,
    Window, run,
};

/// A graph under construction.
struct Sketch(Graph);

impl Sketch {
    fn new(inputs: &[Shape]) -> Self {
        let ports = inputs.iter().enumerate();
        Self(Graph {
            name: "test".into(),
            source_hash: [0; 32],
            source_bytes: 0,
            inputs: ports.map(|(i, &shape)| port(i, shape)).collect(),
            outputs: Vec::new(),
            tensors: inputs.iter().map(|&shape| TensorInfo { shape }).collect(),
            nodes: Vec::new(),
        })
    }

    fn node(&mut self, op: Op, inputs: &[usize], shape: Shape) -> usize {
        let output = self.0.tensors.len();
        self.0.tensors.push(TensorInfo { shape });
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

fn single(op: Op, inputs: &[Shape], output: Shape) -> Graph {
    let mut sketch = Sketch::new(inputs);
    let ids: Vec<usize> = (0..inputs.len()).collect();
    let output = sketch.node(op, &ids, output);
    sketch.finish(output)
}

fn size(shape: Shape) -> usize {
    shape.iter().product()
}

/// Values between -2 and 2. Those of one seed are 0.01 apart or equal, equal only if 401 apart in
/// position; those of different seeds and the multiples of 0.01 are 0.001 apart at least.
fn values(count: usize, seed: usize) -> Vec<f32> {
    let offset = 0.0013 + 0.0011 * (seed % 7) as f32;
    (0..count)
        .map(|i| ((i * 7919 + seed * 104_729) % 401) as f32 / 100.0 - 2.0 + offset)
        .collect()
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(&a, &b)| f64::from(a) * f64::from(b))
        .sum()
}

fn moved(x: &[f32], direction: &[f32], step: f32) -> Vec<f32> {
    x.iter().zip(direction).map(|(x, d)| x + d * step).collect()
}

/// `a` is within `tolerance` of `b`, relative to the norms of what they are products of.
fn assert_agree(a: f64, b: f64, scale: f64, tolerance: f64, what: &str) {
    assert!(
        (a - b).abs() <= tolerance * scale.max(1e-3),
        "{what}: {a}, not {b} (scale {scale})"
    );
}

/// `<g, J d>` by central differences against `<J^T g, d>`, for each operand of a graph of one node.
fn check(op: Op, inputs: &[Shape], output: Shape) {
    check_at(op, inputs, output, |seed, len| values(len, seed));
}

fn check_at(op: Op, inputs: &[Shape], output: Shape, at: impl Fn(usize, usize) -> Vec<f32>) {
    const STEP: f32 = 2e-4;
    let graph = single(op, inputs, output);
    let node = &graph.nodes[0];
    let samples: Vec<Vec<f32>> = (0..inputs.len()).map(|i| at(i, size(inputs[i]))).collect();
    let all = activations(&graph, &samples);
    for operand in 0..inputs.len() {
        for seed in 0..3 {
            let gradient = values(size(output), seed + 20);
            let direction = values(size(inputs[operand]), seed + 30);
            let change = |step: f32| {
                let mut samples = samples.clone();
                samples[operand] = moved(&samples[operand], &direction, step);
                run(&graph, &samples).concat()
            };
            let (ahead, behind) = (change(STEP), change(-STEP));
            let slope: Vec<f32> = ahead
                .iter()
                .zip(&behind)
                .map(|(a, b)| (a - b) / (2.0 * STEP))
                .collect();
            let mut masked = gradient.clone();
            mask(fused(&node.op), &all[node.output], &mut masked);
            let mut pulled = vec![0.0; direction.len()];
            pull_back(&graph, node, &all, (operand, &mut pulled), &masked);
            let scale = (dot(&gradient, &gradient) * dot(&slope, &slope)).sqrt();
            let what = format!("operand {operand} of {:?} {inputs:?}", node.op.name());
            assert_agree(
                dot(&pulled, &direction),
                dot(&gradient, &slope),
                scale,
                4e-3,
                &what,
            );
        }
    }
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

fn layer(shape: Shape, outputs: usize, seed: usize, activation: Activation) -> Linear {
    Linear {
        shape,
        weights: values(size(shape), seed),
        bias: values(outputs, seed + 1),
        activation,
    }
}

const CLAMP: Activation = Activation::Clamp {
    min: -1.0,
    max: 6.0,
};

/// All linear operators with the shapes of their input and output.
fn linear_cases() -> Vec<(Op, Shape, Shape)> {
    let input = [1, 9, 8, 6];
    let mut cases = Vec::new();
    for (seed, window) in windows().into_iter().enumerate() {
        let [kh, kw] = window.kernel.map(usize::from);
        for groups in [1, 2, 3] {
            let activation = [Activation::Relu, Activation::None, CLAMP][groups - 1];
            let linear = layer([12, kh, kw, 6 / groups], 12, seed, activation);
            let op = Op::Conv2d {
                linear,
                window,
                groups,
            };
            cases.push((op, input, output_size(input, window, 12)));
        }
        let linear = layer([1, kh, kw, 6], 6, seed, CLAMP);
        let op = Op::DepthwiseConv2d { linear, window };
        cases.push((op, input, output_size(input, window, 6)));
    }
    let linear = layer([4, 1, 1, 6], 4, 3, Activation::Relu);
    cases.push((Op::FullyConnected { linear }, input, [1, 9, 8, 4]));
    // More than one block of patches.
    let (input, window) = ([1, 30, 30, 16], windows()[2]);
    let linear = layer([4, 3, 3, 16], 4, 5, Activation::None);
    let op = Op::Conv2d {
        linear,
        window,
        groups: 1,
    };
    cases.push((op, input, output_size(input, window, 4)));
    cases
}

#[test]
fn gradients_of_linear_operators_agree_with_differences() {
    for (op, input, output) in linear_cases() {
        check(op, &[input], output);
    }
}

#[test]
fn gradients_of_weights_agree_with_differences() {
    const STEP: f32 = 2e-4;
    for (op, input, output) in linear_cases() {
        let graph = single(op, &[input], output);
        let node = &graph.nodes[0];
        let x = vec![values(size(input), 4)];
        let gradient = values(size(output), 5);
        let direction = values(node.op.linear().unwrap().weights.len(), 6);
        let change = |step: f32| {
            let mut graph = graph.clone();
            let linear = graph.nodes[0].op.linear_mut().unwrap();
            linear.weights = moved(&linear.weights, &direction, step);
            run(&graph, &x).concat()
        };
        let (ahead, behind) = (change(STEP), change(-STEP));
        let slope: Vec<f32> = ahead
            .iter()
            .zip(&behind)
            .map(|(a, b)| (a - b) / (2.0 * STEP))
            .collect();
        let all = activations(&graph, &x);
        let seeds = [(node.output, gradient.clone())];
        let mut found = None;
        backward(&graph, &all, &seeds, |index, masked| {
            assert_eq!(index, 0);
            found = weight_gradient(&graph, node, &x[0], masked);
        });
        let found = found.expect("the node has weights");
        let scale = (dot(&gradient, &gradient) * dot(&slope, &slope)).sqrt();
        let (a, b) = (dot(&found, &direction), dot(&gradient, &slope));
        assert_agree(a, b, scale, 4e-3, node.op.name());
    }
}

#[test]
fn gradients_of_binary_operators_agree_with_differences() {
    let first = [1, 2, 3, 4];
    for second in [
        [1, 2, 3, 4],
        [1, 1, 1, 4],
        [1, 2, 3, 1],
        [1, 1, 3, 4],
        [1, 2, 1, 1],
        [1, 1, 1, 1],
    ] {
        for kind in [
            BinaryKind::Add,
            BinaryKind::Sub,
            BinaryKind::Mul,
            BinaryKind::Max,
            BinaryKind::Min,
        ] {
            for activation in [Activation::None, Activation::Relu, CLAMP] {
                check(Op::Binary { kind, activation }, &[first, second], first);
            }
        }
    }
}

#[test]
fn of_equal_operands_the_first_gets_the_gradient() {
    let shape = [1, 1, 1, 2];
    for kind in [BinaryKind::Max, BinaryKind::Min] {
        let op = Op::Binary {
            kind,
            activation: Activation::None,
        };
        let graph = single(op, &[shape, shape], shape);
        let all = activations(&graph, &[vec![1.0, 2.0], vec![1.0, 2.0]]);
        for (operand, expected) in [[3.0, 4.0], [0.0, 0.0]].into_iter().enumerate() {
            let mut pulled = vec![0.0; 2];
            let into = (operand, pulled.as_mut_slice());
            pull_back(&graph, &graph.nodes[0], &all, into, &[3.0, 4.0]);
            assert_eq!(pulled, expected);
        }
    }
}

#[test]
fn gradients_of_poolings_agree_with_differences() {
    let input = [1, 9, 8, 3];
    for window in windows() {
        let output = output_size(input, window, 3);
        check(Op::MaxPool2d { window }, &[input], output);
        for count_include_pad in [false, true] {
            let op = Op::AveragePool2d {
                window,
                count_include_pad,
            };
            check(op, &[input], output);
        }
    }
    check(Op::Mean, &[input], [1, 1, 1, 3]);
}

#[test]
fn the_first_of_equal_elements_of_a_window_gets_the_gradient() {
    let window = Window {
        kernel: [2, 2],
        ..crate::graph::POINT
    };
    let graph = single(Op::MaxPool2d { window }, &[[1, 2, 2, 1]], [1, 1, 1, 1]);
    let all = activations(&graph, &[vec![0.0, 1.0, 1.0, 1.0]]);
    let mut pulled = vec![0.0; 4];
    pull_back(&graph, &graph.nodes[0], &all, (0, &mut pulled), &[5.0]);
    assert_eq!(pulled, [0.0, 5.0, 0.0, 0.0]);
}

#[test]
fn gradients_of_functions_agree_with_differences() {
    let shape = [1, 5, 4, 3];
    let everywhere = [
        UnaryKind::Clamp {
            min: -1.0,
            max: 1.0,
        },
        UnaryKind::Affine { a: -1.5, b: 2.0 },
        UnaryKind::LeakyRelu { slope: 0.1 },
        UnaryKind::Sigmoid,
        UnaryKind::Tanh,
        UnaryKind::Silu,
        UnaryKind::HardSwish,
        UnaryKind::HardSigmoid { a: 0.4, b: 0.5 },
        UnaryKind::Elu { alpha: 1.2 },
        UnaryKind::Gelu,
        UnaryKind::Erf,
        UnaryKind::Exp,
        UnaryKind::Abs,
        UnaryKind::Square,
        UnaryKind::Softplus,
        UnaryKind::Mish,
    ];
    let wide = |seed, len| {
        let values: Vec<f32> = values(len, seed);
        values.into_iter().map(|v| v * 2.5).collect::<Vec<f32>>()
    };
    for kind in everywhere {
        check(Op::Unary { kind }, &[shape], shape);
        check_at(Op::Unary { kind }, &[shape], shape, wide);
    }
    let positive = |seed, len| {
        let values: Vec<f32> = values(len, seed);
        values.into_iter().map(|v| v + 2.5).collect::<Vec<f32>>()
    };
    for kind in [
        UnaryKind::Log,
        UnaryKind::Sqrt,
        UnaryKind::Rsqrt,
        UnaryKind::Reciprocal,
    ] {
        check_at(Op::Unary { kind }, &[shape], shape, positive);
    }
    check(Op::Softmax, &[shape], shape);
}

#[test]
fn gradients_stay_finite_at_a_pole() {
    for kind in [UnaryKind::Sqrt, UnaryKind::Rsqrt, UnaryKind::Reciprocal] {
        let mut pulled = [0.0];
        elementwise::unary(kind, &[0.0], &[1.0], &mut pulled);
        assert_eq!(pulled, [0.0]);
    }
}

#[test]
fn gradients_of_movements_agree_with_differences() {
    let input = [1, 4, 6, 4];
    let pad = Op::Pad {
        before: [1, 0, 2],
        value: 9.0,
    };
    check(pad, &[input], [1, 6, 7, 6]);
    let slice = Op::Slice {
        start: [1, 0, 1],
        step: [1, 2, 2],
    };
    check(slice, &[input], [1, 3, 3, 2]);
    for perm in [[0, 1, 2, 3], [0, 3, 1, 2], [0, 2, 3, 1], [0, 2, 1, 3]] {
        let output = perm.map(|axis: usize| input[axis]);
        check(Op::Transpose { perm }, &[input], output);
    }
    for axis in 1..4 {
        let mut other = input;
        other[axis] = 3;
        let mut output = input;
        output[axis] = 2 * input[axis] + 3;
        check(Op::Concat { axis }, &[input, other, input], output);
    }
    check(Op::Reshape, &[input], [1, 1, 1, 96]);
}

#[test]
fn gradients_of_resizes_agree_with_differences() {
    for kind in [ResizeKind::Nearest, ResizeKind::Bilinear] {
        for coordinates in [
            ResizeCoordinates::Asymmetric,
            ResizeCoordinates::HalfPixel,
            ResizeCoordinates::AlignCorners,
        ] {
            for output in [[1, 8, 9, 4], [1, 3, 4, 4]] {
                check(Op::Resize { kind, coordinates }, &[[1, 4, 6, 4]], output);
            }
        }
    }
}

/// Two convolutions around a residual addition, all clamped, a gate, a mean and a classifier.
fn residual() -> Graph {
    let shape = [1, 6, 5, 4];
    let window = windows()[2];
    let mut sketch = Sketch::new(&[shape]);
    let small = |mut linear: Linear| {
        linear.weights.iter_mut().for_each(|w| *w *= 0.3);
        linear
    };
    let conv = |seed| Op::Conv2d {
        linear: small(layer([4, 3, 3, 4], 4, seed, Activation::Relu)),
        window,
        groups: 1,
    };
    let a = sketch.node(conv(1), &[0], shape);
    let b = sketch.node(conv(3), &[a], shape);
    let add = Op::Binary {
        kind: BinaryKind::Add,
        activation: CLAMP,
    };
    let c = sketch.node(add, &[a, b], shape);
    let pooled = sketch.node(Op::Mean, &[c], [1, 1, 1, 4]);
    let gate = Op::FullyConnected {
        linear: small(layer([4, 1, 1, 4], 4, 5, Activation::None)),
    };
    let gate = sketch.node(gate, &[pooled], [1, 1, 1, 4]);
    let sigmoid = Op::Unary {
        kind: UnaryKind::Sigmoid,
    };
    let gate = sketch.node(sigmoid, &[gate], [1, 1, 1, 4]);
    let mul = Op::Binary {
        kind: BinaryKind::Mul,
        activation: Activation::None,
    };
    let d = sketch.node(mul, &[c, gate], shape);
    let e = sketch.node(Op::Mean, &[d], [1, 1, 1, 4]);
    let head = layer([5, 1, 1, 4], 5, 7, Activation::None);
    let out = sketch.node(Op::FullyConnected { linear: head }, &[e], [1, 1, 1, 5]);
    sketch.finish(out)
}

#[test]
fn gradients_through_a_network_agree_with_differences() {
    const STEP: f64 = 1e-3;
    let graph = residual();
    let x = vec![values(size(graph.shape(0)), 2)];
    let seed = values(5, 9);
    let all = activations(&graph, &x);
    let mut visited = Vec::new();
    let seeds = [(graph.outputs[0].tensor, seed.clone())];
    backward(&graph, &all, &seeds, |index, gradient| {
        visited.push(index);
        let node = &graph.nodes[index];
        let biases = node.op.linear().unwrap().bias.len();
        let by_bias: Vec<f32> = (0..biases)
            .map(|c| gradient.iter().skip(c).step_by(biases).sum())
            .collect();
        let by_weight = weight_gradient(&graph, node, &all[node.inputs[0]], gradient).unwrap();
        // Along the gradient the change is largest, next to rounding and to activations that cross
        // a bound.
        let norm = (dot(&by_weight, &by_weight) + dot(&by_bias, &by_bias)).sqrt();
        let change = |length: f64| {
            let step = (length / norm) as f32;
            let mut graph = graph.clone();
            let linear = graph.nodes[index].op.linear_mut().unwrap();
            linear.weights = moved(&linear.weights, &by_weight, step);
            linear.bias = moved(&linear.bias, &by_bias, step);
            dot(&run(&graph, &x).concat(), &seed)
        };
        let expected = (change(STEP) - change(-STEP)) / (2.0 * STEP);
        assert_agree(norm, expected, expected, 5e-3, &node.name);
    });
    assert_eq!(visited, [8, 4, 1, 0]);
}

#[test]
fn seeds_of_one_tensor_add_up_and_what_they_do_not_reach_is_skipped() {
    let graph = residual();
    let all = activations(&graph, &[values(size(graph.shape(0)), 2)]);
    let hidden = graph.nodes[0].output;
    let ones = vec![1.0; graph.tensors[hidden].elements()];
    let mut visits = Vec::new();
    let seeds = [(hidden, ones.clone()), (hidden, ones)];
    backward(&graph, &all, &seeds, |index, gradient| {
        visits.push((index, gradient.to_vec()));
    });
    let expected: Vec<f32> = all[hidden]
        .iter()
        .map(|&y| if y > 0.0 { 2.0 } else { 0.0 })
        .collect();
    assert_eq!(visits, [(0, expected)]);
}
