//! What edgeprune cannot read of a network, said in sentences before tract sees it.

use super::file::{Network, Operator};
use super::options::Options;
use std::collections::HashSet;
use tract_tflite::tflite::{ActivationFunctionType, BuiltinOperator};

/// Every operator that cannot be read: `name (type): why`.
pub(super) fn refusals(network: &Network) -> Vec<String> {
    let constants = (0..network.tensors.len()).filter(|&id| network.tensors[id].data.is_some());
    let mut known: HashSet<usize> = constants.collect();
    let mut refused = Vec::new();
    for operator in &network.operators {
        let fixed = operator.kind == BuiltinOperator::SHAPE
            || operator
                .inputs
                .iter()
                .flatten()
                .all(|id| known.contains(id));
        if fixed {
            known.extend(&operator.outputs);
        }
        let named = format!("{} ({})", network.name(operator), operator.type_name());
        match (&operator.options, refusal(network, operator, &known)) {
            (None, _) => refused.push(named),
            (Some(_), Some(why)) => refused.push(format!("{named}: {why}")),
            _ => {}
        }
    }
    refused
}

/// How many operands an operator must have.
fn operands(kind: BuiltinOperator) -> usize {
    match kind {
        BuiltinOperator::ADD
        | BuiltinOperator::BATCH_MATMUL
        | BuiltinOperator::BROADCAST_TO
        | BuiltinOperator::CONV_2D
        | BuiltinOperator::DEPTHWISE_CONV_2D
        | BuiltinOperator::DIV
        | BuiltinOperator::EQUAL
        | BuiltinOperator::EXPAND_DIMS
        | BuiltinOperator::FULLY_CONNECTED
        | BuiltinOperator::GREATER
        | BuiltinOperator::GREATER_EQUAL
        | BuiltinOperator::LESS
        | BuiltinOperator::LESS_EQUAL
        | BuiltinOperator::LOGICAL_AND
        | BuiltinOperator::LOGICAL_OR
        | BuiltinOperator::MAXIMUM
        | BuiltinOperator::MEAN
        | BuiltinOperator::MINIMUM
        | BuiltinOperator::MUL
        | BuiltinOperator::NOT_EQUAL
        | BuiltinOperator::PAD
        | BuiltinOperator::REDUCE_MAX
        | BuiltinOperator::REDUCE_MIN
        | BuiltinOperator::REDUCE_PROD
        | BuiltinOperator::RESIZE_BILINEAR
        | BuiltinOperator::RESIZE_NEAREST_NEIGHBOR
        | BuiltinOperator::SUB
        | BuiltinOperator::SUM
        | BuiltinOperator::TRANSPOSE => 2,
        BuiltinOperator::PADV2
        | BuiltinOperator::SELECT
        | BuiltinOperator::SELECT_V2
        | BuiltinOperator::SLICE => 3,
        BuiltinOperator::STRIDED_SLICE => 4,
        _ => 1,
    }
}

/// The operands that say how, not what: their values must be known.
fn arguments(kind: BuiltinOperator) -> &'static [usize] {
    match kind {
        BuiltinOperator::BROADCAST_TO
        | BuiltinOperator::EXPAND_DIMS
        | BuiltinOperator::MEAN
        | BuiltinOperator::PAD
        | BuiltinOperator::REDUCE_MAX
        | BuiltinOperator::REDUCE_MIN
        | BuiltinOperator::REDUCE_PROD
        | BuiltinOperator::RESIZE_BILINEAR
        | BuiltinOperator::RESIZE_NEAREST_NEIGHBOR
        | BuiltinOperator::SUM
        | BuiltinOperator::TRANSPOSE => &[1],
        BuiltinOperator::PADV2 | BuiltinOperator::SLICE => &[1, 2],
        BuiltinOperator::STRIDED_SLICE => &[1, 2, 3],
        _ => &[],
    }
}

fn refusal(network: &Network, operator: &Operator, known: &HashSet<usize>) -> Option<String> {
    let options = operator.options.as_ref()?;
    if let Some(slot) = (0..operands(operator.kind)).find(|&slot| operator.input(slot).is_none()) {
        return Some(format!("operand {slot} is missing; the file is damaged"));
    }
    if operator.outputs.len() != 1 {
        return Some("it has several outputs".into());
    }
    let varies = |&&slot: &&usize| {
        let argument = operator.input(slot);
        argument.is_some_and(|id| !known.contains(&id))
    };
    if let Some(slot) = arguments(operator.kind).iter().find(varies) {
        return Some(format!(
            "operand {slot} depends on the input: export the network with fixed sizes"
        ));
    }
    if let Some(name) = foreign_activation(options) {
        return Some(format!(
            "its fused activation {name}, which TensorFlow Lite does not compute either"
        ));
    }
    by_options(network, operator, options)
}

/// A fused activation that no kernel of TensorFlow Lite applies.
fn foreign_activation(options: &Options) -> Option<&'static str> {
    let activation = options.activation();
    let known = match options {
        Options::Concat { .. } => activation == ActivationFunctionType::NONE,
        _ => matches!(
            activation,
            ActivationFunctionType::NONE
                | ActivationFunctionType::RELU
                | ActivationFunctionType::RELU6
                | ActivationFunctionType::RELU_N1_TO_1
        ),
    };
    (!known).then(|| activation.variant_name().unwrap_or("of an unknown type"))
}

fn by_options(network: &Network, operator: &Operator, options: &Options) -> Option<String> {
    let dims = |slot: usize| {
        let id = operator.input(slot);
        id.map_or(&[][..], |id| network.tensors[id].dims.as_slice())
    };
    match options {
        Options::FullyConnected { shuffled: true, .. } => Some(
            "its weights are shuffled for one processor: export them in the default order".into(),
        ),
        Options::FullyConnected { .. } => match dims(1) {
            &[_, depth] if depth > 0 && dims(0).iter().product::<usize>().is_multiple_of(depth) => {
                None
            }
            weights => Some(format!(
                "weights of {weights:?} for an input of {:?}",
                dims(0)
            )),
        },
        Options::BatchMatmul { .. } if dims(0).len() != dims(1).len() => {
            Some("a product of tensors of different ranks: export the network to ONNX".into())
        }
        Options::Resize {
            align_corners: true,
            half_pixel_centers: true,
        } => Some("align_corners and half_pixel_centers exclude each other".into()),
        Options::StridedSlice(masks) if masks.shrink_axis != 0 || masks.new_axis != 0 => Some(
            "it removes or adds an axis; keep the axis and RESHAPE, or export the network to ONNX"
                .into(),
        ),
        Options::StridedSlice(masks) if masks.ellipsis != 0 || masks.offset => {
            Some("it leaves axes out or counts ends from begins; export the network to ONNX".into())
        }
        Options::Window { .. } => over_window(operator.kind, dims(0), dims(1)),
        _ => None,
    }
}

/// Whether a kernel fits to the channels of its input.
fn over_window(kind: BuiltinOperator, input: &[usize], kernel: &[usize]) -> Option<String> {
    let fits = match (kind, input, kernel) {
        (BuiltinOperator::CONV_2D, &[.., channels], &[outputs, _, _, depth]) => {
            let groups = channels.checked_div(depth).unwrap_or(0);
            groups > 0 && groups * depth == channels && outputs.is_multiple_of(groups)
        }
        (BuiltinOperator::DEPTHWISE_CONV_2D, &[.., channels], &[1, _, _, outputs]) => {
            channels > 0 && outputs.is_multiple_of(channels)
        }
        (BuiltinOperator::CONV_2D | BuiltinOperator::DEPTHWISE_CONV_2D, ..) => false,
        _ => true,
    };
    let image = input.len() == 4;
    (!fits || !image).then(|| format!("a kernel of {kernel:?} for an input of {input:?}"))
}
