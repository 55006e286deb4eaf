//! How small packages are, and how accurate.

use super::chart::{self, Axis, Bar, Plot, Point};
use super::layers::rows_by_layer;
use super::model::folded_tables;
use super::parts::card;
use crate::cli::output::human_bytes;
use crate::report::text::per_cent;
use crate::report::{Variant, tables};

/// Accuracy against size, for two or more packages that were scored.
pub(super) fn accuracy(variants: &[&Variant]) -> String {
    let top1 = points(variants, |variant| variant.eval.as_ref()?.top1);
    let agreement = points(variants, |variant| variant.eval.as_ref()?.agreement);
    let (points, what) = match top1.len() >= agreement.len() {
        true => (top1, "Top-1 accuracy"),
        false => (agreement, "Agreement with the original"),
    };
    if points.len() < 2 {
        return String::new();
    }
    let is_top1 = what == "Top-1 accuracy";
    let original = variants
        .iter()
        .find_map(|variant| variant.eval.as_ref()?.original_top1.filter(|_| is_top1));
    let samples = variants
        .iter()
        .find_map(|variant| Some(variant.eval.as_ref()?.samples));
    let explanation = format!(
        "{what} on {} samples, by the length of the file on flash. The device runtime itself computed it.",
        samples.unwrap_or(0)
    );
    card(
        "Accuracy against size",
        &explanation,
        &plot(&points, original),
    )
}

fn plot(points: &[Point], original: Option<f64>) -> String {
    let x = Axis::from_zero(points.iter().map(|point| point.x));
    let original = original.map(|top1| {
        let line = vec![[x.high(), top1], [x.low(), top1]];
        (line, format!("original {}", per_cent(top1)))
    });
    let ys = points.iter().map(|point| point.y);
    let references = original.as_ref().map(|(line, _)| line[0][1]);
    let plot = Plot {
        label: "accuracy against size",
        points,
        is_joined: true,
        x,
        y: Axis::around(ys.chain(references), 100.0),
        references: original.as_slice(),
    };
    chart::scatter(&plot, |x| human_bytes(x as u64), per_cent)
}

fn points(variants: &[&Variant], score: impl Fn(&Variant) -> Option<f64>) -> Vec<Point> {
    let scored = variants
        .iter()
        .enumerate()
        .filter_map(|(series, variant)| Some((series, variant, score(variant)?)));
    scored
        .map(|(series, variant, y)| Point {
            x: variant.package_bytes as f64,
            y,
            name: variant.label.clone(),
            text: format!("{}, {}", human_bytes(variant.package_bytes), per_cent(y)),
            series,
            is_named: true,
            is_hollow: false,
        })
        .collect()
}

/// Where the bytes are.
pub(super) fn bytes_by_layer(variants: &[&Variant]) -> String {
    let text = |bytes| human_bytes(bytes as u64);
    let layers = variants.iter().enumerate().flat_map(|(series, variant)| {
        let layers = variant.pack.iter().flat_map(|pack| &pack.layers);
        layers.map(move |layer| {
            let bar = Bar {
                series,
                value: layer.bytes as f64,
                whisker: None,
                text: human_bytes(layer.bytes),
            };
            (layer.name.as_str(), bar)
        })
    });
    let rows = rows_by_layer(layers, text);
    if rows.is_empty() {
        return String::new();
    }
    let labels: Vec<String> = variants
        .iter()
        .map(|variant| variant.label.clone())
        .collect();
    let chart = chart::legend(&labels) + &chart::bars("Bytes by layer", &rows);
    card(
        "Bytes by layer",
        "Weights, scales and biases as they lie in the file, in order of execution.",
        &chart,
    )
}

/// The layers of every package.
pub(super) fn stored(variants: &[&Variant]) -> String {
    let tables = variants
        .iter()
        .filter_map(|variant| Some((variant.label.as_str(), tables::stored(variant)?)));
    folded_tables("How every layer is stored", tables.collect())
}

/// What int8 would have lost, of every package.
pub(super) fn kept_float(variants: &[&Variant]) -> String {
    let tables = variants
        .iter()
        .filter_map(|variant| Some((variant.label.as_str(), tables::kept_float(variant)?)));
    folded_tables("What stays in single precision, and why", tables.collect())
}
