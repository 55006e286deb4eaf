//! Follows what devices report of themselves in telemetry frames: on serial lines, in files, pipes and sockets, in
//! messages of an MQTT broker.
//!
//! Each input has a thread that reads bytes; decoding is done where [`watch`] is called, one decoder a device.

mod device;
#[cfg(feature = "mqtt")]
mod mqtt;
mod source;

pub use device::Device;
pub use source::Source;

use crate::Error;
use edgeprune_format::telemetry::{Decoder, Event};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// How often devices that do not speak are looked at.
const GLANCE: Duration = Duration::from_millis(500);

/// What comes from the threads. Each names its source by index.
enum Message {
    /// Bytes of a stream; none at its end.
    Bytes(usize, Vec<u8>),
    /// Whole frames about a topic.
    #[cfg(feature = "mqtt")]
    Topic(usize, mqtt::Topic),
    /// A source that failed.
    Failed(usize, std::io::Error),
    /// Someone wants to stop.
    Stop,
}

/// A device and where it is heard.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// The name of a source, or a topic.
    pub origin: String,
    /// What is known of it.
    pub device: Device,
    /// Whether it has said nothing for longer than [`Device::patience`].
    pub is_silent: bool,
}

/// What there is to tell of a device.
#[derive(Clone, Copy, Debug)]
pub enum News<'n> {
    /// Something came.
    Event(&'n Event<'n>),
    /// Nothing has come for so long that something should have.
    Silence,
}

/// A device that is being listened to.
struct Line {
    source: usize,
    heard: Heard,
    decoder: Decoder,
    /// When something came last, or listening began.
    last: Instant,
    is_over: bool,
}

/// Who is told of all news, with the number of the device and the device as it is then.
type See<'s> = dyn FnMut(usize, &Heard, &News<'_>) -> Result<(), Error> + 's;

/// Reads all sources until every one is at its end or its device says that nothing follows, or until Ctrl-C; a broker
/// has no end. Returns the devices: one for each source, in order, except for brokers, whose devices come as they are heard.
///
/// # Errors
/// A source that cannot be opened, or fails; what came before has been told.
pub fn watch(sources: &[Source], see: &mut See<'_>) -> Result<Vec<Heard>, Error> {
    let (sender, messages) = mpsc::channel();
    stop_on_interrupt(sender.clone());
    for (index, source) in sources.iter().enumerate() {
        start(index, source, sender.clone())?;
    }
    drop(sender);
    let streams = sources
        .iter()
        .enumerate()
        .filter(|(_, source)| !source.is_broker());
    let mut lines: Vec<Line> = streams
        .map(|(index, source)| Line::of_stream(index, source))
        .collect();
    let has_broker = sources.iter().any(Source::is_broker);
    let mut glance = Instant::now() + GLANCE;
    while has_broker || lines.iter().any(|line| !line.is_over) {
        if Instant::now() >= glance {
            glance = Instant::now() + GLANCE;
            for (number, line) in lines.iter_mut().enumerate() {
                line.glance(number, see)?;
            }
        }
        match messages.recv_timeout(glance.saturating_duration_since(Instant::now())) {
            Ok(Message::Bytes(source, bytes)) => {
                let number = lines
                    .iter()
                    .position(|line| line.source == source)
                    .unwrap_or(0);
                lines[number].take(number, &bytes, see)?;
            }
            #[cfg(feature = "mqtt")]
            Ok(Message::Topic(source, topic)) => topic.take(source, &mut lines, see)?,
            Ok(Message::Failed(source, cause)) => return Err(sources[source].failed(cause)),
            Err(RecvTimeoutError::Timeout) => {}
            Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    Ok(lines.into_iter().map(|line| line.heard).collect())
}

/// Starts the thread of a source.
fn start(index: usize, source: &Source, sender: Sender<Message>) -> Result<(), Error> {
    #[cfg(feature = "mqtt")]
    if let Source::Mqtt(broker) = source {
        return mqtt::listen(index, broker, sender);
    }
    let mut reader = source.open()?;
    thread::spawn(move || source::read(index, &mut *reader, &sender));
    Ok(())
}

/// A second handler cannot be installed, and none is needed.
fn stop_on_interrupt(sender: Sender<Message>) {
    let _ = ctrlc::set_handler(move || {
        let _ = sender.send(Message::Stop);
    });
}

impl Line {
    fn new(source: usize, origin: String, decoder: Decoder) -> Self {
        Self {
            source,
            heard: Heard {
                origin,
                ..Heard::default()
            },
            decoder,
            last: Instant::now(),
            is_over: false,
        }
    }

    fn of_stream(index: usize, source: &Source) -> Self {
        let decoder = match source.is_joined() {
            true => Decoder::joining(),
            false => Decoder::new(),
        };
        Self::new(index, source.to_string(), decoder)
    }

    /// Notices that nothing comes any more.
    fn glance(&mut self, number: usize, see: &mut See<'_>) -> Result<(), Error> {
        let heard = &mut self.heard;
        let patience = heard.device.patience().filter(|_| !self.is_over);
        if heard.is_silent || patience.is_none_or(|patience| self.last.elapsed() <= patience) {
            return Ok(());
        }
        heard.is_silent = true;
        see(number, heard, &News::Silence)
    }

    /// Decodes bytes; none are the end.
    fn take(&mut self, number: usize, bytes: &[u8], see: &mut See<'_>) -> Result<(), Error> {
        (self.last, self.heard.is_silent) = (Instant::now(), false);
        for &byte in bytes {
            if let Some(event) = self.decoder.push(byte) {
                self.heard.device.take(&event);
                see(number, &self.heard, &News::Event(&event))?;
            }
        }
        self.is_over |= bytes.is_empty() || self.heard.device.has_ended();
        if bytes.is_empty()
            && let Some(event) = self.decoder.finish()
        {
            self.heard.device.take(&event);
            see(number, &self.heard, &News::Event(&event))?;
        }
        Ok(())
    }
}
