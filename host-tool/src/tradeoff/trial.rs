//! One package of a size, and its score.

use super::Samples;
use crate::Error;
use crate::eval::{Opened, Original, score};
use crate::pack::{Packed, Study};
use crate::progress::Progress;
use crate::report::record::Eval;
use std::path::Path;

/// Packs and scores a network at any size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trials<'a> {
    pub(super) study: &'a Study<'a>,
    pub(super) original: &'a Original<'a>,
    pub(super) samples: Samples<'a>,
    pub(super) progress: &'a Progress,
}

/// A package and its score.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    /// The limit that it was packed to.
    pub(super) max_size: Option<u64>,
    pub(super) packed: Packed,
    /// Against the original.
    pub(super) eval: Eval,
}

impl Trial {
    /// Length of the file.
    pub(super) fn bytes(&self) -> u64 {
        self.packed.bytes.len() as u64
    }
}

impl Trials<'_> {
    /// Packs to at most `max_size` bytes and scores.
    ///
    /// # Errors
    /// A size that cannot be met, samples that do not decode.
    pub(super) fn run(&self, max_size: Option<u64>) -> Result<Trial, Error> {
        let packed = self.study.pack(max_size)?;
        let name = format!("{}.epk", self.original.graph().name);
        let opened = Opened::new(Path::new(&name), &packed.bytes)?;
        let data = self.samples.judging();
        let eval = score(&opened, data, Some(self.original), self.progress)?;
        Ok(Trial {
            max_size,
            packed,
            eval,
        })
    }

    /// As [`Self::run`]; `None` for a size that cannot be met.
    ///
    /// # Errors
    /// Samples that do not decode.
    pub(super) fn run_if_it_fits(&self, max_size: u64) -> Result<Option<Trial>, Error> {
        match self.run(Some(max_size)) {
            Ok(trial) => Ok(Some(trial)),
            Err(Error::Budget(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
