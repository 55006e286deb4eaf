//! The board whose latency `inspect` and `pack` predict.

use super::board::BoardArg;
use crate::Error;
use crate::bench::HOST;
use crate::latency::{Experience, Prediction, layers};
use edgeprune_format::Manifest;

/// Which board, and on how many threads.
#[derive(Debug, clap::Args)]
pub(super) struct LatencyArgs {
    /// Predict the latency on this board, from what was measured there (see `edgeprune learn`); `host` is this machine.
    #[arg(long, value_name = "BOARD")]
    board: Option<String>,
    /// Predict it for so many threads.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "board", value_parser = clap::value_parser!(u64).range(1..=16))]
    threads: u64,
}

impl LatencyArgs {
    /// Whether a board is named.
    pub(super) fn is_asked(&self) -> bool {
        self.board.is_some()
    }

    /// What is expected of a package, if a board is named.
    pub(super) fn predict(&self, manifest: &Manifest<'_>) -> Result<Option<Prediction>, Error> {
        let Some(name) = &self.board else {
            return Ok(None);
        };
        let (id, peak) = match name.as_str() {
            HOST => (HOST.to_owned(), None),
            name => {
                let BoardArg { board } = name.parse().map_err(Error::Usage)?;
                let peak = board.peak_int8_macs_per_second();
                (board.id, Some(peak))
            }
        };
        let experience = Experience::read(&id)?;
        Ok(Some(experience.predict(
            &id,
            peak,
            self.threads,
            &layers(manifest),
        )))
    }
}
