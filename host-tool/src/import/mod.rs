//! Reads ONNX and TFLite networks: tract parses, infers and folds; [`lower`] turns its operators
//! into ours; [`simplify`] folds and fuses. No tract type leaves this folder.

mod guard;
mod lower;
mod names;
mod normalize;
mod operators;
mod parse;
mod reach;
mod repair;
mod simplify;
mod tflite;
mod verify;

pub use verify::{OutputError, Reference, Verification, compare, verify};

use crate::Error;
use crate::graph::{Graph, Node, Op, UnaryKind};
use lower::Origins;
use parse::Parsed;
use sha2::{Digest, Sha256};
use std::path::Path;
use verify::Provenance;

/// An imported network.
#[derive(Debug)]
pub struct Imported {
    /// The network.
    pub graph: Graph,
    /// What could not be checked, and what was checked instead: one sentence each.
    pub doubts: Vec<String>,
}

/// Reads a network from an ONNX or TFLite file, with the batch fixed to 1, and compares what it
/// computes with what the file says: see [`open`], which also tells what could not be checked.
///
/// # Errors
/// As [`open`].
pub fn load(path: &Path) -> Result<Graph, Error> {
    open(path).map(|imported| imported.graph)
}

/// Reads a network from an ONNX or TFLite file, with the batch fixed to 1, and runs it and the
/// network as the file says on synthetic samples.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read, [`Error::Model`] if it is not a valid network or its
/// import computes something else, and [`Error::Unsupported`] with every operator that edgeprune
/// does not know.
pub fn open(path: &Path) -> Result<Imported, Error> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    let parsed = parse::parse(path, &bytes)?;
    let (mut graph, doubts) = imported(path, parsed)?;
    graph.name = path.file_stem().map_or_else(
        || "model".into(),
        |stem| stem.to_string_lossy().into_owned(),
    );
    graph.source_hash = Sha256::digest(&bytes).into();
    graph.source_bytes = bytes.len() as u64;
    Ok(Imported { graph, doubts })
}

/// Lowers, simplifies and checks a network.
fn imported(path: &Path, parsed: Parsed) -> Result<(Graph, Vec<String>), Error> {
    let (mut graph, origins) = lowered(path, &parsed)?;
    check_constants(path, &graph)?;
    let places = guard::guard(path, || Ok(simplify::simplify(&mut graph)))?;
    names::shorten(&mut graph);
    graph.validate().map_err(|cause| Error::Model {
        path: path.to_path_buf(),
        cause: format!("{cause}; this is a defect of the import, please report it with the model"),
    })?;
    let mut reference = Reference::new(path, parsed, &graph)?;
    let provenance = Provenance {
        origins: &origins,
        places: &places,
    };
    verify::check(&mut reference, &graph, &provenance)?;
    Ok((graph, reference.doubt().into_iter().collect()))
}

/// Refuses constants that are infinite or not a number: nothing that reads them means anything.
fn check_constants(path: &Path, graph: &Graph) -> Result<(), Error> {
    let not_finite = |node: &Node| match &node.op {
        Op::Unary {
            kind: UnaryKind::Affine { a, b },
        } => (count_not_finite(&[*a, *b]), 2),
        op => op.linear().map_or((0, 0), |linear| {
            let wrong = count_not_finite(&linear.weights) + count_not_finite(&linear.bias);
            (wrong, linear.weights.len() + linear.bias.len())
        }),
    };
    let found = graph.nodes.iter().map(|node| (node, not_finite(node)));
    match found.into_iter().find(|(_, (wrong, _))| *wrong > 0) {
        Some((node, (wrong, all))) => Err(Error::Model {
            path: path.to_path_buf(),
            cause: format!(
                "{}: {wrong} of {all} constants are infinite or not a number: the model is damaged, \
                 export it again",
                names::printable(&node.name)
            ),
        }),
        None => Ok(()),
    }
}

fn count_not_finite(values: &[f32]) -> usize {
    values.iter().filter(|value| !value.is_finite()).count()
}

fn lowered(path: &Path, parsed: &Parsed) -> Result<(Graph, Origins), Error> {
    let result = guard::guard(path, || Ok(lower::lower(&parsed.normalized, parsed.format)))?;
    result.map_err(|nodes| unsupported(path, &nodes))
}

/// The error for nodes that cannot be imported: `name (type): why` each.
fn unsupported(path: &Path, nodes: &[String]) -> Error {
    Error::Unsupported {
        path: path.to_path_buf(),
        nodes: nodes.iter().map(|node| names::printable(node)).collect(),
    }
}

#[cfg(test)]
mod tests;
