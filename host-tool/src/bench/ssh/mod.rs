//! A board that the system's `ssh` reaches, with the user's own configuration, keys and jump hosts.
//!
//! One connection carries everything. Its first session, the keeper, makes a folder on the board and waits: when it
//! ends, however it ends, it stops what still runs there and removes the folder. The board needs a shell and `cat`.

mod command;

use super::device::{Device, Word, last_words};
use crate::Error;
use crate::progress::Line;
use command::{Failure, MARK, keeper, receive, run_job};
use edgeprune_boards::Board;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use tempfile::TempDir;

const PROGRAM: &str = "ssh";
/// The device binary's name on the board.
const BINARY: &str = "edgeprune-device";
/// Bytes that are sent at a time.
const CHUNK: usize = 1 << 16;
/// Never asks for anything; notices within a quarter of a minute that a board is gone.
const OPTIONS: [&str; 5] = [
    "BatchMode=yes",
    "ControlPersist=no",
    "ConnectTimeout=10",
    "ServerAliveInterval=5",
    "ServerAliveCountMax=3",
];

/// How boards are reached.
#[derive(Clone, Debug)]
pub struct Ssh {
    /// A configuration in place of the user's own.
    pub config: Option<PathBuf>,
    /// The folder of the board in which a folder is made for the time of the job.
    pub folder: String,
}

/// A board with the device binary on it.
pub(super) struct Remote {
    connection: Connection,
    /// The folder on the board.
    folder: String,
    binary: PathBuf,
    /// Files that are there already, and their names there.
    sent: RefCell<HashMap<PathBuf, String>>,
    line: Line,
}

impl Remote {
    /// Connects, sees whether the board can run programs for `board`, and sends the device binary.
    ///
    /// # Errors
    /// A board that is not reached or refuses, that is of another kind, that has no room.
    pub(super) fn open(
        destination: &str,
        ssh: &Ssh,
        board: &Board,
        binary: PathBuf,
        line: Line,
    ) -> Result<Self, Error> {
        line.say("connecting");
        let mut connection = Connection::new(destination, ssh)?;
        let machine = connection.machine(&ssh.folder)?;
        if let Some(cause) = machine.unfit(board) {
            return Err(connection.error(cause));
        }
        let remote = Self {
            connection,
            folder: machine.folder,
            sent: RefCell::default(),
            line,
            binary,
        };
        remote.send(&remote.binary, BINARY)?;
        Ok(remote)
    }

    /// Sends a file.
    fn send(&self, file: &Path, name: &str) -> Result<(), Error> {
        let bytes = fs::read(file).map_err(Error::io(file))?;
        let command = receive(&self.folder, name);
        let shown = file.file_name().unwrap_or_default().to_string_lossy();
        let progress = |sent: usize| {
            let percent = 100 * sent / bytes.len().max(1);
            self.line.say(format!("sending {shown}, {percent} %"));
        };
        let output = self.connection.feed(&command, &bytes, progress)?;
        self.connection
            .checked(output, Failure::Receiving)
            .map(|_| ())
    }

    /// The name on the board of a file, which is sent if it is not there yet.
    fn place(&self, file: &Path) -> Result<String, Error> {
        if let Some(name) = self.sent.borrow().get(file) {
            return Ok(name.clone());
        }
        let extension = file.extension().unwrap_or_default().to_string_lossy();
        let name = format!("file-{}.{extension}", self.sent.borrow().len());
        self.send(file, &name)?;
        self.sent.borrow_mut().insert(file.to_owned(), name.clone());
        Ok(name)
    }
}

impl Device for Remote {
    fn name(&self) -> &str {
        &self.connection.destination
    }

    fn binary(&self) -> &Path {
        &self.binary
    }

    fn output(&self, words: &[Word<'_>]) -> Result<String, Error> {
        let word = |word: &Word<'_>| match word {
            Word::Text(text) => Ok(text.clone()),
            Word::File(file) => self.place(file),
        };
        let words: Vec<String> = words.iter().map(word).collect::<Result<_, Error>>()?;
        self.line.say("running");
        let command = run_job(&self.folder, BINARY, &words);
        let output = self.connection.feed(&command, &[], |_| ())?;
        let text = self.connection.checked(output, Failure::Running)?;
        // what the user's start-up files print comes before
        match text.split_once(MARK) {
            Some((_, answer)) => Ok(answer.to_owned()),
            None => Err(self.connection.error("its shell does not run commands")),
        }
    }
}

/// What the keeper says of its machine.
struct Machine {
    folder: String,
    architecture: String,
    features: String,
}

impl Machine {
    fn unfit(&self, board: &Board) -> Option<String> {
        let features: Vec<&str> = self.features.split_whitespace().collect();
        let cause = board.unfit(&self.architecture, &features)?;
        Some(format!(
            "{cause}: name the board that it is by --board (`edgeprune boards` lists them)"
        ))
    }
}

/// A connection that all sessions share.
struct Connection {
    destination: String,
    options: Vec<OsString>,
    keeper: Child,
    /// The keeper ends when this is closed.
    input: Option<ChildStdin>,
    _sockets: TempDir,
}

impl Connection {
    /// Starts the first session.
    fn new(destination: &str, ssh: &Ssh) -> Result<Self, Error> {
        let sockets = tempfile::Builder::new()
            .prefix("ep")
            .tempdir()
            .map_err(Error::io(Path::new("temporary folder")))?;
        let socket = sockets.path().join("s");
        let mut options: Vec<OsString> = OPTIONS
            .iter()
            .flat_map(|option| ["-o".into(), (*option).into()])
            .collect();
        options.extend(["-S".into(), socket.into()]);
        if let Some(config) = &ssh.config {
            options.extend(["-F".into(), config.into()]);
        }
        let mut keeper = ssh_command(&options)
            .args(["-o", "ControlMaster=yes", "-T"])
            .arg("--")
            .arg(destination)
            .arg(keeper(&ssh.folder))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|cause| does_not_start(destination, &cause))?;
        Ok(Self {
            destination: destination.to_owned(),
            options,
            input: keeper.stdin.take(),
            keeper,
            _sockets: sockets,
        })
    }

    /// Waits for what the keeper says first.
    fn machine(&mut self, folder: &str) -> Result<Machine, Error> {
        let output = self.keeper.stdout.take();
        let mut lines = output
            .map(BufReader::new)
            .into_iter()
            .flat_map(BufRead::lines);
        let mut line = || lines.next().and_then(Result::ok);
        while let Some(text) = line() {
            if text == MARK.trim_end() {
                let (folder, architecture, features) = (line(), line(), line());
                if let (Some(folder), Some(architecture), Some(features)) =
                    (folder, architecture, features)
                {
                    return Ok(Machine {
                        folder,
                        architecture,
                        features,
                    });
                }
            }
        }
        self.input = None;
        let mut stderr = Vec::new();
        if let Some(mut pipe) = self.keeper.stderr.take() {
            let _ = pipe.read_to_end(&mut stderr); // what is there serves
        }
        let status = self.keeper.wait().ok().and_then(|status| status.code());
        let failure = Failure::Connecting(folder.to_owned());
        Err(self.error(failure.cause(status, &last_words(&stderr), &self.destination)))
    }

    /// Runs a command on the board with `bytes` as its input.
    fn feed(&self, command: &str, bytes: &[u8], progress: impl Fn(usize)) -> Result<Output, Error> {
        let mut child = ssh_command(&self.options)
            .args(["-o", "ControlMaster=no", "-T", "--"])
            .arg(&self.destination)
            .arg(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|cause| does_not_start(&self.destination, &cause))?;
        if let Some(mut stdin) = child.stdin.take() {
            let mut sent = 0;
            for chunk in bytes.chunks(CHUNK) {
                progress(sent);
                if stdin.write_all(chunk).is_err() {
                    break; // its exit code says why
                }
                sent += chunk.len();
            }
        }
        child
            .wait_with_output()
            .map_err(|cause| self.error(cause.to_string()))
    }

    /// The output of a command that succeeded.
    fn checked(&self, output: Output, failure: Failure) -> Result<String, Error> {
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = last_words(&output.stderr);
        Err(self.error(failure.cause(output.status.code(), &said, &self.destination)))
    }

    fn error(&self, cause: impl Into<String>) -> Error {
        Error::Board {
            host: self.destination.clone(),
            cause: cause.into(),
        }
    }
}

impl Drop for Connection {
    /// Closes the keeper's input, and waits until it has cleaned up.
    fn drop(&mut self) {
        self.input = None;
        let _ = self.keeper.wait(); // nothing is left to be done about it
    }
}

fn ssh_command(options: &[OsString]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(options);
    command
}

fn does_not_start(destination: &str, cause: &std::io::Error) -> Error {
    Error::Board {
        host: destination.to_owned(),
        cause: format!(
            "`{PROGRAM}` does not start on this machine ({cause}): install OpenSSH's client"
        ),
    }
}
