//! What a model holds.

use crate::Error;
use crate::cli::data::{examine, spec_of_model};
use crate::cli::output::{human_bytes, human_count, table};
use crate::dataset::Dataset;
use crate::graph::{Graph, Node, Op, Port, Redundant, find_redundant, remove_dead_channels};
use crate::import::{Reference, Verification, compare};
use crate::report::text::redundant;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// `inspect --json` of a model.
#[derive(Debug, Serialize)]
pub(super) struct Model {
    model: String,
    source_bytes: u64,
    inputs: Vec<ModelPort>,
    outputs: Vec<ModelPort>,
    parameters: u64,
    macs: u64,
    /// Share of the multiply-accumulates that int8 kernels can do.
    int8_macs: f64,
    operators: BTreeMap<&'static str, usize>,
    dead_channels: usize,
    /// Weights that are there twice, and layers of zeros.
    redundant: Redundant,
    layers: Vec<Layer>,
    pub(super) verification: Option<Verified>,
}

/// An input or output.
#[derive(Debug, Serialize)]
struct ModelPort {
    name: String,
    shape: Vec<usize>,
}

/// A node.
#[derive(Debug, Serialize)]
struct Layer {
    name: String,
    op: &'static str,
    /// Height, width, channels.
    output: [usize; 3],
    parameters: u64,
    macs: u64,
    /// Whether there are int8 kernels for it.
    int8: bool,
    /// Output channels that are dead or constant, and will be removed.
    dead_channels: usize,
}

/// How far the import is from the source.
#[derive(Debug, Serialize)]
pub(super) struct Verified {
    samples: usize,
    synthetic: bool,
    /// Largest difference of an output, in parts of the output's range.
    worst_relative_error: f32,
    limit: f32,
}

/// What `--verify` runs.
pub(super) struct Samples<'a> {
    pub(super) data: Option<&'a Path>,
    pub(super) spec: Option<&'a Path>,
    pub(super) count: usize,
}

pub(super) fn inspect(graph: &Graph) -> Model {
    let (_, dead) = remove_dead_channels(graph.clone());
    let dead_of: HashMap<&str, usize> = dead
        .by_node
        .iter()
        .map(|(name, before, after)| (name.as_str(), before - after))
        .collect();
    let layers: Vec<Layer> = graph
        .nodes
        .iter()
        .map(|node| layer(graph, node, dead_of.get(node.name.as_str()).copied()))
        .collect();
    let macs = layers.iter().map(|layer| layer.macs).sum();
    let in_int8: u64 = layers.iter().filter(|l| l.int8).map(|l| l.macs).sum();
    let mut operators = BTreeMap::new();
    for layer in &layers {
        *operators.entry(layer.op).or_default() += 1;
    }
    Model {
        model: graph.name.clone(),
        source_bytes: graph.source_bytes,
        inputs: graph.inputs.iter().map(port).collect(),
        outputs: graph.outputs.iter().map(port).collect(),
        parameters: graph.parameters() as u64,
        macs,
        int8_macs: in_int8 as f64 / macs.max(1) as f64,
        operators,
        dead_channels: dead.removed,
        redundant: find_redundant(graph),
        layers,
        verification: None,
    }
}

fn port(port: &Port) -> ModelPort {
    ModelPort {
        name: port.name.clone(),
        shape: port.source_shape.clone(),
    }
}

fn layer(graph: &Graph, node: &Node, dead_channels: Option<usize>) -> Layer {
    let [_, height, width, channels] = graph.shape(node.output);
    let linear = node.op.linear();
    Layer {
        name: node.name.clone(),
        op: node.op.name(),
        output: [height, width, channels],
        parameters: linear.map_or(0, |l| (l.weights.len() + l.bias.len()) as u64),
        macs: graph.macs(node),
        int8: node.op != Op::Softmax,
        dead_channels: dead_channels.unwrap_or(0),
    }
}

/// Runs samples through the source and through the imported network.
pub(super) fn verify(path: &Path, graph: &Graph, source: &Samples<'_>) -> Result<Verified, Error> {
    let spec = spec_of_model(path, source.spec)?;
    let data = match source.data {
        Some(data) => Dataset::open(data, None, spec.as_ref(), &graph.inputs)?.spread(source.count),
        None => Dataset::synthetic(source.count, spec.as_ref(), &graph.inputs),
    };
    graph.check_size()?;
    examine(&data)?;
    let mut reference = Reference::load(path)?;
    let mut total: Option<Verification> = None;
    for i in 0..data.len() {
        let inputs = data.sample(i)?;
        let expected = reference.run(&inputs)?;
        let sample = compare(graph, &expected, &crate::graph::run(graph, &inputs));
        match &mut total {
            Some(total) => total.merge(&sample),
            None => total = Some(sample),
        }
    }
    if let Some(total) = total.as_mut().filter(|total| !total.passes()) {
        for i in 0..data.len() {
            total.allow_rounding(graph, &data.sample(i)?);
        }
    }
    Ok(Verified {
        samples: data.len(),
        synthetic: data.is_synthetic(),
        worst_relative_error: total.map_or(0.0, |total| total.worst()),
        limit: Verification::LIMIT,
    })
}

impl Model {
    /// Fails where the verification does.
    pub(super) fn check(&self, path: &Path) -> Result<(), Error> {
        let beyond =
            |v: &&Verified| v.worst_relative_error.is_nan() || v.worst_relative_error > v.limit;
        match self.verification.as_ref().filter(beyond) {
            Some(verified) => Err(Error::Model {
                path: path.to_path_buf(),
                cause: format!(
                    "the imported network differs from the source by {:.2e} of the output's range (limit {:.0e}): \
                     do not pack it, please report it with the model",
                    verified.worst_relative_error, verified.limit
                ),
            }),
            None => Ok(()),
        }
    }
}

pub(super) fn text(model: &Model) -> String {
    let mut text = format!("{} ({})\n", model.model, human_bytes(model.source_bytes));
    for (what, ports) in [("input", &model.inputs), ("output", &model.outputs)] {
        for port in ports {
            text += &format!("  {what:<10} {} {:?}\n", port.name, port.shape);
        }
    }
    let operators: Vec<String> = model
        .operators
        .iter()
        .map(|(op, count)| format!("{op} {count}"))
        .collect();
    text += &format!("  parameters {}\n", human_count(model.parameters));
    text += &format!(
        "  MACs       {} ({:.1} % can run in int8)\n",
        human_count(model.macs),
        100.0 * model.int8_macs
    );
    text += &format!("  operators  {}\n", operators.join(", "));
    text += &format!("  dead       {}\n", dead(model));
    for line in redundant(&model.redundant) {
        text += &format!("  redundant  {line}\n");
    }
    if let Some(verified) = &model.verification {
        text += &format!("  verified   {}\n", verification(verified));
    }
    text + "\n" + &layers(model)
}

fn dead(model: &Model) -> String {
    match model.dead_channels {
        0 => "no output channel is dead or constant".into(),
        count => format!("{count} output channels are dead or constant: `pack` removes them"),
    }
}

fn verification(verified: &Verified) -> String {
    let kind = if verified.synthetic {
        "synthetic inputs"
    } else {
        "samples"
    };
    let passes = verified.worst_relative_error <= verified.limit;
    format!(
        "{}: largest difference from the source {:.2e} of the output's range on {} {kind} (limit {:.0e})",
        if passes { "yes" } else { "NO" },
        verified.worst_relative_error,
        verified.samples,
        verified.limit
    )
}

fn layers(model: &Model) -> String {
    let none_at_zero = |count: u64| {
        if count == 0 {
            "–".into()
        } else {
            human_count(count)
        }
    };
    let rows: Vec<Vec<String>> = model
        .layers
        .iter()
        .map(|layer| {
            let [height, width, channels] = layer.output;
            vec![
                layer.name.clone(),
                layer.op.to_owned(),
                format!("{height}x{width}x{channels}"),
                none_at_zero(layer.parameters),
                none_at_zero(layer.macs),
                none_at_zero(layer.dead_channels as u64),
                if layer.int8 { "int8" } else { "f32" }.to_owned(),
            ]
        })
        .collect();
    table(
        &[
            "layer",
            "operator",
            "output",
            "parameters",
            "MACs",
            "dead",
            "runs in",
        ],
        &rows,
    )
}
