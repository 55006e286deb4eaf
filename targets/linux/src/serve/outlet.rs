//! Where telemetry goes. Each outlet has threads of its own and a short queue: what finds no room is lost there, and
//! missing in its sequence numbers.

use super::Broker;
use super::counts::lock;
use super::crew::Crew;
use super::reporter::Identity;
use super::socket::{SocketFile, listen};
use crate::Error;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Frames that wait for an outlet.
pub(super) const WAITING: usize = 64;
/// How long a reader of a socket may take for a frame.
const PATIENCE: Duration = Duration::from_millis(100);

/// Where telemetry goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outlet {
    /// The end of a file, a named pipe or a serial device.
    File(PathBuf),
    /// A Unix socket, where any number of readers connect.
    Unix(PathBuf),
    /// Standard output.
    Stdout,
    /// A broker, with the cargo feature `mqtt`.
    Mqtt(Broker),
}

/// An outlet at work.
pub(super) enum Open {
    Writer(SyncSender<Numbered>),
    /// Its file goes when this does.
    Socket(
        SyncSender<Numbered>,
        #[expect(dead_code, reason = "dropped")] SocketFile,
    ),
    #[cfg(feature = "mqtt")]
    Mqtt(super::mqtt::Publisher),
}

/// A frame and its record's number.
pub(super) type Numbered = (u32, Arc<[u8]>);

impl Outlet {
    /// Starts the outlet's threads.
    pub(super) fn open(&self, identity: &Arc<Identity>, crew: &Crew) -> Result<Open, Error> {
        match self {
            Self::File(path) => {
                // a named pipe that is also read waits for no reader, and outlives every one
                let file = OpenOptions::new()
                    .read(true)
                    .append(true)
                    .create(true)
                    .open(path);
                write_to(file.map_err(Error::io(path))?, crew).map(Open::Writer)
            }
            Self::Stdout => write_to(io::stdout(), crew).map(Open::Writer),
            Self::Unix(path) => open_socket(path, identity, crew),
            #[cfg(feature = "mqtt")]
            Self::Mqtt(broker) => {
                super::mqtt::Publisher::start(broker, identity, crew).map(Open::Mqtt)
            }
            #[cfg(not(feature = "mqtt"))]
            Self::Mqtt(_) => Err(Error::NoMqtt),
        }
    }
}

impl Open {
    /// Hands over a frame, where there is room.
    pub(super) fn send(&self, frame: Numbered) {
        match self {
            Self::Writer(sender) | Self::Socket(sender, _) => drop(sender.try_send(frame)),
            #[cfg(feature = "mqtt")]
            Self::Mqtt(publisher) => publisher.send(&frame.1),
        }
    }
}

fn write_to(
    mut output: impl Write + Send + 'static,
    crew: &Crew,
) -> Result<SyncSender<Numbered>, Error> {
    let (sender, frames) = mpsc::sync_channel::<Numbered>(WAITING);
    crew.spawn(move || {
        for (_, frame) in frames {
            // a disk that is full now may have room later
            let _ = output.write_all(&frame).and_then(|()| output.flush());
        }
    })?;
    Ok(sender)
}

/// Who listens at a socket, and the number of the last record.
#[derive(Default)]
struct Readers {
    streams: Vec<UnixStream>,
    last: u32,
}

fn open_socket(path: &Path, identity: &Arc<Identity>, crew: &Crew) -> Result<Open, Error> {
    let readers = Arc::new(Mutex::new(Readers::default()));
    let (joining, identity) = (Arc::clone(&readers), Arc::clone(identity));
    let file = listen(path, move |stream| lock(&joining).join(stream, &identity))?;
    let (sender, frames) = mpsc::sync_channel(WAITING);
    crew.spawn(move || send_to(&readers, &frames))?;
    Ok(Open::Socket(sender, file))
}

fn send_to(readers: &Mutex<Readers>, frames: &Receiver<Numbered>) {
    for (number, frame) in frames {
        let mut readers = lock(readers);
        readers.last = number;
        readers
            .streams
            .retain_mut(|stream| stream.write_all(&frame).is_ok());
    }
}

impl Readers {
    /// Introduces this device in place of the last record; who does not listen is forgotten.
    fn join(&mut self, mut stream: UnixStream, identity: &Identity) {
        let _ = stream.set_write_timeout(Some(PATIENCE));
        if stream.write_all(&identity.frame(self.last)).is_ok() {
            self.streams.push(stream);
        }
    }
}
