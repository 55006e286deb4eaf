//! The operators, one file each, in two phases. `prepare` makes every check and resolves every
//! offset; opening a package calls it and drops the result, a session keeps the result. `run` then
//! checks nothing. Offsets count from the start of the activations, the constants or the body.

/// Why a node cannot be run by a program that was built without a feature.
macro_rules! missing {
    ($feature:literal) => {
        concat!(
            "this program was built without `",
            $feature,
            "`: `edgeprune build MODEL.epk` builds one for a package"
        )
    };
}

mod average_pool_2d;
mod binary;
mod bounds;
mod concat;
mod conv_2d;
mod convert;
mod depthwise_conv_2d;
mod fully_connected;
pub(crate) mod linear;
mod max_pool_2d;
mod mean;
mod pad;
mod panels;
mod resize;
mod slice;
mod softmax;
mod table;
mod transpose;
mod unary;
mod window;
mod work;

use crate::SessionError;
use crate::kernels::sparse::SparseLayer;
use crate::kernels::{KernelLayout, KernelName, KernelSet, Table};
use core::ops::Range;
use edgeprune_format::manifest::{
    self, DType, Encoding, MAX_NODE_INPUTS, Manifest, Node, Op, Quantization, Storage, Tensor,
    TensorId,
};
use edgeprune_format::{ALIGNMENT, FormatError, rans};
use heapless::Vec;
use linear::Linear;
use work::Work;

/// What preparation gives, or what is wrong with the node.
pub(crate) type Checked<T> = Result<T, &'static str>;

/// A range of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) offset: usize,
    pub(crate) len: usize,
}

impl Region {
    pub(crate) fn end(self) -> usize {
        self.offset + self.len
    }

    pub(crate) fn overlaps(self, other: Self) -> bool {
        self.offset < other.end() && other.offset < self.end()
    }

    pub(crate) fn of(self, bytes: &[u8]) -> Option<&[u8]> {
        bytes.get(self.offset..self.end())
    }

    pub(crate) fn of_mut(self, bytes: &mut [u8]) -> Option<&mut [u8]> {
        bytes.get_mut(self.offset..self.end())
    }
}

/// The elements of an activation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Element {
    /// `value = (code - zero_point) * scale`.
    I8 { scale: f32, zero_point: i8 },
    /// The value.
    F32,
}

impl Element {
    pub(crate) fn size(self) -> usize {
        match self {
            Self::I8 { .. } => 1,
            Self::F32 => 4,
        }
    }

    /// The code of 0; 0 for floats.
    pub(crate) fn zero_point(self) -> i8 {
        match self {
            Self::I8 { zero_point, .. } => zero_point,
            Self::F32 => 0,
        }
    }
}

/// An activation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Activation {
    pub(crate) element: Element,
    /// Height, width, channels.
    pub(crate) shape: [usize; 3],
    pub(crate) region: Region,
}

impl Activation {
    /// Checks a tensor that must be an activation.
    pub(crate) fn resolve(manifest: &Manifest<'_>, tensor: &Tensor) -> Checked<Self> {
        let Storage::Arena { offset } = tensor.storage else {
            return Err("a constant where an activation belongs");
        };
        let element = match (tensor.dtype, tensor.quantization) {
            (DType::I8, Quantization::PerTensor { scale, zero_point }) => Element::I8 {
                scale: valid_scale(scale)?,
                zero_point,
            },
            (DType::F32, Quantization::None) => Element::F32,
            _ => return Err("an activation is I8 with one scale and zero point, or F32 without"),
        };
        let [1, height, width, channels] = tensor.shape else {
            return Err("the batch of an activation is 1");
        };
        let len = match tensor.bytes() {
            Some(0) => return Err("an activation without elements"),
            Some(len) if len <= MAX_ACTIVATION => len,
            _ => return Err("an activation of 2 GiB or more"),
        };
        if !(offset as usize).is_multiple_of(ALIGNMENT) {
            return Err("an activation that is not aligned");
        }
        if offset as u64 + len as u64 > u64::from(manifest.head.arena.activations) {
            return Err("an activation outside the arena");
        }
        Ok(Self {
            element,
            shape: [height as usize, width as usize, channels as usize],
            region: Region {
                offset: offset as usize,
                len,
            },
        })
    }

    pub(crate) fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Most bytes of one activation: products of coordinates stay within 31 bits.
const MAX_ACTIVATION: usize = (1 << 31) - 1;

/// A scale that arithmetic can rely on.
pub(crate) fn valid_scale(scale: f32) -> Checked<f32> {
    if scale.is_finite() && scale > 0.0 {
        Ok(scale)
    } else {
        Err("a scale that is not finite and positive")
    }
}

/// How the elements of a constant are stored in the package's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// As they are.
    Raw(Region),
    /// Entropy-coded.
    Coded(Region),
}

impl Place {
    /// Gives the elements of the constant `id`, single bytes, to `sink`, in order, some at a time.
    fn read(
        self,
        id: TensorId,
        elements: usize,
        body: &[u8],
        sink: &mut dyn FnMut(&[i8]),
    ) -> Expansion {
        match self {
            Self::Raw(region) => sink(codes(region.of(body).ok_or(OUTSIDE)?)),
            Self::Coded(region) => {
                rans::decode_with(region.of(body).ok_or(OUTSIDE)?, elements, sink)
                    .map_err(|error| Fault::Stream(id, error))?;
            }
        }
        Ok(())
    }

    /// Copies the elements of the constant `id`, single bytes.
    fn copy(self, id: TensorId, body: &[u8], to: &mut [u8]) -> Expansion {
        let (elements, mut at) = (to.len(), 0);
        self.read(id, elements, body, &mut |codes| {
            if let Some(to) = to.get_mut(at..at + codes.len()) {
                codes_mut(to).copy_from_slice(codes);
            }
            at += codes.len();
        })
    }
}

const OUTSIDE: &str = "constants outside the package";

/// Whether a node's constants could be expanded.
pub(crate) type Expansion = Result<(), Fault>;

/// Why not.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// A constant that does not decode.
    Stream(TensorId, FormatError),
    /// What is wrong.
    What(&'static str),
}

impl Fault {
    /// As a session's error, of node `index`.
    pub(crate) fn at(self, index: u16) -> SessionError {
        match self {
            Self::Stream(id, error) => SessionError::Constant { id, error },
            Self::What(what) => SessionError::Node { index, what },
        }
    }
}

impl From<&'static str> for Fault {
    fn from(what: &'static str) -> Self {
        Self::What(what)
    }
}

/// The stored bytes of a constant.
fn blob(tensor: &Tensor) -> Checked<(Region, Encoding)> {
    match tensor.storage {
        Storage::Blob {
            offset,
            len,
            encoding,
        } => Ok((
            Region {
                offset: offset as usize,
                len: len as usize,
            },
            encoding,
        )),
        Storage::Arena { .. } => Err("an activation where a constant belongs"),
    }
}

/// Where the elements of a constant of codes or floats are.
fn constant_place(tensor: &Tensor) -> Checked<Place> {
    match blob(tensor)? {
        (region, Encoding::Raw) => Ok(Place::Raw(region)),
        (region, Encoding::Rans) if tensor.dtype == DType::I8 => Ok(Place::Coded(region)),
        (_, Encoding::Rans) => Err("an entropy-coded constant that is not I8"),
        (_, Encoding::Panels { .. }) => Err("panels of what is no weights"),
    }
}

/// What `prepare` reads.
pub(crate) struct Context<'c, 'm> {
    pub(crate) manifest: &'c Manifest<'m>,
    pub(crate) node: &'c Node<'m>,
    /// What the kernels that will run it want.
    pub(crate) layout: KernelLayout,
    /// Bytes of the constants that the nodes before this one take.
    pub(crate) constants: usize,
}

impl Context<'_, '_> {
    /// Whether the package has a layer's constants in panels.
    pub(crate) fn has_panels(&self, linear: manifest::Linear) -> Checked<bool> {
        let (_, encoding) = blob(&self.tensor(linear.weights)?)?;
        Ok(matches!(encoding, Encoding::Panels { .. }))
    }

    #[inline(never)]
    pub(crate) fn tensor(&self, id: TensorId) -> Checked<Tensor> {
        self.manifest.tensor(id).ok_or("an unknown tensor")
    }

    #[inline(never)]
    pub(crate) fn output(&self) -> Checked<Activation> {
        Activation::resolve(self.manifest, &self.tensor(self.node.output)?)
    }

    /// The only input of a node.
    #[inline(never)]
    pub(crate) fn input(&self) -> Checked<Activation> {
        match self.node.inputs.as_slice() {
            &[id] => Activation::resolve(self.manifest, &self.tensor(id)?),
            _ => Err("the operator has one input"),
        }
    }

    /// The two inputs of a node.
    #[inline(never)]
    pub(crate) fn two_inputs(&self) -> Checked<[Activation; 2]> {
        match self.node.inputs.as_slice() {
            &[a, b] => Ok([
                Activation::resolve(self.manifest, &self.tensor(a)?)?,
                Activation::resolve(self.manifest, &self.tensor(b)?)?,
            ]),
            _ => Err("the operator has two inputs"),
        }
    }
}

/// The memory of one step while it runs.
pub(crate) struct Memory<'s> {
    pub(crate) body: &'s [u8],
    pub(crate) constants: &'s [u8],
    /// Activations before the output.
    low: &'s [u8],
    /// Activations after the output.
    high: &'s [u8],
    high_offset: usize,
    pub(crate) inputs: &'s [Region],
    /// Those bytes of the output that [`Self::pieces`] are.
    pub(crate) output: &'s mut [u8],
    pub(crate) scratch: &'s mut [u8],
    pub(crate) kernels: KernelSet,
    /// The pieces of the output to compute, of those that the operator's [`Work`] names.
    pub(crate) pieces: Range<usize>,
}

impl<'s> Memory<'s> {
    /// An activation other than the output.
    pub(crate) fn input(&self, region: Region) -> Option<&'s [u8]> {
        if region.end() <= self.low.len() {
            region.of(self.low)
        } else {
            let offset = region.offset.checked_sub(self.high_offset)?;
            Region { offset, ..region }.of(self.high)
        }
    }
}

/// A node, prepared.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) inputs: Vec<Region, MAX_NODE_INPUTS>,
    pub(crate) output: Region,
    pub(crate) output_element: Element,
    kernel: Prepared,
}

/// From a line for each operator: what a prepared node holds, and the two phases. The line names the cargo
/// feature that builds the operator in, the manifest's operator and those of its fields that `prepare` takes.
macro_rules! operators {
    ($($feature:literal: $operator:ident { $($field:ident),* } => $prepared:ty,)*) => {
        #[derive(Clone, Debug)]
        enum Prepared {
            $($operator($prepared),)*
        }

        impl Prepared {
            fn new(cx: &Context<'_, '_>) -> Checked<Self> {
                match cx.node.op {
                    $(Op::$operator { $($field),* } if cfg!(feature = $feature) => {
                        <$prepared>::prepare(cx $(, $field)*).map(Self::$operator)
                    })*
                    $(Op::$operator { .. } => Err(missing!($feature)),)*
                    _ => Err("an operator that this runtime does not know"),
                }
            }

            fn run(&self, memory: &mut Memory<'_>) -> Option<()> {
                match self {
                    $(Self::$operator(op) if cfg!(feature = $feature) => op.run(memory),)*
                    _ => None,
                }
            }
        }
    };
}

operators! {
    "conv_2d": Conv2d { linear, window, groups } => conv_2d::Conv2d,
    "depthwise_conv_2d": DepthwiseConv2d { linear, window } => depthwise_conv_2d::DepthwiseConv2d,
    "fully_connected": FullyConnected { linear } => fully_connected::FullyConnected,
    "binary": Binary { kind, activation } => binary::Binary,
    "max_pool_2d": MaxPool2d { window } => max_pool_2d::MaxPool2d,
    "average_pool_2d": AveragePool2d { window, count_include_pad } => average_pool_2d::AveragePool2d,
    "mean": Mean {} => mean::Mean,
    "table": Table { table } => table::Table,
    "unary": Unary { kind } => unary::Unary,
    "softmax": Softmax {} => softmax::Softmax,
    "concat": Concat { axis } => concat::Concat,
    "pad": Pad { before, value } => pad::Pad,
    "slice": Slice { start, step } => slice::Slice,
    "transpose": Transpose { perm } => transpose::Transpose,
    "resize": Resize { kind, coordinates } => resize::Resize,
    "convert": Convert {} => convert::Convert,
}

impl Step {
    /// Checks a node and resolves its operands.
    pub(crate) fn prepare(cx: &Context<'_, '_>) -> Checked<Self> {
        let Activation {
            region: output,
            element: output_element,
            ..
        } = cx.output()?;
        let mut inputs = Vec::new();
        for &id in &cx.node.inputs {
            let input = Activation::resolve(cx.manifest, &cx.tensor(id)?)?.region;
            if input.overlaps(output) {
                return Err("an input overlaps the output");
            }
            inputs.push(input).map_err(|_| "too many inputs")?;
        }
        Ok(Self {
            inputs,
            output,
            output_element,
            kernel: Prepared::new(cx)?,
        })
    }

    /// Bytes of constants that the node keeps for its runs.
    pub(crate) fn constants(&self) -> usize {
        match &self.kernel {
            Prepared::Table(op) => op.constants(),
            _ => self.linear().map_or(0, Linear::constants),
        }
    }

    /// Writes the constants for these kernels, and chooses among them where the node may have `scratch` bytes of working memory.
    pub(crate) fn expand(
        &mut self,
        body: &[u8],
        kernels: &Table,
        scratch: usize,
        own: &mut [u8],
    ) -> Expansion {
        match &mut self.kernel {
            Prepared::Table(op) => op.expand(body, own),
            Prepared::Conv2d(op) => op.expand(body, kernels, scratch, own),
            _ => self
                .linear()
                .map_or(Ok(()), |linear| linear.expand(body, kernels.panel, own)),
        }
    }

    /// The node, if there are kernels that leave out its blocks of zeros.
    pub(crate) fn sparse_layer(&self) -> Option<SparseLayer> {
        match &self.kernel {
            Prepared::Conv2d(op) => op.sparse_layer(),
            _ => None,
        }
    }

    /// The weights and their scales, if the operator has any.
    pub(crate) fn linear(&self) -> Option<&Linear> {
        match &self.kernel {
            Prepared::Conv2d(op) => Some(&op.linear),
            Prepared::DepthwiseConv2d(op) => Some(&op.linear),
            Prepared::FullyConnected(op) => Some(op.linear()),
            _ => None,
        }
    }

    /// Bytes of working memory, `None` if they overflow.
    pub(crate) fn scratch(&self) -> Option<usize> {
        match &self.kernel {
            Prepared::Conv2d(op) => op.scratch(),
            Prepared::DepthwiseConv2d(op) => op.scratch(),
            Prepared::FullyConnected(op) => op.scratch(),
            Prepared::AveragePool2d(op) => op.scratch(),
            Prepared::Mean(op) => op.scratch(),
            _ => Some(0),
        }
    }

    /// The kernel of the set that runs the node; `None` where that is its portable definition.
    pub(crate) fn kernel(&self, kernels: KernelSet) -> Option<KernelName> {
        let table = kernels.table();
        match &self.kernel {
            Prepared::Conv2d(op) => Some(op.kernel(table)),
            Prepared::DepthwiseConv2d(op) => Some(op.kernel(table)),
            Prepared::FullyConnected(op) => Some(op.kernel(table)),
            Prepared::Binary(op) => op.kernel(table),
            _ => None,
        }
    }

    /// How the output can be divided.
    pub(crate) fn work(&self) -> Work {
        match &self.kernel {
            Prepared::Conv2d(op) => op.work(),
            Prepared::DepthwiseConv2d(op) => op.work(),
            Prepared::FullyConnected(op) => op.work(),
            Prepared::Binary(op) => op.work(),
            Prepared::MaxPool2d(op) => op.work(),
            Prepared::AveragePool2d(op) => op.work(),
            Prepared::Table(op) => op.work(),
            Prepared::Unary(op) => op.work(),
            Prepared::Softmax(op) => op.work(),
            Prepared::Slice(op) => op.work(),
            Prepared::Transpose(op) => op.work(),
            Prepared::Resize(op) => op.work(),
            Prepared::Convert(op) => op.work(),
            Prepared::Mean(_) | Prepared::Concat(_) | Prepared::Pad(_) => Work::WHOLE,
        }
    }

    /// The memory for a run that computes the whole output.
    pub(crate) fn memory<'s>(
        &'s self,
        body: &'s [u8],
        constants: &'s [u8],
        activations: &'s mut [u8],
        scratch: &'s mut [u8],
        kernels: KernelSet,
    ) -> Option<Memory<'s>> {
        let (low, rest) = activations.split_at_mut_checked(self.output.offset)?;
        let (output, high) = rest.split_at_mut_checked(self.output.len)?;
        Some(Memory {
            body,
            constants,
            low,
            high,
            high_offset: self.output.end(),
            inputs: &self.inputs,
            output,
            scratch,
            kernels,
            pieces: self.work().all(),
        })
    }

    /// Computes some pieces of the output. `None` stands for a bound that preparation has ruled out.
    pub(crate) fn run(&self, memory: &mut Memory<'_>) -> Option<()> {
        self.kernel.run(memory)
    }
}

/// Activation or scratch bytes as codes.
pub(crate) fn codes(bytes: &[u8]) -> &[i8] {
    bytemuck::cast_slice(bytes)
}

/// Activation or scratch bytes as codes, to write.
pub(crate) fn codes_mut(bytes: &mut [u8]) -> &mut [i8] {
    bytemuck::cast_slice_mut(bytes)
}

/// Aligned bytes as words or floats.
pub(crate) fn words<T: bytemuck::AnyBitPattern>(bytes: &[u8]) -> Option<&[T]> {
    bytemuck::try_cast_slice(bytes).ok()
}

/// Aligned bytes as words or floats, to write.
pub(crate) fn words_mut<T: bytemuck::Pod>(bytes: &mut [u8]) -> Option<&mut [T]> {
    bytemuck::try_cast_slice_mut(bytes).ok()
}
