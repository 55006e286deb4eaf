//! Where an MQTT broker is, and what about.

use std::fmt;
use std::process;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

/// The last part of the topic on which a device is there or gone; its records go one level above.
pub const STATE: &str = "state";
/// The port of MQTT without encryption, by its registration.
const PORT: u16 = 1883;

/// A topic at an MQTT broker: `mqtt://user:password@host:1883/topic`, where user, password and port may be left out.
#[derive(Clone, PartialEq, Eq)]
pub struct Broker {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// User and password.
    pub credentials: Option<(String, String)>,
    /// Without a slash at either end; not empty.
    pub topic: String,
}

impl Broker {
    /// A name for a client that no other has: brokers disconnect the older of two.
    pub fn client_name() -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let microseconds = now.unwrap_or_default().as_micros() as u64;
        format!("ep{microseconds:x}-{:x}", process::id())
    }
}

impl FromStr for Broker {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is no address like mqtt://host:1883/topic");
        let rest = text.strip_prefix("mqtt://").ok_or_else(bad)?;
        let (place, topic) = rest.split_once('/').ok_or_else(bad)?;
        let (credentials, place) = match place.rsplit_once('@') {
            Some((user, place)) => (Some(user.split_once(':').unwrap_or((user, ""))), place),
            None => (None, place),
        };
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| bad())?),
            None => (place, PORT),
        };
        let topic = topic.trim_end_matches('/');
        if host.is_empty() || topic.is_empty() {
            return Err(bad());
        }
        Ok(Self {
            host: host.to_owned(),
            port,
            credentials: credentials.map(|(user, password)| (user.to_owned(), password.to_owned())),
            topic: topic.to_owned(),
        })
    }
}

/// Without the password.
impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mqtt://{}:{}/{}", self.host, self.port, self.topic)
    }
}

/// Without the password.
impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_a_topic() -> Result<(), String> {
        let broker: Broker = "mqtt://me:a@b:c@plant.example:1884/line/3/".parse()?;
        assert_eq!(
            (&*broker.host, broker.port, &*broker.topic),
            ("plant.example", 1884, "line/3")
        );
        let credentials = Some(("me".to_owned(), "a@b:c".to_owned()));
        assert_eq!(broker.credentials, credentials);
        assert_eq!(broker.to_string(), "mqtt://plant.example:1884/line/3");
        let broker: Broker = "mqtt://host/#".parse()?;
        assert_eq!((broker.port, &*broker.topic), (1883, "#"));
        for text in [
            "host/topic",
            "mqtt://host",
            "mqtt://host/",
            "mqtt:///t",
            "mqtt://h:x/t",
        ] {
            assert!(
                text.parse::<Broker>().is_err_and(|e| e.contains(text)),
                "{text}"
            );
        }
        Ok(())
    }
}
