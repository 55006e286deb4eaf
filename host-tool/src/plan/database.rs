//! What every layer costs at every level: one pass of the dense network over the samples.

use super::Layer;
use super::levels::levels;
use super::sensitivity::{self, Trial};
use crate::calibrate::{ChannelSums, Statistics};
use crate::graph::Graph;
use crate::progress::Progress;
use crate::quantize::{Compensator, Curvature, LayerShape, Streams, TapStatistics, run_dense};

/// Every so many-th sample judges what was fitted to the others: a layer with more taps than the samples
/// have rows fits the noise in them.
const JUDGES: usize = 5;
/// Samples that sensitivity is measured on.
const SENSITIVITY_SAMPLES: usize = 16;

/// The levels of all layers with weights, in order of execution, and a trial of each.
pub struct Database {
    /// The layers; their losses are variances of the layer's own output error.
    pub layers: Vec<Layer>,
    /// Per node with weights: statistics of its output before the activation.
    pub statistics: Vec<Option<ChannelSums>>,
    trials: Vec<Trial>,
}

impl Database {
    /// Rounds every layer at every level. `samples` are network inputs, `masks` says per node which weights
    /// must stay.
    pub fn new(
        graph: &Graph,
        measured: &Statistics,
        samples: &[Vec<Vec<f32>>],
        masks: &[Option<Vec<bool>>],
        progress: &Progress,
    ) -> Self {
        let bar = progress.stage("levels", graph.nodes.len());
        let (mut layers, mut trials) = (Vec::new(), Vec::new());
        let statistics = run_dense(graph, samples, |index, streams| {
            let mask = masks[index].as_deref();
            if let Some((layer, trial)) = rank(graph, index, measured, streams, mask) {
                layers.push(layer);
                trials.extend(trial);
            }
            bar.advance(1);
        });
        Self {
            layers,
            statistics,
            trials,
        }
    }

    /// Per node: what a unit of error in it costs at the network's output.
    pub fn sensitivity(
        &self,
        graph: &Graph,
        samples: &[Vec<Vec<f32>>],
        progress: &Progress,
    ) -> Vec<f64> {
        let samples = &samples[..samples.len().min(SENSITIVITY_SAMPLES)];
        let measured = sensitivity::measure(graph, &self.trials, samples, progress);
        let mut weights = vec![0.0; graph.nodes.len()];
        for (trial, weight) in self.trials.iter().zip(measured) {
            weights[trial.node()] = weight;
        }
        weights
    }
}

/// The levels of one layer with weights.
fn rank(
    graph: &Graph,
    index: usize,
    measured: &Statistics,
    streams: &Streams,
    mask: Option<&[bool]>,
) -> Option<(Layer, Option<Trial>)> {
    let node = &graph.nodes[index];
    let (shape, linear) = (LayerShape::of(&node.op)?, node.op.linear()?);
    let few = streams.len() < JUDGES;
    let judges = |i: usize| few || i % JUDGES == JUDGES - 1;
    let fits = |i: usize| few || !judges(i);
    let fit = Compensator::new(shape, streams.covariances(graph, node, fits));
    let judge = Curvature::new(shape, linear, &streams.covariances(graph, node, judges));
    let levels = levels(linear, &fit, &judge, mask);
    let taps = TapStatistics::new(graph, measured, node, shape);
    let trial = Trial::new(graph, index, shape, &taps, &fit, judge.power(), &levels);
    let layer = Layer {
        node: index,
        power: judge.power(),
        levels,
    };
    Some((layer, trial))
}
