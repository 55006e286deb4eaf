//! Who sends samples and is sent answers. Each client has a thread that reads and one that writes, so that one
//! who is slow or gone holds up nobody else.

use super::counts::{Counts, lock};
use super::crew::{Crew, start};
use super::wire::{Received, Status, receive, refusal};
use crate::Error;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

/// Clients at a time; more are turned away.
const MOST_CLIENTS: usize = 64;
/// Answers that wait for a client, beside one for each sample that may wait.
const ANSWERS: usize = 64;

/// One who is sent answers.
pub(super) struct Client {
    answers: SyncSender<Vec<u8>>,
    counts: Arc<Counts>,
}

impl Client {
    pub(super) fn answer(&self, bytes: Vec<u8>) {
        if self.answers.try_send(bytes).is_err() {
            self.counts.unanswered.add();
        }
    }
}

/// A sample that waits.
pub(super) struct Sample {
    pub(super) client: Arc<Client>,
    /// Among those of its client.
    pub(super) number: u64,
    pub(super) bytes: Vec<u8>,
    pub(super) arrived: Instant,
}

/// What the thread that computes is asked.
pub(super) enum Request {
    Run(Sample),
    Stop(Reason),
}

/// Why to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// There are no more samples.
    End,
    /// Someone wants it, now.
    Signal,
}

/// Clients that are there, until it is closed.
struct Open {
    clients: Vec<Arc<Client>>,
    writers: Crew,
}

/// Takes in samples.
pub(super) struct Intake {
    queue: SyncSender<Request>,
    sample_bytes: usize,
    answers: usize,
    counts: Arc<Counts>,
    open: Mutex<Option<Open>>,
}

impl Intake {
    /// Takes in samples of so many bytes, of which `most` wait in `queue`. Answers are written by a crew.
    pub(super) fn new(
        queue: SyncSender<Request>,
        most: usize,
        sample_bytes: usize,
        counts: Arc<Counts>,
        writers: Crew,
    ) -> Self {
        let clients = Vec::new();
        Self {
            queue,
            sample_bytes,
            answers: most + ANSWERS,
            counts,
            open: Mutex::new(Some(Open { clients, writers })),
        }
    }

    /// Serves a connection on threads of its own.
    pub(super) fn connect(self: &Arc<Self>, stream: UnixStream) -> Result<(), Error> {
        let input = stream.try_clone().map_err(Error::Thread)?;
        let Some(client) = self.admit(stream, || ())? else {
            return Ok(());
        };
        let intake = Arc::clone(self);
        start(move || {
            intake.read(&mut BufReader::new(input), &client);
            intake.dismiss(&client);
        })
    }

    /// Serves one client whose end is everybody's.
    pub(super) fn only(
        self: &Arc<Self>,
        input: impl FnOnce() -> Box<dyn BufRead> + Send + 'static,
        output: impl Write + Send + 'static,
    ) -> Result<(), Error> {
        let stop = self.stop();
        let Some(client) = self.admit(output, stop)? else {
            return Ok(());
        };
        let (intake, stop) = (Arc::clone(self), self.stop());
        start(move || {
            intake.read(&mut input(), &client);
            intake.dismiss(&client);
            stop();
        })
    }

    /// Tells the thread that computes that there is nothing more to do.
    fn stop(&self) -> impl FnOnce() + use<> {
        let queue = self.queue.clone();
        move || drop(queue.send(Request::Stop(Reason::End))) // it may have stopped already
    }

    /// Turns new clients away and lets go of the others.
    pub(super) fn close(&self) {
        lock(&self.open).take();
    }

    /// Nobody, where too many are there. `gone` is called when nothing more can be written.
    fn admit(
        &self,
        mut output: impl Write + Send + 'static,
        gone: impl FnOnce() + Send + 'static,
    ) -> Result<Option<Weak<Client>>, Error> {
        let mut open = lock(&self.open);
        let Some(open) = open.as_mut().filter(|o| o.clients.len() < MOST_CLIENTS) else {
            return Ok(None);
        };
        let (answers, waiting) = mpsc::sync_channel::<Vec<u8>>(self.answers);
        open.writers.spawn(move || {
            let mut write = |bytes: Vec<u8>| output.write_all(&bytes).and_then(|()| output.flush());
            let failed = waiting.iter().any(|bytes| write(bytes).is_err());
            drop(waiting);
            if failed {
                gone();
            }
        })?;
        let client = Arc::new(Client {
            answers,
            counts: Arc::clone(&self.counts),
        });
        open.clients.push(Arc::clone(&client));
        Ok(Some(Arc::downgrade(&client)))
    }

    /// Once what waits is answered, the client's connection ends.
    fn dismiss(&self, client: &Weak<Client>) {
        if let Some(open) = &mut *lock(&self.open) {
            open.clients
                .retain(|other| Arc::as_ptr(other) != client.as_ptr());
        }
    }

    /// Reads samples until they end, cannot be understood, or nobody wants them.
    fn read(&self, input: &mut impl BufRead, client: &Weak<Client>) {
        for number in 0.. {
            let received = receive(input, self.sample_bytes);
            let Some(client) = client.upgrade() else {
                return;
            };
            match received {
                Ok(Some(Received::Sample(bytes))) => self.offer(client, number, bytes),
                Ok(None) => return,
                refused => {
                    self.counts.refused.add();
                    client.answer(refusal(number, Status::Refused));
                    if refused.is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn offer(&self, client: Arc<Client>, number: u64, bytes: Vec<u8>) {
        let request = Request::Run(Sample {
            client: Arc::clone(&client),
            number,
            bytes,
            arrived: Instant::now(),
        });
        if let Err(TrySendError::Full(_)) = self.queue.try_send(request) {
            self.counts.dropped.add();
            client.answer(refusal(number, Status::Dropped));
        }
    }
}
