//! `edgeprune doctor`.

use crate::Error;

/// Say what is missing for a board, and the command that fixes it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

impl Args {
    pub(super) fn run(self) -> Result<(), Error> {
        Err(Error::Usage("`doctor` is not in this build".into()))
    }
}
