//! A network ready to run: constants expanded, every node prepared, memory divided.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use crate::kernels::{KernelName, KernelSet};
use crate::observer::Observer;
use crate::ops::{self, Activation, Element, Memory, Region, Step};
use crate::package::{MAX_PORTS, Package, Port};
use crate::plan::{self, Needs};
#[cfg(feature = "std")]
use crate::pool::Pool;
use crate::quantize::{dequantize, quantize};
use crate::{RunError, SessionError};
use edgeprune_format::ALIGNMENT;
use edgeprune_format::manifest::TensorId;
use heapless::{Vec, VecView};

/// Nodes that [`Session::new`] has room for.
pub const DEFAULT_NODES: usize = 256;
/// Most nodes of a network: what every runner has room for, and what is packed at most.
pub const MAX_NODES: usize = 1024;

/// Runs a network in the caller's memory. `NODES` is the most nodes that it has room for.
#[derive(Debug)]
pub struct Session<'p, 'a, const NODES: usize = DEFAULT_NODES> {
    package: &'p Package<'p>,
    constants: &'a [u8],
    activations: &'a mut [u8],
    /// For one thread, and what more of it the arena has for others.
    scratch: &'a mut [u8],
    /// Bytes of it that a thread needs.
    thread_scratch: usize,
    steps: Vec<Step, NODES>,
    inputs: Vec<Activation, MAX_PORTS>,
    outputs: Vec<Activation, MAX_PORTS>,
    kernels: KernelSet,
}

impl<'p, 'a> Session<'p, 'a> {
    /// A session for up to [`DEFAULT_NODES`] nodes. `arena` has [`Package::arena_bytes`], aligned
    /// to 64 bytes: see [`crate::Aligned`] and, with the feature `std`, `Arena`.
    ///
    /// # Errors
    /// An arena that does not fit, too many nodes, a constant that does not decode, a weight of -128,
    /// or a memory plan in which a node would read what another overwrote.
    pub fn new(package: &'p Package<'_>, arena: &'a mut [u8]) -> Result<Self, SessionError> {
        Self::with_capacity(package, arena)
    }
}

impl<'p, 'a, const NODES: usize> Session<'p, 'a, NODES> {
    /// A session for up to `NODES` nodes.
    ///
    /// # Errors
    /// As [`Session::new`].
    pub fn with_capacity(
        package: &'p Package<'_>,
        arena: &'a mut [u8],
    ) -> Result<Self, SessionError> {
        Self::with_kernels(package, arena, KernelSet::detect())
    }

    /// A session for up to `NODES` nodes that runs with these kernels, for which it lays out the
    /// weights, in an arena of [`Package::arena_bytes_with`]. All sets give the same bits; [`KernelSet::detect`]
    /// finds the fastest.
    ///
    /// # Errors
    /// As [`Session::new`].
    pub fn with_kernels(
        package: &'p Package<'_>,
        arena: &'a mut [u8],
        kernels: KernelSet,
    ) -> Result<Self, SessionError> {
        let (have, need) = (arena.len(), package.arena_bytes_with(kernels, 1));
        if arena.as_ptr().align_offset(ALIGNMENT) != 0 {
            return Err(SessionError::ArenaMisaligned);
        }
        let short = SessionError::ArenaTooShort { have, need };
        let sizes = package.arena_with(kernels.layout()).ok_or(short)?;
        let (constants, rest) = arena.split_at_mut_checked(sizes.constants).ok_or(short)?;
        let (activations, scratch) = rest.split_at_mut_checked(sizes.activations).ok_or(short)?;
        if scratch.len() < sizes.scratch {
            return Err(short);
        }
        let mut inputs = package.manifest().inputs().map(|input| input.tensor);
        let mut outputs = package.manifest().outputs().map(|output| output.tensor);
        let mut session = Self {
            package,
            constants: &[],
            activations,
            scratch,
            thread_scratch: sizes.scratch,
            steps: Vec::new(),
            inputs: ports(package, &mut inputs),
            outputs: ports(package, &mut outputs),
            kernels,
        };
        // in place: a vector of steps is large, and copies of it are as much memory again
        prepare(
            package,
            kernels,
            sizes.scratch,
            constants,
            session.steps.as_mut_view(),
        )?;
        session.constants = constants;
        session.check_dataflow()?;
        Ok(session)
    }

    /// The kernels that [`Session::run`] uses.
    pub fn kernels(&self) -> KernelSet {
        self.kernels
    }

    /// The package.
    pub fn package(&self) -> &'p Package<'p> {
        self.package
    }

    /// A model input: name, shape, element type, quantization.
    ///
    /// # Errors
    /// [`RunError::NoSuchPort`].
    pub fn input_info(&self, index: usize) -> Result<Port<'p>, RunError> {
        let count = self.inputs.len();
        self.package
            .input_info(index)
            .ok_or(RunError::NoSuchPort { index, count })
    }

    /// A model output: name, shape, element type, quantization.
    ///
    /// # Errors
    /// [`RunError::NoSuchPort`].
    pub fn output_info(&self, index: usize) -> Result<Port<'p>, RunError> {
        let count = self.outputs.len();
        self.package
            .output_info(index)
            .ok_or(RunError::NoSuchPort { index, count })
    }

    /// The bytes of a model input, NHWC, elements in the byte order of the processor. Write them
    /// before every run: a run may use their memory for later activations.
    ///
    /// # Errors
    /// [`RunError::NoSuchPort`].
    pub fn input(&mut self, index: usize) -> Result<&mut [u8], RunError> {
        let port = port(&self.inputs, index)?;
        let missing = RunError::NoSuchPort {
            index,
            count: self.inputs.len(),
        };
        port.region.of_mut(self.activations).ok_or(missing)
    }

    /// The codes of an `I8` input.
    ///
    /// # Errors
    /// [`RunError::NoSuchPort`], [`RunError::ElementType`].
    pub fn input_i8(&mut self, index: usize) -> Result<&mut [i8], RunError> {
        match port(&self.inputs, index)?.element {
            Element::I8 { .. } => Ok(ops::codes_mut(self.input(index)?)),
            Element::F32 => Err(RunError::ElementType),
        }
    }

    /// Sets an input from real values: an `I8` input is quantized, an `F32` input copied.
    ///
    /// # Errors
    /// [`RunError::NoSuchPort`], [`RunError::Length`].
    pub fn set_input_f32(&mut self, index: usize, values: &[f32]) -> Result<(), RunError> {
        let port = port(&self.inputs, index)?;
        check_length(values.len(), port)?;
        let input = self.input(index)?;
        match port.element {
            Element::I8 { scale, zero_point } => {
                for (code, &value) in ops::codes_mut(input).iter_mut().zip(values) {
                    *code = quantize(value, scale, zero_point);
                }
            }
            Element::F32 => ops::words_mut::<f32>(input)
                .ok_or(RunError::ElementType)?
                .copy_from_slice(values),
        }
        Ok(())
    }

    /// Computes the outputs from the inputs. Does not allocate, block or panic.
    ///
    /// # Errors
    /// None for a package that opened: [`RunError::Node`] stands for a bound that was ruled out.
    pub fn run(&mut self, observer: &mut impl Observer) -> Result<(), RunError> {
        self.run_steps(self.thread_scratch, observer, |step, mut memory| {
            step.run(&mut memory)
        })
    }

    /// Computes the outputs from the inputs on the threads of a pool, which share nodes that are large enough for it.
    /// Gives the bits of [`Session::run`]. Does not allocate or panic; waits for the threads.
    ///
    /// # Errors
    /// [`RunError::ArenaTooShort`] for an arena of less than [`Package::arena_bytes_for`] the pool's threads.
    #[cfg(feature = "std")]
    pub fn run_on(
        &mut self,
        pool: &mut Pool,
        observer: &mut impl Observer,
    ) -> Result<(), RunError> {
        let one = self.thread_scratch;
        let scratch = one.saturating_mul(pool.threads());
        if self.scratch.len() < scratch {
            let shared = self.constants.len() + self.activations.len();
            let (have, need) = (shared + self.scratch.len(), shared.saturating_add(scratch));
            return Err(RunError::ArenaTooShort { have, need });
        }
        self.run_steps(self.scratch.len(), observer, |step, memory| {
            step.run_on(pool, memory, one)
        })
    }

    /// Runs each node in memory with `scratch` bytes of working memory.
    #[inline(always)]
    fn run_steps(
        &mut self,
        scratch: usize,
        observer: &mut impl Observer,
        mut run: impl FnMut(&Step, Memory<'_>) -> Option<()>,
    ) -> Result<(), RunError> {
        observer.run_begin();
        for (index, step) in self.steps.iter().enumerate() {
            observer.node_begin(index);
            step.memory(
                self.package.body(),
                self.constants,
                self.activations,
                self.scratch.get_mut(..scratch).unwrap_or_default(),
                self.kernels,
            )
            .and_then(|memory| run(step, memory))
            .ok_or(RunError::Node { index })?;
            let output = step.output.of(self.activations);
            observer.node_end(index, output.unwrap_or_default());
        }
        observer.run_end();
        Ok(())
    }

    /// The bytes of a model output, NHWC, elements in the byte order of the processor.
    ///
    /// # Errors
    /// [`RunError::NoSuchPort`].
    pub fn output(&self, index: usize) -> Result<&[u8], RunError> {
        let port = port(&self.outputs, index)?;
        let missing = RunError::NoSuchPort {
            index,
            count: self.outputs.len(),
        };
        port.region.of(self.activations).ok_or(missing)
    }

    /// The codes of an `I8` output.
    ///
    /// # Errors
    /// [`RunError::NoSuchPort`], [`RunError::ElementType`].
    pub fn output_i8(&self, index: usize) -> Result<&[i8], RunError> {
        match port(&self.outputs, index)?.element {
            Element::I8 { .. } => Ok(ops::codes(self.output(index)?)),
            Element::F32 => Err(RunError::ElementType),
        }
    }

    /// The real values of an output: an `I8` output is dequantized.
    ///
    /// # Errors
    /// [`RunError::NoSuchPort`], [`RunError::Length`].
    pub fn output_f32(&self, index: usize, values: &mut [f32]) -> Result<(), RunError> {
        let port = port(&self.outputs, index)?;
        check_length(values.len(), port)?;
        let output = self.output(index)?;
        match port.element {
            Element::I8 { scale, zero_point } => {
                for (value, &code) in values.iter_mut().zip(ops::codes(output)) {
                    *value = dequantize(code, scale, zero_point);
                }
            }
            Element::F32 => {
                values.copy_from_slice(ops::words(output).ok_or(RunError::ElementType)?);
            }
        }
        Ok(())
    }

    /// Checks that every node reads what the last overlapping write before it wrote, whole, with
    /// the same element type and quantization.
    fn check_dataflow(&self) -> Result<(), SessionError> {
        let manifest = self.package.manifest();
        for (index, node) in manifest.nodes().enumerate() {
            self.check_reads(index, &mut node.inputs.iter().copied())?;
        }
        let mut outputs = manifest.outputs().map(|output| output.tensor);
        self.check_reads(self.steps.len(), &mut outputs)
    }

    fn check_reads(
        &self,
        node: usize,
        tensors: &mut dyn Iterator<Item = TensorId>,
    ) -> Result<(), SessionError> {
        for (input, id) in tensors.enumerate() {
            let manifest = self.package.manifest();
            let read = manifest
                .tensor(id)
                .and_then(|tensor| Activation::resolve(manifest, &tensor).ok());
            if !read.is_some_and(|read| self.is_written(&read, node)) {
                return Err(SessionError::Dataflow {
                    node: node as u16,
                    input: input as u8,
                });
            }
        }
        Ok(())
    }

    fn is_written(&self, read: &Activation, node: usize) -> bool {
        let mut before = self.steps.iter().take(node).rev();
        let last = before.find(|step| step.output.overlaps(read.region));
        if let Some(step) = last {
            return step.output == read.region && step.output_element == read.element;
        }
        let mut overlapping = self
            .inputs
            .iter()
            .filter(|input| input.region.overlaps(read.region));
        match (overlapping.next(), overlapping.next()) {
            (Some(input), None) => input.region == read.region && input.element == read.element,
            _ => false,
        }
    }
}

fn port(ports: &[Activation], index: usize) -> Result<Activation, RunError> {
    let count = ports.len();
    ports
        .get(index)
        .copied()
        .ok_or(RunError::NoSuchPort { index, count })
}

fn check_length(have: usize, port: Activation) -> Result<(), RunError> {
    let need = port.elements();
    if have == need {
        Ok(())
    } else {
        Err(RunError::Length { have, need })
    }
}

/// The activations of ports, which opening has checked.
fn ports(
    package: &Package<'_>,
    tensors: &mut dyn Iterator<Item = TensorId>,
) -> Vec<Activation, MAX_PORTS> {
    let manifest = package.manifest();
    tensors
        .filter_map(|id| Activation::resolve(manifest, &manifest.tensor(id)?).ok())
        .take(MAX_PORTS)
        .collect()
}

/// Prepares every node and expands its constants.
fn prepare(
    package: &Package<'_>,
    kernels: KernelSet,
    scratch: usize,
    constants: &mut [u8],
    steps: &mut VecView<Step>,
) -> Result<(), SessionError> {
    let manifest = package.manifest();
    let (mut needs, mut rest) = (Needs::default(), constants);
    for (index, node) in (0..).zip(manifest.nodes()) {
        let fault = |what| SessionError::Node { index, what };
        let (mut step, after) =
            plan::step(manifest, &node, kernels.layout(), needs).map_err(fault)?;
        let (own, others) = rest
            .split_at_mut_checked(after.constants - needs.constants)
            .ok_or(fault("constants outside the arena"))?;
        let own = own.get_mut(..step.constants()).unwrap_or_default();
        let expansion = step.expand(package.body(), kernels.table(), scratch, own);
        expansion.map_err(|error| error.at(index))?;
        (needs, rest) = (after, others);
        steps.push(step).map_err(|_| SessionError::Nodes {
            have: steps.capacity(),
            need: usize::from(manifest.head.counts.nodes),
        })?;
    }
    Ok(())
}

/// The regions that a session reads and writes, for messages and tests.
impl<const NODES: usize> Session<'_, '_, NODES> {
    /// Number of nodes.
    pub fn nodes(&self) -> usize {
        self.steps.len()
    }

    /// The kernel that runs a node; `None` where that is the portable definition of its operator, and beyond
    /// the last node.
    pub fn kernel(&self, node: usize) -> Option<KernelName> {
        self.steps.get(node)?.kernel(self.kernels)
    }

    /// Bytes that one node writes.
    pub fn node_output_bytes(&self, node: usize) -> Option<usize> {
        self.steps
            .get(node)
            .map(|step| step.output)
            .map(|Region { len, .. }| len)
    }
}
