//! Threads that compute parts of a node: made once, waiting from one part to the next. To hand a part over
//! allocates nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::vec::Vec;
use std::{format, io};

/// Most threads of a [`Pool`].
pub const MAX_THREADS: usize = 16;

/// What a thread must have to do of a node, in microseconds, to be given a part of it. To hand a part over takes
/// less than one where a thread waits, but some tens where it sleeps.
const LEAST_MICROSECONDS: u64 = 4;

/// How often a thread looks whether it may go on before it lets others have its processor: some microseconds, as
/// long as parts differ.
const LOOKS: u32 = 200;
/// How often it looks and lets others go first before it sleeps: some tens of microseconds, as long as a node that
/// is not divided. To wake a sleeping thread takes that long.
const YIELDS: u32 = 100;

/// Computes a part, given its number. `None` stands for a bound that preparation has ruled out.
type Job<'j> = &'j (dyn Fn(usize) -> Option<()> + Sync);

/// Threads for [`crate::Session::run_on`]. One pool serves any number of sessions, one after the other.
#[derive(Debug)]
pub struct Pool {
    workers: Vec<Worker>,
    least_microseconds: u64,
}

impl Pool {
    /// A pool of `threads`, from 1 to [`MAX_THREADS`]: the one that runs a session, and new ones beside it.
    ///
    /// # Errors
    /// Another number of threads, or the system's refusal of one.
    pub fn new(threads: usize) -> io::Result<Self> {
        if !(1..=MAX_THREADS).contains(&threads) {
            let what = format!("{threads} threads: a pool has 1 to {MAX_THREADS}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        Ok(Self {
            workers: (1..threads).map(Worker::new).collect::<io::Result<_>>()?,
            least_microseconds: LEAST_MICROSECONDS,
        })
    }

    /// Divides nodes among threads with at least `microseconds` of estimated work each; 0 divides wherever it can
    /// be done. All give the same bits.
    #[must_use]
    pub fn with_least_work(mut self, microseconds: u64) -> Self {
        self.least_microseconds = microseconds;
        self
    }

    /// Number of threads, with the one that runs a session.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    pub(crate) fn least_microseconds(&self) -> u64 {
        self.least_microseconds
    }

    /// Computes the parts from 0 to `parts`, at most [`Self::threads`], each on its own thread. `None` if one of
    /// them fails or panics on a thread of the pool.
    #[expect(
        unsafe_code,
        reason = "threads that live on borrow what this call borrows"
    )]
    pub(crate) fn run(&mut self, parts: usize, job: Job<'_>) -> Option<()> {
        // SAFETY: a worker uses the job between `ask` and the answer that follows. `asked` waits for every answer
        // before this call ends, also by a panic, and no one else can ask or forget it.
        let job: Job<'static> = unsafe { core::mem::transmute::<Job<'_>, Job<'static>>(job) };
        let mut asked = Asked(self.workers.get(..parts.checked_sub(1)?)?);
        let caller = thread::current();
        for worker in asked.0 {
            worker.ask(job, caller.clone());
        }
        let first = job(0);
        asked.wait().and(first)
    }
}

/// Workers that have been asked and may not have answered.
struct Asked<'w>(&'w [Worker]);

impl Asked<'_> {
    /// Waits until all have answered: `None` if one failed.
    fn wait(&mut self) -> Option<()> {
        let mut done = Some(());
        for worker in core::mem::take(&mut self.0) {
            done = worker.answer().and(done);
        }
        done
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.wait();
    }
}

/// A thread of the pool.
#[derive(Debug)]
struct Worker {
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts the thread that computes the part of this number.
    fn new(part: usize) -> io::Result<Self> {
        let desk = Arc::new(Desk::default());
        let own = Arc::clone(&desk);
        let thread = thread::Builder::new().name(format!("edgeprune {part}"));
        let thread = thread.spawn(move || own.serve(part))?;
        let thread = Some(thread);
        Ok(Self { desk, thread })
    }

    fn ask(&self, job: Job<'static>, caller: Thread) {
        self.desk.put(Some((job, caller)));
        self.wake();
    }

    /// Waits for the answer.
    fn answer(&self) -> Option<()> {
        wait(|| self.desk.state() != ASKED);
        (self.desk.state() == DONE).then_some(())
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Worker {
    /// Ends the thread.
    fn drop(&mut self) {
        self.desk.put(None);
        self.wake();
        if let Some(thread) = self.thread.take() {
            // its panics were answers
            let _ended = thread.join();
        }
    }
}

/// What passes between the thread that runs a session and a worker.
#[derive(Default)]
#[repr(align(64))]
struct Desk {
    state: AtomicU8,
    /// The job and who asks for it; none to end.
    job: Mutex<Option<(Job<'static>, Thread)>>,
}

/// States of a desk: the worker has computed its part, or waits for the first.
const DONE: u8 = 0;
/// There is a job.
const ASKED: u8 = 1;
/// The worker's part could not be computed.
const FAILED: u8 = 2;

impl core::fmt::Debug for Desk {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

impl Desk {
    fn state(&self) -> u8 {
        self.state.load(Ordering::Acquire)
    }

    fn put(&self, job: Option<(Job<'static>, Thread)>) {
        *self.job.lock().unwrap_or_else(PoisonError::into_inner) = job;
        self.state.store(ASKED, Ordering::Release);
    }

    fn take(&self) -> Option<(Job<'static>, Thread)> {
        let mut job = self.job.lock().unwrap_or_else(PoisonError::into_inner);
        job.take()
    }

    /// Computes a part of every job until there is none.
    fn serve(&self, part: usize) {
        loop {
            wait(|| self.state() == ASKED);
            let Some((job, caller)) = self.take() else {
                return;
            };
            let answer = match catch_unwind(AssertUnwindSafe(|| job(part))) {
                Ok(Some(())) => DONE,
                Ok(None) | Err(_) => FAILED,
            };
            self.state.store(answer, Ordering::Release);
            caller.unpark();
        }
    }
}

/// Waits until `ready`, of which an `unpark` of this thread tells: looks for a while, then sleeps.
fn wait(ready: impl Fn() -> bool) {
    for look in 0..LOOKS + YIELDS {
        if ready() {
            return;
        }
        match look < LOOKS {
            true => core::hint::spin_loop(),
            false => thread::yield_now(),
        }
    }
    while !ready() {
        thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    #[test]
    fn every_part_is_computed_once_on_its_own_thread() {
        for threads in 1..=4 {
            let mut pool = Pool::new(threads).unwrap();
            for parts in (1..=threads).cycle().take(1000) {
                let counts: [AtomicUsize; MAX_THREADS] = Default::default();
                let ids: [Mutex<Option<thread::ThreadId>>; MAX_THREADS] = Default::default();
                let done = pool.run(parts, &|part| {
                    counts[part].fetch_add(1, Ordering::Relaxed);
                    *ids[part].lock().unwrap() = Some(thread::current().id());
                    Some(())
                });
                assert_eq!(done, Some(()));
                let counts = counts.map(AtomicUsize::into_inner);
                assert!(counts[..parts].iter().all(|&count| count == 1));
                assert_eq!(counts.iter().sum::<usize>(), parts);
                let ids: Vec<_> = ids
                    .into_iter()
                    .filter_map(|id| id.into_inner().unwrap())
                    .collect();
                let distinct: std::collections::HashSet<_> = ids.iter().collect();
                assert_eq!(distinct.len(), parts);
            }
        }
    }

    #[test]
    fn a_thread_that_sleeps_is_woken() {
        let mut pool = Pool::new(2).unwrap();
        for _ in 0..3 {
            thread::sleep(Duration::from_millis(20));
            let slow = |part| {
                thread::sleep(Duration::from_millis(20 * part as u64));
                Some(())
            };
            assert_eq!(pool.run(2, &slow), Some(()), "the caller sleeps, too");
        }
    }

    #[test]
    fn a_part_that_fails_or_panics_fails_the_call_and_not_the_next() {
        let mut pool = Pool::new(3).unwrap();
        for part in 0..3 {
            assert_eq!(pool.run(3, &|own| (own != part).then_some(())), None);
            assert_eq!(pool.run(3, &|_| Some(())), Some(()));
        }
        for part in 1..3 {
            let panics = |own| {
                assert!(own != part, "a panic that this test asks for");
                Some(())
            };
            assert_eq!(pool.run(3, &panics), None);
            assert_eq!(pool.run(3, &|_| Some(())), Some(()));
        }
    }

    #[test]
    fn a_panic_of_the_caller_waits_for_the_others() {
        let mut pool = Pool::new(2).unwrap();
        let finished = AtomicUsize::new(0);
        let panics = |part| {
            assert!(part != 0, "a panic that this test asks for");
            thread::sleep(Duration::from_millis(50));
            finished.fetch_add(1, Ordering::Relaxed);
            Some(())
        };
        let caught = catch_unwind(AssertUnwindSafe(|| pool.run(2, &panics)));
        assert!(caught.is_err());
        assert_eq!(finished.into_inner(), 1);
    }

    #[test]
    fn more_parts_than_threads_are_refused() {
        assert!(Pool::new(0).is_err() && Pool::new(MAX_THREADS + 1).is_err());
        let mut pool = Pool::new(2).unwrap();
        assert_eq!(pool.run(3, &|_| Some(())), None);
    }
}
