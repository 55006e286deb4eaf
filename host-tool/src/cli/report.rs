//! `edgeprune report`.

use super::output;
use crate::Error;
use crate::report::{Report, html, text};
use std::path::PathBuf;

/// Join results into one report.
///
/// Reads what `pack`, `eval`, `curve` and `bench` write with --json, and packages (.epk). Records
/// about the same package are joined. Prints a summary; -o writes one self-contained HTML file.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// JSON records and packages.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// HTML file to write.
    #[arg(short, long, value_name = "HTML")]
    output: Option<PathBuf>,
    /// Print the joined records as JSON.
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self) -> Result<(), Error> {
        let report = Report::read(&self.files)?;
        if self.json {
            output::print_json(&report)?;
        } else {
            output::print(&text::render(&report))?;
        }
        if let Some(path) = &self.output {
            output::write_file(path, html::render(&report).as_bytes())?;
            output::note(format!("wrote {}", path.display()));
        }
        Ok(())
    }
}
