//! A roofline chart for each board.

use super::chart::{self, Axis, Plot, Point};
use super::model::Model;
use super::parts;
use crate::cli::output::human_count;
use crate::report::roofline::{Placed, Roof, placed};
use crate::report::run::Run;
use crate::report::text::round_count;

const EXPLANATION: &str = "Each point is a layer: multiply-accumulates for each byte of input, weights and output, against \
    multiply-accumulates a second. The dashed roof is what the cores' arithmetic and the board's memory allow; what stays in \
    caches can be above its slope. Hollow points are of boards of which there are only emulated runs: layers are placed where they would be at best.";

/// A chart for each board whose layers' bytes are known.
pub(super) fn card(model: &Model<'_>) -> String {
    let boards = model.boards();
    let charts: String = boards
        .iter()
        .filter_map(|board| chart(model, board))
        .collect();
    match charts.as_str() {
        "" => String::new(),
        charts => parts::card("Roofline", EXPLANATION, charts),
    }
}

fn chart(model: &Model<'_>, board: &str) -> Option<String> {
    let on_board = |run: &Run<'_>| run.bench.is_some_and(|bench| bench.board == board);
    let mut runs: Vec<(usize, &Run<'_>, &String)> = model
        .named()
        .filter(|(_, run, _)| on_board(run) && !placed(run).is_empty())
        .collect();
    if runs.iter().any(|(_, run, _)| run.real().is_some()) {
        runs.retain(|(_, run, _)| run.real().is_some()); // what was measured needs no guess beside it
    }
    let points: Vec<Point> = runs
        .iter()
        .flat_map(|(series, run, _)| points(*series, run))
        .collect();
    if points.is_empty() {
        return None;
    }
    let roofs = roofs(&runs);
    let ridges = roofs.iter().filter_map(Roof::ridge);
    let x = Axis::logarithmic(points.iter().map(|point| point.x).chain(ridges));
    let lines: Vec<_> = roofs.iter().map(|roof| line(roof, &x)).collect();
    let tops = roofs.iter().map(|roof| roof.peak);
    let plot = Plot {
        label: &format!("Roofline of {board}"),
        points: &points,
        is_joined: false,
        references: &lines,
        y: Axis::logarithmic(points.iter().map(|point| point.y).chain(tops)),
        x,
    };
    let names: Vec<(usize, &String)> = runs
        .iter()
        .map(|&(series, _, name)| (series, name))
        .collect();
    let (x_text, y_text) = (
        |intensity: f64| format!("{intensity} MAC/B"),
        |rate: f64| format!("{}/s", round_count(rate)),
    );
    let chart = chart::scatter(&plot, x_text, y_text);
    let legend = chart::legend_of(&names);
    Some(format!(
        "<h3>{}</h3>\n{legend}{chart}",
        super::escape(board)
    ))
}

/// One for each number of threads.
fn roofs(runs: &[(usize, &Run<'_>, &String)]) -> Vec<Roof> {
    let mut roofs: Vec<Roof> = Vec::new();
    for roof in runs.iter().filter_map(|(_, run, _)| Roof::of(run.bench?)) {
        if !roofs.contains(&roof) {
            roofs.push(roof);
        }
    }
    roofs
}

/// From the left end over the ridge to the right end.
fn line(roof: &Roof, x: &Axis) -> (Vec<[f64; 2]>, String) {
    let ridge = roof.ridge().filter(|&ridge| ridge > x.low());
    let at = |intensity: f64| [intensity, roof.at(intensity)];
    let points = [Some(x.low()), ridge, Some(x.high())];
    let threads = match roof.threads {
        1 => "1 core".to_owned(),
        n => format!("{n} cores"),
    };
    let name = format!("{threads}: {} MAC/s", human_count(roof.peak as u64));
    (points.into_iter().flatten().map(at).collect(), name)
}

fn points(series: usize, run: &Run<'_>) -> Vec<Point> {
    let point = |placed: Placed| Point {
        x: placed.intensity,
        y: placed.rate,
        text: format!(
            "{:.1} MAC/B, {}/s",
            placed.intensity,
            human_count(placed.rate as u64)
        ),
        name: placed.layer,
        series,
        is_named: false,
        is_hollow: run.emulated().is_some(),
    };
    placed(run).into_iter().map(point).collect()
}
