//! Every check that a change must pass, cheapest first.

use crate::bare;
use crate::shell::{Failure, Step};

/// Runs them all, and stops at the first that fails.
pub(crate) fn run() -> Result<(), Failure> {
    Step::cargo(["fmt", "--all", "--check"]).run()?;
    bare::check()?;
    Step::cargo(["clippy", "--release", "--workspace", "--all-targets"])
        .args(["--", "-D", "warnings"])
        .run()?;
    Step::cargo(["test", "--release", "--workspace"]).run()?;
    Step::cargo([
        "test",
        "--release",
        "-p",
        "edgeprune-device",
        "--features",
        "mqtt",
        "--test",
        "serve",
    ])
    .run()?;
    bare::emulated_tests()?;
    eprintln!("all checks passed");
    Ok(())
}
