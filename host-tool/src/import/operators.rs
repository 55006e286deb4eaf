//! Operators of ONNX that tract reads wrongly or not at all: parsers of our own, and files put into
//! the form that tract's parsers expect.

use tract_onnx::model::{OnnxOpRegister, ParsingContext};
use tract_onnx::pb::tensor_shape_proto::dimension;
use tract_onnx::pb::{ModelProto, NodeProto, ValueInfoProto, type_proto};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::math::{abs, div, mul, sqrt, square};
use tract_onnx::tract_core::ops::nn::resize::{CoordTransformer, Interpolator};
use tract_onnx::tract_core::ops::nn::{Reduce, Reducer};
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::ops::activations::{Elu, broadcast_scalar};
use tract_onnx_opl::resize::{AspectRatio, CoordTransform, Nearest, Resize};

/// Domains whose operators have the meaning that tract gives them.
const DOMAINS: [&str; 4] = ["", "ai.onnx", "ai.onnx.ml", "com.microsoft"];

/// First set of operators whose resize has coordinates to choose.
const RESIZE_WITH_COORDINATES: i64 = 11;

/// Puts our parsers in place of tract's.
pub(super) fn register(register: &mut OnnxOpRegister, opset: i64) {
    register.insert("Celu", celu);
    register.insert("GlobalLpPool", global_lp_pool);
    register.insert("Upsample", upsample);
    if opset < RESIZE_WITH_COORDINATES {
        register.insert("Resize", upsample);
    }
}

/// Version of ONNX's own operators in a file.
pub(super) fn opset(proto: &ModelProto) -> i64 {
    let own = |domain: &str| domain.is_empty() || domain == "ai.onnx";
    let mut imports = proto.opset_import.iter();
    imports
        .find(|import| own(&import.domain))
        .map_or(1, |import| import.version)
}

/// Every node of a domain that is neither ONNX's nor known: `name (domain.type)`.
pub(super) fn custom(proto: &ModelProto) -> Vec<String> {
    let nodes = proto.graph.iter().flat_map(|graph| &graph.node);
    let strange = nodes.filter(|node| !DOMAINS.contains(&node.domain.as_str()));
    strange
        .map(|node| {
            let name = match node.name.as_str() {
                "" => node.output.first().map_or("a node", String::as_str),
                name => name,
            };
            format!(
                "{name} ({}.{}): a custom operator",
                node.domain, node.op_type
            )
        })
        .collect()
}

/// Takes away what ONNX tells readers to ignore and tract reads.
pub(super) fn normalize(proto: &mut ModelProto) {
    let Some(graph) = &mut proto.graph else {
        return;
    };
    for node in &mut graph.node {
        drop_explicit_pads(node);
        drop_fill(node);
    }
    // Once the batch is fixed, a symbol in its place elsewhere contradicts it.
    graph.value_info.retain(|info| !is_symbolic(info));
}

fn is_symbolic(info: &ValueInfoProto) -> bool {
    let value = info.r#type.as_ref().and_then(|info| info.value.as_ref());
    let Some(type_proto::Value::TensorType(tensor)) = value else {
        return false;
    };
    let mut dims = tensor.shape.iter().flat_map(|shape| &shape.dim);
    dims.any(|dim| !matches!(dim.value, Some(dimension::Value::DimValue(_))))
}

fn text<'a>(node: &'a NodeProto, name: &str) -> &'a [u8] {
    let attribute = node
        .attribute
        .iter()
        .find(|attribute| attribute.name == name);
    attribute.map_or(&[], |attribute| &attribute.s)
}

/// Explicit pads count only where `auto_pad` is `NOTSET`. `VALID` is no padding at all, and keeps
/// `ceil_mode`.
fn drop_explicit_pads(node: &mut NodeProto) {
    let dropped: &[&str] = match text(node, "auto_pad") {
        b"" | b"NOTSET" => &[],
        b"VALID" => &["auto_pad", "pads"],
        _ => &["pads"],
    };
    node.attribute
        .retain(|attribute| !dropped.contains(&attribute.name.as_str()));
}

/// A padding that mirrors or repeats has no use for the value of a constant one.
fn drop_fill(node: &mut NodeProto) {
    let constant = matches!(text(node, "mode"), b"" | b"constant");
    if node.op_type == "Pad"
        && !constant
        && let Some(fill) = node.input.get_mut(2)
    {
        fill.clear();
    }
}

type Built = TractResult<(Box<dyn InferenceOp>, Vec<String>)>;

fn celu(_: &ParsingContext<'_>, node: &NodeProto) -> Built {
    let alpha = node.get_attr_opt("alpha")?.unwrap_or(1.0);
    ensure!(
        alpha > 0.0,
        "Celu with alpha {alpha}, which is not positive"
    );
    Ok((expand(Celu(alpha)), vec![]))
}

/// `max(x, 0) + min(0, alpha (exp(x / alpha) - 1))`, which is `alpha elu(x / alpha)`.
#[derive(Clone, Debug)]
struct Celu(f32);

impl Expansion for Celu {
    fn name(&self) -> StaticName {
        "Celu".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        check_output_arity(outputs, 1)?;
        s.equals(&inputs[0].datum_type, &outputs[0].datum_type)?;
        s.equals(&inputs[0].shape, &outputs[0].shape)
    }

    fn wire(
        &self,
        name: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let alpha = broadcast_scalar(self.0, model, inputs)?;
        let alpha = model.add_const(format!("{name}.alpha"), alpha)?;
        let scaled = model.wire_node(format!("{name}.scaled"), div(), &[inputs[0], alpha])?;
        let bent = Elu(1.0).wire(&format!("{name}.elu"), model, &scaled)?;
        model.wire_node(name, mul(), &[bent[0], alpha])
    }
}

fn global_lp_pool(_: &ParsingContext<'_>, node: &NodeProto) -> Built {
    match node.get_attr_opt::<i64>("p")?.unwrap_or(2) {
        1 => Ok((expand(GlobalLpPool { squares: false }), vec![])),
        2 => Ok((expand(GlobalLpPool { squares: true }), vec![])),
        p => bail!("GlobalLpPool of order {p}"),
    }
}

/// The sum of magnitudes over all positions, or the root of the sum of squares.
#[derive(Clone, Debug)]
struct GlobalLpPool {
    squares: bool,
}

impl Expansion for GlobalLpPool {
    fn name(&self) -> StaticName {
        "GlobalLpPool".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        check_output_arity(outputs, 1)?;
        s.equals(&inputs[0].datum_type, &outputs[0].datum_type)?;
        s.equals(&inputs[0].rank, &outputs[0].rank)?;
        s.given(&inputs[0].shape, move |s, shape| {
            for (axis, dim) in shape.into_iter().enumerate() {
                let dim = if axis < 2 { dim } else { 1.into() };
                s.equals(&outputs[0].shape[axis], dim)?;
            }
            Ok(())
        })
    }

    fn wire(
        &self,
        name: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let positions: TVec<usize> = (2..model.outlet_fact(inputs[0])?.rank()).collect();
        let sum = Reduce::new(positions, Reducer::Sum);
        if self.squares {
            let squares = model.wire_node(format!("{name}.squares"), square(), inputs)?;
            let sum = model.wire_node(format!("{name}.sum"), sum, &squares)?;
            model.wire_node(name, sqrt(), &sum)
        } else {
            let magnitudes = model.wire_node(format!("{name}.magnitudes"), abs(), inputs)?;
            model.wire_node(name, sum, &magnitudes)
        }
    }
}

/// `Upsample`, and `Resize` before its coordinates could be chosen.
fn upsample(_: &ParsingContext<'_>, node: &NodeProto) -> Built {
    let mode: &str = node.get_attr_opt("mode")?.unwrap_or("nearest");
    let interpolator = match mode {
        "nearest" => Interpolator::Nearest,
        "linear" | "bilinear" => Interpolator::Linear,
        mode => bail!("mode {mode}"),
    };
    let attribute: Option<Vec<f32>> = node.get_attr_opt_vec("scales")?;
    ensure!(
        attribute.is_some() || node.input.len() == 2,
        "scales are missing"
    );
    Ok((
        expand(Upsample {
            interpolator,
            attribute,
        }),
        vec![],
    ))
}

/// Output element `x` reads the input at `x / scale`: the nearest is the one before where the
/// scale enlarges, and the one after where it reduces.
#[derive(Clone, Debug)]
struct Upsample {
    interpolator: Interpolator,
    /// Scales, where they are not an input.
    attribute: Option<Vec<f32>>,
}

impl Upsample {
    fn resize(&self, scales: &Tensor) -> TractResult<Resize> {
        let scales = scales.cast_to::<f32>()?;
        let scales = scales.to_plain_array_view::<f32>()?;
        let reduces = scales.iter().any(|&scale| scale < 1.0);
        let enlarges = scales.iter().any(|&scale| scale > 1.0);
        ensure!(
            !(reduces && enlarges) || self.interpolator != Interpolator::Nearest,
            "a resize that enlarges one dimension and reduces another"
        );
        Ok(Resize {
            axes: None,
            coord_transformer: CoordTransform::Plain(CoordTransformer::Asymmetric),
            interpolator: self.interpolator.clone(),
            nearest: if reduces {
                Nearest::Ceil
            } else {
                Nearest::Floor
            },
            antialias: false,
            cubic_coeff_a_bits: (-0.75f32).to_bits(),
            exclude_outside: false,
            extrapolation_value_bits: 0,
            keep_aspect_ratio_policy: AspectRatio::Stretch,
            optional_roi_input: None,
            optional_scales_input: Some(1),
            optional_sizes_input: None,
        })
    }

    fn output_rules<'r>(
        &self,
        s: &mut Solver<'r>,
        output: &'r TensorProxy,
        input: &[TDim],
        scales: &Tensor,
    ) -> InferenceResult {
        let resize = self.resize(scales)?;
        let shape = resize.compute_output_shape(input, Some(scales), None)?;
        for (axis, dim) in shape.into_iter().enumerate() {
            s.equals(&output.shape[axis], dim)?;
        }
        Ok(())
    }
}

impl Expansion for Upsample {
    fn name(&self) -> StaticName {
        "Upsample".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_output_arity(outputs, 1)?;
        s.equals(&inputs[0].datum_type, &outputs[0].datum_type)?;
        s.equals(&inputs[0].rank, &outputs[0].rank)?;
        let output = &outputs[0];
        match &self.attribute {
            Some(scales) => s.given(&inputs[0].shape, move |s, shape| {
                self.output_rules(s, output, &shape, &tensor1(scales))
            }),
            None => s.given_2(
                &inputs[0].shape,
                &inputs[1].value,
                move |s, shape, scales| self.output_rules(s, output, &shape, &scales),
            ),
        }
    }

    fn wire(
        &self,
        name: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let scales = match &self.attribute {
            Some(scales) => model.add_const(format!("{name}.scales"), tensor1(scales))?,
            None => inputs[1],
        };
        let constant = model.outlet_fact(scales)?.konst.clone();
        let constant = constant.context("its scales are not constants")?;
        model.wire_node(name, self.resize(&constant)?, &[inputs[0], scales])
    }
}
