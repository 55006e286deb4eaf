//! `edgeprune bench --host` on an emulated board with Linux and an ssh server: what it measures, what it says where
//! something is wrong, and that it leaves nothing behind.

use crate::command::command;
use crate::small::{self, cores, need_toolchain, package};
use edgeprune::bench::BoardVm;
use edgeprune_boards::Board;
use serde_json::Value;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

type TestResult = Result<(), Box<dyn Error>>;

/// The board is switched off after that, whatever becomes of this process.
const LIMIT: &str = "limit=900";
/// Until a board has noticed that it was left alone; the emulator is slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// A board, and a package to run there.
struct Fixture {
    vm: BoardVm,
    board: &'static Board,
    folder: TempDir,
    package: PathBuf,
}

impl Fixture {
    fn new(options: &[&str]) -> Result<Self, Box<dyn Error>> {
        let board = cores()
            .into_iter()
            .find(|board| board.is_64_bit() && board.kernels() == "neon")
            .ok_or("no board")?;
        need_toolchain(&cores())?;
        let folder = TempDir::new()?;
        let options: Vec<&str> = [LIMIT].iter().chain(options).copied().collect();
        Ok(Self {
            vm: BoardVm::boot(board, &options)?,
            board,
            package: package(folder.path())?,
            folder,
        })
    }

    /// `edgeprune bench PACKAGE --ssh-config ... WORDS`.
    fn command(&self, config: &Path, words: &[&str]) -> Command {
        let mut command = command();
        command.arg("bench").arg(&self.package).arg("--ssh-config");
        command.arg(config).args(words);
        command
    }

    fn bench(&self, words: &[&str]) -> std::io::Result<Output> {
        self.command(&self.vm.config(), words).output()
    }

    /// `--host` with the board before it.
    fn host(&self) -> String {
        format!("--host={}={}", self.board.id, BoardVm::ADDRESS)
    }

    fn shell(&self, command: &str) -> Result<String, Box<dyn Error>> {
        let output = Command::new("ssh")
            .arg("-F")
            .arg(self.vm.config())
            .args([BoardVm::ADDRESS, command])
            .output()?;
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Whether a device binary runs on the board.
    fn is_busy(&self) -> Result<bool, Box<dyn Error>> {
        Ok(self.shell("ps")?.contains("./edgeprune-device"))
    }

    /// Waits until nothing of a job is left on the board.
    fn assert_nothing_is_left(&self) -> TestResult {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if !self.is_busy()? && self.shell("ls /tmp")?.is_empty() {
                return Ok(());
            }
        }
        Err(format!("left behind: {}", self.shell("ls -R /tmp; ps")?).into())
    }

    /// A job that goes on for long, once it runs on the board.
    fn long_job(&self) -> Result<Child, Box<dyn Error>> {
        let child = self
            .command(&self.vm.config(), &[&self.host(), "--duration", "10min"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let began = Instant::now();
        while !self.is_busy()? {
            assert!(began.elapsed() < PATIENCE, "the job does not begin");
        }
        Ok(child)
    }

    /// Asserts that a job fails, with these words, and leaves nothing.
    fn assert_refused(&self, output: &Output, words: &[&str]) -> TestResult {
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        for word in words {
            assert!(said.contains(word), "`{word}` is not in: {said}");
        }
        assert!(output.stdout.is_empty(), "{output:?}");
        self.assert_nothing_is_left()
    }

    /// The board's ssh configuration with a change.
    fn changed_config(&self, from: &str, to: &str) -> Result<PathBuf, Box<dyn Error>> {
        let text = fs::read_to_string(self.vm.config())?;
        let begin = text.find(from).ok_or("not in the configuration")?;
        let end = begin + text[begin..].find('\n').unwrap_or(0);
        let path = self.folder.path().join("changed_config");
        fs::write(&path, format!("{}{to}{}", &text[..begin], &text[end..]))?;
        Ok(path)
    }
}

/// Inputs of [`package`] as an archive, with labels.
fn samples(folder: &Path) -> Result<(PathBuf, PathBuf), Box<dyn Error>> {
    let data = small::samples();
    let mut values = Vec::new();
    for index in 0..data.len() {
        values.extend(data.sample(index)?.concat());
    }
    let (samples, labels) = (folder.join("samples.npy"), folder.join("labels.txt"));
    let shape = [data.len(), 20, 20, 3];
    fs::write(&samples, edgeprune_device::write_f32(&shape, &values))?;
    fs::write(&labels, "3\n".repeat(data.len()))?;
    Ok((samples, labels))
}

#[test]
#[ignore = "needs a cross toolchain and emulators: `cargo xtask test` installs them"]
fn a_board_behind_ssh_is_measured_and_left_as_it_was() -> TestResult {
    let fixture = Fixture::new(&[])?;
    let (samples, labels) = samples(fixture.folder.path())?;
    let (samples, labels) = (samples.to_string_lossy(), labels.to_string_lossy());
    let host = fixture.host();
    let output = fixture.bench(&[
        &host,
        "--json",
        "--runs",
        "4",
        "--warm-up",
        "1",
        "--threads",
        "2",
        "--deadline",
        "1us",
        "--data",
        &samples,
        "--labels",
        &labels,
    ])?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let record: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(record["board"], *fixture.board.id);
    assert_eq!(record["host"], BoardVm::ADDRESS);
    assert_eq!(record["emulated"], true);
    assert_eq!(
        (&record["runs"], &record["threads"]),
        (&4.into(), &2.into())
    );
    assert_eq!(record["matches_host"], true);
    assert_eq!(record["deadline"]["misses"], 4);
    assert_eq!(record["binary_sha256"].as_str().map(str::len), Some(64));
    let machine = &record["machine"];
    assert_eq!(machine["cpu"], *fixture.board.cpu.core);
    assert_eq!(machine["system"], "edgeprune emulated board");
    assert!(machine["memory_bytes"].as_u64() > Some(500 << 20));
    let on_device = &record["on_device"];
    assert_eq!(on_device["samples"], 16);
    assert_eq!(on_device["different"], Value::Array(Vec::new()));
    assert!(on_device["top1"].is_number());
    let resident = &record["resident"];
    let bytes = |name: &str| resident[name].as_u64().ok_or("no bytes");
    assert!(
        bytes("peak_bytes")? <= bytes("planned_bytes")? + (1 << 20),
        "{resident}"
    );
    fixture.assert_nothing_is_left()
}

#[test]
#[ignore = "needs a cross toolchain and emulators: `cargo xtask test` installs them"]
fn whatever_is_wrong_with_a_board_is_one_clear_error() -> TestResult {
    let fixture = Fixture::new(&["tmp=4m"])?;
    let host = fixture.host();
    let fail = |config: &Path, words: &[&str], want: &[&str]| {
        fixture.assert_refused(&fixture.command(config, words).output()?, want)
    };
    let config = fixture.vm.config();

    let better = cores();
    let better = better.iter().find(|board| board.kernels() == "neondot");
    let wrong = format!(
        "--host={}={}",
        better.ok_or("no board")?.id,
        BoardVm::ADDRESS
    );
    fail(
        &config,
        &[&wrong],
        &[BoardVm::ADDRESS, "asimddp", "--board"],
    )?;
    fail(
        &config,
        &[&host, "--remote-folder", "/none"],
        &["/none", "--remote-folder"],
    )?;

    fixture.shell("head -c 3900k /dev/zero > /fill; cat /fill > /tmp/.fill")?;
    fail(&config, &[&host], &["full", "No space", "--remote-folder"])?;
    fixture.shell("rm /tmp/.fill; mount -o remount,noexec /tmp")?;
    fail(
        &config,
        &[&host],
        &["may not run programs", "--remote-folder"],
    )?;
    fixture.shell("mount -o remount,exec /tmp")?;

    let key = fixture.folder.path().join("key");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&key)
        .status()?;
    assert!(made.success());
    let wrong_key = format!("IdentityFile {}", key.display());
    let changed = fixture.changed_config("IdentityFile", &wrong_key)?;
    fail(
        &changed,
        &[&host],
        &["does not know your key", "ssh-copy-id"],
    )?;
    let changed = fixture.changed_config("Port", "Port 1")?;
    fail(
        &changed,
        &[&host],
        &["is the board on?", "Connection refused"],
    )
}

#[test]
#[ignore = "needs a cross toolchain and emulators: `cargo xtask test` installs them"]
fn a_job_that_is_interrupted_leaves_nothing_on_the_board() -> TestResult {
    let mut fixture = Fixture::new(&[])?;
    let mut job = fixture.long_job()?;
    job.kill()?;
    job.wait()?;
    fixture.assert_nothing_is_left()?;

    let job = fixture.long_job()?;
    fixture.shell("kill $(cat /tmp/*/*.pid)")?;
    let output = job.wait_with_output()?;
    fixture.assert_refused(&output, &["was stopped there"])?;

    let job = fixture.long_job()?;
    fixture.vm.power_off();
    let output = job.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("connection failed or broke"), "{said}");
    Ok(())
}
