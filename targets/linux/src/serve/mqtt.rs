//! Telemetry as messages to an MQTT broker.

use super::crew::Crew;
use super::outlet::WAITING;
use super::reporter::{Identity, bytes};
use super::{Broker, STATE};
use crate::Error;
use edgeprune_format::telemetry::Record;
use rumqttc::{
    Client, ConnectReturnCode, Connection, Event, Incoming, LastWill, MqttOptions, Outgoing, QoS,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

/// How long a broker may hear nothing before it says that this device is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Between attempts to connect.
const PAUSE: Duration = Duration::from_secs(1);

/// Publishes frames on a topic, and on the topic below it, as messages that the broker retains, whether this device
/// is there.
pub(super) struct Publisher {
    client: Client,
    topic: String,
    state: String,
    ended: Vec<u8>,
    has_ended: Arc<AtomicBool>,
}

impl Publisher {
    pub(super) fn start(broker: &Broker, identity: &Identity, crew: &Crew) -> Result<Self, Error> {
        let state = format!("{}/{STATE}", broker.topic);
        let there = identity.frame(0).to_vec();
        let gone = Record::Fault {
            text: "gone: the broker has lost it",
        };
        let with = |record| [&there[..], &bytes(1, record)].concat();
        let will = LastWill::new(&state, with(&gone), QoS::AtLeastOnce, true);
        let mut options = options(broker);
        options.set_keep_alive(KEEP_ALIVE).set_last_will(will);
        let (client, connection) = Client::new(options, WAITING);
        let has_ended = Arc::new(AtomicBool::new(false));
        let publisher = Self {
            topic: broker.topic.clone(),
            state: state.clone(),
            ended: with(&Record::End),
            client: client.clone(),
            has_ended: Arc::clone(&has_ended),
        };
        crew.spawn(move || {
            let arrive = || {
                client
                    .try_publish(&state, QoS::AtLeastOnce, true, there.clone())
                    .is_ok()
            };
            run(connection, arrive, &has_ended);
        })?;
        Ok(publisher)
    }

    /// Publishes a frame, where there is room.
    pub(super) fn send(&self, frame: &[u8]) {
        let message = self
            .client
            .try_publish(&self.topic, QoS::AtMostOnce, false, frame);
        drop(message);
    }
}

/// Takes leave of the broker, so that this device is not gone but done.
impl Drop for Publisher {
    fn drop(&mut self) {
        let ended = std::mem::take(&mut self.ended);
        self.has_ended.store(true, Ordering::Relaxed);
        let told = self
            .client
            .try_publish(&self.state, QoS::AtLeastOnce, true, ended);
        if told.is_ok() {
            let _ = self.client.try_disconnect(); // else the broker sends the will
        }
    }
}

/// Keeps a connection, whatever happens to it, until it has ended. Says at each that this device is there.
fn run(mut connection: Connection, arrive: impl Fn() -> bool, has_ended: &AtomicBool) {
    let mut is_known = false;
    for event in connection.iter() {
        match event {
            Ok(Event::Incoming(Incoming::ConnAck(answer))) => {
                is_known = answer.code != ConnectReturnCode::Success;
            }
            Ok(Event::Outgoing(Outgoing::Disconnect)) => return,
            Ok(_) => {}
            Err(_) if has_ended.load(Ordering::Relaxed) => return,
            Err(_) => sleep(PAUSE),
        }
        is_known = is_known || has_ended.load(Ordering::Relaxed) || arrive();
    }
}

fn options(broker: &Broker) -> MqttOptions {
    let mut options = MqttOptions::new(Broker::client_name(), &broker.host, broker.port);
    if let Some((user, password)) = &broker.credentials {
        options.set_credentials(user, password);
    }
    options
}
