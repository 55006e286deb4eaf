//! The parts of a model's report: what it is, how small, how accurate, how fast, layer by layer.

use super::chart::{self, Axis, Bar, Plot, Point, Row};
use super::escape;
use crate::cli::output::{human_bytes, human_count};
use crate::report::Variant;
use crate::report::record::Bench;
use crate::report::text::{micros, none, per_cent, share_of_source};
use std::fmt::Write;

/// Everything about one model.
pub(super) fn model(name: &str, variants: &[&Variant]) -> String {
    let mut html = format!("<section class=\"model\">\n<h1>{}</h1>\n", escape(name));
    html += &format!("<p class=\"lead\">{}</p>\n", lead(variants));
    html += &tiles(variants);
    html += &card("Packages", "", &summary(variants));
    html += &accuracy(variants);
    html += &bytes_by_layer(variants);
    html += &boards(variants);
    html += &latency_by_layer(variants);
    html += &losses(variants);
    html += &layer_tables(variants);
    html + "</section>\n"
}

pub(super) fn card(title: &str, explanation: &str, body: &str) -> String {
    let explanation = match explanation {
        "" => String::new(),
        text => format!("<p class=\"soft\">{text}</p>\n"),
    };
    format!("<div class=\"card\">\n<h2>{title}</h2>\n{explanation}{body}</div>\n")
}

/// One sentence with the figures that matter most, for the most accurate package.
fn lead(variants: &[&Variant]) -> String {
    let count = match variants.len() {
        1 => "One package".to_owned(),
        n => format!("{n} packages"),
    };
    let source = variants.iter().find_map(|variant| variant.source_bytes());
    let from = source.map_or_else(String::new, |bytes| {
        format!(" made from a model of {}", human_bytes(bytes))
    });
    let sizes: Vec<u64> = variants
        .iter()
        .map(|variant| variant.package_bytes)
        .collect();
    let range = match (sizes.first(), sizes.last()) {
        (Some(a), Some(b)) if a != b => format!(", {} to {}", human_bytes(*a), human_bytes(*b)),
        (Some(a), _) => format!(", {}", human_bytes(*a)),
        _ => String::new(),
    };
    format!("{count}{from}{range}.")
}

fn tiles(variants: &[&Variant]) -> String {
    let mut tiles = String::new();
    if let Some(share) = variants
        .first()
        .and_then(|variant| share_of_source(variant))
    {
        tiles += &tile(
            &format!("{:.1}×", 100.0 / share),
            "smaller than the source, at the tightest",
        );
    }
    let best = variants
        .iter()
        .filter_map(|variant| variant.eval.as_ref())
        .max_by(|a, b| a.top1.unwrap_or(0.0).total_cmp(&b.top1.unwrap_or(0.0)));
    if let Some(eval) = best {
        if let Some(top1) = eval.top1 {
            let against = eval.original_top1.map_or_else(String::new, |original| {
                format!(", original {}", per_cent(original))
            });
            tiles += &tile(&per_cent(top1), &format!("top-1, best package{against}"));
        }
        if let Some(agreement) = eval.agreement {
            tiles += &tile(
                &per_cent(agreement),
                "same decision as the original, best package",
            );
        }
    }
    let density = variants
        .iter()
        .filter_map(|variant| variant.pack.as_ref())
        .map(|pack| pack.density);
    let sparsest = density.fold(1.0, f64::min);
    if sparsest < 0.995 {
        tiles += &tile(
            &per_cent(100.0 * (1.0 - sparsest)),
            "of weights are zero, at most",
        );
    }
    let arena = variants
        .iter()
        .filter_map(|variant| variant.arena_bytes())
        .min();
    if let Some(arena) = arena {
        tiles += &tile(&human_bytes(arena), "of memory to run, at least");
    }
    format!("<div class=\"tiles\">\n{tiles}</div>\n")
}

pub(super) fn tile(value: &str, what: &str) -> String {
    format!(
        "<div class=\"tile\"><b>{}</b><span>{}</span></div>\n",
        escape(value),
        escape(what)
    )
}

/// A table; cells are text, the first of each row a heading. Columns of words are to the left,
/// of numbers to the right.
pub(super) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let classes: Vec<&str> = (0..header.len())
        .map(|column| class(rows, column))
        .collect();
    let mut html = String::from("<div class=\"scroll\"><table>\n<thead><tr>");
    for (cell, class) in header.iter().zip(&classes) {
        let _ = write!(html, "<th scope=\"col\"{class}>{}</th>", escape(cell));
    }
    html += "</tr></thead>\n<tbody>\n";
    for row in rows {
        html += "<tr>";
        for (i, (cell, class)) in row.iter().zip(&classes).enumerate() {
            let cell = escape(cell);
            let _ = match i {
                0 => write!(html, "<th scope=\"row\" title=\"{cell}\">{cell}</th>"),
                _ => write!(html, "<td{class}>{cell}</td>"),
            };
        }
        html += "</tr>\n";
    }
    html + "</tbody>\n</table></div>\n"
}

fn class(rows: &[Vec<String>], column: usize) -> &'static str {
    let mut cells = rows.iter().filter_map(|row| row.get(column));
    let words = cells.any(|cell| cell.starts_with(|c: char| c.is_ascii_alphabetic()));
    if words { " class=\"words\"" } else { "" }
}

fn summary(variants: &[&Variant]) -> String {
    let header = [
        "package",
        "size",
        "of source",
        "non-zero",
        "removed channels",
        "arena",
        "top-1",
        "top-5",
        "agreement",
        "SQNR",
    ];
    let rows: Vec<Vec<String>> = variants
        .iter()
        .map(|variant| {
            let (pack, eval) = (variant.pack.as_ref(), variant.eval.as_ref());
            let share = |value: Option<f64>| value.map_or_else(none, per_cent);
            vec![
                variant.label.clone(),
                human_bytes(variant.package_bytes),
                share(share_of_source(variant)),
                share(pack.map(|pack| 100.0 * pack.density)),
                pack.map_or_else(none, |pack| pack.removed_channels.to_string()),
                variant.arena_bytes().map_or_else(none, human_bytes),
                share(eval.and_then(|eval| eval.top1)),
                share(eval.and_then(|eval| eval.top5)),
                share(eval.and_then(|eval| eval.agreement)),
                eval.and_then(|eval| eval.sqnr_db)
                    .map_or_else(none, |db| format!("{db:.1} dB")),
            ]
        })
        .collect();
    table(&header, &rows)
}

/// Accuracy against size, for two or more packages that were scored.
fn accuracy(variants: &[&Variant]) -> String {
    let top1 = points(variants, |variant| variant.eval.as_ref()?.top1);
    let agreement = points(variants, |variant| variant.eval.as_ref()?.agreement);
    let (points, what) = match (
        top1.len() >= agreement.len(),
        top1.len().max(agreement.len()),
    ) {
        (_, 0 | 1) => return String::new(),
        (true, _) => (top1, "Top-1 accuracy"),
        (false, _) => (agreement, "Agreement with the original"),
    };
    let original = variants
        .iter()
        .find_map(|variant| variant.eval.as_ref()?.original_top1)
        .filter(|_| what == "Top-1 accuracy")
        .map(|top1| (top1, format!("original {}", per_cent(top1))));
    let samples = variants
        .iter()
        .find_map(|variant| Some(variant.eval.as_ref()?.samples));
    let explanation = format!(
        "{what} on {} samples, by the length of the file on flash. The device runtime itself computed it.",
        samples.unwrap_or(0)
    );
    let x_text = |x: f64| human_bytes(x as u64);
    let plot = Plot {
        label: "accuracy against size",
        points: &points,
        reference: original,
        x: Axis::FromZero,
        y_most: 100.0,
    };
    card(
        "Accuracy against size",
        &explanation,
        &chart::scatter(&plot, x_text, per_cent),
    )
}

fn points(variants: &[&Variant], score: impl Fn(&Variant) -> Option<f64>) -> Vec<Point> {
    variants
        .iter()
        .enumerate()
        .filter_map(|(series, variant)| {
            let y = score(variant)?;
            Some(Point {
                x: variant.package_bytes as f64,
                y,
                name: variant.label.clone(),
                text: format!("{}, {}", human_bytes(variant.package_bytes), per_cent(y)),
                series,
                is_named: true,
            })
        })
        .collect()
}

/// Rows by layer name in order of first mention. Each variant's layers are a series.
fn rows_by_layer<'a>(
    variants: &[&'a Variant],
    layers: impl Fn(&'a Variant) -> Vec<(&'a str, f64)>,
    text: impl Fn(f64) -> String,
) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (series, variant) in variants.iter().enumerate() {
        for (name, value) in layers(variant) {
            let bar = Bar {
                series,
                value,
                text: text(value),
            };
            match rows.iter_mut().find(|row| row.name == name) {
                Some(row) => row.bars.push(bar),
                None => rows.push(Row {
                    name: name.to_owned(),
                    bars: vec![bar],
                }),
            }
        }
    }
    chart::largest_rows(rows, text)
}

fn labels(variants: &[&Variant]) -> Vec<String> {
    variants
        .iter()
        .map(|variant| variant.label.clone())
        .collect()
}

fn bytes_by_layer(variants: &[&Variant]) -> String {
    let rows = rows_by_layer(
        variants,
        |variant| {
            let layers = variant.pack.iter().flat_map(|pack| &pack.layers);
            layers
                .map(|layer| (layer.name.as_str(), layer.bytes as f64))
                .collect()
        },
        |bytes| human_bytes(bytes as u64),
    );
    if rows.is_empty() {
        return String::new();
    }
    let chart = chart::legend(&labels(variants)) + &chart::bars(&rows);
    card(
        "Bytes by layer",
        "Weights, scales and biases as they lie in the file, in order of execution.",
        &chart,
    )
}

/// Boards in order of first mention.
fn board_names<'a>(variants: &[&'a Variant]) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for bench in variants.iter().flat_map(|variant| &variant.benches) {
        if !names.contains(&bench.board.as_str()) {
            names.push(&bench.board);
        }
    }
    names
}

fn bench_on<'a>(variant: &'a Variant, board: &str) -> Option<&'a Bench> {
    variant.benches.iter().find(|bench| bench.board == board)
}

const EMULATED: &str = "Times of emulated boards are the emulator's on the machine that ran it: they compare layers and \
    packages, and say nothing of a board's real speed.";

fn explain_times(benches: &[&Bench]) -> &'static str {
    let emulated = benches.iter().any(|bench| bench.emulated);
    if emulated {
        EMULATED
    } else {
        "Median of one inference."
    }
}

/// Times of real machines, exact instruction counts of emulated cores, and a table of all.
fn boards(variants: &[&Variant]) -> String {
    let boards = board_names(variants);
    if boards.is_empty() {
        return String::new();
    }
    let times = board_chart(variants, &boards, micros, |bench| {
        (!bench.emulated).then_some(bench.latency_us.p50)
    });
    let counts = board_chart(
        variants,
        &boards,
        |count| human_count(count as u64),
        |bench| bench.instructions_per_inference.map(|count| count as f64),
    );
    let mut body = chart::legend(&labels(variants));
    for (title, chart) in [
        ("Median time of one inference", times),
        (
            "Instructions of one inference, counted on emulated cores",
            counts,
        ),
    ] {
        if let Some(chart) = chart {
            let _ = write!(body, "<h3>{title}</h3>\n{chart}");
        }
    }
    let benches: Vec<&Bench> = variants
        .iter()
        .flat_map(|variant| &variant.benches)
        .collect();
    card(
        "Speed by board",
        explain_times(&benches),
        &(body + &board_table(variants)),
    )
}

/// Bars by board, one series a package, of a value that some records have.
fn board_chart(
    variants: &[&Variant],
    boards: &[&str],
    text: impl Fn(f64) -> String,
    value: impl Fn(&Bench) -> Option<f64>,
) -> Option<String> {
    let bar = |series: usize, variant: &Variant, board: &str| {
        let value = value(bench_on(variant, board)?)?;
        Some(Bar {
            series,
            value,
            text: text(value),
        })
    };
    let rows: Vec<Row> = boards
        .iter()
        .map(|board| Row {
            name: (*board).to_owned(),
            bars: variants
                .iter()
                .enumerate()
                .filter_map(|(series, variant)| bar(series, variant, board))
                .collect(),
        })
        .filter(|row| !row.bars.is_empty())
        .collect();
    (!rows.is_empty()).then(|| chart::bars(&rows))
}

fn board_table(variants: &[&Variant]) -> String {
    let header = [
        "package",
        "board",
        "core",
        "runs",
        "min",
        "p50",
        "p90",
        "p99",
        "instructions",
    ];
    let benches = variants
        .iter()
        .flat_map(|variant| variant.benches.iter().map(|bench| (&variant.label, bench)));
    let rows: Vec<Vec<String>> = benches
        .map(|(label, bench)| {
            let times = &bench.latency_us;
            let mut row = vec![label.clone(), bench.place(), bench.cpu.clone()];
            row.push(bench.runs.to_string());
            row.extend([times.min, times.p50, times.p90, times.p99].map(micros));
            row.push(
                bench
                    .instructions_per_inference
                    .map_or_else(none, human_count),
            );
            row
        })
        .collect();
    table(&header, &rows)
}

fn latency_by_layer(variants: &[&Variant]) -> String {
    let charts: String = board_names(variants)
        .iter()
        .enumerate()
        .map(|(i, board)| latency_on(variants, board, i == 0))
        .collect();
    match charts.as_str() {
        "" => String::new(),
        charts => {
            let benches: Vec<&Bench> = variants.iter().flat_map(|v| &v.benches).collect();
            card("Latency by layer", explain_times(&benches), charts)
        }
    }
}

fn latency_on(variants: &[&Variant], board: &str, open: bool) -> String {
    let rows = rows_by_layer(
        variants,
        |variant| {
            let layers = bench_on(variant, board)
                .into_iter()
                .flat_map(|bench| &bench.layers);
            layers
                .map(|layer| (layer.name.as_str(), layer.us))
                .collect()
        },
        micros,
    );
    if rows.is_empty() {
        return String::new();
    }
    let open = if open { " open" } else { "" };
    format!(
        "<details{open}><summary>{}</summary>\n{}{}</details>\n",
        escape(board),
        chart::legend(&labels(variants)),
        chart::bars(&rows)
    )
}

fn losses(variants: &[&Variant]) -> String {
    let evals = variants
        .iter()
        .filter_map(|variant| Some((&variant.label, variant.eval.as_ref()?)));
    let rows: Vec<Vec<String>> = evals
        .flat_map(|(label, eval)| eval.layers.iter().take(5).map(move |layer| (label, layer)))
        .map(|(label, layer)| {
            let sqnr = format!("{:.1} dB", layer.sqnr_db);
            vec![label.clone(), layer.name.clone(), layer.op.clone(), sqnr]
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    card(
        "Layers that lose most",
        "Signal to quantization noise of the layer's output against the original network, everything before it included.",
        &table(&["package", "layer", "operator", "SQNR"], &rows),
    )
}

fn layer_tables(variants: &[&Variant]) -> String {
    let tables: String = variants
        .iter()
        .filter_map(|variant| layer_table(variant))
        .collect();
    match tables.as_str() {
        "" => String::new(),
        tables => card("Every layer", "", tables),
    }
}

fn layer_table(variant: &Variant) -> Option<String> {
    let pack = variant.pack.as_ref()?;
    let rows: Vec<Vec<String>> = pack
        .layers
        .iter()
        .map(|layer| {
            vec![
                layer.name.clone(),
                layer.encoding.clone(),
                human_bytes(layer.bytes),
                format!("{:.2}", layer.bits_per_weight),
                per_cent(100.0 * layer.density),
                if layer.kept_float { "f32" } else { "int8" }.to_owned(),
            ]
        })
        .collect();
    let header = [
        "layer",
        "encoding",
        "bytes",
        "bits per weight",
        "non-zero",
        "computes in",
    ];
    Some(format!(
        "<details><summary>{}</summary>\n{}</details>\n",
        escape(&variant.label),
        table(&header, &rows)
    ))
}
