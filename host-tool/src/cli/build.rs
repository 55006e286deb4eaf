//! `edgeprune build`.

use crate::Error;

/// Cross-compile a device binary for a board.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

impl Args {
    pub(super) fn run(self) -> Result<(), Error> {
        Err(Error::Usage("`build` is not in this build".into()))
    }
}
