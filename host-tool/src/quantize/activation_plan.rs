//! Which activations become int8, with which scale; which stay `f32`.

use super::float_fallback::{FloatActivation, keep_outputs, name};
use super::normalize::raw_inputs;
use super::simulation::{Activations, Simulation};
use super::ties::{Ties, keeps_codes};
use super::{ActivationQuantization, LayerShape, TapStatistics};
use crate::calibrate::{Histogram, Statistics};
use crate::graph::{Graph, Op, TensorId};
use rayon::prelude::*;

/// Codes that are noisier than this, for a layer that reads them, are not used, unless the network's output shows
/// little of it: the activation stays `f32`.
pub const LEAST_SQNR_DB: f64 = 10.0;
/// Relative error of the network's output that is too small to run layers in `f32` for: a hundredth of the variance between
/// the outputs' values. A layer may drown in the noise of its codes where what it adds counts for nothing further on.
const SMALL_ERROR: f64 = 0.01;

/// The same for network inputs, which nothing has normalized yet: in `f32` they cost no more than an element-wise
/// operator.
const LEAST_RAW_SQNR_DB: f64 = 25.0;

/// Norms of the error that ranges are chosen by. Which is best differs between networks: long tails
/// are noise to some and decide in others.
const NORMS: [f64; 5] = [2.0, 2.5, 3.0, 4.0, 6.0];
/// Samples that the norms are compared on.
const TRIAL_SAMPLES: usize = 32;

/// How every activation is stored.
#[derive(Clone, Debug)]
pub struct ActivationPlan {
    /// One entry per tensor: its quantization, or `None` where it stays `f32`.
    pub activations: Vec<Option<ActivationQuantization>>,
    /// Mean relative squared error that it alone causes at the network's output.
    pub error: f64,
    /// Activations that stay `f32` because int8 would lose what they hold.
    pub float: Vec<FloatActivation>,
}

impl ActivationPlan {
    /// Of several ways to choose the ranges, the one that changes the network's output least on
    /// `samples`; one that has codes everywhere, if with it the output changes little. Where an output would still
    /// be lost, activations go back to `f32`; not on samples that are `made_up`, which say too little of what a trained
    /// network does.
    pub fn new(
        graph: &Graph,
        statistics: &Statistics,
        samples: &[Vec<Vec<f32>>],
        made_up: bool,
    ) -> Self {
        let groups = Groups::new(graph, statistics);
        let simulation = Simulation::new(graph, &samples[..samples.len().min(TRIAL_SAMPLES)]);
        let plans = NORMS.map(|norm| groups.plan(graph, statistics, norm));
        let best = |plans: &[Activations]| {
            let errors = plans.iter().map(|plan| simulation.error(plan));
            let plans = plans.iter().cloned().zip(errors);
            plans.min_by(|a, b| a.1.total_cmp(&b.1))
        };
        let raw = match made_up {
            true => vec![false; graph.tensors.len()],
            false => raw_inputs(graph),
        };
        let with = |least_db: f64| plans.each_ref().map(|plan| at_least(plan, least_db, &raw));
        let (some, all) = (with(LEAST_SQNR_DB), with(f64::NEG_INFINITY));
        let differ = some != all;
        let all = best(&all).filter(|(_, error)| !differ || *error < SMALL_ERROR);
        let chosen = all.or_else(|| best(&some));
        let (mut activations, mut error) =
            chosen.unwrap_or_else(|| (vec![None; graph.tensors.len()], 0.0));
        let mut float = groups.drowned(graph, &plans[0], &activations);
        let lost = match made_up {
            true => Vec::new(),
            false => keep_outputs(&simulation, &groups.roots, &mut activations),
        };
        if !lost.is_empty() {
            error = simulation.error(&activations);
            float.extend(lost);
        }
        Self {
            activations,
            error,
            float,
        }
    }
}

/// The quantizations that leave the layers which read them this signal-to-noise ratio; `raw` are network inputs.
fn at_least(
    plan: &[Option<(ActivationQuantization, f64)>],
    least_db: f64,
    raw: &[bool],
) -> Activations {
    let chosen = plan.iter().zip(raw).map(|(chosen, &raw)| {
        let (quantization, db) = (*chosen)?;
        let least_db = if raw { LEAST_RAW_SQNR_DB } else { least_db };
        (db >= least_db).then_some(quantization)
    });
    chosen.collect()
}

/// Activations that share one quantization, and what was measured of each group.
struct Groups {
    /// The group's name for each tensor: its first member.
    roots: Vec<TensorId>,
    histograms: Vec<Histogram>,
}

impl Groups {
    fn new(graph: &Graph, statistics: &Statistics) -> Self {
        let roots = Ties::new(graph, statistics).roots();
        let mut histograms = vec![Histogram::default(); graph.tensors.len()];
        for (id, tensor) in statistics.tensors.iter().enumerate() {
            histograms[roots[id]].merge(tensor.histogram.clone());
        }
        Self { roots, histograms }
    }

    /// Each activation's quantization, and the least signal-to-noise ratio that it leaves a layer.
    fn plan(
        &self,
        graph: &Graph,
        statistics: &Statistics,
        norm: f64,
    ) -> Vec<Option<(ActivationQuantization, f64)>> {
        let roots = &self.roots;
        let chosen: Vec<_> = (0..graph.tensors.len())
            .into_par_iter()
            .map(|root| {
                let quantized = roots[root] == root && !stays_float(graph, roots, root);
                let histogram = &self.histograms[root];
                let chosen = quantized.then(|| {
                    ActivationQuantization::least_error(histogram, norm).with_room(histogram)
                })?;
                let db = worst_sqnr_db(graph, statistics, roots, root, chosen.noise(histogram));
                Some((chosen, db))
            })
            .collect();
        roots.iter().map(|&root| chosen[root]).collect()
    }

    /// Activations that could have codes but are `f32` in `chosen`: a layer that reads them would drown.
    fn drowned(
        &self,
        graph: &Graph,
        plan: &[Option<(ActivationQuantization, f64)>],
        chosen: &Activations,
    ) -> Vec<FloatActivation> {
        let of = |(id, planned): (TensorId, &Option<(ActivationQuantization, f64)>)| {
            let (_, db) = (*planned)?;
            (self.roots[id] == id && chosen[id].is_none()).then(|| FloatActivation {
                name: name(graph, id),
                reason: format!("its codes leave a layer that reads it {db:.1} dB"),
            })
        };
        plan.iter().enumerate().filter_map(of).collect()
    }
}

/// The least signal-to-noise ratio that codes with a squared error of `noise` leave at the output
/// of a layer that reads them. A channel that is small beside others drowns in their step size:
/// what counts is whether a layer reads it.
fn worst_sqnr_db(
    graph: &Graph,
    statistics: &Statistics,
    roots: &[TensorId],
    root: TensorId,
    noise: f64,
) -> f64 {
    let readers = graph
        .nodes
        .iter()
        .filter(|node| node.inputs.iter().any(|&id| roots[id] == root));
    readers
        .filter_map(|node| {
            let (shape, linear) = (LayerShape::of(&node.op)?, node.op.linear()?);
            let taps = TapStatistics::new(graph, statistics, node, shape);
            let signal = taps.output_variance(shape, linear);
            let noise = taps.output_noise(shape, linear, noise);
            (signal > 0.0).then(|| 10.0 * (signal / noise.max(f64::MIN_POSITIVE)).log10())
        })
        .fold(f64::INFINITY, f64::min)
}

/// What is normalized before layers read it stays as it is. Accumulators that leave the network, or only feed a softmax, lose nothing as `f32`; the
/// output of a softmax is `f32` by itself.
fn stays_float(graph: &Graph, roots: &[TensorId], root: TensorId) -> bool {
    let in_group = |id: &TensorId| roots[*id] == root;
    let mut producers = graph
        .nodes
        .iter()
        .filter(|n| in_group(&n.output) && !keeps_codes(&n.op));
    let mut consumers = graph
        .nodes
        .iter()
        .filter(|n| n.inputs.iter().any(in_group) && !keeps_codes(&n.op));
    let is_input = graph.inputs.iter().any(|port| in_group(&port.tensor));
    let of_softmax = graph
        .nodes
        .iter()
        .any(|n| in_group(&n.output) && n.op == Op::Softmax);
    let normalized = graph
        .nodes
        .iter()
        .any(|n| matches!(n.op, Op::Normalize { .. }) && n.inputs.iter().any(in_group));
    of_softmax
        || normalized
        || !is_input
            && producers.all(|n| n.op.linear().is_some())
            && consumers.all(|n| n.op == Op::Softmax)
}
