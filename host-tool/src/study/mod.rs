//! What is known of a network once it was measured on samples: all that a package needs beside its
//! budget. A [`Cache`] keeps it on disk, so that the next budget takes no measuring.

mod bits;
mod cache;

pub use cache::Cache;

use crate::Error;
use crate::calibrate::{self, ChannelSums, Statistics};
use crate::pack::Source;
use crate::plan::sensitivity::Cost;
use crate::plan::{self, Database, Layer};
use crate::progress::Progress;
use crate::prune::{Evidence, Pruning};
use crate::quantize::{self, ActivationQuantization};
use serde::{Deserialize, Serialize};

/// What was measured of a network, and decided whatever the budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Knowledge {
    /// Per tensor: its quantization, `None` for `f32`.
    pub activations: Vec<Option<ActivationQuantization>>,
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
        let (graph, inputs) = (&source.graph, &source.inputs);
        let statistics = calibrate::measure(graph, source.samples, progress)?;
        let mut masks = vec![None; graph.nodes.len()];
        let database = Database::new(graph, &statistics, inputs, &masks, progress);
        let costs = database.costs(graph, inputs, progress);
        let sensitivity: Vec<f64> = costs.iter().map(Cost::weight).collect();
        let mut layers = database.layers;
        if let Some(pruning) = pruning {
            let evidence = Evidence {
                graph,
                statistics: &statistics,
                costs: &costs,
                outputs: &database.statistics,
                samples: inputs,
            };
            masks = evidence.masks(pruning, progress);
            layers = Database::new(graph, &statistics, inputs, &masks, progress).layers;
        }
        plan::weigh(&mut layers, &costs);
        Ok(Self {
            activations: activations(source, &statistics),
            outputs: database.statistics,
            masks,
            sensitivity,
            layers,
        })
    }

    /// What a package of every layer's finest codes needs.
    pub(crate) fn without_levels(source: &Source<'_>, progress: &Progress) -> Result<Self, Error> {
        let graph = &source.graph;
        let statistics = calibrate::measure(graph, source.samples, progress)?;
        Ok(Self {
            activations: activations(source, &statistics),
            outputs: quantize::run_dense(graph, &source.inputs, |_, _| ()),
            masks: vec![None; graph.nodes.len()],
            sensitivity: Vec::new(),
            layers: Vec::new(),
        })
    }
}

fn activations(
    source: &Source<'_>,
    statistics: &Statistics,
) -> Vec<Option<ActivationQuantization>> {
    quantize::plan_activations(&source.graph, statistics, &source.inputs)
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
