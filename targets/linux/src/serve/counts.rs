//! What happens to samples, counted by all threads.

use edgeprune_runtime::telemetry::Histogram;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A count that many threads add to.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What happens to samples.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) dropped: Count,
    pub(super) refused: Count,
    pub(super) unanswered: Count,
    pub(super) missed: Count,
    runs: Mutex<Runs>,
}

/// How long inferences take, in nanoseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Runs {
    pub(super) total: Histogram,
    pub(super) period: Histogram,
}

impl Counts {
    pub(super) fn ran(&self, time: Duration) {
        let nanoseconds = time.as_nanos() as u64;
        let mut runs = lock(&self.runs);
        runs.total.record(nanoseconds);
        runs.period.record(nanoseconds);
    }

    /// Ends a period.
    pub(super) fn close_period(&self) -> Runs {
        let mut runs = lock(&self.runs);
        Runs {
            period: mem::take(&mut runs.period),
            total: runs.total.clone(),
        }
    }

    pub(super) fn inferences(&self) -> u64 {
        lock(&self.runs).total.count()
    }
}

/// What is locked here is whole between any two statements, whatever happened to another thread.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
