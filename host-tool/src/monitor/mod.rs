//! Follows what devices report of themselves in telemetry frames: on serial lines, in files, in pipes.
//!
//! Each input has a thread that reads bytes; decoding is done where [`watch`] is called, one decoder a device.

mod device;
mod source;

pub use device::Device;
pub use source::Source;

use crate::Error;
use edgeprune_format::telemetry::{Decoder, Event};
use std::sync::mpsc::{self, Sender};
use std::thread;

/// What comes from the threads.
enum Message {
    /// Bytes of the source with this index; none at its end.
    Bytes(usize, Vec<u8>),
    /// A source that failed.
    Failed(usize, std::io::Error),
    /// Someone wants to stop.
    Stop,
}

/// A source with what is known of its device.
struct Line {
    device: Device,
    decoder: Decoder,
    is_over: bool,
}

/// Reads all sources until every one is at its end or its device says that nothing follows, or until Ctrl-C. `see`
/// is told of each event with the index of its source and its device as it is then. Returns the devices.
///
/// # Errors
/// A source that cannot be opened, or fails; what came before has been told.
pub fn watch(
    sources: &[Source],
    mut see: impl FnMut(usize, &Device, &Event<'_>) -> Result<(), Error>,
) -> Result<Vec<Device>, Error> {
    let (sender, messages) = mpsc::channel();
    stop_on_interrupt(sender.clone());
    for (index, source) in sources.iter().enumerate() {
        let (mut reader, sender) = (source.open()?, sender.clone());
        thread::spawn(move || source::read(index, &mut *reader, &sender));
    }
    drop(sender);
    let mut lines: Vec<Line> = sources.iter().map(|_| Line::new()).collect();
    while lines.iter().any(|line| !line.is_over) {
        match messages.recv() {
            Ok(Message::Bytes(index, bytes)) => {
                lines[index].take(&bytes, |device, event| see(index, device, event))?;
            }
            Ok(Message::Failed(index, cause)) => return Err(sources[index].failed(cause)),
            Ok(Message::Stop) | Err(_) => break,
        }
    }
    Ok(lines.into_iter().map(|line| line.device).collect())
}

/// A second handler cannot be installed, and none is needed.
fn stop_on_interrupt(sender: Sender<Message>) {
    let _ = ctrlc::set_handler(move || {
        let _ = sender.send(Message::Stop);
    });
}

impl Line {
    fn new() -> Self {
        Self {
            device: Device::default(),
            decoder: Decoder::new(),
            is_over: false,
        }
    }

    /// Decodes bytes; none are the end.
    fn take(
        &mut self,
        bytes: &[u8],
        mut see: impl FnMut(&Device, &Event<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for &byte in bytes {
            if let Some(event) = self.decoder.push(byte) {
                self.device.take(&event);
                see(&self.device, &event)?;
            }
        }
        self.is_over |= bytes.is_empty() || self.device.has_ended();
        if bytes.is_empty()
            && let Some(event) = self.decoder.finish()
        {
            self.device.take(&event);
            see(&self.device, &event)?;
        }
        Ok(())
    }
}
