//! Whether edgeprune computes what the judge says: with the graph of the import, with the device
//! runtime in `f32`, and, within wide bounds, in int8.

use super::judge::{Case, Judge};
use edgeprune::dataset::Dataset;
use edgeprune::eval::{Opened, Runner};
use edgeprune::graph::{self, Graph};
use edgeprune::pack::{Goal, pack, pack_float};
use edgeprune::progress::Progress;
use edgeprune::study::Cache;
use edgeprune::{Error, import};
use edgeprune_runtime::Arena;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

/// Greatest error of an element, relative to the range of the output.
const LIMIT: f32 = 1e-4;
/// Errors below this are rounding, whatever the range.
const ROUNDING: f32 = 1e-6;
/// Samples that int8 packages are calibrated on.
const SAMPLES: usize = 8;

/// What became of a network.
#[derive(Debug)]
pub(crate) enum Outcome {
    Right,
    /// The operators that edgeprune does not have.
    Refused(Vec<String>),
    Wrong(String),
}

/// How much is tried of a network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Depth {
    Float,
    FloatAndInt8,
}

/// Loads, runs and compares; a panic is wrong, too.
pub(crate) fn check(case: &Case<'_>, judge: &Judge, depth: Depth) -> Outcome {
    let examined = panic::catch_unwind(AssertUnwindSafe(|| examine(case, judge, depth)));
    examined.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Outcome::Wrong(format!("panic: {}", text.unwrap_or("no reason given")))
    })
}

fn examine(case: &Case<'_>, judge: &Judge, depth: Depth) -> Outcome {
    let graph = match import::load(&case.path) {
        Ok(graph) => graph,
        Err(Error::Unsupported { nodes, .. }) => return Outcome::Refused(nodes),
        Err(error) => return Outcome::Wrong(format!("import: {error}")),
    };
    match judged(case, judge, depth, &graph) {
        Ok(()) => Outcome::Right,
        Err(why) => Outcome::Wrong(why),
    }
}

fn judged(case: &Case<'_>, judge: &Judge, depth: Depth, graph: &Graph) -> Result<(), String> {
    let dims = |dims: Vec<&[usize]>| format!("{dims:?}");
    let expected = dims(
        case.network
            .outputs
            .iter()
            .map(|o| o.dims.as_slice())
            .collect(),
    );
    let actual = dims(
        graph
            .outputs
            .iter()
            .map(|o| o.source_shape.as_slice())
            .collect(),
    );
    if expected != actual {
        return Err(format!("outputs of {actual}, not of {expected}"));
    }
    let expected = judge.outputs(case, graph)?;
    let inputs = case.port_inputs(graph);
    compare("graph", &expected, &graph::run(graph, &inputs))?;
    let float = pack_float(graph, None).map_err(|error| format!("float package: {error}"))?;
    compare(
        "float package",
        &expected,
        &packaged(&float.bytes, &inputs)?,
    )?;
    match depth {
        Depth::Float => Ok(()),
        Depth::FloatAndInt8 => int8(graph, &inputs),
    }
}

/// What the device runtime computes.
fn packaged(bytes: &[u8], inputs: &[Vec<f32>]) -> Result<Vec<Vec<f32>>, String> {
    let run = || {
        let opened = Opened::new(Path::new("random.epk"), bytes)?;
        let mut arena = Arena::new(opened.package().arena_bytes());
        Runner::new(&opened, &mut arena)?.run(inputs)
    };
    run().map_err(|error: Error| format!("package: {error}"))
}

fn compare(what: &str, expected: &[Vec<f32>], actual: &[Vec<f32>]) -> Result<(), String> {
    for (index, (expected, actual)) in expected.iter().zip(actual).enumerate() {
        if expected.len() != actual.len() {
            return Err(format!(
                "{what}: output {index} has {} elements",
                actual.len()
            ));
        }
        let (error, scale) = (greatest_error(expected, actual), scale(expected));
        if error > LIMIT * scale + ROUNDING {
            return Err(format!(
                "{what}: output {index} is off by {error} of {scale}"
            ));
        }
    }
    Ok(())
}

fn greatest_error(expected: &[f32], actual: &[f32]) -> f32 {
    let errors =
        expected
            .iter()
            .zip(actual)
            .map(|(a, b)| match a == b || (a.is_nan() && b.is_nan()) {
                true => 0.0,
                false if (a - b).is_nan() => f32::INFINITY,
                false => (a - b).abs(),
            });
    errors.fold(0.0, f32::max)
}

/// The range of an output, or its magnitude where it hardly varies.
fn scale(values: &[f32]) -> f32 {
    let finite = || values.iter().copied().filter(|x| x.is_finite());
    let (low, high) = (
        finite().fold(f32::INFINITY, f32::min),
        finite().fold(f32::NEG_INFINITY, f32::max),
    );
    let magnitude = low.abs().max(high.abs());
    let range = high - low;
    if range > magnitude / 100.0 {
        range
    } else {
        magnitude
    }
}

/// An int8 package of finite outputs, calibrated on made-up samples.
fn int8(graph: &Graph, inputs: &[Vec<f32>]) -> Result<(), String> {
    let samples = Dataset::synthetic(SAMPLES, None, &graph.inputs);
    let (cache, progress) = (Cache::none(), Progress::Silent);
    let packed = pack(graph, Goal::default(), &samples, None, &cache, &progress);
    let packed = packed.map_err(|error| format!("int8 package: {error}"))?;
    let outputs = packaged(&packed.bytes, inputs)?;
    match outputs.concat().iter().all(|x| x.is_finite()) {
        true => Ok(()),
        false => Err("int8 package: an output is not finite".into()),
    }
}
