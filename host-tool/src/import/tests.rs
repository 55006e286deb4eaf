//! Small ONNX networks, one for each way of writing something. Loading compares the lowered graph
//! with the network as parsed; what tract itself could get wrong is compared with arithmetic.

use super::parse::{Format, from_proto};
use super::*;
use crate::graph::{self, Layout};
use std::path::PathBuf;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, attribute_proto, type_proto,
};

mod refused;
mod right;
mod verified;

/// Grows an ONNX network; each node's output has the node's name.
struct Net {
    graph: GraphProto,
    opset: i64,
}

/// A value of an attribute.
enum Value<'a> {
    Int(i64),
    Ints(&'a [i64]),
    Float(f32),
    Text(&'a str),
}
use Value::{Float, Int, Ints, Text};

impl Net {
    /// An input `x`; a negative dimension is symbolic.
    fn new(shape: &[i64]) -> Self {
        Self {
            graph: GraphProto {
                name: "net".into(),
                input: vec![info("x", shape)],
                ..GraphProto::default()
            },
            opset: 13,
        }
    }

    /// The version of the operators.
    fn opset(self, opset: i64) -> Self {
        Self { opset, ..self }
    }

    /// A second output of the last node.
    fn second_output(mut self, name: &str) -> Self {
        self.graph.node.last_mut().unwrap().output.push(name.into());
        self
    }

    /// A note of the dimensions of a value between nodes.
    fn note(mut self, name: &str, shape: &[i64]) -> Self {
        self.graph.value_info.push(info(name, shape));
        self
    }

    /// The domain of the last node.
    fn domain(mut self, domain: &str) -> Self {
        self.graph.node.last_mut().unwrap().domain = domain.into();
        self
    }

    /// The type of the first input's elements, as ONNX numbers them.
    fn element_type(mut self, number: i32) -> Self {
        let info = self.graph.input[0].r#type.as_mut().unwrap();
        if let Some(type_proto::Value::TensorType(tensor)) = &mut info.value {
            tensor.elem_type = number;
        }
        self
    }

    fn input(mut self, name: &str, shape: &[i64]) -> Self {
        self.graph.input.push(info(name, shape));
        self
    }

    /// A constant of values that differ from each other.
    fn weights(self, name: &str, dims: &[i64]) -> Self {
        let count: i64 = dims.iter().product();
        let salt: usize = name.bytes().map(usize::from).sum();
        let data = (0..count as usize)
            .map(|i| ((i * 37 + salt) % 29) as f32 / 20.0 - 0.7)
            .collect();
        self.constant(name, dims, data)
    }

    fn constant(mut self, name: &str, dims: &[i64], float_data: Vec<f32>) -> Self {
        self.graph.initializer.push(TensorProto {
            name: name.into(),
            dims: dims.to_vec(),
            data_type: 1,
            float_data,
            ..TensorProto::default()
        });
        self
    }

    fn integers(mut self, name: &str, int64_data: &[i64]) -> Self {
        self.graph.initializer.push(TensorProto {
            name: name.into(),
            dims: vec![int64_data.len() as i64],
            data_type: 7,
            int64_data: int64_data.to_vec(),
            ..TensorProto::default()
        });
        self
    }

    fn node(
        mut self,
        name: &str,
        op: &str,
        inputs: &[&str],
        attributes: &[(&str, Value<'_>)],
    ) -> Self {
        self.graph.node.push(NodeProto {
            name: name.into(),
            op_type: op.into(),
            input: inputs.iter().map(|input| (*input).into()).collect(),
            output: vec![name.into()],
            attribute: attributes
                .iter()
                .map(|(name, value)| attribute(name, value))
                .collect(),
            ..NodeProto::default()
        });
        self
    }

    /// A convolution with weights `[out, in, h, w]` and a bias, of the input named.
    fn conv(
        self,
        name: &str,
        input: &str,
        kernel: &[i64],
        attributes: &[(&str, Value<'_>)],
    ) -> Self {
        let (w, b) = (format!("{name}_w"), format!("{name}_b"));
        self.weights(&w, kernel).weights(&b, &kernel[..1]).node(
            name,
            "Conv",
            &[input, &w, &b],
            attributes,
        )
    }

    fn proto(mut self) -> ModelProto {
        let last = self.graph.node.last().unwrap().name.clone();
        self.graph.output = vec![ValueInfoProto {
            name: last,
            ..ValueInfoProto::default()
        }];
        ModelProto {
            ir_version: 7,
            opset_import: vec![OperatorSetIdProto {
                version: self.opset,
                ..OperatorSetIdProto::default()
            }],
            graph: Some(self.graph),
            ..ModelProto::default()
        }
    }

    fn load(self) -> Result<Graph, Error> {
        let path = PathBuf::from("net.onnx");
        let model = from_proto(&path, self.proto())?;
        let parsed = Parsed::new(&path, model, Format::Onnx)?;
        imported(&path, parsed).map(|(graph, _)| graph)
    }

    /// The names of the operators.
    fn operators(self) -> Vec<&'static str> {
        let graph = self.graph();
        graph.nodes.iter().map(|node| node.op.name()).collect()
    }

    fn graph(self) -> Graph {
        self.load().unwrap()
    }

    /// The first output for inputs in the source's order, in the source's order.
    fn outputs(self, inputs: &[&[f32]]) -> Vec<f32> {
        let graph = self.graph();
        let ports = graph.inputs.iter().zip(inputs);
        let inputs: Vec<Vec<f32>> = ports.map(|(port, data)| to_nhwc(port, data)).collect();
        let output = graph::run(&graph, &inputs).swap_remove(0);
        to_source(&graph.outputs[0], &output)
    }

    /// The error of loading.
    fn refusal(self) -> String {
        self.load().unwrap_err().to_string()
    }
}

/// From the order of the source to that of the graph, where they differ.
fn to_nhwc(port: &graph::Port, data: &[f32]) -> Vec<f32> {
    let (Layout::Nchw, &[_, c, h, w]) = (port.layout, port.source_shape.as_slice()) else {
        return data.to_vec();
    };
    (0..h * w * c)
        .map(|i| data[i % c * h * w + i / c])
        .collect()
}

/// From the order of the graph to that of the source, where they differ.
fn to_source(port: &graph::Port, data: &[f32]) -> Vec<f32> {
    let (Layout::Nchw, &[_, c, h, w]) = (port.layout, port.source_shape.as_slice()) else {
        return data.to_vec();
    };
    (0..c * h * w)
        .map(|i| data[i % (h * w) * c + i / (h * w)])
        .collect()
}

fn info(name: &str, shape: &[i64]) -> ValueInfoProto {
    let dim = shape.iter().map(|&size| Dimension {
        value: Some(match size {
            0.. => dimension::Value::DimValue(size),
            _ => dimension::Value::DimParam("n".into()),
        }),
        ..Dimension::default()
    });
    let tensor = type_proto::Tensor {
        elem_type: 1,
        shape: Some(TensorShapeProto { dim: dim.collect() }),
    };
    ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(tensor)),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}

fn attribute(name: &str, value: &Value<'_>) -> AttributeProto {
    use attribute_proto::AttributeType as Type;
    let mut proto = AttributeProto {
        name: name.into(),
        ..AttributeProto::default()
    };
    let kind = match value {
        Int(i) => {
            proto.i = *i;
            Type::Int
        }
        Ints(ints) => {
            proto.ints = ints.to_vec();
            Type::Ints
        }
        Float(f) => {
            proto.f = *f;
            Type::Float
        }
        Text(text) => {
            proto.s = text.as_bytes().to_vec();
            Type::String
        }
    };
    proto.r#type = kind as i32;
    proto
}

const PADS: (&str, Value<'static>) = ("pads", Ints(&[1, 1, 1, 1]));

#[test]
fn convolutions_of_every_kind_are_one_node() {
    type Case<'a> = (&'a [i64], &'a [(&'a str, Value<'a>)], &'a str);
    let cases: [Case<'_>; 8] = [
        (&[6, 4, 3, 3], &[PADS], "conv_2d"),
        (&[6, 4, 1, 1], &[], "conv_2d"),
        (&[6, 4, 1, 1], &[("strides", Ints(&[2, 2]))], "conv_2d"),
        (
            &[6, 2, 3, 3],
            &[
                ("group", Int(2)),
                ("dilations", Ints(&[2, 1])),
                ("pads", Ints(&[2, 0, 1, 1])),
            ],
            "conv_2d",
        ),
        (&[6, 2, 1, 1], &[("group", Int(2))], "conv_2d"),
        (
            &[4, 1, 3, 3],
            &[
                ("group", Int(4)),
                ("auto_pad", Text("SAME_LOWER")),
                ("strides", Ints(&[2, 2])),
            ],
            "depthwise_conv_2d",
        ),
        (
            &[8, 1, 3, 3],
            &[("group", Int(4)), ("auto_pad", Text("SAME_UPPER"))],
            "conv_2d",
        ),
        (&[5, 4, 8, 9], &[], "conv_2d"),
    ];
    for (kernel, attributes, expected) in cases {
        let net = Net::new(&[-1, 4, 8, 9]).conv("c", "x", kernel, attributes);
        assert_eq!(net.operators(), [expected], "{kernel:?}");
    }
}

#[test]
fn a_symbolic_batch_becomes_one() {
    let graph = Net::new(&[-1, 3, 8, 8])
        .conv("c", "x", &[4, 3, 3, 3], &[])
        .graph();
    assert_eq!(graph.inputs[0].source_shape, [1, 3, 8, 8]);
    assert_eq!(graph.inputs[0].layout, Layout::Nchw);
    assert_eq!(graph.shape(graph.inputs[0].tensor), [1, 8, 8, 3]);
    assert_eq!(graph.outputs[0].source_shape, [1, 4, 6, 6]);
}

#[test]
fn normalizations_and_activations_disappear_in_the_convolution() {
    let normalized = |net: Net, name: &str, input: &str| {
        let names = ["s", "b", "m", "v"].map(|p| format!("{name}_{p}"));
        let variance = vec![0.5, 1.0, 2.0, 0.25];
        net.weights(&names[0], &[4])
            .weights(&names[1], &[4])
            .weights(&names[2], &[4])
            .constant(&names[3], &[4], variance)
            .node(
                name,
                "BatchNormalization",
                &[input, &names[0], &names[1], &names[2], &names[3]],
                &[],
            )
    };
    let net = Net::new(&[1, 3, 8, 8]).conv("c", "x", &[4, 3, 3, 3], &[PADS]);
    let net = normalized(net, "bn", "c").node("r", "Relu", &["bn"], &[]);
    assert_eq!(net.operators(), ["conv_2d"]);
    let net = normalized(Net::new(&[1, 4, 8, 8]), "bn", "x").conv("c", "bn", &[4, 4, 3, 3], &[]);
    assert_eq!(net.operators(), ["conv_2d"]);
    let net =
        normalized(Net::new(&[1, 4, 8, 8]), "bn", "x").conv("c", "bn", &[4, 4, 3, 3], &[PADS]);
    assert_eq!(net.operators(), ["depthwise_conv_2d", "conv_2d"]);
}

#[test]
fn gates_are_one_function() {
    let net = |op: &str| Net::new(&[1, 4, 6, 6]).node("g", op, &["x"], &[]);
    assert_eq!(
        net("Sigmoid")
            .node("m", "Mul", &["x", "g"], &[])
            .operators(),
        ["unary"]
    );
    assert_eq!(net("HardSwish").operators(), ["unary"]);
    let hard =
        Net::new(&[1, 4, 6, 6]).node("g", "HardSigmoid", &["x"], &[("alpha", Float(1.0 / 6.0))]);
    assert_eq!(
        hard.node("m", "Mul", &["g", "x"], &[]).operators(),
        ["unary"]
    );
    let spelled = Net::new(&[1, 4, 6, 6])
        .constant("three", &[], vec![3.0])
        .constant("zero", &[], vec![0.0])
        .constant("six", &[], vec![6.0])
        .node("a", "Add", &["x", "three"], &[])
        .node("c", "Clip", &["a", "zero", "six"], &[])
        .node("m", "Mul", &["x", "c"], &[])
        .node("d", "Div", &["m", "six"], &[]);
    assert_eq!(spelled.operators(), ["unary"]);
    for op in ["Mish", "Softplus"] {
        assert_eq!(net(op).operators(), ["unary"], "{op}");
    }
    let gelu = Net::new(&[1, 4, 6, 6])
        .constant("root", &[], vec![std::f32::consts::SQRT_2])
        .constant("one", &[], vec![1.0])
        .constant("half", &[], vec![0.5])
        .node("d", "Div", &["x", "root"], &[])
        .node("e", "Erf", &["d"], &[])
        .node("a", "Add", &["e", "one"], &[])
        .node("m", "Mul", &["x", "a"], &[])
        .node("h", "Mul", &["m", "half"], &[]);
    assert_eq!(gelu.operators(), ["unary"]);
}

#[test]
fn functions_match() {
    for op in [
        "Tanh",
        "Elu",
        "LeakyRelu",
        "Exp",
        "Abs",
        "Softplus",
        "Mish",
        "HardSigmoid",
        "Neg",
        "Erf",
    ] {
        Net::new(&[1, 4, 6, 6]).node("f", op, &["x"], &[]).graph();
    }
    for op in ["Sqrt", "Log", "Reciprocal"] {
        let net = Net::new(&[1, 4, 6, 6]).node("e", "Exp", &["x"], &[]);
        net.node("f", op, &["e"], &[]).graph();
    }
}

#[test]
fn functions_that_bend_at_zero_are_found() {
    for op in ["Elu", "LeakyRelu"] {
        assert_eq!(
            Net::new(&[1, 4, 6, 6])
                .node("f", op, &["x"], &[])
                .operators(),
            ["unary"],
            "{op}"
        );
    }
    let slopes = |dims: &[i64]| {
        let net = Net::new(&[1, 4, 6, 6]).conv("c", "x", &[4, 4, 3, 3], &[]);
        net.weights("s", dims).node("p", "PRelu", &["c", "s"], &[])
    };
    slopes(&[4, 1, 1]).graph();
    assert_eq!(slopes(&[1, 1, 1]).operators(), ["conv_2d", "unary"]);
}

#[test]
fn squeeze_and_excitation_broadcasts_the_gate() {
    let net = Net::new(&[1, 4, 6, 6])
        .node("p", "GlobalAveragePool", &["x"], &[])
        .conv("a", "p", &[2, 4, 1, 1], &[])
        .node("r", "Relu", &["a"], &[])
        .conv("b", "r", &[4, 2, 1, 1], &[])
        .node("s", "Sigmoid", &["b"], &[])
        .node("m", "Mul", &["s", "x"], &[]);
    assert_eq!(
        net.operators(),
        ["mean", "fully_connected", "fully_connected", "unary", "mul"]
    );
}

#[test]
fn flattening_permutes_the_weights_instead_of_the_data() {
    let net = Net::new(&[1, 3, 6, 6])
        .conv("c", "x", &[4, 3, 3, 3], &[])
        .node(
            "p",
            "MaxPool",
            &["c"],
            &[("kernel_shape", Ints(&[2, 2])), ("strides", Ints(&[2, 2]))],
        )
        .node("f", "Flatten", &["p"], &[])
        .weights("w", &[10, 16])
        .weights("b", &[10])
        .node("g", "Gemm", &["f", "w", "b"], &[("transB", Int(1))])
        .node("s", "Softmax", &["g"], &[("axis", Int(1))]);
    assert_eq!(
        net.operators(),
        [
            "conv_2d",
            "max_pool_2d",
            "reshape",
            "fully_connected",
            "softmax"
        ]
    );
}

#[test]
fn poolings_keep_their_padding() {
    let attributes = |include| {
        [
            ("kernel_shape", Ints(&[3, 3])),
            ("strides", Ints(&[2, 2])),
            PADS,
            ("count_include_pad", Int(include)),
        ]
    };
    for include in [0, 1] {
        let net = Net::new(&[1, 4, 8, 9]).node("p", "AveragePool", &["x"], &attributes(include));
        assert_eq!(net.operators(), ["average_pool_2d"]);
    }
    let net = Net::new(&[1, 4, 8, 9]).node("p", "MaxPool", &["x"], &attributes(0)[..3]);
    assert_eq!(net.operators(), ["max_pool_2d"]);
    let whole = [("kernel_shape", Ints(&[8, 9]))];
    let net = Net::new(&[1, 4, 8, 9]).node("p", "AveragePool", &["x"], &whole);
    assert_eq!(net.operators(), ["mean"]);
}

#[test]
fn reductions_over_space_are_means_and_over_channels_products() {
    let reduce = |axes: &'static [i64], op: &str| {
        let attributes = [("axes", Ints(axes)), ("keepdims", Int(1))];
        Net::new(&[1, 4, 8, 9])
            .node("r", op, &["x"], &attributes)
            .operators()
    };
    assert_eq!(reduce(&[2, 3], "ReduceMean"), ["mean"]);
    assert_eq!(reduce(&[1], "ReduceMean"), ["fully_connected"]);
    assert_eq!(reduce(&[2, 3], "ReduceMax"), ["max_pool_2d"]);
    assert!(reduce(&[3], "ReduceMean").contains(&"mean"));
}

#[test]
fn joins_cuts_and_pads_match() {
    let net = Net::new(&[1, 4, 8, 8])
        .conv("a", "x", &[3, 4, 1, 1], &[])
        .node("j", "Concat", &["x", "a", "x"], &[("axis", Int(1))]);
    assert_eq!(net.operators(), ["conv_2d", "concat"]);
    let many: Vec<&str> = vec!["x"; 11];
    let net = Net::new(&[1, 4, 8, 8]).node("j", "Concat", &many, &[("axis", Int(2))]);
    assert!(net.graph().nodes.iter().all(|node| node.inputs.len() <= 8));
    let net = Net::new(&[1, 4, 8, 8])
        .integers("starts", &[1, 2])
        .integers("ends", &[3, 8])
        .integers("axes", &[1, 3])
        .integers("steps", &[1, 2])
        .node("s", "Slice", &["x", "starts", "ends", "axes", "steps"], &[]);
    assert!(net.operators().iter().all(|&op| op == "slice"));
    let net = Net::new(&[1, 4, 8, 8])
        .integers("pads", &[0, 0, 1, 2, 0, 0, 2, 0])
        .node("p", "Pad", &["x", "pads"], &[])
        .conv("c", "p", &[4, 4, 3, 3], &[]);
    assert_eq!(net.operators(), ["conv_2d"]);
}

#[test]
fn moved_axes_cost_nothing_where_the_data_need_not_move() {
    let nhwc = Net::new(&[1, 8, 8, 3])
        .node("t", "Transpose", &["x"], &[("perm", Ints(&[0, 3, 1, 2]))])
        .conv("c", "t", &[4, 3, 3, 3], &[])
        .node("u", "Transpose", &["c"], &[("perm", Ints(&[0, 2, 3, 1]))])
        .graph();
    assert_eq!((nhwc.nodes.len(), nhwc.inputs[0].layout), (1, Layout::Nhwc));
    assert_eq!(nhwc.outputs[0].layout, Layout::Nhwc);
}

#[test]
fn shuffled_channels_and_pixels_end_up_in_place() {
    Net::new(&[1, 6, 4, 4])
        .integers("split", &[1, 2, 3, 4, 4])
        .integers("joined", &[1, 6, 4, 4])
        .node("a", "Reshape", &["x", "split"], &[])
        .node(
            "b",
            "Transpose",
            &["a"],
            &[("perm", Ints(&[0, 2, 1, 3, 4]))],
        )
        .node("c", "Reshape", &["b", "joined"], &[])
        .conv("d", "c", &[4, 6, 3, 3], &[])
        .graph();
    Net::new(&[1, 12, 4, 5])
        .node(
            "d",
            "DepthToSpace",
            &["x"],
            &[("blocksize", Int(2)), ("mode", Text("CRD"))],
        )
        .conv("c", "d", &[4, 3, 3, 3], &[])
        .graph();
}

#[test]
fn sequences_are_one_row_high() {
    let net = Net::new(&[1, 6, 20])
        .conv(
            "a",
            "x",
            &[8, 6, 5],
            &[("pads", Ints(&[2, 2])), ("strides", Ints(&[2]))],
        )
        .node("r", "Relu", &["a"], &[])
        .conv("b", "r", &[8, 1, 3], &[("group", Int(8))]);
    let graph = net.graph();
    assert_eq!(graph.shape(graph.outputs[0].tensor), [1, 1, 8, 8]);
    let net = Net::new(&[1, 10, 6])
        .weights("w", &[6, 5])
        .weights("b", &[5])
        .node("m", "MatMul", &["x", "w"], &[])
        .node("a", "Add", &["m", "b"], &[])
        .node("r", "Relu", &["a"], &[]);
    assert_eq!(net.operators(), ["fully_connected"]);
}

#[test]
fn residuals_add_in_any_order_of_operands() {
    let net = Net::new(&[1, 4, 6, 6])
        .conv("a", "x", &[4, 4, 1, 1], &[])
        .conv("b", "a", &[4, 4, 3, 3], &[PADS])
        .node("s", "Add", &["x", "b"], &[])
        .node("r", "Relu", &["s"], &[])
        .node("d", "Sub", &["a", "r"], &[]);
    assert_eq!(net.operators(), ["conv_2d", "conv_2d", "add", "sub"]);
    let two = Net::new(&[1, 4, 6, 6]).input("y", &[1, 4, 1, 1]);
    assert_eq!(
        two.node("d", "Sub", &["y", "x"], &[]).graph().inputs.len(),
        2
    );
}

#[test]
fn constants_for_each_position_are_added() {
    let net =
        Net::new(&[1, 4, 6, 5])
            .weights("p", &[1, 4, 6, 5])
            .node("a", "Add", &["x", "p"], &[]);
    net.graph();
    let net =
        Net::new(&[1, 4, 6, 5])
            .weights("p", &[1, 1, 6, 1])
            .node("a", "Mul", &["x", "p"], &[]);
    net.graph();
}

#[test]
fn resizing_keeps_its_coordinates() {
    for (mode, coordinates) in [
        ("nearest", "asymmetric"),
        ("linear", "half_pixel"),
        ("linear", "align_corners"),
        ("linear", "asymmetric"),
        ("linear", "pytorch_half_pixel"),
    ] {
        let attributes = [
            ("mode", Text(mode)),
            ("coordinate_transformation_mode", Text(coordinates)),
            ("nearest_mode", Text("floor")),
        ];
        let net = Net::new(&[1, 3, 4, 5])
            .constant("roi", &[0], vec![])
            .constant("scales", &[4], vec![1.0, 1.0, 2.0, 2.0])
            .node("r", "Resize", &["x", "roi", "scales"], &attributes);
        assert_eq!(net.operators(), ["resize"], "{mode} {coordinates}");
    }
}

#[test]
fn layer_normalization_is_spelled_out() {
    let net = Net::new(&[1, 5, 8])
        .constant("two", &[], vec![2.0])
        .constant("eps", &[], vec![1e-5])
        .weights("g", &[8])
        .weights("h", &[8])
        .node("m", "ReduceMean", &["x"], &[("axes", Ints(&[-1]))])
        .node("d", "Sub", &["x", "m"], &[])
        .node("p", "Pow", &["d", "two"], &[])
        .node("v", "ReduceMean", &["p"], &[("axes", Ints(&[-1]))])
        .node("e", "Add", &["v", "eps"], &[])
        .node("s", "Sqrt", &["e"], &[])
        .node("q", "Div", &["d", "s"], &[])
        .node("w", "Mul", &["q", "g"], &[])
        .node("a", "Add", &["w", "h"], &[]);
    net.graph();
}

#[test]
fn every_unsupported_node_is_named_at_once() {
    let net = Net::new(&[1, 4, 6, 6])
        .node("first", "NonMaxSuppression", &["x", "x"], &[])
        .node("second", "MadeUp", &["first"], &[]);
    let text = net.refusal();
    assert!(text.contains("second (MadeUp)"), "{text}");
    let net = Net::new(&[1, 4, 6, 6])
        .node("sine", "Sin", &["x"], &[])
        .node("relu", "Relu", &["sine"], &[])
        .node("cosine", "Cos", &["relu"], &[]);
    let text = net.refusal();
    assert!(
        text.contains("sine (Sin)") && text.contains("cosine (Cos)"),
        "{text}"
    );
    assert!(!text.contains("relu"), "{text}");
}

#[test]
fn a_dimension_that_is_not_fixed_is_named() {
    let net = Net::new(&[-1, 3, -1, 8]).conv("c", "x", &[4, 3, 3, 3], &[]);
    let text = net.refusal();
    assert!(text.contains("dimension 2 of input x"), "{text}");
}

#[test]
fn constants_that_do_not_fit_are_an_error() {
    let net = Net::new(&[1, 3, 8, 8]).conv("c", "x", &[4, 5, 3, 3], &[]);
    assert!(net.load().is_err());
}
