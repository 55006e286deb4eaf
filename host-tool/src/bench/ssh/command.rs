//! What is run on the board, as lines that any shell passes on to `sh`, and what it means when that fails.

/// Comes before everything that counts: start-up files may print before.
pub(super) const MARK: &str = "edgeprune-board\n";

/// Makes a folder, says where, what the machine is, and waits for the end of its input; then stops what runs in the
/// folder and removes it; once more where a job that ends removed one of its files at the same time, which some `rm` take for a failure.
pub(super) fn keeper(folder: &str) -> String {
    let folder = quoted(folder);
    let mark = MARK.trim_end();
    shell(&format!(
        "umask 077; d=$(mktemp -d {folder}/edgeprune.XXXXXX) || exit 73; \
         end() {{ for p in \"$d\"/*.pid; do kill $(cat \"$p\"); done 2>/dev/null; \
             rm -rf \"$d\" || {{ sleep 1; rm -rf \"$d\"; }}; }}; \
         trap end EXIT; trap \"exit 1\" HUP INT TERM; \
         echo {mark}; echo \"$d\"; uname -m; grep -m 1 ^Features /proc/cpuinfo || echo; cat >/dev/null"
    ))
}

/// Writes its input to a file that can be run.
pub(super) fn receive(folder: &str, name: &str) -> String {
    let path = quoted(&format!("{folder}/{name}"));
    shell(&format!("cat >{path} && chmod 700 {path}"))
}

/// Runs a program of the folder. While it runs, its number is there in a file.
pub(super) fn run_job(folder: &str, program: &str, words: &[String]) -> String {
    let words: String = words
        .iter()
        .map(|word| format!(" {}", quoted(word)))
        .collect();
    let mark = MARK.trim_end();
    shell(&format!(
        "cd {} || exit 1; echo {mark}; ./{program}{words} & p=$!; echo $p >$p.pid; wait $p; r=$?; rm -f $p.pid; exit $r",
        quoted(folder)
    ))
}

/// Whatever the user's shell is, `sh` reads the script.
fn shell(script: &str) -> String {
    format!("exec sh -c {}", quoted(script))
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// What was being done when something failed.
pub(super) enum Failure {
    /// The first session; in this folder of the board.
    Connecting(String),
    Receiving,
    Running,
}

/// ssh's own failures.
const SSH_FAILED: i32 = 255;
/// The keeper's, where it cannot make a folder.
const NO_FOLDER: i32 = 73;
/// A shell's, of a program that it may not run.
const NOT_RUN: i32 = 126;
/// A shell adds a signal's number to this.
const SIGNAL: i32 = 128;
const ILLEGAL_INSTRUCTION: i32 = SIGNAL + 4;
const KILLED: i32 = SIGNAL + 9;
const TERMINATED: i32 = SIGNAL + 15;

impl Failure {
    /// In words, with the way out.
    pub(super) fn cause(&self, status: Option<i32>, said: &str, destination: &str) -> String {
        match (self, status) {
            (_, Some(SSH_FAILED) | None) => connection_cause(said, destination),
            (Self::Connecting(folder), Some(NO_FOLDER)) => format!(
                "no folder can be made in {folder} there: {said}; name one with room by --remote-folder"
            ),
            (Self::Receiving, _) if said.contains("No space") => format!(
                "its disk is full: {said}; free some, or name a folder with room by --remote-folder"
            ),
            (Self::Running, Some(NOT_RUN)) => format!(
                "it may not run programs there: {said}; name a folder of another file system by --remote-folder"
            ),
            (Self::Running, Some(ILLEGAL_INSTRUCTION)) => {
                "its processor lacks an instruction of this board's programs: name the board that it is by --board".into()
            }
            (Self::Running, Some(KILLED)) => {
                "its system stopped the program, as it does when there is too little memory".into()
            }
            (Self::Running, Some(TERMINATED)) => "the program was stopped there".into(),
            (_, Some(code)) => format!("a command failed there (exit code {code}): {said}"),
        }
    }
}

fn connection_cause(said: &str, destination: &str) -> String {
    let hint = if said.contains("Permission denied") {
        format!(
            "the board does not know your key, and edgeprune asks for no password: `ssh-copy-id {destination}` once"
        )
    } else if said.contains("Host key verification failed") {
        format!(
            "the board's own key is not known, or is another than it was: `ssh {destination}` once by hand"
        )
    } else if said.contains("Could not resolve") {
        "no machine has that name".to_owned()
    } else {
        format!("the connection failed or broke: is the board on? `ssh {destination}` tells more")
    };
    let said = said.lines().last().unwrap_or_default().trim();
    match said {
        "" => hint,
        said => format!("{hint} ({said})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn any_text_stays_one_word() -> std::io::Result<()> {
        let word = "it's $HOME \"x\" `y`; \\ !";
        let script = shell(&format!("printf %s {}", quoted(word)));
        let output = Command::new("sh").args(["-c", &script]).output()?;
        assert_eq!(String::from_utf8_lossy(&output.stdout), word);
        Ok(())
    }

    #[test]
    fn the_keeper_leaves_nothing_behind() -> std::io::Result<()> {
        let folder = tempfile::tempdir()?;
        let place = folder.path().to_string_lossy();
        let output = Command::new("sh")
            .args(["-c", &keeper(&place)])
            .stdin(Stdio::null())
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], MARK.trim_end());
        assert!(lines[1].starts_with(&*place));
        assert_eq!(std::fs::read_dir(folder.path())?.count(), 0);
        Ok(())
    }

    #[test]
    fn a_job_gives_its_output_and_exit_code() -> std::io::Result<()> {
        let folder = tempfile::tempdir()?;
        let place = folder.path().to_string_lossy();
        let program = "#!/bin/sh\necho \"$1 $2\"\nexit 7\n";
        let mut receiver = Command::new("sh")
            .args(["-c", &receive(&place, "job")])
            .stdin(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = receiver.stdin.take() {
            std::io::Write::write_all(&mut stdin, program.as_bytes())?;
        }
        assert!(receiver.wait()?.success());
        let words = ["a b".to_owned(), "c'd".to_owned()];
        let output = Command::new("sh")
            .args(["-c", &run_job(&place, "job", &words)])
            .output()?;
        assert_eq!(output.status.code(), Some(7));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(text, format!("{MARK}a b c'd\n"));
        Ok(())
    }

    #[test]
    fn failures_name_the_way_out() {
        let cause = |failure: Failure, status, said: &str| failure.cause(status, said, "pi@four");
        let denied = "pi@four: Permission denied (publickey).";
        let connecting = || Failure::Connecting("/tmp".into());
        assert!(cause(connecting(), Some(255), denied).contains("ssh-copy-id pi@four"));
        assert!(cause(connecting(), Some(73), "mktemp: no").contains("--remote-folder"));
        assert!(cause(Failure::Receiving, Some(1), "No space left").contains("full"));
        assert!(cause(Failure::Running, Some(132), "").contains("--board"));
        assert!(cause(Failure::Running, Some(1), "error: x.epk: bad").contains("x.epk: bad"));
    }
}
