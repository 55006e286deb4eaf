//! A real MQTT broker on a free port of this machine.
#![allow(dead_code, reason = "each test crate uses a part")]

use std::error::Error;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;
use tempfile::TempDir;

/// Where Debian puts it, which is not in every search path.
const PROGRAMS: [&str; 2] = ["mosquitto", "/usr/sbin/mosquitto"];
const CONFIG: &str = "mosquitto.conf";

/// A broker; stopped when this is dropped.
pub(crate) struct Broker {
    process: Child,
    /// What it runs with, without anything that this machine's own broker has.
    config: TempDir,
    pub(crate) port: u16,
}

impl Broker {
    /// Starts a broker. Tests that need it are ignored unless they are asked for.
    pub(crate) fn start() -> Result<Self, Box<dyn Error>> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let config = TempDir::new()?;
        let text = format!("listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n");
        fs::write(config.path().join(CONFIG), text)?;
        let process = launch(&config).ok_or("`cargo xtask test` installs mosquitto")?;
        let broker = Self {
            process,
            config,
            port,
        };
        broker.wait()?;
        Ok(broker)
    }

    pub(crate) fn stop(&mut self) {
        let _ = self.process.kill().and_then(|()| self.process.wait()); // it may have ended
    }

    /// Starts it again where it was.
    pub(crate) fn restart(&mut self) -> Result<(), Box<dyn Error>> {
        self.process = launch(&self.config).ok_or("no broker")?;
        self.wait()
    }

    fn wait(&self) -> Result<(), Box<dyn Error>> {
        for _ in 0..500 {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return Ok(());
            }
            sleep(Duration::from_millis(10));
        }
        Err("the broker does not start".into())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
    }
}

fn launch(config: &TempDir) -> Option<Child> {
    PROGRAMS.iter().find_map(|program| {
        let mut command = Command::new(program);
        command.arg("-c").arg(config.path().join(CONFIG));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().ok()
    })
}
