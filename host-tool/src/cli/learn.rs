//! `edgeprune learn`.

use super::output;
use crate::Error;
use crate::latency::Experience;
use crate::report::record::{Bench, Record};
use std::path::PathBuf;

/// Learn a board's speed from benchmarks, to predict that of other packages.
///
/// Reads what `bench --json` wrote. `bench --host` does this by itself. What was learnt is kept in your data folder
/// (EDGEPRUNE_BOARDS names another), and serves `inspect --board` and `pack --board`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Records of benchmarks.
    #[arg(required = true, value_name = "JSON")]
    records: Vec<PathBuf>,
}

impl Args {
    pub(super) fn run(self) -> Result<(), Error> {
        for path in &self.records {
            let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
            let records = Record::all_from_json(&text).map_err(|cause| Error::data(path, cause))?;
            for record in records {
                let Record::Bench(record) = record else {
                    return Err(Error::data(path, "no record of `edgeprune bench`"));
                };
                if !learn(&record)? {
                    let cause = "an emulator's times, or a record of an older edgeprune, say nothing of a board";
                    return Err(Error::data(path, cause));
                }
                output::note(format!(
                    "learnt from {} on {}",
                    record.identity.model, record.board
                ));
            }
        }
        Ok(())
    }
}

/// Keeps a measurement; whether it taught anything.
pub(super) fn learn(record: &Bench) -> Result<bool, Error> {
    let mut experience = Experience::read(&record.board)?;
    let taught = experience.learn(record);
    if taught {
        experience.write(&record.board)?;
    }
    Ok(taught)
}
