//! Reductions and normalizations over axes.

use super::super::generator::Generator;
use super::super::network::{Step, Value};

/// A reduction and the opset in which its axes became an input.
const REDUCTIONS: [(&str, i64); 4] = [
    ("ReduceMean", 18),
    ("ReduceMean", 18),
    ("ReduceMax", 18),
    ("ReduceSum", 13),
];

pub(super) fn reduce(g: &mut Generator, x: &Value) -> Option<Value> {
    if x.rank() < 2 {
        return None;
    }
    let (op, since) = g.random.pick(&REDUCTIONS);
    let all: Vec<usize> = (1..x.rank()).collect();
    let axes = g.random.subset(&all);
    let keep = g.random.chance(60);
    let spelled: Vec<i64> = axes.iter().map(|&axis| g.spelled(axis, x.rank())).collect();
    let step = Step::new(op).value(x).int("keepdims", keep.into());
    let step = match g.opset() < since {
        true => step.ints("axes", spelled),
        false => step.integers(spelled),
    };
    let reduced = |axis: usize| match (axes.contains(&axis), keep) {
        (true, true) => Some(1),
        (true, false) => None,
        _ => Some(x.dims[axis]),
    };
    let dims = (0..x.rank()).filter_map(reduced).collect();
    let sum = g.push(step, dims);
    if op != "ReduceSum" {
        return Some(sum);
    }
    let count: usize = axes.iter().map(|&axis| x.dims[axis]).product();
    let factor = 1.0 / (count as f32).sqrt();
    Some(g.push(
        Step::new("Mul").value(&sum).scalar(factor),
        sum.dims.clone(),
    ))
}

/// Over one axis, or before opset 13 over all from one on.
pub(super) fn softmax(g: &mut Generator, x: &Value) -> Option<Value> {
    if x.rank() < 2 {
        return None;
    }
    let op = g
        .random
        .pick(&["Softmax", "Softmax", "Softmax", "LogSoftmax"]);
    let axis = g.random.size(1, x.rank() - 1);
    let step = Step::new(op).value(x);
    let step = match g.random.chance(20) {
        true => step,
        false => step.int("axis", g.spelled(axis, x.rank())),
    };
    Some(g.push(step, x.dims.clone()))
}

/// Over the last axes, which have more than one element: a single one is rounding divided by rounding.
pub(super) fn layer_norm(g: &mut Generator, x: &Value) -> Option<Value> {
    if g.opset() < 17 || x.rank() < 2 {
        return None;
    }
    let axis = g.random.pick(&[x.rank() - 1, x.rank() - 1, 1]);
    let dims = &x.dims[axis..];
    let count: usize = dims.iter().product();
    if count < 4 {
        return None;
    }
    let scale = (0..count).map(|_| g.random.between(0.5, 1.5)).collect();
    let mut step = Step::new("LayerNormalization").value(x).floats(dims, scale);
    if g.random.chance(70) {
        step = step.floats(dims, g.random.values(count, 0.5));
    }
    let step = step
        .int("axis", g.spelled(axis, x.rank()))
        .float("epsilon", 1e-2);
    Some(g.push(step, x.dims.clone()))
}

pub(super) fn instance_norm(g: &mut Generator, x: &Value) -> Option<Value> {
    let spatial: usize = x.dims.iter().skip(2).product();
    if x.rank() < 3 || x.dims[0] != 1 || spatial < 4 {
        return None;
    }
    let channels = x.dims[1];
    let scale = (0..channels).map(|_| g.random.between(0.5, 1.5)).collect();
    let bias = g.random.values(channels, 0.5);
    let step = Step::new("InstanceNormalization")
        .value(x)
        .floats(&[channels], scale);
    let step = step.floats(&[channels], bias).float("epsilon", 1e-2);
    Some(g.push(step, x.dims.clone()))
}
