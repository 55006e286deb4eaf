//! Reductions and the softmax.

use super::shape::permute;
use super::{Value, axis_index};
use tract_tflite::tflite::BuiltinOperator;

/// Sum, mean, product, least or greatest element over some axes.
pub(super) fn reduce(
    input: &Value,
    axes: &Value,
    kind: BuiltinOperator,
    keep_dims: bool,
) -> Result<Value, String> {
    let rank = input.dims.len();
    let axes = axes.integers();
    let reduced = axes
        .iter()
        .map(|&axis| axis_index(axis, rank))
        .collect::<Result<Vec<_>, _>>()?;
    let (inner, outer): (Vec<usize>, Vec<usize>) =
        (0..rank).partition(|axis| reduced.contains(axis));
    if input.data.is_empty() {
        return Err("a reduction of no elements".into());
    }
    let count: usize = inner.iter().map(|&axis| input.dims[axis]).product();
    let rows = permute(input, &[outer.as_slice(), &inner].concat())?;
    let data = rows.data.chunks(count).map(|row| fold(row, kind));
    let mut dims: Vec<usize> = outer.iter().map(|&axis| input.dims[axis]).collect();
    let data: Vec<f32> = data.collect();
    if keep_dims {
        dims = input.dims.clone();
        inner.iter().for_each(|&axis| dims[axis] = 1);
    }
    Ok(Value::new(dims, data))
}

fn fold(row: &[f32], kind: BuiltinOperator) -> f32 {
    let values = row.iter().map(|&x| f64::from(x));
    let result = match kind {
        BuiltinOperator::SUM => values.sum(),
        BuiltinOperator::REDUCE_PROD => values.product(),
        BuiltinOperator::REDUCE_MAX => values.fold(f64::NEG_INFINITY, f64::max),
        BuiltinOperator::REDUCE_MIN => values.fold(f64::INFINITY, f64::min),
        _ => values.sum::<f64>() / row.len() as f64,
    };
    result as f32
}

/// `exp(beta x)` over the last axis, divided by its sum.
pub(super) fn softmax(input: &Value, beta: f32) -> Result<Value, String> {
    let last = input.dims.last().copied().unwrap_or(0);
    if last == 0 {
        return Err("a softmax of no elements".into());
    }
    let mut data = Vec::with_capacity(input.data.len());
    for row in input.data.chunks(last) {
        let scaled = row.iter().map(|&x| f64::from(x) * f64::from(beta));
        let greatest = scaled.clone().fold(f64::NEG_INFINITY, f64::max);
        let powers: Vec<f64> = scaled.map(|x| (x - greatest).exp()).collect();
        let sum: f64 = powers.iter().sum();
        data.extend(powers.iter().map(|power| (power / sum) as f32));
    }
    Ok(Value::new(input.dims.clone(), data))
}
