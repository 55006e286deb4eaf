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
    compare("graph", graph, &expected, &graph::run(graph, &inputs))?;
    let float = pack_float(graph, None).map_err(|error| format!("float package: {error}"))?;
    compare(
        "float package",
        graph,
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

fn compare(
    what: &str,
    graph: &Graph,
    expected: &[Vec<f32>],
    actual: &[Vec<f32>],
) -> Result<(), String> {
    let result = import::compare(graph, expected, actual);
    match result.passes() {
        true => Ok(()),
        false => Err(format!("{what}: {:?}", result.outputs)),
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
