//! The pipeline: from a network and samples to the bytes of a package. Read this first.

use crate::calibrate::{self, Statistics};
use crate::dataset::{Dataset, InputSpec};
use crate::graph::{DeadChannels, Graph, remove_dead_channels};
use crate::package::{self, Description};
use crate::plan::{self, Allocation, Layer, sensitivity};
use crate::progress::Progress;
use crate::prune::{Evidence, Pruning};
use crate::quantize::{self, LayerShape, QuantizedGraph, QuantizedLinear, TapStatistics};
use crate::{Error, import};
use edgeprune_format::manifest::Calibration;
use std::path::Path;

/// What a package is asked to be.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Goal {
    /// Most bytes of the file.
    pub max_size: Option<u64>,
    /// Which weights are made zero, beside those that rounding does.
    pub pruning: Option<Pruning>,
}

/// A package and what was found while it was made.
#[derive(Clone, Debug)]
pub struct Packed {
    /// The file's content.
    pub bytes: Vec<u8>,
    /// Bytes of the source model.
    pub source_bytes: u64,
    /// Channels that were dead or constant.
    pub dead: DeadChannels,
    /// Per node with weights: its name and the signal-to-noise ratio in dB of its output.
    pub sqnr_db: Vec<(String, f64)>,
}

/// Samples that sensitivity is measured on.
const SENSITIVITY_SAMPLES: usize = 16;
/// Memory for the activations of samples that run side by side through both networks.
const STREAM_MEMORY: usize = 1_800_000_000;
/// Plans that are tried until the file meets its budget.
const ATTEMPTS: usize = 6;

/// Prunes, quantizes and packs the network in `model`.
///
/// # Errors
/// A model or sample that cannot be read, or a goal that cannot be met.
pub fn pack(
    model: &Path,
    goal: Goal,
    samples: &Dataset,
    spec: Option<&InputSpec>,
    progress: &Progress,
) -> Result<Packed, Error> {
    let source = Source::measure(import::load(model)?, samples, progress)?;
    let study = if goal == Goal::default() {
        Study::unranked(&source, spec, progress)
    } else {
        Study::new(&source, goal.pruning, spec, progress)
    };
    study.pack(goal.max_size)
}

/// A network, and what calibration measured of it.
#[derive(Clone, Debug)]
pub struct Source {
    graph: Graph,
    dead: DeadChannels,
    statistics: Statistics,
    inputs: Vec<Vec<Vec<f32>>>,
    calibration: Calibration,
}

impl Source {
    /// Removes dead channels and runs the samples.
    ///
    /// # Errors
    /// A sample that cannot be read, or values that are not finite.
    pub fn measure(graph: Graph, samples: &Dataset, progress: &Progress) -> Result<Self, Error> {
        let (graph, dead) = remove_dead_channels(graph);
        Ok(Self {
            statistics: calibrate::measure(&graph, samples, progress)?,
            inputs: stream_samples(&graph, samples)?,
            calibration: calibration(samples),
            graph,
            dead,
        })
    }

    /// The network without dead channels.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Number of samples that were measured.
    pub fn samples(&self) -> usize {
        match self.calibration {
            Calibration::Synthetic => 0,
            Calibration::Samples(count) => count as usize,
        }
    }

    /// The channels that were removed from it.
    pub fn dead(&self) -> &DeadChannels {
        &self.dead
    }
}

fn calibration(samples: &Dataset) -> Calibration {
    if samples.is_synthetic() {
        Calibration::Synthetic
    } else {
        Calibration::Samples(samples.len() as u32)
    }
}

/// As many samples, evenly spread, as fit in memory for the sequential pass.
fn stream_samples(graph: &Graph, samples: &Dataset) -> Result<Vec<Vec<Vec<f32>>>, Error> {
    let most = (STREAM_MEMORY / quantize::stream_bytes(graph)).max(8);
    let count = samples.len().min(most);
    (0..count)
        .map(|i| samples.sample(i * samples.len() / count))
        .collect()
}

fn noise(quantized: &QuantizedGraph) -> Vec<(String, f64)> {
    let nodes = quantized.graph.nodes.iter().zip(&quantized.sqnr_db);
    nodes
        .filter_map(|(node, sqnr)| Some((node.name.clone(), (*sqnr)?)))
        .collect()
}

/// Everything that does not depend on the budget: one study serves any number of them.
#[derive(Debug)]
pub struct Study<'a> {
    graph: &'a Graph,
    source: &'a Source,
    description: Description<'a>,
    progress: &'a Progress,
    activations: Vec<Option<quantize::ActivationQuantization>>,
    masks: Vec<Option<Vec<bool>>>,
    layers: Vec<Layer>,
    sensitivity: Vec<f64>,
}

impl<'a> Study<'a> {
    /// Ranks all layers by what their errors cost, and prunes.
    pub fn new(
        source: &'a Source,
        pruning: Option<Pruning>,
        spec: Option<&'a InputSpec>,
        progress: &'a Progress,
    ) -> Self {
        let mut study = Self::unranked(source, spec, progress);
        let weights = study.sensitivity();
        if let Some(pruning) = &pruning {
            let evidence = Evidence {
                graph: study.graph,
                statistics: &source.statistics,
                sensitivity: &weights,
                samples: &source.inputs,
            };
            study.masks = evidence.masks(pruning, progress);
            study.layers = layers(study.graph, &source.statistics, &study.masks);
        }
        for layer in &mut study.layers {
            let levels = layer.levels.iter_mut();
            levels.for_each(|level| level.loss *= weights[layer.node]);
        }
        study.sensitivity = weights;
        study
    }

    /// For a package of every layer's finest codes.
    fn unranked(source: &'a Source, spec: Option<&'a InputSpec>, progress: &'a Progress) -> Self {
        let graph = &source.graph;
        Self {
            graph,
            source,
            description: Description {
                calibration: source.calibration,
                spec,
                removed_channels: source.dead.removed,
            },
            progress,
            activations: quantize::plan_activations(graph, &source.statistics, &source.inputs),
            masks: vec![None; graph.nodes.len()],
            layers: layers(graph, &source.statistics, &[]),
            sensitivity: vec![1.0; graph.nodes.len()],
        }
    }

    /// The most accurate package that is found of at most so many bytes.
    ///
    /// # Errors
    /// A budget that cannot be met.
    pub fn pack(&self, max_size: Option<u64>) -> Result<Packed, Error> {
        let (quantized, bytes) = self.fit(max_size)?;
        Ok(Packed {
            bytes,
            source_bytes: self.graph.source_bytes,
            dead: self.source.dead.clone(),
            sqnr_db: noise(&quantized),
        })
    }

    /// About the least bytes that a package can have.
    ///
    /// # Errors
    /// A network that the format cannot hold.
    pub fn smallest(&self) -> Result<u64, Error> {
        Ok((self.fixed()? + plan::smallest(&self.layers)) as u64)
    }

    /// The network and what was measured of it.
    pub fn source(&self) -> &'a Source {
        self.source
    }

    /// Layers with weights, in order of execution, and their levels; losses are those of the network's
    /// output.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The level that is planned for each of [`Self::layers`] in a package of at most so many bytes,
    /// before anything is quantized.
    ///
    /// # Errors
    /// A budget that cannot be met.
    pub fn choices(&self, max_size: u64) -> Result<Vec<usize>, Error> {
        let max_size = usize::try_from(max_size).unwrap_or(usize::MAX);
        let fixed = self.fixed()?;
        plan::choose(&self.layers, max_size.saturating_sub(fixed))
            .ok_or_else(|| self.unreachable(max_size, fixed))
    }

    /// Loss of the network's output for each unit of squared error in a node with weights, and for
    /// each unit of noise relative to the node's own power.
    pub fn noise_cost(&self, node: usize) -> (f64, f64) {
        let weight = self.sensitivity[node];
        let node = &self.graph.nodes[node];
        let (Some(shape), Some(linear)) = (LayerShape::of(&node.op), node.op.linear()) else {
            return (weight, 0.0);
        };
        let taps = TapStatistics::new(self.graph, &self.source.statistics, node, shape);
        (weight, weight * taps.output_variance(shape, linear))
    }

    /// A package whose weights are all zero: what every package of the network has beside codes.
    ///
    /// # Errors
    /// A network that the format cannot hold.
    pub fn frame(&self) -> Result<Vec<u8>, Error> {
        package::write(&self.empty(), &self.description)
    }

    /// Bytes that every package of the network has beside codes.
    fn fixed(&self) -> Result<usize, Error> {
        Ok(self.frame()?.len())
    }

    /// Per node: what a unit of squared error in it costs at the network's output.
    fn sensitivity(&self) -> Vec<f64> {
        let mut nodes = Vec::new();
        let mut trials = Vec::new();
        for layer in &self.layers {
            let node = &self.graph.nodes[layer.node];
            let Some(shape) = LayerShape::of(&node.op) else {
                continue;
            };
            let taps = TapStatistics::new(self.graph, &self.source.statistics, node, shape);
            if let Some(trial) =
                sensitivity::Trial::new(self.graph, layer.node, shape, &taps, &layer.levels)
            {
                nodes.push(layer.node);
                trials.push(trial);
            }
        }
        let inputs = &self.source.inputs;
        let inputs = &inputs[..inputs.len().min(SENSITIVITY_SAMPLES)];
        let measured = sensitivity::measure(self.graph, &trials, inputs, self.progress);
        let mut weights = vec![0.0; self.graph.nodes.len()];
        for (node, weight) in nodes.into_iter().zip(measured) {
            weights[node] = weight;
        }
        weights
    }

    /// Quantizes and writes until the file meets the budget.
    fn fit(&self, max_size: Option<u64>) -> Result<(QuantizedGraph, Vec<u8>), Error> {
        let Some(max_size) = max_size else {
            return self.quantize(None);
        };
        let max_size = usize::try_from(max_size).unwrap_or(usize::MAX);
        let fixed = self.fixed()?;
        let mut budget = max_size.saturating_sub(fixed);
        for _ in 0..ATTEMPTS {
            if plan::choose(&self.layers, budget).is_none() {
                break;
            }
            let fitted = self.quantize(Some(budget))?;
            let length = fitted.1.len();
            if length <= max_size {
                return Ok(fitted);
            }
            budget = budget.saturating_sub(length - max_size + length / 1000);
        }
        Err(self.unreachable(max_size, fixed))
    }

    fn quantize(&self, budget: Option<usize>) -> Result<(QuantizedGraph, Vec<u8>), Error> {
        let mut allocation = Allocation::new(self.layers.clone(), budget);
        let quantized = quantize::quantize(
            self.graph,
            self.activations.clone(),
            &self.source.inputs,
            &self.masks,
            &mut allocation,
            self.progress,
        );
        let bytes = package::write(&quantized, &self.description)?;
        Ok((quantized, bytes))
    }

    /// The network without weights: its package is what every package of it has beside codes.
    fn empty(&self) -> QuantizedGraph {
        let nodes = || self.graph.nodes.iter();
        let layer = |node: &crate::graph::Node| {
            let linear = node.op.linear()?;
            Some(QuantizedLinear {
                codes: vec![0; linear.weights.len()],
                scales: vec![1e-4; linear.bias.len()],
                bias: linear.bias.clone(),
            })
        };
        QuantizedGraph {
            graph: self.graph.clone(),
            activations: self.activations.clone(),
            layers: nodes().map(layer).collect(),
            sqnr_db: vec![None; self.graph.nodes.len()],
        }
    }

    fn unreachable(&self, max_size: usize, fixed: usize) -> Error {
        let smallest = fixed + plan::smallest(&self.layers);
        let mut layers: Vec<(usize, &str)> = self
            .layers
            .iter()
            .filter_map(|layer| {
                Some((
                    layer.levels.last()?.bytes,
                    self.graph.nodes[layer.node].name.as_str(),
                ))
            })
            .collect();
        layers.sort_by(|a, b| b.cmp(a));
        let top: Vec<String> = layers
            .iter()
            .take(5)
            .map(|(bytes, name)| format!("{name} ({bytes} bytes)"))
            .collect();
        Error::Budget(format!(
            "{}: no package of {max_size} bytes or less: the smallest has about {smallest} bytes, {fixed} of them beside the weights; the layers that hold it up: {}",
            self.graph.name,
            top.join(", ")
        ))
    }
}

/// The levels of every layer with weights. `masks` may be empty.
fn layers(graph: &Graph, statistics: &Statistics, masks: &[Option<Vec<bool>>]) -> Vec<Layer> {
    graph
        .nodes
        .iter()
        .enumerate()
        .filter_map(|(index, node)| {
            let (shape, linear) = (LayerShape::of(&node.op)?, node.op.linear()?);
            let taps = TapStatistics::new(graph, statistics, node, shape);
            let mask = masks.get(index).and_then(Option::as_deref);
            let levels = plan::levels(shape, linear, &taps, mask);
            Some(Layer {
                node: index,
                levels,
            })
        })
        .collect()
}
