//! An ONNX network as data: it can be written, printed, and cut into smaller ones.

use prost::Message;
use std::collections::HashSet;
use std::fmt::{self, Display};
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, attribute_proto::AttributeType, type_proto,
};

/// The newest IR version that every opset here may be written with.
const IR_VERSION: i64 = 8;
/// ONNX's numbers of element types.
const FLOAT: i32 = 1;
const INT64: i32 = 7;

/// An activation of `f32`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Value {
    pub(crate) name: String,
    pub(crate) dims: Vec<usize>,
}

impl Value {
    pub(crate) fn rank(&self) -> usize {
        self.dims.len()
    }

    pub(crate) fn elements(&self) -> usize {
        self.dims.iter().product()
    }
}

#[derive(Clone, Debug)]
enum Data {
    Floats(Vec<f32>),
    Integers(Vec<i64>),
}

/// What a step reads.
#[derive(Clone, Debug)]
enum Operand {
    Activation(String),
    Constant { dims: Vec<usize>, data: Data },
    Absent,
}

#[derive(Clone, Debug)]
enum Attribute {
    Int(i64),
    Ints(Vec<i64>),
    Float(f32),
    Text(&'static str),
}

/// A node with its constants.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    op: &'static str,
    operands: Vec<Operand>,
    attributes: Vec<(&'static str, Attribute)>,
    pub(crate) outputs: Vec<Value>,
}

impl Step {
    pub(crate) fn new(op: &'static str) -> Self {
        Self {
            op,
            operands: Vec::new(),
            attributes: Vec::new(),
            outputs: Vec::new(),
        }
    }

    pub(crate) fn value(mut self, value: &Value) -> Self {
        self.operands.push(Operand::Activation(value.name.clone()));
        self
    }

    pub(crate) fn floats(mut self, dims: &[usize], data: Vec<f32>) -> Self {
        assert_eq!(data.len(), dims.iter().product::<usize>(), "{}", self.op);
        let (dims, data) = (dims.to_vec(), Data::Floats(data));
        self.operands.push(Operand::Constant { dims, data });
        self
    }

    pub(crate) fn scalar(self, value: f32) -> Self {
        self.floats(&[], vec![value])
    }

    pub(crate) fn integers(mut self, data: Vec<i64>) -> Self {
        let (dims, data) = (vec![data.len()], Data::Integers(data));
        self.operands.push(Operand::Constant { dims, data });
        self
    }

    /// An optional input that is left out.
    pub(crate) fn absent(mut self) -> Self {
        self.operands.push(Operand::Absent);
        self
    }

    pub(crate) fn int(mut self, name: &'static str, value: i64) -> Self {
        self.attributes.push((name, Attribute::Int(value)));
        self
    }

    pub(crate) fn ints(mut self, name: &'static str, values: Vec<i64>) -> Self {
        self.attributes.push((name, Attribute::Ints(values)));
        self
    }

    pub(crate) fn float(mut self, name: &'static str, value: f32) -> Self {
        self.attributes.push((name, Attribute::Float(value)));
        self
    }

    pub(crate) fn text(mut self, name: &'static str, value: &'static str) -> Self {
        self.attributes.push((name, Attribute::Text(value)));
        self
    }

    /// Names of the activations that it reads.
    pub(crate) fn reads(&self) -> impl Iterator<Item = &str> {
        self.operands.iter().filter_map(|operand| match operand {
            Operand::Activation(name) => Some(name.as_str()),
            _ => None,
        })
    }

    fn replace(&mut self, old: &str, new: &str) {
        for operand in &mut self.operands {
            if matches!(operand, Operand::Activation(name) if name == old) {
                *operand = Operand::Activation(new.to_string());
            }
        }
    }

    /// The name of a constant operand in the file.
    fn constant_name(&self, index: usize) -> String {
        format!("{}_{index}", self.outputs[0].name)
    }

    fn node(&self) -> NodeProto {
        let name = |(index, operand): (usize, &Operand)| match operand {
            Operand::Activation(name) => name.clone(),
            Operand::Constant { .. } => self.constant_name(index),
            Operand::Absent => String::new(),
        };
        NodeProto {
            name: self.outputs[0].name.clone(),
            op_type: self.op.into(),
            input: self.operands.iter().enumerate().map(name).collect(),
            output: self.outputs.iter().map(|o| o.name.clone()).collect(),
            attribute: self.attributes.iter().map(attribute).collect(),
            ..NodeProto::default()
        }
    }

    fn initializers(&self) -> impl Iterator<Item = TensorProto> {
        let operands = self.operands.iter().enumerate();
        operands.filter_map(|(index, operand)| match operand {
            Operand::Constant { dims, data } => Some(tensor(self.constant_name(index), dims, data)),
            _ => None,
        })
    }
}

fn tensor(name: String, dims: &[usize], data: &Data) -> TensorProto {
    let mut proto = TensorProto {
        name,
        dims: dims.iter().map(|&dim| dim as i64).collect(),
        ..TensorProto::default()
    };
    match data {
        Data::Floats(values) => (proto.data_type, proto.float_data) = (FLOAT, values.clone()),
        Data::Integers(values) => (proto.data_type, proto.int64_data) = (INT64, values.clone()),
    }
    proto
}

fn attribute((name, value): &(&'static str, Attribute)) -> AttributeProto {
    let mut proto = AttributeProto {
        name: (*name).into(),
        ..AttributeProto::default()
    };
    let kind = match value {
        Attribute::Int(value) => {
            proto.i = *value;
            AttributeType::Int
        }
        Attribute::Ints(values) => {
            proto.ints.clone_from(values);
            AttributeType::Ints
        }
        Attribute::Float(value) => {
            proto.f = *value;
            AttributeType::Float
        }
        Attribute::Text(value) => {
            proto.s = value.as_bytes().to_vec();
            AttributeType::String
        }
    };
    proto.r#type = kind as i32;
    proto
}

fn info(value: &Value) -> ValueInfoProto {
    let dim = value.dims.iter().map(|&size| Dimension {
        value: Some(dimension::Value::DimValue(size as i64)),
        ..Dimension::default()
    });
    let tensor = type_proto::Tensor {
        elem_type: FLOAT,
        shape: Some(TensorShapeProto { dim: dim.collect() }),
    };
    ValueInfoProto {
        name: value.name.clone(),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(tensor)),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}

/// A network; its steps are in order of execution.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) opset: i64,
    pub(crate) inputs: Vec<Value>,
    pub(crate) steps: Vec<Step>,
    pub(crate) outputs: Vec<Value>,
}

impl Network {
    /// The bytes of an ONNX file.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let graph = GraphProto {
            name: "random".into(),
            node: self.steps.iter().map(Step::node).collect(),
            initializer: self.steps.iter().flat_map(Step::initializers).collect(),
            input: self.inputs.iter().map(info).collect(),
            output: self.outputs.iter().map(info).collect(),
            ..GraphProto::default()
        };
        let model = ModelProto {
            ir_version: IR_VERSION,
            opset_import: vec![OperatorSetIdProto {
                version: self.opset,
                ..OperatorSetIdProto::default()
            }],
            graph: Some(graph),
            ..ModelProto::default()
        };
        model.encode_to_vec()
    }

    /// Every value that a step computes, in order of execution.
    pub(crate) fn computed(&self) -> impl Iterator<Item = &Value> {
        self.steps.iter().flat_map(|step| &step.outputs)
    }

    /// Computed values that no step reads.
    pub(crate) fn sinks(&self) -> Vec<Value> {
        let read: HashSet<&str> = self.steps.iter().flat_map(Step::reads).collect();
        self.steps
            .iter()
            .filter(|step| !step.outputs.iter().any(|o| read.contains(o.name.as_str())))
            .map(|step| step.outputs[0].clone())
            .collect()
    }

    /// The part that computes `outputs`.
    pub(crate) fn ending_in(&self, outputs: &[Value]) -> Self {
        let mut needed: HashSet<&str> = outputs.iter().map(|o| o.name.as_str()).collect();
        let mut steps = Vec::new();
        for step in self.steps.iter().rev() {
            if step
                .outputs
                .iter()
                .any(|o| needed.contains(o.name.as_str()))
            {
                needed.extend(step.reads());
                steps.push(step.clone());
            }
        }
        steps.reverse();
        let inputs = self.inputs.iter();
        Self {
            opset: self.opset,
            inputs: inputs
                .filter(|input| needed.contains(input.name.as_str()))
                .cloned()
                .collect(),
            steps,
            outputs: outputs.to_vec(),
        }
    }

    /// The part behind `value`, which becomes an input.
    pub(crate) fn starting_at(&self, value: &Value) -> Self {
        let mut whole = self.clone();
        whole.inputs.push(value.clone());
        whole.steps.retain(|step| !step.outputs.contains(value));
        whole.ending_in(&self.outputs)
    }

    /// Without one step whose output has the dimensions of what it reads first.
    pub(crate) fn without(&self, index: usize) -> Option<Self> {
        let step = &self.steps[index];
        let first = step.reads().next()?.to_string();
        let known = || self.inputs.iter().chain(self.computed());
        let source = known().find(|value| value.name == first)?;
        let [output] = step.outputs.as_slice() else {
            return None;
        };
        if source.dims != output.dims || self.outputs.contains(output) {
            return None;
        }
        let mut shorter = self.clone();
        shorter.steps.remove(index);
        for step in &mut shorter.steps {
            step.replace(&output.name, &first);
        }
        Some(shorter.ending_in(&self.outputs))
    }
}

/// `opset 13: x0 [1, 3, 8, 8] | t1 [1, 4, 8, 8] = Conv(x0, [4, 3, 3, 3]) group=1 | ...`
impl Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "opset {}:", self.opset)?;
        for input in &self.inputs {
            write!(f, " {} {:?}", input.name, input.dims)?;
        }
        for step in &self.steps {
            write!(f, " | {step}")?;
        }
        let outputs: Vec<&str> = self.outputs.iter().map(|o| o.name.as_str()).collect();
        write!(f, " -> {}", outputs.join(", "))
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for output in &self.outputs {
            write!(f, "{} {:?} ", output.name, output.dims)?;
        }
        let operands: Vec<String> = self.operands.iter().map(Operand::to_string).collect();
        write!(f, "= {}({})", self.op, operands.join(", "))?;
        for (name, value) in &self.attributes {
            match value {
                Attribute::Int(value) => write!(f, " {name}={value}")?,
                Attribute::Ints(values) => write!(f, " {name}={values:?}")?,
                Attribute::Float(value) => write!(f, " {name}={value}")?,
                Attribute::Text(value) => write!(f, " {name}={value}")?,
            }
        }
        Ok(())
    }
}

impl Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Constants up to this length are printed with their values.
        const SHORT: usize = 6;
        match self {
            Self::Activation(name) => f.write_str(name),
            Self::Absent => f.write_str("-"),
            Self::Constant {
                data: Data::Integers(values),
                ..
            } => write!(f, "i{values:?}"),
            Self::Constant {
                data: Data::Floats(values),
                ..
            } if values.len() <= SHORT => {
                write!(f, "{values:?}")
            }
            Self::Constant { dims, .. } => write!(f, "constant {dims:?}"),
        }
    }
}
