//! What every stage may take for granted about a [`Graph`].

use super::{BinaryKind, Graph, Linear, Node, Op, Shape, Window};

impl Graph {
    /// Checks order, references, dimensions and sizes of constants.
    ///
    /// # Errors
    /// The first thing that is wrong, with the name of its node.
    pub fn validate(&self) -> Result<(), String> {
        let mut computed = vec![false; self.tensors.len()];
        for port in &self.inputs {
            let known = computed.get_mut(port.tensor);
            *known.ok_or_else(|| format!("input {}: no such tensor", port.name))? = true;
        }
        for node in &self.nodes {
            self.validate_node(node, &mut computed)
                .map_err(|why| format!("{} ({}): {why}", node.name, node.op.name()))?;
        }
        for port in &self.outputs {
            if !computed.get(port.tensor).copied().unwrap_or(false) {
                return Err(format!("output {} is never computed", port.name));
            }
        }
        let mut names: Vec<_> = self.nodes.iter().map(|node| &node.name).collect();
        names.sort();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(format!("two nodes are named {}", pair[0])),
            None => Ok(()),
        }
    }

    fn validate_node(&self, node: &Node, computed: &mut [bool]) -> Result<(), String> {
        for &id in &node.inputs {
            if !computed.get(id).copied().unwrap_or(false) {
                return Err(format!("reads tensor {id}, which is not computed yet"));
            }
        }
        match computed.get_mut(node.output) {
            Some(known) if !*known => *known = true,
            _ => {
                return Err(format!(
                    "tensor {} is missing or computed twice",
                    node.output
                ));
            }
        }
        let inputs: Vec<Shape> = node.inputs.iter().map(|&id| self.shape(id)).collect();
        let output = self.shape(node.output);
        if output[0] != 1 || output.contains(&0) {
            return Err(format!("output of dimensions {output:?}"));
        }
        let arity = match node.op {
            Op::Binary { .. } => inputs.len() == 2,
            Op::Concat { .. } => {
                (1..=edgeprune_format::manifest::MAX_NODE_INPUTS).contains(&inputs.len())
            }
            _ => inputs.len() == 1,
        };
        if !arity {
            return Err(format!("{} inputs", inputs.len()));
        }
        check(&node.op, &inputs, output)
    }
}

fn check(op: &Op, inputs: &[Shape], output: Shape) -> Result<(), String> {
    let input = inputs[0];
    let expected = match op {
        Op::Conv2d {
            linear,
            window,
            groups,
        } => {
            check_linear(linear, linear.shape[0])?;
            check_window(*window, &linear.shape)?;
            if *groups == 0
                || input[3] != linear.shape[3] * groups
                || !output[3].is_multiple_of(*groups)
            {
                return Err(format!("{groups} groups do not divide the channels"));
            }
            [1, output[1], output[2], linear.shape[0]]
        }
        Op::DepthwiseConv2d { linear, window } => {
            check_linear(linear, linear.shape[3])?;
            check_window(*window, &linear.shape)?;
            [1, output[1], output[2], input[3].min(linear.shape[3])]
        }
        Op::FullyConnected { linear } => {
            check_linear(linear, linear.shape[0])?;
            if linear.shape[1..] != [1, 1, input[3]] {
                return Err(format!("weights {:?} for input {input:?}", linear.shape));
            }
            [1, input[1], input[2], linear.shape[0]]
        }
        Op::Binary { kind, .. } => {
            check_broadcast(*kind, input, inputs[1])?;
            input
        }
        Op::MaxPool2d { .. } | Op::AveragePool2d { .. } | Op::Resize { .. } => {
            [1, output[1], output[2], input[3]]
        }
        Op::Mean => [1, 1, 1, input[3]],
        Op::Unary { .. } | Op::Softmax => input,
        Op::Normalize { gain, offset } => {
            match gain.len() == input[3] && offset.len() == input[3] {
                true => input,
                false => return Err(format!("{} gains of {} channels", gain.len(), input[3])),
            }
        }
        Op::Concat { axis } => joined(*axis, inputs)?,
        Op::Pad { before, .. } => {
            let fits = (0..3).all(|i| output[i + 1] >= input[i + 1] + before[i]);
            if fits { output } else { input }
        }
        Op::Slice { start, step } => {
            let fits = (0..3).all(|i| start[i] + (output[i + 1] - 1) * step[i] < input[i + 1]);
            if fits { output } else { input }
        }
        Op::Transpose { perm } => {
            let mut axes = *perm;
            axes.sort_unstable();
            if axes != [0, 1, 2, 3] || perm[0] != 0 {
                return Err(format!(
                    "{perm:?} is not a permutation that keeps the batch"
                ));
            }
            perm.map(|axis| input[axis])
        }
        Op::Reshape => {
            if input.iter().product::<usize>() == output.iter().product::<usize>() {
                output
            } else {
                input
            }
        }
    };
    if expected == output {
        Ok(())
    } else {
        Err(format!("output {output:?} does not fit input {input:?}"))
    }
}

fn check_linear(linear: &Linear, outputs: usize) -> Result<(), String> {
    let elements: usize = linear.shape.iter().product();
    if linear.weights.len() != elements || linear.bias.len() != outputs {
        return Err(format!(
            "{} weights and {} biases for {:?}",
            linear.weights.len(),
            linear.bias.len(),
            linear.shape
        ));
    }
    if !linear
        .weights
        .iter()
        .chain(&linear.bias)
        .all(|v| v.is_finite())
    {
        return Err("a weight is infinite or not a number".into());
    }
    Ok(())
}

fn check_window(window: Window, weights: &Shape) -> Result<(), String> {
    let kernel = window.kernel.map(usize::from);
    let steps = window.stride.iter().chain(&window.dilation);
    if kernel != weights[1..3] || steps.into_iter().any(|&step| step == 0) {
        return Err(format!("window {window:?} for weights {weights:?}"));
    }
    Ok(())
}

fn check_broadcast(kind: BinaryKind, first: Shape, second: Shape) -> Result<(), String> {
    if (0..4).all(|i| second[i] == first[i] || second[i] == 1) {
        Ok(())
    } else {
        Err(format!("{kind:?} of {first:?} and {second:?}"))
    }
}

fn joined(axis: usize, inputs: &[Shape]) -> Result<Shape, String> {
    let mut shape = inputs[0];
    if !(1..4).contains(&axis) {
        return Err(format!("axis {axis}"));
    }
    shape[axis] = 0;
    for input in inputs {
        if (1..4).any(|i| i != axis && input[i] != inputs[0][i]) {
            return Err(format!("{input:?} joins {:?}", inputs[0]));
        }
        shape[axis] += input[axis];
    }
    Ok(shape)
}
