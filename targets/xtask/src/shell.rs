//! Running programs: each is shown before it runs, and its failure names it.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What has run so far, in order.
static DONE: Mutex<Vec<Done>> = Mutex::new(Vec::new());

/// A step that has ended, well or not.
struct Done {
    shown: String,
    time: Duration,
}

/// Why a task stopped.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) String);

/// One program to run, in the workspace's folder.
pub(crate) struct Step {
    command: Command,
    shown: String,
}

impl Step {
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(&program);
        command.current_dir(workspace());
        Self {
            command,
            shown: program.as_ref().to_string_lossy().into_owned(),
        }
    }

    /// The cargo that runs this program.
    pub(crate) fn cargo<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Self {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut step = Self::new(&cargo);
        step.shown = "cargo".into();
        step.args(arguments)
    }

    pub(crate) fn args<'a>(mut self, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        for argument in arguments {
            self.command.arg(argument);
            self.shown = format!("{} {argument}", self.shown);
        }
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self.shown = format!("{name}={value} {}", self.shown);
        self
    }

    /// Shows the command, runs it, shows how long it took, and fails if it fails.
    pub(crate) fn run(mut self) -> Result<(), Failure> {
        eprintln!("$ {}", self.shown);
        let began = Instant::now();
        let status = self.command.status();
        let time = began.elapsed();
        eprintln!("# {} for `{}`", clock(time), self.shown);
        if let Ok(mut done) = DONE.lock() {
            let shown = self.shown.clone();
            done.push(Done { shown, time });
        }
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Failure(format!("`{}` failed ({status})", self.shown))),
            Err(cause) => Err(Failure(format!("`{}` does not start: {cause}", self.shown))),
        }
    }

    /// Whether it runs and succeeds, without showing anything.
    pub(crate) fn succeeds(mut self) -> bool {
        self.command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    /// What it prints, if it succeeds.
    pub(crate) fn output(mut self) -> Option<String> {
        let output = self.command.stderr(Stdio::null()).output().ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

/// A table of the steps that have run, with their durations, and the sum.
pub(crate) fn durations() -> String {
    let Ok(done) = DONE.lock() else {
        return String::new();
    };
    let mut table = String::from("duration  step\n");
    for step in done.iter() {
        let _ = writeln!(table, "{:>8}  {}", clock(step.time), step.shown); // a string takes all
    }
    let sum = clock(done.iter().map(|step| step.time).sum());
    table + &format!("{sum:>8}  all of them\n")
}

/// Minutes and seconds.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// The workspace's folder: cargo runs this program with the manifest's folder in a variable.
pub(crate) fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_in_the_table_with_its_duration_even_if_it_fails() {
        assert!(Step::new("true").args(["first"]).run().is_ok());
        assert!(Step::new("false").args(["second"]).run().is_err());
        let table = durations();
        for line in [
            "0:00  true first",
            "0:00  false second",
            "0:00  all of them",
        ] {
            assert!(table.contains(line), "{table}");
        }
    }

    #[test]
    fn durations_are_minutes_and_seconds() {
        assert_eq!(clock(Duration::from_millis(125_600)), "2:06");
        assert_eq!(clock(Duration::from_millis(400)), "0:00");
    }
}
