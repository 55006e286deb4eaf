//! The layers as CSV (RFC 4180): a line a layer.

use super::TARGET_BITS;
use crate::report::csv::document;
use crate::report::record::{PlannedLevel, Sensitivity, SensitivityLayer};

/// A header and a line for each layer. Columns of the plan are empty without a budget.
pub fn csv(seen: &Sensitivity) -> String {
    document(std::iter::once(header()).chain(seen.layers.iter().map(row)))
}

fn header() -> Vec<String> {
    let mut names: Vec<String> = [
        "layer",
        "operator",
        "weights",
        "finest_bytes",
        "smallest_bytes",
        "sensitivity",
        "noise_gain",
    ]
    .map(Into::into)
    .into();
    for bits in TARGET_BITS {
        for what in ["bits_per_weight", "bytes", "loss"] {
            names.push(format!("at_{bits}_bits_{what}"));
        }
    }
    for what in [
        "bits_per_weight",
        "bytes",
        "step",
        "loss",
        "share",
        "loss_per_byte",
    ] {
        names.push(format!("plan_{what}"));
    }
    names
}

fn row(layer: &SensitivityLayer) -> Vec<String> {
    let mut cells = vec![
        layer.name.clone(),
        layer.op.clone(),
        layer.weights.to_string(),
        layer.finest_bytes.to_string(),
        layer.smallest_bytes.to_string(),
        layer.sensitivity.to_string(),
        layer.noise_gain.to_string(),
    ];
    for level in &layer.levels {
        cells.push(level.bits_per_weight.to_string());
        cells.push(level.bytes.to_string());
        cells.push(level.loss.to_string());
    }
    cells.extend(plan(layer.plan.as_ref()));
    cells
}

fn plan(plan: Option<&PlannedLevel>) -> [String; 6] {
    let Some(plan) = plan else {
        return Default::default();
    };
    [
        plan.bits_per_weight.to_string(),
        plan.bytes.to_string(),
        plan.step.to_string(),
        plan.loss.to_string(),
        plan.share.to_string(),
        plan.loss_per_byte
            .map_or_else(String::new, |loss| loss.to_string()),
    ]
}
