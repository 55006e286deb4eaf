//! The report on a terminal.

use super::baseline::Baseline;
use super::run::Run;
use super::tables::{self, Cell, Mark, Table};
use super::{Report, Variant};
use crate::cli::output::{self, human_bytes};
use crate::graph::{Redundant, SameChannels, SameWeights};

/// Layers that lose most, of each package.
const LOSSES: usize = 3;

/// Tables of packages, changes, speed and the layers that lose most.
pub fn render(report: &Report, baseline: Option<&Baseline>) -> String {
    let models = report.models();
    models
        .iter()
        .map(|(name, variants)| model(name, variants, baseline))
        .collect()
}

fn model(name: &str, variants: &[&Variant], baseline: Option<&Baseline>) -> String {
    let runs: Vec<Run<'_>> = variants.iter().copied().flat_map(Run::all_of).collect();
    let parts = [
        tables::packages(variants),
        baseline.and_then(|baseline| tables::changes(&runs, baseline)),
        tables::speed(&runs),
        tables::device(&runs),
        tables::losses(variants, LOSSES),
    ];
    let parts: String = parts.iter().flatten().map(section).collect();
    format!("{name}\n{parts}{}\n", doubts(&runs))
}

fn section(table: &Table) -> String {
    let header: Vec<&str> = table.header.iter().map(String::as_str).collect();
    let row = |row: &Vec<Cell>| row.iter().map(marked).collect();
    let rows: Vec<Vec<String>> = table.rows.iter().map(row).collect();
    format!("\n{}\n{}", table.title, output::table(&header, &rows))
}

fn marked(cell: &Cell) -> String {
    let mark = match cell.mark {
        Mark::Plain | Mark::Same => "",
        Mark::Better => ", better",
        Mark::Worse => ", WORSE",
        Mark::Doubt => ", IN DOUBT",
    };
    format!("{}{mark}", cell.text)
}

fn doubts(runs: &[Run<'_>]) -> String {
    let lines = runs.iter().flat_map(|run| {
        let name = run.name_among(runs);
        let doubts = run.doubts().into_iter();
        doubts.map(move |doubt| format!("\nIN DOUBT       {name}: {doubt}"))
    });
    match lines.collect::<String>() {
        none if none.is_empty() => none,
        lines => lines + "\n",
    }
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

/// A round time beside an axis: `0`, `500 µs`, `2.5 ms`.
pub(super) fn round_micros(us: f64) -> String {
    round(us, &[(1e6, "s"), (1e3, "ms"), (1.0, "µs")])
}

/// A round count beside an axis: `0`, `500 M`, `2.5 G`.
pub(super) fn round_count(count: f64) -> String {
    round(count, &[(1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")])
}

/// In the largest unit that the value reaches, without zeros at the end.
fn round(value: f64, units: &[(f64, &str)]) -> String {
    let reached = units.iter().find(|(size, _)| value >= *size);
    let Some((size, unit)) = reached.or(units.last()) else {
        return value.to_string();
    };
    let digits = format!("{:.2}", value / size);
    match digits.trim_end_matches('0').trim_end_matches('.') {
        "0" | "" => "0".into(),
        digits => format!("{digits} {unit}").trim_end().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{bench, bench_of, eval, of, pack};
    use super::*;

    #[test]
    fn the_terminal_report_tells_size_score_and_speed() {
        let report = of(vec![
            pack("a", "1"),
            eval("a", "1"),
            bench("a", "1", "rpi5"),
            bench_of("a", "1", |b| b.after.temperature_celsius = Some(84.0)),
        ]);
        let text = render(&report, None);
        for part in [
            "1.0 kB",
            "25.0 %",
            "91.2 %",
            "rpi5 (emulated)",
            "rpi4, IN DOUBT",
            "100 µs",
            "123.5 k",
            "IN DOUBT       rpi4: the processor is at 84 °C",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert_eq!(
            text.matches("100 µs").count(),
            1,
            "an emulator's time shows in\n{text}"
        );
    }

    #[test]
    fn numbers_beside_an_axis_are_short() {
        let words = [0.0, 0.5, 200.0, 2500.0, 200e3, 2e6].map(round_micros);
        assert_eq!(words, ["0", "0.5 µs", "200 µs", "2.5 ms", "200 ms", "2 s"]);
        assert_eq!([50.0, 2.5e9].map(round_count), ["50", "2.5 G"]);
    }

    #[test]
    fn a_regression_is_told() {
        let baseline = Baseline::new(of(vec![bench_of("a", "1", |_| {})]), Baseline::NOISE);
        let report = of(vec![bench_of("a", "1", |b| b.latency_us.p99 = 300.0)]);
        let text = render(&report, Some(&baseline));
        assert!(text.contains("150 µs → 300 µs (+100.0 %), WORSE"), "{text}");
    }
}
