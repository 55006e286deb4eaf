//! How fast packages run: times of real machines, instructions of emulated cores.

use super::chart::{self, Axis, Bar, Column, Histogram, Row};
use super::model::Model;
use super::parts;
use crate::cli::output::human_count;
use crate::report::record::Bench;
use crate::report::run::Run;
use crate::report::text::{micros, round_micros};
use crate::report::{Figure, tables};
use std::fmt::Write;

const TIMES: &str = "Median latency of one inference; the thin line goes on to what ninety-nine in a hundred do not exceed.";
const COUNTS: &str = "Instructions of one inference, counted on emulated cores. An emulator's times say nothing of a \
    board's, and are left out.";

/// Charts of all runs, with doubts below those that they concern, and a table.
pub(super) fn card(model: &Model<'_>) -> String {
    let Some(table) = tables::speed(&model.runs) else {
        return String::new();
    };
    let mut body = String::new();
    for (explanation, rows) in [(TIMES, rows(model, time)), (COUNTS, rows(model, count))] {
        if !rows.is_empty() {
            let chart = chart::bars(explanation, &rows);
            let _ = write!(body, "<p class=\"soft\">{explanation}</p>\n{chart}");
        }
    }
    parts::card("Speed", "", &(body + &parts::filled(&table)))
}

fn rows(model: &Model<'_>, bar: impl Fn(&Run<'_>, usize) -> Option<Bar>) -> Vec<Row> {
    let row = |(series, run, name): (usize, &Run<'_>, &String)| {
        Some(Row {
            name: name.clone(),
            bars: vec![bar(run, series)?],
            notes: run.doubts(),
        })
    };
    model.named().filter_map(row).collect()
}

fn time(run: &Run<'_>, series: usize) -> Option<Bar> {
    let value = Figure::P50.of(run)?;
    Some(Bar {
        series,
        value,
        whisker: Figure::P99.of(run),
        text: micros(value),
    })
}

/// A real machine that counts instructions has a time too: its bar is there.
fn count(run: &Run<'_>, series: usize) -> Option<Bar> {
    let count = run.emulated()?.instructions_per_inference?;
    Some(Bar {
        series,
        value: count as f64,
        whisker: None,
        text: human_count(count),
    })
}

/// How many inferences took how long, a chart a run, on one scale.
pub(super) fn distributions(model: &Model<'_>) -> String {
    let measured: Vec<(usize, &Bench, &String)> = model
        .named()
        .filter_map(|(series, run, name)| {
            let bench = run.real().filter(|bench| !bench.histogram.is_empty())?;
            Some((series, bench, name))
        })
        .collect();
    if measured.is_empty() {
        return String::new();
    }
    let ends = measured.iter().flat_map(|(_, bench, _)| ends(bench));
    let x = Axis::logarithmic(ends);
    let charts: String = measured
        .iter()
        .map(|(series, bench, name)| {
            let of = Histogram {
                name,
                series: *series,
                columns: &columns(bench),
                marks: &marks(bench),
                x,
            };
            chart::histogram(&of, micros, round_micros)
        })
        .collect();
    parts::card(
        "Distribution of latency",
        "How many inferences took how long. All share one logarithmic scale; columns too low to see are drawn a little taller.",
        &format!("<div class=\"panels\">\n{charts}</div>\n"),
    )
}

/// A bucket ends a sixteenth above its beginning.
const BUCKET: f64 = 1.0 + 1.0 / 16.0;

fn columns(bench: &Bench) -> Vec<Column> {
    let column = |bucket: &crate::report::record::Bucket| Column {
        from: bucket.from_us,
        to: bucket.from_us * BUCKET,
        count: bucket.count,
    };
    bench.histogram.iter().map(column).collect()
}

fn ends(bench: &Bench) -> impl Iterator<Item = f64> {
    let deadline = bench.deadline.map(|deadline| deadline.us);
    let columns = columns(bench).into_iter();
    columns
        .flat_map(|column| [column.from, column.to])
        .chain(deadline)
}

fn marks(bench: &Bench) -> Vec<(f64, String)> {
    let times = &bench.latency_us;
    let mut marks = vec![(times.p50, "p50".into()), (times.p99, "p99".into())];
    if let Some(deadline) = bench.deadline {
        let missed = format!("{} later than the deadline of", deadline.misses);
        marks.push((deadline.us, missed));
    }
    marks
}
