//! The boards that edgeprune knows, as data: one TOML file a board, one a toolchain.
//!
//! A board says what its cores can do, how to build for it and how to emulate it. Adding one is
//! adding a file; a user's own file goes through the same checks with [`Board::from_toml`].
//!
//! ```
//! let board = edgeprune_boards::find("rpi4")?;
//! assert_eq!(board.cpu.core, "cortex-a72");
//! assert!(board.toolchain().is_some());
//! # Ok::<(), edgeprune_boards::UnknownBoard>(())
//! ```

mod catalogue;
mod schema;

pub use catalogue::{UnknownBoard, all, find, toolchain};
pub use schema::{
    Bare, BareToolchain, Board, BoardError, Build, Cache, Cpu, Debian, Emulator, Feature, Small,
    Toolchain,
};
