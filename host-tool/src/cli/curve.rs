//! `edgeprune curve`.

use super::cache::CacheArgs;
use super::data::{DATA_HELP, EvalArgs, ModelArgs};
use super::write::check_outputs;
use super::{output, size};
use crate::Error;
use crate::progress::Progress;
use crate::report::record::Curve;
use crate::report::{self, html};
use crate::tradeoff::{Samples, Sizes, curve};
use std::path::PathBuf;

/// Measure size against quality: packages of many sizes from one calibration.
///
/// Every package is really made, and scored by the device runtime against the original network:
/// top-1 where there are labels, agreement and divergence of the class probabilities. Without
/// --eval the calibration samples serve, which flatters. Marks the knee, where more bytes stop paying: the
/// point furthest above the straight line between the ends of the curve, size by its logarithm (Kneedle).
#[derive(Debug, clap::Args)]
#[command(after_long_help = DATA_HELP)]
pub(super) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    eval: EvalArgs,
    /// Number of sizes, evenly spaced by their logarithm up to the package without a limit.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = at_least_two)]
    points: usize,
    /// These sizes instead: 1MB,800kB,1.5MiB or plain bytes.
    #[arg(long, value_name = "SIZE,SIZE,...", value_delimiter = ',', conflicts_with = "points", value_parser = size::parse)]
    sizes: Option<Vec<u64>>,
    #[command(flatten)]
    cache: CacheArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// CSV file to write.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// HTML file with charts to write.
    #[arg(short, long, value_name = "HTML")]
    output: Option<PathBuf>,
}

/// Parses a count of two or more: one point is no curve.
fn at_least_two(text: &str) -> Result<usize, String> {
    match super::at_least_one(text) {
        Ok(count) if count >= 2 => Ok(count),
        _ => Err("want a whole number of 2 or more".into()),
    }
}

impl Args {
    pub(super) fn run(self) -> Result<(), Error> {
        let files = self.model.files().into_iter().chain(self.eval.files());
        let outputs = self.csv.iter().chain(&self.output);
        check_outputs(outputs.map(PathBuf::as_path), &files.collect::<Vec<_>>())?;
        let curve = self.measure()?;
        for (path, text) in [
            (&self.csv, report::curve::csv(&curve)),
            (&self.output, html::curve(&curve)),
        ] {
            if let Some(path) = path {
                output::write_text(path, &text)?;
            }
        }
        if self.json {
            return output::print_json(&curve);
        }
        output::print(&report::curve::render(&curve))
    }

    fn measure(&self) -> Result<Curve, Error> {
        let (graph, spec, calibration) = self.model.open()?;
        let spec = spec.as_ref();
        let evaluation = self.eval.open(spec, &graph.inputs)?;
        let samples = Samples {
            calibration: &calibration,
            evaluation: evaluation.as_ref(),
            spec,
            cache: &self.cache.open(),
        };
        curve(&graph, self.sizes(), samples, &Progress::Terminal)
    }

    fn sizes(&self) -> Sizes {
        match &self.sizes {
            Some(sizes) => Sizes::Given(sizes.clone()),
            None => Sizes::Even(self.points),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::at_least_two;

    #[test]
    fn one_point_is_no_curve() {
        assert_eq!(at_least_two("2"), Ok(2));
        for text in ["1", "0", "-3", "many"] {
            assert!(at_least_two(text).is_err(), "{text}");
        }
    }
}
