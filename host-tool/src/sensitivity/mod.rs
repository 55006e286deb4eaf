//! Where the bytes of a network are, what each layer's errors cost at its output, and what is free
//! to remove. Everything comes from the planner's own levels: nothing is packed.

mod csv;
mod text;

pub use csv::csv;
pub(crate) use text::findings;
pub use text::text;

use crate::Error;
use crate::graph::{Graph, Redundant};
use crate::pack::Study;
use crate::plan::{Layer, Level};
use crate::report::record::{
    Beside, DeadLayer, Holder, PlannedLevel, Sensitivity, SensitivityLayer, SensitivityLevel,
};
use edgeprune_format::manifest::{Storage, TensorId};
use edgeprune_format::{Container, FormatError, Manifest};

/// Bits for a weight at which losses are shown.
pub const TARGET_BITS: [f64; 5] = [8.0, 6.0, 4.0, 3.0, 2.0];
/// Most layers that are named as those that hold the budget up.
const HOLDERS: usize = 8;

/// Describes a study, at a budget if there is one. `redundant` is what was found in the model as it
/// came, before dead channels were removed.
///
/// # Errors
/// A budget that cannot be met, or a network that the format cannot hold.
pub fn describe(
    study: &Study<'_>,
    max_size: Option<u64>,
    redundant: Redundant,
) -> Result<Sensitivity, Error> {
    let graph = study.graph();
    let beside = beside(graph, &study.frame()?)?;
    let choices = max_size.map(|size| study.choices(size)).transpose()?;
    let planned_bytes = choices
        .as_ref()
        .map(|choices| file_bytes(study, &beside, choices));
    let layers = describe_layers(study, choices.as_deref().zip(planned_bytes));
    let smallest_bytes = study.smallest()?;
    Ok(Sensitivity {
        model: graph.name.clone(),
        calibration_samples: study.source().samples() as u64,
        max_size,
        finest_bytes: file_bytes(study, &beside, &vec![0; layers.len()]),
        smallest_bytes,
        planned_bytes,
        planned_loss: planned_bytes.map(|_| planned_loss(&layers)),
        beside,
        holds_up: holders(&layers, planned_bytes.unwrap_or(smallest_bytes)),
        layers,
        dead_channels: dead_layers(study),
        redundant,
    })
}

/// Forecast of a file with one chosen level for each layer.
fn file_bytes(study: &Study<'_>, beside: &Beside, choices: &[usize]) -> u64 {
    let layers = study.layers().iter().zip(choices);
    let codes: usize = layers.map(|(layer, &i)| layer.levels[i].bytes).sum();
    beside.bytes + codes as u64
}

fn planned_loss(layers: &[SensitivityLayer]) -> f64 {
    layers
        .iter()
        .filter_map(|layer| Some(layer.plan?.loss))
        .sum()
}

/// `planned`: the level of each layer and the bytes of the file.
fn describe_layers(study: &Study<'_>, planned: Option<(&[usize], u64)>) -> Vec<SensitivityLayer> {
    let graph = study.graph();
    let layers = study.layers().iter().enumerate();
    layers
        .map(|(i, layer)| {
            let plan = planned.map(|(choices, file)| plan(graph, layer, choices[i], file));
            describe_layer(study, layer, plan)
        })
        .collect()
}

fn describe_layer(
    study: &Study<'_>,
    layer: &Layer,
    plan: Option<PlannedLevel>,
) -> SensitivityLayer {
    let node = &study.graph().nodes[layer.node];
    let weights = weights(study.graph(), layer);
    let (sensitivity, noise_gain) = study.noise_cost(layer);
    let bytes = |level: Option<&Level>| level.map_or(0, |level| level.bytes as u64);
    SensitivityLayer {
        name: node.name.clone(),
        op: node.op.name().to_owned(),
        weights: weights as u64,
        finest_bytes: bytes(layer.levels.first()),
        smallest_bytes: bytes(layer.levels.last()),
        sensitivity,
        noise_gain,
        levels: TARGET_BITS
            .into_iter()
            .filter_map(|target| closest(&layer.levels, weights, target))
            .collect(),
        plan,
    }
}

fn weights(graph: &Graph, layer: &Layer) -> usize {
    let linear = graph.nodes[layer.node].op.linear();
    linear.map_or(0, |linear| linear.weights.len())
}

fn bits_per_weight(bytes: usize, weights: usize) -> f64 {
    8.0 * bytes as f64 / weights.max(1) as f64
}

/// The level whose bytes are closest to so many bits for a weight.
fn closest(levels: &[Level], weights: usize, target_bits: f64) -> Option<SensitivityLevel> {
    let target = target_bits * weights as f64 / 8.0;
    let distance = |level: &Level| (level.bytes as f64 - target).abs();
    let level = levels
        .iter()
        .min_by(|a, b| distance(a).total_cmp(&distance(b)))?;
    Some(SensitivityLevel {
        target_bits,
        bits_per_weight: bits_per_weight(level.bytes, weights),
        bytes: level.bytes as u64,
        step: level.step,
        loss: level.loss,
    })
}

/// The level that is chosen for a layer of a file of `file` bytes.
fn plan(graph: &Graph, layer: &Layer, chosen: usize, file: u64) -> PlannedLevel {
    let level = layer.levels[chosen];
    let coarser = layer.levels.get(chosen + 1);
    PlannedLevel {
        bits_per_weight: bits_per_weight(level.bytes, weights(graph, layer)),
        bytes: level.bytes as u64,
        step: level.step,
        loss: level.loss,
        share: level.bytes as f64 / file.max(1) as f64,
        loss_per_byte: coarser
            .map(|coarser| (coarser.loss - level.loss) / (level.bytes - coarser.bytes) as f64),
    }
}

/// The layers with most bytes in a file of `file` bytes: the planned ones, else the smallest.
fn holders(layers: &[SensitivityLayer], file: u64) -> Vec<Holder> {
    let mut holders: Vec<Holder> = layers
        .iter()
        .map(|layer| {
            let bytes = layer.plan.map_or(layer.smallest_bytes, |plan| plan.bytes);
            Holder {
                name: layer.name.clone(),
                bytes,
                share: bytes as f64 / file.max(1) as f64,
            }
        })
        .collect();
    holders.sort_by_key(|holder| std::cmp::Reverse(holder.bytes));
    holders.truncate(HOLDERS);
    holders
}

fn dead_layers(study: &Study<'_>) -> Vec<DeadLayer> {
    let layers = study.source().dead().by_node.iter();
    layers
        .map(|(name, before, after)| DeadLayer {
            name: name.clone(),
            channels: *before as u64,
            dead: (before - after) as u64,
        })
        .collect()
}

/// What a package without weights is made of.
fn beside(graph: &Graph, frame: &[u8]) -> Result<Beside, Error> {
    let refused = |cause: FormatError| Error::Package {
        path: graph.name.clone().into(),
        cause: format!("cannot be read back: {cause}"),
    };
    let container = Container::parse(frame).map_err(refused)?;
    let manifest = Manifest::parse(container.manifest).map_err(refused)?;
    let stored = |id: TensorId| match manifest.tensor(id)?.storage {
        Storage::Blob { len, .. } => Some(u64::from(len)),
        Storage::Arena { .. } => None,
    };
    let biases = manifest.nodes().filter_map(|node| node.op.linear()?.bias);
    let biases = biases.filter_map(stored).sum();
    let class_names = manifest.head.labels.and_then(stored).unwrap_or(0);
    let (bytes, manifest) = (frame.len() as u64, container.manifest.len() as u64);
    Ok(Beside {
        bytes,
        biases,
        manifest,
        class_names,
        other: bytes - biases - manifest - class_names,
    })
}

#[cfg(test)]
mod tests;
