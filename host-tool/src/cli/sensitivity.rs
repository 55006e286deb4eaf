//! `edgeprune sensitivity`.

use super::cache::CacheArgs;
use super::data::{DATA_HELP, ModelArgs};
use super::write::check_outputs;
use super::{output, size};
use crate::Error;
use crate::graph::find_redundant;
use crate::pack::{Source, Study};
use crate::progress::Progress;
use crate::report::html;
use crate::report::record::Sensitivity;
use crate::sensitivity::{csv, describe, text};
use std::path::PathBuf;

/// Show where a network's bytes are, what each layer's errors cost, and what is free to remove.
///
/// For each layer with weights: its bytes in int8, how much of its noise arrives at the network's
/// output, and the loss at 8 to 2 bits for a weight. With --max-size also the level that `pack` plans
/// for it, its share of the file, and the loss for each byte saved next. Then the layers that hold the
/// budget up, the size that no package goes below, dead and constant channels, weights that are there twice,
/// and layers of zeros. Nothing is packed: bytes and losses are the planner's forecasts.
#[derive(Debug, clap::Args)]
#[command(after_long_help = DATA_HELP)]
pub(super) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Also plan a package of at most that: 25MB, 800kB, 1.5MiB or plain bytes.
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    max_size: Option<u64>,
    /// Write the layers to a CSV file, a line each.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write one self-contained HTML file.
    #[arg(short, long, value_name = "HTML")]
    output: Option<PathBuf>,
    #[command(flatten)]
    cache: CacheArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self) -> Result<(), Error> {
        let outputs = self.csv.iter().chain(&self.output);
        check_outputs(outputs.map(PathBuf::as_path), &self.model.files())?;
        let seen = self.measure()?;
        if let Some(path) = &self.csv {
            output::write_text(path, &csv(&seen))?;
        }
        if let Some(path) = &self.output {
            output::write_text(path, &html::sensitivity(&seen))?;
        }
        if self.json {
            return output::print_json(&seen);
        }
        output::print(&text(&seen))
    }

    fn measure(&self) -> Result<Sensitivity, Error> {
        let (graph, spec, samples) = self.model.open()?;
        let redundant = find_redundant(&graph);
        let source = Source::new(graph, &samples)?;
        let cache = self.cache.open();
        let study = Study::new(&source, None, spec.as_ref(), &cache, &Progress::Terminal)?;
        describe(&study, self.max_size, redundant)
    }
}
