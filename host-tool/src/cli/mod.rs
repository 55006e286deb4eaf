//! The command line: one file a command, each with `Args` (what was typed) that become the
//! options of a job (what is valid).
//!
//! Results go to stdout, everything else to stderr. Exit code 0 is success, 1 a failed job, 2 bad usage.

mod bench;
mod board;
mod boards;
mod build;
mod cache;
mod curve;
mod data;
mod demo;
mod doctor;
mod eval;
mod inspect;
mod latency;
mod learn;
mod monitor;
pub mod output;
mod pack;
mod report;
mod run;
mod sensitivity;
pub mod size;
pub mod write;

use crate::Error;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Prunes, quantizes and packs trained networks for small ARM boards, to a size you name.
#[derive(Debug, Parser)]
#[command(name = "edgeprune", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Inspect(inspect::Args),
    Sensitivity(sensitivity::Args),
    Pack(pack::Args),
    Eval(eval::Args),
    Curve(curve::Args),
    Run(run::Args),
    Bench(bench::Args),
    Build(build::Args),
    Monitor(monitor::Args),
    Report(report::Args),
    Demo(demo::Args),
    Doctor(doctor::Args),
    Boards(boards::Args),
    Learn(learn::Args),
}

impl Command {
    fn run(self) -> Result<(), Error> {
        match self {
            Self::Inspect(args) => args.run(),
            Self::Sensitivity(args) => args.run(),
            Self::Pack(args) => args.run(),
            Self::Eval(args) => args.run(),
            Self::Curve(args) => args.run(),
            Self::Run(args) => args.run(),
            Self::Bench(args) => args.run(),
            Self::Build(args) => args.run(),
            Self::Monitor(args) => args.run(),
            Self::Report(args) => args.run(),
            Self::Demo(args) => args.run(),
            Self::Doctor(args) => args.run(),
            Self::Boards(args) => args.run(),
            Self::Learn(args) => args.run(),
        }
    }
}

/// Runs the command that the process's arguments name. Usage errors end the process with code 2.
pub fn main() -> ExitCode {
    match Cli::parse().command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::print_error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

/// Parses a count of one or more.
fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("want a whole number of 1 or more".into()),
        Ok(count) => Ok(count),
    }
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory;

    /// The long help of a command and of all below it.
    fn helps(command: &mut clap::Command, all: &mut Vec<String>) {
        all.push(command.render_long_help().to_string());
        command
            .get_subcommands_mut()
            .for_each(|below| helps(below, all));
    }

    #[test]
    fn help_shows_no_links_of_the_documentation() {
        let mut command = Cli::command();
        command.build();
        let mut all = Vec::new();
        helps(&mut command, &mut all);
        assert!(all.len() > 10);
        for help in all {
            for link in ["[`", "`]", "::", "]("] {
                let line = help.lines().find(|line| line.contains(link));
                assert_eq!(line, None, "{link}");
            }
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
