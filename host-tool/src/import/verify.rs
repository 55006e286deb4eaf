//! The source network run by tract, to compare the lowered one with.

use super::guard::guard;
use super::parse::{self, Format, describe};
use crate::Error;
use crate::graph::{self, Graph, Layout, Port};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tract_onnx::prelude::*;

/// The source network, ready to run. For a file that tract cannot read directly this is the
/// network that edgeprune rewrote for it.
pub struct Reference {
    path: PathBuf,
    plan: Arc<TypedRunnableModel>,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
}

/// How far a lowered network is from its source.
#[derive(Clone, Debug, PartialEq)]
pub struct Verification {
    /// One record for each output.
    pub outputs: Vec<OutputError>,
}

/// How far one output is from the source's.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputError {
    /// Name of the output.
    pub name: String,
    /// Greatest absolute difference of an element.
    pub max_abs_error: f32,
    /// Greatest minus least element of the source's output.
    pub range: f32,
    /// `max_abs_error / range`.
    pub relative: f32,
}

impl Verification {
    /// The relative error that an import must not exceed.
    pub const LIMIT: f32 = 1e-4;

    /// The greatest relative error of an output.
    pub fn worst(&self) -> f32 {
        self.outputs
            .iter()
            .map(|output| output.relative)
            .fold(0.0, f32::max)
    }

    /// Whether every output is within [`Self::LIMIT`].
    pub fn passes(&self) -> bool {
        self.outputs
            .iter()
            .all(|output| output.relative <= Self::LIMIT)
    }
}

impl Reference {
    /// Reads a network as [`super::load`] does.
    ///
    /// # Errors
    /// As [`super::load`].
    pub fn load(path: &Path) -> Result<Self, Error> {
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        let (model, format) = parse::parse(path, &bytes)?;
        Self::new(path, model, format)
    }

    /// Prepares a decluttered model.
    pub(super) fn new(path: &Path, model: TypedModel, format: Format) -> Result<Self, Error> {
        let graph = super::lowered(path, &model, format)?;
        let plan = guard(path, || {
            let optimized = model.into_optimized().map_err(|error| describe(&error))?;
            optimized.into_runnable().map_err(|error| describe(&error))
        })?;
        Ok(Self {
            path: path.to_path_buf(),
            plan,
            inputs: graph.inputs,
            outputs: graph.outputs,
        })
    }

    /// Runs one sample: NHWC in, NHWC out, in the order of the graph's ports.
    ///
    /// # Errors
    /// If an input does not have the size of its port, or tract fails.
    pub fn run(&self, inputs: &[Vec<f32>]) -> Result<Vec<Vec<f32>>, Error> {
        guard(&self.path, || {
            self.run_plan(inputs).map_err(|error| describe(&error))
        })
    }

    fn run_plan(&self, inputs: &[Vec<f32>]) -> TractResult<Vec<Vec<f32>>> {
        let mut tensors = tvec!();
        for (port, data) in self.inputs.iter().zip(inputs) {
            let ordered = to_source(port, data);
            tensors.push(Tensor::from_shape(&port.source_shape, &ordered)?.into_tvalue());
        }
        let results = self.plan.run(tensors)?;
        let mut outputs = Vec::new();
        for (port, result) in self.outputs.iter().zip(results) {
            let view = result.to_plain_array_view::<f32>()?;
            let data: Vec<f32> = view.iter().copied().collect();
            outputs.push(from_source(port, &data));
        }
        Ok(outputs)
    }
}

/// NHWC to the source's order.
fn to_source(port: &Port, data: &[f32]) -> Vec<f32> {
    match (port.layout, port.source_shape.as_slice()) {
        (Layout::Nchw, &[_, c, h, w]) => transposed(data, h * w, c),
        _ => data.to_vec(),
    }
}

/// The source's order to NHWC.
fn from_source(port: &Port, data: &[f32]) -> Vec<f32> {
    match (port.layout, port.source_shape.as_slice()) {
        (Layout::Nchw, &[_, c, h, w]) => transposed(data, c, h * w),
        _ => data.to_vec(),
    }
}

fn transposed(data: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let column = |c: usize| (0..rows).map(move |r| data[r * columns + c]);
    (0..columns).flat_map(column).collect()
}

/// Runs the source network and the lowered graph on one sample (NHWC) and compares the outputs.
///
/// # Errors
/// If the source network cannot be loaded or run.
pub fn verify(path: &Path, graph: &Graph, inputs: &[Vec<f32>]) -> Result<Verification, Error> {
    let expected = Reference::load(path)?.run(inputs)?;
    Ok(compare(graph, &expected, &graph::run(graph, inputs)))
}

/// Compares outputs with those of a [`Reference`].
pub fn compare(graph: &Graph, expected: &[Vec<f32>], actual: &[Vec<f32>]) -> Verification {
    let pairs = graph.outputs.iter().zip(expected.iter().zip(actual));
    let outputs = pairs.map(|(port, (expected, actual))| {
        let least = expected.iter().copied().fold(f32::INFINITY, f32::min);
        let range = expected.iter().copied().fold(f32::NEG_INFINITY, f32::max) - least;
        let max_abs_error = expected
            .iter()
            .zip(actual)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, |worst: f32, error| {
                if error.is_nan() {
                    f32::INFINITY
                } else {
                    worst.max(error)
                }
            });
        let relative = if max_abs_error == 0.0 {
            0.0
        } else {
            max_abs_error / range
        };
        OutputError {
            name: port.name.clone(),
            max_abs_error,
            range,
            relative,
        }
    });
    Verification {
        outputs: outputs.collect(),
    }
}
