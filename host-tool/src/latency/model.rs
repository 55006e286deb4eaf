//! Layers' times as a sum of costs: for each multiply-accumulate, for each byte, for each layer.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a layer's time depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// Layers of a class cost alike: [`edgeprune_format::Class`].
    pub class: String,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Bytes read and written.
    pub bytes: u64,
}

/// A layer that was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// What was measured.
    #[serde(flatten)]
    pub layer: Layer,
    /// Microseconds.
    pub us: f64,
}

/// Microseconds for a multiply-accumulate, for a byte, and for a layer.
type Costs = [f64; 3];

/// Steps of the solver; it converges within some tens where three costs are sought.
const STEPS: usize = 2000;

/// The costs of each class of layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    classes: BTreeMap<String, Costs>,
    /// Of all layers of an operator, whatever its window.
    operators: BTreeMap<String, Costs>,
    all: Costs,
}

impl Model {
    /// The costs that fit best. Nothing from no observations.
    pub fn fit(observations: &[Observation]) -> Option<Self> {
        if observations.is_empty() {
            return None;
        }
        let grouped = |key: fn(&str) -> &str| {
            let mut groups: BTreeMap<String, Vec<&Observation>> = BTreeMap::new();
            for observation in observations {
                let key = key(&observation.layer.class).to_owned();
                groups.entry(key).or_default().push(observation);
            }
            let fitted = groups.into_iter().map(|(key, group)| (key, fit(&group)));
            fitted.collect()
        };
        Some(Self {
            classes: grouped(|class| class),
            operators: grouped(operator),
            all: fit(&observations.iter().collect::<Vec<_>>()),
        })
    }

    /// A layer's time in microseconds: by the costs of its class; else by those of its operator; else by those of all.
    pub fn layer_us(&self, layer: &Layer) -> f64 {
        let known = self.classes.get(&layer.class);
        let known = known.or_else(|| self.operators.get(operator(&layer.class)));
        let costs = known.unwrap_or(&self.all);
        features(layer).iter().zip(costs).map(|(x, c)| x * c).sum()
    }

    /// A network's time in microseconds.
    pub fn network_us(&self, layers: &[Layer]) -> f64 {
        layers.iter().map(|layer| self.layer_us(layer)).sum()
    }

    /// Of the layers, those whose class was never measured.
    pub fn unknown<'l>(&self, layers: &'l [Layer]) -> Vec<&'l str> {
        let unknown = layers
            .iter()
            .map(|layer| layer.class.as_str())
            .filter(|class| !self.classes.contains_key(*class));
        let mut unknown: Vec<&str> = unknown.collect();
        unknown.sort_unstable();
        unknown.dedup();
        unknown
    }
}

fn operator(class: &str) -> &str {
    class.split(' ').next().unwrap_or(class)
}

fn features(layer: &Layer) -> [f64; 3] {
    [layer.macs as f64, layer.bytes as f64, 1.0]
}

/// Costs of at least zero with the least squared relative errors: coordinate-wise descent on the normal equations
/// (Franc, Hlavac and Navara, "Sequential coordinate-wise algorithm for the non-negative least squares problem",
/// 2005, section 3). Where one observation leaves a choice, its time is its multiply-accumulates'.
fn fit(observations: &[&Observation]) -> Costs {
    let mut gram = [[0.0; 3]; 3];
    let mut target = [0.0; 3];
    for observation in observations {
        // relative errors: a short layer's counts as much as a long one's
        let row = features(&observation.layer).map(|x| x / observation.us.max(1e-3));
        for i in 0..3 {
            target[i] += row[i];
            for j in 0..3 {
                gram[i][j] += row[i] * row[j];
            }
        }
    }
    let mut costs = [0.0; 3];
    for _ in 0..STEPS {
        for i in 0..3 {
            if gram[i][i] > 0.0 {
                let others: f64 = (0..3)
                    .filter(|&j| j != i)
                    .map(|j| gram[i][j] * costs[j])
                    .sum();
                costs[i] = f64::max(0.0, (target[i] - others) / gram[i][i]);
            }
        }
    }
    costs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(class: &str, macs: u64, bytes: u64) -> Layer {
        Layer {
            class: class.to_owned(),
            macs,
            bytes,
        }
    }

    fn observations(class: &str, [mac, byte, base]: Costs) -> Vec<Observation> {
        let sizes = [
            (1_000_000, 30_000),
            (250_000, 90_000),
            (4_000_000, 10_000),
            (90_000, 50_000),
        ];
        let layers = sizes.map(|(macs, bytes)| layer(class, macs, bytes));
        layers
            .into_iter()
            .map(|layer| Observation {
                us: mac * layer.macs as f64 + byte * layer.bytes as f64 + base,
                layer,
            })
            .collect()
    }

    fn is_near(value: f64, expected: f64) -> bool {
        (value / expected - 1.0).abs() < 0.02
    }

    #[test]
    fn costs_that_made_the_times_are_found_again() {
        let mut all = observations("conv_2d 3x3", [1e-4, 2e-4, 3.0]);
        all.extend(observations("depthwise_conv_2d 3x3", [6e-4, 0.0, 1.0]));
        let model = Model::fit(&all).unwrap();
        let unseen = layer("conv_2d 3x3", 2_000_000, 40_000);
        assert!(is_near(model.layer_us(&unseen), 211.0));
        let unseen = layer("depthwise_conv_2d 3x3", 500_000, 5_000);
        assert!(is_near(model.layer_us(&unseen), 301.0));
        let known = [layer("conv_2d 3x3", 1_000_000, 30_000), unseen];
        assert!(is_near(model.network_us(&known), 109.0 + 301.0));
    }

    #[test]
    fn a_class_that_was_never_measured_costs_what_its_operator_does() {
        let model = Model::fit(&observations("conv_2d 3x3", [1e-4, 0.0, 0.0])).unwrap();
        let other = layer("conv_2d 1x1", 3_000_000, 1_000);
        assert!(is_near(model.layer_us(&other), 300.0));
        assert_eq!(model.unknown(&[other]), ["conv_2d 1x1"]);
    }

    #[test]
    fn a_single_observation_is_scaled() {
        let one = Observation {
            layer: layer("conv_2d 3x3", 1_000, 10),
            us: 5.0,
        };
        let model = Model::fit(&[one]).unwrap();
        assert!(is_near(
            model.layer_us(&layer("conv_2d 3x3", 2_000, 20)),
            10.0
        ));
        assert_eq!(Model::fit(&[]), None);
    }
}
