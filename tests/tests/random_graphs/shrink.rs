//! From a network that is wrong to a small part of it that still is.

use super::network::Network;

/// Rounds of shortening.
const ROUNDS: usize = 8;

/// The smallest part that is found to fail; `failing` gives the first of some candidates that does.
pub(crate) fn shrink(network: &Network, failing: impl Fn(&[Network]) -> Option<usize>) -> Network {
    let mut smallest = network.clone();
    for _ in 0..ROUNDS {
        let mut changed = false;
        for shorter in [prefixes, suffixes, gaps] {
            let candidates = shorter(&smallest);
            if let Some(index) = failing(&candidates) {
                smallest = candidates[index].clone();
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    smallest
}

/// The parts that compute one value, from the first on.
fn prefixes(network: &Network) -> Vec<Network> {
    let values = network.computed();
    let parts = values.map(|value| network.ending_in(std::slice::from_ref(value)));
    shorter(network, parts)
}

/// The parts behind one value, from the last on.
fn suffixes(network: &Network) -> Vec<Network> {
    let single = network
        .steps
        .iter()
        .rev()
        .filter(|step| step.outputs.len() == 1);
    let inner = single
        .map(|step| &step.outputs[0])
        .filter(|value| !network.outputs.contains(value));
    shorter(network, inner.map(|value| network.starting_at(value)))
}

/// Without one step.
fn gaps(network: &Network) -> Vec<Network> {
    let parts = (0..network.steps.len()).filter_map(|index| network.without(index));
    shorter(network, parts)
}

fn shorter(network: &Network, parts: impl Iterator<Item = Network>) -> Vec<Network> {
    let size = |n: &Network| n.steps.len() + n.outputs.len();
    parts.filter(|part| size(part) < size(network)).collect()
}
