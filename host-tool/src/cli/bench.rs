//! `edgeprune bench`.

use crate::Error;

/// Measure a package's speed on this machine or a board.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

impl Args {
    pub(super) fn run(self) -> Result<(), Error> {
        Err(Error::Usage("`bench` is not in this build".into()))
    }
}
