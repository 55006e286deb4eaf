//! `edgeprune run`.

use crate::Error;

/// Run samples through a package.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

impl Args {
    pub(super) fn run(self) -> Result<(), Error> {
        Err(Error::Usage("`run` is not in this build".into()))
    }
}
