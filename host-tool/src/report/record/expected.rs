//! What a package is expected to lose of the original network's outputs.

use serde::{Deserialize, Serialize};

/// What the finished package answers to samples, beside the original network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    /// Number of samples.
    pub samples: u64,
    /// Whether the package was not calibrated on them.
    pub held_out: bool,
    /// Per cent of samples with the original's highest output; `null` without classes.
    pub agreement: Option<f64>,
    /// Mean Kullback-Leibler divergence of the class probabilities from the original's, in nats; `null` without
    /// classes.
    pub divergence: Option<f64>,
    /// Each output, in order.
    pub outputs: Vec<ExpectedOutput>,
    /// What is likely wrong with the package, and the way out.
    pub warnings: Vec<String>,
}

/// What is left of one output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExpectedOutput {
    /// Its name.
    pub name: String,
    /// Ratio of the variance of the original's values to the mean squared difference, in dB.
    pub sqnr_db: f64,
    /// Channels that are more than noise beside the others.
    pub channels: u64,
    /// Of those, the ones whose difference is as large as their variance.
    pub lost_channels: u64,
}

impl Expected {
    /// For people, one line: `97.0 % agreement, 0.0123 nats, 31.2 dB (boxes), 28.4 dB (scores) on 13 held-out samples`.
    pub fn words(&self) -> String {
        let mut figures = Vec::new();
        if let Some(agreement) = self.agreement {
            figures.push(format!("{agreement:.1} % agreement"));
        }
        if let Some(divergence) = self.divergence {
            figures.push(format!("{divergence:.4} nats"));
        }
        let several = self.outputs.len() > 1;
        figures.extend(self.outputs.iter().map(|output| match several {
            true => format!("{:.1} dB ({})", output.sqnr_db, output.name),
            false => format!("{:.1} dB", output.sqnr_db),
        }));
        let which = match self.held_out {
            true => "held-out samples",
            false => "samples that it was also calibrated on",
        };
        format!("{} on {} {which}", figures.join(", "), self.samples)
    }
}
