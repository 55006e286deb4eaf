//! What tract cannot read in a TFLite file is rewritten before it sees it: quantized and half
//! precision tensors become `f32`, and the operators that convert between them go.
//!
//! A file's integers stand for reals (`(code - zero_point) * scale`), so a network of integer
//! weights, or wholly of integers, is read as the real network that it approximates. The bytes are
//! edited in place and new constants are appended, so that everything else stays as it is.

mod depthwise;

use std::collections::HashMap;
use tract_tflite::tflite::{
    Buffer, BuiltinOperator, FullyConnectedOptions, Model, Operator, OperatorCode, SubGraph,
    Tensor, TensorType,
};

/// Operators that tract reads, as it registers them.
const SUPPORTED: [BuiltinOperator; 60] = [
    BuiltinOperator::ABS,
    BuiltinOperator::ADD,
    BuiltinOperator::AVERAGE_POOL_2D,
    BuiltinOperator::BATCH_MATMUL,
    BuiltinOperator::BROADCAST_TO,
    BuiltinOperator::CEIL,
    BuiltinOperator::CONCATENATION,
    BuiltinOperator::CONV_2D,
    BuiltinOperator::COS,
    BuiltinOperator::DEPTHWISE_CONV_2D,
    BuiltinOperator::DEQUANTIZE,
    BuiltinOperator::DIV,
    BuiltinOperator::EQUAL,
    BuiltinOperator::EXP,
    BuiltinOperator::EXPAND_DIMS,
    BuiltinOperator::FLOOR,
    BuiltinOperator::FULLY_CONNECTED,
    BuiltinOperator::GREATER,
    BuiltinOperator::GREATER_EQUAL,
    BuiltinOperator::HARD_SWISH,
    BuiltinOperator::LEAKY_RELU,
    BuiltinOperator::LESS,
    BuiltinOperator::LESS_EQUAL,
    BuiltinOperator::LOG,
    BuiltinOperator::LOGICAL_AND,
    BuiltinOperator::LOGICAL_NOT,
    BuiltinOperator::LOGICAL_OR,
    BuiltinOperator::LOGISTIC,
    BuiltinOperator::MAXIMUM,
    BuiltinOperator::MAX_POOL_2D,
    BuiltinOperator::MEAN,
    BuiltinOperator::MINIMUM,
    BuiltinOperator::MUL,
    BuiltinOperator::NOT_EQUAL,
    BuiltinOperator::PAD,
    BuiltinOperator::PADV2,
    BuiltinOperator::QUANTIZE,
    BuiltinOperator::REDUCE_MAX,
    BuiltinOperator::REDUCE_MIN,
    BuiltinOperator::REDUCE_PROD,
    BuiltinOperator::RELU,
    BuiltinOperator::RELU6,
    BuiltinOperator::RESHAPE,
    BuiltinOperator::RESIZE_BILINEAR,
    BuiltinOperator::RESIZE_NEAREST_NEIGHBOR,
    BuiltinOperator::RSQRT,
    BuiltinOperator::SELECT,
    BuiltinOperator::SELECT_V2,
    BuiltinOperator::SHAPE,
    BuiltinOperator::SIN,
    BuiltinOperator::SLICE,
    BuiltinOperator::SOFTMAX,
    BuiltinOperator::SQRT,
    BuiltinOperator::SQUARE,
    BuiltinOperator::SQUEEZE,
    BuiltinOperator::STRIDED_SLICE,
    BuiltinOperator::SUB,
    BuiltinOperator::SUM,
    BuiltinOperator::TANH,
    BuiltinOperator::TRANSPOSE,
];

/// The file as tract can read it, and the operators that it cannot: `name (type)`.
///
/// # Errors
/// What is damaged.
pub(super) fn rewrite(bytes: &[u8]) -> Result<(Vec<u8>, Vec<String>), String> {
    let model = tract_tflite::tflite::root_as_model(bytes)
        .map_err(|error| format!("damaged TFLite file: {}", first_line(&error.to_string())))?;
    let graph = model
        .subgraphs()
        .filter(|graphs| !graphs.is_empty())
        .map(|graphs| graphs.get(0))
        .ok_or("the file holds no network")?;
    let unknown = unsupported(&model, &graph)?;
    let mut edits = Edits {
        bytes: bytes.to_vec(),
        no_quantization: None,
        buffers: HashMap::new(),
    };
    for tensor in graph.tensors().ok_or("the network has no tensors")? {
        edits.make_float(&model, &tensor)?;
    }
    edits.plain_options(&graph)?;
    let operators = edits.drop_conversions(&model, &graph)?;
    edits.spread_depthwise(&model, &graph, &operators)?;
    Ok((edits.bytes, unknown))
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn operator_code(code: &OperatorCode<'_>) -> BuiltinOperator {
    match BuiltinOperator(i32::from(code.deprecated_builtin_code())) {
        BuiltinOperator::PLACEHOLDER_FOR_GREATER_OP_CODES => code.builtin_code(),
        old => old,
    }
}

/// What an operator does.
fn kind(model: &Model<'_>, operator: &Operator<'_>) -> Result<BuiltinOperator, String> {
    let codes = model
        .operator_codes()
        .ok_or("the file names no operators")?;
    let index = operator.opcode_index() as usize;
    if index >= codes.len() {
        return Err(format!("there is no operator code {index}"));
    }
    Ok(operator_code(&codes.get(index)))
}

fn unsupported(model: &Model<'_>, graph: &SubGraph<'_>) -> Result<Vec<String>, String> {
    let mut unknown = Vec::new();
    let tensors = graph.tensors().ok_or("the network has no tensors")?;
    for operator in graph.operators().ok_or("the network has no operators")? {
        let code = kind(model, &operator)?;
        let ids = operator
            .inputs()
            .into_iter()
            .chain(operator.outputs())
            .flatten();
        for id in ids {
            if id < -1 || id >= tensors.len() as i32 {
                return Err(format!(
                    "an operator refers to tensor {id}, which does not exist"
                ));
            }
        }
        if !SUPPORTED.contains(&code) {
            let output = operator
                .outputs()
                .filter(|ids| !ids.is_empty())
                .map(|ids| ids.get(0));
            let name = output.and_then(|id| tensors.get(usize::try_from(id).ok()?).name());
            let code = code.variant_name().unwrap_or("unknown");
            unknown.push(format!("{} ({code})", name.unwrap_or("unnamed")));
        }
    }
    Ok(unknown)
}

/// Changes to the bytes of a file.
struct Edits {
    bytes: Vec<u8>,
    /// Where an appended empty quantization table is.
    no_quantization: Option<usize>,
    /// What was appended for a buffer.
    buffers: HashMap<u32, Vec<f32>>,
}

impl Edits {
    /// Makes a quantized or half precision tensor an `f32` tensor.
    fn make_float(&mut self, model: &Model<'_>, tensor: &Tensor<'_>) -> Result<(), String> {
        let scaled = tensor
            .quantization()
            .and_then(|q| q.scale())
            .is_some_and(|s| !s.is_empty());
        let integer = matches!(
            tensor.type_(),
            TensorType::INT8
                | TensorType::UINT8
                | TensorType::INT16
                | TensorType::INT32
                | TensorType::INT64
        );
        let half = tensor.type_() == TensorType::FLOAT16;
        let stands_for_reals = half || (integer && scaled);
        if !stands_for_reals {
            return Ok(());
        }
        if let Some(buffer) = constant(model, tensor) {
            let values = reals(tensor, &buffer)
                .map_err(|why| format!("tensor {}: {why}", tensor.name().unwrap_or("unnamed")))?;
            self.replace_buffer(tensor, &buffer, values)?;
        }
        let table = tensor._tab.loc();
        if let Some(at) = field(table, tensor._tab.vtable().get(Tensor::VT_TYPE_)) {
            self.bytes[at] = TensorType::FLOAT32.0 as u8;
        }
        if let Some(at) = field(table, tensor._tab.vtable().get(Tensor::VT_QUANTIZATION)) {
            let empty = self.empty_table();
            self.point(at, empty)?;
        }
        Ok(())
    }

    fn replace_buffer(
        &mut self,
        tensor: &Tensor<'_>,
        buffer: &Buffer<'_>,
        values: Vec<f32>,
    ) -> Result<(), String> {
        if let Some(known) = self.buffers.get(&tensor.buffer()) {
            return match *known == values {
                true => Ok(()),
                false => Err(format!("buffer {} is read in two ways", tensor.buffer())),
            };
        }
        let at = field(buffer._tab.loc(), buffer._tab.vtable().get(Buffer::VT_DATA));
        let at = at.ok_or("a buffer without data")?;
        // A vector is its length, 4 bytes, and its elements; data is aligned to 16 bytes.
        let vector = (self.bytes.len() + 4).next_multiple_of(16) - 4;
        self.bytes.resize(vector, 0);
        self.bytes.extend(((values.len() * 4) as u32).to_le_bytes());
        self.bytes
            .extend(values.iter().flat_map(|value| value.to_le_bytes()));
        self.buffers.insert(tensor.buffer(), values);
        self.point(at, vector)
    }

    fn empty_table(&mut self) -> usize {
        match self.no_quantization {
            Some(at) => at,
            None => {
                let at = self.append_table(&[], &[]);
                *self.no_quantization.insert(at)
            }
        }
    }

    /// Appends a table of 4-byte fields. `places` says where each field of the schema is in it.
    fn append_table(&mut self, places: &[u16], fields: &[i32]) -> usize {
        // Before a table lies its vtable: its own size, the table's size, and the places.
        let vtable = 4 + 2 * places.len();
        let table = (self.bytes.len() + vtable).next_multiple_of(4);
        self.bytes.resize(table - vtable, 0);
        let head = [vtable as u16, 4 + 4 * fields.len() as u16];
        let words = head.iter().chain(places);
        self.bytes.extend(words.flat_map(|word| word.to_le_bytes()));
        let fields = [vtable as i32].into_iter().chain(fields.iter().copied());
        self.bytes.extend(fields.flat_map(i32::to_le_bytes));
        table
    }

    /// Makes the offset at `at` lead to `target`, which lies behind it.
    fn point(&mut self, at: usize, target: usize) -> Result<(), String> {
        let offset = u32::try_from(target - at).map_err(|_| "a file of more than 4 GB")?;
        self.write(at, offset.to_le_bytes());
        Ok(())
    }

    fn write(&mut self, at: usize, value: [u8; 4]) {
        self.bytes[at..at + 4].copy_from_slice(&value);
    }

    /// Clears the option of fully connected layers that speaks of quantized activations.
    fn plain_options(&mut self, graph: &SubGraph<'_>) -> Result<(), String> {
        for operator in graph.operators().ok_or("the network has no operators")? {
            if let Some(options) = operator.builtin_options_as_fully_connected_options() {
                let offset = FullyConnectedOptions::VT_ASYMMETRIC_QUANTIZE_INPUTS;
                if let Some(at) = field(options._tab.loc(), options._tab.vtable().get(offset)) {
                    self.bytes[at] = 0;
                }
            }
        }
        Ok(())
    }

    /// Removes the operators that change the representation: their readers read their input.
    /// Returns the other operators.
    fn drop_conversions<'m>(
        &mut self,
        model: &Model<'m>,
        graph: &SubGraph<'m>,
    ) -> Result<Vec<Operator<'m>>, String> {
        let operators = graph.operators().ok_or("the network has no operators")?;
        let mut source: HashMap<i32, i32> = HashMap::new();
        let mut kept = Vec::new();
        for operator in operators {
            let code = kind(model, &operator)?;
            let conversion = matches!(
                code,
                BuiltinOperator::QUANTIZE | BuiltinOperator::DEQUANTIZE
            );
            let ends = (operator.inputs(), operator.outputs());
            match ends {
                (Some(input), Some(output))
                    if conversion && !input.is_empty() && !output.is_empty() =>
                {
                    let from = input.get(0);
                    source.insert(output.get(0), source.get(&from).copied().unwrap_or(from));
                }
                _ => kept.push(operator),
            }
        }
        if source.is_empty() {
            return Ok(kept);
        }
        for operator in &kept {
            let at = field(
                operator._tab.loc(),
                operator._tab.vtable().get(Operator::VT_INPUTS),
            );
            self.rename(at, &source);
        }
        let outputs = field(
            graph._tab.loc(),
            graph._tab.vtable().get(SubGraph::VT_OUTPUTS),
        );
        self.rename(outputs, &source);
        let Some(at) = field(
            graph._tab.loc(),
            graph._tab.vtable().get(SubGraph::VT_OPERATORS),
        ) else {
            return Ok(kept);
        };
        let vector = at + self.read(at) as usize;
        self.write(vector, (kept.len() as u32).to_le_bytes());
        for (index, operator) in kept.iter().enumerate() {
            self.point(vector + 4 + index * 4, operator._tab.loc())?;
        }
        Ok(kept)
    }

    /// Replaces tensor numbers in the vector that the offset at `at` leads to.
    fn rename(&mut self, at: Option<usize>, source: &HashMap<i32, i32>) {
        let Some(at) = at else { return };
        let vector = at + self.read(at) as usize;
        for index in 0..self.read(vector) as usize {
            let element = vector + 4 + index * 4;
            let id = self.read(element) as i32;
            if let Some(&new) = source.get(&id) {
                self.write(element, new.to_le_bytes());
            }
        }
    }

    fn read(&self, at: usize) -> u32 {
        let mut value = [0; 4];
        value.copy_from_slice(&self.bytes[at..at + 4]);
        u32::from_le_bytes(value)
    }
}

/// Where a field of a table is, if the table has it.
fn field(table: usize, offset: u16) -> Option<usize> {
    (offset != 0).then(|| table + usize::from(offset))
}

/// The buffer of a constant tensor.
fn constant<'m>(model: &Model<'m>, tensor: &Tensor<'_>) -> Option<Buffer<'m>> {
    let buffers = model.buffers()?;
    let index = tensor.buffer() as usize;
    let buffer = (index > 0 && index < buffers.len()).then(|| buffers.get(index))?;
    let filled = buffer.data().is_some_and(|data| !data.is_empty());
    filled.then_some(buffer)
}

/// The real values of a constant.
fn reals(tensor: &Tensor<'_>, buffer: &Buffer<'_>) -> Result<Vec<f32>, String> {
    let data = buffer.data().map(|data| data.bytes()).unwrap_or_default();
    let codes = codes(tensor.type_(), data);
    let dims: Vec<usize> = tensor
        .shape()
        .into_iter()
        .flatten()
        .map(|dim| dim.max(0) as usize)
        .collect();
    let elements = dims.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim));
    if elements != Some(codes.len()) {
        return Err(format!("{} values for dimensions {dims:?}", codes.len()));
    }
    let Some(quantization) = tensor
        .quantization()
        .filter(|_| !matches!(tensor.type_(), TensorType::FLOAT16 | TensorType::FLOAT32))
    else {
        return Ok(codes.into_iter().map(|code| code as f32).collect());
    };
    let scales: Vec<f32> = quantization.scale().into_iter().flatten().collect();
    let zeros: Vec<i64> = quantization.zero_point().into_iter().flatten().collect();
    let axis = quantization.quantized_dimension().max(0) as usize;
    let inner: usize = dims.iter().skip(axis + 1).product();
    let channels = if scales.len() > 1 { scales.len() } else { 1 };
    if channels > 1 && dims.get(axis) != Some(&channels) {
        return Err(format!(
            "{channels} scales for dimension {axis} of {dims:?}"
        ));
    }
    let value = |(index, code): (usize, f64)| {
        let channel = (index / inner.max(1)) % channels;
        let zero = zeros.get(channel).or(zeros.first()).copied().unwrap_or(0);
        ((code - zero as f64) * f64::from(scales[channel])) as f32
    };
    Ok(codes.into_iter().enumerate().map(value).collect())
}

fn codes(kind: TensorType, data: &[u8]) -> Vec<f64> {
    match kind {
        TensorType::INT8 => data.iter().map(|&byte| f64::from(byte as i8)).collect(),
        TensorType::UINT8 => data.iter().map(|&byte| f64::from(byte)).collect(),
        TensorType::INT16 => words(data, |bytes| f64::from(i16::from_le_bytes(bytes))),
        TensorType::INT32 => words(data, |bytes| f64::from(i32::from_le_bytes(bytes))),
        TensorType::INT64 => words(data, |bytes| i64::from_le_bytes(bytes) as f64),
        TensorType::FLOAT16 => words(data, |bytes| {
            f64::from(half_to_single(u16::from_le_bytes(bytes)))
        }),
        _ => words(data, |bytes| f64::from(f32::from_le_bytes(bytes))),
    }
}

fn words<const N: usize>(data: &[u8], decode: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    data.as_chunks::<N>()
        .0
        .iter()
        .map(|&bytes| decode(bytes))
        .collect()
}

/// IEEE half to single precision.
fn half_to_single(bits: u16) -> f32 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 1023));
    sign * match exponent {
        0 => fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1024.0 + fraction) * 2f32.powi(exponent - 25),
    }
}

#[cfg(test)]
mod tests;
