//! The network that a package was made from, and what it answers to the samples.

use crate::Error;
use crate::dataset::Dataset;
use crate::graph::{self, Graph};
use crate::progress::Progress;
use rayon::prelude::*;
use std::borrow::Cow;

/// Most memory for answers; those that do not fit are computed again for every package.
const MEMORY: usize = 1 << 30;

/// The network that packages are compared with.
#[derive(Debug)]
pub struct Original<'a> {
    graph: &'a Graph,
    /// Its outputs for the first samples, computed once.
    outputs: Vec<Vec<Vec<f32>>>,
}

impl<'a> Original<'a> {
    /// Computes every answer when it is asked for: for the score of one package.
    pub fn new(graph: &'a Graph) -> Self {
        Self {
            graph,
            outputs: Vec::new(),
        }
    }

    /// Computes the answers to `data` once, for the scores of many packages on the same samples.
    ///
    /// # Errors
    /// Samples that do not decode or fit, labels beyond the network's outputs.
    pub fn answering(graph: &'a Graph, data: &Dataset, progress: &Progress) -> Result<Self, Error> {
        let original = Self::new(graph);
        super::check_labels(original.classes(), data)?;
        let count = data.len().min(MEMORY / original.answer_bytes().max(1));
        let stage = progress.stage("original", count);
        let answer = |i| {
            let outputs = graph::run(graph, &data.sample(i)?);
            stage.advance(1);
            Ok(outputs)
        };
        let outputs: Vec<Result<_, Error>> = (0..count).into_par_iter().map(answer).collect();
        Ok(Self {
            graph,
            outputs: outputs.into_iter().collect::<Result<_, Error>>()?,
        })
    }

    /// The network.
    pub fn graph(&self) -> &'a Graph {
        self.graph
    }

    /// The outputs for sample `i`, whose values are `inputs`.
    pub(super) fn outputs(&self, i: usize, inputs: &[Vec<f32>]) -> Cow<'_, [Vec<f32>]> {
        match self.outputs.get(i) {
            Some(outputs) => Cow::Borrowed(outputs),
            None => Cow::Owned(graph::run(self.graph, inputs)),
        }
    }

    /// Elements of the first output.
    fn classes(&self) -> usize {
        let first = self.graph.outputs.first();
        first.map_or(0, |port| self.graph.tensors[port.tensor].elements())
    }

    fn answer_bytes(&self) -> usize {
        let ports = self.graph.outputs.iter();
        let elements: usize = ports
            .map(|port| self.graph.tensors[port.tensor].elements())
            .sum();
        elements * size_of::<f32>()
    }
}
