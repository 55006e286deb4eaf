//! `edgeprune build`.

use super::board::BoardArg;
use super::output;
use crate::{Error, build};
use serde::Serialize;
use std::path::PathBuf;

/// Cross-compile a device binary for a board.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A package to embed; without it, the binary takes a package's path on the board.
    #[arg(value_name = "MODEL.epk")]
    package: Option<PathBuf>,
    /// The board's name or TOML file.
    #[arg(long, value_name = "BOARD")]
    board: BoardArg,
    /// Where the binary goes.
    #[arg(short, long, value_name = "FILE", default_value = "edgeprune-device")]
    output: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Built<'a> {
    board: &'a str,
    triple: &'a str,
    binary: &'a std::path::Path,
    binary_bytes: u64,
}

impl Args {
    pub(super) fn run(self) -> Result<(), Error> {
        let board = &self.board.board;
        output::note(format!("building the device binary for {}", board.name));
        build::device_binary(board, self.package.as_deref(), &self.output)?;
        let binary_bytes = std::fs::metadata(&self.output)
            .map_err(Error::io(&self.output))?
            .len();
        if self.json {
            return output::print_json(&Built {
                board: &board.id,
                triple: &board.build.triple,
                binary: &self.output,
                binary_bytes,
            });
        }
        output::print(&format!(
            "{}: {} for {} ({}), static\n",
            self.output.display(),
            output::human_bytes(binary_bytes),
            board.name,
            board.build.triple
        ))
    }
}
