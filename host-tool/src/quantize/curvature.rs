//! What rounding costs a layer, judged by inputs that it was not fitted to.

use super::{LayerShape, QuantizedLinear};
use crate::graph::Linear;
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

/// Output channels that one task judges.
const LANES: usize = 64;

/// A layer's weights and the second moments of its inputs about their means.
pub struct Curvature<'a> {
    shape: LayerShape,
    linear: &'a Linear,
    /// Per group row-major `k x k`.
    covariances: Vec<Vec<f32>>,
    /// Variance of each output channel.
    variances: Vec<f64>,
}

/// Of one output channel, or of a layer: its variance, its covariance with the error of rounding, and
/// the error's variance.
#[derive(Clone, Copy, Debug, Default)]
struct Spread {
    dense: f64,
    common: f64,
    error: f64,
}

impl Spread {
    /// Variance of the rounded output, as a share of the dense one's.
    fn rounded(self) -> f64 {
        1.0 + (self.error - 2.0 * self.common) / self.dense
    }

    /// Variance of the error that is left when the rounded output has got the dense one's spread.
    fn repaired(self) -> f64 {
        if self.dense <= 0.0 {
            return 0.0;
        }
        let rounded = self.rounded().max(f64::MIN_POSITIVE);
        let correlation = (1.0 - self.common / self.dense) / rounded.sqrt();
        2.0 * self.dense * (1.0 - correlation.clamp(0.0, 1.0))
    }

    fn sum(self, other: Self) -> Self {
        Self {
            dense: self.dense + other.dense,
            common: self.common + other.common,
            error: self.error + other.error,
        }
    }
}

impl<'a> Curvature<'a> {
    /// `covariances` are those of each group's inputs, row-major `k x k`.
    pub fn new(shape: LayerShape, linear: &'a Linear, covariances: &[Vec<f64>]) -> Self {
        let single = |covariance: &Vec<f64>| covariance.iter().map(|&v| v as f32).collect();
        let mut curvature = Self {
            shape,
            linear,
            covariances: covariances.par_iter().map(single).collect(),
            variances: Vec::new(),
        };
        curvature.variances = curvature.each_channel(
            |output, tap| linear.weights[shape.index(output, tap)],
            |_, variance| variance,
        );
        curvature
    }

    /// Sum of the variances of the output channels.
    pub fn power(&self) -> f64 {
        self.variances.iter().sum()
    }

    /// The step size at which plain rounding makes an error of `share` of the power.
    pub fn step_of(&self, share: f64) -> f32 {
        let trace = |covariance: &Vec<f32>| {
            let diagonal = covariance.iter().step_by(self.shape.k + 1);
            diagonal.map(|&variance| f64::from(variance)).sum::<f64>()
        };
        let traces: f64 = self.covariances.iter().map(trace).sum();
        let noise = self.shape.rows as f64 * traces / 12.0;
        (share * self.power() / noise.max(f64::MIN_POSITIVE)).sqrt() as f32
    }

    /// Sum over the output channels of the variance of their error, once mean and spread are repaired:
    /// of each channel, or with one scale of the whole layer.
    pub fn error(&self, layer: &QuantizedLinear) -> f64 {
        let spreads = self.spreads(layer).into_iter();
        if layer.is_uniform() {
            spreads.fold(Spread::default(), Spread::sum).repaired()
        } else {
            spreads.map(Spread::repaired).sum()
        }
    }

    /// The factor that repairs the spread of all output channels together.
    pub fn gain(&self, layer: &QuantizedLinear) -> f32 {
        let spreads = self.spreads(layer).into_iter();
        let rounded = spreads.fold(Spread::default(), Spread::sum).rounded();
        if rounded > 0.0 {
            rounded.sqrt().recip() as f32
        } else {
            1.0
        }
    }

    fn spreads(&self, layer: &QuantizedLinear) -> Vec<Spread> {
        let shape = self.shape;
        let difference = |output: usize, tap: usize| {
            let i = shape.index(output, tap);
            self.linear.weights[i] - f32::from(layer.codes[i]) * layer.scales[output]
        };
        let errors = self.each_channel(difference, |common, error| (common, error));
        let both = self.variances.iter().zip(errors);
        both.map(|(&dense, (common, error))| Spread {
            dense,
            common,
            error,
        })
        .collect()
    }

    /// For each output channel what `result` makes of two numbers: the covariance of its dense output
    /// with that of the given weights, and the variance of the latter.
    fn each_channel<T: Send>(
        &self,
        weight: impl Fn(usize, usize) -> f32 + Sync,
        result: impl Fn(f64, f64) -> T + Sync,
    ) -> Vec<T> {
        let rows = self.shape.rows;
        (0..self.shape.groups)
            .into_par_iter()
            .flat_map(|group| {
                let outputs: Vec<usize> = (group * rows..(group + 1) * rows).collect();
                outputs
                    .par_chunks(LANES)
                    .flat_map_iter(|outputs| self.products(group, outputs, &weight, &result))
                    .collect::<Vec<T>>()
            })
            .collect()
    }

    fn products<T>(
        &self,
        group: usize,
        outputs: &[usize],
        weight: impl Fn(usize, usize) -> f32,
        result: impl Fn(f64, f64) -> T,
    ) -> Vec<T> {
        let (k, rows) = (self.shape.k, outputs.len());
        let mut weights = Vec::with_capacity(rows * k);
        for &output in outputs {
            weights.extend((0..k).map(|tap| weight(output, tap)));
        }
        let mut products = vec![0f32; rows * k];
        matmul(
            MatMut::from_row_major_slice_mut(&mut products, rows, k),
            Accum::Replace,
            MatRef::from_row_major_slice(&weights, rows, k),
            MatRef::from_row_major_slice(&self.covariances[group], k, k),
            1.0,
            Par::Seq,
        );
        let rows = outputs
            .iter()
            .zip(weights.chunks_exact(k))
            .zip(products.chunks_exact(k));
        rows.map(|((&output, weights), products)| {
            let (mut common, mut own) = (0.0, 0.0);
            for (tap, (&weight, &product)) in weights.iter().zip(products).enumerate() {
                let dense = self.linear.weights[self.shape.index(output, tap)];
                common += f64::from(dense) * f64::from(product);
                own += f64::from(weight) * f64::from(product);
            }
            result(common, own)
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Activation, Op};

    /// Two outputs of two inputs that vary by 1 and 4, and a layer with codes for it.
    fn problem(codes: [i8; 4], scales: [f32; 2]) -> (Op, QuantizedLinear) {
        let op = Op::FullyConnected {
            linear: Linear {
                shape: [2, 1, 1, 2],
                weights: vec![1.0, 0.5, -0.3, 0.2],
                bias: vec![0.0; 2],
                activation: Activation::None,
            },
        };
        let layer = QuantizedLinear {
            codes: codes.to_vec(),
            row: 2,
            scales: scales.to_vec(),
            bias: vec![0.0; 2],
        };
        (op, layer)
    }

    fn error(codes: [i8; 4], scales: [f32; 2]) -> (f64, f64) {
        let (op, layer) = problem(codes, scales);
        let shape = LayerShape::of(&op).unwrap();
        let covariance = vec![1.0, 0.0, 0.0, 4.0];
        let curvature = Curvature::new(shape, op.linear().unwrap(), &[covariance]);
        (curvature.power(), curvature.error(&layer))
    }

    #[test]
    fn what_repair_undoes_is_no_error() {
        // The first channel is half of what it was, the second exact.
        let (power, repaired) = error([10, 5, -30, 20], [0.05, 0.01]);
        assert!((power - (1.0 + 1.0 + 0.09 + 0.16)).abs() < 1e-6);
        assert!(repaired < 1e-6, "{repaired}");
    }

    #[test]
    fn the_error_is_what_is_left_of_the_variance_after_repair() {
        // The first channel loses its second input: its correlation is 1 / sqrt(2).
        let (_, error) = error([10, 0, -30, 20], [0.1, 0.01]);
        let expected = 2.0 * 2.0 * (1.0 - 0.5f64.sqrt());
        assert!((error - expected).abs() < 1e-5, "{error} {expected}");
    }

    #[test]
    fn one_scale_is_repaired_as_one() {
        let (_, apart) = error([10, 5, -3, 1], [0.1, 0.1001]);
        let (_, together) = error([10, 5, -3, 1], [0.1, 0.1]);
        assert!(together >= apart && together > 0.0, "{together} {apart}");
    }
}
