//! The device runtime on the host: one session a thread.

use crate::Error;
use edgeprune_runtime::{Arena, MAX_NODES, Observer, Package, Session};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Stack of a thread with a session.
const STACK_BYTES: usize = 32 << 20;

/// A package that the runtime has opened and checked.
#[derive(Debug)]
pub struct Opened<'a> {
    path: PathBuf,
    bytes: &'a [u8],
    package: Package<'a>,
}

impl<'a> Opened<'a> {
    /// Opens a package. `path` is for messages.
    ///
    /// # Errors
    /// The runtime's refusal.
    pub fn new(path: &Path, bytes: &'a [u8]) -> Result<Self, Error> {
        let package = Package::open(bytes).map_err(|cause| refusal(path, cause))?;
        Ok(Self {
            path: path.to_path_buf(),
            bytes,
            package,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its content.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The runtime's view.
    pub fn package(&self) -> &Package<'a> {
        &self.package
    }

    /// Elements of each model input.
    pub fn input_elements(&self) -> Vec<usize> {
        let ports = (0..).map_while(|index| self.package.input_info(index));
        ports.map(|port| port.elements()).collect()
    }

    /// Elements of each model output.
    pub fn output_elements(&self) -> Vec<usize> {
        let ports = (0..).map_while(|index| self.package.output_info(index));
        ports.map(|port| port.elements()).collect()
    }

    /// Whether the first output is a vector of class scores: more than one channel, no height or
    /// width, and not as large as the input (an autoencoder's).
    pub fn is_classifier(&self) -> bool {
        let Some(output) = self.package.output_info(0) else {
            return false;
        };
        let inputs = self.input_elements();
        let is_vector = output.shape[1] == 1 && output.shape[2] == 1 && output.shape[3] > 1;
        is_vector && inputs.first() != Some(&output.elements())
    }

    fn fail(&self, cause: impl std::fmt::Display) -> Error {
        refusal(&self.path, cause)
    }
}

fn refusal(path: &Path, cause: impl std::fmt::Display) -> Error {
    Error::Package {
        path: path.to_path_buf(),
        cause: cause.to_string(),
    }
}

/// A session that takes and gives vectors.
#[derive(Debug)]
pub struct Runner<'o, 'm> {
    opened: &'o Opened<'o>,
    session: Session<'o, 'm, MAX_NODES>,
}

impl<'o, 'm> Runner<'o, 'm> {
    /// A session in `arena`, which has the bytes that the package wants.
    ///
    /// # Errors
    /// The runtime's refusal.
    pub fn new(opened: &'o Opened<'o>, arena: &'m mut Arena) -> Result<Self, Error> {
        let session = Session::with_capacity(&opened.package, arena.bytes_mut());
        let session = session.map_err(|cause| opened.fail(cause))?;
        Ok(Self { opened, session })
    }

    /// Runs one sample: the values of each input, then of each output, NHWC.
    ///
    /// # Errors
    /// A sample that does not fit.
    pub fn run(&mut self, inputs: &[Vec<f32>]) -> Result<Vec<Vec<f32>>, Error> {
        self.run_observed(inputs, &mut ())
    }

    /// The bytes of each input of the network for one sample.
    ///
    /// # Errors
    /// A sample that does not fit.
    pub fn input_bytes(&mut self, inputs: &[Vec<f32>]) -> Result<Vec<Vec<u8>>, Error> {
        self.set(inputs)?;
        (0..inputs.len())
            .map(|index| match self.session.input(index) {
                Ok(bytes) => Ok(bytes.to_vec()),
                Err(cause) => Err(self.opened.fail(cause)),
            })
            .collect()
    }

    fn set(&mut self, inputs: &[Vec<f32>]) -> Result<(), Error> {
        for (index, values) in inputs.iter().enumerate() {
            let set = self.session.set_input_f32(index, values);
            set.map_err(|cause| self.opened.fail(cause))?;
        }
        Ok(())
    }

    /// As [`Self::run`], with an observer of every node.
    ///
    /// # Errors
    /// A sample that does not fit.
    pub fn run_observed(
        &mut self,
        inputs: &[Vec<f32>],
        observer: &mut impl Observer,
    ) -> Result<Vec<Vec<f32>>, Error> {
        self.set(inputs)?;
        let fail = |cause| self.opened.fail(cause);
        self.session.run(observer).map_err(fail)?;
        let outputs = self.opened.output_elements().into_iter().enumerate();
        outputs
            .map(|(index, elements)| {
                let mut values = vec![0.0; elements];
                self.session.output_f32(index, &mut values).map_err(fail)?;
                Ok(values)
            })
            .collect()
    }
}

/// Calls `job` for each of `count` samples, on every processor, with one session each. Results are
/// in the order of the samples; of several errors, that of the first sample.
pub(crate) fn each_sample<T: Send>(
    opened: &Opened<'_>,
    count: usize,
    job: impl Fn(&mut Runner<'_, '_>, usize) -> Result<T, Error> + Sync,
) -> Result<Vec<T>, Error> {
    let next = AtomicUsize::new(0);
    let mine = || {
        let all = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
        all.take_while(|&i| i < count)
    };
    let work = || {
        let mut arena = Arena::new(opened.package.arena_bytes());
        let mut runner = Runner::new(opened, &mut arena)?;
        Ok(mine().map(|i| (i, job(&mut runner, i))).collect::<Vec<_>>())
    };
    let parts: Result<Vec<_>, Error> = on_every_processor(count, work)?.into_iter().collect();
    let mut results: Vec<(usize, Result<T, Error>)> = parts?.into_iter().flatten().collect();
    results.sort_by_key(|&(i, _)| i);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Runs `work` on as many threads as there are processors, at most `most`. A session lies on the
/// stack and is large, hence threads of their own.
fn on_every_processor<T: Send>(most: usize, work: impl Fn() -> T + Sync) -> Result<Vec<T>, Error> {
    let threads = rayon::current_num_threads().min(most);
    let fail = Error::io(Path::new("thread"));
    std::thread::scope(|scope| {
        let spawn = |_| {
            let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
            thread.spawn_scoped(scope, &work)
        };
        let handles: std::io::Result<Vec<_>> = (0..threads).map(spawn).collect();
        let join = |handle: std::thread::ScopedJoinHandle<'_, T>| match handle.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        Ok(handles.map_err(fail)?.into_iter().map(join).collect())
    })
}
