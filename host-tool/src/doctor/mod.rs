//! Says what this machine lacks to build for a board and to emulate it, and which command
//! installs it.

use crate::Error;
use crate::build::{self, Compiler, Library, Source};
use edgeprune_boards::{BareToolchain, Board, Toolchain};
use serde::Serialize;
use std::process::Command;

/// The compiler of the emulator's instruction counter.
pub(crate) const C_COMPILER: &str = "cc";

/// What was found on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// Ids of the boards that were asked about.
    pub boards: Vec<String>,
    /// Whether nothing is missing.
    pub complete: bool,
    /// Each thing that building or emulating needs.
    pub checks: Vec<Check>,
}

/// One thing that building or emulating needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The thing.
    pub what: String,
    /// What it is for.
    pub purpose: Purpose,
    /// What was found, such as a version.
    pub found: Option<String>,
    /// What is wrong, where nothing usable was found.
    pub problem: Option<String>,
    /// Ways to install it; one of them is enough.
    pub remedies: Vec<Remedy>,
}

/// What a thing is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// `edgeprune build`.
    Build,
    /// `edgeprune bench --emulate`.
    Emulate,
}

/// A way to install a thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Remedy {
    /// The system that it works on.
    pub system: &'static str,
    /// The command, to be run as root on Debian.
    pub command: String,
}

/// Checks everything that building for `boards` and emulating them needs.
///
/// # Errors
/// A board that was changed after it was read.
pub fn examine(boards: &[&Board]) -> Result<Diagnosis, Error> {
    let mut checks = vec![source()];
    for tools in toolchains(boards)? {
        checks.extend([compiler(tools), linker(tools), emulator(tools)]);
        checks.push(match &tools.bare {
            Some(bare) => objcopy(tools, bare),
            None => plugin_support(tools),
        });
    }
    for board in distinct_cores(boards) {
        checks.push(emulated_core(board, build::toolchain(board)?));
    }
    if boards.iter().any(|board| board.bare.is_none()) {
        checks.push(c_compiler());
    }
    Ok(Diagnosis {
        boards: boards.iter().map(|board| board.id.clone()).collect(),
        complete: checks.iter().all(|check| check.problem.is_none()),
        checks,
    })
}

fn toolchains(boards: &[&Board]) -> Result<Vec<&'static Toolchain>, Error> {
    let mut tools: Vec<&'static Toolchain> = Vec::new();
    for board in boards {
        let toolchain = build::toolchain(board)?;
        if !tools.contains(&toolchain) {
            tools.push(toolchain);
        }
    }
    Ok(tools)
}

fn distinct_cores<'a>(boards: &[&'a Board]) -> Vec<&'a Board> {
    let mut distinct: Vec<&Board> = Vec::new();
    for board in boards {
        let stands_in = |seen: &&Board| seen.emulator == board.emulator && seen.bare == board.bare;
        if !distinct.iter().any(stands_in) {
            distinct.push(board);
        }
    }
    distinct
}

impl Check {
    fn new(what: impl Into<String>, purpose: Purpose, result: Result<String, String>) -> Self {
        let (found, problem) = match result {
            Ok(found) => (Some(found), None),
            Err(problem) => (None, Some(problem)),
        };
        Self {
            what: what.into(),
            purpose,
            found,
            problem,
            remedies: Vec::new(),
        }
    }

    fn or(mut self, system: &'static str, command: impl Into<String>) -> Self {
        if self.problem.is_some() {
            self.remedies.push(Remedy {
                system,
                command: command.into(),
            });
        }
        self
    }
}

fn source() -> Check {
    let found = Source::find()
        .map(|source| source.root().display().to_string())
        .map_err(|error| error.to_string());
    Check::new("edgeprune's source", Purpose::Build, found)
        .or("any", "export EDGEPRUNE_SOURCE=/path/of/the/clone")
}

fn compiler(tools: &Toolchain) -> Check {
    let folder = Source::find().map_or_else(|_| ".".into(), |s| s.root().to_path_buf());
    let (library, name) = match tools.bare {
        Some(_) => (Library::Core, "`core`"),
        None => (Library::Std, "the standard library"),
    };
    let found = Compiler::find(&tools.triple, library, &folder)
        .map(|found| format!("{} {}", found.program.display(), found.version))
        .map_err(|rejected| {
            let causes: Vec<String> = rejected.iter().map(ToString::to_string).collect();
            causes.join("; ")
        });
    Check::new(
        format!("Rust compiler with {name} for {}", tools.triple),
        Purpose::Build,
        found,
    )
    .or("rustup", format!("rustup target add {}", tools.triple))
    .or(
        "Debian",
        format!(
            "dpkg --add-architecture {} && apt-get update && {}",
            tools.debian.arch,
            apt_install(&tools.debian.rust)
        ),
    )
}

fn linker(tools: &Toolchain) -> Check {
    let found = first_line(&tools.linker, &["--version"]);
    Check::new(
        format!("cross linker {}", tools.linker),
        Purpose::Build,
        found,
    )
    .or("Debian", apt_install(&tools.debian.cross))
}

fn objcopy(tools: &Toolchain, bare: &BareToolchain) -> Check {
    let found = first_line(&bare.objcopy, &["--version"]);
    Check::new(bare.objcopy.clone(), Purpose::Build, found)
        .or("Debian", apt_install(&tools.debian.cross))
}

fn emulator(tools: &Toolchain) -> Check {
    let found = first_line(&tools.emulator, &["--version"]);
    Check::new(
        format!("emulator {}", tools.emulator),
        Purpose::Emulate,
        found,
    )
    .or("Debian", apt_install(&tools.debian.emulator))
}

fn plugin_support(tools: &Toolchain) -> Check {
    let found = stdout(&tools.emulator, &["--help"]).and_then(|help| {
        match help.lines().any(|line| line.starts_with("-plugin")) {
            true => Ok("yes".into()),
            false => Err(format!(
                "this {} has no -plugin option (a static build has none)",
                tools.emulator
            )),
        }
    });
    Check::new(
        "plugins in the emulator, to count instructions",
        Purpose::Emulate,
        found,
    )
    .or("Debian", apt_install(&tools.debian.emulator))
}

fn emulated_core(board: &Board, tools: &Toolchain) -> Check {
    let machine = board.bare.as_ref().and_then(|bare| bare.machine.as_deref());
    let (option, what, name) = match machine {
        Some(machine) => ("-M", "machine", machine),
        None => ("-cpu", "core", board.emulator.cpu.as_str()),
    };
    let found = stdout(&tools.emulator, &[option, "help"]).and_then(|help| {
        match help.split_whitespace().any(|word| word == name) {
            true => Ok("yes".into()),
            false => Err(format!(
                "this version of {} does not know it: install a newer QEMU",
                tools.emulator
            )),
        }
    });
    Check::new(format!("emulated {what} {name}"), Purpose::Emulate, found)
        .or("Debian", apt_install(&tools.debian.emulator))
}

fn c_compiler() -> Check {
    let found = first_line(C_COMPILER, &["--version"]);
    Check::new(
        "C compiler, for the instruction counter",
        Purpose::Emulate,
        found,
    )
    .or("Debian", apt_install(&["gcc".into(), "libc6-dev".into()]))
}

fn apt_install(packages: &[String]) -> String {
    format!(
        "apt-get install -y --no-install-recommends {}",
        packages.join(" ")
    )
}

fn first_line(program: &str, arguments: &[&str]) -> Result<String, String> {
    let text = stdout(program, arguments)?;
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

fn stdout(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|cause| match cause.kind() {
            std::io::ErrorKind::NotFound => "not found".to_owned(),
            _ => cause.to_string(),
        })?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_comes_with_the_command_that_installs_it() -> Result<(), Error> {
        let mut tools = toolchains(&[&edgeprune_boards::all()[0]])?[0].clone();
        tools.linker = "no-such-linker".into();
        tools.triple = "riscv64gc-unknown-linux-musl".into();
        let check = linker(&tools);
        assert_eq!(check.problem.as_deref(), Some("not found"));
        assert!(check.remedies[0].command.contains(&tools.debian.cross[0]));
        let systems: Vec<&str> = compiler(&tools).remedies.iter().map(|r| r.system).collect();
        assert_eq!(systems, ["rustup", "Debian"]);
        Ok(())
    }

    #[test]
    fn what_is_there_needs_no_remedy() {
        let check = Check::new("a thing", Purpose::Build, Ok("1.0".into())).or("any", "install");
        assert!(check.remedies.is_empty());
    }

    #[test]
    fn boards_with_the_same_core_are_checked_once() {
        let boards: Vec<&Board> = edgeprune_boards::all().iter().collect();
        let cores = distinct_cores(&boards);
        assert!(cores.len() < boards.len() && cores.len() >= 3);
    }
}
