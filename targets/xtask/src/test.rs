//! Every check that a change must pass, cheapest first.
//!
//! Tests that need real networks, a toolchain, an emulator, a browser or a broker are marked as ignored, so that a plain
//! `cargo test` counts them as such. Set-up has installed all of it but the networks: here they run.

use crate::bare;
use crate::setup;
use crate::shell::{Failure, Step};

/// Names the folder of real networks.
const ZOO: &str = "EDGEPRUNE_ZOO";
/// Modules whose ignored tests need it.
const NEED_ZOO: [&str; 3] = ["accuracy::", "import::", "zoo::"];
/// The module whose tests need a browser.
const NEED_BROWSER: &str = "report::browser::";
/// With these features everything is tested; without them it is linted.
const FEATURES: &str = "edgeprune-tests/serial,edgeprune-tests/xz";
/// The server is tested once more with this one.
const MQTT: &str = "edgeprune-device/mqtt";

/// Runs them all, and stops at the first that fails.
pub(crate) fn run() -> Result<(), Failure> {
    Step::cargo(["fmt", "--all", "--check"]).run()?;
    bare::check()?;
    Step::cargo(["clippy", "--release", "--workspace", "--all-targets"])
        .args(["--", "-D", "warnings"])
        .run()?;
    cargo_test(&["--no-run"], &[])?;
    let skipped = skipped();
    if skipped.is_empty() {
        cargo_test(&[], &["--include-ignored"])?;
    } else {
        cargo_test(&[], &[])?; // counts what is not asked for below as ignored
        let skipped = skipped.iter().flat_map(|tests| ["--skip", *tests]);
        let needy: Vec<&str> = ["--ignored"].into_iter().chain(skipped).collect();
        cargo_test(&["--tests"], &needy)?;
    }
    let serve = ["--features", MQTT, "--test", "serve"];
    cargo_test(&serve, &["--include-ignored"])?;
    bare::emulated_tests()?;
    eprintln!("all checks passed");
    Ok(())
}

/// Modules of ignored tests that lack what they need. In CI nothing may be but the networks.
fn skipped() -> Vec<&'static str> {
    let mut skipped = Vec::new();
    if std::env::var_os(ZOO).is_none() {
        eprintln!("real networks are not tested: {ZOO} names no folder of them");
        skipped.extend(NEED_ZOO);
    }
    if !setup::has_browser() && std::env::var_os("CI").is_none() {
        skipped.push(NEED_BROWSER);
    }
    skipped
}

/// `cargo test` of the workspace, with arguments for cargo and for the test programs. What is selected decides how shared
/// dependencies are compiled, so it is always the workspace.
fn cargo_test(cargo: &[&str], programs: &[&str]) -> Result<(), Failure> {
    Step::cargo(["test", "--release", "--workspace", "--features", FEATURES])
        .args(cargo.iter().copied())
        .args(["--"])
        .args(programs.iter().copied())
        .run()
}
