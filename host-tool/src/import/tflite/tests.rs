//! A TFLite file written by hand: what other exporters write and the zoo does not hold.

use super::*;
use crate::graph::{Activation, Op};
use crate::import::{load, verify};

/// A TFLite file with a 1x1 convolution of 4 channels and a depthwise convolution that makes 8 of
/// them, the first with weights in integers.
fn multiplied_file() -> Vec<u8> {
    use tract_tflite::tflite::*;
    let mut fb = flatbuffers::FlatBufferBuilder::new();
    let floats = |count: usize, salt: usize| -> Vec<u8> {
        let value = |i: usize| ((i * 37 + salt) % 29) as f32 / 20.0 - 0.7;
        (0..count).flat_map(|i| value(i).to_le_bytes()).collect()
    };
    let data = [
        vec![],
        (0..16).map(|i| (i * 7 % 19) as u8).collect(),
        floats(4, 1),
        floats(72, 2),
        floats(8, 3),
    ];
    let buffers: Vec<_> = data
        .iter()
        .map(|data| {
            let data = (!data.is_empty()).then(|| fb.create_vector(data));
            Buffer::create(&mut fb, &BufferArgs { data })
        })
        .collect();
    let scales = fb.create_vector(&[0.05f32]);
    let quantized = QuantizationParameters::create(
        &mut fb,
        &QuantizationParametersArgs {
            scale: Some(scales),
            ..QuantizationParametersArgs::default()
        },
    );
    let shapes: [(&[i32], u32); 7] = [
        (&[1, 8, 8, 4], 0),
        (&[4, 1, 1, 4], 1),
        (&[4], 2),
        (&[1, 8, 8, 4], 0),
        (&[1, 3, 3, 8], 3),
        (&[8], 4),
        (&[1, 6, 6, 8], 0),
    ];
    let tensors: Vec<_> = shapes
        .iter()
        .enumerate()
        .map(|(index, (shape, buffer))| {
            let shape = Some(fb.create_vector(shape));
            let name = Some(fb.create_string(&format!("t{index}")));
            let integer = *buffer == 1;
            let type_ = if integer {
                TensorType::INT8
            } else {
                TensorType::FLOAT32
            };
            let quantization = integer.then_some(quantized);
            let args = TensorArgs {
                shape,
                name,
                type_,
                buffer: *buffer,
                quantization,
                ..TensorArgs::default()
            };
            Tensor::create(&mut fb, &args)
        })
        .collect();
    let codes: Vec<_> = [BuiltinOperator::DEPTHWISE_CONV_2D, BuiltinOperator::CONV_2D]
        .map(|code| {
            let old = code.0 as i8;
            let args = OperatorCodeArgs {
                deprecated_builtin_code: old,
                builtin_code: code,
                ..OperatorCodeArgs::default()
            };
            OperatorCode::create(&mut fb, &args)
        })
        .to_vec();
    let conv = Conv2DOptions::create(
        &mut fb,
        &Conv2DOptionsArgs {
            stride_w: 1,
            stride_h: 1,
            ..Conv2DOptionsArgs::default()
        },
    );
    let depthwise = DepthwiseConv2DOptions::create(
        &mut fb,
        &DepthwiseConv2DOptionsArgs {
            padding: Padding::VALID,
            stride_w: 1,
            stride_h: 1,
            depth_multiplier: 2,
            fused_activation_function: ActivationFunctionType::RELU,
            ..DepthwiseConv2DOptionsArgs::default()
        },
    );
    let operators: Vec<_> = [
        (
            1,
            [0, 1, 2],
            3,
            BuiltinOptions::Conv2DOptions,
            conv.as_union_value(),
        ),
        (
            0,
            [3, 4, 5],
            6,
            BuiltinOptions::DepthwiseConv2DOptions,
            depthwise.as_union_value(),
        ),
    ]
    .into_iter()
    .map(
        |(opcode_index, inputs, output, builtin_options_type, options)| {
            let inputs = Some(fb.create_vector(&inputs));
            let outputs = Some(fb.create_vector(&[output]));
            let args = OperatorArgs {
                opcode_index,
                inputs,
                outputs,
                builtin_options_type,
                builtin_options: Some(options),
                ..OperatorArgs::default()
            };
            Operator::create(&mut fb, &args)
        },
    )
    .collect();
    let graph = SubGraphArgs {
        tensors: Some(fb.create_vector(&tensors)),
        inputs: Some(fb.create_vector(&[0i32])),
        outputs: Some(fb.create_vector(&[6i32])),
        operators: Some(fb.create_vector(&operators)),
        ..SubGraphArgs::default()
    };
    let graph = SubGraph::create(&mut fb, &graph);
    let model = ModelArgs {
        version: 3,
        operator_codes: Some(fb.create_vector(&codes)),
        subgraphs: Some(fb.create_vector(&[graph])),
        buffers: Some(fb.create_vector(&buffers)),
        ..ModelArgs::default()
    };
    let model = Model::create(&mut fb, &model);
    finish_model_buffer(&mut fb, model);
    fb.finished_data().to_vec()
}

#[test]
fn integer_weights_and_depth_multipliers_of_tflite_files_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.tflite");
    std::fs::write(&path, multiplied_file()).unwrap();
    let graph = load(&path).unwrap();
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
    assert_eq!(
        linear.weights[3 * 9 + 1],
        ((11 * 37 + 2) % 29) as f32 / 20.0 - 0.7
    );
    let size = graph.tensors[0].elements();
    let input: Vec<f32> = (0..size).map(|i| (i % 13) as f32 / 5.0 - 1.0).collect();
    assert!(verify(&path, &graph, &[input]).unwrap().passes());
}

#[test]
fn half_precision_is_decoded() {
    let cases = [
        (0x3c00, 1.0),
        (0xc000, -2.0),
        (0x7bff, 65504.0),
        (1, 5.960_464_5e-8),
        (0x3555, 0.333_251_95),
    ];
    for (bits, value) in cases {
        assert_eq!(half_to_single(bits), value);
    }
}

#[test]
fn a_file_that_is_cut_short_is_refused() {
    assert!(rewrite(b"\x1c\0\0\0TFL3").is_err());
}
