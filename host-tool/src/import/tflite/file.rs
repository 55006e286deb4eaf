//! A TFLite file as owned tables: the real network that its codes stand for.
//!
//! Constants are dequantized, `(code - zero_point) * scale`, and computed tensors remember the range
//! of their codes, since a quantized output saturates there.

use super::SUPPORTED;
use super::options::Options;
use std::collections::HashSet;
use tract_tflite::tflite::{self, BuiltinOperator, TensorType};

/// How many elements the constants of a file may have for each of its bytes: buffers are shared,
/// but a damaged file must not make the import allocate without bound.
const MAX_ELEMENTS_PER_BYTE: usize = 16;

/// Axes that a tensor may have; TensorFlow's kernels take up to 8.
pub(super) const MAX_RANK: usize = 16;

/// The first graph of a file.
pub(super) struct Network {
    pub(super) tensors: Vec<Tensor>,
    /// In order of execution.
    pub(super) operators: Vec<Operator>,
    pub(super) inputs: Vec<usize>,
    pub(super) outputs: Vec<usize>,
}

/// Operators whose outputs are elements of their first operand, or lie between such.
pub(super) fn keeps_range(kind: BuiltinOperator) -> bool {
    matches!(
        kind,
        BuiltinOperator::AVERAGE_POOL_2D
            | BuiltinOperator::BROADCAST_TO
            | BuiltinOperator::EXPAND_DIMS
            | BuiltinOperator::MAX_POOL_2D
            | BuiltinOperator::REDUCE_MAX
            | BuiltinOperator::REDUCE_MIN
            | BuiltinOperator::RESHAPE
            | BuiltinOperator::RESIZE_BILINEAR
            | BuiltinOperator::RESIZE_NEAREST_NEIGHBOR
            | BuiltinOperator::SLICE
            | BuiltinOperator::SQUEEZE
            | BuiltinOperator::STRIDED_SLICE
            | BuiltinOperator::TRANSPOSE
    )
}

/// A tensor; quantized and half precision ones are of kind `FLOAT32`.
#[derive(Clone, Debug)]
pub(super) struct Tensor {
    pub(super) name: String,
    /// As the file declares them; converters write 1 for an unknown batch.
    pub(super) dims: Vec<usize>,
    pub(super) kind: TensorType,
    /// What the codes stand for, if all of them have one scale.
    pub(super) codes: Option<Codes>,
    /// The elements of a constant.
    pub(super) data: Option<Data>,
    /// Whether the elements are a sparse constant's, which is not read.
    pub(super) sparse: bool,
}

/// How the codes of a tensor stand for reals.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Codes {
    pub(super) scale: f32,
    pub(super) zero_point: i64,
    /// The least and the greatest real that a code stands for.
    pub(super) range: [f32; 2],
}

/// The elements of a constant, row by row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Data {
    Real(Vec<f32>),
    /// Integers that are not quantized, and booleans.
    Integer(Vec<i64>),
}

impl Data {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Real(values) => values.len(),
            Self::Integer(values) => values.len(),
        }
    }
}

/// An operator and its operands, as indices of tensors.
#[derive(Clone, Debug)]
pub(super) struct Operator {
    pub(super) kind: BuiltinOperator,
    /// The name of a custom operator.
    pub(super) custom: Option<String>,
    /// Optional operands can be missing.
    pub(super) inputs: Vec<Option<usize>>,
    pub(super) outputs: Vec<usize>,
    /// `None` for an operator that edgeprune does not know.
    pub(super) options: Option<Options>,
}

impl Operator {
    pub(super) fn input(&self, slot: usize) -> Option<usize> {
        self.inputs.get(slot).copied().flatten()
    }

    /// The operator's type as the schema spells it.
    pub(super) fn type_name(&self) -> String {
        let name = self.kind.variant_name();
        match &self.custom {
            Some(custom) => format!("custom operator {custom}"),
            None => name.map_or_else(|| format!("operator {}", self.kind.0), str::to_string),
        }
    }
}

impl Network {
    /// Reads a file.
    ///
    /// # Errors
    /// What is damaged.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let model = tflite::root_as_model(bytes).map_err(|error| {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            format!("damaged TFLite file: {line}")
        })?;
        let graphs = model.subgraphs().filter(|graphs| !graphs.is_empty());
        let graph = graphs.ok_or("the file holds no network")?.get(0);
        let tensors = read_tensors(&model, &graph, bytes.len())?;
        let operators = graph.operators().ok_or("the network has no operators")?;
        let operators = operators
            .iter()
            .map(|operator| read_operator(&model, &operator, tensors.len()))
            .collect::<Result<Vec<_>, _>>()?;
        let mut network = Self {
            inputs: ids(graph.inputs(), tensors.len())?,
            outputs: ids(graph.outputs(), tensors.len())?,
            tensors,
            operators,
        };
        network.fill_empty_constants();
        Ok(network)
    }

    /// Constants without elements have no bytes: they are what nothing computes.
    fn fill_empty_constants(&mut self) {
        let outputs = self.operators.iter().flat_map(|op| &op.outputs);
        let computed: HashSet<usize> = outputs.chain(&self.inputs).copied().collect();
        for (id, tensor) in self.tensors.iter_mut().enumerate() {
            if tensor.data.is_none() && tensor.dims.contains(&0) && !computed.contains(&id) {
                tensor.data = Some(match tensor.kind {
                    TensorType::FLOAT32 => Data::Real(Vec::new()),
                    _ => Data::Integer(Vec::new()),
                });
            }
        }
    }

    /// The name of what an operator computes.
    pub(super) fn name(&self, operator: &Operator) -> &str {
        let output = operator.outputs.first();
        output.map_or("unnamed", |&id| &self.tensors[id].name)
    }

    /// The range that an operator's output saturates at: that of its codes.
    ///
    /// Functions into a fixed range have codes up to one step below it, where the reals need not
    /// be cut. Operators that hand codes on leave them as they are.
    pub(super) fn saturation(&self, operator: &Operator) -> Option<[f32; 2]> {
        let codes = self.tensors[*operator.outputs.first()?].codes?;
        let operands = match operator.kind {
            BuiltinOperator::LOGISTIC | BuiltinOperator::SOFTMAX | BuiltinOperator::TANH => {
                return None;
            }
            BuiltinOperator::CONCATENATION => operator.inputs.len(),
            BuiltinOperator::PAD | BuiltinOperator::PADV2 => 1,
            kind if keeps_range(kind) => 1,
            _ => return Some(codes.range),
        };
        let same = |slot| {
            let input = operator.input(slot);
            input.is_some_and(|id| self.tensors[id].codes == Some(codes))
        };
        (!(0..operands).all(same)).then_some(codes.range)
    }

    /// Checks that every tensor is computed once, before it is read.
    ///
    /// # Errors
    /// Which one is not.
    pub(super) fn check_order(&self) -> Result<(), String> {
        let constants = (0..self.tensors.len()).filter(|&id| self.tensors[id].data.is_some());
        let mut known: HashSet<usize> = constants.chain(self.inputs.iter().copied()).collect();
        for operator in &self.operators {
            let name = self.name(operator);
            for &id in operator.inputs.iter().flatten() {
                if !known.contains(&id) {
                    let input = &self.tensors[id].name;
                    return Err(format!(
                        "{name} reads {input}, which nothing computes before"
                    ));
                }
            }
            for &id in &operator.outputs {
                if !known.insert(id) {
                    return Err(format!("{} is computed twice", self.tensors[id].name));
                }
            }
        }
        let missing = self.outputs.iter().find(|id| !known.contains(id));
        missing.map_or(Ok(()), |&id| {
            Err(format!("nothing computes output {}", self.tensors[id].name))
        })
    }
}

fn read_tensors(
    model: &tflite::Model<'_>,
    graph: &tflite::SubGraph<'_>,
    file_bytes: usize,
) -> Result<Vec<Tensor>, String> {
    let mut left = file_bytes.saturating_mul(MAX_ELEMENTS_PER_BYTE);
    let mut tensors = Vec::new();
    for source in graph.tensors().ok_or("the network has no tensors")? {
        let name = source.name().unwrap_or("unnamed").to_string();
        let tensor = read_tensor(model, &source, name.clone())
            .map_err(|why| format!("tensor {name}: {why}"))?;
        let elements = tensor.data.as_ref().map_or(0, Data::len);
        left = left
            .checked_sub(elements)
            .ok_or("damaged TFLite file: its tensors share buffers too often")?;
        tensors.push(tensor);
    }
    Ok(tensors)
}

fn read_tensor(
    model: &tflite::Model<'_>,
    source: &tflite::Tensor<'_>,
    name: String,
) -> Result<Tensor, String> {
    let dims = source.shape().into_iter().flatten();
    let dims = dims
        .map(|dim| usize::try_from(dim).map_err(|_| format!("a dimension of {dim}")))
        .collect::<Result<Vec<_>, _>>()?;
    if dims.len() > MAX_RANK {
        return Err(format!("{} dimensions", dims.len()));
    }
    let (scales, zero_points) = quantization(source);
    let integer = integer_range(source.type_());
    let quantized = integer.is_some() && !scales.is_empty();
    let real = quantized
        || matches!(
            source.type_(),
            TensorType::FLOAT16 | TensorType::FLOAT32 | TensorType::FLOAT64
        );
    let kind = if real {
        TensorType::FLOAT32
    } else {
        source.type_()
    };
    let codes = match (integer, scales.as_slice()) {
        (Some([least, greatest]), &[scale]) if scale > 0.0 && scale.is_finite() => {
            let zero_point = zero_points.first().copied().unwrap_or(0);
            let bound = |code: f64| ((code - zero_point as f64) * f64::from(scale)) as f32;
            Some(Codes {
                scale,
                zero_point,
                range: [bound(least), bound(greatest)],
            })
        }
        _ => None,
    };
    let mut tensor = Tensor {
        name,
        dims,
        kind,
        codes,
        data: None,
        sparse: source.sparsity().is_some(),
    };
    if let Some(data) = buffer(model, source).filter(|_| !tensor.sparse) {
        tensor.data = Some(read_data(
            source,
            &tensor.dims,
            data,
            &scales,
            &zero_points,
        )?);
    }
    Ok(tensor)
}

/// Scales and zero points: one of each, or one for each channel.
fn quantization(source: &tflite::Tensor<'_>) -> (Vec<f32>, Vec<i64>) {
    let table = source.quantization();
    let scales = table.and_then(|table| table.scale());
    let zeros = table.and_then(|table| table.zero_point());
    (
        scales.into_iter().flatten().collect(),
        zeros.into_iter().flatten().collect(),
    )
}

/// The codes of an integer type.
fn integer_range(kind: TensorType) -> Option<[f64; 2]> {
    let signed = |bits: i32| Some([-2f64.powi(bits - 1), 2f64.powi(bits - 1) - 1.0]);
    match kind {
        TensorType::INT8 => signed(8),
        TensorType::UINT8 => Some([0.0, 255.0]),
        TensorType::INT16 => signed(16),
        TensorType::INT32 => signed(32),
        TensorType::INT64 => signed(64),
        _ => None,
    }
}

/// The bytes of a constant.
fn buffer<'m>(model: &tflite::Model<'m>, source: &tflite::Tensor<'_>) -> Option<&'m [u8]> {
    let buffers = model.buffers()?;
    let index = source.buffer() as usize;
    // Buffer 0 is empty by convention: computed tensors refer to it.
    let buffer = (index > 0 && index < buffers.len()).then(|| buffers.get(index))?;
    let bytes = buffer.data()?.bytes();
    (!bytes.is_empty()).then_some(bytes)
}

fn read_data(
    source: &tflite::Tensor<'_>,
    dims: &[usize],
    bytes: &[u8],
    scales: &[f32],
    zero_points: &[i64],
) -> Result<Data, String> {
    let data = decode(source.type_(), bytes)?;
    let elements = dims.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim));
    if elements != Some(data.len()) {
        return Err(format!("{} values for dimensions {dims:?}", data.len()));
    }
    let Data::Integer(codes) = data else {
        return Ok(data);
    };
    if scales.is_empty() {
        return Ok(Data::Integer(codes));
    }
    let axis = source.quantization().map_or(0, |q| q.quantized_dimension());
    let channels = Channels::new(dims, axis, scales.len())?;
    let value = |(index, code): (usize, i64)| {
        let channel = channels.of(index);
        let zero = zero_points.get(channel).or(zero_points.first());
        let offset = code as f64 - zero.copied().unwrap_or(0) as f64;
        (offset * f64::from(scales[channel])) as f32
    };
    Ok(Data::Real(
        codes.into_iter().enumerate().map(value).collect(),
    ))
}

/// Which scale an element has.
struct Channels {
    count: usize,
    /// Elements between two channels.
    stride: usize,
}

impl Channels {
    fn new(dims: &[usize], axis: i32, count: usize) -> Result<Self, String> {
        if count == 1 {
            return Ok(Self { count, stride: 1 });
        }
        // Converters name the kernel's axis for the bias too, which has only one.
        let axis = match dims {
            [_] => 0,
            _ => usize::try_from(axis).unwrap_or(usize::MAX),
        };
        if dims.get(axis) != Some(&count) {
            return Err(format!("{count} scales for dimension {axis} of {dims:?}"));
        }
        let stride = dims[axis + 1..].iter().product::<usize>().max(1);
        Ok(Self { count, stride })
    }

    fn of(&self, index: usize) -> usize {
        index / self.stride % self.count
    }
}

fn decode(kind: TensorType, bytes: &[u8]) -> Result<Data, String> {
    Ok(match kind {
        TensorType::INT8 => Data::Integer(words(bytes, |b| i8::from_le_bytes(b).into())),
        TensorType::UINT8 | TensorType::BOOL => {
            Data::Integer(words(bytes, |b| u8::from_le_bytes(b).into()))
        }
        TensorType::INT16 => Data::Integer(words(bytes, |b| i16::from_le_bytes(b).into())),
        TensorType::INT32 => Data::Integer(words(bytes, |b| i32::from_le_bytes(b).into())),
        TensorType::INT64 => Data::Integer(words(bytes, i64::from_le_bytes)),
        TensorType::FLOAT16 => Data::Real(words(bytes, |b| half_to_single(u16::from_le_bytes(b)))),
        TensorType::FLOAT32 => Data::Real(words(bytes, f32::from_le_bytes)),
        TensorType::FLOAT64 => Data::Real(words(bytes, |b| f64::from_le_bytes(b) as f32)),
        other => {
            let name = other.variant_name().unwrap_or("an unknown type");
            return Err(format!(
                "a constant of {name}: export the network in float32 or int8"
            ));
        }
    })
}

fn words<const N: usize, T>(bytes: &[u8], decode: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes
        .as_chunks::<N>()
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

fn read_operator(
    model: &tflite::Model<'_>,
    source: &tflite::Operator<'_>,
    tensors: usize,
) -> Result<Operator, String> {
    let codes = model.operator_codes();
    let index = source.opcode_index() as usize;
    let code = codes.filter(|codes| index < codes.len());
    let code = code
        .ok_or(format!("there is no operator code {index}"))?
        .get(index);
    let kind = match BuiltinOperator(i32::from(code.deprecated_builtin_code())) {
        BuiltinOperator::PLACEHOLDER_FOR_GREATER_OP_CODES => code.builtin_code(),
        old => old,
    };
    let custom = (kind == BuiltinOperator::CUSTOM)
        .then(|| code.custom_code().unwrap_or("without a name").to_string());
    let inputs = source.inputs().into_iter().flatten();
    let inputs = inputs
        .map(|id| match id {
            -1 => Ok(None),
            _ => tensor_id(id, tensors).map(Some),
        })
        .collect::<Result<_, _>>()?;
    let options = match SUPPORTED.contains(&kind) {
        true => Some(Options::read(kind, source)?),
        false => None,
    };
    Ok(Operator {
        kind,
        custom,
        inputs,
        outputs: ids(source.outputs(), tensors)?,
        options,
    })
}

fn ids(list: Option<impl IntoIterator<Item = i32>>, tensors: usize) -> Result<Vec<usize>, String> {
    let list = list.into_iter().flatten();
    list.map(|id| tensor_id(id, tensors)).collect()
}

fn tensor_id(id: i32, tensors: usize) -> Result<usize, String> {
    let index = usize::try_from(id).ok().filter(|&index| index < tensors);
    index.ok_or(format!(
        "the network refers to tensor {id}, which does not exist"
    ))
}

#[cfg(test)]
mod tests {
    use super::half_to_single;

    #[test]
    fn half_precision_is_decoded() {
        let cases = [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (1, 5.960_464_5e-8),
            (0x3555, 0.333_251_95),
        ];
        for (bits, value) in cases {
            assert_eq!(half_to_single(bits), value);
        }
    }
}
