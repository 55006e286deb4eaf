//! Tables for people.

use super::TARGET_BITS;
use crate::cli::output::{human_bytes, human_count, table};
use crate::report::record::{DeadLayer, Sensitivity, SensitivityLayer, SensitivityLevel};
use crate::report::text::redundant;

/// A level is shown at a number of bits for a weight that is at most so far from its own.
const CLOSE_BITS: f64 = 1.0;

/// The whole report.
pub fn text(seen: &Sensitivity) -> String {
    let mut text = format!(
        "{}: sensitivity of {} layers, on {} samples\n\n{}",
        seen.model,
        seen.layers.len(),
        seen.calibration_samples,
        curves(seen)
    );
    text += "\nnoise gain: noise at the network's output for noise in the layer, each in parts of its own power\n\
             8 to 2 bits: loss at about so many bits for a weight, that is the squared error of the network's\n\
             output in parts of its variance, as expected from this layer alone\n";
    if let Some(plan) = plan(seen) {
        text += &format!("\n{plan}");
    }
    text += &format!("\n{}", holds_up(seen));
    text + &format!("\n{}", free(seen))
}

fn curves(seen: &Sensitivity) -> String {
    let mut header: Vec<String> = ["layer", "weights", "int8", "noise gain"]
        .map(Into::into)
        .into();
    header.extend(TARGET_BITS.map(|bits| format!("{bits} bits")));
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let mut rows: Vec<Vec<String>> = seen.layers.iter().map(curve).collect();
    rows.push(vec![
        "all layers".into(),
        human_count(seen.layers.iter().map(|layer| layer.weights).sum()),
        human_bytes(seen.layers.iter().map(|layer| layer.finest_bytes).sum()),
    ]);
    table(&header, &rows)
}

fn curve(layer: &SensitivityLayer) -> Vec<String> {
    let mut cells = vec![
        layer.name.clone(),
        human_count(layer.weights),
        human_bytes(layer.finest_bytes),
        format!("{:.3}", layer.noise_gain),
    ];
    cells.extend(layer.levels.iter().map(loss_at));
    cells
}

fn loss_at(level: &SensitivityLevel) -> String {
    if (level.bits_per_weight - level.target_bits).abs() > CLOSE_BITS {
        return "–".into();
    }
    scientific(level.loss)
}

fn scientific(value: f64) -> String {
    if value == 0.0 {
        "0".into()
    } else {
        format!("{value:.1e}")
    }
}

fn per_cent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn plan(seen: &Sensitivity) -> Option<String> {
    let (file, loss) = seen.planned_bytes.zip(seen.planned_loss)?;
    let mut rows: Vec<Vec<String>> = seen.layers.iter().filter_map(planned).collect();
    let beside = seen.beside.bytes;
    rows.push(vec![
        "beside the codes".into(),
        String::new(),
        human_bytes(beside),
        per_cent(beside as f64 / file.max(1) as f64),
    ]);
    rows.push(vec![
        "whole file".into(),
        String::new(),
        human_bytes(file),
        per_cent(1.0),
        scientific(loss),
    ]);
    let header = [
        "planned",
        "bits per weight",
        "bytes",
        "of the file",
        "loss",
        "loss per kB saved",
    ];
    Some(table(&header, &rows))
}

fn planned(layer: &SensitivityLayer) -> Option<Vec<String>> {
    let plan = layer.plan?;
    Some(vec![
        layer.name.clone(),
        format!("{:.2}", plan.bits_per_weight),
        human_bytes(plan.bytes),
        per_cent(plan.share),
        scientific(plan.loss),
        plan.loss_per_byte
            .map_or_else(|| "coarsest".into(), |loss| scientific(1e3 * loss)),
    ])
}

fn holds_up(seen: &Sensitivity) -> String {
    let at = match seen.max_size {
        Some(size) => format!("in {}", human_bytes(size)),
        None => "in the smallest package".into(),
    };
    let beside = &seen.beside;
    let mut text = format!("What holds the budget up, {at}:\n");
    for holder in &seen.holds_up {
        text += &format!(
            "  {}: {} ({})\n",
            holder.name,
            human_bytes(holder.bytes),
            per_cent(holder.share)
        );
    }
    text += &format!(
        "  beside the codes: {} (biases {}, manifest {}, class names {}, other {})\n",
        human_bytes(beside.bytes),
        human_bytes(beside.biases),
        human_bytes(beside.manifest),
        human_bytes(beside.class_names),
        human_bytes(beside.other)
    );
    text + &format!(
        "No package is smaller than about {} ({} bytes): every layer at its coarsest; the real one can be larger\n\
         All layers in int8: about {}\n",
        human_bytes(seen.smallest_bytes),
        seen.smallest_bytes,
        human_bytes(seen.finest_bytes)
    )
}

fn free(seen: &Sensitivity) -> String {
    let lines = findings(seen);
    if lines.is_empty() {
        return "Free to remove: nothing (no dead or constant channel, no repetition, no layer of zeros)\n"
            .into();
    }
    let lines: String = lines.iter().map(|line| format!("  {line}\n")).collect();
    format!("Free to remove:\n{lines}")
}

/// What is free to remove, a line each.
pub(crate) fn findings(seen: &Sensitivity) -> Vec<String> {
    let dead: u64 = seen.dead_channels.iter().map(|layer| layer.dead).sum();
    let mut lines = Vec::new();
    if dead > 0 {
        lines.push(format!(
            "{dead} output channels are dead or constant, in {} layers: `pack` removes them",
            seen.dead_channels.len()
        ));
    }
    lines.extend(seen.dead_channels.iter().map(dead_layer));
    lines.extend(redundant(&seen.redundant));
    lines
}

fn dead_layer(layer: &DeadLayer) -> String {
    format!(
        "{}: {} of {} output channels are dead or constant",
        layer.name, layer.dead, layer.channels
    )
}
