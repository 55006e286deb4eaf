//! `edgeprune pack`.

use crate::Error;

/// Prune, quantize and pack a network.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

impl Args {
    pub(super) fn run(self) -> Result<(), Error> {
        Err(Error::Usage("`pack` is not in this build".into()))
    }
}
