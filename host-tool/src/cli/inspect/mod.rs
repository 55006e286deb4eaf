//! `edgeprune inspect`.

mod model;
mod package;
mod xz;

use super::data::{DATA_HELP, load_model, read};
use super::latency::LatencyArgs;
use super::output;
use crate::Error;
use std::path::PathBuf;

/// Show what a model or a package holds.
///
/// A model (ONNX, TFLite): inputs, outputs, parameters, multiply-accumulates, dead channels, weights
/// that are there twice, each layer, and what of it can run in int8. A package (.epk): each layer with
/// its encoding, bytes and density, the memory it needs, and how it was calibrated.
#[derive(Debug, clap::Args)]
#[command(after_long_help = DATA_HELP)]
pub(super) struct Args {
    /// The model or package.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Run the imported network beside the source (models only), and fail if an output differs by
    /// more than 1e-4 of its range.
    #[arg(long)]
    verify: bool,
    /// Samples for --verify; without it, synthetic inputs.
    #[arg(long, value_name = "PATH", requires = "verify")]
    data: Option<PathBuf>,
    /// How images become inputs. Without it, the TOML file beside the model with the model's name.
    #[arg(long, value_name = "TOML", requires = "verify")]
    input_spec: Option<PathBuf>,
    /// Samples that --verify runs.
    #[arg(long, value_name = "N", default_value_t = 4, requires = "verify", value_parser = super::at_least_one)]
    samples: usize,
    /// Beside the bytes of each entropy-coded tensor, show what `xz -9` makes of the same codes, one
    /// stream a tensor (packages only; cargo feature `xz`).
    #[arg(long, conflicts_with = "verify")]
    xz: bool,
    #[command(flatten)]
    latency: LatencyArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self) -> Result<(), Error> {
        let bytes = read(&self.file)?;
        if bytes.starts_with(&edgeprune_format::MAGIC) {
            if self.verify {
                let cause = "--verify compares a model's import with the model; score a package with `edgeprune eval --against`";
                return Err(Error::Usage(cause.into()));
            }
            let seen = package::inspect(&self.file, &bytes, self.xz, &self.latency)?;
            return self.print(&seen, package::text);
        }
        if self.xz {
            let cause = "--xz compares a package's coding with xz's, and this is no package: make one with `edgeprune pack`";
            return Err(Error::Usage(format!("{}: {cause}", self.file.display())));
        }
        if self.latency.is_asked() {
            let cause = "--board predicts a package's latency, and this is no package: make one with `edgeprune pack`";
            return Err(Error::Usage(format!("{}: {cause}", self.file.display())));
        }
        drop(bytes);
        let graph = load_model(&self.file)?;
        let mut seen = model::inspect(&graph);
        if self.verify {
            let source = model::Samples {
                data: self.data.as_deref(),
                spec: self.input_spec.as_deref(),
                count: self.samples,
            };
            seen.verification = Some(model::verify(&self.file, &graph, &source)?);
        }
        self.print(&seen, model::text)?;
        seen.check(&self.file)
    }

    fn print<T: serde::Serialize>(
        &self,
        seen: &T,
        text: impl Fn(&T) -> String,
    ) -> Result<(), Error> {
        if self.json {
            return output::print_json(seen);
        }
        output::print(&text(seen))
    }
}
