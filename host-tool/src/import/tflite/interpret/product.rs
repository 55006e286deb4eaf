//! Matrix products.

use super::shape::{broadcast_dims, expand};
use super::{Operands, Value, check_work, elements};

/// Weights `[units, depth]`; the input is taken as rows of `depth` elements, whatever its rank.
pub(super) fn fully_connected(inputs: &Operands<'_>, keep_dims: bool) -> Result<Value, String> {
    let (input, weights) = (inputs.get(0)?, inputs.get(1)?);
    let &[units, depth] = weights.dims.as_slice() else {
        return Err(format!("weights of {:?}", weights.dims));
    };
    if depth == 0 || !input.data.len().is_multiple_of(depth) {
        return Err(format!(
            "weights of {:?} for {:?}",
            weights.dims, input.dims
        ));
    }
    let bias = inputs.optional(2).map(|bias| bias.data.as_slice());
    if bias.is_some_and(|bias| bias.len() != units) {
        return Err(format!("a bias of another size than {units}"));
    }
    let rows = input.data.len() / depth;
    let mut dims = vec![rows, units];
    if keep_dims && input.dims.last() == Some(&depth) {
        dims.clone_from(&input.dims);
        dims.pop();
        dims.push(units);
    }
    check_work(&[rows, units, depth])?;
    let mut data = Vec::with_capacity(elements(&dims)?);
    for row in input.data.chunks(depth) {
        for (unit, weights) in weights.data.chunks(depth).enumerate() {
            let bias = bias.map_or(0.0, |bias| f64::from(bias[unit]));
            data.push((dot(row, weights) + bias) as f32);
        }
    }
    Ok(Value::new(dims, data))
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    let pairs = a.iter().zip(b);
    pairs.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

/// The products of two stacks of matrices; an adjoint one is transposed first.
pub(super) fn batch_matmul(a: &Value, b: &Value, adjoint: [bool; 2]) -> Result<Value, String> {
    let (a, b) = (rows(a, adjoint[0])?, rows(b, !adjoint[1])?);
    let split = |value: &Value| {
        let rank = value.dims.len();
        (
            value.dims[..rank - 2].to_vec(),
            value.dims[rank - 2],
            value.dims[rank - 1],
        )
    };
    let ((batch_a, m, depth), (batch_b, n, other)) = (split(&a), split(&b));
    if depth != other || depth == 0 {
        return Err(format!("a product of {:?} and {:?}", a.dims, b.dims));
    }
    let mut dims = broadcast_dims(&batch_a, &batch_b)?;
    let stack = |rows: usize| [dims.as_slice(), &[rows, depth]].concat();
    let (a, b) = (expand(&a, &stack(m))?, expand(&b, &stack(n))?);
    let matrices = elements(&dims)?;
    check_work(&[matrices, m, n, depth])?;
    dims.extend([m, n]);
    let mut data = Vec::with_capacity(elements(&dims)?);
    for matrix in 0..matrices {
        let b = &b[matrix * n * depth..(matrix + 1) * n * depth];
        for row in a[matrix * m * depth..(matrix + 1) * m * depth].chunks(depth) {
            data.extend(b.chunks(depth).map(|column| dot(row, column) as f32));
        }
    }
    Ok(Value::new(dims, data))
}

/// A stack of matrices, each transposed if asked.
fn rows(value: &Value, transposed: bool) -> Result<Value, String> {
    let rank = value.dims.len();
    if rank < 2 {
        return Err(format!("a matrix of dimensions {:?}", value.dims));
    }
    if !transposed {
        return Ok(value.clone());
    }
    let mut order: Vec<usize> = (0..rank).collect();
    order.swap(rank - 2, rank - 1);
    super::shape::permute(value, &order)
}
