//! SynFlow: which weights carry the network's flow, without any data (Tanaka et al., "Pruning neural
//! networks without any data by iteratively conserving synaptic flow", 2020, arXiv 2006.05467).

use crate::graph::{
    Activation, BinaryKind, Graph, Node, Op, Shape, TensorId, TensorInfo, UnaryKind, backward,
    evaluate, weight_gradient,
};

/// A tensor whose largest element is further from 1 than this power of two is rescaled.
const FAR: i32 = 16;
/// Exponents of factors between tensors: beyond these one is nothing next to the other.
const FACTORS: std::ops::RangeInclusive<i32> = -126..=126;

/// Per node with weights, in their order, `|dR/dw * w|` where `R` is the sum of the outputs for an
/// input of ones, of the network with the absolute values of the weights that `masks` keep, without
/// biases, and with the identity for clamps, functions and softmaxes. Differences become sums.
///
/// All scores are relative to one power of two, so that deep networks neither overflow nor
/// underflow. `masks` has one entry per node; a layer with `None` keeps all weights.
///
/// # Panics
/// If `masks` do not have the sizes of the graph's weights.
pub fn scores(graph: &Graph, masks: &[Option<Vec<bool>>]) -> Vec<Option<Vec<f32>>> {
    assert_eq!(masks.len(), graph.nodes.len(), "masks");
    let flow = Flow::new(graph, masks);
    let mut scores: Vec<Option<Vec<f32>>> = graph
        .nodes
        .iter()
        .map(|node| Some(vec![0.0; node.op.linear()?.weights.len()]))
        .collect();
    let outputs = || graph.outputs.iter().map(|port| flow.moved[port.tensor]);
    let largest = outputs().map(|id| flow.exponents[id]).max().unwrap_or(0);
    let seeds: Vec<(TensorId, Vec<f32>)> = outputs()
        .map(|id| {
            let factor = power(flow.exponents[id] - largest);
            (id, vec![factor; flow.graph.tensors[id].elements()])
        })
        .collect();
    backward(&flow.graph, &flow.values, &seeds, |index, gradient| {
        let node = &flow.graph.nodes[index];
        let input = &flow.values[node.inputs[0]];
        let (Some(slopes), Some(linear), Some(source)) = (
            weight_gradient(&flow.graph, node, input, gradient),
            node.op.linear(),
            flow.sources[index],
        ) else {
            return;
        };
        let products = slopes.iter().zip(&linear.weights);
        scores[source] = Some(products.map(|(slope, w)| (slope * w).abs()).collect());
    });
    scores
}

/// The linear network with its activations, each divided by a power of two. Where two tensors meet,
/// functions bring them to the same one: the weights of a layer beside a shortcut cannot be rescaled
/// alone without a change of its share in the sum.
struct Flow {
    graph: Graph,
    values: Vec<Vec<f32>>,
    /// By tensor: the values are to be multiplied with 2 to the power of this.
    exponents: Vec<i32>,
    /// By tensor of the source: where it is now.
    moved: Vec<TensorId>,
    /// By node: its index in the source.
    sources: Vec<Option<usize>>,
}

impl Flow {
    fn new(source: &Graph, masks: &[Option<Vec<bool>>]) -> Self {
        let mut graph = source.clone();
        graph.nodes.clear();
        let mut flow = Self {
            graph,
            values: vec![Vec::new(); source.tensors.len()],
            exponents: vec![0; source.tensors.len()],
            moved: (0..source.tensors.len()).collect(),
            sources: Vec::new(),
        };
        for port in &source.inputs {
            flow.values[port.tensor] = vec![1.0; source.tensors[port.tensor].elements()];
        }
        for (index, (node, mask)) in source.nodes.iter().zip(masks).enumerate() {
            flow.add(index, node, mask.as_deref());
        }
        flow
    }

    fn add(&mut self, index: usize, node: &Node, mask: Option<&[bool]>) {
        let mut node = node.clone();
        node.op = linear(node.op, mask);
        let mut inputs: Vec<TensorId> = node.inputs.iter().map(|&id| self.moved[id]).collect();
        let of_inputs = inputs.iter().map(|&id| self.exponents[id]);
        let exponent = match node.op {
            Op::Binary {
                kind: BinaryKind::Mul,
                ..
            } => of_inputs.sum(),
            _ => {
                let largest = of_inputs.max().unwrap_or(0);
                for id in &mut inputs {
                    *id = self.at_exponent(*id, largest);
                }
                largest
            }
        };
        node.inputs = inputs;
        let mut value = self.evaluate(&node);
        let excess = magnitude(&value);
        let mut shift = 0;
        if let Some(constants) = node.op.linear_mut() {
            constants
                .weights
                .iter_mut()
                .for_each(|w| *w *= power(-excess));
            shift = excess;
            value = self.evaluate(&node);
        }
        let output = node.output;
        self.push(node, Some(index), value, exponent + shift);
        if (excess - shift).abs() > FAR {
            self.moved[output] = self.at_exponent(output, exponent + excess);
        }
    }

    /// `id`, divided so that it has the given exponent.
    fn at_exponent(&mut self, id: TensorId, exponent: i32) -> TensorId {
        if self.exponents[id] == exponent {
            return id;
        }
        let a = power(self.exponents[id] - exponent);
        let output = self.graph.tensors.len();
        let shape: Shape = self.graph.shape(id);
        self.graph.tensors.push(TensorInfo { shape });
        self.values.push(Vec::new());
        self.exponents.push(0);
        let node = Node {
            name: format!("scale_{output}"),
            op: Op::Unary {
                kind: UnaryKind::Affine { a, b: 0.0 },
            },
            inputs: vec![id],
            output,
        };
        let value = self.evaluate(&node);
        self.push(node, None, value, exponent);
        output
    }

    fn evaluate(&self, node: &Node) -> Vec<f32> {
        let inputs = node.inputs.iter().map(|&id| self.values[id].as_slice());
        evaluate(&self.graph, node, &inputs.collect::<Vec<_>>())
    }

    fn push(&mut self, node: Node, source: Option<usize>, value: Vec<f32>, exponent: i32) {
        self.values[node.output] = value;
        self.exponents[node.output] = exponent;
        self.graph.nodes.push(node);
        self.sources.push(source);
    }
}

/// The operator of the linear network, with the absolute values of the kept weights.
fn linear(mut op: Op, mask: Option<&[bool]>) -> Op {
    if let Some(constants) = op.linear_mut() {
        constants.activation = Activation::None;
        constants.bias.fill(0.0);
        let weights = &mut constants.weights;
        if let Some(mask) = mask {
            assert_eq!(mask.len(), weights.len(), "mask");
            let dropped = weights.iter_mut().zip(mask).filter(|(_, stays)| !**stays);
            dropped.for_each(|(w, _)| *w = 0.0);
        }
        weights.iter_mut().for_each(|w| *w = w.abs());
    }
    match op {
        Op::Binary { kind, .. } => Op::Binary {
            kind: match kind {
                BinaryKind::Sub => BinaryKind::Add,
                kind => kind,
            },
            activation: Activation::None,
        },
        Op::Unary { .. } | Op::Softmax | Op::Normalize { .. } => Op::Reshape,
        Op::Pad { before, .. } => Op::Pad { before, value: 0.0 },
        op => op,
    }
}

/// The exponent of the largest element; 0 if there is none but zeros.
fn magnitude(values: &[f32]) -> i32 {
    let largest = values.iter().copied().fold(0.0, f32::max);
    if largest > 0.0 && largest.is_finite() {
        largest.log2().floor() as i32
    } else {
        0
    }
}

fn power(exponent: i32) -> f32 {
    if exponent < *FACTORS.start() {
        return 0.0;
    }
    2f32.powi(exponent.min(*FACTORS.end()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Layout, Linear, POINT, Port, Window};

    fn port(tensor: usize, shape: Shape) -> Port {
        Port {
            name: format!("t{tensor}"),
            tensor,
            source_shape: shape.to_vec(),
            layout: Layout::Nhwc,
        }
    }

    /// A graph with one input whose nodes write tensors 1, 2, ... in order.
    fn graph(input: Shape, nodes: Vec<(Op, Vec<usize>, Shape)>) -> Graph {
        let shapes: Vec<Shape> = [input]
            .into_iter()
            .chain(nodes.iter().map(|n| n.2))
            .collect();
        let last = shapes.len() - 1;
        let nodes = nodes.into_iter().enumerate();
        let graph = Graph {
            name: "test".into(),
            source_hash: [0; 32],
            source_bytes: 0,
            inputs: vec![port(0, input)],
            outputs: vec![port(last, shapes[last])],
            tensors: shapes.iter().map(|&shape| TensorInfo { shape }).collect(),
            nodes: nodes
                .map(|(i, (op, inputs, _))| Node {
                    name: format!("n{i}"),
                    op,
                    inputs,
                    output: i + 1,
                })
                .collect(),
        };
        graph.validate().unwrap();
        graph
    }

    fn layer(shape: Shape, outputs: usize, scale: f32) -> Linear {
        let count: usize = shape.iter().product();
        Linear {
            shape,
            weights: (0..count)
                .map(|i| (((i * 7919) % 401) as f32 / 100.0 - 2.0) * scale)
                .collect(),
            bias: vec![-3.0; outputs],
            activation: Activation::Relu,
        }
    }

    fn chain(scale: f32) -> Graph {
        let shape = [1, 6, 6, 4];
        let window = Window {
            kernel: [3, 3],
            pad: [1, 1],
            ..POINT
        };
        let conv = |groups: usize| Op::Conv2d {
            linear: layer([4, 3, 3, 4 / groups], 4, scale),
            window,
            groups,
        };
        let depthwise = Op::DepthwiseConv2d {
            linear: layer([1, 3, 3, 4], 4, scale),
            window,
        };
        let kind = UnaryKind::Sigmoid;
        let head = Op::FullyConnected {
            linear: layer([3, 1, 1, 4], 3, scale),
        };
        graph(
            shape,
            vec![
                (conv(1), vec![0], shape),
                (Op::Unary { kind }, vec![1], shape),
                (depthwise, vec![2], shape),
                (conv(2), vec![3], shape),
                (Op::Mean, vec![4], [1, 1, 1, 4]),
                (head, vec![5], [1, 1, 1, 3]),
                (Op::Softmax, vec![6], [1, 1, 1, 3]),
            ],
        )
    }

    fn sums(scores: &[Option<Vec<f32>>]) -> Vec<f64> {
        let layers = scores.iter().flatten();
        layers
            .map(|layer| layer.iter().map(|&s| f64::from(s)).sum())
            .collect()
    }

    fn all(graph: &Graph) -> Vec<Option<Vec<bool>>> {
        vec![None; graph.nodes.len()]
    }

    #[test]
    fn every_layer_of_a_chain_conserves_the_flow() {
        for scale in [1e-20, 1.0, 1e20] {
            let graph = chain(scale);
            let mut masks = all(&graph);
            for masked in [false, true] {
                if masked {
                    masks[3] = Some((0..72).map(|i| i % 3 != 0).collect());
                }
                let scores = scores(&graph, &masks);
                let sums = sums(&scores);
                assert_eq!(sums.len(), 4);
                for sum in &sums {
                    assert!(sum.is_finite() && sums[0] > 0.0, "{sums:?}");
                    assert!((sum - sums[0]).abs() <= 1e-4 * sums[0], "{sums:?}");
                }
                if masked {
                    let layer = scores[3].as_ref().unwrap();
                    assert!(layer.iter().step_by(3).all(|&s| s == 0.0));
                }
            }
        }
    }

    #[test]
    fn a_layer_beside_a_shortcut_keeps_its_share_of_the_flow() {
        let shape = [1, 1, 1, 1];
        let point = |weight| Op::FullyConnected {
            linear: Linear {
                shape,
                weights: vec![weight],
                bias: vec![0.0],
                activation: Activation::None,
            },
        };
        let kind = BinaryKind::Sub;
        let activation = Activation::None;
        let graph = graph(
            shape,
            vec![
                (point(3.0), vec![0], shape),
                (point(-1.0 / 1024.0), vec![1], shape),
                (Op::Binary { kind, activation }, vec![1, 2], shape),
                (point(2e9), vec![3], shape),
            ],
        );
        let sums = sums(&scores(&graph, &all(&graph)));
        assert!((sums[0] / sums[2] - 1.0).abs() < 1e-6, "{sums:?}");
        assert!((sums[1] / sums[2] * 1025.0 - 1.0).abs() < 1e-6, "{sums:?}");
    }
}
