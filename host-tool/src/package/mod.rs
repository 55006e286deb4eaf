//! Writes a quantized graph as a package.

mod lower;
mod memory;
mod sparse;

pub use memory::arena_lower_bound;

use crate::Error;
use crate::dataset::InputSpec;
use crate::graph::{self, Op, Port};
use crate::quantize::{LayerShape, QuantizedGraph, QuantizedLinear};
use edgeprune_format::encode::{EncodeError, Writer};
use edgeprune_format::manifest::{
    Activation, Arena, Calibration, Counts, DType, Encoding, Head, Input, Linear, MAX_SOURCE_RANK,
    Node, Op as PackageOp, Output, Quantization, Shape, TensorId, UnaryKind, float_place,
};
use edgeprune_format::{ALIGNMENT, Container, Manifest};
use edgeprune_runtime::math::unary;
use edgeprune_runtime::plan::{needs_of, needs_with, panels};
use edgeprune_runtime::quantize::{dequantize, quantize};
use edgeprune_runtime::{KernelLayout, MAX_NODES};
use lower::{Lowered, Step};
use memory::place;
use sparse::sparse_nodes;

/// What a package says of itself beside the network.
#[derive(Clone, Debug)]
pub struct Description<'a> {
    /// What the ranges were measured on.
    pub calibration: Calibration,
    /// How samples become inputs.
    pub spec: Option<&'a InputSpec>,
    /// Output channels that were removed.
    pub removed_channels: usize,
    /// The kernels that read constants where they lie in the package; `None` for constants that are as short as
    /// can be, and are laid out when a session opens.
    pub in_place: Option<KernelLayout>,
}

/// The package's bytes, checked by the runtime that will run them.
///
/// # Errors
/// A network that the format cannot hold.
pub fn write(quantized: &QuantizedGraph, description: &Description<'_>) -> Result<Vec<u8>, Error> {
    let refused = |cause: String| Error::Package {
        path: quantized.graph.name.clone().into(),
        cause: format!("cannot be packed: {cause}"),
    };
    let finish = |constants: Constants<'_>| {
        let package = Package::new(quantized, description, constants);
        let package = package.map_err(|e| refused(e.to_string()))?;
        let nodes = package.lowered.steps.len();
        if nodes > MAX_NODES {
            let cause =
                format!("{nodes} nodes, runtimes have room for {MAX_NODES}: split the model");
            return Err(refused(cause));
        }
        package.finish().map_err(|e| refused(e.to_string()))
    };
    let bytes = finish(Constants::Short)?;
    let package = edgeprune_runtime::Package::open(&bytes).map_err(|e| refused(e.to_string()))?;
    let Some(layout) = description.in_place else {
        return Ok(bytes);
    };
    let in_place = finish(Constants::InPlace(&package, layout))?;
    edgeprune_runtime::Package::open(&in_place).map_err(|e| refused(e.to_string()))?;
    Ok(in_place)
}

/// How constants are stored.
#[derive(Clone, Copy)]
enum Constants<'a> {
    /// In as few bytes as can be.
    Short,
    /// As kernels of this layout read them. The runtime itself lays out those of the same network in this package.
    InPlace(&'a edgeprune_runtime::Package<'a>, KernelLayout),
}

struct Package<'a> {
    quantized: &'a QuantizedGraph,
    description: &'a Description<'a>,
    constants: Constants<'a>,
    lowered: Lowered,
    writer: Writer,
    labels: Option<TensorId>,
    activation_bytes: usize,
}

impl<'a> Package<'a> {
    fn new(
        quantized: &'a QuantizedGraph,
        description: &'a Description<'a>,
        constants: Constants<'a>,
    ) -> Result<Self, EncodeError> {
        let mut package = Self {
            quantized,
            description,
            constants,
            lowered: Lowered::new(quantized),
            writer: Writer::default(),
            labels: None,
            activation_bytes: 0,
        };
        package.activations()?;
        package.ports()?;
        for (number, step) in package.lowered.steps.clone().iter().enumerate() {
            package.step(number, step)?;
        }
        if let Some(labels) = description.spec.and_then(InputSpec::labels_text) {
            let shape = vector(labels.len());
            let labels =
                package
                    .writer
                    .constant(DType::U8, shape, Quantization::None, labels.as_bytes())?;
            package.labels = Some(labels);
        }
        Ok(package)
    }

    /// Adds the activations, which so get the tensor ids from 0.
    fn activations(&mut self) -> Result<(), EncodeError> {
        let (offsets, total) = place(&self.lowered.lifetimes(&self.quantized.graph));
        self.activation_bytes = total.next_multiple_of(ALIGNMENT);
        for activation in &self.lowered.activations {
            self.writer.activation(
                activation.dtype(),
                narrow_all(activation.shape)?,
                activation.manifest_quantization(),
                narrow(offsets[activation.storage])?,
            )?;
        }
        Ok(())
    }

    fn ports(&mut self) -> Result<(), EncodeError> {
        let graph = &self.quantized.graph;
        for port in &graph.inputs {
            self.writer.input(&Input {
                name: &port.name,
                tensor: narrow(port.tensor)?,
                source_shape: source_shape(port)?,
                layout: port.layout,
                preprocess: self.description.spec.map(|spec| spec.preprocess.clone()),
            })?;
        }
        for port in &graph.outputs {
            self.writer.output(&Output {
                name: &port.name,
                tensor: narrow(port.tensor)?,
                source_shape: source_shape(port)?,
                layout: port.layout,
            })?;
        }
        Ok(())
    }

    fn step(&mut self, number: usize, step: &Step) -> Result<(), EncodeError> {
        let (name, op) = match step.source {
            Some(index) => (
                self.quantized.graph.nodes[index].name.as_str(),
                self.op(number, step, index)?,
            ),
            None => ("", PackageOp::Convert),
        };
        let node = Node {
            name,
            op,
            inputs: step
                .inputs
                .iter()
                .map(|&id| narrow(id))
                .collect::<Result<_, _>>()?,
            output: narrow(step.output)?,
        };
        self.writer.node(&node)
    }

    fn op(&mut self, number: usize, step: &Step, index: usize) -> Result<PackageOp, EncodeError> {
        Ok(match &self.quantized.graph.nodes[index].op {
            Op::Conv2d { window, groups, .. } => PackageOp::Conv2d {
                linear: self.linear(number, step, index)?,
                window: *window,
                groups: narrow(*groups)?,
            },
            Op::DepthwiseConv2d { window, .. } => PackageOp::DepthwiseConv2d {
                linear: self.linear(number, step, index)?,
                window: *window,
            },
            Op::FullyConnected { .. } => PackageOp::FullyConnected {
                linear: self.linear(number, step, index)?,
            },
            Op::Binary { kind, activation } => PackageOp::Binary {
                kind: *kind,
                activation: *activation,
            },
            Op::MaxPool2d { window } => PackageOp::MaxPool2d { window: *window },
            Op::AveragePool2d {
                window,
                count_include_pad,
            } => PackageOp::AveragePool2d {
                window: *window,
                count_include_pad: *count_include_pad,
            },
            Op::Mean => PackageOp::Mean,
            Op::Normalize { gain, offset } => self.normalize(gain, offset)?,
            Op::Unary { kind } => self.unary(step, *kind)?,
            Op::Softmax => PackageOp::Softmax,
            Op::Concat { axis } => PackageOp::Concat {
                axis: narrow(*axis)?,
            },
            Op::Pad { before, value } => PackageOp::Pad {
                before: narrow_all(*before)?,
                value: *value,
            },
            Op::Slice { start, step } => PackageOp::Slice {
                start: narrow_all(*start)?,
                step: narrow_all(*step)?,
            },
            Op::Transpose { perm } => PackageOp::Transpose {
                perm: narrow_all(*perm)?,
            },
            Op::Resize { kind, coordinates } => PackageOp::Resize {
                kind: *kind,
                coordinates: *coordinates,
            },
            // Lowering made it a second name of its input.
            Op::Reshape => return Err(EncodeError::Record),
        })
    }

    /// A depthwise convolution of one element, in floats.
    fn normalize(&mut self, gain: &[f32], offset: &[f32]) -> Result<PackageOp, EncodeError> {
        let bytes: Vec<u8> = gain.iter().flat_map(|gain| gain.to_le_bytes()).collect();
        let weights =
            self.writer
                .constant(DType::F32, vector(gain.len()), Quantization::None, &bytes)?;
        Ok(PackageOp::DepthwiseConv2d {
            linear: Linear {
                weights,
                bias: self.floats(offset)?,
                activation: Activation::None,
            },
            window: graph::POINT,
        })
    }

    /// On codes any element-wise function is a table.
    fn unary(&mut self, step: &Step, kind: UnaryKind) -> Result<PackageOp, EncodeError> {
        let quantization = |id: usize| self.lowered.activations[id].quantization;
        let (Some(input), Some(output)) = (quantization(step.inputs[0]), quantization(step.output))
        else {
            return Ok(PackageOp::Unary { kind });
        };
        let table: Vec<u8> = (i8::MIN..=i8::MAX)
            .map(|code| {
                let x = dequantize(code, input.scale, input.zero_point);
                quantize(unary(kind, x), output.scale, output.zero_point) as u8
            })
            .collect();
        let table = self.codes(vector(256), Quantization::None, table)?;
        Ok(PackageOp::Table { table })
    }

    fn linear(&mut self, number: usize, step: &Step, index: usize) -> Result<Linear, EncodeError> {
        let op = &self.quantized.graph.nodes[index].op;
        let Some(source) = op.linear() else {
            return Err(EncodeError::Record);
        };
        let Some(layer) = &self.quantized.layers[index] else {
            return Ok(Linear {
                weights: self.float_weights(op, source)?,
                bias: self.floats(&source.bias)?,
                activation: source.activation,
            });
        };
        let shape = narrow_all(source.shape)?;
        if let Some((encoding, panels)) = self.panels(number)? {
            let none = Quantization::None;
            let weights = self
                .writer
                .stored(DType::I8, shape, none, encoding, panels)?;
            return Ok(Linear {
                weights,
                bias: None,
                activation: source.activation,
            });
        }
        let codes = layer.codes.iter().map(|&code| code as u8).collect();
        let quantization = self.weight_quantization(layer)?;
        let weights = self.codes(shape, quantization, codes)?;
        Ok(Linear {
            weights,
            bias: self.bias(step, layer)?,
            activation: source.activation,
        })
    }

    /// The constants of an integer layer as they are read in place, if they are to be.
    fn panels(&self, number: usize) -> Result<Option<(Encoding, Vec<u8>)>, EncodeError> {
        match self.constants {
            Constants::Short => Ok(None),
            // a package that opened has constants that can be laid out
            Constants::InPlace(package, layout) => {
                panels(package, number, layout).map_err(|_| EncodeError::Record)
            }
        }
    }

    /// Adds a constant of codes.
    fn codes(
        &mut self,
        shape: Shape,
        quantization: Quantization,
        codes: Vec<u8>,
    ) -> Result<TensorId, EncodeError> {
        let (writer, dtype) = (&mut self.writer, DType::I8);
        match self.constants {
            Constants::Short => writer.constant(dtype, shape, quantization, &codes),
            Constants::InPlace(..) => {
                writer.stored(dtype, shape, quantization, Encoding::Raw, codes)
            }
        }
    }

    /// Weights that are not quantized, in the order in which kernels read them.
    fn float_weights(&mut self, op: &Op, source: &graph::Linear) -> Result<TensorId, EncodeError> {
        let shape = LayerShape::of(op).ok_or(EncodeError::Record)?;
        let mut bytes = vec![0; 4 * source.weights.len()];
        for (index, weight) in source.weights.iter().enumerate() {
            let place = match op {
                Op::DepthwiseConv2d { .. } => index,
                _ => float_place(index / shape.k, index % shape.k, shape.k, shape.rows),
            };
            bytes[4 * place..4 * place + 4].copy_from_slice(&weight.to_le_bytes());
        }
        let dimensions = narrow_all(source.shape)?;
        self.writer
            .constant(DType::F32, dimensions, Quantization::None, &bytes)
    }

    /// A vector of floats, if they are not all zero.
    fn floats(&mut self, values: &[f32]) -> Result<Option<TensorId>, EncodeError> {
        if values.iter().all(|&value| value == 0.0) {
            return Ok(None);
        }
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let shape = vector(values.len());
        self.writer
            .constant(DType::F32, shape, Quantization::None, &bytes)
            .map(Some)
    }

    fn weight_quantization(
        &mut self,
        layer: &QuantizedLinear,
    ) -> Result<Quantization, EncodeError> {
        if layer.is_uniform() {
            return Ok(Quantization::PerTensor {
                scale: layer.scales[0],
                zero_point: 0,
            });
        }
        let halves: Vec<u8> = layer
            .scales
            .iter()
            .flat_map(|scale| ((scale.to_bits() >> 16) as u16).to_le_bytes())
            .collect();
        let scales = self.writer.constant(
            DType::Bf16,
            vector(layer.scales.len()),
            Quantization::None,
            &halves,
        )?;
        Ok(Quantization::PerChannel { scales })
    }

    fn bias(
        &mut self,
        step: &Step,
        layer: &QuantizedLinear,
    ) -> Result<Option<TensorId>, EncodeError> {
        let Some(input) = self.lowered.activations[step.inputs[0]].quantization else {
            return self.floats(&layer.bias);
        };
        if layer.bias.iter().all(|&bias| bias == 0.0) {
            return Ok(None);
        }
        let shape = vector(layer.bias.len());
        let codes: Vec<i32> = layer
            .bias
            .iter()
            .zip(&layer.scales)
            .map(|(&bias, &scale)| accumulator(bias, input.scale * scale))
            .collect();
        let output = self.lowered.activations[step.output].quantization;
        let finest = layer.scales.iter().fold(f32::INFINITY, |a, &b| a.min(b)) * input.scale;
        let tolerance = output.map_or(0.0, |output| BIAS_TOLERANCE * output.scale / finest);
        let shift = bias_shift(&codes);
        let (dtype, quantization, bytes): (_, _, Vec<u8>) =
            if ((1 << shift) / 2) as f32 <= tolerance {
                let halves = codes.iter().map(|&code| half(code, shift));
                (
                    DType::I16,
                    Quantization::Shift(shift),
                    halves.flat_map(i16::to_le_bytes).collect(),
                )
            } else {
                (
                    DType::I32,
                    Quantization::None,
                    codes.iter().flat_map(|code| code.to_le_bytes()).collect(),
                )
            };
        self.writer
            .constant(dtype, shape, quantization, &bytes)
            .map(Some)
    }

    /// The bytes; the memory that a session needs is computed by the runtime itself.
    fn finish(&self) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
        let graph = &self.quantized.graph;
        let mut head = Head {
            model: &graph.name,
            tool: concat!("edgeprune ", env!("CARGO_PKG_VERSION")),
            source_hash: graph.source_hash,
            calibration: self.description.calibration,
            arena: Arena {
                constants: 0,
                activations: narrow(self.activation_bytes)?,
                scratch: 0,
            },
            removed_channels: narrow(self.description.removed_channels)?,
            labels: self.labels,
            counts: Counts::default(),
        };
        let draft = self.writer.finish(&head)?;
        let container = Container::parse(&draft)?;
        let manifest = Manifest::parse(container.manifest)?;
        let needs = match self.constants {
            Constants::Short => {
                let sparse = sparse_nodes(&manifest, container.body);
                needs_with(&manifest, |node| sparse.contains(&node))?
            }
            Constants::InPlace(_, layout) => needs_of(&manifest, layout)?,
        };
        head.arena.constants = u32::try_from(needs.constants)?;
        head.arena.scratch = u32::try_from(needs.scratch)?;
        Ok(self.writer.finish(&head)?)
    }
}

/// Largest error of a compact bias, in steps of the output.
const BIAS_TOLERANCE: f32 = 1.0 / 64.0;

/// A bias in units of the accumulator.
fn accumulator(bias: f32, unit: f32) -> i32 {
    (f64::from(bias) / f64::from(unit))
        .round_ties_even()
        .clamp(-1e9, 1e9) as i32
}

/// The least shift that brings all codes into 16 bits.
fn bias_shift(codes: &[i32]) -> u8 {
    (0..16)
        .find(|&shift| {
            codes
                .iter()
                .all(|&code| half_wide(code, shift).abs() <= 32767)
        })
        .unwrap_or(16)
}

fn half_wide(code: i32, shift: u8) -> i32 {
    (f64::from(code) / f64::from(1 << shift)).round_ties_even() as i32
}

fn half(code: i32, shift: u8) -> i16 {
    half_wide(code, shift) as i16
}

fn vector(n: usize) -> Shape {
    [1, 1, 1, u32::try_from(n).unwrap_or(u32::MAX)]
}

fn source_shape(
    port: &Port,
) -> Result<edgeprune_format::heapless::Vec<u32, MAX_SOURCE_RANK>, EncodeError> {
    if port.source_shape.len() > MAX_SOURCE_RANK {
        return Err(EncodeError::TooLarge);
    }
    port.source_shape.iter().map(|&d| narrow(d)).collect()
}

/// A number in the size that a record has for it.
fn narrow<T: TryFrom<usize>>(number: usize) -> Result<T, EncodeError> {
    T::try_from(number).map_err(|_| EncodeError::TooLarge)
}

fn narrow_all<T, const N: usize>(numbers: [usize; N]) -> Result<[T; N], EncodeError>
where
    T: TryFrom<usize> + Copy + Default,
{
    let mut narrowed = [T::default(); N];
    for (out, number) in narrowed.iter_mut().zip(numbers) {
        *out = narrow(number)?;
    }
    Ok(narrowed)
}
