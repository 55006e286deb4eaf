//! `edgeprune boards`.

use super::output;
use crate::Error;
use edgeprune_boards::Board;

/// List the boards that edgeprune knows.
///
/// Wherever a command takes --board, a name or alias of this list serves, or the path of a TOML file of your own in the
/// form of edgeprune's `boards/*.toml`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self) -> Result<(), Error> {
        let boards = edgeprune_boards::all();
        if self.json {
            return output::print_json(&boards);
        }
        let rows: Vec<Vec<String>> = boards.iter().map(row).collect();
        let header = [
            "board", "name", "core", "cores", "MHz", "memory", "kernels", "aliases",
        ];
        output::print(&output::table(&header, &rows))
    }
}

fn row(board: &Board) -> Vec<String> {
    let memory = match board.ram_mib.as_slice() {
        [one] => format!("{one} MiB"),
        [least, .., most] => format!("{least} to {most} MiB"),
        [] => String::new(),
    };
    vec![
        board.id.clone(),
        board.name.clone(),
        board.cpu.core.clone(),
        board.cpu.cores.to_string(),
        board.cpu.clock_mhz.to_string(),
        memory,
        board.kernels().to_owned(),
        board.aliases.join(", "),
    ]
}
