//! Puts a network into the operators and forms that tract reads.
//!
//! The network computes the same reals afterwards. Converters between representations go; what a
//! quantized tensor's range cuts becomes a clamp of its own.

mod arguments;
mod linear;

use super::axis_index;
use super::file::{Data, Network, Operator, Tensor, keeps_range};
use super::options::Options;
use arguments::narrowed;
use std::collections::HashMap;
use tract_tflite::tflite::{ActivationFunctionType, BuiltinOperator, TensorType};

const UNBOUNDED: [f32; 2] = [f32::NEG_INFINITY, f32::INFINITY];

/// Rewrites a network that [`super::refuse`] has nothing against.
///
/// # Errors
/// Every operator that cannot be rewritten: `name (type): why`.
pub(super) fn adapt(mut network: Network) -> Result<Network, Vec<String>> {
    let operators = std::mem::take(&mut network.operators);
    let mut adapter = Adapter {
        bounds: vec![UNBOUNDED; network.tensors.len()],
        network,
        sources: HashMap::new(),
    };
    let mut refused = Vec::new();
    for operator in operators {
        let name = adapter.network.name(&operator).to_string();
        let kind = operator.type_name();
        if let Err(why) = adapter.operator(operator) {
            refused.push(format!("{name} ({kind}): {why}"));
        }
    }
    if !refused.is_empty() {
        return Err(refused);
    }
    let mut network = adapter.network;
    for output in &mut network.outputs {
        *output = adapter.sources.get(output).copied().unwrap_or(*output);
    }
    Ok(network)
}

/// A rewriting in progress: `network` holds the operators that are done.
struct Adapter {
    network: Network,
    /// What a dropped conversion's output is read from.
    sources: HashMap<usize, usize>,
    /// Bounds of each tensor's elements.
    bounds: Vec<[f32; 2]>,
}

impl Adapter {
    fn operator(&mut self, mut operator: Operator) -> Result<(), String> {
        let limits = self.network.saturation(&operator).unwrap_or(UNBOUNDED);
        for id in operator.inputs.iter_mut().flatten() {
            *id = self.sources.get(id).copied().unwrap_or(*id);
        }
        match operator.kind {
            BuiltinOperator::QUANTIZE | BuiltinOperator::DEQUANTIZE => {
                self.conversion(&operator, limits);
                return Ok(());
            }
            BuiltinOperator::FULLY_CONNECTED => return self.fully_connected(operator, limits),
            BuiltinOperator::MEAN => return self.mean(operator, limits),
            BuiltinOperator::CONV_2D | BuiltinOperator::DEPTHWISE_CONV_2D => {
                self.convolution(&mut operator)?;
            }
            BuiltinOperator::SOFTMAX => self.softmax(&mut operator),
            BuiltinOperator::RESHAPE => self.reshape(&mut operator),
            BuiltinOperator::SQUEEZE => self.squeeze(&mut operator)?,
            _ => self.arguments(&mut operator)?,
        }
        self.finish(operator, limits);
        Ok(())
    }

    fn dims(&self, operator: &Operator, slot: usize) -> Vec<usize> {
        let id = operator.input(slot);
        id.map_or(Vec::new(), |id| self.network.tensors[id].dims.clone())
    }

    fn tensor(&mut self, name: String, dims: Vec<usize>, data: Option<Data>) -> usize {
        let kind = match data {
            Some(Data::Integer(_)) => TensorType::INT32,
            _ => TensorType::FLOAT32,
        };
        self.network.tensors.push(Tensor {
            name,
            dims,
            kind,
            codes: None,
            data,
            sparse: false,
        });
        self.bounds.push(UNBOUNDED);
        self.network.tensors.len() - 1
    }

    /// A tensor that takes the place and name of `output`, which gets a suffix: what is computed
    /// before the last step towards `output`.
    fn before(&mut self, output: usize, suffix: &str) -> usize {
        let name = self.network.tensors[output].name.clone();
        self.network.tensors[output].name = format!("{name}.{suffix}");
        let dims = self.network.tensors[output].dims.clone();
        self.tensor(name, dims, None)
    }

    fn push(&mut self, kind: BuiltinOperator, options: Options, inputs: &[usize], output: usize) {
        self.network.operators.push(Operator {
            kind,
            custom: None,
            inputs: inputs.iter().copied().map(Some).collect(),
            outputs: vec![output],
            options: Some(options),
        });
    }

    /// Appends a reshape to the dimensions of `to`.
    fn reshape_to(&mut self, from: usize, to: usize) -> Result<(), String> {
        let options = Options::Reshape {
            shape: Some(narrowed(&self.network.tensors[to].dims)?),
        };
        self.push(BuiltinOperator::RESHAPE, options, &[from], to);
        Ok(())
    }

    /// A conversion goes, but for the clamp of a quantization.
    fn conversion(&mut self, operator: &Operator, limits: [f32; 2]) {
        let (Some(input), output) = (operator.input(0), operator.outputs[0]) else {
            return;
        };
        match self.clamps(self.bounds[input], limits).is_empty() {
            true => {
                self.sources.insert(output, input);
            }
            false => self.clamp(input, output, limits),
        }
    }

    /// The clamps that values within `bounds` need to be within `limits`.
    fn clamps(&self, bounds: [f32; 2], limits: [f32; 2]) -> Vec<(BuiltinOperator, f32)> {
        let below = bounds[0] < limits[0];
        let above = bounds[1] > limits[1];
        let low = below.then_some((BuiltinOperator::MAXIMUM, limits[0]));
        let high = above.then_some((BuiltinOperator::MINIMUM, limits[1]));
        low.into_iter().chain(high).collect()
    }

    /// Appends what limits `input` to `limits`, as `output`.
    fn clamp(&mut self, input: usize, output: usize, limits: [f32; 2]) {
        let clamps = self.clamps(self.bounds[input], limits);
        let (name, dims) = {
            let tensor = &self.network.tensors[output];
            (tensor.name.clone(), tensor.dims.clone())
        };
        let mut from = input;
        for (index, &(kind, limit)) in clamps.iter().enumerate() {
            let last = index + 1 == clamps.len();
            let to = match last {
                true => output,
                false => self.tensor(format!("{name}.least"), dims.clone(), None),
            };
            let value = Some(Data::Real(vec![limit]));
            let limit = self.tensor(format!("{name}.limit{index}"), Vec::new(), value);
            self.push(kind, Options::Plain, &[from, limit], to);
            from = to;
        }
        let [low, high] = self.bounds[input];
        self.bounds[output] = [low.max(limits[0]), high.min(limits[1])];
    }

    /// Appends an operator, with clamps apart where tract has no such activation.
    fn finish(&mut self, mut operator: Operator, mut limits: [f32; 2]) {
        let activation = operator.options.as_mut().and_then(Options::activation_mut);
        if let Some(activation) = activation
            && *activation == ActivationFunctionType::RELU_N1_TO_1
        {
            limits = [limits[0].max(-1.0), limits[1].min(1.0)];
            *activation = ActivationFunctionType::NONE;
        }
        let output = operator.outputs[0];
        let bounds = self.bounds_of(&operator);
        if self.clamps(bounds, limits).is_empty() {
            self.bounds[output] = bounds;
            self.network.operators.push(operator);
            return;
        }
        let result = self.before(output, "clamp");
        self.bounds[result] = bounds;
        operator.outputs = vec![result];
        self.network.operators.push(operator);
        self.clamp(result, output, limits);
    }

    /// Bounds of an operator's elements before saturation.
    fn bounds_of(&self, operator: &Operator) -> [f32; 2] {
        let first = operator.input(0).map_or(UNBOUNDED, |id| self.bounds[id]);
        let with_zero = [first[0].min(0.0), first[1].max(0.0)];
        let [low, high] = match operator.kind {
            BuiltinOperator::LOGISTIC | BuiltinOperator::SOFTMAX => [0.0, 1.0],
            BuiltinOperator::TANH => [-1.0, 1.0],
            BuiltinOperator::ABS | BuiltinOperator::SQUARE | BuiltinOperator::EXP => {
                [0.0, f32::INFINITY]
            }
            BuiltinOperator::RELU => [0.0, first[1].max(0.0)],
            BuiltinOperator::RELU6 => [0.0, first[1].clamp(0.0, 6.0)],
            BuiltinOperator::PAD => with_zero,
            kind if keeps_range(kind) => first,
            BuiltinOperator::CONCATENATION => {
                let all = operator.inputs.iter().flatten().map(|&id| self.bounds[id]);
                all.reduce(|a, b| [a[0].min(b[0]), a[1].max(b[1])])
                    .unwrap_or(UNBOUNDED)
            }
            _ => UNBOUNDED,
        };
        let activation = operator.options.as_ref().map(Options::activation);
        match activation {
            Some(ActivationFunctionType::RELU) => [low.max(0.0), high.max(0.0)],
            Some(ActivationFunctionType::RELU6) => [low.max(0.0), high.clamp(0.0, 6.0)],
            _ => [low, high],
        }
    }

    /// A sum, divided by the number of its terms.
    fn mean(&mut self, mut operator: Operator, limits: [f32; 2]) -> Result<(), String> {
        let (Some(input), dims) = (operator.input(0), self.dims(&operator, 0)) else {
            return Err("an operand is missing".into());
        };
        operator.kind = BuiltinOperator::SUM;
        self.arguments(&mut operator)?;
        let axes = self.integers(&operator, 1);
        let axes =
            axes.ok_or("axes that are not constants: export the network with fixed sizes")?;
        let terms = axes.iter().map(|&axis| axis_index(axis, dims.len()));
        let terms = terms.map(|axis| axis.map(|axis| dims[axis]));
        let terms: usize = terms.product::<Result<_, String>>()?;
        let output = operator.outputs[0];
        let total = self.before(output, "mean");
        operator.outputs = vec![total];
        self.network.operators.push(operator);
        let name = format!("{}.terms", self.network.tensors[total].name);
        let value = Some(Data::Real(vec![1.0 / terms as f32]));
        let factor = self.tensor(name, Vec::new(), value);
        let product = Operator {
            kind: BuiltinOperator::MUL,
            custom: None,
            inputs: vec![Some(total), Some(factor)],
            outputs: vec![output],
            options: Some(Options::Arithmetic {
                activation: ActivationFunctionType::NONE,
            }),
        };
        // A mean lies between the least and the greatest term.
        match self.clamps(self.bounds[input], limits).is_empty() {
            true => self.finish(product, UNBOUNDED),
            false => self.finish(product, limits),
        }
        Ok(())
    }

    /// A factor of the logits is applied before.
    fn softmax(&mut self, operator: &mut Operator) {
        let Some(Options::Softmax { beta }) = &mut operator.options else {
            return;
        };
        if let (Some(input), true) = (operator.inputs[0], *beta != 1.0) {
            let value = Some(Data::Real(vec![*beta]));
            *beta = 1.0;
            let name = self.network.name(operator).to_string();
            let dims = self.network.tensors[input].dims.clone();
            let factor = self.tensor(format!("{name}.beta"), Vec::new(), value);
            let scaled = self.tensor(format!("{name}.scaled"), dims, None);
            let options = Options::Arithmetic {
                activation: ActivationFunctionType::NONE,
            };
            self.push(BuiltinOperator::MUL, options, &[input, factor], scaled);
            operator.inputs[0] = Some(scaled);
        }
    }
}
