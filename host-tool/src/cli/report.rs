//! `edgeprune report`.

use crate::Error;

/// Join results into one report.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

impl Args {
    pub(super) fn run(self) -> Result<(), Error> {
        Err(Error::Usage("`report` is not in this build".into()))
    }
}
