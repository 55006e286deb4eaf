//! Writes a network as a TFLite file that tract reads.

use super::file::{Data, Network, Operator, Tensor};
use super::options::{Options, Window};
use flatbuffers::{FlatBufferBuilder, UnionWIPOffset, WIPOffset};
use std::collections::HashSet;
use tract_tflite::tflite::{self, BuiltinOperator, BuiltinOptions, Padding, TensorType};

/// A table of options and its type.
type Union = (BuiltinOptions, Option<WIPOffset<UnionWIPOffset>>);

/// The bytes of a file with the network's tensors and operators.
///
/// # Errors
/// If a dimension, an index or an integer of a constant does not fit into the file's types.
pub(super) fn write(network: &Network) -> Result<Vec<u8>, String> {
    let mut fb = FlatBufferBuilder::new();
    let mut buffers = vec![tflite::Buffer::create(
        &mut fb,
        &tflite::BufferArgs { data: None },
    )];
    let mut tensors = Vec::new();
    let mut names = HashSet::new();
    for (index, tensor) in network.tensors.iter().enumerate() {
        let bytes = tensor.data.as_ref().map(|data| bytes(tensor, data));
        if let Some(bytes) = bytes.transpose()? {
            let data = Some(fb.create_vector(&bytes));
            buffers.push(tflite::Buffer::create(
                &mut fb,
                &tflite::BufferArgs { data },
            ));
        }
        let buffer = if tensor.data.is_some() {
            buffers.len() - 1
        } else {
            0
        };
        // tract wants a name for each tensor, and appends to those of computed ones.
        let name = match tensor.data.is_none() && names.insert(&tensor.name) {
            true => tensor.name.clone(),
            false => format!("{}#{index}", tensor.name),
        };
        tensors.push(write_tensor(&mut fb, tensor, &name, buffer)?);
    }
    let mut kinds: Vec<BuiltinOperator> = Vec::new();
    let mut operators = Vec::new();
    for operator in &network.operators {
        let code = kinds.iter().position(|kind| *kind == operator.kind);
        let code = code.unwrap_or_else(|| {
            kinds.push(operator.kind);
            kinds.len() - 1
        });
        operators.push(write_operator(&mut fb, operator, code)?);
    }
    let codes: Vec<_> = kinds
        .iter()
        .map(|&kind| write_code(&mut fb, kind))
        .collect();
    let graph = tflite::SubGraphArgs {
        tensors: Some(fb.create_vector(&tensors)),
        inputs: Some(fb.create_vector(&integers(&network.inputs)?)),
        outputs: Some(fb.create_vector(&integers(&network.outputs)?)),
        operators: Some(fb.create_vector(&operators)),
        name: None,
    };
    let graph = tflite::SubGraph::create(&mut fb, &graph);
    let model = tflite::ModelArgs {
        version: 3,
        operator_codes: Some(fb.create_vector(&codes)),
        subgraphs: Some(fb.create_vector(&[graph])),
        buffers: Some(fb.create_vector(&buffers)),
        ..tflite::ModelArgs::default()
    };
    let model = tflite::Model::create(&mut fb, &model);
    tflite::finish_model_buffer(&mut fb, model);
    Ok(fb.finished_data().to_vec())
}

fn integers(values: &[usize]) -> Result<Vec<i32>, String> {
    let narrow = |&value: &usize| {
        i32::try_from(value).map_err(|_| format!("{value} does not fit into a TFLite file"))
    };
    values.iter().map(narrow).collect()
}

fn bytes(tensor: &Tensor, data: &Data) -> Result<Vec<u8>, String> {
    let narrow = |value: i64| {
        let name = &tensor.name;
        i32::try_from(value).map_err(|_| format!("constant {name}: {value} is not an int32"))
    };
    Ok(match (data, tensor.kind) {
        (Data::Real(values), _) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        (Data::Integer(values), TensorType::INT64) => {
            values.iter().flat_map(|v| v.to_le_bytes()).collect()
        }
        (Data::Integer(values), TensorType::INT32) => {
            let values = values.iter().map(|&v| narrow(v));
            let values = values.collect::<Result<Vec<i32>, _>>()?;
            values.iter().flat_map(|v| v.to_le_bytes()).collect()
        }
        (Data::Integer(values), TensorType::INT16) => values
            .iter()
            .flat_map(|&v| (v as i16).to_le_bytes())
            .collect(),
        // Codes of one byte, read as such.
        (Data::Integer(values), _) => values.iter().map(|&v| v as u8).collect(),
    })
}

fn write_tensor<'f>(
    fb: &mut FlatBufferBuilder<'f>,
    tensor: &Tensor,
    name: &str,
    buffer: usize,
) -> Result<WIPOffset<tflite::Tensor<'f>>, String> {
    let args = tflite::TensorArgs {
        shape: Some(fb.create_vector(&integers(&tensor.dims)?)),
        type_: tensor.kind,
        buffer: u32::try_from(buffer).map_err(|_| "too many constants")?,
        name: Some(fb.create_string(name)),
        ..tflite::TensorArgs::default()
    };
    Ok(tflite::Tensor::create(fb, &args))
}

fn write_code<'f>(
    fb: &mut FlatBufferBuilder<'f>,
    kind: BuiltinOperator,
) -> WIPOffset<tflite::OperatorCode<'f>> {
    let placeholder = BuiltinOperator::PLACEHOLDER_FOR_GREATER_OP_CODES.0;
    let args = tflite::OperatorCodeArgs {
        deprecated_builtin_code: kind.0.min(placeholder) as i8,
        builtin_code: kind,
        ..tflite::OperatorCodeArgs::default()
    };
    tflite::OperatorCode::create(fb, &args)
}

fn write_operator<'f>(
    fb: &mut FlatBufferBuilder<'f>,
    operator: &Operator,
    code: usize,
) -> Result<WIPOffset<tflite::Operator<'f>>, String> {
    let inputs: Vec<usize> = operator.inputs.iter().copied().flatten().collect();
    let (options_type, options) = match &operator.options {
        Some(options) => write_options(fb, operator.kind, options)?,
        None => (BuiltinOptions::NONE, None),
    };
    let args = tflite::OperatorArgs {
        opcode_index: u32::try_from(code).map_err(|_| "too many types of operators")?,
        inputs: Some(fb.create_vector(&integers(&inputs)?)),
        outputs: Some(fb.create_vector(&integers(&operator.outputs)?)),
        builtin_options_type: options_type,
        builtin_options: options,
        ..tflite::OperatorArgs::default()
    };
    Ok(tflite::Operator::create(fb, &args))
}

/// Creates a table of options: `table!(fb, Name { field: value, .. })`.
macro_rules! table {
    ($fb:ident, $name:ident, $args:ident { $($body:tt)* }) => {
        (
            BuiltinOptions::$name,
            Some(tflite::$name::create($fb, &tflite::$args { $($body)* }).as_union_value()),
        )
    };
}

/// Writes the options of an operator.
///
/// # Errors
/// If a window's numbers do not fit into the file's types.
pub(super) fn write_options(
    fb: &mut FlatBufferBuilder<'_>,
    kind: BuiltinOperator,
    options: &Options,
) -> Result<Union, String> {
    Ok(match options {
        Options::Window { window, activation } => write_window(fb, kind, window, *activation)?,
        Options::Arithmetic { activation } => {
            let fused_activation_function = *activation;
            match kind {
                BuiltinOperator::ADD => table!(
                    fb,
                    AddOptions,
                    AddOptionsArgs {
                        fused_activation_function,
                        pot_scale_int16: false
                    }
                ),
                BuiltinOperator::SUB => table!(
                    fb,
                    SubOptions,
                    SubOptionsArgs {
                        fused_activation_function,
                        pot_scale_int16: false
                    }
                ),
                BuiltinOperator::MUL => table!(
                    fb,
                    MulOptions,
                    MulOptionsArgs {
                        fused_activation_function
                    }
                ),
                _ => table!(
                    fb,
                    DivOptions,
                    DivOptionsArgs {
                        fused_activation_function
                    }
                ),
            }
        }
        Options::FullyConnected {
            keep_dims,
            activation,
            ..
        } => {
            table!(
                fb,
                FullyConnectedOptions,
                FullyConnectedOptionsArgs {
                    fused_activation_function: *activation,
                    keep_num_dims: *keep_dims,
                    ..tflite::FullyConnectedOptionsArgs::default()
                }
            )
        }
        Options::Concat { axis, activation } => {
            table!(
                fb,
                ConcatenationOptions,
                ConcatenationOptionsArgs {
                    axis: *axis,
                    fused_activation_function: *activation
                }
            )
        }
        Options::Reshape { shape } => {
            let new_shape = shape.as_ref().map(|shape| fb.create_vector(shape));
            table!(fb, ReshapeOptions, ReshapeOptionsArgs { new_shape })
        }
        Options::Squeeze { axes } => {
            let squeeze_dims = Some(fb.create_vector(axes));
            table!(fb, SqueezeOptions, SqueezeOptionsArgs { squeeze_dims })
        }
        _ => write_scalars(fb, kind, options),
    })
}

fn write_window(
    fb: &mut FlatBufferBuilder<'_>,
    kind: BuiltinOperator,
    window: &Window,
    fused_activation_function: tflite::ActivationFunctionType,
) -> Result<Union, String> {
    let pair = |values: [usize; 2]| integers(&values).map(|values| (values[0], values[1]));
    let (stride_h, stride_w) = pair(window.stride)?;
    let (dilation_h_factor, dilation_w_factor) = pair(window.dilation)?;
    let (filter_height, filter_width) = pair(window.size)?;
    let padding = if window.same {
        Padding::SAME
    } else {
        Padding::VALID
    };
    Ok(match kind {
        BuiltinOperator::CONV_2D => table!(
            fb,
            Conv2DOptions,
            Conv2DOptionsArgs {
                padding,
                stride_w,
                stride_h,
                fused_activation_function,
                dilation_w_factor,
                dilation_h_factor,
            }
        ),
        BuiltinOperator::DEPTHWISE_CONV_2D => {
            table!(
                fb,
                DepthwiseConv2DOptions,
                DepthwiseConv2DOptionsArgs {
                    padding,
                    stride_w,
                    stride_h,
                    depth_multiplier: 1,
                    fused_activation_function,
                    dilation_w_factor,
                    dilation_h_factor,
                }
            )
        }
        _ => table!(
            fb,
            Pool2DOptions,
            Pool2DOptionsArgs {
                padding,
                stride_w,
                stride_h,
                filter_width,
                filter_height,
                fused_activation_function,
            }
        ),
    })
}

fn write_scalars(
    fb: &mut FlatBufferBuilder<'_>,
    kind: BuiltinOperator,
    options: &Options,
) -> Union {
    match *options {
        Options::BatchMatmul {
            adjoint: [adj_x, adj_y],
        } => {
            table!(
                fb,
                BatchMatMulOptions,
                BatchMatMulOptionsArgs {
                    adj_x,
                    adj_y,
                    asymmetric_quantize_inputs: false
                }
            )
        }
        Options::LeakyRelu { alpha } => {
            table!(fb, LeakyReluOptions, LeakyReluOptionsArgs { alpha })
        }
        Options::Reduce { keep_dims } => {
            table!(fb, ReducerOptions, ReducerOptionsArgs { keep_dims })
        }
        Options::Resize {
            align_corners,
            half_pixel_centers,
        } => match kind {
            BuiltinOperator::RESIZE_BILINEAR => {
                table!(
                    fb,
                    ResizeBilinearOptions,
                    ResizeBilinearOptionsArgs {
                        align_corners,
                        half_pixel_centers
                    }
                )
            }
            _ => table!(
                fb,
                ResizeNearestNeighborOptions,
                ResizeNearestNeighborOptionsArgs {
                    align_corners,
                    half_pixel_centers
                }
            ),
        },
        Options::Softmax { beta } => table!(fb, SoftmaxOptions, SoftmaxOptionsArgs { beta }),
        Options::StridedSlice(masks) => {
            table!(
                fb,
                StridedSliceOptions,
                StridedSliceOptionsArgs {
                    begin_mask: masks.begin,
                    end_mask: masks.end,
                    ellipsis_mask: masks.ellipsis,
                    new_axis_mask: masks.new_axis,
                    shrink_axis_mask: masks.shrink_axis,
                }
            )
        }
        _ => (BuiltinOptions::NONE, None),
    }
}
