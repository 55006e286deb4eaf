//! `edgeprune inspect`.

use crate::Error;

/// Show what a model or a package holds.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

impl Args {
    pub(super) fn run(self) -> Result<(), Error> {
        Err(Error::Usage("`inspect` is not in this build".into()))
    }
}
