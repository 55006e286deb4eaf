//! What a network may ask of this machine: a file of a hundred bytes can declare work for days. Checked before work starts.

use super::{Graph, Node, Op};
use crate::Error;
use edgeprune_runtime::{MAX_NODES, MAX_PORTS};

/// Most elements of one activation: 1 GiB in `f32`.
const MAX_ELEMENTS: usize = 1 << 28;
/// Most multiplications, additions and moves for one sample; large networks for images of 1280 x 1280 take 5e11.
const MAX_WORK: u64 = 2_000_000_000_000;
/// Activations and operations for each byte of the source file, and what any file may have. Networks of a few kilobytes
/// that filter large pictures stay far below; a file of a hundred bytes that declares a huge input does not.
const MAX_ELEMENTS_PER_BYTE: u64 = 1 << 16;
const MIN_ELEMENTS: u64 = 1 << 22;
const MAX_WORK_PER_BYTE: u64 = 100_000_000;
const MIN_WORK: u64 = 10_000_000_000;
/// Greatest magnitude of a weight, and of what a layer with weights reads: sums of squares stay finite in `f32`.
pub const MAX_MAGNITUDE: f32 = 1e15;

impl Graph {
    /// Refuses nodes, inputs and outputs beyond what runtimes have room for, and activations and work that no small
    /// board has room or time for.
    ///
    /// # Errors
    /// [`Error::Network`], which names the tensor or node.
    pub fn check_size(&self) -> Result<(), Error> {
        for (what, count, most) in [
            ("nodes", self.nodes.len(), MAX_NODES),
            ("inputs", self.inputs.len(), MAX_PORTS),
            ("outputs", self.outputs.len(), MAX_PORTS),
        ] {
            if count > most {
                return Err(self.refuse(format!(
                    "the network has {count} {what}, runtimes have room for {most}: split the model"
                )));
            }
        }
        for port in &self.inputs {
            self.check_elements("input", &port.name, port.tensor)?;
        }
        for node in &self.nodes {
            self.check_elements("output of node", &node.name, node.output)?;
        }
        let per_byte = |most: u64, least: u64| self.source_bytes.saturating_mul(most).max(least);
        let max_elements = per_byte(MAX_ELEMENTS_PER_BYTE, MIN_ELEMENTS);
        let max_work = per_byte(MAX_WORK_PER_BYTE, MIN_WORK).min(MAX_WORK);
        let (mut elements, mut work) = (0u64, 0u64);
        for node in &self.nodes {
            elements = elements.saturating_add(self.tensors[node.output].elements() as u64);
            work = work.saturating_add(self.work(node));
            for (what, count, most) in [
                ("elements", elements, max_elements),
                ("operations", work, max_work),
            ] {
                if count > most {
                    return Err(self.refuse(format!(
                        "the nodes up to `{}`, of {:?}, take {count} {what} for one sample, more than {most} \
                         for a model of {} bytes: export the model with smaller inputs",
                        node.name,
                        self.shape(node.output),
                        self.source_bytes
                    )));
                }
            }
        }
        Ok(())
    }

    /// Refuses weights that a sum of squares cannot hold: those of a damaged file.
    ///
    /// # Errors
    /// [`Error::Network`], which names the layer.
    pub fn check_weights(&self) -> Result<(), Error> {
        for node in &self.nodes {
            let Some(linear) = node.op.linear() else {
                continue;
            };
            if linear.weights.is_empty() {
                return Err(self.refuse(format!("layer `{}` has no weights", node.name)));
            }
            let weights = linear.weights.iter().chain(&linear.bias);
            let is_beyond = |weight: &&f32| weight.is_nan() || weight.abs() > MAX_MAGNITUDE;
            if let Some(weight) = weights.clone().find(is_beyond) {
                let mut sizes: Vec<f32> = weights.map(|weight| weight.abs()).collect();
                sizes.sort_unstable_by(f32::total_cmp);
                return Err(self.refuse(format!(
                    "layer `{}` has a weight or bias of {weight:e}, where half of them are below {:e}: \
                     the model is damaged; export it anew",
                    node.name,
                    sizes[sizes.len() / 2]
                )));
            }
        }
        Ok(())
    }

    fn check_elements(&self, what: &str, name: &str, tensor: usize) -> Result<(), Error> {
        let shape = self.shape(tensor);
        let elements = shape.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim));
        match elements {
            Some(0) => Err(self.refuse(format!("the {what} `{name}` of {shape:?} is empty"))),
            Some(elements) if elements <= MAX_ELEMENTS => Ok(()),
            _ => Err(self.refuse(format!(
                "the {what} `{name}` of {shape:?} has more than {MAX_ELEMENTS} elements: \
                 export the model with smaller inputs"
            ))),
        }
    }

    fn refuse(&self, cause: String) -> Error {
        Error::Network {
            model: self.name.clone(),
            cause,
        }
    }

    /// About the operations of one node for one sample.
    fn work(&self, node: &Node) -> u64 {
        let elements = |&id: &usize| self.tensors[id].elements() as u64;
        let moved = node.inputs.iter().map(elements).sum::<u64>() + elements(&node.output);
        let pooled = match &node.op {
            Op::MaxPool2d { window } | Op::AveragePool2d { window, .. } => {
                let taps = window.kernel.iter().map(|&side| u64::from(side));
                taps.product::<u64>().saturating_mul(elements(&node.output))
            }
            _ => 0,
        };
        moved.saturating_add(self.macs(node)).saturating_add(pooled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Activation, Layout, Linear, Port, TensorInfo, Window};

    /// A network of one node that reads `input` and writes `output`, height, width, channels.
    fn network(input: [usize; 3], op: Op, output: [usize; 3]) -> Graph {
        let tensor = |[h, w, c]: [usize; 3]| TensorInfo {
            shape: [1, h, w, c],
        };
        Graph {
            name: "net".into(),
            source_hash: [0; 32],
            source_bytes: 1 << 20,
            inputs: vec![Port {
                name: "x".into(),
                tensor: 0,
                source_shape: vec![1, input[0], input[1], input[2]],
                layout: Layout::Nhwc,
            }],
            outputs: Vec::new(),
            tensors: vec![tensor(input), tensor(output)],
            nodes: vec![Node {
                name: "node".into(),
                op,
                inputs: vec![0],
                output: 1,
            }],
        }
    }

    #[test]
    fn an_activation_that_no_board_holds_is_named() {
        let graph = network([1 << 14, 1 << 14, 3], Op::Mean, [1, 1, 3]);
        let message = graph.check_size().unwrap_err().to_string();
        assert!(message.contains("input `x`"), "{message}");
        let overflowing = network([usize::MAX, 2, 3], Op::Mean, [1, 1, 3]);
        assert!(overflowing.check_size().is_err());
        network([1 << 10, 1 << 10, 3], Op::Mean, [1, 1, 3])
            .check_size()
            .unwrap();
    }

    #[test]
    fn a_file_of_a_hundred_bytes_gets_no_huge_activations() {
        let mut graph = network([512, 512, 68], Op::Mean, [512, 512, 68]);
        graph.check_size().unwrap();
        graph.source_bytes = 96;
        let message = graph.check_size().unwrap_err().to_string();
        assert!(
            message.contains("`node`") && message.contains("96 bytes"),
            "{message}"
        );
    }

    #[test]
    fn an_empty_activation_is_refused() {
        let graph = network([4, 0, 3], Op::Mean, [1, 1, 3]);
        assert!(graph.check_size().is_err());
    }

    #[test]
    fn more_nodes_than_runtimes_have_room_for_are_refused() {
        let mut graph = network([1, 1, 3], Op::Mean, [1, 1, 3]);
        let node = graph.nodes[0].clone();
        graph.nodes.resize(MAX_NODES, node.clone());
        graph.check_size().unwrap();
        graph.nodes.push(node);
        let message = graph.check_size().unwrap_err().to_string();
        assert!(
            message.contains("1025 nodes") && message.contains("1024"),
            "{message}"
        );
    }

    #[test]
    fn a_pool_as_large_as_its_input_is_too_much_work() {
        let window = Window {
            kernel: [4000, 4000],
            stride: [1, 1],
            dilation: [1, 1],
            pad: [2000, 2000],
        };
        let graph = network([4000, 4000, 1], Op::MaxPool2d { window }, [4000, 4000, 1]);
        let message = graph.check_size().unwrap_err().to_string();
        assert!(message.contains("`node`"), "{message}");
    }

    #[test]
    fn a_weight_that_cannot_be_meant_names_its_layer() {
        for bad in [8.5e25, f32::NAN, f32::NEG_INFINITY] {
            let linear = Linear {
                shape: [1, 1, 1, 3],
                weights: vec![0.1, bad, 0.2],
                bias: vec![0.0],
                activation: Activation::None,
            };
            let graph = network([1, 1, 3], Op::FullyConnected { linear }, [1, 1, 1]);
            let message = graph.check_weights().unwrap_err().to_string();
            assert!(
                message.contains("`node`") && message.contains("damaged"),
                "{message}"
            );
        }
    }
}
