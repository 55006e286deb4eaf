//! The `--board` argument: the name of a built-in board, or a TOML file of the user's own.

use edgeprune_boards::Board;
use std::str::FromStr;

/// A board, from what was typed.
#[derive(Clone, Debug)]
pub(super) struct BoardArg {
    pub(super) board: Board,
}

impl FromStr for BoardArg {
    type Err = String;

    fn from_str(typed: &str) -> Result<Self, String> {
        let board = match typed.ends_with(".toml") {
            true => std::fs::read_to_string(typed)
                .map_err(|cause| format!("{typed}: {cause}"))
                .and_then(|text| {
                    Board::from_toml(&text).map_err(|cause| format!("{typed}: {cause}"))
                })?,
            false => edgeprune_boards::find(typed)
                .cloned()
                .map_err(|unknown| format!("{unknown}, or a TOML file of your own"))?,
        };
        Ok(Self { board })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let message = BoardArg::from_str("no/such.toml").map_or_else(|e| e, |b| b.board.id);
        assert!(message.contains("no/such.toml"), "{message}");
    }
}
