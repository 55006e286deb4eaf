//! Which layers differ most from the original network.

use super::runner::{Opened, each_sample};
use super::score::Noise;
use crate::Error;
use crate::graph::{self, Graph};
use crate::progress::Progress;
use crate::quantize::Equalization;
use crate::report::record::EvalLayer;
use edgeprune_format::manifest::{DType, Quantization};
use edgeprune_runtime::Observer;
use edgeprune_runtime::quantize::dequantize;
use std::collections::HashMap;

/// Samples that layers are compared on.
const SAMPLES: usize = 16;
/// Layers that are reported.
const MOST: usize = 10;

/// The layers with the lowest signal-to-noise ratio, lowest first. Only nodes that both networks
/// have, by name, with outputs of the same size, are compared: removed channels change sizes.
pub(super) fn worst(
    opened: &Opened<'_>,
    (count, sample): (usize, impl Fn(usize) -> Result<Vec<Vec<f32>>, Error> + Sync),
    graph: &Graph,
    progress: &Progress,
) -> Result<Vec<EvalLayer>, Error> {
    let pairs = pairs(opened, graph);
    let count = count.min(SAMPLES);
    let stage = progress.stage("layers", count);
    let samples = each_sample(opened, count, |runner, i| {
        let inputs = sample(i)?;
        let mut comparison = Comparison::new(&pairs, graph, &inputs);
        runner.run_observed(&inputs, &mut comparison)?;
        stage.advance(1);
        Ok(comparison.channels)
    })?;
    let mut layers: Vec<EvalLayer> = pairs
        .iter()
        .enumerate()
        .map(|(pair, Pair { name, op, .. })| {
            let mut sums = ChannelNoise::default();
            samples.iter().for_each(|sample| sums.add(&sample[pair]));
            EvalLayer {
                name: name.clone(),
                op: (*op).to_owned(),
                sqnr_db: sums.noise().db(),
            }
        })
        .collect();
    layers.sort_by(|a, b| a.sqnr_db.total_cmp(&b.sqnr_db));
    layers.truncate(MOST);
    Ok(layers)
}

/// A node of the package and the node of the graph with the same name and size.
struct Pair {
    name: String,
    op: &'static str,
    package_node: usize,
    graph_node: usize,
    channels: usize,
    element: Element,
}

/// What an output's bytes mean.
#[derive(Clone, Copy)]
enum Element {
    F32,
    I8 { scale: f32, zero_point: i8 },
}

fn pairs(opened: &Opened<'_>, graph: &Graph) -> Vec<Pair> {
    let by_name: HashMap<&str, usize> = graph
        .nodes
        .iter()
        .enumerate()
        .map(|(index, node)| (node.name.as_str(), index))
        .collect();
    let manifest = opened.package().manifest();
    let nodes = manifest.nodes().enumerate();
    nodes
        .filter_map(|(package_node, node)| {
            let &graph_node = by_name.get(node.name)?;
            let tensor = manifest.tensor(node.output)?;
            let original = &graph.nodes[graph_node];
            let elements = graph.tensors[original.output].elements();
            (tensor.elements() == Some(elements)).then_some(())?;
            Some(Pair {
                name: node.name.to_owned(),
                op: original.op.name(),
                package_node,
                graph_node,
                channels: graph.shape(original.output)[3],
                element: element(tensor.dtype, tensor.quantization)?,
            })
        })
        .collect()
}

fn element(dtype: DType, quantization: Quantization) -> Option<Element> {
    match (dtype, quantization) {
        (DType::F32, _) => Some(Element::F32),
        (DType::I8, Quantization::PerTensor { scale, zero_point }) => {
            Some(Element::I8 { scale, zero_point })
        }
        _ => None,
    }
}

impl Element {
    fn values(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::F32 => {
                let words = bytes.chunks_exact(4).filter_map(<[u8]>::first_chunk);
                words.map(|word| f32::from_ne_bytes(*word)).collect()
            }
            Self::I8 { scale, zero_point } => {
                let codes = bytes.iter().map(|&byte| byte as i8);
                codes
                    .map(|code| dequantize(code, scale, zero_point))
                    .collect()
            }
        }
    }
}

/// Sums over a channel's values: `reference^2`, `value^2`, `reference * value`.
#[derive(Clone, Copy, Default)]
struct Products([f64; 3]);

impl Products {
    fn add(&mut self, other: Self) {
        let sums = self.0.iter_mut().zip(other.0);
        sums.for_each(|(sum, more)| *sum += more);
    }

    /// Against values that were multiplied by `factor`.
    fn noise(self, factor: f64) -> Noise {
        let Self([reference, value, product]) = self;
        let noise = reference - 2.0 * product / factor + value / (factor * factor);
        Noise::new(reference, noise.max(0.0))
    }
}

/// What differs between two activations whose channels may have been equalized.
#[derive(Clone, Default)]
struct ChannelNoise(Vec<Products>);

impl ChannelNoise {
    fn of(values: &[f32], reference: &[f32], channels: usize) -> Self {
        let mut sums = vec![Products::default(); channels];
        let rows = values.chunks(channels).zip(reference.chunks(channels));
        for (values, reference) in rows {
            for ((sums, &value), &reference) in sums.iter_mut().zip(values).zip(reference) {
                let (a, b) = (f64::from(reference), f64::from(value));
                sums.add(Products([a * a, b * b, a * b]));
            }
        }
        Self(sums)
    }

    fn add(&mut self, other: &Self) {
        self.0.resize(other.0.len(), Products::default());
        for (sums, more) in self.0.iter_mut().zip(&other.0) {
            sums.add(*more);
        }
    }

    /// With the factor for each channel that equalization may have given it and that fits best.
    fn noise(&self) -> Noise {
        let mut all = Noise::default();
        for sums in &self.0 {
            let noises = Equalization::factors().map(|factor| sums.noise(f64::from(factor)));
            let best = noises.max_by(|a, b| a.db().total_cmp(&b.db()));
            all.add(best.unwrap_or_default());
        }
        all
    }
}

/// Compares each node's output when it is written.
struct Comparison<'a> {
    pairs: &'a [Pair],
    /// By pair.
    reference: Vec<Vec<f32>>,
    /// By pair.
    channels: Vec<ChannelNoise>,
}

impl<'a> Comparison<'a> {
    /// Computes the original's outputs.
    fn new(pairs: &'a [Pair], graph: &Graph, inputs: &[Vec<f32>]) -> Self {
        let by_node: HashMap<usize, usize> = pairs
            .iter()
            .enumerate()
            .map(|(pair, Pair { graph_node, .. })| (*graph_node, pair))
            .collect();
        let mut reference = vec![Vec::new(); pairs.len()];
        graph::run_with(graph, inputs, |node, output| {
            if let Some(&pair) = by_node.get(&node) {
                reference[pair] = output.to_vec();
            }
        });
        Self {
            pairs,
            reference,
            channels: vec![ChannelNoise::default(); pairs.len()],
        }
    }
}

impl Observer for Comparison<'_> {
    fn node_end(&mut self, index: usize, output: &[u8]) {
        let pair = self
            .pairs
            .iter()
            .position(|pair| pair.package_node == index);
        if let Some(pair) = pair {
            let Pair {
                element, channels, ..
            } = self.pairs[pair];
            let values = element.values(output);
            self.channels[pair] = ChannelNoise::of(&values, &self.reference[pair], channels);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_of_channels_are_no_noise_but_other_errors_are() {
        let reference: Vec<f32> = (0..200).map(|i| (i as f32 * 0.7).sin()).collect();
        let factors = [1.0, 4.0];
        let changed = |error: f32| -> Vec<f32> {
            let channels = reference.iter().zip(factors.iter().cycle());
            channels.map(|(x, factor)| x * factor * error).collect()
        };
        let db = |error: f32| {
            ChannelNoise::of(&changed(error), &reference, 2)
                .noise()
                .db()
        };
        assert!(db(1.0) > 100.0);
        assert!((db(1.1) - 20.0).abs() < 0.1);
    }
}
