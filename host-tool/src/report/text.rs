//! The report on a terminal.

use super::{Report, Variant};
use crate::cli::output::{human_bytes, human_count, table};
use crate::graph::{Redundant, SameChannels, SameWeights};

/// Tables of packages, boards and the layers that lose most.
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    for (model, variants) in report.models() {
        text += &format!("{model}\n\n{}", packages(&variants));
        text += &section("", boards(&variants));
        text += &section("Layers that lose most", losses(&variants));
        text += "\n";
    }
    text
}

fn section(title: &str, body: Option<String>) -> String {
    match body {
        Some(body) if title.is_empty() => format!("\n{body}"),
        Some(body) => format!("\n{title}\n{body}"),
        None => String::new(),
    }
}

fn packages(variants: &[&Variant]) -> String {
    let header = [
        "package",
        "size",
        "of source",
        "density",
        "arena",
        "top-1",
        "top-5",
        "agreement",
        "SQNR",
    ];
    let rows: Vec<Vec<String>> = variants.iter().map(|variant| package(variant)).collect();
    table(&header, &rows)
}

fn package(variant: &Variant) -> Vec<String> {
    let eval = variant.eval.as_ref();
    vec![
        variant.label.clone(),
        human_bytes(variant.package_bytes),
        share_of_source(variant).map_or_else(none, per_cent),
        variant
            .pack
            .as_ref()
            .map_or_else(none, |pack| per_cent(100.0 * pack.density)),
        variant.arena_bytes().map_or_else(none, human_bytes),
        eval.and_then(|eval| eval.top1).map_or_else(none, per_cent),
        eval.and_then(|eval| eval.top5).map_or_else(none, per_cent),
        eval.and_then(|eval| eval.agreement)
            .map_or_else(none, per_cent),
        eval.and_then(|eval| eval.sqnr_db)
            .map_or_else(none, |db| format!("{db:.1} dB")),
    ]
}

fn boards(variants: &[&Variant]) -> Option<String> {
    let rows: Vec<Vec<String>> = variants
        .iter()
        .flat_map(|variant| variant.benches.iter().map(|bench| (&variant.label, bench)))
        .map(|(label, bench)| {
            vec![
                label.clone(),
                bench.place(),
                bench.cpu.clone(),
                micros(bench.latency_us.p50),
                micros(bench.latency_us.p90),
                micros(bench.latency_us.p99),
                bench
                    .instructions_per_inference
                    .map_or_else(none, human_count),
            ]
        })
        .collect();
    let header = [
        "package",
        "board",
        "core",
        "p50",
        "p90",
        "p99",
        "instructions",
    ];
    (!rows.is_empty()).then(|| table(&header, &rows))
}

fn losses(variants: &[&Variant]) -> Option<String> {
    let evals = variants
        .iter()
        .filter_map(|variant| Some((&variant.label, variant.eval.as_ref()?)));
    let rows: Vec<Vec<String>> = evals
        .flat_map(|(label, eval)| eval.layers.iter().take(3).map(move |layer| (label, layer)))
        .map(|(label, layer)| {
            let sqnr = format!("{:.1} dB", layer.sqnr_db);
            vec![label.clone(), layer.name.clone(), layer.op.clone(), sqnr]
        })
        .collect();
    (!rows.is_empty()).then(|| table(&["package", "layer", "operator", "SQNR"], &rows))
}

/// The package's length in per cent of its source's.
pub(super) fn share_of_source(variant: &Variant) -> Option<f64> {
    let source = variant.source_bytes().filter(|&bytes| bytes > 0)?;
    Some(100.0 * variant.package_bytes as f64 / source as f64)
}

/// A line for each repetition and each layer of zeros.
pub(crate) fn redundant(found: &Redundant) -> Vec<String> {
    let mut lines: Vec<String> = found.same_weights.iter().map(same_weights).collect();
    lines.extend(found.same_channels.iter().map(same_channels));
    let zeros = found.zero_weights.iter();
    lines.extend(zeros.map(|name| format!("{name}: all weights are zero")));
    lines
}

fn same_weights(same: &SameWeights) -> String {
    format!(
        "{}: the same weights, {} too many in int8",
        same.layers.join(", "),
        human_bytes(same.bytes)
    )
}

fn same_channels(same: &SameChannels) -> String {
    format!(
        "{}: {} of {} output channels repeat another, {} too many in int8",
        same.layer,
        same.copies(),
        same.channels,
        human_bytes(same.bytes)
    )
}

pub(super) fn none() -> String {
    "–".into()
}

pub(super) fn per_cent(value: f64) -> String {
    format!("{value:.1} %")
}

/// A time for people: `850 µs`, `12.3 ms`, `1.52 s`.
pub(super) fn micros(us: f64) -> String {
    match us {
        _ if us < 10.0 => format!("{us:.2} µs"),
        _ if us < 1e3 => format!("{us:.0} µs"),
        _ if us < 1e6 => format!("{:.2} ms", us / 1e3),
        _ => format!("{:.2} s", us / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{bench, eval, pack};
    use super::*;

    #[test]
    fn the_terminal_report_tells_size_score_and_speed() {
        let report = Report::join(vec![
            pack("a", "1"),
            eval("a", "1"),
            bench("a", "1", "rpi4"),
        ]);
        let text = render(&report);
        for part in [
            "1.0 kB",
            "25.0 %",
            "91.2 %",
            "rpi4 (emulated)",
            "100 µs",
            "123.5 k",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }
}
