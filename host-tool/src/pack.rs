//! The pipeline: from a network and samples to the bytes of a package. Read this first.

use crate::Error;
use crate::dataset::{Dataset, InputSpec};
use crate::graph::{DeadChannels, Graph, remove_dead_channels};
use crate::package::{self, Description};
use crate::plan::{self, Allocation, Layer, Unlimited};
use crate::progress::Progress;
use crate::prune::Pruning;
use crate::quantize::{self, Aim, FloatActivation, QuantizedGraph, QuantizedLinear, Steps};
use crate::study::{Cache, Knowledge};
use edgeprune_format::manifest::Calibration;
use edgeprune_runtime::KernelLayout;
use std::borrow::Cow;

/// What a package is asked to be.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Goal {
    /// Most bytes of the file.
    pub max_size: Option<u64>,
    /// Which weights are made zero, beside those that rounding does.
    pub pruning: Option<Pruning>,
    /// The kernels that read the weights where they lie in the package. Every code then takes a byte.
    pub in_place: Option<KernelLayout>,
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
    /// Activations that stay `f32` because int8 would lose what they hold.
    pub float: Vec<FloatActivation>,
}

/// Memory for the activations of samples that run side by side.
const STREAM_MEMORY: usize = 1_800_000_000;
/// Plans that are tried until the file meets its budget...
const ATTEMPTS: usize = 6;
/// ...and takes at least this share of it.
const SPENT: f64 = 0.99;

/// Prunes, quantizes and packs a network.
///
/// # Errors
/// A sample that cannot be read, or a goal that cannot be met.
pub fn pack(
    graph: &Graph,
    goal: Goal,
    samples: &Dataset,
    spec: Option<&InputSpec>,
    cache: &Cache,
    progress: &Progress,
) -> Result<Packed, Error> {
    let source = Source::new(graph.clone(), samples)?;
    let to_budget = goal.max_size.is_some() && goal.in_place.is_none();
    let mut study = if to_budget || goal.pruning.is_some() {
        Study::new(&source, goal.pruning, spec, cache, progress)?
    } else {
        Study::unranked(&source, spec, progress)?
    };
    study.description.in_place = goal.in_place;
    study.pack(goal.max_size)
}

/// Packs a network whose every layer runs in `f32`, with the weights that it has.
///
/// # Errors
/// A network that the format cannot hold, or runtimes cannot run.
pub fn pack_float(graph: &Graph, spec: Option<&InputSpec>) -> Result<Packed, Error> {
    graph.check_size()?;
    let (graph, dead) = remove_dead_channels(graph.clone());
    let description = Description {
        calibration: Calibration::Synthetic,
        spec,
        removed_channels: dead.removed,
        in_place: None,
    };
    let source_bytes = graph.source_bytes;
    let float = QuantizedGraph {
        activations: vec![None; graph.tensors.len()],
        layers: vec![None; graph.nodes.len()],
        graph,
    };
    Ok(Packed {
        bytes: package::write(&float, &description)?,
        source_bytes,
        dead,
        float: Vec::new(),
    })
}

/// A network without dead channels, and the samples that it is calibrated on.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    pub(crate) graph: Graph,
    pub(crate) samples: &'a Dataset,
    /// Network inputs of as many samples, evenly spread, as fit in memory side by side.
    pub(crate) inputs: Vec<Vec<Vec<f32>>>,
    dead: DeadChannels,
    calibration: Calibration,
}

impl<'a> Source<'a> {
    /// Removes dead channels and reads the samples.
    ///
    /// # Errors
    /// A sample that cannot be read, a network that is too large to run or has weights beyond
    /// [`crate::graph::MAX_MAGNITUDE`].
    pub fn new(graph: Graph, samples: &'a Dataset) -> Result<Self, Error> {
        graph.check_size()?;
        graph.check_weights()?;
        let (graph, dead) = remove_dead_channels(graph);
        Ok(Self {
            inputs: stream_samples(&graph, samples)?,
            calibration: calibration(samples),
            samples,
            graph,
            dead,
        })
    }

    /// The network without dead channels.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Number of samples; 0 if they are made up.
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

fn stream_samples(graph: &Graph, samples: &Dataset) -> Result<Vec<Vec<Vec<f32>>>, Error> {
    let most = (STREAM_MEMORY / quantize::stream_bytes(graph)).max(8);
    let count = samples.len().min(most);
    (0..count)
        .map(|i| samples.sample(i * samples.len() / count))
        .collect()
}

/// The search for a plan's bytes of codes whose file meets a size: coarse levels take fewer bytes than was predicted of
/// them, and compensation changes what the others take.
#[derive(Debug)]
struct Search {
    max_size: usize,
    /// What to plan with next.
    budget: usize,
    /// The largest budget whose file fit, and the least whose file did not.
    fits: Option<usize>,
    exceeds: Option<usize>,
}

impl Search {
    fn new(max_size: usize, budget: usize) -> Self {
        Self {
            max_size,
            budget,
            fits: None,
            exceeds: None,
        }
    }

    /// Takes note of the length of a file, and whether there is nothing left to try.
    fn ends_with(&mut self, len: usize) -> bool {
        let slack = self.max_size.abs_diff(len);
        let next = if len <= self.max_size {
            self.fits = Some(self.budget);
            self.budget + slack
        } else {
            self.exceeds = Some(self.budget);
            self.budget.saturating_sub(slack + len / 1000)
        };
        self.budget = match (self.fits, self.exceeds) {
            (Some(low), Some(high)) => low.midpoint(high),
            _ => next,
        };
        let is_spent = len <= self.max_size && len as f64 >= SPENT * self.max_size as f64;
        is_spent || self.fits == Some(self.budget)
    }
}

/// Everything that does not depend on the budget: one study serves any number of them.
#[derive(Debug)]
pub struct Study<'a> {
    graph: Cow<'a, Graph>,
    source: &'a Source<'a>,
    description: Description<'a>,
    progress: &'a Progress,
    knowledge: Knowledge,
}

impl<'a> Study<'a> {
    /// Measures what every layer costs at every level, and prunes; or reads it in `cache`, if the same
    /// network was studied before on the same samples.
    ///
    /// # Errors
    /// A sample that cannot be read, or activations that are not finite.
    pub fn new(
        source: &'a Source<'a>,
        pruning: Option<Pruning>,
        spec: Option<&'a InputSpec>,
        cache: &Cache,
        progress: &'a Progress,
    ) -> Result<Self, Error> {
        let knowledge = cache.knowledge(source, pruning.as_ref(), progress)?;
        Ok(Self::of(source, spec, progress, knowledge))
    }

    /// For a package of every layer's finest codes.
    fn unranked(
        source: &'a Source<'a>,
        spec: Option<&'a InputSpec>,
        progress: &'a Progress,
    ) -> Result<Self, Error> {
        let knowledge = Knowledge::without_levels(source, progress)?;
        Ok(Self::of(source, spec, progress, knowledge))
    }

    fn of(
        source: &'a Source<'a>,
        spec: Option<&'a InputSpec>,
        progress: &'a Progress,
        knowledge: Knowledge,
    ) -> Self {
        Self {
            graph: knowledge.network(&source.graph),
            description: Description {
                calibration: source.calibration,
                spec,
                removed_channels: source.dead.removed,
                in_place: None,
            },
            source,
            progress,
            knowledge,
        }
    }

    /// The most accurate package that is found of at most so many bytes.
    ///
    /// # Errors
    /// A budget that cannot be met.
    pub fn pack(&self, max_size: Option<u64>) -> Result<Packed, Error> {
        Ok(Packed {
            bytes: self.fit(max_size)?,
            source_bytes: self.graph.source_bytes,
            dead: self.source.dead.clone(),
            float: self.knowledge.float.clone(),
        })
    }

    /// About the least bytes that a package can have.
    ///
    /// # Errors
    /// A network that the format cannot hold.
    pub fn smallest(&self) -> Result<u64, Error> {
        Ok((self.frame()?.len() + plan::smallest(self.layers())) as u64)
    }

    /// The network that is quantized: [`Self::layers`] are nodes of it.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The network and its samples.
    pub fn source(&self) -> &'a Source<'a> {
        self.source
    }

    /// Layers with weights, in order of execution, and their levels; losses are those of the network's
    /// output.
    pub fn layers(&self) -> &[Layer] {
        &self.knowledge.layers
    }

    /// The level that is planned for each of [`Self::layers`] in a package of at most so many bytes,
    /// before anything is quantized.
    ///
    /// # Errors
    /// A budget that cannot be met.
    pub fn choices(&self, max_size: u64) -> Result<Vec<usize>, Error> {
        let max_size = usize::try_from(max_size).unwrap_or(usize::MAX);
        let frame = self.frame()?.len();
        plan::choose(self.layers(), max_size.saturating_sub(frame))
            .ok_or_else(|| self.unreachable(max_size, frame))
    }

    /// Loss of the network's output for each unit of squared error in a layer, and for each unit of
    /// noise relative to the layer's own power.
    pub fn noise_cost(&self, layer: &Layer) -> (f64, f64) {
        let weight = self.knowledge.sensitivity[layer.node];
        (weight, weight * layer.power)
    }

    /// A package whose weights are all zero: what every package of the network has beside codes and
    /// their scales.
    ///
    /// # Errors
    /// A network that the format cannot hold.
    pub fn frame(&self) -> Result<Vec<u8>, Error> {
        package::write(&self.empty(), &self.description)
    }

    /// Quantizes and writes until the file meets the budget.
    fn fit(&self, max_size: Option<u64>) -> Result<Vec<u8>, Error> {
        let Some(max_size) = max_size else {
            return self.quantize(&mut Unlimited(self.layers()));
        };
        let max_size = usize::try_from(max_size).unwrap_or(usize::MAX);
        if self.description.in_place.is_some() {
            return self.fit_in_place(max_size);
        }
        let frame = self.frame()?.len();
        let layers = self.layers();
        let mut search = Search::new(max_size, max_size.saturating_sub(frame));
        let mut largest: Option<Vec<u8>> = None;
        for _ in 0..ATTEMPTS {
            let Some(levels) = plan::choose(layers, search.budget) else {
                break;
            };
            let bytes = self.quantize(&mut Allocation::new(layers.to_vec(), search.budget))?;
            let len = bytes.len();
            if len <= max_size && largest.as_ref().is_none_or(|best| best.len() < len) {
                largest = Some(bytes);
            }
            let is_finest = levels.iter().all(|&level| level == 0);
            if search.ends_with(len) || (len <= max_size && is_finest) {
                break;
            }
        }
        largest.ok_or_else(|| self.unreachable(max_size, frame))
    }

    /// What is read in place has one size, whatever its codes are.
    fn fit_in_place(&self, max_size: usize) -> Result<Vec<u8>, Error> {
        let bytes = self.quantize(&mut Unlimited(self.layers()))?;
        if bytes.len() <= max_size {
            return Ok(bytes);
        }
        Err(Error::Budget(format!(
            "{}: a package that is read in place has {} bytes, more than {max_size}: every weight takes a byte; without --in-place the weights are entropy-coded",
            self.graph.name,
            bytes.len()
        )))
    }

    /// Rounds all layers as `steps` says, and writes the package.
    fn quantize(&self, steps: &mut impl Steps) -> Result<Vec<u8>, Error> {
        let aim = Aim {
            activations: &self.knowledge.activations,
            statistics: &self.knowledge.outputs,
            masks: &self.knowledge.masks,
            samples: &self.source.inputs,
        };
        let quantized = quantize::quantize(&self.graph, &aim, steps, self.progress);
        package::write(&quantized, &self.description)
    }

    /// The network without weights: its package is what every package of it has beside codes.
    fn empty(&self) -> QuantizedGraph {
        let nodes = || self.graph.nodes.iter();
        let layer = |node: &crate::graph::Node| {
            let linear = node.op.linear()?;
            Some(QuantizedLinear {
                codes: vec![0; linear.weights.len()],
                row: linear.weights.len(),
                scales: vec![1e-4; linear.bias.len()],
                bias: linear.bias.clone(),
            })
        };
        QuantizedGraph {
            graph: self.graph.as_ref().clone(),
            activations: self.knowledge.activations.clone(),
            layers: nodes().map(layer).collect(),
        }
    }

    fn unreachable(&self, max_size: usize, frame: usize) -> Error {
        let smallest = frame + plan::smallest(self.layers());
        let mut layers: Vec<(usize, &str)> = self
            .layers()
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
            "{}: no package of {max_size} bytes or less: the smallest has about {smallest} bytes, {frame} of them beside the weights; the layers that hold it up: {}",
            self.graph.name,
            top.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::Search;

    /// The lengths that a search tries where `len` is the length of the file for a budget.
    fn tried(max_size: usize, frame: usize, len: impl Fn(usize) -> usize) -> Vec<usize> {
        let mut search = Search::new(max_size, max_size - frame);
        let mut lengths = Vec::new();
        loop {
            lengths.push(len(search.budget));
            if search.ends_with(*lengths.last().unwrap()) || lengths.len() == 20 {
                return lengths;
            }
        }
    }

    #[test]
    fn a_file_that_meets_its_size_at_once_ends_the_search() {
        assert_eq!(tried(10_000, 1_000, |budget| budget + 1_000), [10_000]);
        assert_eq!(tried(10_000, 1_000, |budget| budget + 910), [9_910]);
    }

    #[test]
    fn what_is_left_is_spent_and_what_is_too_much_taken_back() {
        let short = tried(10_000, 1_000, |budget| budget * 3 / 4 + 1_000);
        assert!(
            (9_900..=10_000).contains(short.last().unwrap()),
            "{short:?}"
        );
        let long = tried(10_000, 1_000, |budget| budget * 5 / 4 + 1_000);
        assert!((9_900..=10_000).contains(long.last().unwrap()), "{long:?}");
        assert!(short.len() <= 6 && long.len() <= 6);
    }

    #[test]
    fn a_jump_over_the_size_is_approached_from_both_sides() {
        let jump = |budget: usize| if budget < 9_321 { 6_000 } else { 12_000 };
        let lengths = tried(10_000, 1_000, jump);
        assert!(
            lengths.contains(&6_000) && lengths.len() <= 20,
            "{lengths:?}"
        );
    }
}
