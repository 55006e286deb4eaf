//! Where the bytes are and what they are worth, layer by layer.

use super::chart::{self, Bar, Row};
use super::parts::{card, table, tile};
use super::{escape, page};
use crate::cli::output::{human_bytes, human_count};
use crate::report::record::{Sensitivity, SensitivityLayer};
use crate::report::text::{none, per_cent};
use crate::sensitivity::findings;

/// The whole document.
pub fn render(seen: &Sensitivity) -> String {
    let name = escape(&seen.model);
    let mut body = format!("<section class=\"model\">\n<h1>{name}</h1>\n");
    body += &format!(
        "<p class=\"lead\">What each layer costs and what it is worth, on {} samples.</p>\n",
        seen.calibration_samples
    );
    body += &tiles(seen);
    body += &bytes(seen);
    body += &losses(seen);
    body += &free(seen);
    body += &layers(seen);
    page(&seen.model, &(body + "</section>\n"))
}

fn tiles(seen: &Sensitivity) -> String {
    let mut tiles = tile(&human_bytes(seen.finest_bytes), "all layers in int8, about");
    if let Some(bytes) = seen.planned_bytes {
        tiles += &tile(&human_bytes(bytes), "planned, about");
    }
    tiles += &tile(
        &human_bytes(seen.smallest_bytes),
        "at least, whatever the budget",
    );
    tiles += &tile(&human_bytes(seen.beside.bytes), "beside the codes");
    format!("<div class=\"tiles\">\n{tiles}</div>\n")
}

/// One bar for each value of a layer; `None` has no bar.
fn chart(
    seen: &Sensitivity,
    label: &str,
    values: impl Fn(&SensitivityLayer) -> Vec<Option<f64>>,
    text: impl Fn(f64) -> String + Copy,
) -> String {
    let row = |layer: &SensitivityLayer| Row {
        name: layer.name.clone(),
        bars: values(layer)
            .into_iter()
            .enumerate()
            .filter_map(|(series, value)| {
                let value = value?;
                Some(Bar {
                    series,
                    value,
                    whisker: None,
                    text: text(value),
                })
            })
            .collect(),
        notes: Vec::new(),
    };
    let rows = seen.layers.iter().map(row).collect();
    chart::bars(label, &chart::largest_rows(rows, text))
}

fn bytes(seen: &Sensitivity) -> String {
    let mut names = vec!["int8".to_owned()];
    if let Some(size) = seen.max_size {
        names.push(format!("planned for {}", human_bytes(size)));
    }
    let values = |layer: &SensitivityLayer| {
        let planned = layer.plan.map(|plan| plan.bytes as f64);
        vec![Some(layer.finest_bytes as f64), planned]
    };
    let chart = chart::legend(&names)
        + &chart(seen, "Bytes by layer", values, |bytes| {
            human_bytes(bytes as u64)
        });
    card(
        "Bytes by layer",
        "Codes and scales as they are expected to lie in the file, in order of execution.",
        &chart,
    )
}

fn losses(seen: &Sensitivity) -> String {
    let at_four = |layer: &SensitivityLayer| {
        let level = layer.levels.iter().find(|level| level.target_bits == 4.0);
        level.map(|level| level.loss)
    };
    let values = |layer: &SensitivityLayer| match seen.max_size {
        Some(_) => vec![layer.plan.map(|plan| plan.loss)],
        None => vec![at_four(layer)],
    };
    let at = match seen.max_size {
        Some(size) => format!("as planned for {}", human_bytes(size)),
        None => "at about 4 bits for a weight".into(),
    };
    card(
        &format!("Loss by layer, {at}"),
        "Squared error of the network's output in parts of its variance, as expected from this layer alone.",
        &chart(seen, "Loss by layer", values, |loss| format!("{loss:.1e}")),
    )
}

fn free(seen: &Sensitivity) -> String {
    let items: String = findings(seen)
        .iter()
        .map(|line| format!("<p>{}</p>\n", escape(line)))
        .collect();
    match items.as_str() {
        "" => String::new(),
        items => card("Free to remove", "", items),
    }
}

fn layers(seen: &Sensitivity) -> String {
    let row = |layer: &SensitivityLayer| {
        let plan = layer.plan.as_ref();
        vec![
            layer.name.clone(),
            layer.op.clone(),
            human_count(layer.weights),
            human_bytes(layer.finest_bytes),
            format!("{:.3}", layer.noise_gain),
            plan.map_or_else(none, |plan| format!("{:.2}", plan.bits_per_weight)),
            plan.map_or_else(none, |plan| human_bytes(plan.bytes)),
            plan.map_or_else(none, |plan| per_cent(100.0 * plan.share)),
            plan.map_or_else(none, |plan| format!("{:.1e}", plan.loss)),
        ]
    };
    let header = [
        "layer",
        "operator",
        "weights",
        "int8",
        "noise gain",
        "planned bits",
        "planned bytes",
        "of the file",
        "loss",
    ];
    let rows: Vec<Vec<String>> = seen.layers.iter().map(row).collect();
    card(
        "Every layer",
        "Noise gain: noise at the network's output for noise in the layer, each in parts of its own power.",
        &table(&header, &rows),
    )
}
