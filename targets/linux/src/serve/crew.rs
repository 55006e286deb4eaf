//! Threads that are waited for, but not forever.

use crate::Error;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::Builder;
use std::time::Duration;

/// Starts threads. All of them and this are alive as long as one sender is.
#[derive(Clone)]
pub(super) struct Crew(Sender<()>);

/// Waits for the threads of a [`Crew`].
pub(super) struct Rest(Receiver<()>);

impl Crew {
    pub(super) fn new() -> (Self, Rest) {
        let (sender, receiver) = mpsc::channel();
        (Self(sender), Rest(receiver))
    }

    pub(super) fn spawn(&self, work: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        let alive = self.0.clone();
        start(move || {
            work();
            drop(alive);
        })
    }
}

impl Rest {
    /// Returns when no thread and no [`Crew`] is left, or after `patience`.
    pub(super) fn wait(self, patience: Option<Duration>) {
        let _ = match patience {
            Some(time) => self.0.recv_timeout(time).is_err(),
            None => self.0.recv().is_err(),
        };
    }
}

/// Starts a thread that nobody waits for.
pub(super) fn start(work: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let thread = Builder::new().spawn(work).map_err(Error::Thread)?;
    drop(thread);
    Ok(())
}
