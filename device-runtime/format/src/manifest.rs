//! The manifest: what the network is, how samples become its input, and every node and tensor.
//!
//! The bytes are one [`Head`] and then four tables of postcard records, back to back, in this
//! order: inputs, outputs, tensors, nodes. A table's length is in the head. Records are decoded
//! while they are read, so that no allocation and no fixed table size is needed.

use crate::FormatError;
use core::marker::PhantomData;
use heapless::Vec;
use serde::{Deserialize, Serialize};

/// Index of a tensor in the tensor table.
pub type TensorId = u16;
/// Dimensions of a tensor: batch (always 1 for activations), height, width, channels.
pub type Shape = [u32; 4];
/// Most inputs that one node can have.
pub const MAX_NODE_INPUTS: usize = 8;
/// Most dimensions that the source model's inputs and outputs can have.
pub const MAX_SOURCE_RANK: usize = 6;
/// Most channels that a preprocessing mean and standard deviation can name.
pub const MAX_MEAN_CHANNELS: usize = 4;

/// The first record of the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head<'a> {
    /// Name of the model, usually its file stem.
    pub model: &'a str,
    /// Name and version of the tool that wrote the package.
    pub tool: &'a str,
    /// SHA-256 of the source model file.
    pub source_hash: [u8; 32],
    /// What the activation ranges were measured on.
    pub calibration: Calibration,
    /// Memory that a session needs.
    pub arena: Arena,
    /// Output channels that were found dead or constant and removed.
    pub removed_channels: u32,
    /// Class names, one a line (a [`DType::U8`] tensor).
    pub labels: Option<TensorId>,
    /// Records in each table.
    pub counts: Counts,
}

/// What the activation ranges were measured on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Calibration {
    /// Synthetic inputs: the package is uncalibrated.
    Synthetic,
    /// That many real samples.
    Samples(u32),
}

/// Bytes that a session needs, each part rounded up to [`crate::ALIGNMENT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arena {
    /// Constants as kernels read them: weights, biases, requantization multipliers.
    pub constants: u32,
    /// Activations; their offsets are in the tensor table.
    pub activations: u32,
    /// Working memory of the kernels.
    pub scratch: u32,
}

impl Arena {
    /// All three parts.
    pub fn total(&self) -> usize {
        self.constants as usize + self.activations as usize + self.scratch as usize
    }
}

/// Records in each table of the manifest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Model inputs.
    pub inputs: u16,
    /// Model outputs.
    pub outputs: u16,
    /// Tensors.
    pub tensors: u16,
    /// Nodes, in order of execution.
    pub nodes: u16,
}

/// A model input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Input<'a> {
    /// Name in the source model.
    pub name: &'a str,
    /// The tensor that receives it, always in NHWC order.
    pub tensor: TensorId,
    /// Dimensions in the source model.
    pub source_shape: Vec<u32, MAX_SOURCE_RANK>,
    /// Order of the dimensions in the source model.
    pub layout: Layout,
    /// How an image becomes this input.
    pub preprocess: Option<Preprocess>,
}

/// A model output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Output<'a> {
    /// Name in the source model.
    pub name: &'a str,
    /// The tensor that holds it, always in NHWC order.
    pub tensor: TensorId,
    /// Dimensions in the source model.
    pub source_shape: Vec<u32, MAX_SOURCE_RANK>,
    /// Order of the dimensions in the source model.
    pub layout: Layout,
}

/// Order of dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// Batch, channels, height, width (ONNX).
    Nchw,
    /// Batch, height, width, channels (TFLite, and edgeprune everywhere).
    Nhwc,
}

/// How an image becomes an input tensor: resize, centre crop, reorder channels, `(pixel - mean) / std`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preprocess {
    /// Resizing before the crop.
    pub resize: Resize,
    /// Centre crop, height and width in pixels.
    pub crop: Option<[u16; 2]>,
    /// Order of the colour channels.
    pub channel_order: ChannelOrder,
    /// Mean per channel on the 0..255 scale, in channel order.
    pub mean: Vec<f32, MAX_MEAN_CHANNELS>,
    /// Divisor per channel on the 0..255 scale, in channel order.
    pub std: Vec<f32, MAX_MEAN_CHANNELS>,
}

/// Resizing of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resize {
    /// Keep the size.
    None,
    /// Scale so that the shorter side has that many pixels.
    Shorter(u16),
    /// Scale to that height and width, whatever the aspect ratio.
    Exact([u16; 2]),
}

/// Order of the colour channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelOrder {
    /// One channel of luminance.
    Gray,
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
}

/// A tensor: an activation in the arena or a constant in the package body.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tensor {
    /// Element type.
    pub dtype: DType,
    /// Dimensions, NHWC. Convolution weights are `[out, kh, kw, in / groups]`, depthwise weights
    /// `[1, kh, kw, channels]`, fully connected weights `[out, 1, 1, in]`, vectors `[1, 1, 1, n]`.
    pub shape: Shape,
    /// What an integer code means.
    pub quantization: Quantization,
    /// Where the elements are.
    pub storage: Storage,
}

impl Tensor {
    /// Number of elements, `None` on overflow.
    pub fn elements(&self) -> Option<usize> {
        self.shape
            .iter()
            .try_fold(1usize, |n, &d| n.checked_mul(d as usize))
    }

    /// The stored bytes of a constant, in the package's body; `None` for an activation, and for bytes outside.
    pub fn blob<'b>(&self, body: &'b [u8]) -> Option<(&'b [u8], Encoding)> {
        let Storage::Blob {
            offset,
            len,
            encoding,
        } = self.storage
        else {
            return None;
        };
        let blob = body.get(offset as usize..)?;
        Some((blob.get(..len as usize)?, encoding))
    }

    /// Bytes of the decoded elements, `None` on overflow.
    pub fn bytes(&self) -> Option<usize> {
        self.elements()?.checked_mul(self.dtype.size())
    }
}

/// Element types. Multi-byte elements are little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DType {
    /// Signed 8-bit codes.
    I8,
    /// Bytes: text.
    U8,
    /// Signed 16-bit codes (compact biases).
    I16,
    /// Signed 32-bit (biases).
    I32,
    /// IEEE single precision.
    F32,
    /// The upper half of an IEEE single (compact weight scales).
    Bf16,
}

impl DType {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::I16 | Self::Bf16 => 2,
            Self::I32 | Self::F32 => 4,
        }
    }
}

/// What an integer code means.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Quantization {
    /// The element is the value (floats, tables, text). An `I32` bias without quantization is in
    /// units of input scale times weight scale.
    None,
    /// `value = (code - zero_point) * scale`; weights have a zero point of 0.
    PerTensor {
        /// Step size.
        scale: f32,
        /// Code of the value 0.
        zero_point: i8,
    },
    /// Weights: `value = code * scales[output channel]`.
    PerChannel {
        /// A [`DType::Bf16`] or [`DType::F32`] vector, one scale per output channel.
        scales: TensorId,
    },
    /// An `I16` bias: `bias = code << shift`, then as an `I32` bias.
    Shift(u8),
}

/// Where a tensor's elements are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Storage {
    /// In the activation part of the arena, at this multiple of [`crate::ALIGNMENT`] bytes.
    Arena {
        /// Offset in bytes.
        offset: u32,
    },
    /// In the package body.
    Blob {
        /// Offset in bytes from the start of the body.
        offset: u32,
        /// Length in bytes, as stored.
        len: u32,
        /// How the elements are stored.
        encoding: Encoding,
    },
}

/// How a constant's elements are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encoding {
    /// As they are. `I8` weights lie at a multiple of [`crate::ALIGNMENT`]. `F32` weights are read in place; those of
    /// convolutions and fully connected layers are in panels: see [`float_place`].
    Raw,
    /// Static rANS over single-byte elements: see [`crate::rans`].
    Rans,
    /// Weights of an integer layer with its biases and multipliers, in panels of output channels as kernels read
    /// them, at a multiple of [`crate::ALIGNMENT`].
    Panels {
        /// Output channels of a panel, at least 1.
        columns: u32,
        /// Codes of a channel that lie together, 1 to 16.
        step: u8,
        /// What the kernels add to input codes: a panel's biases are this times the sum of the channel's weights less.
        offset: u8,
    },
}

/// Output channels whose weights lie together in a panel.
pub const PANEL: usize = 16;

/// Where a weight is among those of a float convolution in the order in which every processor reads them. Each group
/// has its own panels of [`PANEL`] output channels, the last of which may be narrower; a panel is
/// `[depth][channels of the panel]`.
///
/// `channel` is an output channel of all, `k` the number of a weight of its `depth`, `group` the output channels of a
/// group; neither is 0.
pub fn float_place(channel: usize, k: usize, depth: usize, group: usize) -> usize {
    let first = channel - channel % group % PANEL;
    let width = PANEL.min(group - first % group);
    first * depth + k * width + (channel - first)
}

/// A node: one operator, its activations and its constants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node<'a> {
    /// Short unique name from the source model.
    pub name: &'a str,
    /// What it computes.
    pub op: Op,
    /// Activations that it reads.
    pub inputs: Vec<TensorId, MAX_NODE_INPUTS>,
    /// The activation that it writes.
    pub output: TensorId,
}

/// The operators. Element types come from the tensors: an `I8` input is computed in integers, an
/// `F32` input in single precision. Weights of convolutions are `I8` codes or `F32` in either case.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Op {
    /// 2-D convolution, grouped or not. `I8` input may give `I8` or `F32` output.
    Conv2d {
        /// Constants and fused activation.
        linear: Linear,
        /// Kernel window.
        window: Window,
        /// Input and output channels are split into that many independent groups.
        groups: u32,
    },
    /// 2-D convolution of each channel with its own kernel (`in == out == groups`).
    DepthwiseConv2d {
        /// Constants and fused activation.
        linear: Linear,
        /// Kernel window.
        window: Window,
    },
    /// `y = W x + b` over the channels, for each of height x width rows.
    FullyConnected {
        /// Constants and fused activation.
        linear: Linear,
    },
    /// Element-wise operator of two activations. Each dimension of the second is that of the first
    /// or 1 (broadcast).
    Binary {
        /// Which one.
        kind: BinaryKind,
        /// Fused activation.
        activation: Activation,
    },
    /// Maximum over a window; padding never wins. Same quantization in and out.
    MaxPool2d {
        /// Kernel window.
        window: Window,
    },
    /// Mean over a window.
    AveragePool2d {
        /// Kernel window.
        window: Window,
        /// Whether padding counts in the divisor.
        count_include_pad: bool,
    },
    /// Mean over height and width.
    Mean,
    /// `I8`: any element-wise function as a table from `code + 128` to the output code.
    Table {
        /// An `I8` vector of 256 elements.
        table: TensorId,
    },
    /// `F32`: an element-wise function.
    Unary {
        /// Which one.
        kind: UnaryKind,
    },
    /// Softmax over the channels. `I8` or `F32` in, `F32` out.
    Softmax,
    /// Joins the inputs along one axis. All have the output's quantization.
    Concat {
        /// Axis 1 (height), 2 (width) or 3 (channels).
        axis: u8,
    },
    /// Surrounds with a constant.
    Pad {
        /// Elements before each of height, width, channels; what is left goes after.
        before: [u16; 3],
        /// The constant, as a real value.
        value: f32,
    },
    /// Takes `output[i] = input[start + i * step]` along height, width and channels.
    Slice {
        /// First element.
        start: [u32; 3],
        /// Distance between elements.
        step: [u16; 3],
    },
    /// `output.shape[i] = input.shape[perm[i]]`; the batch stays first.
    Transpose {
        /// Source axis of each output axis.
        perm: [u8; 4],
    },
    /// Changes height and width.
    Resize {
        /// Interpolation.
        kind: ResizeKind,
        /// Where a pixel's centre is.
        coordinates: ResizeCoordinates,
    },
    /// Changes the element type or the quantization.
    Convert,
}

impl Op {
    /// The operator's name in reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Conv2d { .. } => "conv_2d",
            Self::DepthwiseConv2d { .. } => "depthwise_conv_2d",
            Self::FullyConnected { .. } => "fully_connected",
            Self::Binary { kind, .. } => match kind {
                BinaryKind::Add => "add",
                BinaryKind::Sub => "sub",
                BinaryKind::Mul => "mul",
                BinaryKind::Max => "max",
                BinaryKind::Min => "min",
            },
            Self::MaxPool2d { .. } => "max_pool_2d",
            Self::AveragePool2d { .. } => "average_pool_2d",
            Self::Mean => "mean",
            Self::Table { .. } => "table",
            Self::Unary { .. } => "unary",
            Self::Softmax => "softmax",
            Self::Concat { .. } => "concat",
            Self::Pad { .. } => "pad",
            Self::Slice { .. } => "slice",
            Self::Transpose { .. } => "transpose",
            Self::Resize { .. } => "resize",
            Self::Convert => "convert",
        }
    }

    /// The file that holds the operator in the runtime, and the cargo feature that builds it in.
    pub fn family(&self) -> &'static str {
        match self {
            Self::Binary { .. } => "binary",
            _ => self.name(),
        }
    }

    /// The constants, if the operator has weights.
    pub fn linear(&self) -> Option<&Linear> {
        match self {
            Self::Conv2d { linear, .. }
            | Self::DepthwiseConv2d { linear, .. }
            | Self::FullyConnected { linear } => Some(linear),
            _ => None,
        }
    }
}

/// The constants of a convolution or a fully connected layer, and its fused activation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Linear {
    /// `I8` codes or `F32` values.
    pub weights: TensorId,
    /// `I32`, or `I16` with a shift, where the input is `I8`; `F32` where it is `F32`. One per output channel.
    pub bias: Option<TensorId>,
    /// Fused activation.
    pub activation: Activation,
}

/// The window of a convolution or a pooling. The output's height and width are those of the
/// output tensor; taps outside the input read zero (the zero point).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Height and width.
    pub kernel: [u16; 2],
    /// Step down and right.
    pub stride: [u16; 2],
    /// Distance between taps.
    pub dilation: [u16; 2],
    /// Padding above and to the left.
    pub pad: [u16; 2],
}

/// A fused activation, in real values; clamps integer codes after requantization.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Activation {
    /// None.
    None,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, min), max)`.
    Clamp {
        /// Least value.
        min: f32,
        /// Greatest value.
        max: f32,
    },
}

impl Activation {
    /// Least and greatest value.
    pub fn bounds(self) -> (f32, f32) {
        match self {
            Self::None => (f32::NEG_INFINITY, f32::INFINITY),
            Self::Relu => (0.0, f32::INFINITY),
            Self::Clamp { min, max } => (min, max),
        }
    }
}

/// Element-wise operators of two activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BinaryKind {
    /// `a + b`.
    Add,
    /// `a - b`.
    Sub,
    /// `a * b`.
    Mul,
    /// `max(a, b)`.
    Max,
    /// `min(a, b)`.
    Min,
}

/// Element-wise functions of one activation, in single precision.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum UnaryKind {
    /// `min(max(x, min), max)`.
    Clamp {
        /// Least value.
        min: f32,
        /// Greatest value.
        max: f32,
    },
    /// `a x + b`.
    Affine {
        /// Factor.
        a: f32,
        /// Term.
        b: f32,
    },
    /// `x` where positive, `slope x` elsewhere.
    LeakyRelu {
        /// Factor of negative values.
        slope: f32,
    },
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// `x sigmoid(x)`.
    Silu,
    /// `x relu6(x + 3) / 6`.
    HardSwish,
    /// `min(max(a x + b, 0), 1)`.
    HardSigmoid {
        /// Factor.
        a: f32,
        /// Term.
        b: f32,
    },
    /// `x` where positive, `alpha (exp(x) - 1)` elsewhere.
    Elu {
        /// Factor of the exponential.
        alpha: f32,
    },
    /// `x (1 + erf(x / sqrt 2)) / 2`.
    Gelu,
    /// Error function.
    Erf,
    /// `exp(x)`.
    Exp,
    /// Natural logarithm.
    Log,
    /// Square root.
    Sqrt,
    /// `1 / sqrt(x)`.
    Rsqrt,
    /// `1 / x`.
    Reciprocal,
    /// `|x|`.
    Abs,
    /// `x^2`.
    Square,
    /// `ln(1 + exp(x))`.
    Softplus,
    /// `x tanh(softplus(x))`.
    Mish,
}

/// Interpolation of a resize.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResizeKind {
    /// Nearest pixel (floor).
    Nearest,
    /// Linear in both directions.
    Bilinear,
}

/// How an output coordinate maps to the input in a resize (ONNX's terms).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResizeCoordinates {
    /// `x_in = x_out * in / out`.
    Asymmetric,
    /// `x_in = (x_out + 0.5) * in / out - 0.5`.
    HalfPixel,
    /// `x_in = x_out * (in - 1) / (out - 1)`.
    AlignCorners,
    /// Any line for each direction: a scale that is not the ratio of the sizes, another rounding.
    Lines {
        /// Along the height.
        height: ResizeLine,
        /// Along the width.
        width: ResizeLine,
    },
}

/// `x_in = (start + x_out * step) / denominator`, in a resize.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResizeLine {
    /// Numerator of the first output coordinate.
    pub start: i32,
    /// What each further output coordinate adds to the numerator.
    pub step: u32,
    /// Not 0.
    pub denominator: u32,
}

impl ResizeLine {
    /// Every output coordinate is the input's.
    pub const IDENTITY: Self = Self {
        start: 0,
        step: 1,
        denominator: 1,
    };
}

/// A checked view of a manifest's bytes: the head is decoded, every record of every table decodes.
#[derive(Clone, Copy, Debug)]
pub struct Manifest<'a> {
    /// The first record.
    pub head: Head<'a>,
    inputs: &'a [u8],
    outputs: &'a [u8],
    tensors: &'a [u8],
    nodes: &'a [u8],
}

impl<'a> Manifest<'a> {
    /// Decodes the head and checks that every record decodes and that nothing follows the last.
    ///
    /// # Errors
    /// [`FormatError::Manifest`] names the first record that does not decode.
    #[inline(never)]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let (head, inputs) = Head::read(bytes).ok_or(FormatError::Manifest {
            what: "head",
            index: 0,
        })?;
        let outputs = skip::<Input<'a>>(inputs, head.counts.inputs, "input")?;
        let tensors = skip::<Output<'a>>(outputs, head.counts.outputs, "output")?;
        let nodes = skip::<Tensor>(tensors, head.counts.tensors, "tensor")?;
        let rest = skip::<Node<'a>>(nodes, head.counts.nodes, "node")?;
        if !rest.is_empty() {
            return Err(FormatError::Manifest {
                what: "end, at byte",
                index: (bytes.len() - rest.len()) as u32,
            });
        }
        Ok(Self {
            head,
            inputs,
            outputs,
            tensors,
            nodes,
        })
    }

    /// The model inputs.
    pub fn inputs(&self) -> Records<'a, Input<'a>> {
        Records::new(self.inputs, self.head.counts.inputs)
    }

    /// The model outputs.
    pub fn outputs(&self) -> Records<'a, Output<'a>> {
        Records::new(self.outputs, self.head.counts.outputs)
    }

    /// The tensors, in order of [`TensorId`].
    pub fn tensors(&self) -> Records<'a, Tensor> {
        Records::new(self.tensors, self.head.counts.tensors)
    }

    /// One tensor. Takes time in proportion to `id`: for preparation, not for the hot loop.
    pub fn tensor(&self, id: TensorId) -> Option<Tensor> {
        self.tensors().nth(usize::from(id))
    }

    /// The nodes, in order of execution.
    pub fn nodes(&self) -> Records<'a, Node<'a>> {
        Records::new(self.nodes, self.head.counts.nodes)
    }
}

/// What a table consists of.
pub trait Record<'a>: Sized {
    /// Decodes the record that `bytes` begin with; also returns what follows it. `None` if none does.
    fn read(bytes: &'a [u8]) -> Option<(Self, &'a [u8])>;
}

/// Decodes each type of record in one place, which is long.
macro_rules! records {
    ($($record:ty),*) => {
        $(impl<'a> Record<'a> for $record {
            #[inline(never)]
            fn read(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
                postcard::take_from_bytes(bytes).ok()
            }
        })*
    };
}

records!(Head<'a>, Input<'a>, Output<'a>, Tensor, Node<'a>);

fn skip<'a, T: Record<'a>>(
    mut bytes: &'a [u8],
    count: u16,
    what: &'static str,
) -> Result<&'a [u8], FormatError> {
    for index in 0..u32::from(count) {
        let (_, rest) = T::read(bytes).ok_or(FormatError::Manifest { what, index })?;
        bytes = rest;
    }
    Ok(bytes)
}

/// Iterates over the records of a table that [`Manifest::parse`] has checked.
#[derive(Clone, Debug)]
pub struct Records<'a, T> {
    bytes: &'a [u8],
    left: u16,
    record: PhantomData<T>,
}

impl<'a, T> Records<'a, T> {
    fn new(bytes: &'a [u8], left: u16) -> Self {
        Self {
            bytes,
            left,
            record: PhantomData,
        }
    }
}

impl<'a, T: Record<'a>> Iterator for Records<'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.left = self.left.checked_sub(1)?;
        let (record, rest) = T::read(self.bytes)?;
        self.bytes = rest;
        Some(record)
    }
}
