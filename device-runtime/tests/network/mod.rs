//! Small packages for tests, made with the package writer.
#![allow(dead_code, reason = "each test crate uses a part")]

use edgeprune_format::encode::Writer;
use edgeprune_format::manifest::{
    Activation, Arena, Calibration, Counts, DType, Head, Input, Layout, Linear, Node, Op, Output,
    Quantization, Shape, Storage, TensorId, float_place,
};
use edgeprune_format::{Container, Manifest};
use edgeprune_runtime::{
    Arena as Memory, DEFAULT_NODES, KernelLayout, KernelSet, Package, Pool, Session, plan,
};
use std::cell::RefCell;

/// Pseudo-random numbers (xorshift).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// `low..=high`
    pub(crate) fn range(&mut self, low: i64, high: i64) -> i64 {
        low + (self.next() >> 11) as i64 % (high - low + 1)
    }

    pub(crate) fn size(&mut self, low: usize, high: usize) -> usize {
        self.range(low as i64, high as i64) as usize
    }

    pub(crate) fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }

    pub(crate) fn float(&mut self) -> f32 {
        self.unit() * 4.0 - 2.0
    }

    /// Codes; one in sixteen is an extreme.
    pub(crate) fn codes(&mut self, len: usize) -> Vec<i8> {
        let mut code = || match self.range(0, 31) {
            0 => i8::MIN,
            1 => i8::MAX,
            _ => self.range(-128, 127) as i8,
        };
        (0..len).map(|_| code()).collect()
    }

    /// Codes of weights, which are symmetric.
    pub(crate) fn weights(&mut self, len: usize) -> Vec<i8> {
        let mut codes = self.codes(len);
        codes.iter_mut().for_each(|code| *code = (*code).max(-127));
        codes
    }

    pub(crate) fn floats(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.float()).collect()
    }

    pub(crate) fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.size(0, of.len() - 1)]
    }
}

/// A package that is being built; activations never share memory.
#[derive(Default)]
pub(crate) struct Network {
    pub(crate) writer: Writer,
    pub(crate) activations: u32,
    pub(crate) labels: Option<TensorId>,
}

impl Network {
    pub(crate) fn activation(&mut self, dtype: DType, shape: Shape, q: Quantization) -> TensorId {
        let bytes: u32 = shape.iter().product::<u32>() * dtype.size() as u32;
        let offset = self.activations;
        self.activations += bytes.next_multiple_of(64);
        self.writer.activation(dtype, shape, q, offset).unwrap()
    }

    pub(crate) fn codes(&mut self, shape: Shape, scale: f32, zero_point: i8) -> TensorId {
        let quantization = Quantization::PerTensor { scale, zero_point };
        self.activation(DType::I8, shape, quantization)
    }

    pub(crate) fn floats(&mut self, shape: Shape) -> TensorId {
        self.activation(DType::F32, shape, Quantization::None)
    }

    pub(crate) fn constant_codes(
        &mut self,
        shape: Shape,
        q: Quantization,
        codes: &[i8],
    ) -> TensorId {
        let bytes: Vec<u8> = codes.iter().map(|&code| code as u8).collect();
        self.writer.constant(DType::I8, shape, q, &bytes).unwrap()
    }

    pub(crate) fn constant_floats(&mut self, shape: Shape, floats: &[f32]) -> TensorId {
        let bytes: Vec<u8> = floats.iter().flat_map(|x| x.to_le_bytes()).collect();
        let none = Quantization::None;
        self.writer
            .constant(DType::F32, shape, none, &bytes)
            .unwrap()
    }

    /// Weights of a convolution, `[channel][depth]`, with `group` channels in each group.
    pub(crate) fn constant_panels(
        &mut self,
        shape: Shape,
        group: usize,
        floats: &[f32],
    ) -> TensorId {
        let depth = shape[1..].iter().product::<u32>() as usize;
        let mut placed = vec![0.0; floats.len()];
        for (i, &value) in floats.iter().enumerate() {
            placed[float_place(i / depth, i % depth, depth, group)] = value;
        }
        self.constant_floats(shape, &placed)
    }

    pub(crate) fn constant_words(&mut self, words: &[i32]) -> TensorId {
        let bytes: Vec<u8> = words.iter().flat_map(|x| x.to_le_bytes()).collect();
        let shape = [1, 1, 1, words.len() as u32];
        let none = Quantization::None;
        self.writer
            .constant(DType::I32, shape, none, &bytes)
            .unwrap()
    }

    pub(crate) fn scales(&mut self, scales: &[f32]) -> Quantization {
        let shape = [1, 1, 1, scales.len() as u32];
        let scales = self.constant_floats(shape, scales);
        Quantization::PerChannel { scales }
    }

    pub(crate) fn input(&mut self, tensor: TensorId) {
        self.input_of(tensor, &[]);
    }

    /// An input that the source model has in this shape.
    pub(crate) fn input_of(&mut self, tensor: TensorId, source_shape: &[u32]) {
        let input = Input {
            name: "input",
            tensor,
            source_shape: source_shape.iter().copied().collect(),
            layout: Layout::Nhwc,
            preprocess: None,
        };
        self.writer.input(&input).unwrap();
    }

    pub(crate) fn output(&mut self, tensor: TensorId) {
        let output = Output {
            name: "output",
            tensor,
            source_shape: Default::default(),
            layout: Layout::Nhwc,
        };
        self.writer.output(&output).unwrap();
    }

    pub(crate) fn node(&mut self, op: Op, inputs: &[TensorId], output: TensorId) {
        let node = Node {
            name: "node",
            op,
            inputs: inputs.iter().copied().collect(),
            output,
        };
        self.writer.node(&node).unwrap();
    }

    fn head(&self, constants: usize, scratch: usize) -> Head<'static> {
        Head {
            model: "test",
            tool: "test",
            source_hash: [0; 32],
            calibration: Calibration::Synthetic,
            arena: Arena {
                constants: constants as u32,
                activations: self.activations,
                scratch: scratch as u32,
            },
            removed_channels: 0,
            labels: self.labels,
            counts: Counts::default(),
        }
    }

    /// The package, with the memory that this runtime asks for, also for sparse kernels; 0 where a node is not valid.
    pub(crate) fn package(&self) -> Vec<u8> {
        let draft = self.writer.finish(&self.head(0, 0)).unwrap();
        let manifest = Manifest::parse(Container::parse(&draft).unwrap().manifest).unwrap();
        let needs = plan::needs_with(&manifest, |_| true).unwrap_or_default();
        let head = self.head(needs.constants, needs.scratch);
        self.writer.finish(&head).unwrap()
    }

    /// One operator between inputs and an output that exist.
    pub(crate) fn single(mut self, op: Op, inputs: &[TensorId], output: TensorId) -> Vec<u8> {
        for &id in inputs {
            self.input(id);
        }
        self.output(output);
        self.node(op, inputs, output);
        self.package()
    }
}

/// Most threads that tests run on.
pub(crate) const THREADS: usize = 4;

thread_local! {
    /// Pools of 1 to [`THREADS`] threads that divide each node that can be divided.
    static POOLS: RefCell<[Pool; THREADS]> = RefCell::new(std::array::from_fn(|others| {
        Pool::new(others + 1).unwrap().with_least_work(0)
    }));
}

/// The same network, with the constants of its integer layers in panels of this layout.
pub(crate) fn in_panels(bytes: &[u8], layout: KernelLayout) -> Vec<u8> {
    let package = Package::open(bytes).unwrap();
    let container = Container::parse(bytes).unwrap();
    let manifest = package.manifest();
    let mut nodes: Vec<Node<'_>> = manifest.nodes().collect();
    let mut panels = vec![None; usize::from(manifest.head.counts.tensors)];
    for (index, node) in nodes.iter_mut().enumerate() {
        let laid_out = plan::panels(&package, index, layout).unwrap();
        if let (Some(linear), Some(laid_out)) = (linear_mut(&mut node.op), laid_out) {
            panels[usize::from(linear.weights)] = Some(laid_out);
            linear.bias = None;
        }
    }
    let mut writer = Writer::default();
    manifest.inputs().for_each(|x| writer.input(&x).unwrap());
    manifest.outputs().for_each(|x| writer.output(&x).unwrap());
    nodes.iter().for_each(|x| writer.node(x).unwrap());
    for (tensor, panels) in manifest.tensors().zip(panels) {
        let (dtype, shape, q) = (tensor.dtype, tensor.shape, tensor.quantization);
        match (tensor.storage, panels) {
            (Storage::Arena { offset }, _) => writer.activation(dtype, shape, q, offset),
            (_, Some((encoding, blob))) => {
                writer.stored(dtype, shape, Quantization::None, encoding, blob)
            }
            (
                Storage::Blob {
                    offset,
                    len,
                    encoding,
                },
                None,
            ) => {
                let blob = container.body[offset as usize..][..len as usize].to_vec();
                writer.stored(dtype, shape, q, encoding, blob)
            }
        }
        .unwrap();
    }
    let mut head = manifest.head;
    let draft = writer.finish(&head).unwrap();
    let needs = plan::needs_of(Package::open(&draft).unwrap().manifest(), layout).unwrap();
    head.arena.constants = needs.constants as u32;
    writer.finish(&head).unwrap()
}

fn linear_mut(op: &mut Op) -> Option<&mut Linear> {
    match op {
        Op::Conv2d { linear, .. }
        | Op::DepthwiseConv2d { linear, .. }
        | Op::FullyConnected { linear } => Some(linear),
        _ => None,
    }
}

/// Runs a package with every kernel set, on one thread and on two to four, asserts that they agree, also where they
/// read the constants in place or, from the panels of sets that this processor lacks, lay them out anew; returns the
/// first output.
pub(crate) fn run(package: &[u8], inputs: &[&[u8]]) -> Vec<u8> {
    // another number for other packages: sweeps meet all
    let several = 2 + package.len() / 64 % (THREADS - 1);
    let expected = run_with(package, inputs, KernelSet::portable(), 1);
    for kernels in KernelSet::available() {
        for threads in [1, several] {
            let output = run_with(package, inputs, kernels, threads);
            assert_eq!(
                output, expected,
                "{kernels:?} on {threads} threads differs from portable on one"
            );
        }
    }
    for layout in KernelLayout::all() {
        let own = KernelSet::available().find(|kernels| kernels.layout() == layout);
        let kernels = own.unwrap_or(KernelSet::detect());
        let output = run_with(&in_panels(package, layout), inputs, kernels, several);
        assert_eq!(output, expected, "{kernels:?} differs with {layout:?}");
    }
    expected
}

/// Runs a package, dividing each node that can be divided, and returns the first output.
fn run_with(package: &[u8], inputs: &[&[u8]], kernels: KernelSet, threads: usize) -> Vec<u8> {
    let package = Package::open(package).unwrap();
    let mut memory = Memory::new(package.arena_bytes_with(kernels, threads));
    // memory that a kernel must not depend on
    memory.bytes_mut().fill(0xa5);
    let arena = memory.bytes_mut();
    let mut session = Session::<DEFAULT_NODES>::with_kernels(&package, arena, kernels).unwrap();
    for (i, input) in inputs.iter().enumerate() {
        session.input(i).unwrap().copy_from_slice(input);
    }
    match threads {
        1 => session.run(&mut ()),
        _ => POOLS.with_borrow_mut(|pools| session.run_on(&mut pools[threads - 1], &mut ())),
    }
    .unwrap();
    session.output(0).unwrap().to_vec()
}

pub(crate) fn bytes_of(codes: &[i8]) -> Vec<u8> {
    codes.iter().map(|&code| code as u8).collect()
}

pub(crate) fn codes_of(bytes: &[u8]) -> Vec<i8> {
    bytes.iter().map(|&byte| byte as i8).collect()
}

pub(crate) fn bytes_of_floats(floats: &[f32]) -> Vec<u8> {
    floats.iter().flat_map(|x| x.to_ne_bytes()).collect()
}

pub(crate) fn floats_of(bytes: &[u8]) -> Vec<f32> {
    let chunks = bytes.as_chunks::<4>().0;
    chunks
        .iter()
        .map(|&chunk| f32::from_ne_bytes(chunk))
        .collect()
}

pub(crate) fn linear(weights: TensorId, bias: Option<TensorId>, activation: Activation) -> Linear {
    Linear {
        weights,
        bias,
        activation,
    }
}
