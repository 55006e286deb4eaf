//! The report as CSV (RFC 4180): one row a run, for spreadsheets and scripts.
//!
//! The header is always the same; columns are added at the end, never renamed. Times are in microseconds, lengths in
//! bytes, accuracies in per cent, energy in joules. What is not known is empty: so are the times of emulated runs, which
//! are not the board's.

use super::record::{Bench, Condition, Eval, OnDevice};
use super::run::Run;
use super::{Figure, Report};

/// A column's name and cell.
type Column = (&'static str, fn(&Run<'_>) -> String);

const COLUMNS: [Column; 47] = [
    ("model", |run| run.variant.model().into()),
    ("package", |run| run.variant.identity.package.clone()),
    ("package_hash", |run| {
        run.variant.identity.package_hash.clone()
    }),
    ("board", |run| any(run, |bench| Some(bench.board.clone()))),
    ("cpu", |run| any(run, |bench| Some(bench.cpu.clone()))),
    ("emulated", |run| any(run, |bench| Some(bench.emulated))),
    ("threads", |run| any(run, |bench| Some(bench.threads))),
    ("kernels", |run| {
        any(run, |bench| Some(bench.kernels.clone()))
    }),
    ("host", |run| any(run, |bench| bench.host.clone())),
    ("tool", |run| any(run, |bench| Some(bench.tool.clone()))),
    ("binary_sha256", |run| {
        any(run, |bench| bench.binary_sha256.clone())
    }),
    ("warm_up", |run| any(run, |bench| Some(bench.warm_up))),
    ("runs", |run| any(run, |bench| Some(bench.runs))),
    ("min_us", |run| {
        real(run, |bench| Some(bench.latency_us.min))
    }),
    ("p50_us", |run| figure(run, Figure::P50)),
    ("p90_us", |run| figure(run, Figure::P90)),
    ("p99_us", |run| figure(run, Figure::P99)),
    ("max_us", |run| figure(run, Figure::Max)),
    ("mean_us", |run| real(run, |bench| bench.latency_us.mean)),
    ("cold_us", |run| figure(run, Figure::Cold)),
    ("instructions", |run| figure(run, Figure::Instructions)),
    ("package_bytes", |run| figure(run, Figure::Size)),
    ("source_bytes", |run| cell(run.variant.source_bytes())),
    ("arena_bytes", |run| figure(run, Figure::Arena)),
    ("process_peak_bytes", |run| figure(run, Figure::Memory)),
    ("process_planned_bytes", |run| {
        real(run, |bench| Some(bench.resident?.planned_bytes))
    }),
    ("deadline_us", |run| {
        real(run, |bench| Some(bench.deadline?.us))
    }),
    ("deadline_misses", |run| {
        real(run, |bench| Some(bench.deadline?.misses))
    }),
    ("joules_per_inference", |run| figure(run, Figure::Energy)),
    ("watts", |run| {
        real(run, |bench| Some(bench.energy.as_ref()?.watts))
    }),
    ("top1", |run| scored(run, |eval| eval.top1)),
    ("top5", |run| scored(run, |eval| eval.top5)),
    ("agreement", |run| scored(run, |eval| eval.agreement)),
    ("sqnr_db", |run| scored(run, |eval| eval.sqnr_db)),
    ("device_samples", |run| {
        sampled(run, |seen| Some(seen.samples))
    }),
    ("device_top1", |run| sampled(run, |seen| seen.top1)),
    ("device_different", |run| {
        sampled(run, |seen| Some(seen.different.len()))
    }),
    ("governor", |run| {
        real(run, |bench| bench.machine.as_ref()?.governor.clone())
    }),
    ("clock_before_mhz", |run| {
        before(run, |condition| condition.clock_mhz)
    }),
    ("clock_after_mhz", |run| {
        after(run, |condition| condition.clock_mhz)
    }),
    ("temperature_before_celsius", |run| {
        before(run, |condition| condition.temperature_celsius)
    }),
    ("temperature_after_celsius", |run| {
        after(run, |condition| condition.temperature_celsius)
    }),
    ("throttled_after", |run| {
        after(run, |condition| condition.throttled)
    }),
    ("output_sha256", |run| {
        any(run, |bench| Some(bench.output_sha256.clone()))
    }),
    ("matches_host", |run| any(run, |bench| bench.matches_host)),
    ("doubts", |run| run.doubts().join("; ")),
    ("expected_us", |run| cell(run.expected_us())),
];

/// The whole document.
pub fn render(report: &Report) -> String {
    let header = COLUMNS.map(|(name, _)| name.to_owned());
    let runs = report.runs();
    let rows = runs.iter().map(|run| COLUMNS.map(|(_, cell)| cell(run)));
    document(std::iter::once(header).chain(rows))
}

/// Rows of cells as RFC 4180 has them.
pub(crate) fn document(rows: impl Iterator<Item = impl IntoIterator<Item = String>>) -> String {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    for row in rows {
        writer.write_record(row).expect("memory takes every row");
    }
    let bytes = writer.into_inner().expect("memory takes every byte");
    String::from_utf8(bytes).expect("every cell is text")
}

fn cell(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

fn figure(run: &Run<'_>, figure: Figure) -> String {
    cell(figure.of(run))
}

fn any<T: ToString>(run: &Run<'_>, value: impl FnOnce(&Bench) -> Option<T>) -> String {
    cell(run.bench.and_then(value))
}

fn real<T: ToString>(run: &Run<'_>, value: impl FnOnce(&Bench) -> Option<T>) -> String {
    cell(run.real().and_then(value))
}

fn before<T: ToString>(run: &Run<'_>, value: impl FnOnce(Condition) -> Option<T>) -> String {
    real(run, |bench| value(bench.before))
}

fn after<T: ToString>(run: &Run<'_>, value: impl FnOnce(Condition) -> Option<T>) -> String {
    real(run, |bench| value(bench.after))
}

fn scored<T: ToString>(run: &Run<'_>, value: impl FnOnce(&Eval) -> Option<T>) -> String {
    cell(run.variant.eval.as_ref().and_then(value))
}

fn sampled<T: ToString>(run: &Run<'_>, value: impl FnOnce(&OnDevice) -> Option<T>) -> String {
    any(run, |bench| value(bench.on_device.as_ref()?))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{bench, bench_of, of, pack};
    use super::*;
    use std::collections::HashMap;

    fn rows(text: &str) -> Vec<HashMap<String, String>> {
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        reader.deserialize().map(Result::unwrap).collect()
    }

    #[test]
    fn every_run_is_a_row_that_reads_back() {
        let hard = "a \"quoted\", name\nof two lines";
        let mut report = of(vec![
            bench_of("a", "1", |b| b.cpu = hard.into()),
            bench("a", "1", "rpi5"),
            pack("b", "2"),
        ]);
        report.variants[0].identity.package = hard.into();
        let rows = rows(&render(&report));
        assert_eq!(rows.len(), 3);
        assert_eq!((&*rows[0]["cpu"], &*rows[0]["package"]), (hard, hard));
        assert_eq!(&*rows[0]["p50_us"], "100");
        assert_eq!(
            (&*rows[1]["p50_us"], &*rows[1]["instructions"]),
            ("", "123456")
        );
        assert_eq!(
            (&*rows[2]["board"], &*rows[2]["package_bytes"]),
            ("", "1000")
        );
    }

    #[test]
    fn the_header_stays() {
        let text = render(&of(vec![pack("b", "2")]));
        let header = text.split("\r\n").next().unwrap();
        assert!(
            header.starts_with("model,package,package_hash,board,cpu,emulated,threads,kernels,")
        );
        assert!(header.ends_with(",throttled_after,output_sha256,matches_host,doubts,expected_us"));
        assert_eq!(header.split(',').count(), 47);
    }
}
