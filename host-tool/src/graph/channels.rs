//! Which channels of different tensors stand or fall together, and their removal.
//!
//! Element-wise operators, poolings and depthwise convolutions carry a channel through; a
//! convolution or fully connected layer mixes all of its input's channels and starts new ones.

use super::{BinaryKind, Graph, Linear, Node, Op, Shape, TensorId, UnaryKind};

/// Every channel of every tensor, in groups that can only be removed together.
#[derive(Clone, Debug)]
pub struct Channels {
    /// Index of the first channel of each tensor.
    first: Vec<usize>,
    /// Union-find forest.
    parent: Vec<usize>,
    /// For roots: whether the group must stay.
    pinned: Vec<bool>,
}

impl Channels {
    /// The groups of a graph. The channels of its inputs and outputs, and those that an operator
    /// mixes without weights, are pinned.
    pub fn new(graph: &Graph) -> Self {
        let mut channels = Self::apart(graph);
        for node in &graph.nodes {
            channels.couple_node(graph, node);
        }
        channels
    }

    /// The groups that can only be scaled together, where layers with weights undo and redo the
    /// scaling. The channels of inputs and outputs, and those that an operator with
    /// `f(s x) != s f(x)` reads or writes, are pinned.
    pub fn scaled_together(graph: &Graph) -> Self {
        let mut channels = Self::apart(graph);
        for node in &graph.nodes {
            if is_homogeneous(&node.op) {
                channels.couple_node(graph, node);
            } else if node.op.linear().is_none() {
                for &id in node.inputs.iter().chain([&node.output]) {
                    channels.pin_all(id, graph.shape(id));
                }
            }
        }
        channels
    }

    /// Every channel by itself, those of inputs and outputs pinned.
    fn apart(graph: &Graph) -> Self {
        let mut count = 0;
        let mut first = Vec::with_capacity(graph.tensors.len());
        for tensor in &graph.tensors {
            first.push(count);
            count += tensor.shape[3];
        }
        let mut channels = Self {
            first,
            parent: (0..count).collect(),
            pinned: vec![false; count],
        };
        for port in graph.inputs.iter().chain(&graph.outputs) {
            channels.pin_all(port.tensor, graph.shape(port.tensor));
        }
        channels
    }

    /// Number of channels of all tensors.
    pub fn len(&self) -> usize {
        self.parent.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.parent.is_empty()
    }

    /// The number of a channel among all channels.
    pub fn index(&self, tensor: TensorId, channel: usize) -> usize {
        self.first[tensor] + channel
    }

    /// The group of a channel, as the number of one of its members.
    pub fn group(&self, channel: usize) -> usize {
        let mut root = channel;
        while self.parent[root] != root {
            root = self.parent[root];
        }
        root
    }

    /// Whether a group must stay.
    pub fn is_pinned(&self, group: usize) -> bool {
        self.pinned[group]
    }

    /// Makes a group stay.
    pub fn pin(&mut self, channel: usize) {
        let root = self.group(channel);
        self.pinned[root] = true;
    }

    fn pin_all(&mut self, tensor: TensorId, shape: Shape) {
        (0..shape[3]).for_each(|channel| self.pin(self.index(tensor, channel)));
    }

    fn couple(&mut self, a: (TensorId, usize), b: (TensorId, usize)) {
        let a = self.group(self.index(a.0, a.1));
        let b = self.group(self.index(b.0, b.1));
        if a != b {
            let (root, child) = (a.min(b), a.max(b));
            self.parent[child] = root;
            self.pinned[root] |= self.pinned[child];
        }
    }

    fn couple_node(&mut self, graph: &Graph, node: &Node) {
        let output = (node.output, graph.shape(node.output));
        let inputs = node.inputs.iter().map(|&id| (id, graph.shape(id)));
        match &node.op {
            Op::Conv2d { groups: 1, .. } | Op::FullyConnected { .. } => {}
            Op::Concat { axis: 3 } => {
                let mut offset = 0;
                for (id, shape) in inputs {
                    for channel in 0..shape[3] {
                        self.couple((id, channel), (output.0, offset + channel));
                    }
                    offset += shape[3];
                }
            }
            Op::Reshape => inputs.for_each(|input| self.couple_reshape(input, output)),
            op if carries_channels(op) => inputs.for_each(|(id, shape)| {
                if shape[3] == output.1[3] {
                    (0..shape[3])
                        .for_each(|channel| self.couple((id, channel), (output.0, channel)));
                } else {
                    self.pin_all(id, shape);
                    if !matches!(op, Op::Binary { .. }) {
                        self.pin_all(output.0, output.1);
                    }
                }
            }),
            _ => inputs
                .chain([output])
                .for_each(|(id, shape)| self.pin_all(id, shape)),
        }
    }

    /// The order of elements is kept, so channel `c` becomes the channels `k * channels + c`.
    fn couple_reshape(&mut self, a: (TensorId, Shape), b: (TensorId, Shape)) {
        let (small, large) = if a.1[3] <= b.1[3] { (a, b) } else { (b, a) };
        if large.1[3] % small.1[3] != 0 {
            self.pin_all(a.0, a.1);
            self.pin_all(b.0, b.1);
            return;
        }
        for channel in 0..large.1[3] {
            self.couple((large.0, channel), (small.0, channel % small.1[3]));
        }
    }

    /// The graph without the channels for which `removed` is true. `constant` gives what a removed
    /// channel held everywhere; it moves to the bias of the layers that read it.
    ///
    /// Whole groups must be removed, none of them pinned, and each tensor must keep a channel.
    pub fn remove(&self, graph: &mut Graph, removed: &[bool], constant: &[Option<f32>]) {
        let kept = |id: TensorId, count: usize| -> Vec<usize> {
            (0..count)
                .filter(|&channel| !removed[self.index(id, channel)])
                .collect()
        };
        let shapes: Vec<Shape> = graph.tensors.iter().map(|tensor| tensor.shape).collect();
        for node in &mut graph.nodes {
            let outputs = kept(node.output, shapes[node.output][3]);
            let input = node.inputs[0];
            match &mut node.op {
                Op::Conv2d {
                    linear, groups: 1, ..
                }
                | Op::FullyConnected { linear } => {
                    let held: Vec<f32> = (0..shapes[input][3])
                        .map(|channel| constant[self.index(input, channel)].unwrap_or(0.0))
                        .collect();
                    keep_rows(linear, &outputs);
                    keep_columns(linear, &kept(input, held.len()), &held);
                }
                Op::DepthwiseConv2d { linear, .. } => keep_depthwise(linear, &outputs),
                _ => {}
            }
        }
        for (id, tensor) in graph.tensors.iter_mut().enumerate() {
            tensor.shape[3] = kept(id, shapes[id][3]).len();
        }
    }
}

/// Whether channel `c` of an output depends on channel `c` of the inputs alone, for inputs and
/// outputs of as many channels.
fn carries_channels(op: &Op) -> bool {
    match op {
        Op::DepthwiseConv2d { .. }
        | Op::Binary { .. }
        | Op::MaxPool2d { .. }
        | Op::AveragePool2d { .. }
        | Op::Mean
        | Op::Normalize { .. }
        | Op::Unary { .. }
        | Op::Concat { .. }
        | Op::Pad { .. }
        | Op::Slice { .. }
        | Op::Resize { .. } => true,
        Op::Transpose { perm } => perm[3] == 3,
        _ => false,
    }
}

/// Whether an operator without weights commutes with factors that are positive, but for the bounds of
/// its activation.
fn is_homogeneous(op: &Op) -> bool {
    match op {
        Op::Binary { kind, .. } => *kind != BinaryKind::Mul,
        Op::Pad { value, .. } => *value == 0.0,
        Op::Unary { kind } => matches!(
            kind,
            UnaryKind::Abs | UnaryKind::Clamp { .. } | UnaryKind::Affine { b: 0.0, .. }
        ),
        Op::MaxPool2d { .. }
        | Op::AveragePool2d { .. }
        | Op::Mean
        | Op::Concat { .. }
        | Op::Slice { .. }
        | Op::Transpose { .. }
        | Op::Resize { .. }
        | Op::Reshape => true,
        _ => false,
    }
}

fn keep_rows(linear: &mut Linear, outputs: &[usize]) {
    if outputs.len() == linear.bias.len() {
        return;
    }
    let row = linear.weights.len() / linear.bias.len();
    linear.weights = outputs
        .iter()
        .flat_map(|&o| linear.weights[o * row..][..row].to_vec())
        .collect();
    linear.bias = outputs.iter().map(|&o| linear.bias[o]).collect();
    linear.shape[0] = outputs.len();
}

fn keep_columns(linear: &mut Linear, inputs: &[usize], held: &[f32]) {
    if inputs.len() == held.len() {
        return;
    }
    let row = linear.weights.len() / linear.bias.len();
    let mut moved = vec![true; held.len()];
    inputs.iter().for_each(|&channel| moved[channel] = false);
    for (bias, row) in linear.bias.iter_mut().zip(linear.weights.chunks_exact(row)) {
        let terms = row
            .chunks_exact(held.len())
            .flat_map(|tap| tap.iter().zip(held).zip(&moved));
        let moved: f64 = terms
            .filter(|(_, moved)| **moved)
            .map(|((w, v), _)| f64::from(*w) * f64::from(*v))
            .sum();
        *bias = (f64::from(*bias) + moved) as f32;
    }
    let taps = linear.weights.chunks_exact(held.len());
    linear.weights = taps
        .flat_map(|tap| inputs.iter().map(|&channel| tap[channel]))
        .collect();
    linear.shape[3] = inputs.len();
}

fn keep_depthwise(linear: &mut Linear, channels: &[usize]) {
    let taps = linear.weights.chunks_exact(linear.bias.len());
    linear.weights = taps
        .flat_map(|tap| channels.iter().map(|&channel| tap[channel]))
        .collect();
    linear.bias = channels
        .iter()
        .map(|&channel| linear.bias[channel])
        .collect();
    linear.shape[3] = channels.len();
}
