//! How well the outputs of a changed network keep those of the original: each output as a whole, and
//! each of its channels, since large values hide the loss of small ones beside them.

use crate::graph::{Graph, Layout, Op, Port, Shape};

/// A signal's standard deviation is taken as at least this share of its mean: an output that hardly
/// changes is as good as its values, not as their changes.
const LEAST_SPREAD: f64 = 0.01;
/// Channels whose variance is a smaller share than this of the whole output's count for nothing.
const NEGLIGIBLE: f64 = 1e-8;
/// A channel is lost where its error has at least this share of its variance: guessing its mean would
/// have served as well.
const LOST: f64 = 1.0;
/// A share of an output's channels that does not decide of many.
pub(crate) const FEW_CHANNELS: f64 = 0.02;
/// Most channels of an output that are looked at one by one.
const MOST_CHANNELS: usize = 1 << 16;
/// Signal-to-noise ratios beyond this, exact equality among them, are reported as this.
const MOST_DB: f64 = 150.0;

/// Outputs beside those of the original network, over any number of samples.
#[derive(Clone, Debug)]
pub struct Fidelity {
    outputs: Vec<OutputFidelity>,
}

/// One output beside the original's.
#[derive(Clone, Debug)]
pub struct OutputFidelity {
    name: String,
    /// Dimensions of the tensor, and which of them are channels.
    shape: Shape,
    axis: Option<usize>,
    whole: Sums,
    channels: Vec<Sums>,
}

/// Sums over the values of the original, their squares, and the squared differences.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sums {
    count: f64,
    sum: f64,
    squares: f64,
    error: f64,
}

impl Sums {
    fn add(&mut self, original: f32, value: f32) {
        let (original, value) = (f64::from(original), f64::from(value));
        self.count += 1.0;
        self.sum += original;
        self.squares += original * original;
        self.error += (value - original).powi(2);
    }

    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.squares += other.squares;
        self.error += other.error;
    }

    fn variance(&self) -> f64 {
        let mean = self.sum / self.count.max(1.0);
        (self.squares / self.count.max(1.0) - mean * mean).max(0.0)
    }

    /// Mean squared error as a share of the variance. Infinite where a value is not a number.
    fn relative_error(&self) -> f64 {
        let count = self.count.max(1.0);
        let mean = self.sum / count;
        let signal = self.variance().max((LEAST_SPREAD * mean).powi(2));
        let relative = self.error / count / signal.max(f64::MIN_POSITIVE);
        match relative.is_nan() {
            true => f64::INFINITY,
            false => relative,
        }
    }
}

impl Fidelity {
    /// Nothing compared yet, of these tensors of `graph`, one for each of its outputs: the outputs themselves,
    /// or what their softmax reads ([`Graph::judged_outputs`]).
    pub fn new(graph: &Graph, tensors: &[usize]) -> Self {
        let of = |(port, &tensor): (&Port, &usize)| {
            let shape = graph.shape(tensor);
            let shares = graph
                .nodes
                .iter()
                .any(|n| n.output == tensor && n.op == Op::Softmax);
            // a probability that is always small says nothing: what counts is which are large
            let axis = channel_axis(port, shape).filter(|_| !shares);
            let channels = axis.map_or(0, |axis| shape[axis]);
            OutputFidelity {
                name: port.name.clone(),
                shape,
                axis,
                whole: Sums::default(),
                channels: vec![Sums::default(); channels],
            }
        };
        Self {
            outputs: graph.outputs.iter().zip(tensors).map(of).collect(),
        }
    }

    /// Adds a sample: the values of all outputs, NHWC.
    pub fn add(&mut self, original: &[Vec<f32>], values: &[Vec<f32>]) {
        let pairs = original.iter().zip(values);
        for (output, (original, values)) in self.outputs.iter_mut().zip(pairs) {
            output.add(original, values);
        }
    }

    /// Adds what another collected of the same outputs.
    pub fn merge(&mut self, other: &Self) {
        for (output, other) in self.outputs.iter_mut().zip(&other.outputs) {
            output.whole.merge(&other.whole);
            let channels = output.channels.iter_mut().zip(&other.channels);
            channels.for_each(|(sums, more)| sums.merge(more));
        }
    }

    /// The outputs, in order.
    pub fn outputs(&self) -> &[OutputFidelity] {
        &self.outputs
    }

    /// What planning must keep small: of each output its relative error, and that of its worst channel
    /// that counts, as a share of the error that loses it.
    pub(crate) fn errors(&self) -> impl Iterator<Item = (f64, f64)> {
        self.outputs
            .iter()
            .map(|output| (output.relative_error(), output.worst_channel_error() / LOST))
    }
}

impl OutputFidelity {
    fn add(&mut self, original: &[f32], values: &[f32]) {
        let Some(axis) = self.axis else {
            let pairs = original.iter().zip(values);
            pairs.for_each(|(&original, &value)| self.whole.add(original, value));
            return;
        };
        let inner: usize = self.shape[axis + 1..].iter().product();
        let channels = self.channels.len();
        for (index, (&original, &value)) in original.iter().zip(values).enumerate() {
            self.whole.add(original, value);
            self.channels[index / inner % channels].add(original, value);
        }
    }

    /// Name of the output.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Mean squared error as a share of the output's variance.
    fn relative_error(&self) -> f64 {
        self.whole.relative_error()
    }

    /// Signal-to-noise ratio in dB, the signal being the variance of the original's values.
    pub fn sqnr_db(&self) -> f64 {
        let db = -10.0 * self.relative_error().log10();
        db.clamp(-MOST_DB, MOST_DB)
    }

    /// Channels that count, and how many of them are lost.
    pub fn lost_channels(&self) -> (usize, usize) {
        let counting = || self.counting_channels();
        let lost = counting().filter(|sums| sums.relative_error() >= LOST);
        (counting().count(), lost.count())
    }

    /// The error of the worst channel, or of many channels, of the worst but a few.
    fn worst_channel_error(&self) -> f64 {
        let errors = self.counting_channels().map(Sums::relative_error);
        let mut errors: Vec<f64> = errors.collect();
        errors.sort_unstable_by(|a, b| b.total_cmp(a));
        let few = (FEW_CHANNELS * errors.len() as f64) as usize;
        errors.get(few).copied().unwrap_or(0.0)
    }

    fn counting_channels(&self) -> impl Iterator<Item = &Sums> {
        let least = NEGLIGIBLE * self.whole.variance();
        let counts = move |sums: &&Sums| sums.variance() > least;
        self.channels.iter().filter(counts)
    }
}

/// The dimension of an output that numbers its channels (classes, coordinates beside scores): the
/// channels of a map, the elements of a vector, else the shorter of two dimensions, if it is much shorter.
fn channel_axis(port: &Port, shape: Shape) -> Option<usize> {
    let axis = match (port.source_shape.len(), port.layout) {
        (4, Layout::Nchw | Layout::Nhwc) => 3,
        _ => {
            let mut long = (1..4).filter(|&axis| shape[axis] > 1);
            match (long.next(), long.next(), long.next()) {
                (Some(only), None, None) => only,
                (Some(a), Some(b), None) if 2 * shape[a] <= shape[b] => a,
                (Some(a), Some(b), None) if 2 * shape[b] <= shape[a] => b,
                _ => return None,
            }
        }
    };
    (2..=MOST_CHANNELS).contains(&shape[axis]).then_some(axis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::TensorInfo;

    /// A network of one tensor that is its input and its output.
    fn graph(source_shape: &[usize], shape: Shape) -> Graph {
        let port = Port {
            name: "out".into(),
            tensor: 0,
            source_shape: source_shape.to_vec(),
            layout: Layout::Nhwc,
        };
        Graph {
            name: "net".into(),
            source_hash: [0; 32],
            source_bytes: 0,
            inputs: vec![port.clone()],
            outputs: vec![port],
            tensors: vec![TensorInfo { shape }],
            nodes: vec![],
        }
    }

    fn compared(graph: &Graph, original: &[f32], values: &[f32]) -> OutputFidelity {
        let mut fidelity = Fidelity::new(graph, &[0]);
        fidelity.add(&[original.to_vec()], &[values.to_vec()]);
        fidelity.outputs()[0].clone()
    }

    #[test]
    fn the_ratio_is_that_of_variance_and_error() {
        let graph = graph(&[1, 4], [1, 1, 1, 4]);
        let output = compared(&graph, &[1.0, -1.0, 1.0, -1.0], &[1.1, -0.9, 0.9, -1.1]);
        assert!((output.sqnr_db() - 20.0).abs() < 1e-4, "{output:?}");
        let same = compared(&graph, &[1.0, 2.0, 3.0, 4.0], &[1.0, 2.0, 3.0, 4.0]);
        assert_eq!(same.sqnr_db(), MOST_DB);
    }

    #[test]
    fn small_channels_that_large_ones_hide_are_found_lost() {
        let boxes = [10.0, 300.0, 90.0, 640.0];
        let scores = [0.1, 0.9, 0.3, 0.7];
        let graph = graph(&[1, 2, 4], [1, 1, 2, 4]);
        let original = [boxes, scores].concat();
        let output = compared(&graph, &original, &[boxes, [0.0; 4]].concat());
        assert!(output.sqnr_db() > 50.0);
        assert_eq!(output.lost_channels(), (2, 1));
        assert_eq!(
            compared(&graph, &original, &original).lost_channels(),
            (2, 0)
        );
    }

    #[test]
    fn a_value_that_hardly_changes_is_judged_by_its_size() {
        let graph = graph(&[1, 1], [1, 1, 1, 1]);
        let mut fidelity = Fidelity::new(&graph, &[0]);
        for original in [0.5, 0.5001] {
            fidelity.add(&[vec![original]], &[vec![original + 0.0005]]);
        }
        assert!((fidelity.outputs()[0].sqnr_db() - 20.0).abs() < 0.1);
    }

    #[test]
    fn what_is_not_a_number_is_infinitely_wrong() {
        let graph = graph(&[1, 2], [1, 1, 1, 2]);
        let output = compared(&graph, &[1.0, 2.0], &[f32::NAN, 2.0]);
        assert_eq!(output.sqnr_db(), -MOST_DB);
    }

    #[test]
    fn merging_is_adding() {
        let graph = graph(&[1, 2], [1, 1, 1, 2]);
        let samples = [[[1.0, 2.0], [1.5, 2.0]], [[0.0, -2.0], [0.0, -2.5]]];
        let mut all = Fidelity::new(&graph, &[0]);
        let mut merged = Fidelity::new(&graph, &[0]);
        for [original, values] in samples {
            let mut one = Fidelity::new(&graph, &[0]);
            one.add(&[original.to_vec()], &[values.to_vec()]);
            all.add(&[original.to_vec()], &[values.to_vec()]);
            merged.merge(&one);
        }
        assert_eq!(all.outputs()[0].whole, merged.outputs()[0].whole);
        assert_eq!(all.outputs()[0].channels, merged.outputs()[0].channels);
    }
}
