//! The `edgeprune` command: see [`edgeprune::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    edgeprune::cli::main()
}
