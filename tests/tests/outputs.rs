//! What int8 would lose of a network's outputs is kept: inputs and outputs whose channels have very different ranges,
//! and packages that are too small say so.

use crate::command::command;
use edgeprune::dataset::Dataset;
use edgeprune::eval::{self, Opened};
use edgeprune::graph::{Activation, Graph, Layout, Linear, Node, Op, Port, TensorInfo, UnaryKind};
use edgeprune::pack::{Goal, Packed, pack};
use edgeprune::progress::Progress;
use edgeprune::report::record::Expected;
use edgeprune::study::Cache;
use npyz::WriterBuilder;
use std::path::{Path, PathBuf};
use std::process::Output;

/// Repeatable numbers from -1 to 1.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

/// A network on a vector, node after node.
struct Vectors {
    graph: Graph,
    random: Random,
}

impl Vectors {
    fn new(channels: usize) -> Self {
        let shape = [1, 1, 1, channels];
        let port = Port {
            name: "x".into(),
            tensor: 0,
            source_shape: vec![1, channels],
            layout: Layout::Nhwc,
        };
        let graph = Graph {
            name: "vectors".into(),
            source_hash: [7; 32],
            source_bytes: 0,
            inputs: vec![port],
            outputs: Vec::new(),
            tensors: vec![TensorInfo { shape }],
            nodes: Vec::new(),
        };
        Self {
            graph,
            random: Random(5),
        }
    }

    fn node(&mut self, op: Op, inputs: &[usize], channels: usize) -> usize {
        let output = self.graph.tensors.len();
        let shape = [1, 1, 1, channels];
        self.graph.tensors.push(TensorInfo { shape });
        self.graph.nodes.push(Node {
            name: format!("node{output}"),
            op,
            inputs: inputs.to_vec(),
            output,
        });
        output
    }

    /// A fully connected layer whose weights are divided by `scales` of its input's channels.
    fn layer(
        &mut self,
        input: usize,
        outputs: usize,
        scales: &[f32],
        activation: Activation,
    ) -> usize {
        let inputs = scales.len();
        let gain = (3.0 / inputs as f32).sqrt();
        let weight = |(_, scale): (usize, &f32)| self.random.next() * gain / scale;
        let weights = scales.iter().cycle().take(outputs * inputs).enumerate();
        let linear = Linear {
            shape: [outputs, 1, 1, inputs],
            weights: weights.map(weight).collect(),
            bias: vec![0.0; outputs],
            activation,
        };
        self.node(Op::FullyConnected { linear }, &[input], outputs)
    }

    fn unary(&mut self, input: usize, kind: UnaryKind) -> usize {
        let channels = self.graph.shape(input)[3];
        self.node(Op::Unary { kind }, &[input], channels)
    }

    fn output(mut self, tensor: usize) -> Graph {
        let channels = self.graph.shape(tensor)[3];
        self.graph.outputs.push(Port {
            name: "y".into(),
            tensor,
            source_shape: vec![1, channels],
            layout: Layout::Nhwc,
        });
        self.graph.validate().unwrap();
        self.graph
    }
}

/// Samples of channels with these means and ranges, in a file.
fn samples(folder: &Path, graph: &Graph, channels: &[(f32, f32)], count: usize) -> Dataset {
    let path = folder.join("samples.npy");
    let mut random = Random(11);
    let file = std::fs::File::create(&path).unwrap();
    let mut writer = npyz::WriteOptions::new()
        .default_dtype()
        .shape(&[count as u64, channels.len() as u64])
        .writer(file)
        .begin_nd()
        .unwrap();
    for _ in 0..count {
        let values = channels
            .iter()
            .map(|(mean, range)| mean + range * random.next());
        writer.extend(values).unwrap();
    }
    writer.finish().unwrap();
    Dataset::open(&path, None, None, &graph.inputs)
        .unwrap()
        .spread(count / 2)
}

fn packed(graph: &Graph, samples: &Dataset) -> (Packed, Expected) {
    let (goal, cache, progress) = (Goal::default(), Cache::none(), Progress::Silent);
    let packed = pack(graph, goal, samples, None, &cache, &progress).unwrap();
    let opened = Opened::new(Path::new("test.epk"), &packed.bytes).unwrap();
    let expected = eval::expected(&opened, graph, samples, &progress).unwrap();
    (packed, expected)
}

#[test]
fn sensors_of_very_different_ranges_are_normalized_before_they_are_quantized() {
    let channels = [
        (101_300.0, 900.0),
        (50.0, 15.0),
        (0.004, 0.001),
        (20.0, 8.0),
    ];
    let ranges = channels.map(|(_, range)| range);
    let mut net = Vectors::new(4);
    let hidden = net.layer(0, 24, &ranges, Activation::None);
    // the trained network's own normalization, folded: the means are taken off in the bias
    let means: Vec<f32> = channels.iter().map(|(mean, _)| *mean).collect();
    if let Op::FullyConnected { linear } = &mut net.graph.nodes[0].op {
        for (bias, row) in linear.bias.iter_mut().zip(linear.weights.chunks_exact(4)) {
            let sum: f64 = row
                .iter()
                .zip(&means)
                .map(|(w, m)| f64::from(*w) * f64::from(*m))
                .sum();
            *bias = -sum as f32;
        }
        linear.activation = Activation::Relu;
    }
    let scores = net.layer(hidden, 3, &[1.0; 24], Activation::None);
    let graph = net.output(scores);
    let folder = tempfile::tempdir().unwrap();
    let (packed, expected) = packed(&graph, &samples(folder.path(), &graph, &channels, 128));
    assert!(expected.held_out && expected.samples == 64, "{expected:?}");
    assert!(expected.outputs[0].sqnr_db > 30.0, "{expected:?}");
    assert!(expected.warnings.is_empty());
    let names = Opened::new(Path::new("test.epk"), &packed.bytes).unwrap();
    let nodes = names.package().manifest().nodes();
    let classes: Vec<String> = nodes.map(|node| format!("{:?}", node.op)).collect();
    assert!(classes[0].starts_with("DepthwiseConv2d"), "{classes:?}");
}

#[test]
fn scores_survive_beside_boxes_in_one_output() {
    let mut net = Vectors::new(8);
    let hidden = net.layer(0, 16, &[1.0; 8], Activation::Relu);
    let (a, b) = (
        net.layer(hidden, 4, &[1.0; 16], Activation::None),
        net.layer(hidden, 5, &[1.0; 16], Activation::None),
    );
    let boxes = net.unary(a, UnaryKind::Sigmoid);
    let boxes = net.unary(boxes, UnaryKind::Affine { a: 640.0, b: 0.0 });
    let scores = net.unary(b, UnaryKind::Sigmoid);
    let joined = net.node(Op::Concat { axis: 3 }, &[boxes, scores], 9);
    let graph = net.output(joined);
    let folder = tempfile::tempdir().unwrap();
    let samples = samples(folder.path(), &graph, &[(0.0, 2.0); 8], 128);
    let (_, expected) = packed(&graph, &samples);
    let output = &expected.outputs[0];
    assert_eq!(
        (output.channels, output.lost_channels),
        (9, 0),
        "{expected:?}"
    );
    assert!(
        output.sqnr_db > 25.0 && expected.warnings.is_empty(),
        "{expected:?}"
    );
}

#[test]
fn what_a_function_magnifies_stays_in_floats_and_the_package_says_why() {
    let mut net = Vectors::new(8);
    let hidden = net.layer(0, 16, &[1.0; 8], Activation::Relu);
    let energy = net.layer(hidden, 6, &[1.0; 16], Activation::None);
    let energy = net.unary(energy, UnaryKind::Square);
    let energy = net.unary(energy, UnaryKind::Affine { a: 100.0, b: 1e-3 });
    let log = net.unary(energy, UnaryKind::Log);
    let last = net.layer(log, 4, &[1.0; 6], Activation::None);
    let graph = net.output(last);
    let folder = tempfile::tempdir().unwrap();
    let samples = samples(folder.path(), &graph, &[(0.0, 2.0); 8], 128);
    let (packed, expected) = packed(&graph, &samples);
    assert!(expected.outputs[0].sqnr_db > 15.0, "{expected:?}");
    assert!(!packed.float.is_empty());
    for float in &packed.float {
        assert!(
            float.name.starts_with("node") && float.reason.contains("dB"),
            "{float:?}"
        );
    }
}

fn demo(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../host-tool/demo")
        .join(file)
}

fn pack_demo(folder: &Path, output: &str, more: &[&str]) -> Output {
    command()
        .arg("pack")
        .arg(demo("fashion_mnist.onnx"))
        .arg("--calib")
        .arg(demo("calib_images.npy"))
        .args(["-o", output, "--json", "--cache", "cache"])
        .args(more)
        .current_dir(folder)
        .output()
        .unwrap()
}

#[test]
fn a_budget_that_destroys_the_network_is_spent_and_called_so() {
    let folder = tempfile::tempdir().unwrap();
    let tight = pack_demo(folder.path(), "tight.epk", &["--max-size", "7300"]);
    let text = String::from_utf8_lossy(&tight.stderr);
    assert!(tight.status.success(), "{text}");
    assert!(
        text.contains("warning: ") && text.contains("layer `"),
        "{text}"
    );
    let record: serde_json::Value = serde_json::from_slice(&tight.stdout).unwrap();
    let bytes = record["package_bytes"].as_u64().unwrap();
    assert!((7_100..=7_300).contains(&bytes), "{bytes}");
    assert!(
        record["expected"]["agreement"].as_f64().unwrap() < 90.0,
        "{record}"
    );
    assert!(
        !record["expected"]["warnings"]
            .as_array()
            .unwrap()
            .is_empty()
    );

    let refused = pack_demo(
        folder.path(),
        "strict.epk",
        &["--max-size", "7300", "--strict"],
    );
    assert_eq!(refused.status.code(), Some(1));
    assert!(!folder.path().join("strict.epk").exists());

    let roomy = pack_demo(
        folder.path(),
        "roomy.epk",
        &["--max-size", "60kB", "--strict"],
    );
    let text = String::from_utf8_lossy(&roomy.stderr);
    assert!(
        roomy.status.success() && !text.contains("warning"),
        "{text}"
    );
}
