//! Operands that say how an operator works, as tract takes them.

use super::super::axis_index;
use super::super::file::{Data, Operator};
use super::super::options::Options;
use super::Adapter;
use tract_tflite::tflite::BuiltinOperator;

impl Adapter {
    /// A shape that is no constant is the one that the file declares for the output.
    pub(super) fn reshape(&mut self, operator: &mut Operator) {
        let known = operator
            .input(1)
            .is_some_and(|id| self.network.tensors[id].data.is_some());
        if known {
            return;
        }
        operator.inputs.truncate(1);
        let declared = &self.network.tensors[operator.outputs[0]].dims;
        if let Some(Options::Reshape { shape }) = &mut operator.options {
            let declared = narrowed(declared).ok();
            *shape = shape.take().or(declared);
        }
    }

    /// tract removes axes one after the other, so that each moves the later ones.
    pub(super) fn squeeze(&mut self, operator: &mut Operator) -> Result<(), String> {
        let dims = self.dims(operator, 0);
        let Some(Options::Squeeze { axes }) = &mut operator.options else {
            return Ok(());
        };
        let mut removed: Vec<usize> = match axes.is_empty() {
            true => (0..dims.len()).filter(|&axis| dims[axis] == 1).collect(),
            false => axes
                .iter()
                .map(|&axis| axis_index(axis.into(), dims.len()))
                .collect::<Result<_, _>>()?,
        };
        removed.sort_unstable();
        removed.dedup();
        let moved: Vec<usize> = removed
            .iter()
            .enumerate()
            .map(|(n, axis)| axis - n)
            .collect();
        *axes = narrowed(&moved)?;
        Ok(())
    }

    /// Axes count from the front, sizes are not negative, and all are 32-bit integers.
    pub(super) fn arguments(&mut self, operator: &mut Operator) -> Result<(), String> {
        let dims = self.dims(operator, 0);
        let rank = dims.len();
        match operator.kind {
            BuiltinOperator::SUM
            | BuiltinOperator::REDUCE_MAX
            | BuiltinOperator::REDUCE_MIN
            | BuiltinOperator::REDUCE_PROD => self.argument(operator, 1, |axes| {
                let axes = axes.iter().map(|&axis| axis_index(axis, rank));
                let mut axes = axes.collect::<Result<Vec<_>, _>>()?;
                axes.sort_unstable();
                axes.dedup();
                Ok(axes.into_iter().map(|axis| axis as i64).collect())
            }),
            BuiltinOperator::EXPAND_DIMS => self.argument(operator, 1, |axes| {
                let &[axis] = axes else {
                    return Err("more than one new axis".into());
                };
                Ok(vec![axis_index(axis, rank + 1)? as i64])
            }),
            BuiltinOperator::TRANSPOSE => self.argument(operator, 1, |order| {
                let mut sorted = order.to_vec();
                sorted.sort_unstable();
                match sorted.into_iter().eq(0..rank as i64) {
                    true => Ok(order.to_vec()),
                    false => Err(format!("an order of axes {order:?}")),
                }
            }),
            BuiltinOperator::SLICE => {
                let begins = self.integers(operator, 1);
                self.argument(operator, 1, |begins| positive(begins, rank))?;
                self.argument(operator, 2, |sizes| {
                    let begins = begins.ok_or("begins that are not constants")?;
                    positive(sizes_left(&begins, sizes, &dims).as_slice(), rank)
                })
            }
            BuiltinOperator::PAD | BuiltinOperator::PADV2 => {
                self.argument(operator, 1, |pads| positive(pads, 2 * rank))?;
                if let Some(id) = operator.input(1) {
                    self.network.tensors[id].dims = vec![rank, 2];
                }
                self.scalar(operator, 2);
                Ok(())
            }
            BuiltinOperator::STRIDED_SLICE => (1..4)
                .try_for_each(|slot| self.argument(operator, slot, |values| Ok(values.to_vec()))),
            _ => Ok(()),
        }
    }

    pub(super) fn integers(&self, operator: &Operator, slot: usize) -> Option<Vec<i64>> {
        match &self.network.tensors[operator.input(slot)?].data {
            Some(Data::Integer(values)) => Some(values.clone()),
            _ => None,
        }
    }

    /// Replaces a constant operand by a vector of 32-bit integers.
    fn argument(
        &mut self,
        operator: &mut Operator,
        slot: usize,
        change: impl FnOnce(&[i64]) -> Result<Vec<i64>, String>,
    ) -> Result<(), String> {
        let Some(values) = self.integers(operator, slot) else {
            return Ok(());
        };
        let bounds = (i64::from(i32::MIN), i64::from(i32::MAX));
        let values: Vec<i64> = change(&values)?
            .into_iter()
            .map(|value| value.clamp(bounds.0, bounds.1))
            .collect();
        let name = format!("{}.argument{slot}", self.network.name(operator));
        let argument = self.tensor(name, vec![values.len()], Some(Data::Integer(values)));
        operator.inputs[slot] = Some(argument);
        Ok(())
    }

    /// Makes a constant operand of one element a scalar.
    fn scalar(&mut self, operator: &mut Operator, slot: usize) {
        let constant = operator.input(slot).map(|id| &self.network.tensors[id]);
        if let Some(data) = constant.and_then(|tensor| tensor.data.clone()) {
            let name = format!("{}.argument{slot}", self.network.name(operator));
            operator.inputs[slot] = Some(self.tensor(name, Vec::new(), Some(data)));
        }
    }
}

/// Sizes with -1, what is left, resolved.
fn sizes_left(begins: &[i64], sizes: &[i64], dims: &[usize]) -> Vec<i64> {
    let places = begins.iter().zip(sizes).zip(dims);
    let size = |((&begin, &size), &dim): ((&i64, &i64), &usize)| match size {
        -1 => dim as i64 - begin,
        _ => size,
    };
    places.map(size).collect()
}

/// The values, if there are `count` and none is negative.
fn positive(values: &[i64], count: usize) -> Result<Vec<i64>, String> {
    if values.len() != count {
        return Err(format!("{} numbers where {count} belong", values.len()));
    }
    match values.iter().find(|&&value| value < 0) {
        Some(value) => Err(format!("a size of {value}")),
        None => Ok(values.to_vec()),
    }
}

pub(super) fn narrowed(values: &[usize]) -> Result<Vec<i32>, String> {
    let narrow = |&value: &usize| i32::try_from(value).map_err(|_| format!("a size of {value}"));
    values.iter().map(narrow).collect()
}
