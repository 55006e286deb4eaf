//! Running programs: each is shown before it runs, and its failure names it.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

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

    /// Shows the command, runs it, and fails if it fails.
    pub(crate) fn run(mut self) -> Result<(), Failure> {
        eprintln!("$ {}", self.shown);
        match self.command.status() {
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

/// The workspace's folder: cargo runs this program with the manifest's folder in a variable.
pub(crate) fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
