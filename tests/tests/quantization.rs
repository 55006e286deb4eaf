//! From a dense graph to what the runtime computes: small networks made here, without files.

use edgeprune::calibrate;
use edgeprune::dataset::Dataset;
use edgeprune::graph::{
    Activation, BinaryKind, Graph, Layout, Linear, Node, Op, Port, TensorInfo, UnaryKind, Window,
    run,
};
use edgeprune::package::{self, Description};
use edgeprune::plan::{Database, Unlimited};
use edgeprune::progress::Progress;
use edgeprune::prune::{Evidence, Pruning};
use edgeprune::quantize::{ActivationPlan, Aim, QuantizedGraph, quantize, run_dense};
use edgeprune_format::manifest::{Calibration, DType};
use edgeprune_runtime::{Arena, Package, Session};

/// Builds a graph node by node.
struct Builder {
    graph: Graph,
    state: u64,
}

impl Builder {
    fn new(shape: [usize; 4]) -> Self {
        let port = |tensor| Port {
            name: format!("port{tensor}"),
            tensor,
            source_shape: shape.to_vec(),
            layout: Layout::Nhwc,
        };
        Self {
            graph: Graph {
                name: "small".into(),
                source_hash: [0; 32],
                source_bytes: 0,
                inputs: vec![port(0)],
                outputs: vec![port(0)],
                tensors: vec![TensorInfo { shape }],
                nodes: Vec::new(),
            },
            state: 3,
        }
    }

    fn random(&mut self) -> f32 {
        self.state = self
            .state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    fn linear(&mut self, shape: [usize; 4], outputs: usize, activation: Activation) -> Linear {
        let taps = shape.iter().product::<usize>() / outputs;
        let gain = (3.0 / taps as f32).sqrt();
        Linear {
            shape,
            weights: (0..outputs * taps).map(|_| self.random() * gain).collect(),
            bias: (0..outputs).map(|_| self.random() * 0.1).collect(),
            activation,
        }
    }

    fn node(&mut self, op: Op, inputs: &[usize], shape: [usize; 4]) -> usize {
        let output = self.graph.tensors.len();
        self.graph.tensors.push(TensorInfo { shape });
        self.graph.nodes.push(Node {
            name: format!("node{output}"),
            op,
            inputs: inputs.to_vec(),
            output,
        });
        self.graph.outputs[0].tensor = output;
        self.graph.outputs[0].source_shape = shape.to_vec();
        output
    }

    fn convolution(&mut self, input: usize, outputs: usize, activation: Activation) -> usize {
        let [_, h, w, channels] = self.graph.shape(input);
        let linear = self.linear([outputs, 3, 3, channels], outputs, activation);
        let window = Window {
            kernel: [3, 3],
            stride: [1, 1],
            dilation: [1, 1],
            pad: [1, 1],
        };
        let op = Op::Conv2d {
            linear,
            window,
            groups: 1,
        };
        self.node(op, &[input], [1, h, w, outputs])
    }
}

fn quantized(graph: &Graph) -> (QuantizedGraph, Vec<Vec<Vec<f32>>>) {
    let dataset = Dataset::synthetic(16, None, &graph.inputs);
    let samples: Vec<_> = (0..16).map(|i| dataset.sample(i).unwrap()).collect();
    let statistics = calibrate::measure(graph, &dataset, &Progress::Silent).unwrap();
    let activations = ActivationPlan::new(graph, &statistics, &samples, true).activations;
    let masks = vec![None; graph.nodes.len()];
    let aim = Aim {
        activations: &activations,
        statistics: &run_dense(graph, &samples, |_, _| ()),
        masks: &masks,
        samples: &samples,
    };
    let quantized = quantize(graph, &aim, &mut Unlimited(&[]), &Progress::Silent);
    (quantized, samples)
}

fn packed(quantized: &QuantizedGraph) -> Vec<u8> {
    let description = Description {
        calibration: Calibration::Synthetic,
        spec: None,
        removed_channels: 0,
        in_place: None,
    };
    package::write(quantized, &description).unwrap()
}

/// Signal-to-noise ratio in dB of the package's output against the dense graph's.
fn sqnr_db(graph: &Graph, bytes: &[u8], samples: &[Vec<Vec<f32>>]) -> f64 {
    let package = Package::open(bytes).unwrap();
    let mut arena = Arena::new(package.arena_bytes());
    let mut session = Session::new(&package, arena.bytes_mut()).unwrap();
    let (mut signal, mut noise) = (0.0, 0.0);
    for inputs in samples {
        let dense = &run(graph, inputs)[0];
        let mut computed = vec![0.0; dense.len()];
        session.set_input_f32(0, &inputs[0]).unwrap();
        session.run(&mut ()).unwrap();
        session.output_f32(0, &mut computed).unwrap();
        for (a, b) in dense.iter().zip(&computed) {
            signal += f64::from(*a).powi(2);
            noise += f64::from(a - b).powi(2);
        }
    }
    10.0 * (signal / noise).log10()
}

fn residual_network() -> Graph {
    let mut net = Builder::new([1, 12, 12, 3]);
    let a = net.convolution(0, 16, Activation::Relu);
    let b = net.convolution(a, 16, Activation::None);
    let add = Op::Binary {
        kind: BinaryKind::Add,
        activation: Activation::Relu,
    };
    let c = net.node(add, &[b, a], [1, 12, 12, 16]);
    let d = net.node(
        Op::Unary {
            kind: UnaryKind::HardSwish,
        },
        &[c],
        [1, 12, 12, 16],
    );
    let e = net.node(Op::Concat { axis: 3 }, &[d, a], [1, 12, 12, 32]);
    let f = net.node(Op::Mean, &[e], [1, 1, 1, 32]);
    let linear = net.linear([10, 1, 1, 32], 10, Activation::None);
    net.node(Op::FullyConnected { linear }, &[f], [1, 1, 1, 10]);
    net.graph
}

#[test]
fn an_int8_network_stays_close_to_the_dense_one() {
    let graph = residual_network();
    let (quantized, samples) = quantized(&graph);
    assert!(
        quantized.activations[..graph.tensors.len() - 1]
            .iter()
            .all(Option::is_some)
    );
    let db = sqnr_db(&graph, &packed(&quantized), &samples);
    assert!(db > 28.0, "{db} dB");
}

#[test]
fn a_layer_that_int8_cannot_hold_stays_float_and_the_network_stays_right() {
    let mut net = Builder::new([1, 8, 8, 4]);
    let a = net.convolution(0, 16, Activation::None);
    let b = net.convolution(a, 8, Activation::Relu);
    net.convolution(b, 4, Activation::None);
    let mut graph = net.graph;
    // One channel is so large that a step of its range swallows all others; what reads it undoes that.
    const OUTLIER: f32 = 3000.0;
    if let Some(linear) = graph.nodes[0].op.linear_mut() {
        linear.weights[..36].iter_mut().for_each(|w| *w *= OUTLIER);
    }
    if let Some(linear) = graph.nodes[1].op.linear_mut() {
        linear.weights.iter_mut().step_by(16).for_each(|w| *w = 0.0);
    }
    let (quantized, samples) = quantized(&graph);
    let bytes = packed(&quantized);
    let package = Package::open(&bytes).unwrap();
    let manifest = package.manifest();
    let float = manifest
        .nodes()
        .filter(|node| manifest.tensor(node.output).unwrap().dtype == DType::F32)
        .count();
    assert!(float >= 1);
    let db = sqnr_db(&graph, &bytes, &samples);
    assert!(db > 25.0, "{db} dB");
}

#[test]
fn a_mask_keeps_its_zeros_through_the_whole_path() {
    let graph = residual_network();
    let dataset = Dataset::synthetic(8, None, &graph.inputs);
    let samples: Vec<_> = (0..8).map(|i| dataset.sample(i).unwrap()).collect();
    let statistics = calibrate::measure(&graph, &dataset, &Progress::Silent).unwrap();
    let database = Database::new(
        &graph,
        &statistics,
        &samples,
        &vec![None; graph.nodes.len()],
        &Progress::Silent,
    );
    let costs = database.costs(&graph, &samples, &Progress::Silent);
    let outputs = database.statistics;
    let evidence = Evidence {
        graph: &graph,
        statistics: &statistics,
        costs: &costs,
        outputs: &outputs,
        samples: &samples,
    };
    let pruning = Pruning {
        sparsity: 0.6,
        ..Pruning::default()
    };
    let masks = evidence.masks(&pruning, &Progress::Silent);
    let activations = ActivationPlan::new(&graph, &statistics, &samples, true).activations;
    let aim = Aim {
        activations: &activations,
        statistics: &outputs,
        masks: &masks,
        samples: &samples,
    };
    let quantized = quantize(&graph, &aim, &mut Unlimited(&[]), &Progress::Silent);
    let codes = || {
        quantized
            .layers
            .iter()
            .flatten()
            .flat_map(|layer| &layer.codes)
    };
    let zeros = codes().filter(|&&code| code == 0).count();
    assert!(zeros as f64 >= 0.6 * codes().count() as f64);
    for (layer, mask) in quantized.layers.iter().zip(&masks) {
        let (Some(layer), Some(mask)) = (layer, mask) else {
            continue;
        };
        assert!(
            layer
                .codes
                .iter()
                .zip(mask)
                .all(|(&code, &keep)| keep || code == 0)
        );
    }
}
