//! Matrix products with constants.

use super::super::generator::Generator;
use super::super::network::{Step, Value};

/// `alpha A' B' + beta C` of a matrix.
pub(super) fn general_product(g: &mut Generator, x: &Value) -> Option<Value> {
    let &[rows, inner] = x.dims.as_slice() else {
        let flat = Step::new("Flatten").value(x);
        let flat = g.push(
            flat,
            vec![x.dims.first().copied()?, x.dims[1..].iter().product()],
        );
        return general_product(g, &flat);
    };
    let turned = g.random.chance(15);
    let (rows, inner) = if turned { (inner, rows) } else { (rows, inner) };
    let outputs = g.random.size(1, 12);
    let transposed = g.random.chance(50);
    let dims = if transposed {
        [outputs, inner]
    } else {
        [inner, outputs]
    };
    let weights = g.random.weights(inner * outputs, inner);
    let mut step = Step::new("Gemm").value(x).floats(&dims, weights);
    if g.opset() < 11 || g.random.chance(75) {
        let dims = g.random.pick(&[
            vec![outputs],
            vec![outputs],
            vec![1, outputs],
            vec![1],
            vec![],
        ]);
        let count = dims.iter().product();
        step = step.floats(&dims, g.random.values(count, 0.5));
    }
    if turned {
        step = step.int("transA", 1);
    }
    if transposed {
        step = step.int("transB", 1);
    }
    if g.random.chance(25) {
        step = step.float("alpha", 0.7).float("beta", 1.3);
    }
    Some(g.push(step, vec![rows, outputs]))
}

/// Of the last two axes, with a constant matrix on the right or on the left.
pub(super) fn matrix_product(g: &mut Generator, x: &Value) -> Option<Value> {
    let rank = x.rank();
    if rank < 2 {
        return None;
    }
    let left = g.random.chance(30);
    let axis = if left { rank - 2 } else { rank - 1 };
    let (inner, outputs) = (x.dims[axis], g.random.size(1, 12));
    let weights = g.random.weights(inner * outputs, inner);
    let mut dims = x.dims.clone();
    dims[axis] = outputs;
    let step = match left {
        true => Step::new("MatMul")
            .floats(&[outputs, inner], weights)
            .value(x),
        false => Step::new("MatMul")
            .value(x)
            .floats(&[inner, outputs], weights),
    };
    let product = g.push(step, dims.clone());
    if g.random.chance(50) {
        return Some(product);
    }
    let bias = g.random.values(dims[rank - 1], 0.5);
    Some(
        g.push(
            Step::new("Add")
                .value(&product)
                .floats(&[dims[rank - 1]], bias),
            dims,
        ),
    )
}
