//! The masks of a whole network: scores by criterion, in rounds.

use super::{
    Criterion, Pruning, WeightLayout, activation, in_rounds, magnitude, network_scores, obs,
    synflow,
};
use crate::calibrate::{ChannelSums, Statistics};
use crate::graph::Graph;
use crate::plan;
use crate::plan::sensitivity::Cost;
use crate::progress::Progress;
use crate::quantize::{
    self, Aim, Compensator, Curvature, Finest, LayerShape, Rounding, Streams, TapStatistics,
};
use rayon::prelude::*;

/// Sparsities that layers are tried at: as many equal steps from none.
const SPARSITIES: usize = 20;
/// Of these trials. Much is moved onto the weights that stay: little of it should be the samples' noise.
const DAMPING: f64 = 0.1;

/// What scores are computed from.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// The dense network.
    pub graph: &'a Graph,
    /// What calibration measured of its activations.
    pub statistics: &'a Statistics,
    /// Per node with weights: what errors in it cost at the network's output.
    pub costs: &'a [Cost],
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
            Criterion::Obs => self.importance(pruning, progress),
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

    /// Per node with weights a factor of its scores, such that one threshold over the network prunes
    /// each layer as far as is best for the network: every layer is pruned to several sparsities and
    /// compensated, held-out samples judge its error, and `costs` what that does to the network's output.
    fn importance(&self, pruning: &Pruning, progress: &Progress) -> Vec<f64> {
        let mut importance = vec![1.0; self.graph.nodes.len()];
        let scores = self.obs(self.graph, &importance);
        let bar = progress.stage("sparsities", self.graph.nodes.len());
        let mut layers = Vec::new();
        quantize::run_dense(self.graph, self.samples, |index, streams| {
            if let Some(scores) = &scores[index] {
                layers.extend(self.sparsities(index, streams, scores));
            }
            bar.advance(1);
        });
        plan::weigh(&mut layers, self.costs);
        let weights: usize = scores.iter().flatten().map(Vec::len).sum();
        let kept = (weights as f64 * (1.0 - pruning.sparsity)) as usize;
        let chosen = plan::choose(&layers, kept);
        for (i, layer) in layers.iter().enumerate() {
            let level = chosen
                .as_ref()
                .map_or(layer.levels.len() - 1, |chosen| chosen[i]);
            let scores = scores[layer.node].as_deref().unwrap_or_default();
            let threshold = threshold(scores, layer.levels[level].bytes);
            importance[layer.node] = 1.0 / f64::from(threshold).max(f64::MIN_POSITIVE);
        }
        importance
    }

    /// A layer at several sparsities: levels whose bytes are weights that stay.
    fn sparsities(&self, index: usize, streams: &Streams, scores: &[f32]) -> Option<plan::Layer> {
        let node = &self.graph.nodes[index];
        let (shape, linear) = (LayerShape::of(&node.op)?, node.op.linear()?);
        let judge = streams.covariances(self.graph, node, |i| streams.judges(i));
        let judge = Curvature::new(shape, linear, &judge);
        let fit = streams.covariances(self.graph, node, |i| streams.fits(i));
        let fit = Compensator::new(shape, &fit, DAMPING);
        let level = |step: usize| {
            let kept = scores.len() * (SPARSITIES - step) / SPARSITIES;
            let threshold = threshold(scores, kept);
            let mask: Vec<bool> = scores.iter().map(|&score| score >= threshold).collect();
            let layer = fit.round(linear, Rounding::FINEST, Some(&mask));
            plan::Level {
                step: 0.0,
                price: 0.0,
                bytes: kept,
                loss: judge.error(&layer),
            }
        };
        Some(plan::Layer {
            node: index,
            power: judge.power(),
            damping: DAMPING,
            levels: (0..SPARSITIES).into_par_iter().map(level).collect(),
        })
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

/// The score that so many reach or exceed.
fn threshold(scores: &[f32], kept: usize) -> f32 {
    let mut sorted = scores.to_vec();
    match kept.checked_sub(1) {
        Some(last) => *sorted.select_nth_unstable_by(last, |a, b| b.total_cmp(a)).1,
        None => f32::INFINITY,
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

#[cfg(test)]
mod tests {
    use super::threshold;

    #[test]
    fn so_many_scores_reach_the_threshold() {
        let scores = [0.5, 3.0, 0.0, 2.0, 1.0];
        for kept in 0..=scores.len() {
            let threshold = threshold(&scores, kept);
            let reach = scores.iter().filter(|&&score| score >= threshold).count();
            assert_eq!(reach, kept);
        }
    }
}
