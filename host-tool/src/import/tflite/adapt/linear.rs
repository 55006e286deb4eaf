//! Layers with weights, as tract takes them: with a bias, of matrices, without groups.

use super::super::file::{Data, Operator};
use super::super::options::Options;
use super::Adapter;
use tract_tflite::tflite::BuiltinOperator;

/// Weights that a grouped convolution may have once its groups are spread.
const MAX_DENSE: usize = 1 << 26;

impl Adapter {
    /// A zero bias where there is none.
    pub(super) fn with_bias(&mut self, operator: &mut Operator, outputs: usize) {
        if operator.input(2).is_none() {
            let name = format!("{}.bias", self.network.name(operator));
            let bias = self.tensor(name, vec![outputs], Some(Data::Real(vec![0.0; outputs])));
            operator.inputs.resize(2, None);
            operator.inputs.push(Some(bias));
        }
    }

    /// tract takes and gives matrices only.
    pub(super) fn fully_connected(
        &mut self,
        mut operator: Operator,
        limits: [f32; 2],
    ) -> Result<(), String> {
        let (input, weights) = (self.dims(&operator, 0), self.dims(&operator, 1));
        let (units, depth) = (weights[0], weights[1]);
        self.with_bias(&mut operator, units);
        let rows = input.iter().product::<usize>() / depth;
        let output = operator.outputs[0];
        if input != [rows, depth] {
            let name = format!("{}.rows", self.network.name(&operator));
            let matrix = self.tensor(name, vec![rows, depth], None);
            if let Some(from) = operator.input(0) {
                self.reshape_to(from, matrix)?;
                self.bounds[matrix] = self.bounds[from];
            }
            operator.inputs[0] = Some(matrix);
        }
        let keep = matches!(
            operator.options,
            Some(Options::FullyConnected {
                keep_dims: true,
                ..
            })
        );
        if !keep || input.len() == 2 || input.last() != Some(&depth) {
            self.finish(operator, limits);
            return Ok(());
        }
        let mut dims = input;
        dims.pop();
        dims.push(units);
        self.network.tensors[output].dims = dims;
        let matrix = self.before(output, "reshape");
        self.network.tensors[matrix].dims = vec![rows, units];
        operator.outputs = vec![matrix];
        self.finish(operator, limits);
        self.bounds[output] = self.bounds[matrix];
        self.reshape_to(matrix, output)
    }

    /// Depthwise convolutions with several outputs for each channel, and grouped ones, become
    /// ordinary ones whose weights are zero for the other channels. The import recognizes the
    /// groups again.
    pub(super) fn convolution(&mut self, operator: &mut Operator) -> Result<(), String> {
        let (input, kernel) = (self.dims(operator, 0), self.dims(operator, 1));
        let depthwise = operator.kind == BuiltinOperator::DEPTHWISE_CONV_2D;
        let groups = Groups {
            channels: input[3],
            outputs: kernel[if depthwise { 3 } else { 0 }],
            taps: kernel[1] * kernel[2],
            depth: if depthwise { 1 } else { kernel[3] },
            outputs_last: depthwise,
        };
        self.with_bias(operator, groups.outputs);
        let plain = match depthwise {
            true => groups.outputs == groups.channels,
            false => groups.depth == groups.channels,
        };
        if plain {
            return Ok(());
        }
        let tensor = operator.input(1).map(|id| &self.network.tensors[id]);
        let Some((name, Data::Real(weights))) =
            tensor.and_then(|tensor| Some((tensor.name.clone(), tensor.data.as_ref()?)))
        else {
            return Err("a kernel of groups that is not a constant".into());
        };
        let dense = groups.spread(weights)?;
        let dims = vec![groups.outputs, kernel[1], kernel[2], groups.channels];
        operator.inputs[1] = Some(self.tensor(name, dims, Some(Data::Real(dense))));
        operator.kind = BuiltinOperator::CONV_2D;
        Ok(())
    }
}

/// The kernel of a grouped convolution: each group of outputs reads `depth` of the channels.
struct Groups {
    channels: usize,
    outputs: usize,
    taps: usize,
    depth: usize,
    /// Whether the weights are `[tap, output]`, with a depth of 1, and not `[output, tap, input]`.
    outputs_last: bool,
}

impl Groups {
    /// The weights `[output, tap, channel]`, zero outside of the groups.
    fn spread(&self, weights: &[f32]) -> Result<Vec<f32>, String> {
        let elements = [self.outputs, self.taps, self.channels];
        let elements = elements.iter().try_fold(1usize, |n, &f| n.checked_mul(f));
        let elements = elements.filter(|&elements| elements <= MAX_DENSE);
        let mut dense = vec![0.0; elements.ok_or("a grouped convolution of too many channels")?];
        let per_group = self.outputs / (self.channels / self.depth);
        for (index, &weight) in weights.iter().enumerate() {
            let (output, tap, input) = match self.outputs_last {
                true => (index % self.outputs, index / self.outputs, 0),
                false => {
                    let (row, input) = (index / self.depth, index % self.depth);
                    (row / self.taps, row % self.taps, input)
                }
            };
            let channel = output / per_group * self.depth + input;
            dense[(output * self.taps + tap) * self.channels + channel] = weight;
        }
        Ok(dense)
    }
}
