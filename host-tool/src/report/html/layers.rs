//! Where the time goes, layer by layer.

use super::chart::{self, Bar, Row};
use super::model::{Model, folded_tables};
use super::parts::{card, folded};
use crate::cli::output::human_count;
use crate::report::record::{Bench, BenchLayer};
use crate::report::tables as report_tables;
use crate::report::text::micros;

/// Rows by layer name, in order of first mention.
pub(super) fn rows_by_layer<'a>(
    bars: impl Iterator<Item = (&'a str, Bar)>,
    text: impl Fn(f64) -> String,
) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (name, bar) in bars {
        match rows.iter_mut().find(|row| row.name == name) {
            Some(row) => row.bars.push(bar),
            None => rows.push(Row {
                name: name.to_owned(),
                bars: vec![bar],
                notes: Vec::new(),
            }),
        }
    }
    chart::largest_rows(rows, text)
}

/// What a layer costs, and in what unit.
struct Cost {
    title: &'static str,
    of: fn(&Bench, &BenchLayer) -> Option<f64>,
    text: fn(f64) -> String,
}

const COSTS: [Cost; 2] = [
    Cost {
        title: "time",
        of: Bench::layer_time,
        text: micros,
    },
    Cost {
        title: "instructions",
        of: |bench, layer| {
            layer
                .instructions
                .filter(|_| bench.emulated)
                .map(|n| n as f64)
        },
        text: |count| human_count(count as u64),
    },
];

/// A chart for each board: times of real ones, instructions of emulated ones.
pub(super) fn charts(model: &Model<'_>) -> String {
    let boards = model.boards();
    let charts = boards
        .iter()
        .flat_map(|board| COSTS.iter().filter_map(|cost| chart(model, board, cost)));
    let charts: String = charts
        .enumerate()
        .map(|(i, (title, chart))| folded(&title, i == 0, &chart))
        .collect();
    match charts.as_str() {
        "" => String::new(),
        charts => card(
            "Cost by layer",
            "In order of execution: time where a real machine ran, in the median run; instructions where an emulator did.",
            charts,
        ),
    }
}

fn chart(model: &Model<'_>, board: &str, cost: &Cost) -> Option<(String, String)> {
    let on_board = model.named().filter_map(|(series, run, name)| {
        let bench = run.bench.filter(|bench| bench.board == board)?;
        Some((series, bench, name))
    });
    let on_board: Vec<_> = on_board.collect();
    let bars = on_board.iter().flat_map(|&(series, bench, _)| {
        let bar = move |layer: &'_ BenchLayer| bar(cost, series, bench, layer);
        let layers = bench.layers.iter();
        layers.filter_map(move |layer| Some((layer.name.as_str(), bar(layer)?)))
    });
    let rows = rows_by_layer(bars, cost.text);
    let has_bars = |series| {
        rows.iter()
            .flat_map(|row| &row.bars)
            .any(|bar| bar.series == series)
    };
    let names: Vec<(usize, &String)> = on_board
        .iter()
        .map(|&(series, _, name)| (series, name))
        .filter(|(series, _)| has_bars(*series))
        .collect();
    let title = format!("{board}, {}", cost.title);
    let chart = chart::legend_of(&names) + &chart::bars(&format!("Layers on {title}"), &rows);
    (!rows.is_empty()).then_some((title, chart))
}

fn bar(cost: &Cost, series: usize, bench: &Bench, layer: &BenchLayer) -> Option<Bar> {
    let value = (cost.of)(bench, layer)?;
    Some(Bar {
        series,
        value,
        whisker: None,
        text: (cost.text)(value),
    })
}

/// Kernels, multiply-accumulates and rates of every run.
pub(super) fn tables(model: &Model<'_>) -> String {
    let tables = model
        .named()
        .filter_map(|(_, run, name)| Some((name.as_str(), report_tables::layers(run)?)));
    folded_tables("Kernel and rate of every layer", tables.collect())
}
