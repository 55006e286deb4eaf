//! The report as Markdown, to read in a pull request.

use super::baseline::Baseline;
use super::run::Run;
use super::tables::{self, Cell, Mark, Table};
use super::{Report, Variant};

/// Layers that lose most, of each package.
const LOSSES: usize = 3;

/// The whole document; against the baseline, where there is one.
pub fn render(report: &Report, baseline: Option<&Baseline>) -> String {
    let models = report.models();
    let parts = models
        .iter()
        .map(|(name, variants)| model(name, variants, baseline));
    parts.collect::<Vec<_>>().join("\n")
}

fn model(name: &str, variants: &[&Variant], baseline: Option<&Baseline>) -> String {
    let runs: Vec<Run<'_>> = variants.iter().copied().flat_map(Run::all_of).collect();
    let mut text = format!("## {}\n", escape(name));
    let parts = [
        baseline.and_then(|baseline| tables::changes(&runs, baseline)),
        tables::packages(variants),
        tables::speed(&runs),
        tables::device(&runs),
    ];
    text += &parts.iter().flatten().map(section).collect::<String>();
    text += &doubts(&runs);
    text += &folded(&runs);
    if let Some(losses) = tables::losses(variants, LOSSES) {
        text += &section(&losses);
    }
    text
}

fn section(of: &Table) -> String {
    let explanation = match of.explanation.as_str() {
        "" => String::new(),
        text => format!("{}\n\n", escape(text)),
    };
    format!("\n### {}\n\n{explanation}{}", of.title, table(of))
}

/// A sentence for each doubt.
fn doubts(runs: &[Run<'_>]) -> String {
    let lines = runs.iter().flat_map(|run| {
        let name = run.name_among(runs);
        let doubts = run.doubts().into_iter();
        doubts.map(move |doubt| format!("- ⚠️ {}: {}\n", escape(&name), escape(&doubt)))
    });
    match lines.collect::<String>() {
        none if none.is_empty() => none,
        lines => format!("\n### In doubt\n\n{lines}"),
    }
}

/// What is long: layers and provenance, closed until someone opens it.
fn folded(runs: &[Run<'_>]) -> String {
    let layers = runs.iter().filter_map(|run| {
        let title = format!("Layers: {}", run.name_among(runs));
        Some((title, tables::layers(run)?))
    });
    let origins = tables::origins(runs).map(|table| (table.title.to_owned(), table));
    let all = layers.chain(origins);
    all.map(|(title, of)| {
        format!(
            "\n<details><summary>{}</summary>\n\n{}\n</details>\n",
            escape(&title),
            table(&of)
        )
    })
    .collect()
}

/// The first column to the left, the others to the right.
fn table(table: &Table) -> String {
    let header = table.header.iter().map(|name| escape(name));
    let rule = (0..table.header.len()).map(|i| if i == 0 { ":--" } else { "--:" }.to_owned());
    let rows = table
        .rows
        .iter()
        .map(|row| line(row.iter().map(marked)))
        .collect::<String>();
    line(header) + &line(rule) + &rows
}

fn line(cells: impl Iterator<Item = String>) -> String {
    format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
}

fn marked(cell: &Cell) -> String {
    let text = escape(&cell.text);
    match cell.mark {
        Mark::Plain | Mark::Same => text,
        Mark::Better => format!("🟢 {text}"),
        Mark::Worse => format!("🔴 **{text}**"),
        Mark::Doubt => format!("⚠️ {text}"),
    }
}

/// Text that Markdown takes as it is: no markup, no HTML, no end of a cell.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '\\' | '|' | '*' | '_' | '`' | '[' | ']' | '#' | '~' | '@' => escaped.extend(['\\', c]),
            '\n' | '\r' => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::tests::{bench, bench_of, eval, of, pack};
    use super::*;

    #[test]
    fn a_regression_and_a_doubt_catch_the_eye() {
        let baseline = Baseline::new(of(vec![bench_of("a", "1", |_| {})]), Baseline::NOISE);
        let report = of(vec![bench_of("a", "2", |b| {
            b.latency_us.p50 = 123.0;
            b.after.throttled = Some(4);
        })]);
        let text = render(&report, Some(&baseline));
        assert!(text.contains("🔴 **100 µs → 123 µs (+23.0 %)**"), "{text}");
        assert!(text.contains("| ⚠️ rpi4 |"), "{text}");
        assert!(
            text.contains("- ⚠️ rpi4: the firmware reports throttling"),
            "{text}"
        );
    }

    #[test]
    fn every_table_has_as_many_cells_in_each_row() {
        let report = of(vec![
            pack("a|b", "1"),
            eval("a|b", "1"),
            bench("a|b", "1", "rpi4"),
            bench_of("c", "2", |_| {}),
        ]);
        let text = render(&report, None);
        let mut columns = 0;
        for row in text.lines().filter(|line| line.starts_with('|')) {
            let cells = row.replace("\\|", "").matches('|').count();
            if row.starts_with("| :--") {
                assert_eq!(cells, columns, "{row}");
            }
            columns = cells;
        }
        assert!(text.contains("a\\|b") && text.contains("conv&lt;1&gt;"));
    }
}
