//! Puts the package into the program, and the program where the board's memory is.

use std::env;
use std::path::Path;

#[path = "../linux/build.rs"]
mod package;

const BOARDS: [&str; 3] = ["raspi3", "raspi4", "virt"];

fn main() -> Result<(), String> {
    package::main()?;
    let folder = env::var("CARGO_MANIFEST_DIR").map_err(|cause| cause.to_string())?;
    let (folder, board) = (Path::new(&folder), board()?);
    let memory = folder.join("boards").join(board);
    println!("cargo::rerun-if-changed=layout.ld");
    println!("cargo::rerun-if-changed={}", memory.display());
    println!("cargo::rustc-link-arg-bins=-L{}", memory.display());
    println!(
        "cargo::rustc-link-arg-bins=-T{}",
        folder.join("layout.ld").display()
    );
    Ok(())
}

/// The board whose feature is on.
fn board() -> Result<&'static str, String> {
    let is_on = |board: &&str| {
        env::var_os(format!("CARGO_FEATURE_{}", board.to_ascii_uppercase())).is_some()
    };
    match BOARDS.into_iter().filter(is_on).collect::<Vec<_>>()[..] {
        [board] => Ok(board),
        _ => Err(format!("one of these features must be on: {BOARDS:?}")),
    }
}
