//! An emulated board with Linux and an ssh server, for trying and testing what needs one.
//!
//! `targets/board-vm` makes and boots it. It listens on the loopback interface alone, and ends with its owner.

use super::Ssh;
use super::device::last_words;
use crate::Error;
use crate::build::Source;
use edgeprune_boards::Board;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The scripts, in edgeprune's source.
const SCRIPTS: &str = "targets/board-vm";
/// It boots in seconds; a busy machine needs more.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(250);

/// A board that runs until this is dropped.
#[derive(Debug)]
pub struct BoardVm {
    emulator: Child,
    folder: TempDir,
    image: PathBuf,
}

impl BoardVm {
    /// Its name in the ssh configuration.
    pub const ADDRESS: &'static str = "emulated-board";

    /// Boots a machine with the core of `board`, making it first if it was never made. `options` are words of its
    /// kernel's command line, which `targets/board-vm/init` reads.
    ///
    /// # Errors
    /// No emulator, packages that cannot be fetched, a machine that does not answer.
    pub fn boot(board: &Board, options: &[&str]) -> Result<Self, Error> {
        let source = Source::find()?;
        let scripts = source.root().join(SCRIPTS);
        let image = make(&source, &scripts)?;
        let folder = tempfile::tempdir().map_err(Error::io(Path::new("temporary folder")))?;
        let port = free_port()?;
        let log = folder.path().join("log");
        let emulator = Command::new(scripts.join("boot"))
            .arg(&image)
            .args([&port.to_string(), &board.emulator.cpu])
            .args(options)
            .stdin(Stdio::null())
            .stdout(File::create(&log).map_err(Error::io(&log))?)
            .stderr(Stdio::piped())
            .spawn()
            .map_err(Error::io(&scripts))?;
        let mut vm = Self {
            emulator,
            folder,
            image,
        };
        let key = vm.image.join("key");
        vm.write_config(vm.folder.path(), port, &key)?;
        vm.wait()?;
        Ok(vm)
    }

    /// How to reach it.
    pub fn ssh(&self) -> Ssh {
        Ssh {
            config: Some(self.config()),
            folder: "/tmp".into(),
        }
    }

    /// The ssh configuration that knows it.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("ssh_config")
    }

    /// Ends it, as if its plug were pulled.
    pub fn power_off(&mut self) {
        let _ = self.emulator.kill(); // it may have ended by itself
        let _ = self.emulator.wait();
    }

    /// Its output on the serial line.
    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn write_config(&self, folder: &Path, port: u16, key: &Path) -> Result<(), Error> {
        let path = self.config();
        let text = format!(
            "Host {}\n  HostName 127.0.0.1\n  Port {port}\n  User root\n  IdentityFile \"{}\"\n  IdentitiesOnly yes\n  \
             StrictHostKeyChecking accept-new\n  UserKnownHostsFile \"{}\"\n  LogLevel ERROR\n",
            Self::ADDRESS,
            key.display(),
            folder.join("known_hosts").display()
        );
        fs::write(&path, text).map_err(Error::io(&path))
    }

    /// Until it answers.
    fn wait(&mut self) -> Result<(), Error> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if let Ok(Some(status)) = self.emulator.try_wait() {
                return Err(Error::Toolchain(format!(
                    "the emulated board ended ({status}) before it answered: {}",
                    self.log()
                )));
            }
            let answer = Command::new("ssh")
                .arg("-F")
                .arg(self.config())
                .args(["-o", "BatchMode=yes", "-o", "ConnectTimeout=5"])
                .args([Self::ADDRESS, "true"])
                .stdin(Stdio::null())
                .output();
            match answer {
                Ok(answer) if answer.status.success() => return Ok(()),
                Ok(_) => std::thread::sleep(PAUSE),
                Err(cause) => return Err(Error::io(Path::new("ssh"))(cause)),
            }
        }
        Err(Error::Toolchain(format!(
            "the emulated board did not answer within {} s: {}",
            PATIENCE.as_secs(),
            self.log()
        )))
    }
}

impl Drop for BoardVm {
    fn drop(&mut self) {
        self.power_off();
    }
}

/// The folder with kernel and file system, made where they are not there or older than their scripts.
fn make(source: &Source, scripts: &Path) -> Result<PathBuf, Error> {
    let image = source.device_folder().join("board-vm");
    fs::create_dir_all(&image).map_err(Error::io(&image))?;
    let lock = image.join(".lock");
    let lock = File::create(&lock)
        .and_then(|file| file.lock().map(|()| file))
        .map_err(Error::io(&lock))?;
    let script = scripts.join("make");
    let output = Command::new(&script)
        .arg(&image)
        .output()
        .map_err(Error::io(&script))?;
    drop(lock);
    match output.status.success() {
        true => Ok(image),
        false => Err(Error::Toolchain(format!(
            "the emulated board cannot be made; it needs Debian's apt-get, cpio, openssh-client and qemu-system-arm: {}",
            last_words(&output.stderr)
        ))),
    }
}

/// A port that nothing listens on now.
fn free_port() -> Result<u16, Error> {
    let address = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    Ok(address.map_err(Error::io(Path::new("127.0.0.1")))?.port())
}
