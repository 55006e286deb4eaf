//! From a file's bytes to tract's decluttered model of `f32`, batch 1.

use super::guard::guard;
use super::tflite::Refusal;
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

/// Parses a model, fixes its batch to 1, infers shapes and declutters.
pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<(TypedModel, Format), Error> {
    let format = Format::of(path, bytes).map_err(|cause| Error::Model {
        path: path.to_path_buf(),
        cause,
    })?;
    let model = match format {
        Format::Onnx => onnx(path, bytes)?,
        Format::Tflite => tflite(path, bytes)?,
    };
    Ok((declutter(path, model)?, format))
}

/// tract's own simplifications, which the lowering relies on.
pub(super) fn declutter(path: &Path, model: TypedModel) -> Result<TypedModel, Error> {
    guard(path, || {
        model.into_decluttered().map_err(|error| describe(&error))
    })
}

fn tflite(path: &Path, bytes: &[u8]) -> Result<TypedModel, Error> {
    let rewritten = guard(path, || Ok(super::tflite::rewrite(bytes)))?;
    let rewritten = rewritten.map_err(|refusal| match refusal {
        Refusal::Damaged(cause) => Error::Model {
            path: path.to_path_buf(),
            cause,
        },
        Refusal::Unsupported(nodes) => Error::Unsupported {
            path: path.to_path_buf(),
            nodes,
        },
    })?;
    guard(path, || {
        let mut model = tract_tflite::tflite()
            .model_for_read(&mut rewritten.bytes.as_slice())
            .map_err(|error| describe(&error))?;
        for (outlet, name) in model.outputs.clone().into_iter().zip(rewritten.outputs) {
            model
                .set_outlet_label(outlet, name)
                .map_err(|error| describe(&error))?;
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
    from_proto(path, &proto)
}

/// Builds a model from a decoded ONNX file.
pub(super) fn from_proto(path: &Path, proto: &ModelProto) -> Result<TypedModel, Error> {
    let model = guard(path, || {
        let onnx = tract_onnx::onnx().with_ignore_output_shapes(true);
        let folder = path.parent().and_then(Path::to_str);
        let parsed = onnx
            .parse(proto, folder)
            .map_err(|error| describe(&error))?;
        match parsed.unresolved_inputs.as_slice() {
            [] => Ok(parsed.model),
            missing => Err(format!("no node computes {}", missing.join(", "))),
        }
    })?;
    let unknown: Vec<String> = model
        .nodes()
        .iter()
        .filter(|node| node.op_is::<UnimplementedOp>())
        .map(|node| format!("{} ({})", node.name, unimplemented_name(&node.op.name())))
        .collect();
    if !unknown.is_empty() {
        return Err(Error::Unsupported {
            path: path.to_path_buf(),
            nodes: unknown,
        });
    }
    guard(path, || {
        let model = fix_batch(model)?;
        model.into_typed().map_err(|error| describe(&error))
    })
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
        model
            .set_input_fact(index, InferenceFact::dt_shape(datum, dims))
            .map_err(|error| describe(&error))?;
    }
    Ok(model)
}

/// The chain of an error in one line, without backtrace.
pub(super) fn describe(error: &TractError) -> String {
    let chain: Vec<String> = error
        .chain()
        .map(|cause| {
            cause
                .to_string()
                .lines()
                .next()
                .unwrap_or_default()
                .to_string()
        })
        .filter(|line| !line.is_empty())
        .collect();
    chain.join(": ")
}
