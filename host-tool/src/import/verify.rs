//! The source network run as its file says, to compare the lowered one with.

use super::guard::guard;
use super::lower::Origins;
use super::names::printable;
use super::parse::{self, Parsed, describe};
use super::tflite::interpret::{Interpreter, Origin, Traced};
use crate::Error;
use crate::dataset::{Dataset, InputSpec};
use crate::graph::{self, Graph, Layout, Port, TensorId};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tract_onnx::prelude::*;

/// Samples that a network is checked on when it is loaded.
const SAMPLES: usize = 2;

/// A change of the inputs by about four units in the last place, and how many times what it does to an output counts as
/// rounding: every layer rounds anew.
const NUDGE: f32 = 1.0 / (1 << 21) as f32;
const NUDGES: f32 = 4.0;

/// Multiply-accumulates from which one sample must do: it takes about two seconds.
const HEAVY: u64 = 2_000_000_000;

/// The source network, ready to run.
pub struct Reference {
    path: PathBuf,
    source: Source,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
}

/// What runs the source network.
enum Source {
    /// The network as parsed: no rule of this import or of an optimizer has seen it.
    Parsed {
        network: AsParsed,
        /// What runs instead if this does not.
        normalized: Box<TypedModel>,
    },
    /// tract, with its own optimized network, where it cannot run the network as parsed.
    Optimized {
        plan: Arc<TypedRunnableModel>,
        /// Why the network as parsed does not run.
        why: String,
    },
}

/// A network as its file says, ready to run.
enum AsParsed {
    /// ONNX, by tract.
    Onnx {
        model: Box<TypedModel>,
        plan: Arc<TypedRunnableModel>,
    },
    /// TFLite, operator by operator.
    Tflite(Box<Interpreter>),
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
    /// Greatest absolute difference of an element: infinite where one side only is not a number.
    pub max_abs_error: f32,
    /// Least finite element of the source's output.
    pub least: f32,
    /// Greatest finite element of the source's output.
    pub greatest: f32,
    /// What rounding alone may make of it: see [`Verification::allow_rounding`].
    pub rounding: f32,
}

impl OutputError {
    /// A range counts as at least this share of the greatest magnitude: below, the rounding of
    /// `f32` alone exceeds [`Verification::LIMIT`].
    const FLAT: f32 = 1.0 / 64.0;

    /// Compares the elements of one output.
    fn new(name: &str, expected: &[f32], actual: &[f32]) -> Self {
        let finite = || expected.iter().copied().filter(|value| value.is_finite());
        let mut errors = expected.iter().zip(actual).map(|(&a, &b)| difference(a, b));
        let same_size = expected.len() == actual.len();
        Self {
            name: name.into(),
            max_abs_error: match same_size {
                true => errors.try_fold(0.0, larger).unwrap_or(f32::INFINITY),
                false => f32::INFINITY,
            },
            least: finite().fold(f32::INFINITY, f32::min),
            greatest: finite().fold(f32::NEG_INFINITY, f32::max),
            rounding: 0.0,
        }
    }

    /// Greatest minus least element of the source's output. An output whose elements are all
    /// (nearly) alike has the range of its magnitude.
    pub fn range(&self) -> f32 {
        let magnitude = self.least.abs().max(self.greatest.abs());
        match self.greatest - self.least {
            range if range > 0.0 => range.max(magnitude * Self::FLAT),
            0.0 => magnitude,
            _ => 0.0,
        }
    }

    /// [`Self::max_abs_error`] in parts of [`Self::range`]; 0 where rounding alone explains it.
    pub fn relative(&self) -> f32 {
        match self.max_abs_error {
            error if error <= self.rounding => 0.0,
            error => error / self.range(),
        }
    }

    /// The same output on further samples.
    fn merge(&mut self, other: &Self) {
        self.max_abs_error = self.max_abs_error.max(other.max_abs_error);
        self.least = self.least.min(other.least);
        self.greatest = self.greatest.max(other.greatest);
        self.rounding = self.rounding.max(other.rounding);
    }
}

/// 0 for values that are equal or both not a number.
fn difference(a: f32, b: f32) -> f32 {
    match a == b || (a.is_nan() && b.is_nan()) {
        true => 0.0,
        false => (a - b).abs(),
    }
}

/// The larger of two differences; `None` if one is not a number.
fn larger(worst: f32, error: f32) -> Option<f32> {
    (!error.is_nan()).then(|| worst.max(error))
}

impl Verification {
    /// The relative error that an import must not exceed.
    pub const LIMIT: f32 = 1e-4;

    /// The greatest relative error of an output.
    pub fn worst(&self) -> f32 {
        self.outputs
            .iter()
            .map(OutputError::relative)
            .fold(0.0, f32::max)
    }

    /// Whether every output is within [`Self::LIMIT`].
    pub fn passes(&self) -> bool {
        self.worst() <= Self::LIMIT
    }

    /// Measures how far each output moves where the inputs of a sample change in their last bits, which is what sums in
    /// another order do to a network: an output of one tiny value may move by more than [`Self::LIMIT`] of itself.
    pub fn allow_rounding(&mut self, graph: &Graph, inputs: &[Vec<f32>]) {
        let nudge = |(index, &value): (usize, &f32)| match index % 2 {
            0 => value * (1.0 + NUDGE),
            _ => value * (1.0 - NUDGE),
        };
        let nudged: Vec<Vec<f32>> = inputs
            .iter()
            .map(|values| values.iter().enumerate().map(nudge).collect())
            .collect();
        let moved = compare(
            graph,
            &graph::run(graph, inputs),
            &graph::run(graph, &nudged),
        );
        for (output, moved) in self.outputs.iter_mut().zip(moved.outputs) {
            let allowed = NUDGES * moved.max_abs_error;
            if allowed.is_finite() {
                output.rounding = output.rounding.max(allowed);
            }
        }
    }

    /// The same outputs on further samples: ranges and errors are those over all samples.
    pub fn merge(&mut self, other: &Self) {
        for (output, other) in self.outputs.iter_mut().zip(&other.outputs) {
            output.merge(other);
        }
    }
}

impl Reference {
    /// Reads a network as [`super::load`] does.
    ///
    /// # Errors
    /// As [`super::load`].
    pub fn load(path: &Path) -> Result<Self, Error> {
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        let parsed = parse::parse(path, &bytes)?;
        let (graph, _) = super::lowered(path, &parsed)?;
        Self::new(path, parsed, &graph)
    }

    /// Prepares a parsed model; `graph` has its ports.
    pub(super) fn new(path: &Path, parsed: Parsed, graph: &Graph) -> Result<Self, Error> {
        let network = match parsed.interpreter {
            Some(interpreter) => Ok(AsParsed::Tflite(Box::new(interpreter))),
            None => guard(path, || runnable(&parsed.model)).map(|plan| AsParsed::Onnx {
                model: Box::new(parsed.model),
                plan,
            }),
        };
        let source = match network {
            Ok(network) => Source::Parsed {
                network,
                normalized: Box::new(parsed.normalized),
            },
            Err(error) => Source::optimized(path, parsed.normalized, &error)?,
        };
        Ok(Self {
            path: path.to_path_buf(),
            source,
            inputs: graph.inputs.clone(),
            outputs: graph.outputs.clone(),
        })
    }

    /// Runs one sample: NHWC in, NHWC out, in the order of the graph's ports. Where tract cannot
    /// run the network as parsed, it runs its optimized one from now on, and [`Self::doubt`] says so.
    ///
    /// # Errors
    /// If an input does not have the size of its port, or tract fails.
    pub fn run(&mut self, inputs: &[Vec<f32>]) -> Result<Vec<Vec<f32>>, Error> {
        let results = match self.run_source(inputs) {
            Ok(results) => results,
            Err(error) => {
                self.fall_back(error)?;
                self.run_source(inputs)?
            }
        };
        let ports = self.outputs.iter().zip(results);
        Ok(ports.map(|(port, data)| from_source(port, &data)).collect())
    }

    /// After an error of the network as parsed.
    fn fall_back(&mut self, error: Error) -> Result<(), Error> {
        let Source::Parsed { normalized, .. } = &self.source else {
            return Err(error);
        };
        self.source = Source::optimized(&self.path, TypedModel::clone(normalized), &error)?;
        Ok(())
    }

    fn run_source(&self, inputs: &[Vec<f32>]) -> Result<Vec<Vec<f32>>, Error> {
        let plan = match &self.source {
            Source::Parsed {
                network: AsParsed::Tflite(interpreter),
                ..
            } => {
                return guard(&self.path, || {
                    let inputs = self.in_source_order(inputs);
                    let traced = interpreter.run(&inputs)?;
                    Ok(interpreter
                        .outputs()
                        .iter()
                        .map(|origin| match *origin {
                            Origin::Traced(index) => traced[index].values.clone(),
                            Origin::Input(index) => inputs[index].clone(),
                        })
                        .collect())
                });
            }
            Source::Parsed {
                network: AsParsed::Onnx { plan, .. },
                ..
            }
            | Source::Optimized { plan, .. } => plan,
        };
        guard(&self.path, || {
            self.run_plan(plan, inputs)
                .map_err(|error| describe(&error))
        })
    }

    fn in_source_order(&self, inputs: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let ports = self.inputs.iter().zip(inputs);
        ports.map(|(port, data)| to_source(port, data)).collect()
    }

    /// Why the source network is not run as its file says, if it is not.
    pub fn doubt(&self) -> Option<String> {
        match &self.source {
            Source::Parsed { .. } => None,
            Source::Optimized { why, .. } => Some(format!(
                "{}: the import was checked against tract's optimized network only, since the \
                 network as parsed does not run ({why})",
                self.path.display()
            )),
        }
    }

    /// Every tensor that the source network computes, in order of execution; none where the
    /// network as parsed does not run.
    fn trace(&self, inputs: &[Vec<f32>]) -> Result<Vec<Traced>, Error> {
        match &self.source {
            Source::Parsed {
                network: AsParsed::Onnx { model, .. },
                ..
            } => guard(&self.path, || {
                self.trace_model(model, inputs)
                    .map_err(|error| describe(&error))
            }),
            Source::Parsed {
                network: AsParsed::Tflite(interpreter),
                normalized,
            } => guard(&self.path, || {
                let mut traced = interpreter.run(&self.in_source_order(inputs))?;
                for tensor in &mut traced {
                    tensor.name = last_node(normalized, &tensor.name);
                }
                Ok(traced)
            }),
            Source::Optimized { .. } => Ok(Vec::new()),
        }
    }

    fn trace_model(&self, model: &TypedModel, inputs: &[Vec<f32>]) -> TractResult<Vec<Traced>> {
        let mut model = model.clone();
        let computed = |id: &usize| {
            let node = model.node(*id);
            let real = node.outputs.first().is_some_and(|output| {
                output.fact.datum_type == DatumType::F32 && output.fact.konst.is_none()
            });
            real && !node.inputs.is_empty()
        };
        let order: Vec<usize> = model.eval_order()?.into_iter().filter(computed).collect();
        let outlets: Vec<OutletId> = order.iter().map(|&id| id.into()).collect();
        let names: Vec<String> = order
            .iter()
            .map(|&id| model.node(id).name.clone())
            .collect();
        model.select_output_outlets(&outlets)?;
        let values = self.run_plan(&model.into_runnable()?, inputs)?;
        let traced = names.into_iter().zip(values);
        Ok(traced
            .map(|(name, values)| Traced { name, values })
            .collect())
    }

    /// Runs one sample; the outputs have the source's order.
    fn run_plan(
        &self,
        plan: &Arc<TypedRunnableModel>,
        inputs: &[Vec<f32>],
    ) -> TractResult<Vec<Vec<f32>>> {
        let mut tensors = tvec!();
        for (port, ordered) in self.inputs.iter().zip(self.in_source_order(inputs)) {
            tensors.push(Tensor::from_shape(&port.source_shape, &ordered)?.into_tvalue());
        }
        plan.run(tensors)?.iter().map(elements).collect()
    }
}

/// The last of the nodes that an operator of a TFLite file became: their names are that of its
/// output, with what was made of its bias, activation and clamp after a dot.
fn last_node(model: &TypedModel, output: &str) -> String {
    let made = |node: &&TypedNode| {
        let rest = node.name.strip_prefix(output);
        !node.inputs.is_empty() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let last = model.nodes().iter().rev().find(made);
    last.map_or_else(|| output.to_string(), |node| node.name.clone())
}

fn elements(value: &TValue) -> TractResult<Vec<f32>> {
    let view = value.to_plain_array_view::<f32>()?;
    Ok(view.iter().copied().collect())
}

impl Source {
    /// Where the network as parsed does not run because of `error`.
    fn optimized(path: &Path, model: TypedModel, error: &Error) -> Result<Self, Error> {
        let plan = guard(path, || {
            let optimized = model.into_optimized().map_err(|error| describe(&error))?;
            optimized.into_runnable().map_err(|error| describe(&error))
        })?;
        let why = match error {
            Error::Model { cause, .. } => cause.clone(),
            other => other.to_string(),
        };
        Ok(Self::Optimized { plan, why })
    }
}

fn runnable(model: &TypedModel) -> Result<Arc<TypedRunnableModel>, String> {
    let plan = model.clone().into_runnable();
    plan.map_err(|error| describe(&error))
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
    let outputs =
        pairs.map(|(port, (expected, actual))| OutputError::new(&port.name, expected, actual));
    Verification {
        outputs: outputs.collect(),
    }
}

/// Where the tensors of a lowered and simplified graph come from.
pub(super) struct Provenance<'a> {
    /// The source's tensors, in the graph as lowered.
    pub(super) origins: &'a Origins,
    /// For each tensor of the graph as lowered its place in the simplified graph.
    pub(super) places: &'a [Option<TensorId>],
}

/// Compares the import with its source on synthetic samples.
///
/// # Errors
/// [`Error::Model`] names the output that differs by more than [`Verification::LIMIT`] of its
/// range, and the first node of the source that differs.
pub(super) fn check(
    reference: &mut Reference,
    graph: &Graph,
    provenance: &Provenance<'_>,
) -> Result<(), Error> {
    let count = if graph.total_macs() > HEAVY {
        1
    } else {
        SAMPLES
    };
    // A specification that does not fit is refused where it is used.
    let spec = InputSpec::find(&reference.path, None).ok().flatten();
    let spec = spec.map(|(spec, _)| spec);
    let data = Dataset::synthetic(count, spec.as_ref(), &graph.inputs);
    let mut total: Option<Verification> = None;
    for index in 0..count {
        let inputs = data.sample(index)?;
        let sample = compare(graph, &reference.run(&inputs)?, &graph::run(graph, &inputs));
        match &mut total {
            Some(total) => total.merge(&sample),
            None => total = Some(sample),
        }
    }
    let mut suspect = total.filter(|total| !total.passes());
    if let Some(total) = &mut suspect {
        for index in 0..count {
            total.allow_rounding(graph, &data.sample(index)?);
        }
    }
    match suspect.filter(|total| !total.passes()) {
        Some(total) => Err(mismatch(
            reference,
            graph,
            provenance,
            &data.sample(0)?,
            &total,
        )),
        None => Ok(()),
    }
}

fn mismatch(
    reference: &Reference,
    graph: &Graph,
    provenance: &Provenance<'_>,
    inputs: &[Vec<f32>],
    total: &Verification,
) -> Error {
    let beyond = |output: &&OutputError| output.relative() > Verification::LIMIT;
    let output = total.outputs.iter().find(beyond);
    let (name, relative) = output.map_or(("", f32::INFINITY), |output| {
        (&output.name, output.relative())
    });
    let first = match reference.trace(inputs) {
        Ok(traced) => first_difference(graph, provenance, inputs, &traced),
        Err(_) => None,
    };
    let place = first.map_or_else(String::new, |node| {
        format!("; {node} is the first node whose values differ")
    });
    Error::Model {
        path: reference.path.clone(),
        cause: printable(&format!(
            "the imported network computes something else than the file: output {name} differs by \
             {relative:.1e} of its range (limit {:.0e}){place}. Export that node in another way, \
             and please report this with the model",
            Verification::LIMIT
        )),
    }
}

/// The first node of the source, in order of execution, whose values are not those of the graph.
fn first_difference(
    graph: &Graph,
    provenance: &Provenance<'_>,
    inputs: &[Vec<f32>],
    traced: &[Traced],
) -> Option<String> {
    let values = graph::activations(graph, inputs);
    let differs = |traced: &&Traced| {
        let Some(origin) = provenance.origins.get(&traced.name) else {
            return false;
        };
        let Some(tensor) = provenance.places.get(origin.tensor).copied().flatten() else {
            return false;
        };
        let actual = origin.source_order(&values[tensor]);
        let error = OutputError::new(&traced.name, &traced.values, &actual);
        actual.len() == traced.values.len() && error.relative() > Verification::LIMIT
    };
    traced
        .iter()
        .find(differs)
        .map(|traced| traced.name.clone())
}
