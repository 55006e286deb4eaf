//! Convolutions and matrix products with constant weights.

use super::Lowering;
use super::constant::{Constant, atom_strides};
use super::layout::Lowered;
use crate::graph::{Activation, Linear, Op, POINT};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::cnn::Conv;
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_hir::internal::*;

impl Lowering<'_> {
    pub(super) fn conv(&mut self, node: &TypedNode, op: &Conv) -> Result<Lowered, String> {
        if op.q_params.is_some() {
            return Err("quantized convolution".into());
        }
        let mut value = self.input(node, 0)?;
        let mut spatial = self.spatial(&op.pool_spec, &value)?;
        if let Some(pads) = spatial.take_excess_padding() {
            value = self.padded(node, &value, &spatial.pads(&pads, value.axes.len()), 0.0)?;
        }
        let groups = op.group.max(1);
        let outputs = op.output_channels();
        let (weights, [kh, kw, inner]) = self.conv_weights(node, op)?;
        let bias = match node.inputs.get(2) {
            Some(&outlet) => {
                self.constant(outlet)
                    .ok_or("the bias is not a constant")?
                    .data
            }
            None => vec![0.0],
        };
        let bias = match bias.as_slice() {
            &[one] => vec![one; outputs],
            _ => bias,
        };
        if bias.len() != outputs {
            return Err(format!("{} biases for {outputs} channels", bias.len()));
        }
        let depthwise = groups > 1 && groups == op.input_channels() && groups == outputs;
        let shape = if depthwise {
            [1, kh, kw, outputs]
        } else {
            [outputs, kh, kw, inner]
        };
        let linear = Linear {
            shape,
            weights: if depthwise {
                channels_last(&weights, outputs)
            } else {
                weights
            },
            bias,
            activation: Activation::None,
        };
        let window = spatial.window;
        let op = match depthwise {
            true => Op::DepthwiseConv2d { linear, window },
            false => Op::Conv2d {
                linear,
                window,
                groups,
            },
        };
        Ok(self.windowed(node, &spatial, &value, op, outputs))
    }

    /// The kernel as `[out, kh, kw, in / groups]`.
    fn conv_weights(&self, node: &TypedNode, op: &Conv) -> Result<(Vec<f32>, [usize; 3]), String> {
        let outlet = *node.inputs.get(1).ok_or("the kernel is missing")?;
        let fact = self
            .model
            .outlet_fact(outlet)
            .map_err(|error| error.to_string())?;
        let kernel = fact.konst.as_ref().ok_or("the kernel is not a constant")?;
        let mut kernel = kernel.clone().into_tensor();
        let shape = kernel.shape().to_vec();
        for change in op
            .kernel_fmt
            .kernel_as_group_o_i_h_w_ops(&shape, op.group.max(1))
        {
            change
                .change_tensor(&mut kernel, false)
                .map_err(|error| error.to_string())?;
        }
        let kernel = Constant::new(&kernel).ok_or("the kernel is not numeric")?;
        let (&[group, outer, inner], spatial) = kernel
            .dims
            .split_first_chunk::<3>()
            .ok_or("a kernel without channels")?;
        let [kh, kw] = match *spatial {
            [] => [1, 1],
            [w] => [1, w],
            [h, w] => [h, w],
            _ => return Err("convolution over more than two dimensions".into()),
        };
        let taps = kh * kw;
        let weights = kernel.gather(&[(group * outer, inner * taps), (taps, 1), (inner, taps)]);
        Ok((weights, [kh, kw, inner]))
    }

    pub(super) fn einsum(&mut self, node: &TypedNode, op: &EinSum) -> Result<Lowered, String> {
        if op.q_params.is_some() || node.inputs.len() != 2 {
            return Err("quantized matrix product, or of more than two operands".into());
        }
        let (slot, constant) = match (self.constant(node.inputs[0]), self.constant(node.inputs[1]))
        {
            (None, Some(constant)) => (0, constant),
            (Some(constant), None) => (1, constant),
            _ => return Err("matrix product of two activations".into()),
        };
        let value = self.input(node, slot)?;
        let product = Product::new(op, slot, &value, &constant)?;
        Ok(self.product(node, &value, &constant, &product))
    }

    fn product(
        &mut self,
        node: &TypedNode,
        value: &Lowered,
        constant: &Constant,
        product: &Product,
    ) -> Lowered {
        let Product {
            rows,
            groups,
            inner,
            outer,
            ..
        } = product;
        let (group_size, inner_size) = (value.size_of(groups), value.size_of(inner));
        let outer_size: usize = outer.iter().map(|label| label.size).product();
        let order = [rows.as_slice(), groups, inner].concat();
        let mut shape = self.builder.graph.shape(value.tensor);
        let in_place = order.iter().copied().eq(0..order.len());
        if !in_place || shape[3] != group_size * inner_size {
            let (first, rest) = rows.split_at(usize::from(rows.len() > 1));
            shape = [
                1,
                value.size_of(first),
                value.size_of(rest),
                group_size * inner_size,
            ];
        }
        let input = self.builder.arrange(value, &order, shape, &node.name);
        let outputs = group_size * outer_size;
        let strides = atom_strides(value, &product.strides);
        let along = |atoms: &[usize]| {
            atoms
                .iter()
                .map(|&atom| (value.atoms[atom], strides[atom]))
                .collect::<Vec<_>>()
        };
        let out_loops = outer
            .iter()
            .map(|label| (label.size, label.stride))
            .collect();
        let weights = constant.gather(&[along(groups), out_loops, along(inner)].concat());
        let linear = |shape| Linear {
            shape,
            weights,
            bias: vec![0.0; outputs],
            activation: Activation::None,
        };
        let op = if group_size > 1 && inner_size == 1 && outer_size == 1 {
            Op::DepthwiseConv2d {
                linear: linear([1, 1, 1, outputs]),
                window: POINT,
            }
        } else if group_size > 1 || shape[1] > 1 {
            let linear = linear([outputs, 1, 1, inner_size]);
            Op::Conv2d {
                linear,
                window: POINT,
                groups: group_size,
            }
        } else {
            Op::FullyConnected {
                linear: linear([outputs, 1, 1, inner_size]),
            }
        };
        let out_shape = [1, shape[1], shape[2], outputs];
        let tensor = self.builder.node(&node.name, op, vec![input], out_shape);
        product.output(tensor, value)
    }
}

/// `[channels, taps]` to `[taps, channels]`.
fn channels_last(weights: &[f32], channels: usize) -> Vec<f32> {
    let taps = weights.len() / channels.max(1);
    (0..taps)
        .flat_map(|tap| (0..channels).map(move |channel| weights[channel * taps + tap]))
        .collect()
}

/// A new axis of an output: its place in the output, its size, and its stride in the weights.
struct Label {
    axis: usize,
    size: usize,
    stride: usize,
}

/// The parts that the axes of an einsum play.
struct Product {
    /// Atoms of the data that stay: rows of the matrix.
    rows: Vec<usize>,
    /// Atoms of data and weights that stay: groups.
    groups: Vec<usize>,
    /// Atoms that are summed over.
    inner: Vec<usize>,
    /// Axes of the weights that stay.
    outer: Vec<Label>,
    /// Stride of the weights along each axis of the data.
    strides: Vec<usize>,
    /// For each axis of the output, the axis of the data that it comes from.
    kept: Vec<Option<usize>>,
}

impl Product {
    fn new(op: &EinSum, slot: usize, value: &Lowered, weights: &Constant) -> Result<Self, String> {
        let weight_strides = weights.strides();
        let mut product = Self {
            rows: Vec::new(),
            groups: Vec::new(),
            inner: Vec::new(),
            outer: Vec::new(),
            strides: vec![0; value.axes.len()],
            kept: vec![None; op.axes.rank(InOut::Out(0))],
        };
        for axis in op.axes.iter_all_axes() {
            let (data, constant) = (&axis.inputs[slot], &axis.inputs[1 - slot]);
            let output = &axis.outputs[0];
            if data.len() > 1 || constant.len() > 1 || output.len() > 1 {
                return Err("a matrix product along a diagonal".into());
            }
            let stride = constant.first().map_or(0, |&i| weight_strides[i]);
            match (data.first(), constant.first(), output.first()) {
                (Some(&data), _, kept) => {
                    product.strides[data] = stride;
                    let atoms = value.axes[data].iter();
                    match kept {
                        None => product.inner.extend(atoms),
                        Some(_) if stride > 0 => product.groups.extend(atoms),
                        Some(_) => product.rows.extend(atoms),
                    }
                    if let Some(&kept) = kept {
                        product.kept[kept] = Some(data);
                        if value.axes[data].is_empty() && stride > 0 {
                            return Err("a matrix product that broadcasts its input".into());
                        }
                    }
                }
                (None, Some(&constant), Some(&axis)) => product.outer.push(Label {
                    axis,
                    size: weights.dims[constant],
                    stride,
                }),
                (None, Some(&constant), None) if weights.dims[constant] != 1 => {
                    return Err("a matrix product that sums its weights".into());
                }
                _ => {}
            }
        }
        product.rows.sort_unstable();
        product.groups.sort_unstable();
        product.inner.sort_unstable();
        product.outer.sort_by_key(|label| label.axis);
        Ok(product)
    }

    /// Rows, groups and new axes, in this order, in the output tensor.
    fn output(&self, tensor: usize, value: &Lowered) -> Lowered {
        let kept = [self.rows.as_slice(), &self.groups].concat();
        let mut atoms: Vec<usize> = kept.iter().map(|&atom| value.atoms[atom]).collect();
        let place = |atom: &usize| kept.iter().position(|k| k == atom);
        let mut axes: Vec<Vec<usize>> = self
            .kept
            .iter()
            .map(|axis| {
                axis.map_or_else(Vec::new, |i| {
                    value.axes[i].iter().filter_map(place).collect()
                })
            })
            .collect();
        for label in self.outer.iter().filter(|label| label.size != 1) {
            axes[label.axis].push(atoms.len());
            atoms.push(label.size);
        }
        Lowered {
            tensor,
            atoms,
            axes,
        }
    }
}
