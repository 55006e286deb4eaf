//! What each step size costs a layer: bytes of its coded weights, squared error of its output.

use crate::graph::Linear;
use crate::quantize::{LayerShape, TapStatistics, code, scale_bytes, scales};
use edgeprune_format::rans;
use rayon::prelude::*;

/// Step sizes grow by this factor from level to level: a fourth of a bit.
const RATIO: f32 = 1.189_207_1;
/// The finest uniform step tried, as a share of the largest weight.
const FINEST: f32 = 1.0 / (127.0 * 16.0);

/// One way to store a layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// Least step size: see [`scales`]. The first level's is 0: per-channel int8.
    pub step: f32,
    /// Predicted bytes of the codes and of the scales, if they differ between channels.
    pub bytes: usize,
    /// Loss of the network's output that it causes, relative to other layers.
    pub loss: f64,
}

/// A layer and its levels, from fine to coarse: bytes fall, losses rise, on a convex curve.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Index of the node.
    pub node: usize,
    /// The levels.
    pub levels: Vec<Level>,
}

/// All levels of a layer; losses are squared output errors, see [`super::sensitivity`] for their
/// weight.
pub fn levels(
    shape: LayerShape,
    linear: &Linear,
    taps: &TapStatistics<'_>,
    mask: Option<&[bool]>,
) -> Vec<Level> {
    let largest = linear.weights.iter().fold(0f32, |m, w| m.max(w.abs()));
    let mut steps = vec![0.0];
    let mut step = largest * FINEST;
    while step < largest {
        steps.push(step);
        step *= RATIO;
    }
    let variances: Vec<Vec<f32>> = (0..shape.outputs())
        .step_by(shape.rows)
        .map(|output| taps.variances(output, shape.k))
        .collect();
    let all: Vec<Level> = steps
        .into_par_iter()
        .map(|step| level(shape, linear, &variances, mask, step))
        .collect();
    convex(all)
}

fn level(
    shape: LayerShape,
    linear: &Linear,
    variances: &[Vec<f32>],
    mask: Option<&[bool]>,
    step: f32,
) -> Level {
    let scales = scales(shape, linear, step);
    let mut counts = [0u32; 256];
    let mut loss = 0.0;
    for (output, &scale) in scales.iter().enumerate() {
        let mut error = 0f32;
        for (tap, variance) in variances[output / shape.rows].iter().enumerate() {
            let i = shape.index(output, tap);
            let weight = linear.weights[i];
            let code = match mask {
                Some(mask) if !mask[i] => 0,
                _ => code(weight, scale),
            };
            counts[(i16::from(code) + 128) as usize] += 1;
            let difference = weight - f32::from(code) * scale;
            error += difference * difference * variance;
        }
        loss += f64::from(error);
    }
    let codes = rans::coded_len(&counts).min(linear.weights.len());
    Level {
        step,
        bytes: codes + scale_bytes(&scales),
        loss,
    }
}

/// The lower convex hull of loss over bytes, from most bytes to least.
fn convex(mut levels: Vec<Level>) -> Vec<Level> {
    levels.sort_by(|a, b| b.bytes.cmp(&a.bytes).then(b.loss.total_cmp(&a.loss)));
    let mut hull: Vec<Level> = Vec::new();
    for level in levels {
        while hull.last().is_some_and(|last| last.loss >= level.loss) {
            hull.pop();
        }
        while let [.., a, b] = hull[..] {
            if slope(&a, &b) <= slope(&b, &level) {
                break;
            }
            hull.pop();
        }
        hull.push(level);
    }
    hull
}

/// Loss for each byte saved by going from a finer to a coarser level.
pub(super) fn slope(fine: &Level, coarse: &Level) -> f64 {
    (coarse.loss - fine.loss) / (fine.bytes - coarse.bytes) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hull_is_convex_and_keeps_the_ends() {
        let point = |bytes, loss| Level {
            step: 0.0,
            bytes,
            loss,
        };
        let hull = convex(vec![
            point(100, 0.0),
            point(90, 5.0),
            point(80, 0.5),
            point(50, 4.0),
            point(95, 0.0),
            point(20, 4.5),
            point(20, 30.0),
        ]);
        let pairs: Vec<_> = hull.iter().map(|l| (l.bytes, l.loss)).collect();
        assert_eq!(pairs, [(95, 0.0), (80, 0.5), (20, 4.5)]);
    }
}
