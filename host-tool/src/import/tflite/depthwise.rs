//! Depthwise convolutions with several outputs for each input channel, which tract does not read,
//! become ordinary ones whose weights are zero for the other channels. The import recognizes the
//! groups again.

use super::{Edits, constant, field, operator_code, reals};
use tract_tflite::tflite::{
    BuiltinOperator, BuiltinOptions, DepthwiseConv2DOptions, Model, Operator, SubGraph, Tensor,
};

impl Edits {
    /// Rewrites the depthwise convolutions with a multiplier among `operators`, the entries of
    /// the graph's list of operators.
    pub(super) fn spread_depthwise(
        &mut self,
        model: &Model<'_>,
        graph: &SubGraph<'_>,
        operators: &[Operator<'_>],
    ) -> Result<(), String> {
        let list = field(
            graph._tab.loc(),
            graph._tab.vtable().get(SubGraph::VT_OPERATORS),
        );
        let list = list.ok_or("the network has no operators")?;
        let list = list + self.read(list) as usize;
        for (index, operator) in operators.iter().enumerate() {
            let Some(options) = operator.builtin_options_as_depthwise_conv_2_doptions() else {
                continue;
            };
            if let Some((kernel, channels)) = multiplied(graph, operator) {
                self.spread_kernel(model, &kernel, channels)?;
                let spread = self.append_convolution(model, operator, &options)?;
                self.point(list + 4 + index * 4, spread)?;
            }
        }
        Ok(())
    }

    /// `[1, h, w, out]` to `[out, h, w, in]`.
    fn spread_kernel(
        &mut self,
        model: &Model<'_>,
        kernel: &Tensor<'_>,
        channels: usize,
    ) -> Result<(), String> {
        let buffer = constant(model, kernel).ok_or("a depthwise kernel that is not a constant")?;
        let weights = match self.buffers.get(&kernel.buffer()) {
            Some(known) => known.clone(),
            None => reals(kernel, &buffer)?,
        };
        let dims: Vec<usize> = kernel
            .shape()
            .into_iter()
            .flatten()
            .map(|dim| dim.max(0) as usize)
            .collect();
        let (outputs, taps) = (dims[3], dims[1] * dims[2]);
        let elements = (outputs * taps)
            .checked_mul(channels)
            .filter(|&n| n <= 1 << 26);
        let mut dense = vec![0.0; elements.ok_or("a depthwise convolution of too many channels")?];
        for output in 0..outputs {
            for tap in 0..taps {
                let input = output * channels / outputs;
                dense[(output * taps + tap) * channels + input] = weights[tap * outputs + output];
            }
        }
        self.buffers.remove(&kernel.buffer());
        self.replace_buffer(kernel, &buffer, dense)?;
        let shape =
            self.append_vector(&[outputs, dims[1], dims[2], channels].map(|dim| dim as i32));
        match field(
            kernel._tab.loc(),
            kernel._tab.vtable().get(Tensor::VT_SHAPE),
        ) {
            Some(at) => self.point(at, shape),
            None => Err("a kernel without dimensions".into()),
        }
    }

    /// Appends an ordinary convolution with the operands and options of a depthwise one.
    fn append_convolution(
        &mut self,
        model: &Model<'_>,
        operator: &Operator<'_>,
        options: &DepthwiseConv2DOptions<'_>,
    ) -> Result<usize, String> {
        let code = convolution_code(model)?;
        let kind = i32::from(BuiltinOptions::Conv2DOptions.0);
        let convolution = self.append_table(&[4, 8, 12, 16, 20], &[code, 0, 0, kind, 0]);
        for (place, offset) in [(8, Operator::VT_INPUTS), (12, Operator::VT_OUTPUTS)] {
            let at = field(operator._tab.loc(), operator._tab.vtable().get(offset));
            let ids = self.vector(at.ok_or("an operator without operands")?);
            let copy = self.append_vector(&ids);
            self.point(convolution + place, copy)?;
        }
        // Padding and activation share the last four bytes.
        let padding = i32::from(options.padding().0);
        let activation = i32::from(options.fused_activation_function().0);
        let options = self.append_table(
            &[20, 4, 8, 21, 12, 16],
            &[
                options.stride_w(),
                options.stride_h(),
                options.dilation_w_factor(),
                options.dilation_h_factor(),
                padding | activation << 8,
            ],
        );
        self.point(convolution + 20, options)?;
        Ok(convolution)
    }

    fn append_vector(&mut self, values: &[i32]) -> usize {
        let vector = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(vector, 0);
        self.bytes.extend((values.len() as u32).to_le_bytes());
        self.bytes
            .extend(values.iter().flat_map(|value| value.to_le_bytes()));
        vector
    }

    /// The vector that the offset at `at` leads to.
    fn vector(&self, at: usize) -> Vec<i32> {
        let vector = at + self.read(at) as usize;
        let element = |index| self.read(vector + 4 + index * 4) as i32;
        (0..self.read(vector) as usize).map(element).collect()
    }
}

/// The kernel of a depthwise convolution and its number of input channels, if that is not the
/// number of its outputs.
fn multiplied<'m>(graph: &SubGraph<'m>, operator: &Operator<'_>) -> Option<(Tensor<'m>, usize)> {
    let (tensors, ids) = (graph.tensors()?, operator.inputs()?);
    let tensor = |slot: usize| {
        let id = (slot < ids.len()).then(|| ids.get(slot))?;
        usize::try_from(id)
            .ok()
            .filter(|&id| id < tensors.len())
            .map(|id| tensors.get(id))
    };
    let last = |tensor: &Tensor<'_>| {
        let shape = tensor.shape().filter(|shape| shape.len() == 4)?;
        usize::try_from(shape.get(3)).ok().filter(|&dim| dim > 0)
    };
    let kernel = tensor(1)?;
    let (channels, outputs) = (last(&tensor(0)?)?, last(&kernel)?);
    (outputs != channels && outputs.is_multiple_of(channels)).then_some((kernel, channels))
}

/// Index of the operator code of ordinary convolutions.
fn convolution_code(model: &Model<'_>) -> Result<i32, String> {
    let codes = model.operator_codes().into_iter().flatten();
    let found = codes
        .enumerate()
        .find(|(_, code)| operator_code(code) == BuiltinOperator::CONV_2D);
    found.map(|(index, _)| index as i32).ok_or_else(|| {
        "a depthwise convolution with a multiplier in a network without other convolutions: \
         export the network to ONNX"
            .into()
    })
}
