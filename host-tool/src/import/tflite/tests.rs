use super::options::{Masks, Options};
use super::testing::{File, dense, window};
use super::*;
use crate::error::Error;
use crate::graph::{Activation, Graph, Op, UnaryKind};
use crate::import::{load, verify};
use tract_tflite::tflite::{ActivationFunctionType, TensorType};

const NONE: ActivationFunctionType = ActivationFunctionType::NONE;

/// The imported network, after comparing it with tract's run of the file on one sample.
fn imported(bytes: &[u8]) -> Graph {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.tflite");
    std::fs::write(&path, bytes).unwrap();
    let graph = load(&path).unwrap();
    let verification = verify(&path, &graph, &[sample(&graph)]).unwrap();
    assert!(verification.passes(), "{verification:?}");
    graph
}

fn sample(graph: &Graph) -> Vec<f32> {
    let size = graph.shape(graph.inputs[0].tensor).iter().product();
    (0..size).map(|i| (i * 7 % 13) as f32 / 4.0 - 1.5).collect()
}

/// What the import and the interpreter both compute.
fn computed(bytes: &[u8]) -> Vec<f32> {
    let graph = imported(bytes);
    let input = [sample(&graph)];
    let actual = crate::graph::run(&graph, &input).remove(0);
    let expected = interpreted(bytes, &input);
    assert_eq!(actual.len(), expected.len());
    for (a, b) in actual.iter().zip(&expected) {
        assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0), "{a} for {b}");
    }
    expected
}

fn interpreted(bytes: &[u8], inputs: &[Vec<f32>]) -> Vec<f32> {
    let interpreter = Interpreter::new(bytes).unwrap();
    let traced = interpreter.run(inputs).unwrap();
    match interpreter.outputs()[0] {
        Origin::Traced(index) => traced[index].values.clone(),
        Origin::Input(index) => inputs[index].clone(),
    }
}

fn refused(bytes: &[u8]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.tflite");
    std::fs::write(&path, bytes).unwrap();
    match load(&path).unwrap_err() {
        Error::Unsupported { nodes, .. } => nodes,
        other => panic!("{other}"),
    }
}

fn ramp(count: usize, salt: usize) -> Vec<f32> {
    let value = |i: usize| ((i * 37 + salt) % 29) as f32 / 20.0 - 0.7;
    (0..count).map(value).collect()
}

/// A 1x1 convolution of 4 channels with integer weights, and a depthwise convolution that makes 8
/// channels of them.
fn multiplied_file() -> Vec<u8> {
    let mut file = File::default();
    let input = file.tensor(&[1, 8, 8, 4]);
    let codes: Vec<u8> = (0..16).map(|i| i * 7 % 19).collect();
    let kernel = file.codes(&[4, 1, 1, 4], TensorType::INT8, &codes, &[0.05], &[]);
    let bias = file.floats(&[4], &ramp(4, 1));
    let middle = file.tensor(&[1, 8, 8, 4]);
    let convolution = window(true, [1, 1], NONE);
    file.step(
        BuiltinOperator::CONV_2D,
        convolution,
        &[input, kernel, bias],
        middle,
    );
    let kernel = file.floats(&[1, 3, 3, 8], &ramp(72, 2));
    let bias = file.floats(&[8], &ramp(8, 3));
    let output = file.tensor(&[1, 6, 6, 8]);
    let depthwise = window(false, [1, 1], ActivationFunctionType::RELU);
    let operands = [middle, kernel, bias];
    file.step(
        BuiltinOperator::DEPTHWISE_CONV_2D,
        depthwise,
        &operands,
        output,
    );
    file.bytes(input, output)
}

#[test]
fn integer_weights_and_depth_multipliers_are_read() {
    let graph = imported(&multiplied_file());
    let [first, second] = graph.nodes.as_slice() else {
        panic!("{} nodes", graph.nodes.len());
    };
    let weights = &first.op.linear().unwrap().weights;
    assert_eq!(weights[..3], [0.0, 0.35, 0.7]);
    let Op::Conv2d {
        linear, groups: 4, ..
    } = &second.op
    else {
        panic!("{:?}", second.op.name());
    };
    assert_eq!(
        (linear.shape, linear.activation),
        ([8, 3, 3, 1], Activation::Relu)
    );
    // Tap 1 of output channel 3 is element 11 of the file's kernel.
    assert_eq!(linear.weights[3 * 9 + 1], ramp(72, 2)[11]);
    computed(&multiplied_file());
}

/// A 1x1 convolution of codes with an output of the given scale and zero point.
fn quantized_file(zero_point: i64, scale: f32, activation: ActivationFunctionType) -> Vec<u8> {
    let kind = TensorType::UINT8;
    let mut file = File::default();
    let input = file.codes(&[1, 2, 2, 3], kind, &[], &[0.02], &[128]);
    let codes = [255, 0, 10, 128, 40, 250];
    let kernel = file.codes(&[2, 1, 1, 3], kind, &codes, &[0.05], &[128]);
    let bias = file.floats(&[2], &[0.5, -0.25]);
    let output = file.codes(&[1, 2, 2, 2], kind, &[], &[scale], &[zero_point]);
    let convolution = window(true, [1, 1], activation);
    file.step(
        BuiltinOperator::CONV_2D,
        convolution,
        &[input, kernel, bias],
        output,
    );
    file.bytes(input, output)
}

fn only_activation(bytes: &[u8]) -> Activation {
    let graph = imported(bytes);
    assert_eq!(graph.nodes.len(), 1);
    graph.nodes[0].op.linear().unwrap().activation
}

#[test]
fn a_quantized_output_saturates_at_the_range_of_its_codes() {
    let relu6 = quantized_file(0, 6.0 / 255.0, NONE);
    let max = (255.0 * f64::from(6.0f32 / 255.0)) as f32;
    assert_eq!(only_activation(&relu6), Activation::Clamp { min: 0.0, max });
    let values = computed(&relu6);
    assert!(values.contains(&0.0) && values.contains(&max), "{values:?}");
    let shifted = only_activation(&quantized_file(100, 0.5, NONE));
    assert_eq!(
        shifted,
        Activation::Clamp {
            min: -50.0,
            max: 77.5
        }
    );
}

#[test]
fn a_range_that_holds_the_fused_activation_adds_no_clamp() {
    let relu6 = quantized_file(10, 0.05, ActivationFunctionType::RELU6);
    let clamp = Activation::Clamp { min: 0.0, max: 6.0 };
    assert_eq!(only_activation(&relu6), clamp);
    let relu = quantized_file(0, 0.01, ActivationFunctionType::RELU);
    let max = (255.0 * f64::from(0.01f32)) as f32;
    assert_eq!(only_activation(&relu), Activation::Clamp { min: 0.0, max });
}

#[test]
fn operators_that_hand_codes_on_add_no_clamp() {
    let kind = TensorType::INT8;
    let mut file = File::default();
    let input = file.tensor(&[1, 2, 2, 3]);
    let mut codes = |dims: &[i32]| file.codes(dims, kind, &[], &[1.0 / 256.0], &[-128]);
    let (gates, pooled, flat) = (codes(&[1, 2, 2, 3]), codes(&[1, 1, 1, 3]), codes(&[1, 3]));
    file.step(BuiltinOperator::LOGISTIC, Options::Plain, &[input], gates);
    let pool = window(false, [2, 2], NONE);
    file.step(BuiltinOperator::AVERAGE_POOL_2D, pool, &[gates], pooled);
    let reshape = Options::Reshape {
        shape: Some(vec![1, 3]),
    };
    file.step(BuiltinOperator::RESHAPE, reshape, &[pooled], flat);
    let graph = imported(&file.bytes(input, flat));
    let clamps = graph.nodes.iter().filter(|node| {
        matches!(
            node.op,
            Op::Unary {
                kind: UnaryKind::Clamp { .. }
            }
        )
    });
    assert_eq!(clamps.count(), 0);
}

#[test]
fn a_quantization_saturates_and_its_inverse_does_not() {
    let kind = TensorType::INT8;
    let mut file = File::default();
    let input = file.tensor(&[1, 8]);
    let codes = file.codes(&[1, 8], kind, &[], &[0.01], &[-28]);
    let output = file.tensor(&[1, 8]);
    file.step(BuiltinOperator::QUANTIZE, Options::Plain, &[input], codes);
    file.step(
        BuiltinOperator::DEQUANTIZE,
        Options::Plain,
        &[codes],
        output,
    );
    let bytes = file.bytes(input, output);
    let values = computed(&bytes);
    let bounds = [-1.0, 1.55];
    assert!(
        bounds.iter().all(|bound| values.contains(bound)),
        "{values:?}"
    );
    assert_eq!(imported(&bytes).nodes.len(), 1);
}

#[test]
fn zero_points_of_channels_are_subtracted() {
    let mut file = File::default();
    let input = file.tensor(&[1, 2]);
    let kind = TensorType::UINT8;
    let weights = file.codes(&[2, 2], kind, &[3, 5, 7, 9], &[1.0, 0.5], &[3, 8]);
    let output = file.tensor(&[1, 2]);
    file.step(
        BuiltinOperator::FULLY_CONNECTED,
        dense(false, NONE),
        &[input, weights],
        output,
    );
    let graph = imported(&file.bytes(input, output));
    assert_eq!(
        graph.nodes[0].op.linear().unwrap().weights,
        [0.0, 2.0, -0.5, 0.5]
    );
}

/// A fully connected layer of 8 inputs and 5 outputs.
fn dense_file(input: &[i32], output: &[i32], keep_dims: bool, bias: bool) -> Vec<u8> {
    let mut file = File::default();
    let input = file.tensor(input);
    let weights = file.floats(&[5, 8], &ramp(40, 4));
    let bias = if bias {
        file.floats(&[5], &ramp(5, 5))
    } else {
        -1
    };
    let output = file.tensor(output);
    let options = dense(keep_dims, ActivationFunctionType::RELU);
    let operands = [input, weights, bias];
    file.step(BuiltinOperator::FULLY_CONNECTED, options, &operands, output);
    file.bytes(input, output)
}

#[test]
fn fully_connected_layers_take_any_rank_with_or_without_a_bias() {
    for bias in [true, false] {
        let flat = dense_file(&[1, 8], &[1, 5], false, bias);
        let image = dense_file(&[1, 2, 2, 2], &[1, 5], false, bias);
        assert_eq!(computed(&flat), computed(&image));
        let rows = dense_file(&[1, 3, 8], &[3, 5], false, bias);
        let kept = dense_file(&[1, 3, 8], &[1, 3, 5], true, bias);
        assert_eq!(computed(&rows), computed(&kept));
        assert_eq!(imported(&kept).outputs[0].source_shape, [1, 3, 5]);
    }
}

/// A file of one operator on an input, with constant operands.
fn file_of(
    kind: BuiltinOperator,
    options: Options,
    input: &[i32],
    integers: &[(&[i32], &[i32])],
    output: &[i32],
) -> Vec<u8> {
    let mut file = File::default();
    let mut operands = vec![file.tensor(input)];
    for (dims, values) in integers {
        operands.push(file.integers(dims, values));
    }
    let output = file.tensor(output);
    file.step(kind, options, &operands, output);
    file.bytes(operands[0], output)
}

#[test]
fn a_softmax_scales_its_logits() {
    let softmax = |beta| {
        let options = Options::Softmax { beta };
        computed(&file_of(
            BuiltinOperator::SOFTMAX,
            options,
            &[1, 4],
            &[],
            &[1, 4],
        ))
    };
    // The logits are -1.5, 0.25, 2.0 and 0.5.
    let powers: Vec<f32> = [-0.75f32, 0.125, 1.0, 0.25].map(f32::exp).to_vec();
    let sum: f32 = powers.iter().sum();
    for (actual, power) in softmax(0.5).iter().zip(&powers) {
        assert!((actual - power / sum).abs() < 1e-6);
    }
    assert!((softmax(1.0)[0] / softmax(1.0)[1] - (-1.75f32).exp()).abs() < 1e-6);
}

/// Twice the input, with a fused activation.
fn doubled_file(activation: ActivationFunctionType) -> Vec<u8> {
    let mut file = File::default();
    let input = file.tensor(&[1, 6]);
    let two = file.floats(&[], &[2.0]);
    let output = file.tensor(&[1, 6]);
    let options = Options::Arithmetic { activation };
    file.step(BuiltinOperator::MUL, options, &[input, two], output);
    file.bytes(input, output)
}

#[test]
fn fused_activations_are_applied_or_refused() {
    let limited = computed(&doubled_file(ActivationFunctionType::RELU_N1_TO_1));
    assert_eq!(limited, [-1.0, 0.5, 1.0, 1.0, -1.0, 1.0]);
    let relu6 = computed(&doubled_file(ActivationFunctionType::RELU6));
    assert_eq!(relu6, [0.0, 0.5, 4.0, 1.0, 0.0, 1.5]);
    let nodes = refused(&doubled_file(ActivationFunctionType::TANH));
    assert!(
        nodes[0].starts_with("t2 (MUL): ") && nodes[0].contains("TANH"),
        "{nodes:?}"
    );
}

#[test]
fn axes_count_from_either_end_and_go_one_by_one() {
    let squeeze = |axes: &[i32]| Options::Squeeze {
        axes: axes.to_vec(),
    };
    let shape_of = |bytes: &[u8]| {
        computed(bytes);
        imported(bytes).outputs[0].source_shape.clone()
    };
    let kind = BuiltinOperator::SQUEEZE;
    let pooled: &[i32] = &[1, 1, 1, 6];
    for (axes, output) in [
        (&[1, 2][..], &[1, 6][..]),
        (&[-2], &[1, 1, 6]),
        (&[2, 0, 1], &[6]),
        (&[], &[6]),
    ] {
        let bytes = file_of(kind, squeeze(axes), pooled, &[], output);
        assert_eq!(
            shape_of(&bytes),
            output.iter().map(|&n| n as usize).collect::<Vec<_>>()
        );
    }
    let kind = BuiltinOperator::EXPAND_DIMS;
    for (axis, output) in [(-1, [1, 5, 3, 1]), (-2, [1, 5, 1, 3]), (1, [1, 1, 5, 3])] {
        let axes: [(&[i32], &[i32]); 1] = [(&[], &[axis])];
        let bytes = file_of(kind, Options::Plain, &[1, 5, 3], &axes, &output);
        assert_eq!(shape_of(&bytes), output.map(|n| n as usize));
    }
    let options = Options::Reduce { keep_dims: false };
    let axes: [(&[i32], &[i32]); 1] = [(&[2], &[-3, -2])];
    let bytes = file_of(BuiltinOperator::SUM, options, &[1, 2, 2, 3], &axes, &[1, 3]);
    assert_eq!(shape_of(&bytes), [1, 3]);
}

#[test]
fn a_slice_of_what_is_left_ends_with_its_input() {
    let begin_and_size: [(&[i32], &[i32]); 2] = [(&[3], &[0, 1, 2]), (&[3], &[-1, 2, -1])];
    let kind = BuiltinOperator::SLICE;
    let bytes = file_of(
        kind,
        Options::Plain,
        &[1, 3, 4],
        &begin_and_size,
        &[1, 2, 2],
    );
    let input: Vec<f32> = (0..12).map(|i| (i * 7 % 13) as f32 / 4.0 - 1.5).collect();
    assert_eq!(computed(&bytes), [input[6], input[7], input[10], input[11]]);
}

#[test]
fn grouped_convolutions_are_read() {
    let mut file = File::default();
    let input = file.tensor(&[1, 3, 3, 4]);
    let kernel = file.floats(&[6, 2, 2, 2], &ramp(48, 6));
    let bias = file.floats(&[6], &ramp(6, 7));
    let output = file.tensor(&[1, 2, 2, 6]);
    let options = window(false, [1, 1], NONE);
    file.step(
        BuiltinOperator::CONV_2D,
        options,
        &[input, kernel, bias],
        output,
    );
    let bytes = file.bytes(input, output);
    computed(&bytes);
    assert!(matches!(
        imported(&bytes).nodes[0].op,
        Op::Conv2d { groups: 2, .. }
    ));
}

#[test]
fn every_unsupported_operator_is_listed_with_the_reason() {
    let mut file = File::default();
    let input = file.tensor(&[1, 4, 4, 2]);
    let (a, b, c) = (
        file.tensor(&[1, 4, 4, 2]),
        file.tensor(&[1, 4, 2]),
        file.tensor(&[1]),
    );
    file.foreign(BuiltinOperator::PRELU, None, input, a);
    let bounds = [&[0, 1, 0, 0][..], &[1, 2, 4, 2], &[1; 4]];
    let bounds = bounds.map(|values| file.integers(&[4], values));
    let masks = Masks {
        shrink_axis: 2,
        ..Masks::NONE
    };
    let operands = [a, bounds[0], bounds[1], bounds[2]];
    file.step(
        BuiltinOperator::STRIDED_SLICE,
        Options::StridedSlice(masks),
        &operands,
        b,
    );
    file.foreign(
        BuiltinOperator::CUSTOM,
        Some("TFLite_Detection_PostProcess"),
        b,
        c,
    );
    let nodes = refused(&file.bytes(input, c));
    let [first, second, third] = nodes.as_slice() else {
        panic!("{nodes:?}");
    };
    assert_eq!(first, "t1 (PRELU)");
    assert!(
        second.contains("t2 (STRIDED_SLICE): ") && second.contains("axis"),
        "{second}"
    );
    assert_eq!(third, "t3 (custom operator TFLite_Detection_PostProcess)");
}

#[test]
fn arguments_that_depend_on_the_input_are_refused() {
    let mut file = File::default();
    let input = file.tensor(&[1, 4]);
    let size = file.tensor(&[1, 4]);
    file.step(BuiltinOperator::RELU, Options::Plain, &[input], size);
    let output = file.tensor(&[4, 1]);
    file.step(
        BuiltinOperator::TRANSPOSE,
        Options::Plain,
        &[input, size],
        output,
    );
    let nodes = refused(&file.bytes(input, output));
    assert!(nodes[0].contains("depends on the input"), "{nodes:?}");
}

/// Files that use most of the format.
fn some_files() -> Vec<Vec<u8>> {
    let axes: [(&[i32], &[i32]); 1] = [(&[2], &[1, 2])];
    let size: [(&[i32], &[i32]); 1] = [(&[2], &[4, 6])];
    let parts: [(&[i32], &[i32]); 3] = [(&[2], &[0, 1]), (&[2], &[1, 3]), (&[2], &[1, 1])];
    let pads: [(&[i32], &[i32]); 1] = [(&[4, 2], &[0, 0, 1, 1, 2, 1, 0, 0])];
    let reduce = Options::Reduce { keep_dims: true };
    let resize = Options::Resize {
        align_corners: false,
        half_pixel_centers: true,
    };
    let image: &[i32] = &[1, 3, 4, 2];
    vec![
        multiplied_file(),
        quantized_file(3, 0.1, NONE),
        dense_file(&[1, 3, 8], &[1, 3, 5], true, false),
        file_of(BuiltinOperator::SUM, reduce, image, &axes, &[1, 1, 1, 2]),
        file_of(
            BuiltinOperator::RESIZE_BILINEAR,
            resize,
            image,
            &size,
            &[1, 4, 6, 2],
        ),
        file_of(
            BuiltinOperator::PAD,
            Options::Plain,
            image,
            &pads,
            &[1, 5, 7, 2],
        ),
        file_of(
            BuiltinOperator::STRIDED_SLICE,
            Options::StridedSlice(Masks::NONE),
            image,
            &parts,
            &[1, 2, 4, 2],
        ),
    ]
}

/// Reads and runs a file that may be damaged: nothing but an error may come of it.
fn attempt(bytes: &[u8]) {
    let _ = rewrite(bytes);
    let Ok(network) = Network::read(bytes) else {
        return;
    };
    let sizes = network.inputs.iter().map(|&id| {
        let dims = &network.tensors[id].dims;
        dims.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim))
    });
    let inputs = sizes.map(|size| Some(vec![0.5; size.filter(|&size| size < 1 << 16)?]));
    if let (Ok(interpreter), Some(inputs)) =
        (Interpreter::new(bytes), inputs.collect::<Option<Vec<_>>>())
    {
        let _ = interpreter.run(&inputs);
    }
}

#[test]
fn damaged_files_give_errors() {
    for bytes in some_files() {
        for length in (0..bytes.len()).step_by(5) {
            attempt(&bytes[..length]);
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at * 5 % 8);
            attempt(&damaged);
        }
    }
    assert!(rewrite(b"\x1c\0\0\0TFL3").is_err());
}

#[test]
fn outputs_can_be_inputs_and_nothing_else_is_traced_twice() {
    let mut file = File::default();
    let input = file.tensor(&[1, 4]);
    let output = file.tensor(&[1, 4]);
    file.step(BuiltinOperator::RELU, Options::Plain, &[input], output);
    let passed = Interpreter::new(&file.bytes(input, input)).unwrap();
    assert_eq!(passed.outputs(), [Origin::Input(0)]);
    let traced = passed.run(&[vec![-1.0, 2.0, 0.0, 3.0]]).unwrap();
    let expected = Traced {
        name: "t1".into(),
        values: vec![0.0, 2.0, 0.0, 3.0],
    };
    assert_eq!(traced, [expected]);
    assert!(passed.run(&[vec![0.0; 3]]).is_err());
    assert!(passed.run(&[]).is_err());
}
