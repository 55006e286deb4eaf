//! What a weight is worth: one score per weight, in the order of the weights.

use crate::graph::{Graph, Linear};
use crate::quantize::{LayerShape, TapStatistics};
use rayon::prelude::*;

/// How weights are scored. All but the last score one layer by itself, and have a function here or in
/// [`super::obs`]; SynFlow's scores come from the whole graph, ready for [`super::masks`] and [`super::in_rounds`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Criterion {
    /// The weight's magnitude; needs no samples.
    Magnitude,
    /// Magnitude times the root mean square of the weight's input (Wanda).
    Activation,
    /// Squared error that its removal adds at the network's output when those that stay make up for all
    /// that are gone (optimal brain surgeon), from the covariance of its layer's inputs and the layer's
    /// measured sensitivity.
    #[default]
    Obs,
    /// Share of the paths through the network that it carries (SynFlow); needs no samples.
    #[value(name = "synflow")]
    SynFlow,
}

/// Per node with weights its scores, as `layer` gives them for the node's index.
pub fn network_scores(
    graph: &Graph,
    layer: impl Fn(usize, LayerShape, &Linear) -> Vec<f32> + Sync,
) -> Vec<Option<Vec<f32>>> {
    let nodes = graph.nodes.par_iter().enumerate();
    nodes
        .map(|(index, node)| {
            let (shape, linear) = (LayerShape::of(&node.op)?, node.op.linear()?);
            Some(layer(index, shape, linear))
        })
        .collect()
}

/// `|w|`.
pub fn magnitude(weights: &[f32]) -> Vec<f32> {
    weights.iter().map(|weight| weight.abs()).collect()
}

/// `|w| * rms(x)`, where `x` is the input that the weight multiplies (Sun et al., "A Simple and
/// Effective Pruning Approach for Large Language Models", arXiv 2306.11695, equation 1). The paper
/// compares within an output channel, here the scope decides.
pub fn activation(shape: LayerShape, weights: &[f32], taps: &TapStatistics<'_>) -> Vec<f32> {
    let rms = |group: usize| -> Vec<f64> {
        let output = group * shape.rows;
        (0..shape.k)
            .map(|tap| (taps.variance(output, tap) + taps.mean(output, tap).powi(2)).sqrt())
            .collect()
    };
    by_group(shape, weights, rms, |weight, rms| {
        f64::from(weight.abs()) * rms
    })
}

/// `w^2 C_jj`: the squared output error when the weight goes and all others stay as they are (LeCun et al.,
/// "Optimal Brain Damage", 1989, equation 5, for one layer). `covariances` are those of each group's
/// inputs, row-major `k x k`.
///
/// # Panics
/// If `covariances` have fewer entries than `shape` asks for.
pub fn damage(shape: LayerShape, weights: &[f32], covariances: &[Vec<f64>]) -> Vec<f32> {
    let variances = |group: usize| -> Vec<f64> {
        let diagonal = covariances[group].iter().step_by(shape.k + 1);
        diagonal.copied().collect()
    };
    by_group(shape, weights, variances, |weight, variance| {
        f64::from(weight).powi(2) * variance
    })
}

/// The score of every weight from its value and what all rows of its group share of its tap.
fn by_group(
    shape: LayerShape,
    weights: &[f32],
    taps: impl Fn(usize) -> Vec<f64>,
    score: impl Fn(f32, f64) -> f64,
) -> Vec<f32> {
    let mut scores = vec![0.0; weights.len()];
    for group in 0..shape.groups {
        let taps = taps(group);
        for output in group * shape.rows..(group + 1) * shape.rows {
            for (tap, &shared) in taps.iter().enumerate() {
                let i = shape.index(output, tap);
                scores[i] = score(weights[i], shared) as f32;
            }
        }
    }
    scores
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::{self, Statistics};
    use crate::dataset::Dataset;
    use crate::graph::{Activation, Layout, Node, Op, Port, TensorInfo, Window};
    use crate::progress::Progress;
    use clap::ValueEnum;

    fn layer(op: Op, channels: usize) -> Graph {
        let shape = [1, 2, 2, channels];
        let port = |tensor| Port {
            name: "port".into(),
            tensor,
            source_shape: shape.to_vec(),
            layout: Layout::Nhwc,
        };
        Graph {
            name: "layer".into(),
            source_hash: [0; 32],
            source_bytes: 0,
            inputs: vec![port(0)],
            outputs: vec![port(1)],
            tensors: vec![TensorInfo { shape }, TensorInfo { shape }],
            nodes: vec![Node {
                name: "node".into(),
                op,
                inputs: vec![0],
                output: 1,
            }],
        }
    }

    fn linear(shape: [usize; 4], outputs: usize) -> Linear {
        Linear {
            shape,
            weights: (0..shape.iter().product::<usize>())
                .map(|i| i as f32 - 5.5)
                .collect(),
            bias: vec![0.0; outputs],
            activation: Activation::None,
        }
    }

    fn window(kernel: [u16; 2]) -> Window {
        Window {
            kernel,
            stride: [1, 1],
            dilation: [1, 1],
            pad: [0, 0],
        }
    }

    /// A convolution of 1 x 1 with 3 input and 4 output channels.
    fn pointwise() -> Graph {
        let op = Op::Conv2d {
            linear: linear([4, 1, 1, 3], 4),
            window: window([1, 1]),
            groups: 1,
        };
        let mut graph = layer(op, 3);
        graph.tensors[1].shape[3] = 4;
        graph
    }

    /// Statistics of four synthetic samples, and the samples.
    fn measured(graph: &Graph) -> (Statistics, Vec<Vec<f32>>) {
        let samples = Dataset::synthetic(4, None, &graph.inputs);
        let inputs = (0..4).map(|i| samples.sample(i).unwrap().remove(0));
        let statistics = calibrate::measure(graph, &samples, &Progress::Silent).unwrap();
        (statistics, inputs.collect())
    }

    #[test]
    fn criteria_have_the_names_that_people_know() {
        let names: Vec<String> = Criterion::value_variants()
            .iter()
            .map(|criterion| criterion.to_possible_value().unwrap().get_name().to_owned())
            .collect();
        assert_eq!(names, ["magnitude", "activation", "obs", "synflow"]);
    }

    #[test]
    fn an_activation_score_is_the_weight_times_the_rms_of_its_channel() {
        let graph = pointwise();
        let (statistics, inputs) = measured(&graph);
        let scores = network_scores(&graph, |index, shape, linear| {
            let taps = TapStatistics::new(&graph, &statistics, &graph.nodes[index], shape);
            activation(shape, &linear.weights, &taps)
        });
        for (i, &score) in scores[0].as_ref().unwrap().iter().enumerate() {
            let channel = inputs.iter().flatten().skip(i % 3).step_by(3);
            let squares: f64 = channel.map(|&x| f64::from(x).powi(2)).sum();
            let expected = (i as f64 - 5.5).abs() * (squares / 16.0).sqrt();
            assert!((f64::from(score) - expected).abs() <= 1e-5 * expected.abs());
        }
    }

    #[test]
    fn damage_takes_the_variance_of_the_input_in_its_group() {
        let op = Op::DepthwiseConv2d {
            linear: linear([1, 2, 2, 3], 3),
            window: window([2, 2]),
        };
        let shape = LayerShape::of(&op).unwrap();
        let weights = &op.linear().unwrap().weights;
        let variance = |group: usize, tap: usize| 4 * group + tap;
        let covariance = |group| {
            let value = |i: usize| {
                if i.is_multiple_of(5) {
                    variance(group, i / 5) as f64
                } else {
                    9.0
                }
            };
            (0..16).map(value).collect()
        };
        let covariances: Vec<Vec<f64>> = (0..3).map(covariance).collect();
        let scores = damage(shape, weights, &covariances);
        for channel in 0..3 {
            for tap in 0..4 {
                let i = tap * 3 + channel;
                let expected = weights[i].powi(2) * variance(channel, tap) as f32;
                assert!((scores[i] - expected).abs() <= 1e-5 * expected);
            }
        }
    }
}
