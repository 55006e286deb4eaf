//! Runs calibration samples through the network and measures every activation. Streaming: memory
//! does not grow with the number of samples, and neither their order of completion nor the number
//! of threads changes a bit of the result.

mod channels;
mod histogram;

pub use channels::ChannelSums;
pub use histogram::Histogram;

use crate::Error;
use crate::dataset::Dataset;
use crate::graph::{Graph, MAX_MAGNITUDE, TensorId, run_with};
use crate::progress::Progress;
use pulp::Arch;
use rayon::prelude::*;

/// Samples that run at once; their results are merged in order.
const BATCH: usize = 8;

/// What calibration measured.
#[derive(Clone, Debug)]
pub struct Statistics {
    /// Samples that were run.
    pub samples: usize,
    /// One per tensor of the graph.
    pub tensors: Vec<TensorStatistics>,
}

/// What calibration measured of one activation.
#[derive(Clone, Debug, Default)]
pub struct TensorStatistics {
    /// All values.
    pub histogram: Histogram,
    channels: ChannelSums,
    /// Greatest magnitude of each channel.
    pub peaks: Vec<f32>,
}

impl TensorStatistics {
    fn of(values: &[f32], channels: usize) -> Self {
        Self {
            histogram: Histogram::of(values),
            channels: ChannelSums::of(values, channels),
            peaks: peaks(values, channels),
        }
    }

    fn merge(&mut self, other: Self) {
        if self.channels.is_empty() {
            *self = other;
            return;
        }
        self.histogram.merge(other.histogram);
        self.channels.merge(&other.channels);
        for (peak, other) in self.peaks.iter_mut().zip(other.peaks) {
            *peak = peak.max(other);
        }
    }

    /// Mean of one channel.
    pub fn mean(&self, channel: usize) -> f64 {
        self.channels.mean(channel)
    }

    /// Variance of one channel.
    pub fn variance(&self, channel: usize) -> f64 {
        self.channels.variance(channel)
    }
}

fn peaks(values: &[f32], channels: usize) -> Vec<f32> {
    let mut peaks = vec![0f32; channels];
    Arch::new().dispatch(|| {
        for row in values.chunks_exact(channels) {
            for (peak, value) in peaks.iter_mut().zip(row) {
                *peak = peak.max(value.abs());
            }
        }
    });
    peaks
}

/// Measures every activation of `graph` on all samples of `dataset`.
///
/// # Errors
/// A sample that cannot be read, an activation that is not finite, or one that a layer with weights reads and that is
/// beyond [`MAX_MAGNITUDE`].
pub fn measure(graph: &Graph, dataset: &Dataset, progress: &Progress) -> Result<Statistics, Error> {
    let mut tensors = vec![TensorStatistics::default(); graph.tensors.len()];
    let bar = progress.stage("calibrating", dataset.len());
    let indices: Vec<usize> = (0..dataset.len()).collect();
    for batch in indices.chunks(BATCH) {
        let measured: Vec<Result<_, Error>> = batch
            .par_iter()
            .map(|&i| {
                let measured = measure_sample(graph, &dataset.sample(i)?);
                let refuse =
                    |cause| Error::data(dataset.path(), format!("{}: {cause}", dataset.name(i)));
                measured.map_err(refuse)
            })
            .collect();
        for sample in measured {
            for (tensor, more) in tensors.iter_mut().zip(sample?) {
                tensor.merge(more);
            }
        }
        bar.advance(batch.len());
    }
    Ok(Statistics {
        samples: dataset.len(),
        tensors,
    })
}

fn measure_sample(graph: &Graph, inputs: &[Vec<f32>]) -> Result<Vec<TensorStatistics>, String> {
    let mut tensors = vec![TensorStatistics::default(); graph.tensors.len()];
    for (port, values) in graph.inputs.iter().zip(inputs) {
        if let Some((at, value)) = beyond(graph, port.tensor, values) {
            return Err(format!(
                "element {at} of input `{}` is {value:e}, an outlier: leave the sample out",
                port.name
            ));
        }
        tensors[port.tensor] = TensorStatistics::of(values, graph.shape(port.tensor)[3]);
    }
    let mut broken = None;
    run_with(graph, inputs, |index, values| {
        let node = &graph.nodes[index];
        if let Some((_, value)) = beyond(graph, node.output, values) {
            broken.get_or_insert((&node.name, value));
        }
        tensors[node.output] = TensorStatistics::of(values, graph.shape(node.output)[3]);
    });
    match broken {
        Some((name, value)) => Err(format!(
            "node `{name}` gives {value:e} on this calibration sample: check the input specification, \
             and the weights of the layers before it"
        )),
        None => Ok(tensors),
    }
}

/// The first value that is not finite, or too great for a layer with weights that reads it.
fn beyond(graph: &Graph, tensor: TensorId, values: &[f32]) -> Option<(usize, f32)> {
    let mut readers = graph
        .nodes
        .iter()
        .filter(|node| node.inputs.contains(&tensor));
    let limit = match readers.any(|node| node.op.linear().is_some()) {
        true => MAX_MAGNITUDE,
        false => f32::MAX,
    };
    let is_within = |value: &f32| value.abs() <= limit;
    let at = values.iter().position(|value| !is_within(value))?;
    Some((at, values[at]))
}
