//! `edgeprune report` as a user meets it: files, comparisons, exit codes.

use super::records::{bench, long};
use crate::command::command;
use edgeprune::report::record::Bench;
use std::fs;
use std::process::Output;
use tempfile::TempDir;

/// A folder with a run before and after a change.
struct Folder(TempDir);

impl Folder {
    fn new(change: impl FnOnce(&mut Bench)) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let mut after = plain();
        change(&mut after);
        folder.write("before.json", &serde_json::to_string(&plain()).unwrap());
        folder.write("after.json", &serde_json::to_string(&after).unwrap());
        folder
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.path().join(name)).unwrap()
    }

    fn report(&self, arguments: &str) -> Output {
        command()
            .arg("report")
            .args(arguments.split_whitespace())
            .current_dir(self.0.path())
            .output()
            .unwrap()
    }

    /// Runs what must end with that code and say that on stderr.
    fn ends(&self, arguments: &str, code: i32, message: &str) {
        let output = self.report(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments}: {errors}");
        assert!(errors.contains(message), "{arguments}: {errors}");
    }
}

/// A real board's record with names that need no care.
fn plain() -> Bench {
    let mut plain = long(0);
    plain.identity.model = "net".into();
    plain.identity.package = "net.epk".into();
    plain.timeline.clear();
    plain
}

#[test]
fn one_command_writes_every_form() {
    let folder = Folder::new(|_| {});
    folder.ends("after.json -o r.html -o r.MD -o r.csv", 0, "wrote r.csv");
    assert!(folder.read("r.html").starts_with("<!doctype html>"));
    assert!(folder.read("r.MD").starts_with("## net\n"));
    assert!(
        folder
            .read("r.csv")
            .starts_with("model,package,package_hash,")
    );
    folder.ends("after.json -o r.pdf", 2, ".html, .md or .csv");
    assert!(!folder.0.path().join("r.pdf").exists());
}

#[test]
fn a_regression_is_exit_code_1_with_both_values_and_the_report_is_written() {
    let folder = Folder::new(|bench| bench.latency_us.p50 = 110.0);
    let compare = "after.json --baseline before.json -o r.md";
    folder.ends(&format!("{compare} --fail-on p50>+10%"), 0, "wrote r.md");
    folder.ends(
        &format!("{compare} --fail-on p50>+5% --fail-on size>+0%"),
        1,
        "1 condition(s) failed:\n  p50>+5%: net on rpi-4b has 110 µs, the baseline 100 µs (+10.0 %)",
    );
    assert!(
        folder
            .read("r.md")
            .contains("🔴 **100 µs → 110 µs (+10.0 %)**")
    );
    folder.ends(
        "after.json --fail-on p99>0.1ms --fail-on top1<95%",
        1,
        "2 condition(s) failed",
    );
}

#[test]
fn a_condition_that_cannot_be_checked_is_wrong_usage() {
    let folder = Folder::new(|bench| bench.threads = 4);
    for (arguments, message) in [
        ("after.json --fail-on p50>+5%", "needs a --baseline"),
        (
            "after.json --baseline before.json --fail-on p50>+5%",
            "no run has p50 and a counterpart",
        ),
        (
            "before.json --baseline before.json --fail-on p50>+5%",
            "other than itself",
        ),
        (
            "after.json --fail-on instructions>1M",
            "no run has instructions",
        ),
        ("after.json --fail-on p50", "want a figure"),
        ("after.json --fail-on p50>20", "needs a unit"),
        ("after.json --noise 5%", "--baseline"),
        (
            "after.json --baseline before.json --noise much",
            "share of 0% to 100%",
        ),
    ] {
        folder.ends(arguments, 2, message);
    }
    folder.ends(
        "after.json --baseline before.json",
        0,
        "net on rpi-4b, 4 threads: nothing in the baseline is like it",
    );
}

#[test]
fn an_array_of_records_is_read_whole() {
    let folder = Folder::new(|_| {});
    let hosts = ["a.local", "b.local"].map(|host| Bench {
        host: Some(host.into()),
        ..plain()
    });
    folder.write("hosts.json", &serde_json::to_string(&hosts).unwrap());
    folder.ends("hosts.json -o r.csv", 0, "wrote");
    let rows = folder.read("r.csv").lines().count();
    assert_eq!(rows, 1 + hosts.len());
    folder.write(
        "broken.json",
        &format!("[{}, {{}}]", folder.read("after.json")),
    );
    folder.ends("broken.json", 1, "broken.json: record 2: not a record");
}

#[test]
fn emulated_runs_are_held_to_their_instructions_alone() {
    let folder = Folder::new(|_| {});
    let emulated = bench(0, "rpi-5", true);
    folder.write("emulated.json", &serde_json::to_string(&emulated).unwrap());
    folder.ends(
        "emulated.json --fail-on p50>1s",
        2,
        "check their instructions",
    );
    folder.ends("emulated.json --fail-on instructions>0.5M", 1, "has 1.00 M");
}
