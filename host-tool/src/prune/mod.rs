//! Which weights become zero.

use crate::calibrate::Statistics;
use crate::graph::Graph;
use crate::quantize::{LayerShape, TapStatistics};
use rayon::prelude::*;

/// Per node with weights which of them must stay, so that at least the share `sparsity` of all
/// weights is zero. One threshold for the whole network on the saliency of optimal brain damage
/// (LeCun et al., 1989): `weight^2 * variance of its input * sensitivity of its layer`.
///
/// `sensitivity` has one entry per node.
pub fn global_masks(
    graph: &Graph,
    statistics: &Statistics,
    sensitivity: &[f64],
    sparsity: f64,
) -> Vec<Option<Vec<bool>>> {
    let saliency: Vec<Option<Vec<f32>>> = graph
        .nodes
        .par_iter()
        .zip(sensitivity)
        .map(|(node, &sensitivity)| {
            let shape = LayerShape::of(&node.op)?;
            let taps = TapStatistics::new(graph, statistics, node, shape);
            let weights = &node.op.linear()?.weights;
            let mut saliency = vec![0f32; weights.len()];
            for output in 0..shape.outputs() {
                for (tap, variance) in taps.variances(output, shape.k).into_iter().enumerate() {
                    let i = shape.index(output, tap);
                    saliency[i] =
                        (f64::from(weights[i] * weights[i] * variance) * sensitivity) as f32;
                }
            }
            Some(saliency)
        })
        .collect();
    let threshold = quantile(
        saliency.iter().flatten().flatten().copied().collect(),
        sparsity,
    );
    saliency
        .into_iter()
        .map(|layer| Some(layer?.into_iter().map(|s| s > threshold).collect()))
        .collect()
}

/// The value that a share of all values does not exceed; less than all for a share of 0.
fn quantile(mut values: Vec<f32>, share: f64) -> f32 {
    let count = (values.len() as f64 * share).ceil() as usize;
    if count == 0 {
        return f32::NEG_INFINITY;
    }
    let (_, value, _) = values.select_nth_unstable_by(count - 1, f32::total_cmp);
    *value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_covers_its_share() {
        let values: Vec<f32> = (0..10).map(|i| i as f32).collect();
        for (share, covered) in [(0.0, 0), (0.1, 1), (0.45, 5), (1.0, 10)] {
            let threshold = quantile(values.clone(), share);
            assert_eq!(values.iter().filter(|&&v| v <= threshold).count(), covered);
        }
    }
}
