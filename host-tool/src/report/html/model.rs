//! Everything about one model, in the order in which a reader asks.

use super::parts::{card, filled, folded, table_card, tile};
use super::{escape, layers, packages, roofline, speed, sustained};
use crate::cli::output::{human_bytes, human_count};
use crate::report::baseline::Baseline;
use crate::report::record::Eval;
use crate::report::run::Run;
use crate::report::text::{micros, per_cent, share_of_source};
use crate::report::{Figure, Variant, tables};

/// The runs of a model with their names; a run's place in the order is its colour in every chart.
pub(super) struct Model<'a> {
    pub(super) variants: &'a [&'a Variant],
    pub(super) runs: Vec<Run<'a>>,
    /// Of the runs; with a sign where there are doubts.
    pub(super) names: Vec<String>,
}

impl<'a> Model<'a> {
    fn new(variants: &'a [&'a Variant]) -> Self {
        let runs: Vec<Run<'a>> = variants.iter().copied().flat_map(Run::all_of).collect();
        let name = |run: &Run<'_>| match run.doubts().as_slice() {
            [] => run.name_among(&runs),
            _ => format!("{} ⚠", run.name_among(&runs)),
        };
        let names = runs.iter().map(name).collect();
        Self {
            variants,
            runs,
            names,
        }
    }

    /// Each run with its colour and name.
    pub(super) fn named(&self) -> impl Iterator<Item = (usize, &Run<'a>, &String)> {
        let pairs = self.runs.iter().zip(&self.names).enumerate();
        pairs.map(|(series, (run, name))| (series, run, name))
    }

    /// The boards, in order of first mention.
    pub(super) fn boards(&self) -> Vec<&'a str> {
        let mut boards: Vec<&str> = Vec::new();
        for bench in self.runs.iter().filter_map(|run| run.bench) {
            if !boards.contains(&bench.board.as_str()) {
                boards.push(&bench.board);
            }
        }
        boards
    }
}

/// The section of a model.
pub(super) fn section(name: &str, variants: &[&Variant], baseline: Option<&Baseline>) -> String {
    let model = Model::new(variants);
    let parts = [
        format!(
            "<h1>{}</h1>\n<p class=\"lead\">{}</p>\n",
            escape(name),
            lead(variants)
        ),
        tiles(&model),
        changes(&model, baseline),
        table_card(tables::packages(variants)),
        packages::accuracy(variants),
        packages::bytes_by_layer(variants),
        speed::card(&model),
        speed::distributions(&model),
        sustained::card(&model),
        table_card(tables::device(&model.runs)),
        layers::charts(&model),
        layers::tables(&model),
        roofline::card(&model),
        table_card(tables::losses(variants, LOSSES)),
        packages::stored(variants),
        packages::kept_float(variants),
        table_card(tables::origins(&model.runs)),
    ];
    format!("<section class=\"model\">\n{}</section>\n", parts.concat())
}

/// Layers that lose most, of each package.
const LOSSES: usize = 5;

/// What became of the baseline's figures.
fn changes(model: &Model<'_>, baseline: Option<&Baseline>) -> String {
    table_card(baseline.and_then(|baseline| tables::changes(&model.runs, baseline)))
}

/// One sentence: how many packages, from what, how large.
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

/// The figures that matter most.
fn tiles(model: &Model<'_>) -> String {
    let tiles = [
        smaller(model.variants),
        least(model, Figure::P50)
            .map(|(us, place)| tile(&micros(us), &format!("median latency, {place}"))),
        least(model, Figure::Instructions).map(|(count, place)| {
            tile(
                &human_count(count as u64),
                &format!("instructions, {place}"),
            )
        }),
        scores(model.variants),
        zeros(model.variants),
        arena(model.variants),
    ];
    let tiles: String = tiles.into_iter().flatten().collect();
    format!("<div class=\"tiles\">\n{tiles}</div>\n")
}

fn smaller(variants: &[&Variant]) -> Option<String> {
    let share = share_of_source(variants.first()?)?;
    let times = format!("{:.1}×", 100.0 / share);
    Some(tile(&times, "smaller than the source, at the tightest"))
}

/// The least value of a figure, and where it was measured.
fn least(model: &Model<'_>, figure: Figure) -> Option<(f64, String)> {
    let values = model
        .named()
        .filter_map(|(_, run, name)| Some((figure.of(run)?, name)));
    let least = values.min_by(|(a, _), (b, _)| a.total_cmp(b))?;
    Some((least.0, least.1.clone()))
}

/// Of the most accurate package.
fn scores(variants: &[&Variant]) -> Option<String> {
    let evals = variants.iter().filter_map(|variant| variant.eval.as_ref());
    let rank = |eval: &Eval| eval.top1.unwrap_or(0.0);
    let best = evals.max_by(|a, b| rank(a).total_cmp(&rank(b)))?;
    let top1 = best.top1.map(|top1| {
        let against = best.original_top1.map_or_else(String::new, |original| {
            format!(", original {}", per_cent(original))
        });
        tile(&per_cent(top1), &format!("top-1, best package{against}"))
    });
    let agreement = best.agreement.map(|share| {
        tile(
            &per_cent(share),
            "same decision as the original, best package",
        )
    });
    Some([top1, agreement].into_iter().flatten().collect())
}

fn zeros(variants: &[&Variant]) -> Option<String> {
    let packs = variants.iter().filter_map(|variant| variant.pack.as_ref());
    let sparsest = packs.map(|pack| pack.density).fold(1.0, f64::min);
    let zeros = per_cent(100.0 * (1.0 - sparsest));
    (sparsest < 0.995).then(|| tile(&zeros, "of weights are zero, at most"))
}

fn arena(variants: &[&Variant]) -> Option<String> {
    let arenas = variants.iter().filter_map(|variant| variant.arena_bytes());
    let least = arenas.min()?;
    Some(tile(&human_bytes(least), "of memory to run, at least"))
}

/// Tables that are closed until a reader opens one.
pub(super) fn folded_tables(title: &str, tables: Vec<(&str, tables::Table)>) -> String {
    let body: String = tables
        .iter()
        .map(|(name, table)| folded(name, false, &filled(table)))
        .collect();
    match body.as_str() {
        "" => String::new(),
        body => card(title, "", body),
    }
}
