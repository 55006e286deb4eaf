//! A size-quality curve on a terminal and as CSV.

use super::record::{Curve, CurvePoint, Metric};
use super::text::none;
use crate::cli::output::{human_bytes, table};

/// Columns of the CSV, named as in the JSON.
const CSV_HEADER: &str =
    "max_size,package_bytes,bits_per_weight,density,top1,top5,agreement,divergence,sqnr_db,knee\n";

/// A table with the knee marked, and what was measured.
pub fn render(curve: &Curve) -> String {
    let columns = columns(curve);
    let header: Vec<&str> = columns.iter().map(|column| column.title).collect();
    let row = |point| columns.iter().map(|column| (column.cell)(point)).collect();
    let rows: Vec<Vec<String>> = curve.points.iter().map(row).collect();
    format!(
        "{}\n{}\n{}\n",
        table(&header, &rows),
        measured(curve),
        knee(curve)
    )
}

/// A column of the table.
pub(super) struct Column {
    pub(super) title: &'static str,
    pub(super) cell: fn(&CurvePoint) -> String,
}

/// The columns that have something to say.
pub(super) fn columns(curve: &Curve) -> Vec<Column> {
    let column = |title, cell| Column { title, cell };
    let has =
        |value: fn(&CurvePoint) -> Option<f64>| curve.points.iter().any(|p| value(p).is_some());
    let mut columns = vec![
        column("size", |p| human_bytes(p.package_bytes)),
        column("bytes", |p| p.package_bytes.to_string()),
        column("bits per weight", |p| format!("{:.2}", p.bits_per_weight)),
        column("non-zero", |p| format!("{:.1} %", 100.0 * p.density)),
    ];
    if has(|p| p.top1) {
        columns.push(column("top-1", |p| words(Metric::Top1, p)));
    }
    if has(|p| p.agreement) {
        columns.push(column("agreement", |p| words(Metric::Agreement, p)));
    }
    if has(|p| p.divergence) {
        columns.push(column("divergence", |p| {
            p.divergence
                .map_or_else(none, |nats| format!("{nats:.4} nats"))
        }));
    }
    columns.push(column("SQNR", |p| words(Metric::SqnrDb, p)));
    columns.push(column("", |p| if p.knee { "<- knee" } else { "" }.into()));
    columns
}

fn words(metric: Metric, point: &CurvePoint) -> String {
    point
        .quality(metric)
        .map_or_else(none, |value| metric.words(value))
}

/// What the scores are worth: on which samples, against what.
pub(super) fn measured(curve: &Curve) -> String {
    let (samples, calibration) = (curve.samples, curve.calibration_samples);
    if curve.on_calibration {
        return format!(
            "scored on the {samples} calibration samples themselves, which is optimistic: for an honest \
             figure give other samples with --eval"
        );
    }
    let original = curve.original_top1.map_or_else(String::new, |top1| {
        format!(
            ", where the original has top-1 {}",
            Metric::Top1.words(top1)
        )
    });
    format!(
        "scored on {samples} samples of {}{original}; calibrated on {calibration}",
        curve.data
    )
}

/// The knee in a sentence.
pub(super) fn knee(curve: &Curve) -> String {
    let name = curve.metric.name();
    match curve.knee() {
        Some(point) => format!(
            "knee: {} ({} bytes), {name} {}: beyond it, more bytes buy less",
            human_bytes(point.package_bytes),
            point.package_bytes,
            words(curve.metric, point),
        ),
        None => format!("no knee: over these sizes {name} does not flatten"),
    }
}

/// Comma-separated values, a line a package; what is unknown is empty.
pub fn csv(curve: &Curve) -> String {
    let lines = curve.points.iter().map(csv_line);
    CSV_HEADER.to_owned() + &lines.collect::<String>()
}

fn csv_line(point: &CurvePoint) -> String {
    let scores = [
        point.top1,
        point.top5,
        point.agreement,
        point.divergence,
        point.sqnr_db,
    ];
    let scores: Vec<String> = scores
        .map(|value| value.map_or_else(String::new, |v| v.to_string()))
        .into();
    format!(
        "{},{},{},{},{},{}\n",
        point
            .max_size
            .map_or_else(String::new, |size| size.to_string()),
        point.package_bytes,
        point.bits_per_weight,
        point.density,
        scores.join(","),
        point.knee
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn curve() -> Curve {
        let point = |package_bytes, top1, knee| CurvePoint {
            package_hash: format!("{package_bytes}"),
            max_size: Some(package_bytes + 1),
            package_bytes,
            bits_per_weight: 0.008 * package_bytes as f64,
            density: 0.5,
            top1: Some(top1),
            top5: None,
            agreement: Some(top1 + 2.0),
            divergence: Some(0.125),
            sqnr_db: Some(12.0),
            knee,
        };
        Curve {
            model: "net <1>".into(),
            source_bytes: 40_000,
            weights: 1_000,
            calibration_samples: 64,
            data: "test.npy".into(),
            samples: 500,
            on_calibration: false,
            metric: Metric::Top1,
            original_top1: Some(92.0),
            points: vec![
                point(1_000, 40.0, false),
                point(3_000, 90.0, true),
                point(9_000, 91.5, false),
            ],
        }
    }

    #[test]
    fn the_table_marks_the_knee_once() {
        let text = render(&curve());
        let marked: Vec<&str> = text
            .lines()
            .filter(|line| line.contains("<- knee"))
            .collect();
        assert_eq!(marked.len(), 1, "{text}");
        assert!(marked[0].starts_with("3.0 kB") && marked[0].contains("90.00 %"));
        assert!(text.contains("500 samples of test.npy, where the original has top-1 92.00 %"));
    }

    #[test]
    fn scores_on_the_calibration_samples_are_called_optimistic() {
        let text = render(&Curve {
            on_calibration: true,
            ..curve()
        });
        assert!(
            text.contains("optimistic") && text.contains("--eval"),
            "{text}"
        );
    }

    #[test]
    fn unknown_values_are_empty_in_csv() {
        let csv = csv(&curve());
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(lines[2], "3001,3000,24,0.5,90,,92,0.125,12,true");
        let columns = |line: &str| line.split(',').count();
        assert!(lines.iter().all(|line| columns(line) == columns(lines[0])));
    }
}
