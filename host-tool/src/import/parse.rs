//! From a file's bytes to tract's model of `f32`, batch 1: as parsed, and normalized.

use super::guard::guard;
use super::normalize::normalize;
use super::operators;
use super::repair::crop_negative_pads;
use super::tflite::Refusal;
use super::tflite::interpret::Interpreter;
use super::unsupported;
use crate::Error;
use crate::graph::Layout;
use std::path::Path;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::ops::unimpl::UnimplementedOp;

/// The two kinds of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Onnx,
    Tflite,
}

impl Format {
    /// Order of the dimensions of rank-4 tensors.
    pub(super) fn layout(self) -> Layout {
        match self {
            Self::Onnx => Layout::Nchw,
            Self::Tflite => Layout::Nhwc,
        }
    }

    /// By content first, since a TFLite file carries an identifier, then by extension.
    fn of(path: &Path, bytes: &[u8]) -> Result<Self, String> {
        let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
        let (onnx, tflite) = (
            extension == "onnx",
            extension == "tflite" || extension == "lite",
        );
        if bytes.is_empty() {
            return Err("the file is empty".into());
        }
        if bytes.get(4..8) == Some(b"TFL3") {
            return Ok(Self::Tflite);
        }
        if tflite {
            return Err("not a TFLite file (the identifier TFL3 is missing)".into());
        }
        // Every ONNX writer starts with field 1, the IR version, as a varint.
        if bytes[0] == 0x08 {
            return Ok(Self::Onnx);
        }
        if onnx {
            return Err("not an ONNX file (it does not start with an IR version)".into());
        }
        Err("neither ONNX nor TFLite: export the network as .onnx or .tflite".into())
    }
}

/// A source network.
pub(super) struct Parsed {
    pub(super) format: Format,
    /// As the file says.
    pub(super) model: TypedModel,
    /// With folded constants, which is what the lowering reads.
    pub(super) normalized: TypedModel,
    /// Of a TFLite file, what computes it directly: tract reads it only after changes.
    pub(super) interpreter: Option<Interpreter>,
}

/// Parses a model, fixes its batch to 1 and infers shapes.
pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Parsed, Error> {
    let format = Format::of(path, bytes).map_err(|cause| Error::Model {
        path: path.to_path_buf(),
        cause,
    })?;
    let model = match format {
        Format::Onnx => onnx(path, bytes)?,
        Format::Tflite => tflite(path, bytes)?,
    };
    let mut parsed = Parsed::new(path, model, format)?;
    if format == Format::Tflite {
        parsed.interpreter = Some(guard(path, || Interpreter::new(bytes))?);
    }
    Ok(parsed)
}

impl Parsed {
    /// Normalizes a model.
    pub(super) fn new(path: &Path, model: TypedModel, format: Format) -> Result<Self, Error> {
        let normalized = guard(path, || {
            normalize(model.clone()).map_err(|error| describe(&error))
        })?;
        Ok(Self {
            format,
            model,
            normalized,
            interpreter: None,
        })
    }
}

fn tflite(path: &Path, bytes: &[u8]) -> Result<TypedModel, Error> {
    let rewritten = guard(path, || Ok(super::tflite::rewrite(bytes)))?;
    let rewritten = rewritten.map_err(|refusal| match refusal {
        Refusal::Damaged(cause) => Error::Model {
            path: path.to_path_buf(),
            cause,
        },
        Refusal::Unsupported(nodes) => unsupported(path, &nodes),
    })?;
    guard(path, || {
        let mut model = tract_tflite::tflite()
            .model_for_read(&mut rewritten.bytes.as_slice())
            .map_err(|error| describe(&error))?;
        for (outlet, name) in model.outputs.clone().into_iter().zip(rewritten.outputs) {
            model.set_outlet_label(outlet, name);
        }
        Ok(model)
    })
}

fn onnx(path: &Path, bytes: &[u8]) -> Result<TypedModel, Error> {
    let proto = guard(path, || {
        tract_onnx::onnx()
            .proto_model_for_read(&mut &*bytes)
            .map_err(|error| format!("damaged ONNX file: {}", describe(&error)))
    })?;
    from_proto(path, proto)
}

/// Builds a model from a decoded ONNX file.
pub(super) fn from_proto(path: &Path, mut proto: ModelProto) -> Result<TypedModel, Error> {
    let custom = operators::custom(&proto);
    if !custom.is_empty() {
        return Err(unsupported(path, &custom));
    }
    operators::normalize(&mut proto);
    let model = guard(path, || inference_model(path, &proto))?;
    let unknown: Vec<String> = model
        .nodes()
        .iter()
        .filter(|node| node.op_is::<UnimplementedOp>())
        .map(|node| format!("{} ({})", node.name, unimplemented_name(&node.op.name())))
        .collect();
    if !unknown.is_empty() {
        return Err(unsupported(path, &unknown));
    }
    guard(path, || {
        let model = fix_batch(model)?;
        model
            .into_typed()
            .and_then(crop_negative_pads)
            .map_err(|error| describe(&error))
    })
}

fn inference_model(path: &Path, proto: &ModelProto) -> Result<InferenceModel, String> {
    let mut onnx = tract_onnx::onnx().with_ignore_output_shapes(true);
    operators::register(&mut onnx.op_register, operators::opset(proto));
    let folder = path.parent().and_then(Path::to_str);
    let parsed = onnx
        .parse(proto, folder)
        .map_err(|error| describe(&error))?;
    match parsed.unresolved_inputs.as_slice() {
        [] => Ok(parsed.model),
        missing => Err(format!("no node computes {}", missing.join(", "))),
    }
}

/// `Unimplemented(Name)` to `Name`.
fn unimplemented_name(name: &str) -> &str {
    name.strip_prefix("Unimplemented(")
        .and_then(|name| name.strip_suffix(')'))
        .unwrap_or(name)
}

/// A symbolic or missing first dimension of an input becomes 1.
fn fix_batch(mut model: InferenceModel) -> Result<InferenceModel, String> {
    for index in 0..model.inputs.len() {
        let outlet = model.inputs[index];
        let name = model.node(outlet.node).name.clone();
        let fact = model
            .outlet_fact(outlet)
            .map_err(|error| describe(&error))?
            .clone();
        let Some(rank) = fact.shape.rank().concretize() else {
            return Err(format!("input {name} has no shape: export it with one"));
        };
        let mut dims = Vec::new();
        for axis in 0..rank as usize {
            let dim = fact.shape.dim(axis).and_then(|dim| dim.concretize());
            match dim.as_ref().and_then(|dim| dim.to_usize().ok()) {
                Some(size) => dims.push(size),
                None if axis == 0 => dims.push(1),
                None => {
                    return Err(format!(
                        "dimension {axis} of input {name} is not fixed: export the network with a fixed size"
                    ));
                }
            }
        }
        let datum = fact.datum_type.concretize().unwrap_or(DatumType::F32);
        if datum == DatumType::F64 {
            return Err(format!(
                "input {name} is of float64: convert the network to float32 and export it again"
            ));
        }
        model
            .set_input_fact(index, InferenceFact::dt_shape(datum, dims))
            .map_err(|error| describe(&error))?;
    }
    Ok(model)
}

/// The chain of an error in one sentence, without backtrace: which node, where the chain names
/// one, and the innermost cause.
pub(super) fn describe(error: &TractError) -> String {
    let first_line = |cause: &dyn std::fmt::Display| {
        let text = cause.to_string();
        text.lines().next().unwrap_or_default().trim().to_string()
    };
    let chain: Vec<String> = error.chain().map(|cause| first_line(&cause)).collect();
    let named = chain.iter().rev().find_map(|cause| node_of(cause));
    let detail = chain.iter().rev().find(|cause| !cause.is_empty());
    let detail = detail.map_or("no reason given", String::as_str);
    match named {
        Some(node) => format!(
            "{node} cannot be read: its inputs and attributes do not fit each other, or it is used \
             in a way that edgeprune does not know ({detail})"
        ),
        None => format!("the network is damaged, or uses an operator in an unusual way ({detail})"),
    }
}

/// The node that a cause names, as in `node #3 "name" Op` or `node name (Op)`.
fn node_of(cause: &str) -> Option<String> {
    let (_, rest) = cause.split_once("ode ")?;
    if let Some(quoted) = rest.strip_prefix('#') {
        let mut parts = quoted.splitn(3, '"');
        let (_, name, op) = (parts.next()?, parts.next()?, parts.next()?);
        let op: String = op
            .trim()
            .chars()
            .take_while(|c| c.is_alphanumeric())
            .collect();
        return Some(format!("{name} ({op})"));
    }
    let (name, op) = rest.split_once(" (")?;
    let (op, _) = op.split_once(')')?;
    (!name.contains(' ')).then(|| format!("{name} ({op})"))
}
