//! The tables of a report, for the terminal, the page and Markdown alike.

use super::Variant;
use super::baseline::{Baseline, Change, Verdict};
use super::figure::{Figure, joules};
use super::provenance::provenance;
use super::record::{Bench, BenchLayer, EvalLayer, Pack};
use super::run::Run;
use super::text::{micros, none, per_cent, share_of_source};
use crate::cli::output::{human_bytes, human_count};
use crate::quantize::FloatActivation;

/// A table; the first cell of each row is the row's heading.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Table {
    pub(super) title: &'static str,
    /// What a reader has to know; may be empty.
    pub(super) explanation: String,
    pub(super) header: Vec<String>,
    pub(super) rows: Vec<Vec<Cell>>,
}

/// A cell's text, and what to think of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) mark: Mark,
}

/// What catches the eye.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// Nothing.
    Plain,
    /// Like the baseline.
    Same,
    /// Better than the baseline.
    Better,
    /// Worse than the baseline, or wrong.
    Worse,
    /// There are doubts about it.
    Doubt,
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self {
            text,
            mark: Mark::Plain,
        }
    }
}

impl Table {
    pub(super) fn new(title: &'static str, header: &[&str], rows: Vec<Vec<Cell>>) -> Self {
        Self {
            title,
            explanation: String::new(),
            header: header.iter().map(|&name| name.to_owned()).collect(),
            rows,
        }
    }

    fn explained(self, explanation: impl Into<String>) -> Self {
        Self {
            explanation: explanation.into(),
            ..self
        }
    }

    /// Without the columns in which no row has anything; nothing without rows or figures.
    fn filled(mut self) -> Option<Self> {
        let is_filled = |column: &usize| {
            let mut cells = self.rows.iter().filter_map(|row| row.get(*column));
            *column == 0 || cells.any(|cell| cell.text != none())
        };
        let kept: Vec<usize> = (0..self.header.len()).filter(is_filled).collect();
        self.header = kept.iter().map(|&i| self.header[i].clone()).collect();
        for row in &mut self.rows {
            *row = kept.iter().map(|&i| row[i].clone()).collect();
        }
        (kept.len() > 1 && !self.rows.is_empty()).then_some(self)
    }
}

/// A row's heading with a mark where the run is in doubt.
fn heading(run: &Run<'_>, runs: &[Run<'_>]) -> Cell {
    let is_doubtful = !run.doubts().is_empty();
    Cell {
        text: run.name_among(runs),
        mark: if is_doubtful {
            Mark::Doubt
        } else {
            Mark::Plain
        },
    }
}

fn or_none<T>(value: Option<T>, words: impl FnOnce(T) -> String) -> Cell {
    value.map_or_else(none, words).into()
}

fn figure(figure: Figure, run: &Run<'_>) -> Cell {
    or_none(figure.of(run), |value| figure.words(value))
}

/// What each package is.
pub(super) fn packages(variants: &[&Variant]) -> Option<Table> {
    let header = [
        "package",
        "size",
        "of source",
        "non-zero",
        "removed channels",
        "arena",
        "expected latency",
        "expected SQNR",
        "top-1",
        "top-5",
        "agreement",
        "SQNR",
    ];
    let rows = variants.iter().map(|variant| package(variant)).collect();
    Table::new("Packages", &header, rows).filled()
}

fn package(variant: &Variant) -> Vec<Cell> {
    let (pack, eval) = (variant.pack.as_ref(), variant.eval.as_ref());
    vec![
        variant.label.clone().into(),
        human_bytes(variant.package_bytes).into(),
        or_none(share_of_source(variant), per_cent),
        or_none(pack, |pack| per_cent(100.0 * pack.density)),
        or_none(pack, |pack| pack.removed_channels.to_string()),
        or_none(variant.arena_bytes(), human_bytes),
        or_none(pack.and_then(expected), |text| text),
        pack.and_then(expected_quality)
            .unwrap_or_else(|| none().into()),
        or_none(eval.and_then(|eval| eval.top1), per_cent),
        or_none(eval.and_then(|eval| eval.top5), per_cent),
        or_none(eval.and_then(|eval| eval.agreement), per_cent),
        or_none(eval.and_then(|eval| eval.sqnr_db), |db| {
            format!("{db:.1} dB")
        }),
    ]
}

/// What `pack --board` expected.
fn expected(pack: &Pack) -> Option<String> {
    let prediction = pack.latency.as_ref()?;
    let us = micros(prediction.us?);
    Some(match prediction.threads {
        1 => format!("{us} on {}", prediction.board),
        threads => format!("{us} on {}, {threads} threads", prediction.board),
    })
}

/// The worst output on the samples that `pack` held out, in doubt where it warned.
fn expected_quality(pack: &Pack) -> Option<Cell> {
    let expected = pack.expected.as_ref()?;
    let outputs = expected.outputs.iter().map(|output| output.sqnr_db);
    let worst = outputs.min_by(f64::total_cmp)?;
    Some(Cell {
        text: format!("{worst:.1} dB"),
        mark: match expected.warnings.is_empty() {
            true => Mark::Plain,
            false => Mark::Doubt,
        },
    })
}

/// What runs are compared by.
const COMPARED: [Figure; 9] = [
    Figure::P50,
    Figure::P99,
    Figure::Cold,
    Figure::Instructions,
    Figure::Size,
    Figure::Arena,
    Figure::Memory,
    Figure::Top1,
    Figure::Energy,
];

/// The figures of runs beside the baseline's, where that has them.
pub(super) fn changes(runs: &[Run<'_>], baseline: &Baseline) -> Option<Table> {
    let names = COMPARED.map(Figure::name);
    let header: Vec<&str> = ["run"].into_iter().chain(names).collect();
    let row = |run: &Run<'_>| {
        let cells = COMPARED.map(|figure| or_change(baseline.change(run, figure)));
        std::iter::once(heading(run, runs)).chain(cells).collect()
    };
    let is_compared = |run: &&Run<'_>| baseline.of(run).is_some() && !baseline.is_itself(run);
    let rows = runs.iter().filter(is_compared).map(row).collect();
    Table::new("Against the baseline", &header, rows)
        .explained(explanation(runs, baseline))
        .filled()
}

fn explanation(runs: &[Run<'_>], baseline: &Baseline) -> String {
    let others = runs.iter().filter(|run| baseline.of(run).is_none());
    let others: Vec<String> = others.map(|run| run.name_among(runs)).collect();
    let noise = per_cent(100.0 * baseline.noise());
    let meaning = format!(
        "The baseline's figure, then this run's. A measured figure that changes by {noise} or less is taken as noise."
    );
    match others.as_slice() {
        [] => meaning,
        others => format!("{meaning} Not in the baseline: {}.", others.join("; ")),
    }
}

fn or_change(change: Option<Change>) -> Cell {
    let Some(change) = change else {
        return none().into();
    };
    let words = |value| change.figure.words(value);
    Cell {
        text: match change.value == change.base {
            true => format!("{} =", words(change.value)),
            false => format!(
                "{} → {} ({})",
                words(change.base),
                words(change.value),
                change.words()
            ),
        },
        mark: match change.verdict {
            Verdict::Same => Mark::Same,
            Verdict::Better => Mark::Better,
            Verdict::Worse => Mark::Worse,
        },
    }
}

/// How fast each run was.
pub(super) fn speed(runs: &[Run<'_>]) -> Option<Table> {
    let header = [
        "run",
        "core",
        "inferences",
        "min",
        "p50",
        "expected",
        "p90",
        "p99",
        "max",
        "cold",
        "instructions",
    ];
    let measured = runs.iter().filter_map(|run| Some((run, run.bench?)));
    let rows = measured.map(|(run, bench)| {
        let mut cells = vec![heading(run, runs), bench.cpu.clone().into()];
        cells.push(or_none(run.real(), |bench| bench.runs.to_string()));
        cells.push(or_none(run.real(), |bench| micros(bench.latency_us.min)));
        cells.push(figure(Figure::P50, run));
        cells.push(or_none(run.expected_us(), |us| {
            let error = 100.0 * (us / bench.latency_us.p50 - 1.0);
            format!("{} ({error:+.1} %)", micros(us))
        }));
        cells.extend(
            [
                Figure::P90,
                Figure::P99,
                Figure::Max,
                Figure::Cold,
                Figure::Instructions,
            ]
            .map(|which| figure(which, run)),
        );
        cells
    });
    Table::new("Speed", &header, rows.collect()).filled()
}

/// Deadlines, memory, energy and what samples gave, where they were measured.
pub(super) fn device(runs: &[Run<'_>]) -> Option<Table> {
    let header = [
        "run",
        "arena",
        "process at most",
        "planned",
        "deadline",
        "missed",
        "energy per inference",
        "power",
        "meter",
        "samples",
        "top-1 there",
        "outputs like the host's",
    ];
    let measured = runs.iter().filter_map(|run| Some((run, run.bench?)));
    let rows = measured.map(|(run, bench)| {
        let mut cells = vec![heading(run, runs), human_bytes(bench.arena_bytes).into()];
        cells.extend(of_machine(run.real()));
        cells.extend(of_output(bench));
        cells
    });
    Table::new(
        "Deadline, memory, energy, accuracy on the device",
        &header,
        rows.collect(),
    )
    .filled()
}

/// What only a real machine tells.
fn of_machine(real: Option<&Bench>) -> [Cell; 7] {
    let deadline = real.and_then(|bench| bench.deadline);
    let resident = real.and_then(|bench| bench.resident);
    let energy = real.and_then(|bench| bench.energy.as_ref());
    [
        or_none(resident, |resident| human_bytes(resident.peak_bytes)),
        or_none(resident, |resident| human_bytes(resident.planned_bytes)),
        or_none(deadline, |deadline| micros(deadline.us)),
        real.map_or_else(|| none().into(), missed),
        or_none(energy, |energy| joules(energy.joules_per_inference)),
        or_none(energy, |energy| format!("{:.2} W", energy.watts)),
        or_none(energy, |energy| energy.meter.clone()),
    ]
}

/// What an emulator tells too.
fn of_output(bench: &Bench) -> [Cell; 3] {
    let samples = bench.on_device.as_ref();
    [
        or_none(samples, |samples| samples.samples.to_string()),
        or_none(samples.and_then(|samples| samples.top1), per_cent),
        exactness(bench),
    ]
}

fn missed(bench: &Bench) -> Cell {
    let Some(deadline) = bench.deadline else {
        return none().into();
    };
    let share = 100.0 * deadline.misses as f64 / bench.runs.max(1) as f64;
    Cell {
        text: format!("{} of {} ({share:.2} %)", deadline.misses, bench.runs),
        mark: if deadline.misses == 0 {
            Mark::Plain
        } else {
            Mark::Worse
        },
    }
}

fn exactness(bench: &Bench) -> Cell {
    let differ = bench
        .on_device
        .as_ref()
        .map(|on| (on.different.len(), &on.first_layer));
    let wrong = |text: String| Cell {
        text,
        mark: Mark::Worse,
    };
    match (differ, bench.matches_host) {
        (Some((count @ 1.., first)), _) => {
            let from = first.as_ref();
            let from = from.map_or_else(String::new, |layer| format!(", from {layer} on"));
            wrong(format!("{count} samples differ{from}"))
        }
        (_, Some(false)) => wrong("they differ".into()),
        (None, None) => none().into(),
        _ => "bit for bit".to_owned().into(),
    }
}

/// A column a run: what it ran on, in what condition, with what.
pub(super) fn origins(runs: &[Run<'_>]) -> Option<Table> {
    let measured: Vec<(&Run<'_>, &Bench)> = runs
        .iter()
        .filter_map(|run| Some((run, run.bench?)))
        .collect();
    let names = measured.iter().map(|(run, _)| run.name_among(runs));
    let header: Vec<String> = std::iter::once("what".to_owned()).chain(names).collect();
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let rows = provenance().into_iter().map(|(title, of)| {
        let cells = measured
            .iter()
            .map(|(_, bench)| or_none(of(bench), |text| text));
        std::iter::once(title.to_owned().into())
            .chain(cells)
            .collect()
    });
    let filled = |row: &Vec<Cell>| row.iter().skip(1).any(|cell| cell.text != none());
    let rows: Vec<Vec<Cell>> = rows.filter(filled).collect();
    (!measured.is_empty()).then(|| Table::new("Where the figures come from", &header, rows))
}

/// The layers of a run: time or instructions, and what that is of the most the core can do.
pub(super) fn layers(run: &Run<'_>) -> Option<Table> {
    let bench = run.bench?;
    let header = [
        "layer",
        "operator",
        "kernel",
        "MACs",
        "instructions",
        "time",
        "share",
        "MACs per instruction",
        "MACs/s",
        "of peak",
    ];
    let rows = bench
        .layers
        .iter()
        .map(|layer| measured_layer(bench, layer));
    Table::new("Layers", &header, rows.collect()).filled()
}

fn measured_layer(bench: &Bench, layer: &BenchLayer) -> Vec<Cell> {
    let rate = bench.macs_per_second(layer);
    let per_instruction = |count: u64| format!("{:.2}", layer.macs as f64 / count.max(1) as f64);
    vec![
        layer.name.clone().into(),
        layer.op.clone().into(),
        or_none(
            Some(&layer.kernel).filter(|name| !name.is_empty()),
            Clone::clone,
        ),
        human_count(layer.macs).into(),
        or_none(layer.instructions, human_count),
        or_none(bench.layer_time(layer), micros),
        or_none(bench.layer_share(layer), |share| per_cent(100.0 * share)),
        or_none(layer.instructions, per_instruction),
        or_none(rate, |rate| human_count(rate as u64)),
        or_none(rate.zip(bench.peak()), |(rate, peak)| {
            format!("{:.0} %", 100.0 * rate / peak)
        }),
    ]
}

/// The layers that lose most, some of each package.
pub(super) fn losses(variants: &[&Variant], each: usize) -> Option<Table> {
    let evals = variants
        .iter()
        .filter_map(|variant| Some((&variant.label, variant.eval.as_ref()?)));
    let row = |label: &String, layer: &EvalLayer| {
        let sqnr = format!("{:.1} dB", layer.sqnr_db);
        [label.clone(), layer.name.clone(), layer.op.clone(), sqnr]
            .map(Cell::from)
            .to_vec()
    };
    let rows = evals.flat_map(|(label, eval)| {
        let worst = eval.layers.iter().take(each);
        worst.map(move |layer| row(label, layer))
    });
    let header = ["package", "layer", "operator", "SQNR"];
    Table::new("Layers that lose most", &header, rows.collect())
        .explained(
            "Signal to quantization noise of the layer's output against the original network, everything before it \
             included.",
        )
        .filled()
}

/// What stays in single precision because int8 would lose it.
pub(super) fn kept_float(variant: &Variant) -> Option<Table> {
    let kept = &variant.pack.as_ref()?.kept_float;
    let row = |activation: &FloatActivation| {
        vec![
            activation.name.clone().into(),
            activation.reason.clone().into(),
        ]
    };
    let rows = kept.iter().map(row).collect();
    Table::new("Activations in f32", &["activation", "why"], rows).filled()
}

/// The layers of a package.
pub(super) fn stored(variant: &Variant) -> Option<Table> {
    let header = [
        "layer",
        "encoding",
        "bytes",
        "of the file",
        "bits per weight",
        "non-zero",
        "computes in",
    ];
    let rows = variant.pack.as_ref()?.layers.iter().map(|layer| {
        vec![
            layer.name.clone().into(),
            layer.encoding.clone().into(),
            human_bytes(layer.bytes).into(),
            per_cent(100.0 * layer.bytes as f64 / variant.package_bytes.max(1) as f64).into(),
            format!("{:.2}", layer.bits_per_weight).into(),
            per_cent(100.0 * layer.density).into(),
            if layer.kept_float { "f32" } else { "int8" }
                .to_owned()
                .into(),
        ]
    });
    Table::new("Every layer", &header, rows.collect()).filled()
}
