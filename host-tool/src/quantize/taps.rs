//! What calibration says of the inputs that each weight of a layer multiplies.

use super::LayerShape;
use crate::calibrate::Statistics;
use crate::graph::{Graph, Linear, Node, Op};

/// Variance of the inputs of each output channel's taps, from calibration: how much a weight's
/// error counts.
#[derive(Clone, Debug)]
pub struct TapStatistics<'a> {
    statistics: &'a Statistics,
    input: usize,
    channels_per_group: usize,
    rows: usize,
}

impl<'a> TapStatistics<'a> {
    /// For a node with weights.
    pub fn new(graph: &Graph, statistics: &'a Statistics, node: &Node, shape: LayerShape) -> Self {
        let input = node.inputs[0];
        Self {
            statistics,
            input,
            channels_per_group: match node.op {
                Op::FullyConnected { .. } => shape.k,
                _ => graph.shape(input)[3] / shape.groups,
            },
            rows: shape.rows,
        }
    }

    fn channel(&self, output: usize, tap: usize) -> usize {
        output / self.rows * self.channels_per_group + tap % self.channels_per_group
    }

    /// Variance of the input that a weight multiplies.
    pub fn variance(&self, output: usize, tap: usize) -> f64 {
        self.statistics.tensors[self.input].variance(self.channel(output, tap))
    }

    /// Mean of the input that a weight multiplies.
    pub fn mean(&self, output: usize, tap: usize) -> f64 {
        self.statistics.tensors[self.input].mean(self.channel(output, tap))
    }

    /// Variances of one output channel's taps.
    pub fn variances(&self, output: usize, taps: usize) -> Vec<f32> {
        (0..taps)
            .map(|tap| self.variance(output, tap) as f32)
            .collect()
    }

    /// Sum over the output channels of their variance, inputs taken as independent.
    pub fn output_variance(&self, shape: LayerShape, linear: &Linear) -> f64 {
        self.sum_of_squares(shape, linear, |taps, output, tap| {
            taps.variance(output, tap)
        })
    }

    /// The same for inputs that all have the variance `noise`.
    pub fn output_noise(&self, shape: LayerShape, linear: &Linear, noise: f64) -> f64 {
        self.sum_of_squares(shape, linear, |_, _, _| noise)
    }

    fn sum_of_squares(
        &self,
        shape: LayerShape,
        linear: &Linear,
        variance: impl Fn(&Self, usize, usize) -> f64,
    ) -> f64 {
        let mut sum = 0.0;
        for output in (0..shape.outputs()).step_by(shape.rows) {
            for tap in 0..shape.k {
                let squares: f64 = (output..output + shape.rows)
                    .map(|output| f64::from(linear.weights[shape.index(output, tap)]).powi(2))
                    .sum();
                sum += squares * variance(self, output, tap);
            }
        }
        sum
    }
}
