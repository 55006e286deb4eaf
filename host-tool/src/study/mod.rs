//! What is known of a network once it was measured on samples: all that a package needs beside its
//! budget. A [`Cache`] keeps it on disk, so that the next budget takes no measuring.

mod bits;
mod cache;

pub use cache::Cache;

use crate::Error;
use crate::calibrate::{self, ChannelSums, Statistics};
use crate::graph::Graph;
use crate::pack::Source;
use crate::plan::sensitivity::Cost;
use crate::plan::{self, Database, Layer};
use crate::progress::Progress;
use crate::prune::{Evidence, Pruning};
use crate::quantize::{
    self, ActivationPlan, ActivationQuantization, Equalization, FloatActivation, Normalization,
};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Relative error that the codes of the activations alone cause at the network's output, from which on
/// channels are equalized. Below, the error is that of the weights, and those of a multiplied channel take
/// finer steps, and more bytes, than it needs.
const WORTH_EQUALIZING: f64 = 0.01;

/// What was measured of a network, and decided whatever the budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Knowledge {
    /// How the channels of its inputs are normalized, if they are.
    pub normalization: Option<Normalization>,
    /// How its channels are scaled, if they are.
    pub equalization: Option<Equalization>,
    /// Per tensor: its quantization, `None` for `f32`.
    pub activations: Vec<Option<ActivationQuantization>>,
    /// Activations that stay `f32`, and why.
    pub float: Vec<FloatActivation>,
    /// Per node with weights: statistics of the dense network's output before the activation.
    pub outputs: Vec<Option<ChannelSums>>,
    /// Per node with weights: which of them stay; `None` for all.
    #[serde(with = "bits")]
    pub masks: Vec<Option<Vec<bool>>>,
    /// Per node: what a unit of squared error in it costs at the network's output.
    pub sensitivity: Vec<f64>,
    /// The levels of all layers with weights, losses weighted by the sensitivity; none where no budget was asked for.
    pub layers: Vec<Layer>,
}

impl Knowledge {
    /// Measures what every layer costs at every level, and chooses the weights that stay.
    pub(crate) fn measure(
        source: &Source<'_>,
        pruning: Option<&Pruning>,
        progress: &Progress,
    ) -> Result<Self, Error> {
        let (network, normalization) = Network::normalized(source, progress)?;
        let mut known = None;
        let mut masks = vec![None; network.graph.nodes.len()];
        if let Some(pruning) = pruning {
            let priced = network.priced(source, progress);
            masks = network.masks(source, &priced, pruning, progress);
            known = Some(priced);
        }
        let (network, equalization) = network.equalized(source, progress)?;
        let priced = known
            .filter(|_| equalization.is_none())
            .unwrap_or_else(|| network.priced(source, progress));
        let mut layers = match pruning {
            Some(_) => network.database(source, &masks, progress).layers,
            None => priced.database.layers,
        };
        plan::weigh(&mut layers, &priced.costs);
        Ok(Self {
            normalization,
            equalization,
            activations: network.plan.activations,
            float: network.plan.float,
            outputs: priced.database.statistics,
            masks,
            sensitivity: priced.costs.iter().map(Cost::weight).collect(),
            layers,
        })
    }

    /// What a package of every layer's finest codes needs.
    pub(crate) fn without_levels(source: &Source<'_>, progress: &Progress) -> Result<Self, Error> {
        let (network, normalization) = Network::normalized(source, progress)?;
        let (network, equalization) = network.equalized(source, progress)?;
        Ok(Self {
            masks: vec![None; network.graph.nodes.len()],
            normalization,
            equalization,
            activations: network.plan.activations,
            float: network.plan.float,
            outputs: quantize::run_dense(&network.graph, &source.inputs, |_, _| ()),
            sensitivity: Vec::new(),
            layers: Vec::new(),
        })
    }

    /// The network that is quantized.
    pub(crate) fn network<'a>(&self, graph: &'a Graph) -> Cow<'a, Graph> {
        let mut network = Cow::Borrowed(graph);
        if let Some(normalization) = &self.normalization {
            network = Cow::Owned(normalization.apply(&network));
        }
        if let Some(equalization) = &self.equalization {
            network = Cow::Owned(equalization.apply(&network));
        }
        network
    }
}

/// A network and the ranges of its activations.
struct Network<'a> {
    graph: Cow<'a, Graph>,
    statistics: Statistics,
    plan: ActivationPlan,
}

/// What errors in each layer cost.
struct Priced {
    database: Database,
    costs: Vec<Cost>,
}

impl<'a> Network<'a> {
    fn measure(
        source: &Source<'_>,
        graph: Cow<'a, Graph>,
        progress: &Progress,
    ) -> Result<Self, Error> {
        let statistics = calibrate::measure(&graph, source.samples, progress)?;
        let plan = ActivationPlan::new(
            &graph,
            &statistics,
            &source.inputs,
            source.samples.is_synthetic(),
        );
        Ok(Self {
            graph,
            statistics,
            plan,
        })
    }

    /// The network of a source, with inputs that are normalized where one scale would drown some of their channels.
    fn normalized(
        source: &'a Source<'_>,
        progress: &Progress,
    ) -> Result<(Self, Option<Normalization>), Error> {
        let network = Self::measure(source, Cow::Borrowed(&source.graph), progress)?;
        if source.samples.is_synthetic() {
            return Ok((network, None));
        }
        let float: Vec<bool> = network
            .plan
            .activations
            .iter()
            .map(Option::is_none)
            .collect();
        let normalization = Normalization::new(&network.graph, &network.statistics, &float);
        let Some(normalization) = normalization else {
            return Ok((network, None));
        };
        let graph = Cow::Owned(normalization.apply(&network.graph));
        Ok((Self::measure(source, graph, progress)?, Some(normalization)))
    }

    /// With equalized channels, where that helps.
    fn equalized(
        self,
        source: &Source<'_>,
        progress: &Progress,
    ) -> Result<(Self, Option<Equalization>), Error> {
        if self.plan.error < WORTH_EQUALIZING {
            return Ok((self, None));
        }
        let equalization = Equalization::new(&self.graph, &self.statistics);
        let graph = Cow::Owned(equalization.apply(&self.graph));
        let equal = Self::measure(source, graph, progress)?;
        if equal.plan.error < self.plan.error {
            Ok((equal, Some(equalization)))
        } else {
            Ok((self, None))
        }
    }

    fn database(
        &self,
        source: &Source<'_>,
        masks: &[Option<Vec<bool>>],
        progress: &Progress,
    ) -> Database {
        Database::new(
            &self.graph,
            &self.statistics,
            &source.inputs,
            masks,
            progress,
        )
    }

    fn priced(&self, source: &Source<'_>, progress: &Progress) -> Priced {
        let database = self.database(source, &vec![None; self.graph.nodes.len()], progress);
        let costs = database.costs(&self.graph, &source.inputs, progress);
        Priced { database, costs }
    }

    fn masks(
        &self,
        source: &Source<'_>,
        priced: &Priced,
        pruning: &Pruning,
        progress: &Progress,
    ) -> Vec<Option<Vec<bool>>> {
        let evidence = Evidence {
            graph: &self.graph,
            statistics: &self.statistics,
            costs: &priced.costs,
            outputs: &priced.database.statistics,
            samples: &source.inputs,
        };
        evidence.masks(pruning, progress)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Dataset;
    use crate::import;
    use std::path::Path;

    /// The demo network, measured on made-up inputs, with some of its weights pruned.
    fn knowledge(sparsity: f64) -> Knowledge {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/fashion_mnist.onnx");
        let graph = import::load(&path).unwrap();
        let samples = Dataset::synthetic(10, None, &graph.inputs);
        let source = Source::new(graph, &samples).unwrap();
        let pruning = Pruning {
            sparsity,
            ..Pruning::default()
        };
        Knowledge::measure(&source, Some(&pruning), &Progress::Silent).unwrap()
    }

    #[test]
    fn what_is_stored_comes_back() {
        let known = knowledge(0.4);
        let bytes = postcard::to_stdvec(&known).unwrap();
        assert_eq!(postcard::from_bytes::<Knowledge>(&bytes).unwrap(), known);
    }

    #[test]
    fn masks_have_the_sparsity_and_levels_are_convex() {
        let known = knowledge(0.4);
        let weights = || known.masks.iter().flatten().flatten();
        let zeros = weights().filter(|&&kept| !kept).count();
        assert_eq!(zeros, (0.4 * weights().count() as f64).round() as usize);
        assert_eq!(known.layers.len(), known.masks.iter().flatten().count());
        for layer in &known.layers {
            let slopes: Vec<f64> = layer
                .levels
                .windows(2)
                .map(|pair| {
                    let saved = pair[0].bytes - pair[1].bytes;
                    (pair[1].loss - pair[0].loss) / saved as f64
                })
                .collect();
            assert!(slopes.iter().all(|&slope| slope > 0.0) && slopes.is_sorted());
        }
    }
}
