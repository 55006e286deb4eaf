//! `cargo xtask setup | demo | test | bare`: what a newcomer and CI run. Says what it does, stops at the
//! first thing that fails.

mod bare;
mod setup;
mod shell;
mod test;

use shell::{Failure, Step};
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  setup   install what is missing to build for the boards and to emulate them
  demo    setup, then pack, score and benchmark the demo network into edgeprune-demo/
  test    setup, then every check: tests, kernels on an emulated core, format, lints, builds without std
  bare    only the last: build the runtime for boards without an operating system
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["setup"] => setup::run(),
        ["demo", rest @ ..] => setup::run().and_then(|()| demo(rest)),
        ["bare"] => setup::for_tests().and_then(|()| bare::check()),
        ["test"] => with_durations(|| setup::for_tests().and_then(|()| test::run())),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(message)) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a task, then shows how long its steps took.
fn with_durations(task: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    let result = task();
    eprint!("{}", shell::durations());
    result
}

fn demo(rest: &[&str]) -> Result<(), Failure> {
    let mut run = Step::cargo(["run", "--release", "-p", "edgeprune", "--", "demo"]);
    if !rest.iter().any(|word| *word == "-o" || *word == "--output") {
        run = run.args(["-o", "edgeprune-demo"]);
    }
    run.args(rest.iter().copied()).run()
}
