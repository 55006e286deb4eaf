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
use std::sync::mpsc::{self, Sender};
use std::thread;

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
}

/// A device that is being listened to.
struct Line {
    source: usize,
    heard: Heard,
    decoder: Decoder,
    is_over: bool,
}

/// Who is told of each event, with the number of its device and the device as it is then.
type See<'s> = dyn FnMut(usize, &Heard, &Event<'_>) -> Result<(), Error> + 's;

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
        .map(|(index, source)| Line::new(index, source))
        .collect();
    let has_broker = sources.iter().any(Source::is_broker);
    while has_broker || lines.iter().any(|line| !line.is_over) {
        match messages.recv() {
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
            Ok(Message::Stop) | Err(_) => break,
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
    fn new(index: usize, source: &Source) -> Self {
        Self {
            source: index,
            heard: Heard {
                origin: source.to_string(),
                device: Device::default(),
            },
            decoder: match source.is_joined() {
                true => Decoder::joining(),
                false => Decoder::new(),
            },
            is_over: false,
        }
    }

    /// Decodes bytes; none are the end.
    fn take(&mut self, number: usize, bytes: &[u8], see: &mut See<'_>) -> Result<(), Error> {
        for &byte in bytes {
            if let Some(event) = self.decoder.push(byte) {
                self.heard.device.take(&event);
                see(number, &self.heard, &event)?;
            }
        }
        self.is_over |= bytes.is_empty() || self.heard.device.has_ended();
        if bytes.is_empty()
            && let Some(event) = self.decoder.finish()
        {
            self.heard.device.take(&event);
            see(number, &self.heard, &event)?;
        }
        Ok(())
    }
}
