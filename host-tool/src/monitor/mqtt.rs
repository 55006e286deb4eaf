//! Devices that publish at an MQTT broker: a topic each.

use super::{Line, Message, News, See};
use crate::Error;
use edgeprune_device::{Broker, STATE};
use edgeprune_format::telemetry::Decoder;
use rumqttc::{Client, Connection, Event, Incoming, MqttOptions, QoS};
use std::io;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

/// Requests to the broker that may wait.
const REQUESTS: usize = 8;
/// Between attempts to connect again.
const PAUSE: Duration = Duration::from_secs(1);

/// A message about a topic: one frame or more.
pub(super) struct Topic {
    name: String,
    frames: Vec<u8>,
}

impl Topic {
    /// Decodes a message for the line of its device, which is new where none has its topic.
    pub(super) fn take(
        self,
        source: usize,
        lines: &mut Vec<Line>,
        see: &mut See<'_>,
    ) -> Result<(), Error> {
        let state = self.name.strip_suffix(STATE);
        let state = state.and_then(|name| name.strip_suffix('/'));
        let origin = state.unwrap_or(&self.name);
        let is_its = |line: &Line| line.source == source && line.heard.origin == origin;
        let number = lines.iter().position(is_its).unwrap_or(lines.len());
        if number == lines.len() {
            lines.push(Line::new(source, origin.to_owned(), Decoder::joining()));
        }
        match state {
            Some(_) => lines[number].take_state(number, &self.frames, see),
            None if self.frames.is_empty() => Ok(()),
            None => lines[number].take(number, &self.frames, see),
        }
    }
}

impl Line {
    /// Decodes what a broker keeps of a device, whose records are numbered by themselves.
    fn take_state(&mut self, number: usize, frames: &[u8], see: &mut See<'_>) -> Result<(), Error> {
        let mut decoder = Decoder::joining();
        for &byte in frames {
            if let Some(event) = decoder.push(byte) {
                self.heard.device.take_state(&event);
                see(number, &self.heard, &News::Event(&event))?;
            }
        }
        Ok(())
    }
}

/// Starts a thread that subscribes at every connection.
pub(super) fn listen(source: usize, broker: &Broker, sender: Sender<Message>) -> Result<(), Error> {
    let mut options = MqttOptions::new(Broker::client_name(), &broker.host, broker.port);
    if let Some((user, password)) = &broker.credentials {
        options.set_credentials(user, password);
    }
    let (client, connection) = Client::new(options, REQUESTS);
    let filters = filters(&broker.topic);
    thread::spawn(move || run(source, &client, connection, &filters, &sender));
    Ok(())
}

/// A topic without the wildcard for everything below it has its state below it.
fn filters(topic: &str) -> Vec<String> {
    let state = (!topic.ends_with('#')).then(|| format!("{topic}/{STATE}"));
    state.into_iter().chain([topic.to_owned()]).collect()
}

/// Sends messages to someone who may have stopped listening. A broker that never answered is a failure, one that
/// leaves is waited for.
fn run(
    source: usize,
    client: &Client,
    mut connection: Connection,
    filters: &[String],
    sender: &Sender<Message>,
) {
    let mut has_answered = false;
    for event in connection.iter() {
        let message = match event {
            Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                has_answered = true;
                for filter in filters {
                    let _ = client.try_subscribe(filter, QoS::AtLeastOnce); // they are few: there is room
                }
                continue;
            }
            Ok(Event::Incoming(Incoming::Publish(publish))) => {
                let frames = publish.payload.to_vec();
                let name = publish.topic;
                Message::Topic(source, Topic { name, frames })
            }
            Ok(_) => continue,
            Err(_) if has_answered => {
                thread::sleep(PAUSE);
                continue;
            }
            Err(cause) => Message::Failed(source, io::Error::other(cause)),
        };
        let is_last = matches!(message, Message::Failed(..));
        if sender.send(message).is_err() || is_last {
            return;
        }
    }
}
