//! Chooses a step size for every layer so that the file meets the budget with the least loss.

mod allocation;
mod database;
mod levels;
pub mod sensitivity;

pub use allocation::{Allocation, Unlimited};
pub use database::{Database, weigh};
pub use levels::{Layer, Level};

use levels::slope;

/// Chooses one level for each layer so that their bytes sum to at most `budget`, with the least
/// sum of losses that a Lagrange multiplier finds (Everett 1963; on convex curves optimal up to one
/// layer's step), then spends what is left. `None` if even the coarsest levels need more.
pub fn choose(layers: &[Layer], budget: usize) -> Option<Vec<usize>> {
    let mut chosen = vec![0; layers.len()];
    let mut bytes: usize = layers.iter().map(|layer| layer.levels[0].bytes).sum();
    let mut steps: Vec<(f64, usize)> = layers
        .iter()
        .enumerate()
        .flat_map(|(i, layer)| {
            layer
                .levels
                .windows(2)
                .map(move |pair| (slope(&pair[0], &pair[1]), i))
        })
        .collect();
    steps.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    for (_, i) in steps {
        if bytes <= budget {
            break;
        }
        let levels = &layers[i].levels[chosen[i]..];
        bytes -= levels[0].bytes - levels[1].bytes;
        chosen[i] += 1;
    }
    (bytes <= budget).then(|| spend(layers, chosen, budget - bytes))
}

/// Refines single layers while bytes are left, best first.
fn spend(layers: &[Layer], mut chosen: Vec<usize>, mut left: usize) -> Vec<usize> {
    loop {
        let gain = |i: usize, to: usize| {
            let levels = &layers[i].levels;
            slope(&levels[to], &levels[chosen[i]])
        };
        let cost = |i: usize, to: usize| {
            let levels = &layers[i].levels;
            levels[to].bytes - levels[chosen[i]].bytes
        };
        let best = (0..layers.len())
            .filter(|&i| chosen[i] > 0)
            .map(|i| (i, chosen[i] - 1))
            .filter(|&(i, to)| cost(i, to) <= left)
            .max_by(|a, b| gain(a.0, a.1).total_cmp(&gain(b.0, b.1)));
        let Some((i, to)) = best else { return chosen };
        left -= cost(i, to);
        chosen[i] = to;
    }
}

/// Bytes of all layers at their coarsest levels.
pub fn smallest(layers: &[Layer]) -> usize {
    layers
        .iter()
        .filter_map(|layer| layer.levels.last())
        .map(|level| level.bytes)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn layer(node: usize, shape: &[(usize, f64)]) -> Layer {
        let (mut bytes, mut loss, mut slope) = (1_000_000, 0.0, 0.0);
        let mut levels = vec![Level {
            step: 0.0,
            price: 0.0,
            bytes,
            loss,
        }];
        for &(saved, steeper) in shape {
            slope += steeper;
            bytes -= saved;
            loss += slope * saved as f64;
            levels.push(Level {
                step: 0.0,
                price: 0.0,
                bytes,
                loss,
            });
        }
        Layer {
            node,
            power: 1.0,
            damping: 0.01,
            levels,
        }
    }

    fn total(layers: &[Layer], chosen: &[usize]) -> (usize, f64) {
        let levels = || layers.iter().zip(chosen).map(|(layer, &i)| layer.levels[i]);
        (
            levels().map(|l| l.bytes).sum(),
            levels().map(|l| l.loss).sum(),
        )
    }

    proptest! {
        #[test]
        fn a_choice_meets_its_budget_and_more_bytes_never_lose_more(
            shapes in prop::collection::vec(prop::collection::vec((1usize..1000, 0.01f64..2.0), 1..20), 1..12),
            share in 0.0f64..1.0,
            more in 0.0f64..1.0,
        ) {
            let layers: Vec<Layer> = shapes.iter().enumerate().map(|(i, s)| layer(i, s)).collect();
            let least = smallest(&layers);
            let most = 1_000_000 * layers.len();
            let budget = least + ((most - least) as f64 * share) as usize;
            let larger = budget + ((most - budget) as f64 * more) as usize;
            let tight = total(&layers, &choose(&layers, budget).unwrap());
            let loose = total(&layers, &choose(&layers, larger).unwrap());
            prop_assert!(tight.0 <= budget && loose.0 <= larger);
            // Greedy spending may end one layer's step away from the optimum.
            let slack = layers.iter().flat_map(|l| l.levels.windows(2)).map(|p| p[1].loss - p[0].loss).fold(0.0, f64::max);
            prop_assert!(loose.1 <= tight.1 + slack);
            prop_assert_eq!(choose(&layers, least.saturating_sub(1)).is_none(), true);
        }
    }
}
