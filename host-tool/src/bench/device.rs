//! What a machine that runs the device binary can do, however it is reached.

use crate::Error;
use crate::build::tail;
use edgeprune_device::{BenchOptions, BenchReport, LayerDigest, RunReport};
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Lines of a failed program's message that an error repeats.
const TAIL_LINES: usize = 15;

/// A word of a job's command line.
#[derive(Clone, Debug)]
pub(super) enum Word<'a> {
    Text(String),
    /// A file of this machine.
    File(&'a Path),
}

impl From<&str> for Word<'_> {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// A machine with the device binary.
pub(super) trait Device {
    /// Its name, for messages.
    fn name(&self) -> &str;

    /// The device binary, on this machine.
    fn binary(&self) -> &Path;

    /// Runs the device binary with these arguments, and returns what it printed.
    fn output(&self, words: &[Word<'_>]) -> Result<String, Error>;

    /// Measures.
    fn bench(&self, package: &Path, options: BenchOptions) -> Result<BenchReport, Error> {
        let mut words = vec!["bench".into(), Word::File(package)];
        words.extend(bench_words(options).into_iter().map(Word::Text));
        self.json(&words)
    }

    /// Runs samples, a file for each input of the network.
    fn run(&self, package: &Path, inputs: &[PathBuf]) -> Result<RunReport, Error> {
        self.json(&words("run", package, inputs))
    }

    /// Runs one of the samples, with a digest of every layer's output.
    fn layers(
        &self,
        package: &Path,
        inputs: &[PathBuf],
        sample: usize,
    ) -> Result<Vec<LayerDigest>, Error> {
        let mut words = words("layers", package, inputs);
        words.extend(["--sample".into(), Word::Text(sample.to_string())]);
        self.json(&words)
    }

    /// What a job printed, read as JSON.
    fn json<T: DeserializeOwned>(&self, words: &[Word<'_>]) -> Result<T, Error> {
        let text = self.output(words)?;
        serde_json::from_str(&text).map_err(|cause| {
            Error::Toolchain(format!(
                "the device binary of {} answered something else than its report: {cause}",
                self.name()
            ))
        })
    }
}

fn words<'a>(job: &str, package: &'a Path, inputs: &'a [PathBuf]) -> Vec<Word<'a>> {
    let mut words = vec![job.into(), Word::File(package)];
    for input in inputs {
        words.extend(["--input".into(), Word::File(input)]);
    }
    words
}

/// The device binary's options for a benchmark.
fn bench_words(options: BenchOptions) -> Vec<String> {
    let mut numbers = vec![
        ("--runs", u128::from(options.runs)),
        ("--warm-up", options.warm_up.into()),
        ("--threads", options.threads.into()),
    ];
    let seconds = |time: Duration| time.as_millis().div_ceil(1000);
    numbers.extend(options.duration.map(|time| ("--duration", seconds(time))));
    let deadline = options.deadline.map(|time| time.as_micros());
    numbers.extend(deadline.map(|time| ("--deadline", time)));
    let words = numbers.iter();
    words
        .flat_map(|(option, number)| [(*option).to_owned(), number.to_string()])
        .collect()
}

/// The end of what a failed program said.
pub(super) fn last_words(stderr: &[u8]) -> String {
    tail(&String::from_utf8_lossy(stderr), TAIL_LINES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_numbers_for_the_device() {
        let words = bench_words(BenchOptions {
            duration: Some(Duration::from_millis(1500)),
            deadline: Some(Duration::from_millis(50)),
            ..BenchOptions::default()
        });
        let text = words.join(" ");
        assert!(
            text.ends_with("--threads 1 --duration 2 --deadline 50000"),
            "{text}"
        );
    }
}
