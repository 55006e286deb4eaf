//! `edgeprune build`.

use super::board::BoardArg;
use super::output;
use super::write::check_outputs;
use crate::build::Jobs;
use crate::{Error, build};
use serde::Serialize;
use std::path::PathBuf;

/// Cross-compile a device binary for a board.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Packages whose operators the binary has; without any it has all. One package becomes part of the binary,
    /// else the binary takes a package's path on the board. A board without an operating system takes one.
    #[arg(value_name = "MODEL.epk")]
    packages: Vec<PathBuf>,
    /// The board's name or TOML file.
    #[arg(long, value_name = "BOARD")]
    board: BoardArg,
    #[command(flatten)]
    jobs: Jobs,
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
        check_outputs([self.output.as_path()], &self.packages)?;
        output::note(format!("building for {}", board.name));
        let triple = build::device_binary(board, &self.packages, self.jobs, &self.output)?;
        let binary_bytes = std::fs::metadata(&self.output)
            .map_err(Error::io(&self.output))?
            .len();
        if self.json {
            return output::print_json(&Built {
                board: &board.id,
                triple,
                binary: &self.output,
                binary_bytes,
            });
        }
        if let Some(small) = &build::toolchain(board)?.small
            && small.triple != triple
        {
            output::note(format!(
                "`rustup target add {}` makes the next one smaller",
                small.triple
            ));
        }
        output::print(&format!(
            "{}: {} for {} ({triple}), {}\n",
            self.output.display(),
            output::human_bytes(binary_bytes),
            board.name,
            if board.bare.is_some() {
                "image"
            } else {
                "static"
            }
        ))
    }
}
