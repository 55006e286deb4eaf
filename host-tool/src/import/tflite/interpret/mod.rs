//! Computes a TFLite network directly, one function for each operator.
//!
//! This is the reference that an imported network is compared with. It follows TensorFlow Lite's
//! kernels on the reals that the codes stand for, and shares neither the rewriting nor tract's
//! parser and optimizer. Activations are not rounded to codes, but a quantized output saturates.

mod elementwise;
mod product;
mod reduce;
mod resize;
mod shape;
mod window;

use super::axis_index;
use super::file::{Data, MAX_RANK, Network, Operator, Tensor};
use super::options::Options;
use std::collections::HashMap;
use tract_tflite::tflite::{ActivationFunctionType, BuiltinOperator, TensorType};

/// Elements that all computed tensors together may have.
const MAX_ELEMENTS: usize = 1 << 28;
/// Multiplications that one operator may take: minutes of work.
const MAX_WORK: usize = 1 << 38;

/// A network, ready to run.
pub(in crate::import) struct Interpreter {
    network: Network,
    /// Constants, and what is computed from constants only.
    constants: HashMap<usize, Value>,
    /// Indices of the operators that depend on an input, in order of execution.
    steps: Vec<usize>,
    outputs: Vec<Origin>,
}

/// What an operator computed.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::import) struct Traced {
    /// Name of the tensor in the file.
    pub(in crate::import) name: String,
    /// Its elements, row by row.
    pub(in crate::import) values: Vec<f32>,
}

/// Where an output of the network comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::import) enum Origin {
    /// Index into what [`Interpreter::run`] returns.
    Traced(usize),
    /// Index of an input that is passed through.
    Input(usize),
}

/// A tensor's dimensions and elements.
#[derive(Clone, Debug, PartialEq)]
struct Value {
    dims: Vec<usize>,
    data: Vec<f32>,
}

impl Value {
    /// Elements row by row; there are as many as the dimensions say.
    fn new(dims: Vec<usize>, data: Vec<f32>) -> Self {
        debug_assert_eq!(dims.iter().product::<usize>(), data.len());
        Self { dims, data }
    }

    fn constant(tensor: &Tensor, data: &Data) -> Self {
        let data = match data {
            Data::Real(values) => values.clone(),
            Data::Integer(values) => values.iter().map(|&value| value as f32).collect(),
        };
        Self::new(tensor.dims.clone(), data)
    }

    /// The elements as integers: axes, sizes, dimensions.
    fn integers(&self) -> Vec<i64> {
        self.data.iter().map(|&value| value as i64).collect()
    }

    /// Batch, height, width and channels.
    fn image(&self) -> Result<[usize; 4], String> {
        let dims = self.dims.as_slice();
        dims.try_into()
            .map_err(|_| format!("{dims:?} where an image of four dimensions belongs"))
    }
}

impl Interpreter {
    /// Reads a file and computes what depends on no input.
    ///
    /// # Errors
    /// If the file is damaged, or has operators that edgeprune does not know.
    pub(in crate::import) fn new(bytes: &[u8]) -> Result<Self, String> {
        let mut network = Network::read(bytes)?;
        if let Some(unknown) = network.operators.iter().find(|op| op.options.is_none()) {
            let (name, kind) = (network.name(unknown), unknown.type_name());
            return Err(format!("{name} ({kind}): edgeprune has no such operator"));
        }
        let mut constants = HashMap::new();
        let mut total = 0;
        for (id, tensor) in network.tensors.iter_mut().enumerate() {
            if let Some(data) = tensor.data.take() {
                constants.insert(id, Value::constant(tensor, &data));
            }
        }
        let mut steps = Vec::new();
        for (index, operator) in network.operators.iter().enumerate() {
            let inputs = operator.inputs.iter().flatten();
            if inputs.clone().all(|id| constants.contains_key(id)) {
                let value = compute(&network, operator, |id| constants.get(&id))?;
                count(&mut total, &value)?;
                constants.insert(operator.outputs[0], value);
            } else {
                steps.push(index);
            }
        }
        let outputs = origins(&network, &steps)?;
        Ok(Self {
            network,
            constants,
            steps,
            outputs,
        })
    }

    /// Where the outputs come from, in their order.
    pub(in crate::import) fn outputs(&self) -> &[Origin] {
        &self.outputs
    }

    /// Runs one sample of reals, for each input in the file's own order of elements, and returns
    /// every computed tensor in order of execution.
    ///
    /// # Errors
    /// If an input has not as many elements as the file declares, or an operator's operands do not
    /// fit together.
    pub(in crate::import) fn run(&self, inputs: &[Vec<f32>]) -> Result<Vec<Traced>, String> {
        let mut values: HashMap<usize, Value> = HashMap::new();
        if inputs.len() != self.network.inputs.len() {
            let wanted = self.network.inputs.len();
            return Err(format!("{} inputs for {wanted}", inputs.len()));
        }
        for (&id, data) in self.network.inputs.iter().zip(inputs) {
            let tensor = &self.network.tensors[id];
            if elements(&tensor.dims)? != data.len() {
                let (name, dims) = (&tensor.name, &tensor.dims);
                return Err(format!(
                    "input {name} of {dims:?} has {} values",
                    data.len()
                ));
            }
            values.insert(id, Value::new(tensor.dims.clone(), data.clone()));
        }
        let mut order = Vec::new();
        let mut total = 0;
        for &step in &self.steps {
            let operator = &self.network.operators[step];
            let value = compute(&self.network, operator, |id| {
                values.get(&id).or_else(|| self.constants.get(&id))
            })?;
            count(&mut total, &value)?;
            order.push(operator.outputs[0]);
            values.insert(operator.outputs[0], value);
        }
        let traced = order.into_iter().filter_map(|id| {
            Some(Traced {
                name: self.network.tensors[id].name.clone(),
                values: values.remove(&id)?.data,
            })
        });
        Ok(traced.collect())
    }
}

fn origins(network: &Network, steps: &[usize]) -> Result<Vec<Origin>, String> {
    let computed = |id| {
        let is_output = |&step: &usize| network.operators[step].outputs.first() == Some(&id);
        let step = steps.iter().position(is_output);
        step.map(Origin::Traced)
    };
    let passed = |id| {
        network
            .inputs
            .iter()
            .position(|&input| input == id)
            .map(Origin::Input)
    };
    let origin = |&id: &usize| {
        let origin = computed(id).or_else(|| passed(id));
        origin.ok_or_else(|| format!("output {} is a constant", network.tensors[id].name))
    };
    network.outputs.iter().map(origin).collect()
}

/// Computes an operator's output, with its fused activation and saturation.
fn compute<'v>(
    network: &Network,
    operator: &Operator,
    value: impl Fn(usize) -> Option<&'v Value>,
) -> Result<Value, String> {
    let sentence = |why| {
        format!(
            "{} ({}): {why}",
            network.name(operator),
            operator.type_name()
        )
    };
    let &[output] = operator.outputs.as_slice() else {
        return Err(sentence("an operator of several outputs".to_string()));
    };
    let inputs: Vec<Option<&Value>> = operator
        .inputs
        .iter()
        .map(|id| id.and_then(&value))
        .collect();
    let integer = network.tensors[output].kind != TensorType::FLOAT32;
    let mut result = evaluate(operator, &Operands(&inputs), integer).map_err(sentence)?;
    if let Some(options) = &operator.options {
        activate(&mut result.data, options.activation()).map_err(sentence)?;
    }
    if let Some([least, greatest]) = network.saturation(operator) {
        result
            .data
            .iter_mut()
            .for_each(|x| *x = x.max(least).min(greatest));
    }
    Ok(result)
}

/// The operands of an operator.
struct Operands<'v>(&'v [Option<&'v Value>]);

impl<'v> Operands<'v> {
    fn get(&self, slot: usize) -> Result<&'v Value, String> {
        self.optional(slot)
            .ok_or_else(|| format!("operand {slot} is missing"))
    }

    fn optional(&self, slot: usize) -> Option<&'v Value> {
        self.0.get(slot).copied().flatten()
    }

    fn all(&self) -> Result<Vec<&'v Value>, String> {
        (0..self.0.len()).map(|slot| self.get(slot)).collect()
    }
}

fn evaluate(operator: &Operator, inputs: &Operands<'_>, integer: bool) -> Result<Value, String> {
    let options = operator.options.as_ref();
    let options = options.ok_or("edgeprune has no such operator")?;
    match (operator.kind, options) {
        (BuiltinOperator::CONV_2D, Options::Window { window, .. }) => {
            window::convolution(inputs, window)
        }
        (BuiltinOperator::DEPTHWISE_CONV_2D, Options::Window { window, .. }) => {
            window::depthwise(inputs, window)
        }
        (kind, Options::Window { window, .. }) => window::pool(inputs.get(0)?, kind, window),
        (_, Options::FullyConnected { keep_dims, .. }) => {
            product::fully_connected(inputs, *keep_dims)
        }
        (_, Options::BatchMatmul { adjoint }) => {
            product::batch_matmul(inputs.get(0)?, inputs.get(1)?, *adjoint)
        }
        (_, Options::Softmax { beta }) => reduce::softmax(inputs.get(0)?, *beta),
        (kind, Options::Reduce { keep_dims }) => {
            reduce::reduce(inputs.get(0)?, inputs.get(1)?, kind, *keep_dims)
        }
        (
            kind,
            Options::Resize {
                align_corners,
                half_pixel_centers,
            },
        ) => {
            let bilinear = kind == BuiltinOperator::RESIZE_BILINEAR;
            let grid = resize::Grid::new(*align_corners, *half_pixel_centers, bilinear)?;
            resize::resize(inputs.get(0)?, inputs.get(1)?, grid)
        }
        (_, Options::Concat { axis, .. }) => shape::concat(&inputs.all()?, *axis),
        (_, Options::Reshape { shape }) => {
            shape::reshape(inputs.get(0)?, inputs.optional(1), shape.as_deref())
        }
        (_, Options::Squeeze { axes }) => shape::squeeze(inputs.get(0)?, axes),
        (_, Options::StridedSlice(masks)) => shape::strided_slice(inputs, masks),
        (kind, Options::Arithmetic { .. }) => {
            elementwise::binary(inputs.get(0)?, inputs.get(1)?, kind, integer)
        }
        (_, Options::LeakyRelu { alpha }) => elementwise::leaky_relu(inputs.get(0)?, *alpha),
        (kind, Options::Plain) => plain(kind, inputs, integer),
    }
}

/// Operators that have no options.
fn plain(kind: BuiltinOperator, inputs: &Operands<'_>, integer: bool) -> Result<Value, String> {
    match kind {
        BuiltinOperator::BROADCAST_TO => shape::broadcast_to(inputs.get(0)?, inputs.get(1)?),
        BuiltinOperator::EXPAND_DIMS => shape::expand_dims(inputs.get(0)?, inputs.get(1)?),
        BuiltinOperator::PAD | BuiltinOperator::PADV2 => {
            shape::pad(inputs.get(0)?, inputs.get(1)?, inputs.optional(2))
        }
        BuiltinOperator::SHAPE => Ok(shape::shape(inputs.get(0)?)),
        BuiltinOperator::SLICE => shape::slice(inputs.get(0)?, inputs.get(1)?, inputs.get(2)?),
        BuiltinOperator::TRANSPOSE => shape::transpose(inputs.get(0)?, inputs.get(1)?),
        BuiltinOperator::SELECT | BuiltinOperator::SELECT_V2 => {
            elementwise::select(inputs.get(0)?, inputs.get(1)?, inputs.get(2)?)
        }
        _ => match elementwise::function(kind) {
            Some(function) => Ok(elementwise::map(inputs.get(0)?, function)),
            None => elementwise::binary(inputs.get(0)?, inputs.get(1)?, kind, integer),
        },
    }
}

fn activate(data: &mut [f32], activation: ActivationFunctionType) -> Result<(), String> {
    let function: fn(f32) -> f32 = match activation {
        ActivationFunctionType::NONE => return Ok(()),
        ActivationFunctionType::RELU => |x| x.max(0.0),
        ActivationFunctionType::RELU6 => |x| x.max(0.0).min(6.0),
        ActivationFunctionType::RELU_N1_TO_1 => |x| x.max(-1.0).min(1.0),
        other => {
            let name = other.variant_name().unwrap_or("unknown");
            return Err(format!("its fused activation {name}"));
        }
    };
    data.iter_mut().for_each(|x| *x = function(*x));
    Ok(())
}

/// Adds the elements of a computed tensor to those before.
fn count(total: &mut usize, value: &Value) -> Result<(), String> {
    *total += value.data.len();
    match *total <= MAX_ELEMENTS {
        true => Ok(()),
        false => Err("the tensors are too large to check the import".into()),
    }
}

/// The number of elements of a tensor, if it is not too large to compute.
fn elements(dims: &[usize]) -> Result<usize, String> {
    let count = dims.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim));
    let count = count.filter(|&count| count <= MAX_ELEMENTS && dims.len() <= MAX_RANK);
    count.ok_or_else(|| format!("a tensor of {dims:?} is too large"))
}

/// Refuses work that would take minutes.
fn check_work(factors: &[usize]) -> Result<(), String> {
    let work = factors
        .iter()
        .try_fold(1usize, |n, &factor| n.checked_mul(factor));
    match work {
        Some(work) if work <= MAX_WORK => Ok(()),
        _ => Err("too much work to check the import".into()),
    }
}

#[cfg(test)]
mod tests;
