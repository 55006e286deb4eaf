//! The masks of a whole network: scores by criterion, in rounds.

use super::{
    Criterion, Pruning, Scope, WeightLayout, activation, in_rounds, magnitude, masks,
    network_scores, obs, synflow,
};
use crate::calibrate::{ChannelSums, Statistics};
use crate::graph::Graph;
use crate::plan::sensitivity::{self, Trial};
use crate::progress::Progress;
use crate::quantize::{
    self, Aim, Compensator, Curvature, Finest, LayerShape, Rounding, Streams, TapStatistics,
};

/// Times that the importance of layers is measured again, pruned as it was found to be best before.
const REFINEMENTS: usize = 1;

/// What scores are computed from.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// The dense network.
    pub graph: &'a Graph,
    /// What calibration measured of its activations.
    pub statistics: &'a Statistics,
    /// Per node with weights: statistics of its output before the activation.
    pub outputs: &'a [Option<ChannelSums>],
    /// Network inputs, for the refit between rounds.
    pub samples: &'a [Vec<Vec<f32>>],
}

impl Evidence<'_> {
    /// Per node with weights which of them stay. Between the rounds of an iterative schedule the
    /// weights that are left make up for those that are gone, and are scored anew.
    pub fn masks(&self, pruning: &Pruning, progress: &Progress) -> Vec<Option<Vec<bool>>> {
        let layouts = WeightLayout::of_network(self.graph);
        let importance = match pruning.criterion {
            Criterion::Obs => self.importance(&layouts, pruning, progress),
            _ => Vec::new(),
        };
        let mut round = 0;
        in_rounds(&layouts, pruning, |kept| {
            round += 1;
            if round == 1 || pruning.criterion == Criterion::SynFlow {
                self.scores(self.graph, pruning, &importance, kept)
            } else {
                let refit = self.refit(kept, progress);
                self.scores(&refit, pruning, &importance, kept)
            }
        })
    }

    fn scores(
        &self,
        graph: &Graph,
        pruning: &Pruning,
        importance: &[f64],
        kept: &[Option<Vec<bool>>],
    ) -> Vec<Option<Vec<f32>>> {
        match pruning.criterion {
            Criterion::Magnitude => {
                network_scores(graph, |_, _, linear| magnitude(&linear.weights))
            }
            Criterion::Activation => network_scores(graph, |index, shape, linear| {
                let taps = TapStatistics::new(graph, self.statistics, &graph.nodes[index], shape);
                activation(shape, &linear.weights, &taps)
            }),
            Criterion::Obs => self.obs(graph, importance),
            Criterion::SynFlow => synflow::scores(graph, kept),
        }
    }

    fn obs(&self, graph: &Graph, importance: &[f64]) -> Vec<Option<Vec<f32>>> {
        network_scores(graph, |index, shape, linear| {
            let taps = TapStatistics::new(graph, self.statistics, &graph.nodes[index], shape);
            let importance = vec![importance[index] as f32; shape.outputs()];
            obs(shape, &linear.weights, &inverse(shape, &taps), &importance)
        })
    }

    /// Per node with weights, what a unit of its scores costs at the network's output. Each layer in turn
    /// is pruned by itself, and what is left makes up for what is gone; at first every layer to the
    /// same sparsity, then as far as the costs before would prune it.
    fn importance(
        &self,
        layouts: &[Option<WeightLayout>],
        pruning: &Pruning,
        progress: &Progress,
    ) -> Vec<f64> {
        let mut importance = vec![1.0; self.graph.nodes.len()];
        let scopes = std::iter::once(Scope::Local).chain([pruning.scope; REFINEMENTS]);
        for scope in scopes {
            let scores = self.obs(self.graph, &importance);
            let (sparsity, pattern) = (pruning.sparsity, pruning.pattern);
            let kept = masks(layouts, &scores, sparsity, scope, pattern, &[]);
            self.try_out(&kept, &mut importance, progress);
        }
        importance
    }

    /// Measures the importance of all layers that `kept` prunes.
    fn try_out(&self, kept: &[Option<Vec<bool>>], importance: &mut [f64], progress: &Progress) {
        let scores = self.obs(self.graph, &vec![1.0; importance.len()]);
        let mut trials = Vec::new();
        quantize::run_dense(self.graph, self.samples, |index, streams| {
            let (Some(scores), Some(kept)) = (&scores[index], &kept[index]) else {
                return;
            };
            let gone = scores.iter().zip(kept).filter(|(_, kept)| !**kept);
            let error = gone.map(|(&score, _)| f64::from(score)).sum();
            trials.extend(self.trial(index, streams, kept, error));
        });
        let costs = sensitivity::measure(self.graph, &trials, self.samples, progress);
        for (trial, cost) in trials.iter().zip(costs) {
            importance[trial.node()] = cost;
        }
    }

    /// One layer without the weights that are not `kept`.
    fn trial(&self, index: usize, streams: &Streams, kept: &[bool], error: f64) -> Option<Trial> {
        let node = &self.graph.nodes[index];
        let (shape, linear) = (LayerShape::of(&node.op)?, node.op.linear()?);
        if error <= 0.0 {
            return None;
        }
        let covariances = streams.covariances(self.graph, node, |_| true);
        let finest = Rounding::FINEST;
        let fit = Compensator::new(shape, &covariances, finest.damping);
        let layer = fit.round(linear, finest, Some(kept));
        let taps = TapStatistics::new(self.graph, self.statistics, node, shape);
        let judge = Curvature::new(shape, linear, &covariances);
        Trial::new(self.graph, index, &taps, &judge, &layer, error)
    }

    /// The network with masked weights, refit to the dense one layer by layer; as fine as int8 with a
    /// scale per channel.
    fn refit(&self, kept: &[Option<Vec<bool>>], progress: &Progress) -> Graph {
        let aim = Aim {
            activations: &vec![None; self.graph.tensors.len()],
            statistics: self.outputs,
            masks: kept,
            samples: self.samples,
        };
        let pruned = quantize::quantize(self.graph, &aim, &mut Finest, progress);
        let mut graph = pruned.graph;
        for (node, layer) in graph.nodes.iter_mut().zip(&pruned.layers) {
            let shape = LayerShape::of(&node.op);
            if let (Some(layer), Some(shape), Some(linear)) = (layer, shape, node.op.linear_mut()) {
                *linear = layer.dequantized(shape, linear);
            }
        }
        graph
    }
}

/// By group and tap the inverse of the diagonal of the second moments. With the diagonal of the inverse
/// in its place, every weight's score counts on help from others that go as well: measured on
/// EfficientNet-Lite0 at half of the weights, such masks lose nearly everything.
fn inverse(shape: LayerShape, taps: &TapStatistics<'_>) -> Vec<Vec<f64>> {
    let outputs = (0..shape.outputs()).step_by(shape.rows);
    outputs
        .map(|output| {
            let taps = (0..shape.k).map(|tap| taps.variance(output, tap));
            taps.map(f64::recip).collect()
        })
        .collect()
}
