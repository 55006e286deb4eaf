//! Which activations stay `f32` because their codes lose an output of the network, or a channel of one:
//! scores beside boxes, what a logarithm or a normalization magnifies, maps and masks.
//!
//! Each activation's codes are tried alone; what they cost each output adds up. While an output loses too
//! much, the activation that costs it most goes back to `f32`, those first that slow the network least.

use super::simulation::{Activations, Simulation};
use super::ties::keeps_codes;
use crate::graph::{Graph, Op, TensorId};
use serde::{Deserialize, Serialize};

/// An activation that stays `f32`, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FloatActivation {
    /// The node that computes it, or the network's input.
    pub name: String,
    /// What its codes would lose.
    pub reason: String,
}

/// An output is searched for when its error exceeds this share of its variance (17 dB)...
const TOO_MUCH: f64 = 0.02;
/// ...or when one of its channels loses this share.
const TOO_MUCH_OF_A_CHANNEL: f64 = 0.25;
/// The search ends when what the outputs still lose is at most this share of that: 20 dB, and 9 dB for each
/// channel. Weights are rounded, too.
const GOAL: f64 = 0.5;
/// What running a share of the network's multiply-accumulates in `f32` costs, beside an activation that
/// slows nothing.
const COST_OF_ALL_MACS: f64 = 20.0;
/// Multiply-accumulates that a search may take, and the samples that it runs on within that.
const MOST_MACS: f64 = 1e12;
const SAMPLES: std::ops::RangeInclusive<usize> = 2..=8;

/// What one plan costs each output, in units of what is too much.
type Losses = Vec<f64>;

/// Takes activations of `plan` back to `f32` until no output loses too much. `roots` names each tensor's group
/// of one scale.
pub(super) fn keep_outputs(
    simulation: &Simulation<'_>,
    roots: &[TensorId],
    plan: &mut Activations,
) -> Vec<FloatActivation> {
    let worst = |losses: &Losses| losses.iter().copied().fold(0.0, f64::max);
    let few = simulation.limited(*SAMPLES.end());
    if worst(&losses(&few, plan)) <= 1.0 {
        return Vec::new();
    }
    let search = Search::new(simulation, roots, plan);
    let mut kept = Vec::new();
    let mut left = search.candidates.clone();
    let mut measured = losses(&search.simulation, plan);
    while worst(&measured) > GOAL && !left.is_empty() {
        // What is measured of all together differs from the sum of what each costs alone.
        let mut expected = measured.clone();
        while worst(&expected) > GOAL {
            let Some(next) = search.best(&left, &expected) else {
                break;
            };
            let candidate = left.swap_remove(next);
            kept.push(search.say(&candidate));
            for (loss, alone) in expected.iter_mut().zip(&candidate.alone) {
                *loss = (*loss - alone).max(0.0);
            }
            clear(plan, roots, candidate.root);
        }
        measured = losses(&search.simulation, plan);
    }
    kept
}

fn clear(plan: &mut Activations, roots: &[TensorId], root: TensorId) {
    for (quantization, &of) in plan.iter_mut().zip(roots) {
        if of == root {
            *quantization = None;
        }
    }
}

fn losses(simulation: &Simulation<'_>, plan: &Activations) -> Losses {
    let fidelity = simulation.fidelity(plan);
    let pairs = fidelity.errors();
    let units =
        pairs.flat_map(|(whole, channel)| [whole / TOO_MUCH, channel / TOO_MUCH_OF_A_CHANNEL]);
    // so large a loss is no larger than total: sums of it must stay finite
    units.map(|loss| loss.min(1e6)).collect()
}

/// A group of activations that could stay `f32`.
#[derive(Clone)]
struct Candidate {
    root: TensorId,
    /// What its codes alone cost.
    alone: Losses,
    /// Share of the network's multiply-accumulates that `f32` slows.
    macs: f64,
}

struct Search<'a> {
    simulation: Simulation<'a>,
    candidates: Vec<Candidate>,
}

impl<'a> Search<'a> {
    fn new(simulation: &Simulation<'a>, roots: &[TensorId], plan: &Activations) -> Self {
        let graph = simulation.graph;
        let quantized = |&root: &TensorId| roots[root] == root && plan[root].is_some();
        let groups: Vec<TensorId> = (0..roots.len()).filter(quantized).collect();
        let macs = graph.total_macs().max(1) as f64;
        let affordable = MOST_MACS / (macs * (groups.len() + 1) as f64);
        let samples = (affordable as usize).clamp(*SAMPLES.start(), *SAMPLES.end());
        let simulation = simulation.limited(samples);
        let candidate = |&root: &TensorId| {
            let mut alone = vec![None; plan.len()];
            for (id, quantization) in plan.iter().enumerate() {
                if roots[id] == root {
                    alone[id] = *quantization;
                }
            }
            let readers = graph
                .nodes
                .iter()
                .filter(|node| node.op.linear().is_some() && roots[node.inputs[0]] == root);
            let slowed: u64 = readers.map(|node| graph.macs(node)).sum();
            Candidate {
                root,
                alone: losses(&simulation, &alone),
                macs: slowed as f64 / macs,
            }
        };
        Self {
            candidates: groups.iter().map(candidate).collect(),
            simulation,
        }
    }

    /// Of the candidates that are `left`, the one that helps the outputs that lose too much most for
    /// what it slows.
    fn best(&self, left: &[Candidate], expected: &Losses) -> Option<usize> {
        let worth = |candidate: &Candidate| {
            let over = expected.iter().zip(&candidate.alone);
            let gains = over.map(|(&loss, &alone)| alone.min(loss - GOAL).max(0.0));
            gains.sum::<f64>() / (1.0 + COST_OF_ALL_MACS * candidate.macs)
        };
        let worths = left.iter().map(worth).enumerate();
        let best = worths.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))?;
        Some(best.0)
    }

    fn say(&self, candidate: &Candidate) -> FloatActivation {
        let graph = self.simulation.graph;
        let worst = candidate.alone.iter().enumerate();
        let worst = worst.max_by(|a, b| a.1.total_cmp(b.1));
        let reason = worst.map_or_else(String::new, |(unit, &loss)| {
            let output = &graph.outputs[unit / 2].name;
            match unit % 2 {
                0 => format!(
                    "its codes alone leave output `{output}` {:.1} dB",
                    -10.0 * (loss * TOO_MUCH).log10()
                ),
                _ => format!(
                    "its codes alone leave a channel of output `{output}` {:.1} dB",
                    -10.0 * (loss * TOO_MUCH_OF_A_CHANNEL).log10()
                ),
            }
        });
        FloatActivation {
            name: name(graph, candidate.root),
            reason,
        }
    }
}

/// What to call an activation: the node that computes its values, or the network's input.
pub(super) fn name(graph: &Graph, mut id: TensorId) -> String {
    let producers = graph.producers();
    while let Some(index) = producers[id] {
        let node = &graph.nodes[index];
        if !keeps_codes(&node.op) || matches!(node.op, Op::Concat { .. }) {
            return node.name.clone();
        }
        id = node.inputs[0];
    }
    let port = graph.inputs.iter().find(|port| port.tensor == id);
    port.map_or_else(String::new, |port| format!("input `{}`", port.name))
}
