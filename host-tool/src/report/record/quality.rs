//! What `eval --json` writes: figures of quality, and what a package loses of them.

use super::Identity;
use serde::{Deserialize, Serialize};

/// `eval --json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Eval {
    /// Which package.
    #[serde(flatten)]
    pub identity: Identity,
    /// Length of the package.
    #[serde(default)]
    pub package_bytes: u64,
    /// Number of samples.
    pub samples: u64,
    /// Per cent of samples whose label is the highest output; `null` without labels.
    pub top1: Option<f64>,
    /// Per cent of samples whose label is among the five highest outputs; `null` without labels.
    pub top5: Option<f64>,
    /// Per cent of samples with the original's highest output; `null` without `--against`.
    pub agreement: Option<f64>,
    /// Mean Kullback-Leibler divergence, in nats, of the class probabilities from the original's; `null`
    /// without `--against` or classes.
    #[serde(default)]
    pub divergence: Option<f64>,
    /// Signal to quantization noise of the output; `null` without `--against`.
    pub sqnr_db: Option<f64>,
    /// The original's `top1` on the same samples; `null` without labels or `--against`.
    #[serde(default)]
    pub original_top1: Option<f64>,
    /// The original's `top5` on the same samples.
    #[serde(default)]
    pub original_top5: Option<f64>,
    /// The layers that lose most, worst first.
    #[serde(default)]
    pub layers: Vec<EvalLayer>,
}

/// How much a layer's output differs from the original's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvalLayer {
    /// Name of the node.
    pub name: String,
    /// Operator.
    pub op: String,
    /// Signal to quantization noise of its output, everything before it included.
    pub sqnr_db: f64,
}

/// A figure of quality; more is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// [`Eval::top1`].
    Top1,
    /// [`Eval::agreement`].
    Agreement,
    /// [`Eval::sqnr_db`].
    SqnrDb,
}

impl Metric {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Top1 => "top-1",
            Self::Agreement => "agreement",
            Self::SqnrDb => "SQNR",
        }
    }

    /// A value for people: per cent or decibels.
    pub fn words(self, value: f64) -> String {
        match self {
            Self::Top1 | Self::Agreement => format!("{value:.2} %"),
            Self::SqnrDb => format!("{value:.1} dB"),
        }
    }

    /// Its value in a record.
    pub fn of(self, eval: &Eval) -> Option<f64> {
        match self {
            Self::Top1 => eval.top1,
            Self::Agreement => eval.agreement,
            Self::SqnrDb => eval.sqnr_db,
        }
    }
}

/// What a package loses of the original's quality, as `pack --max-drop` measured it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Loss {
    /// What was measured: `top1`, or `agreement` without labels.
    pub metric: Metric,
    /// The original's, in per cent; 100 for the agreement.
    pub original: f64,
    /// The package's, in per cent.
    pub packed: f64,
    /// Points lost, the difference of the two; negative if the package is better.
    pub points: f64,
    /// Most points that may be lost.
    pub allowed: f64,
    /// Number of samples.
    pub samples: u64,
    /// Packages that were made and scored to find this one.
    pub trials: u64,
}

impl Loss {
    /// Rounding of shares in per cent, far below what one sample in any data weighs.
    const ROUNDING: f64 = 1e-9;

    /// Whether no more is lost than allowed.
    pub fn is_allowed(&self) -> bool {
        self.points <= self.allowed + Self::ROUNDING
    }

    /// For people: `top-1 92.40 % (original 93.20 %), 0.80 points lost`.
    pub fn words(&self) -> String {
        let name = self.metric.name();
        let (packed, original) = (
            self.metric.words(self.packed),
            self.metric.words(self.original),
        );
        let against = match self.metric {
            Metric::Agreement => String::new(),
            _ => format!(" (original {original})"),
        };
        let change = if self.points < 0.0 { "gained" } else { "lost" };
        let points = self.points.abs();
        format!("{name} {packed}{against}, {points:.2} points {change}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(points: f64, allowed: f64) -> Loss {
        Loss {
            metric: Metric::Top1,
            original: 93.2,
            packed: 93.2 - points,
            points,
            allowed,
            samples: 500,
            trials: 3,
        }
    }

    #[test]
    fn a_loss_of_just_what_is_allowed_is_allowed() {
        assert!(loss(93.2 - 92.2, 1.0).is_allowed());
        assert!(loss(-0.2, 0.0).is_allowed());
        assert!(!loss(1.2, 1.0).is_allowed());
    }

    #[test]
    fn a_loss_reads_well() {
        let words = loss(0.8, 1.0).words();
        assert_eq!(words, "top-1 92.40 % (original 93.20 %), 0.80 points lost");
        assert!(loss(-0.4, 1.0).words().ends_with("0.40 points gained"));
    }
}
