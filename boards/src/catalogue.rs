//! The boards and toolchains that are built in.

use crate::schema::{Board, Toolchain};
use std::sync::LazyLock;

const BOARDS: [&str; 15] = [
    include_str!("../rpi-zero2w.toml"),
    include_str!("../rpi-3a-plus.toml"),
    include_str!("../rpi-3b-plus.toml"),
    include_str!("../rpi-4b.toml"),
    include_str!("../rpi-cm4.toml"),
    include_str!("../rpi-5.toml"),
    include_str!("../rpi-500.toml"),
    include_str!("../rpi-2b.toml"),
    include_str!("../rpi-3b-plus-32.toml"),
    include_str!("../rock-5b.toml"),
    include_str!("../orange-pi-5.toml"),
    include_str!("../beaglebone-ai64.toml"),
    include_str!("../rpi3-bare.toml"),
    include_str!("../rpi4-bare.toml"),
    include_str!("../virt-bare.toml"),
];

const TOOLCHAINS: [&str; 3] = [
    include_str!("../toolchains/aarch64-unknown-linux-gnu.toml"),
    include_str!("../toolchains/armv7-unknown-linux-gnueabihf.toml"),
    include_str!("../toolchains/aarch64-unknown-none.toml"),
];

static ALL_BOARDS: LazyLock<Vec<Board>> = LazyLock::new(|| BOARDS.map(built_in_board).into());

static ALL_TOOLCHAINS: LazyLock<Vec<Toolchain>> =
    LazyLock::new(|| TOOLCHAINS.map(built_in_toolchain).into());

/// Every board that is built in.
pub fn all() -> &'static [Board] {
    &ALL_BOARDS
}

/// The board with this id or alias, in any case.
///
/// # Errors
/// No such board: the error lists those that exist.
pub fn find(name: &str) -> Result<&'static Board, UnknownBoard> {
    let lower = name.to_ascii_lowercase();
    all()
        .iter()
        .find(|board| board.answers_to(&lower))
        .ok_or_else(|| UnknownBoard {
            name: name.to_owned(),
        })
}

/// The toolchain of a triple.
pub fn toolchain(triple: &str) -> Option<&'static Toolchain> {
    ALL_TOOLCHAINS.iter().find(|t| t.triple == triple)
}

/// A name that no board has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no board is called `{name}`; there are {}", listing())]
pub struct UnknownBoard {
    /// What was asked for.
    pub name: String,
}

fn listing() -> String {
    let line = |board: &Board| match board.aliases.first() {
        Some(alias) => format!("{} ({alias})", board.id),
        None => board.id.clone(),
    };
    all().iter().map(line).collect::<Vec<_>>().join(", ")
}

// The files are part of this crate, and a test reads each: a wrong one is a defect, not an input.
fn built_in_board(text: &str) -> Board {
    Board::from_toml(text).unwrap_or_else(|error| panic!("built-in board: {error}"))
}

fn built_in_toolchain(text: &str) -> Toolchain {
    toml::from_str(text).unwrap_or_else(|error| panic!("built-in toolchain: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::path::{Path, PathBuf};

    fn files(folder: &str) -> std::io::Result<Vec<String>> {
        std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder))?
            .map(|entry| entry.map(|e| e.path()))
            .filter(|path| {
                path.as_ref().is_ok_and(|path| {
                    path.extension().is_some_and(|e| e == "toml") && !path.ends_with("Cargo.toml")
                })
            })
            .map(|path: std::io::Result<PathBuf>| std::fs::read_to_string(path?))
            .collect()
    }

    #[test]
    fn every_shipped_file_is_valid_and_built_in() -> std::io::Result<()> {
        let boards = files(".")?;
        assert_eq!(boards.len(), all().len());
        for text in boards {
            let board = Board::from_toml(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
            assert_eq!(find(&board.id), Ok(&board));
        }
        assert_eq!(files("toolchains")?.len(), ALL_TOOLCHAINS.len());
        Ok(())
    }

    #[test]
    fn no_two_boards_share_a_name() {
        let mut names = HashSet::new();
        for board in all() {
            for name in board.aliases.iter().chain([&board.id]) {
                assert!(names.insert(name), "{name} is taken");
            }
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_list() {
        let message = find("rpi-9").map_or_else(|e| e.to_string(), |b| b.id.clone());
        assert!(message.contains("`rpi-9`"), "{message}");
        for board in all() {
            assert!(message.contains(&board.id), "{message}");
        }
    }

    #[test]
    fn every_file_names_its_sources() -> std::io::Result<()> {
        for text in files(".")? {
            assert!(
                text.starts_with("# ") && text.contains("https://"),
                "{text}"
            );
        }
        Ok(())
    }
}
