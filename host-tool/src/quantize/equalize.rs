//! Equalizes the channels of an activation, so that one scale for all of them wastes less of its codes
//! on channels that are small beside others (Nagel et al., "Data-Free Quantization Through Weight
//! Equalization and Bias Correction", arXiv 1906.04721, section 4.1). Unlike there, the ranges are those
//! of the activations, as measured: weights can have a scale for each channel anyway.

use crate::calibrate::{Statistics, TensorStatistics};
use crate::graph::{Activation, Channels, Graph, Linear, Node, Op, TensorId, UnaryKind};
use serde::{Deserialize, Serialize};

/// Log2 of the greatest factor.
const MOST: u8 = 4;

/// What each channel is multiplied by, and divided by again in the layers that read it: powers of two,
/// which round nothing, and at least 1, so that bounded activations keep their bounds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Equalization {
    /// Per tensor and channel: log2 of the factor.
    exponents: Vec<Vec<u8>>,
}

impl Equalization {
    /// The square root, rounded, of what brings a channel to the largest of its activation, if the channels
    /// that are scaled with it allow as much. As there, what activations win is balanced with what weights
    /// lose: those that read a multiplied channel become small beside the others of their row.
    pub fn new(graph: &Graph, statistics: &Statistics) -> Self {
        let channels = Channels::scaled_together(graph);
        let mut room = vec![f32::INFINITY; channels.len()];
        for (id, tensor) in statistics.tensors.iter().enumerate() {
            let limit = limit(graph, id, tensor);
            for (channel, &peak) in tensor.peaks.iter().enumerate() {
                let group = channels.group(channels.index(id, channel));
                room[group] = room[group].min(limit / peak);
            }
        }
        let exponent = |index: usize| {
            let group = channels.group(index);
            match room[group] {
                _ if channels.is_pinned(group) => 0,
                room if room.is_finite() => {
                    ((room.log2() + 1.0) / 2.0).clamp(0.0, f32::from(MOST)) as u8
                }
                _ => 0, // always zero
            }
        };
        let of_tensor = |id: TensorId| {
            let channels_of = 0..graph.shape(id)[3];
            channels_of
                .map(|channel| exponent(channels.index(id, channel)))
                .collect()
        };
        Self {
            exponents: (0..graph.tensors.len()).map(of_tensor).collect(),
        }
    }

    /// Whether there is an exponent that a factor can have for every channel.
    pub(crate) fn fits(&self, graph: &Graph) -> bool {
        let mut tensors = self.exponents.iter().zip(&graph.tensors);
        self.exponents.len() == graph.tensors.len()
            && tensors.all(|(exponents, tensor)| {
                exponents.len() == tensor.shape[3] && exponents.iter().all(|&e| e <= MOST)
            })
    }

    /// All factors that a channel can have.
    pub fn factors() -> impl Iterator<Item = f32> {
        (0..=MOST).map(power)
    }

    /// The network with multiplied channels: its outputs are the same, but for rounding.
    pub fn apply(&self, graph: &Graph) -> Graph {
        let mut scaled = graph.clone();
        for node in &mut scaled.nodes {
            let input = &self.exponents[node.inputs[0]];
            let output = &self.exponents[node.output];
            let channels = node.op.weight_channels();
            if let (Some(channels), Some(linear)) = (channels, node.op.linear_mut()) {
                scale(linear, channels, input, output);
            }
        }
        scaled
    }
}

fn power(exponent: u8) -> f32 {
    f32::from(exponent).exp2()
}

/// The largest that a channel of an activation may become.
fn limit(graph: &Graph, id: TensorId, tensor: &TensorStatistics) -> f32 {
    let largest = tensor.peaks.iter().fold(0f32, |most, &peak| most.max(peak));
    let producer = graph.nodes.iter().find(|node| node.output == id);
    let (min, max) = producer.map_or(Activation::None, activation).bounds();
    let min = if min < 0.0 { -min } else { f32::INFINITY };
    largest.min(max).min(min)
}

fn activation(node: &Node) -> Activation {
    match node.op {
        Op::Binary { activation, .. } => activation,
        Op::Unary {
            kind: UnaryKind::Clamp { min, max },
        } => Activation::Clamp { min, max },
        _ => node
            .op
            .linear()
            .map_or(Activation::None, |linear| linear.activation),
    }
}

fn scale(
    linear: &mut Linear,
    channels: impl Fn(usize) -> (usize, usize),
    input: &[u8],
    output: &[u8],
) {
    for (index, weight) in linear.weights.iter_mut().enumerate() {
        let (to, from) = channels(index);
        *weight *= power(output[to]) / power(input[from]);
    }
    for (bias, &exponent) in linear.bias.iter_mut().zip(output) {
        *bias *= power(exponent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::measure;
    use crate::dataset::Dataset;
    use crate::graph::run;
    use crate::import;
    use crate::progress::Progress;
    use std::path::Path;

    fn demo() -> (Graph, Dataset) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/fashion_mnist.onnx");
        let graph = import::load(&path).unwrap();
        let samples = Dataset::synthetic(6, None, &graph.inputs);
        (graph, samples)
    }

    #[test]
    fn the_network_computes_the_same_and_its_channels_are_closer() {
        let (graph, samples) = demo();
        let statistics = measure(&graph, &samples, &Progress::Silent).unwrap();
        let equalization = Equalization::new(&graph, &statistics);
        let equal = equalization.apply(&graph);
        let after = measure(&equal, &samples, &Progress::Silent).unwrap();
        let mut scaled = 0;
        for (id, exponents) in equalization.exponents.iter().enumerate() {
            let (old, new) = (&statistics.tensors[id].peaks, &after.tensors[id].peaks);
            let largest = |peaks: &[f32]| peaks.iter().fold(0f32, |most, &peak| most.max(peak));
            assert!(largest(new) <= 1.0001 * largest(old), "tensor {id}");
            for (channel, &exponent) in exponents.iter().enumerate() {
                let expected = old[channel] * power(exponent);
                assert!((new[channel] - expected).abs() <= 1e-4 * largest(old));
                scaled += usize::from(exponent > 0);
            }
        }
        assert!(scaled > 20, "{scaled} channels are scaled");
        for i in 0..samples.len() {
            let inputs = samples.sample(i).unwrap();
            for (a, b) in run(&graph, &inputs).iter().zip(run(&equal, &inputs)) {
                assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4));
            }
        }
    }

    #[test]
    fn what_goes_in_and_out_keeps_its_scale() {
        let (graph, samples) = demo();
        let statistics = measure(&graph, &samples, &Progress::Silent).unwrap();
        let equalization = Equalization::new(&graph, &statistics);
        for port in graph.inputs.iter().chain(&graph.outputs) {
            assert!(equalization.exponents[port.tensor].iter().all(|&e| e == 0));
        }
    }
}
