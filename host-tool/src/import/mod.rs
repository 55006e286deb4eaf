//! Reads ONNX and TFLite networks: tract parses, infers and folds; [`lower`] turns its operators
//! into ours; [`simplify`] folds and fuses. No tract type leaves this folder.

mod guard;
mod lower;
mod names;
mod parse;
mod simplify;
mod tflite;
mod verify;

pub use verify::{OutputError, Reference, Verification, compare, verify};

use crate::Error;
use crate::graph::Graph;
use parse::Format;
use sha2::{Digest, Sha256};
use std::path::Path;
use tract_onnx::prelude::TypedModel;

/// Reads a network from an ONNX or TFLite file, with the batch fixed to 1.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read, [`Error::Model`] if it is not a valid network, and
/// [`Error::Unsupported`] with every operator that edgeprune does not know.
pub fn load(path: &Path) -> Result<Graph, Error> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    let (model, format) = parse::parse(path, &bytes)?;
    let mut graph = lowered(path, &model, format)?;
    simplify::simplify(&mut graph);
    names::shorten(&mut graph);
    graph.name = path.file_stem().map_or_else(
        || "model".into(),
        |stem| stem.to_string_lossy().into_owned(),
    );
    graph.source_hash = Sha256::digest(&bytes).into();
    graph.source_bytes = bytes.len() as u64;
    graph.validate().map_err(|cause| Error::Model {
        path: path.to_path_buf(),
        cause: format!("{cause}; this is a defect of the import, please report it with the model"),
    })?;
    Ok(graph)
}

fn lowered(path: &Path, model: &TypedModel, format: Format) -> Result<Graph, Error> {
    let result = guard::guard(path, || Ok(lower::lower(model, format)))?;
    result.map_err(|nodes| Error::Unsupported {
        path: path.to_path_buf(),
        nodes,
    })
}

#[cfg(test)]
mod tests;
