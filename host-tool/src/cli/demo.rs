//! `edgeprune demo`.

use super::output;
use crate::progress::Progress;
use crate::report::text;
use crate::{Error, demo};
use std::path::PathBuf;

/// Pack, score and benchmark the network that comes with edgeprune.
///
/// A small classifier of Fashion-MNIST is packed at three budgets; each package is scored on 500
/// test images and measured on this machine and on the emulated cores of the boards. Packages, JSON
/// records and an HTML report go to a folder.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The folder.
    #[arg(short, long, value_name = "FOLDER", default_value = "edgeprune-demo")]
    output: PathBuf,
    /// Also boot an emulated board with Linux and measure there by ssh, as on a real one.
    #[arg(long)]
    board_vm: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self) -> Result<(), Error> {
        let outcome = demo::run(&self.output, self.board_vm, &Progress::Terminal)?;
        if self.json {
            output::print_json(&outcome.report)?;
        } else {
            output::print(&text::render(&outcome.report, None))?;
        }
        for missing in &outcome.missing {
            output::note(missing);
        }
        output::note(format!("report: {}", outcome.html.display()));
        Ok(())
    }
}
