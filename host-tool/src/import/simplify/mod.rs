//! Folds and fuses what the source model spells out: batch normalization, activations, padding,
//! and functions written as several operators. Every rule is exact but for rounding.

mod activation;
mod affine;
mod group;
mod pad;
mod pattern;
mod plumbing;
mod point;

use crate::graph::{Graph, Node, TensorId};

/// One application of a rule: whether it changed the graph.
type Rule = fn(&mut Graph) -> bool;

const RULES: [Rule; 15] = [
    plumbing::drop_unused,
    plumbing::drop_identity,
    plumbing::merge_movements,
    plumbing::stride_over_slice,
    pattern::fuse_function,
    pattern::fuse_softplus,
    pattern::fuse_self_gate,
    affine::merge,
    affine::fold_into_producer,
    affine::fold_into_consumer,
    activation::fuse,
    activation::after_affine,
    pad::merge,
    group::split,
    point::as_fully_connected,
];

/// Applies all rules until none applies, then renumbers the tensors. Gives the new number of each
/// tensor that is left: no rule changes the values of a tensor.
pub(super) fn simplify(graph: &mut Graph) -> Vec<Option<TensorId>> {
    loop {
        let mut changed = false;
        for rule in RULES {
            while rule(graph) {
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    plumbing::renumber(graph)
}

/// Who computes and how many read each tensor.
struct Links {
    uses: Vec<usize>,
    producers: Vec<Option<usize>>,
}

impl Links {
    fn new(graph: &Graph) -> Self {
        Self {
            uses: graph.uses(),
            producers: graph.producers(),
        }
    }

    /// The node that computes `tensor`.
    fn producer<'g>(&self, graph: &'g Graph, tensor: TensorId) -> Option<(usize, &'g Node)> {
        let index = self.producers[tensor]?;
        Some((index, &graph.nodes[index]))
    }

    /// The node that computes `tensor`, if nothing else reads it.
    fn private<'g>(&self, graph: &'g Graph, tensor: TensorId) -> Option<(usize, &'g Node)> {
        self.producer(graph, tensor)
            .filter(|_| self.uses[tensor] == 1)
    }
}

/// The first pair (producer, consumer) that `accept` likes: the consumer is the only reader of the
/// producer's output, which is its first input.
fn find_pair(graph: &Graph, accept: impl Fn(&Node, &Node) -> bool) -> Option<(usize, usize)> {
    let links = Links::new(graph);
    graph.nodes.iter().enumerate().find_map(|(index, node)| {
        let (producer, previous) = links.private(graph, *node.inputs.first()?)?;
        accept(previous, node).then_some((producer, index))
    })
}

/// Removes `consumer`; `producer` writes its output instead.
fn absorb_consumer(graph: &mut Graph, producer: usize, consumer: usize) {
    graph.nodes[producer].output = graph.nodes[consumer].output;
    graph.nodes.remove(consumer);
}

/// Removes `producer`; `consumer` reads its input instead.
fn absorb_producer(graph: &mut Graph, producer: usize, consumer: usize) {
    graph.nodes[consumer].inputs[0] = graph.nodes[producer].inputs[0];
    graph.nodes.remove(producer);
}

#[cfg(test)]
pub(super) mod testing {
    use crate::graph::{Activation, Graph, Layout, Linear, Node, Op, Port, Shape, TensorInfo};

    /// A chain of operators: (operator, output shape).
    pub(in crate::import) fn chain(input: Shape, ops: Vec<(Op, Shape)>) -> Graph {
        let port = |name: &str, tensor: usize, shape: Shape| Port {
            name: name.into(),
            tensor,
            source_shape: shape.to_vec(),
            layout: Layout::Nhwc,
        };
        let mut graph = Graph {
            name: "test".into(),
            source_hash: [0; 32],
            source_bytes: 0,
            inputs: vec![port("in", 0, input)],
            outputs: vec![port(
                "out",
                ops.len(),
                ops.last().map_or(input, |(_, shape)| *shape),
            )],
            tensors: vec![TensorInfo { shape: input }],
            nodes: Vec::new(),
        };
        for (index, (op, shape)) in ops.into_iter().enumerate() {
            graph.tensors.push(TensorInfo { shape });
            graph.nodes.push(Node {
                name: format!("n{index}"),
                op,
                inputs: vec![index],
                output: index + 1,
            });
        }
        graph
    }

    /// Weights that differ from each other.
    pub(in crate::import) fn linear(shape: Shape, outputs: usize) -> Linear {
        let value = |i: usize| ((i * 37 + 11) % 23) as f32 / 10.0 - 1.1;
        Linear {
            shape,
            weights: (0..shape.iter().product()).map(value).collect(),
            bias: (0..outputs).map(|i| value(i + 5)).collect(),
            activation: Activation::None,
        }
    }

    /// Simplifies, checks that the outputs stay the same, and returns what is left.
    pub(in crate::import) fn simplified(graph: &Graph) -> Graph {
        graph.validate().unwrap();
        let size = graph.tensors[0].elements();
        let input: Vec<f32> = (0..size)
            .map(|i| ((i * 29 + 3) % 31) as f32 / 4.0 - 3.5)
            .collect();
        let before = crate::graph::run(graph, std::slice::from_ref(&input));
        let mut after = graph.clone();
        super::simplify(&mut after);
        after.validate().unwrap();
        let outputs = crate::graph::run(&after, &[input]);
        for (a, b) in before.concat().iter().zip(outputs.concat()) {
            assert!((a - b).abs() < 1e-4 * a.abs().max(1.0), "{a} became {b}");
        }
        after
    }
}
