//! The layers as CSV (RFC 4180): a line a layer.

use super::TARGET_BITS;
use crate::report::record::{PlannedLevel, Sensitivity, SensitivityLayer};

/// A header and a line for each layer. Columns of the plan are empty without a budget.
pub fn csv(seen: &Sensitivity) -> String {
    let mut text = line(&header());
    for layer in &seen.layers {
        text += &line(&row(layer));
    }
    text
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

fn line(cells: &[String]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| field(cell)).collect();
    format!("{}\n", cells.join(","))
}

/// Quotes what would end a field.
fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::field;

    #[test]
    fn names_with_commas_and_quotes_stay_one_field() {
        assert_eq!(field("conv/1"), "conv/1");
        assert_eq!(field("a,\"b\""), "\"a,\"\"b\"\"\"");
    }
}
