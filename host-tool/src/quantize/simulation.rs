//! The network with quantized activations and dense weights, beside the dense one on the same samples.

use super::ActivationQuantization;
use crate::fidelity::Fidelity;
use crate::graph::{Graph, TensorId, evaluate};
use crate::plan::sensitivity::relative_error;
use rayon::prelude::*;

/// Per tensor: its quantization, `None` for `f32`.
pub(super) type Activations = Vec<Option<ActivationQuantization>>;

/// What the dense network answers to some samples.
pub(super) struct Simulation<'a> {
    pub(super) graph: &'a Graph,
    samples: &'a [Vec<Vec<f32>>],
    /// Outputs, or what their softmax reads.
    judged: Vec<TensorId>,
    /// `[sample][output]`.
    dense: Vec<Vec<Vec<f32>>>,
}

impl<'a> Simulation<'a> {
    /// Runs the dense network.
    pub(super) fn new(graph: &'a Graph, samples: &'a [Vec<Vec<f32>>]) -> Self {
        let judged = graph.judged_outputs();
        let float = vec![None; graph.tensors.len()];
        let run = |inputs: &Vec<Vec<f32>>| run_quantized(graph, &float, inputs, &judged);
        Self {
            dense: samples.par_iter().map(run).collect(),
            graph,
            samples,
            judged,
        }
    }

    /// The same on the first samples alone.
    pub(super) fn limited(&self, count: usize) -> Self {
        let count = count.min(self.samples.len());
        Self {
            graph: self.graph,
            samples: &self.samples[..count],
            judged: self.judged.clone(),
            dense: self.dense[..count].to_vec(),
        }
    }

    /// Mean relative squared error of the outputs under a plan.
    pub(super) fn error(&self, plan: &Activations) -> f64 {
        let error = |(inputs, dense): (&Vec<Vec<f32>>, &Vec<Vec<f32>>)| {
            let outputs = self.run(plan, inputs);
            let errors = dense.iter().zip(&outputs);
            let sum: f64 = errors.map(|(a, b)| relative_error(a, b)).sum();
            sum / self.judged.len().max(1) as f64
        };
        let samples = self.samples.par_iter().zip(&self.dense);
        let errors: Vec<f64> = samples.map(error).collect();
        errors.iter().sum::<f64>() / errors.len().max(1) as f64
    }

    /// The outputs under a plan beside the dense network's.
    pub(super) fn fidelity(&self, plan: &Activations) -> Fidelity {
        let none = Fidelity::new(self.graph, &self.judged);
        let compare = |(inputs, dense): (&Vec<Vec<f32>>, &Vec<Vec<f32>>)| {
            let mut fidelity = none.clone();
            fidelity.add(dense, &self.run(plan, inputs));
            fidelity
        };
        let samples = self.samples.par_iter().zip(&self.dense);
        let compared: Vec<Fidelity> = samples.map(compare).collect();
        let mut all = none.clone();
        compared.iter().for_each(|sample| all.merge(sample));
        all
    }

    fn run(&self, plan: &Activations, inputs: &[Vec<f32>]) -> Vec<Vec<f32>> {
        run_quantized(self.graph, plan, inputs, &self.judged)
    }
}

/// The judged outputs of the network with every activation quantized as planned.
fn run_quantized(
    graph: &Graph,
    plan: &Activations,
    inputs: &[Vec<f32>],
    judged: &[TensorId],
) -> Vec<Vec<f32>> {
    let round = |id: TensorId, mut values: Vec<f32>| {
        if let Some(quantization) = plan[id] {
            quantization.round_trip(&mut values);
        }
        values
    };
    let mut values = vec![Vec::new(); graph.tensors.len()];
    for (port, input) in graph.inputs.iter().zip(inputs) {
        values[port.tensor] = round(port.tensor, input.clone());
    }
    let last_use = graph.last_use();
    for (index, node) in graph.nodes.iter().enumerate() {
        let inputs: Vec<&[f32]> = node
            .inputs
            .iter()
            .map(|&id| values[id].as_slice())
            .collect();
        values[node.output] = round(node.output, evaluate(graph, node, &inputs));
        for &id in &node.inputs {
            if last_use[id] == Some(index) && !judged.contains(&id) {
                values[id] = Vec::new();
            }
        }
    }
    judged.iter().map(|&id| values[id].clone()).collect()
}
