//! What `curve --json` writes.

use super::{Eval, Identity, Metric};
use serde::{Deserialize, Serialize};

/// `curve --json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Name of the model.
    pub model: String,
    /// Length of the source model.
    pub source_bytes: u64,
    /// Weights of the network, dead channels removed.
    pub weights: u64,
    /// Number of calibration samples.
    pub calibration_samples: u64,
    /// The file or folder of the samples that the packages are scored on.
    pub data: String,
    /// Number of those samples.
    pub samples: u64,
    /// Whether those are the calibration samples, so that the scores are optimistic.
    pub on_calibration: bool,
    /// The figure that the knee is of: `top1` with labels, `agreement` without, `sqnr_db` where the
    /// outputs are no classes.
    pub metric: Metric,
    /// The original's top-1 on the same samples; `null` without labels.
    pub original_top1: Option<f64>,
    /// The packages, by their length.
    pub points: Vec<CurvePoint>,
}

/// One package of a curve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// The SHA-256 that ends the package, in hexadecimal.
    pub package_hash: String,
    /// The limit that it was packed to; `null` for the package without one.
    pub max_size: Option<u64>,
    /// Length of the whole file.
    pub package_bytes: u64,
    /// Bits of the whole file for each weight of the network.
    pub bits_per_weight: f64,
    /// Share of weights that are not zero.
    pub density: f64,
    /// As in [`Eval`].
    pub top1: Option<f64>,
    /// As in [`Eval`].
    pub top5: Option<f64>,
    /// As in [`Eval`].
    pub agreement: Option<f64>,
    /// As in [`Eval`].
    pub divergence: Option<f64>,
    /// As in [`Eval`].
    pub sqnr_db: Option<f64>,
    /// Whether it is the curve's knee: at most one is.
    pub knee: bool,
}

impl CurvePoint {
    /// The value of a figure.
    pub fn quality(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::Top1 => self.top1,
            Metric::Agreement => self.agreement,
            Metric::SqnrDb => self.sqnr_db,
        }
    }
}

impl Curve {
    /// The knee, if the curve has one.
    pub fn knee(&self) -> Option<&CurvePoint> {
        self.points.iter().find(|point| point.knee)
    }

    /// The points as records of `eval`, named by their length.
    pub fn evals(&self) -> Vec<Eval> {
        self.points.iter().map(|point| self.eval(point)).collect()
    }

    fn eval(&self, point: &CurvePoint) -> Eval {
        let caveat = if self.on_calibration {
            ", scored on its calibration"
        } else {
            ""
        };
        Eval {
            identity: Identity {
                model: self.model.clone(),
                package: format!("{} bytes{caveat}", point.package_bytes),
                package_hash: point.package_hash.clone(),
            },
            package_bytes: point.package_bytes,
            samples: self.samples,
            top1: point.top1,
            top5: point.top5,
            agreement: point.agreement,
            divergence: point.divergence,
            sqnr_db: point.sqnr_db,
            original_top1: self.original_top1,
            original_top5: None,
            layers: Vec::new(),
        }
    }
}
