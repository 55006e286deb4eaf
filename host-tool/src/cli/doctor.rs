//! `edgeprune doctor`.

use super::board::BoardArg;
use super::output;
use crate::Error;
use crate::doctor::{Check, Diagnosis, examine};
use edgeprune_boards::Board;

/// Say what is missing for a board, and the command that fixes it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A board's name or TOML file; without it, all built-in boards. Exit code 1 if it lacks something.
    #[arg(long, value_name = "BOARD")]
    board: Option<BoardArg>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self) -> Result<(), Error> {
        let asked = self.board.is_some();
        let boards: Vec<&Board> = match &self.board {
            Some(argument) => vec![&argument.board],
            None => edgeprune_boards::all().iter().collect(),
        };
        let diagnosis = examine(&boards)?;
        match self.json {
            true => output::print_json(&diagnosis)?,
            false => output::print(&text(&diagnosis))?,
        }
        match asked && !diagnosis.complete {
            true => Err(Error::Toolchain(summary(&diagnosis))),
            false => Ok(()),
        }
    }
}

fn text(diagnosis: &Diagnosis) -> String {
    let mut text = format!("Boards: {}\n\n", diagnosis.boards.join(", "));
    for check in &diagnosis.checks {
        text += &lines(check);
    }
    if diagnosis.complete {
        text += "\nEverything is there.\n";
    }
    text
}

fn lines(check: &Check) -> String {
    match (&check.found, &check.problem) {
        (Some(found), _) => format!("ok       {}: {found}\n", check.what),
        (None, problem) => {
            let problem = problem.as_deref().unwrap_or("not found");
            let mut text = format!("MISSING  {}: {problem}\n", check.what);
            for remedy in &check.remedies {
                text += &format!("         {:<8} {}\n", remedy.system, remedy.command);
            }
            text
        }
    }
}

fn summary(diagnosis: &Diagnosis) -> String {
    let missing: Vec<&str> = diagnosis
        .checks
        .iter()
        .filter(|check| check.problem.is_some())
        .map(|check| check.what.as_str())
        .collect();
    format!(
        "{}: {} of {} things are missing: {}",
        diagnosis.boards.join(", "),
        missing.len(),
        diagnosis.checks.len(),
        missing.join("; ")
    )
}
