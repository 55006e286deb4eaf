//! The command under test: cargo gives integration tests the path of their own package's binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    edgeprune::cli::main()
}
