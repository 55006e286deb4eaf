//! `edgeprune report`.

use super::output;
use super::write::check_outputs;
use crate::Error;
use crate::report::baseline::Baseline;
use crate::report::fail_on::{Rule, check};
use crate::report::{Report, csv, html, markdown, text};
use std::path::{Path, PathBuf};

/// Join results into one report, compare them with a baseline, fail where they are worse.
///
/// Reads what `pack`, `eval`, `curve` and `bench` write with --json (one record or an array of them), and packages (.epk).
/// Records about the same package are joined; of two measurements a later one replaces an earlier only where board,
/// processor, threads, kernels, host and version are the same. Prints a summary; -o writes it whole.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// JSON records and packages.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// File to write, by its extension: .html (one self-contained page), .md (for a pull request) or .csv (a row a run).
    /// Can be given several times.
    #[arg(short, long, value_name = "FILE", value_parser = Output::parse)]
    output: Vec<Output>,
    /// Records to compare with: better and worse figures are marked. Can be given several times.
    #[arg(long, value_name = "FILE")]
    baseline: Vec<PathBuf>,
    /// Change of a measured figure that is taken as noise when runs are compared with the baseline.
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = share, requires = "baseline")]
    noise: f64,
    /// Fail (exit code 1) where a run meets this condition, as `p50>+5%` or `top1<-0.5` (against the baseline), `p99>20ms` or
    /// `size>25MB`. Figures: p50, p90, p99, max, cold, instructions, size, arena, memory, top1, energy. Can be given several times.
    #[arg(long, value_name = "CONDITION")]
    fail_on: Vec<Rule>,
    /// Print the joined records as JSON.
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self) -> Result<(), Error> {
        let outputs = self.output.iter().map(|output| output.path.as_path());
        check_outputs(outputs, &[&self.files[..], &self.baseline].concat())?;
        let report = Report::read(&self.files)?;
        let baseline = match self.baseline.as_slice() {
            [] => None,
            files => Some(Baseline::read(files, self.noise)?),
        };
        let baseline = baseline.as_ref();
        if self.json {
            output::print_json(&report)?;
        } else {
            output::print(&text::render(&report, baseline))?;
        }
        for output in &self.output {
            output::write_text(&output.path, &output.render(&report, baseline))?;
        }
        if let Some(baseline) = baseline {
            note_strangers(&report, baseline);
        }
        check(&self.fail_on, &report, baseline)
    }
}

/// What cannot be compared is not passed over in silence.
fn note_strangers(report: &Report, baseline: &Baseline) {
    for run in report.runs() {
        if baseline.of(&run).is_none() {
            output::note(format!(
                "{}: nothing in the baseline is like it",
                run.label()
            ));
        }
    }
}

/// A file to write and its form.
#[derive(Clone, Debug)]
struct Output {
    path: PathBuf,
    form: Form,
}

#[derive(Clone, Copy, Debug)]
enum Form {
    Html,
    Markdown,
    Csv,
}

impl Output {
    fn parse(text: &str) -> Result<Self, String> {
        let path = PathBuf::from(text);
        let form = match extension(&path).as_str() {
            "html" | "htm" => Form::Html,
            "md" | "markdown" => Form::Markdown,
            "csv" => Form::Csv,
            _ => return Err("want a name that ends in .html, .md or .csv".into()),
        };
        Ok(Self { path, form })
    }

    fn render(&self, report: &Report, baseline: Option<&Baseline>) -> String {
        match self.form {
            Form::Html => html::render(report, baseline),
            Form::Markdown => markdown::render(report, baseline),
            Form::Csv => csv::render(report),
        }
    }
}

fn extension(path: &Path) -> String {
    let extension = path.extension().unwrap_or_default();
    extension.to_string_lossy().to_ascii_lowercase()
}

/// A share in per cent, as `5%`.
fn share(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim();
    let valid = number
        .parse()
        .ok()
        .filter(|share| (0.0..=100.0).contains(share));
    let share: f64 = valid.ok_or("want a share of 0% to 100%")?;
    Ok(share / 100.0)
}
