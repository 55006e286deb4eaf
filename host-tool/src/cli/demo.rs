//! `edgeprune demo`.

use crate::Error;

/// Pack, score and benchmark the network that comes with edgeprune.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

impl Args {
    pub(super) fn run(self) -> Result<(), Error> {
        Err(Error::Usage("`demo` is not in this build".into()))
    }
}
