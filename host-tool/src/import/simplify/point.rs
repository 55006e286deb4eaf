//! A convolution of one element over a single row is a matrix product, which has the quicker kernels.

use crate::graph::{Graph, Node, Op};

/// Makes one such convolution a fully connected layer.
pub(super) fn as_fully_connected(graph: &mut Graph) -> bool {
    let found = graph.nodes.iter().position(|node| is_product(graph, node));
    let Some(index) = found else { return false };
    let node = &mut graph.nodes[index];
    if let Op::Conv2d { linear, .. } = &node.op {
        node.op = Op::FullyConnected {
            linear: linear.clone(),
        };
    }
    true
}

fn is_product(graph: &Graph, node: &Node) -> bool {
    let Op::Conv2d { window, groups, .. } = &node.op else {
        return false;
    };
    let (input, output) = (graph.shape(node.inputs[0]), graph.shape(node.output));
    let point = window.kernel == [1, 1] && window.pad == [0, 0];
    point && *groups == 1 && input[1] == 1 && input[..3] == output[..3]
}

#[cfg(test)]
mod tests {
    use super::super::testing::chain;
    use super::*;
    use crate::graph::{Activation, Linear, POINT};

    fn point(groups: usize) -> Op {
        Op::Conv2d {
            linear: Linear {
                shape: [4, 1, 1, 4 / groups],
                weights: vec![0.5; 16 / groups],
                bias: vec![0.0; 4],
                activation: Activation::Relu,
            },
            window: POINT,
            groups,
        }
    }

    #[test]
    fn a_gate_is_a_matrix_product_and_a_map_is_not() {
        let changes = |shape, groups| {
            let mut graph = chain(shape, vec![(point(groups), shape)]);
            let changed = as_fully_connected(&mut graph);
            graph.validate().unwrap();
            assert_eq!(changed, graph.nodes[0].op.name() == "fully_connected");
            changed
        };
        assert!(changes([1, 1, 1, 4], 1) && changes([1, 1, 9, 4], 1));
        assert!(!changes([1, 2, 1, 4], 1) && !changes([1, 1, 1, 4], 2));
    }
}
