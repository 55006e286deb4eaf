//! Where frames come from.

use super::Message;
use crate::Error;
use edgeprune_device::Broker;
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;

/// How long a serial line is waited for at a time.
#[cfg(feature = "serial")]
const PATIENCE: std::time::Duration = std::time::Duration::from_millis(100);
/// Bytes that are taken at a time.
const CHUNK: usize = 4096;

/// Where frames come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A serial port, with the cargo feature `serial`: 8 data bits, no parity, one stop bit.
    Serial {
        /// Its name, as the system has it.
        port: String,
        /// Bits a second.
        baud: u32,
    },
    /// Standard input.
    Stdin,
    /// A file or a named pipe.
    File(PathBuf),
    /// A Unix socket, where a device listens.
    Unix(PathBuf),
    /// Topics at an MQTT broker, with the cargo feature `mqtt`.
    Mqtt(Broker),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serial { port, .. } => f.write_str(port),
            Self::Stdin => f.write_str("standard input"),
            Self::File(path) | Self::Unix(path) => path.display().fmt(f),
            Self::Mqtt(broker) => broker.fmt(f),
        }
    }
}

impl Source {
    pub(super) fn open(&self) -> Result<Box<dyn Read + Send>, Error> {
        Ok(match self {
            Self::Serial { port, baud } => serial(port, *baud)?,
            Self::Stdin => Box::new(io::stdin()),
            Self::File(path) => Box::new(File::open(path).map_err(Error::io(path))?),
            Self::Unix(path) => Box::new(UnixStream::connect(path).map_err(Error::io(path))?),
            Self::Mqtt(_) => return Err(Error::not_built_in("--mqtt", "mqtt")),
        })
    }

    /// Whether what it says comes from many devices, and has no end.
    pub fn is_broker(&self) -> bool {
        matches!(self, Self::Mqtt(_))
    }

    /// Whether a device has spoken to others before it is listened to.
    pub(super) fn is_joined(&self) -> bool {
        matches!(self, Self::Unix(_))
    }

    pub(super) fn failed(&self, cause: io::Error) -> Error {
        Error::io(Path::new(&self.to_string()))(cause)
    }
}

/// Opens a serial port.
#[cfg(feature = "serial")]
fn serial(port: &str, baud: u32) -> Result<Box<dyn Read + Send>, Error> {
    let opened = serialport::new(port, baud).timeout(PATIENCE).open();
    Ok(Box::new(opened.map_err(|cause| no_port(port, &cause))?))
}

#[cfg(not(feature = "serial"))]
fn serial(_: &str, _: u32) -> Result<Box<dyn Read + Send>, Error> {
    Err(Error::not_built_in("--serial", "serial"))
}

#[cfg(feature = "serial")]
fn no_port(port: &str, cause: &serialport::Error) -> Error {
    let ports = serialport::available_ports().unwrap_or_default();
    let names: Vec<String> = ports.into_iter().map(|port| port.port_name).collect();
    let there = match names.is_empty() {
        true => "no serial port was found here".to_owned(),
        false => format!("there are {}", names.join(", ")),
    };
    Error::Toolchain(format!("{port}: {cause}; {there}"))
}

/// Sends what comes, up to and including the end, to someone who may have stopped listening.
pub(super) fn read(index: usize, reader: &mut dyn Read, sender: &Sender<Message>) {
    let mut chunk = [0; CHUNK];
    loop {
        let message = match reader.read(&mut chunk) {
            Ok(length) => Message::Bytes(index, chunk[..length].to_vec()),
            Err(cause) if is_temporary(&cause) => continue,
            Err(cause) => Message::Failed(index, cause),
        };
        let is_last = !matches!(&message, Message::Bytes(_, bytes) if !bytes.is_empty());
        if sender.send(message).is_err() || is_last {
            return;
        }
    }
}

fn is_temporary(cause: &io::Error) -> bool {
    matches!(cause.kind(), ErrorKind::TimedOut | ErrorKind::Interrupted)
}
