//! Runs an edgeprune package: `no_std`, no allocation, the same bits on every core.
//!
//! Opening a package makes every check on its bytes, whoever wrote them. A session then divides
//! the caller's memory, decodes the constants and prepares each node. After that a run cannot fail,
//! panic, allocate, block, or touch memory outside of the package and the arena.
//!
//! ```
//! use edgeprune_runtime::{Arena, Package, Session};
//!
//! # use edgeprune_format::encode::Writer;
//! # use edgeprune_format::manifest::*;
//! # let mut writer = Writer::default();
//! # let codes = Quantization::PerTensor { scale: 0.5, zero_point: -1 };
//! # let image = writer.activation(DType::I8, [1, 1, 1, 4], codes, 0)?;
//! # let scores = writer.activation(DType::F32, [1, 1, 1, 4], Quantization::None, 64)?;
//! # let (source_shape, layout) = (Default::default(), Layout::Nhwc);
//! # writer.output(&Output { name: "scores", tensor: scores, source_shape, layout })?;
//! # let (source_shape, preprocess) = (Default::default(), None);
//! # writer.input(&Input { name: "image", tensor: image, source_shape, layout, preprocess })?;
//! # let inputs = [image].into_iter().collect();
//! # writer.node(&Node { name: "softmax", op: Op::Softmax, inputs, output: scores })?;
//! # let bytes = writer.finish(&Head {
//! #     model: "softmax",
//! #     tool: "doc test",
//! #     source_hash: [0; 32],
//! #     calibration: Calibration::Synthetic,
//! #     arena: edgeprune_format::manifest::Arena { constants: 0, activations: 128, scratch: 0 },
//! #     removed_channels: 0,
//! #     labels: None,
//! #     counts: Counts::default(),
//! # })?;
//! let package = Package::open(&bytes)?;
//! let mut arena = Arena::new(package.arena_bytes()); // without `std`: `Aligned::<4096>::new()`
//! let mut session = Session::new(&package, arena.bytes_mut())?;
//!
//! session.set_input_f32(0, &[0.0, 1.0, 2.0, 3.0])?;
//! session.run(&mut ())?; // or an observer, such as `telemetry::Telemetry`
//!
//! let mut scores = [0.0; 4];
//! session.output_f32(0, &mut scores)?;
//! assert!(scores[3] > 0.6);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | module | what |
//! |---|---|
//! | `package` | opening: every check, in a stated order |
//! | `session` | nodes prepared, constants expanded for the kernels, memory divided; input, run, output |
//! | `ops` | one file an operator: `prepare` checks, `run` computes |
//! | `kernels` | the inner loops: `portable` is the definition, one file or folder for each instruction set; `KERNELS.md` says what they cost |
//! | [`quantize`], [`math`] | the arithmetic, defined once; the host calls it too |
//! | [`plan`] | how much memory a network needs, for the tool that writes packages |
//! | [`telemetry`] | how long runs and nodes take |
//! | [`noise`] | what a benchmark feeds a network |
//!
//! `std` adds the heap's [`Arena`], the clock, threads (`Pool`, `Session::run_on`), and detection of x86
//! instructions; it never changes a result.
#![cfg_attr(not(any(feature = "std", test)), no_std)]

mod arena;
mod error;
mod kernels;
pub mod math;
pub mod noise;
mod observer;
mod ops;
mod package;
pub mod plan;
#[cfg(feature = "std")]
mod pool;
pub mod quantize;
mod session;
pub mod telemetry;

pub use arena::Aligned;
#[cfg(feature = "std")]
pub use arena::Arena;
pub use edgeprune_format as format;
pub use error::{OpenError, RunError, SessionError};
pub use kernels::sparse::{Blocks, COSTS, Cost, SparseLayer};
pub use kernels::{KernelLayout, KernelName, KernelSet};
pub use observer::Observer;
pub use package::{MAX_PORTS, Package, Port};
#[cfg(feature = "std")]
pub use pool::{MAX_THREADS, Pool};
pub use session::{DEFAULT_NODES, MAX_NODES, Session};
