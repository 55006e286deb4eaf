//! The masks of a whole network: scores by criterion, in rounds.

use super::{
    Criterion, Pattern, Pruning, WeightLayout, activation, in_rounds, magnitude, network_scores,
    obs, synflow,
};
use crate::calibrate::{ChannelSums, Statistics};
use crate::graph::{Graph, Linear};
use crate::plan::sensitivity::Cost;
use crate::plan::{self, Unlimited};
use crate::progress::Progress;
use crate::quantize::{
    self, Aim, Compensator, Curvature, LayerShape, Rounding, Streams, TapStatistics, refit,
};
use rayon::prelude::*;

/// Sparsities that layers are tried at: as many equal steps from none.
const SPARSITIES: usize = 20;
/// Of the scores and of these trials. Much is moved onto the weights that stay: little of it should be the
/// samples' noise.
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
        let mut importance = None;
        let mut round = 0;
        in_rounds(&layouts, pruning, |kept| {
            round += 1;
            let refit = match (round, pruning.criterion) {
                (1, _) | (_, Criterion::SynFlow) => None,
                _ => Some(self.refit(kept, progress)),
            };
            let graph = refit.as_ref().unwrap_or(self.graph);
            match pruning.criterion {
                Criterion::Magnitude => {
                    network_scores(graph, |_, _, linear| magnitude(&linear.weights))
                }
                Criterion::Activation => network_scores(graph, |index, shape, linear| {
                    let node = &graph.nodes[index];
                    let taps = TapStatistics::new(graph, self.statistics, node, shape);
                    activation(shape, &linear.weights, &taps)
                }),
                Criterion::Obs => self.obs(graph, pruning, &mut importance, progress),
                Criterion::SynFlow => synflow::scores(graph, kept),
            }
        })
    }

    /// Scores of optimal brain surgeon times the importance of their layer, which the first round measures.
    fn obs(
        &self,
        graph: &Graph,
        pruning: &Pruning,
        importance: &mut Option<Vec<f32>>,
        progress: &Progress,
    ) -> Vec<Option<Vec<f32>>> {
        let bar = progress.stage("sparsities", graph.nodes.len());
        let mut scores = vec![None; graph.nodes.len()];
        let mut layers = Vec::new();
        let mut units = vec![1; graph.nodes.len()];
        quantize::run_dense(graph, self.samples, |index, streams| {
            if let Some(layer) = Layer::new(graph, index, pruning.pattern, streams) {
                if importance.is_none() {
                    layers.push(layer.sparsities(streams));
                }
                units[index] = layer.unit;
                scores[index] = Some(layer.scores);
            }
            bar.advance(1);
        });
        let importance = importance
            .get_or_insert_with(|| self.importance(layers, &scores, &units, pruning.sparsity));
        for (scores, importance) in scores.iter_mut().zip(importance) {
            let scores = scores.iter_mut().flatten();
            scores.for_each(|score| *score *= *importance);
        }
        scores
    }

    /// Per node with weights a factor of its scores, such that one threshold over the network prunes
    /// each layer as far as is best for the network: every layer was pruned to several sparsities and
    /// compensated, held-out samples judged its error, and `costs` what that does to the network's output.
    fn importance(
        &self,
        mut layers: Vec<plan::Layer>,
        scores: &[Option<Vec<f32>>],
        units: &[usize],
        sparsity: f64,
    ) -> Vec<f32> {
        plan::weigh(&mut layers, self.costs);
        let counts = scores.iter().zip(units);
        let weights: usize = counts
            .map(|(scores, unit)| unit * scores.as_ref().map_or(0, Vec::len))
            .sum();
        let kept = (weights as f64 * (1.0 - sparsity)) as usize;
        let chosen = plan::choose(&layers, kept);
        let mut importance = vec![1.0; scores.len()];
        for (i, layer) in layers.iter().enumerate() {
            let level = chosen
                .as_ref()
                .map_or(layer.levels.len() - 1, |chosen| chosen[i]);
            let scores = scores[layer.node].as_deref().unwrap_or_default();
            let unit = units[layer.node];
            let threshold = threshold(scores, layer.levels[level].bytes / unit.max(1));
            importance[layer.node] = unit as f32 / threshold.max(f32::MIN_POSITIVE);
        }
        importance
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
        let pruned = quantize::quantize(self.graph, &aim, &mut Unlimited(&[]), progress);
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

/// A layer, the covariances of its inputs in the samples that fit it, and the scores of its weights.
struct Layer<'a> {
    graph: &'a Graph,
    index: usize,
    shape: LayerShape,
    linear: &'a Linear,
    covariances: Vec<Vec<f64>>,
    scores: Vec<f32>,
    /// What a weight counts towards the sparsity.
    unit: usize,
    /// Sparsities to try.
    levels: usize,
}

impl<'a> Layer<'a> {
    /// The layer at a node with weights.
    fn new(graph: &'a Graph, index: usize, pattern: Pattern, streams: &Streams) -> Option<Self> {
        let node = &graph.nodes[index];
        let (shape, linear) = (LayerShape::of(&node.op)?, node.op.linear()?);
        let covariances = streams.covariances(graph, node, |i| streams.fits(i));
        let mut scores = obs(shape, &linear.weights, &covariances, DAMPING);
        let layout = WeightLayout::of(graph, node)?;
        layout.share_in_blocks(pattern, &mut scores);
        Some(Self {
            graph,
            index,
            shape,
            linear,
            covariances,
            scores,
            unit: pattern.unit(layout),
            levels: if pattern.spares(layout) {
                1
            } else {
                SPARSITIES
            },
        })
    }

    /// The layer at several sparsities: levels whose bytes are what those that stay count.
    fn sparsities(&self, streams: &Streams) -> plan::Layer {
        let node = &self.graph.nodes[self.index];
        let judge = streams.covariances(self.graph, node, |i| streams.judges(i));
        let judge = Curvature::new(self.shape, self.linear, &judge);
        let fit = Compensator::new(self.shape, &self.covariances, DAMPING);
        let level = |step: usize| {
            let kept = self.scores.len() * (SPARSITIES - step) / SPARSITIES;
            let threshold = threshold(&self.scores, kept);
            let reach = |&score: &f32| score >= threshold;
            let mask: Vec<bool> = self.scores.iter().map(reach).collect();
            let refit = refit(
                self.shape,
                self.linear,
                &self.covariances,
                DAMPING,
                Some(&mask),
            );
            let layer = fit.round(&refit, Rounding::FINEST, Some(&mask));
            plan::Level {
                step: 0.0,
                price: 0.0,
                bytes: kept * self.unit,
                loss: judge.error(&layer),
            }
        };
        plan::Layer {
            node: self.index,
            power: judge.power(),
            damping: DAMPING,
            levels: (0..self.levels).into_par_iter().map(level).collect(),
        }
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
