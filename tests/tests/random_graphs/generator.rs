//! Random networks: an input, some operators on what there is, and every result that nothing reads
//! as an output. Weights keep activations near 1, so that an error is easy to tell from rounding.

use super::network::{Network, Step, Value};
use super::operators::OPERATORS;
use super::random::Random;

/// Versions of ONNX's operators; from one to the next, attributes became inputs or got a new meaning.
const OPSETS: [i64; 7] = [9, 10, 11, 13, 17, 18, 20];
/// Most operators of a network, about; some choices are of several.
const MAX_CHOICES: usize = 8;
/// Larger activations are not computed on.
const MAX_ELEMENTS: usize = 6000;
const MAX_RANK: usize = 5;
const MAX_OUTPUTS: usize = 4;

/// A network that grows.
pub(crate) struct Generator {
    pub(crate) random: Random,
    network: Network,
    values: Vec<Value>,
    /// What the names of computed values begin with.
    prefix: &'static str,
}

impl Generator {
    /// Goes on from the outputs of a network.
    pub(crate) fn after(network: Network, seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            values: network.outputs.clone(),
            network,
            prefix: "f",
        }
    }

    pub(crate) fn opset(&self) -> i64 {
        self.network.opset
    }

    /// An activation of which nothing is known but the dimensions.
    fn input(&mut self, dims: Vec<usize>) {
        let name = format!("x{}", self.network.inputs.len());
        let value = Value { name, dims };
        self.network.inputs.push(value.clone());
        self.values.push(value);
    }

    /// Appends a step with one output.
    pub(crate) fn push(&mut self, step: Step, dims: Vec<usize>) -> Value {
        self.push_all(step, vec![dims]).remove(0)
    }

    /// Appends a step.
    pub(crate) fn push_all(&mut self, mut step: Step, dims: Vec<Vec<usize>>) -> Vec<Value> {
        let first = self.network.computed().count();
        let name = |(index, dims)| Value {
            name: format!("{}{}", self.prefix, first + index),
            dims,
        };
        step.outputs = dims.into_iter().enumerate().map(name).collect();
        let outputs = step.outputs.clone();
        self.network.steps.push(step);
        self.values.extend(outputs.iter().cloned());
        outputs
    }

    /// A function of one value that has its dimensions.
    pub(crate) fn map(&mut self, op: &'static str, x: &Value) -> Value {
        self.push(Step::new(op).value(x), x.dims.clone())
    }

    /// An operator of two values, of which `y` may be broadcast.
    pub(crate) fn combine(&mut self, op: &'static str, x: &Value, y: &Value) -> Value {
        self.push(Step::new(op).value(x).value(y), x.dims.clone())
    }

    /// A value computed before, other than `x`, that `fits`.
    pub(crate) fn other(&mut self, x: &Value, fits: impl Fn(&Value) -> bool) -> Option<Value> {
        let fitting: Vec<Value> = self
            .values
            .iter()
            .filter(|v| *v != x && fits(v))
            .cloned()
            .collect();
        (!fitting.is_empty()).then(|| self.random.pick(&fitting))
    }

    /// The axis as it is, or counted from the end.
    pub(crate) fn spelled(&mut self, axis: usize, rank: usize) -> i64 {
        match self.random.chance(30) {
            true => axis as i64 - rank as i64,
            false => axis as i64,
        }
    }

    /// The newest value mostly, else any.
    fn chosen(&mut self) -> Value {
        let last = self.values.len() - 1;
        let index = match self.random.chance(70) {
            true => last,
            false => self.random.size(0, last),
        };
        self.values[index].clone()
    }

    /// Applies an operator that takes what was chosen.
    fn grow(&mut self) {
        let total: usize = OPERATORS.iter().map(|(weight, _)| weight).sum();
        let x = self.chosen();
        let mut at = self.random.size(0, total - 1);
        let operator = OPERATORS.iter().find(|(weight, _)| {
            let here = at < *weight;
            at = at.saturating_sub(*weight);
            here
        });
        if let Some((_, apply)) = operator {
            let _ = apply(self, &x); // what an operator cannot take is left as it is
        }
        self.values
            .retain(|v| v.elements() <= MAX_ELEMENTS && v.rank() <= MAX_RANK);
    }

    /// What nothing reads, and at times a value that is read, too.
    fn finish(mut self) -> Network {
        let mut outputs = self.network.sinks();
        outputs.reverse();
        outputs.truncate(MAX_OUTPUTS);
        let computed: Vec<Value> = self.network.computed().cloned().collect();
        if self.random.chance(25) {
            let also = self.random.pick(&computed);
            if !outputs.contains(&also) {
                outputs.push(also);
            }
        }
        self.network.ending_in(&outputs)
    }

    /// The network with `output` as the only output.
    pub(crate) fn finish_with(self, output: &Value) -> Network {
        self.network.ending_in(std::slice::from_ref(output))
    }
}

/// Dimensions of an input: mostly an image, else a sequence, a vector or a volume, of batch 1.
fn input_dims(random: &mut Random) -> Vec<usize> {
    let channels = random.pick(&[1, 2, 3, 4, 6, 8, 12]);
    let side = |random: &mut Random| random.pick(&[1, 2, 3, 5, 6, 7, 8, 9, 11, 12, 13, 16, 17, 24]);
    match random.size(0, 19) {
        0..=12 => vec![1, channels, side(random), side(random)],
        13..=15 => vec![1, channels, side(random)],
        16 | 17 => vec![1, random.size(2, 40)],
        18 => vec![1, side(random), side(random), channels],
        _ => vec![
            1,
            channels,
            random.size(1, 4),
            random.size(1, 6),
            random.size(1, 6),
        ],
    }
}

/// The network of a seed.
pub(crate) fn generate(seed: u64) -> Network {
    let mut random = Random::new(seed);
    let network = Network {
        opset: random.pick(&OPSETS),
        inputs: Vec::new(),
        steps: Vec::new(),
        outputs: Vec::new(),
    };
    let dims = input_dims(&mut random);
    let second = random.chance(10);
    let choices = random.size(1, MAX_CHOICES);
    let mut generator = Generator {
        random,
        network,
        values: Vec::new(),
        prefix: "t",
    };
    generator.input(dims.clone());
    if second {
        generator.input(dims);
    }
    while generator.network.steps.len() < choices {
        generator.grow();
    }
    generator.finish()
}
