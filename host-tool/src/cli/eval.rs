//! `edgeprune eval`.

use crate::Error;

/// Score a package on labelled data.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

impl Args {
    pub(super) fn run(self) -> Result<(), Error> {
        Err(Error::Usage("`eval` is not in this build".into()))
    }
}
