//! Arithmetic with constants and between activations, with broadcasting.

use super::super::generator::Generator;
use super::super::network::{Step, Value};

const OPERATORS: [&str; 8] = ["Add", "Add", "Sub", "Mul", "Mul", "Div", "Max", "Min"];

/// Dimensions of a constant that is broadcast over `dims`.
fn broadcast(g: &mut Generator, dims: &[usize]) -> Vec<usize> {
    match g.random.size(0, 5) {
        0 => vec![],
        1 => vec![1],
        2 => dims.to_vec(),
        3 if dims.len() > 1 => [vec![dims[1]], vec![1; dims.len() - 2]].concat(),
        _ => {
            let start = g.random.size(0, dims.len().saturating_sub(1));
            let keep = |&dim: &usize| if g.random.chance(50) { dim } else { 1 };
            dims[start.min(dims.len())..].iter().map(keep).collect()
        }
    }
}

/// A constant on the left or on the right.
pub(super) fn with_constant(g: &mut Generator, x: &Value) -> Option<Value> {
    let op = g.random.pick(&OPERATORS);
    let dims = match op {
        "Max" | "Min" if g.random.chance(70) => vec![],
        _ => broadcast(g, &x.dims),
    };
    let count = dims.iter().product();
    let left = g.random.chance(30);
    let constant = match (op, left) {
        ("Div", false) => (0..count).map(|_| g.random.between(0.6, 1.8)).collect(),
        _ => g.random.values(count, 1.5),
    };
    let x = match (op, left) {
        ("Div", true) => &away_from_zero(g, x),
        _ => x,
    };
    let step = match left {
        true => Step::new(op).floats(&dims, constant).value(x),
        false => Step::new(op).value(x).floats(&dims, constant),
    };
    Some(g.push(step, x.dims.clone()))
}

/// `sigmoid(x) + 0.5`
fn away_from_zero(g: &mut Generator, x: &Value) -> Value {
    let gate = g.map("Sigmoid", x);
    g.push(Step::new("Add").value(&gate).scalar(0.5), x.dims.clone())
}

/// Whether `small` can be broadcast to `large`, axis by axis.
fn fits(small: &[usize], large: &[usize]) -> bool {
    let pairs = small.iter().rev().zip(large.iter().rev());
    small.len() <= large.len() && pairs.into_iter().all(|(s, l)| s == l || *s == 1)
}

/// Two activations, of which either may be broadcast.
pub(super) fn with_activation(g: &mut Generator, x: &Value) -> Option<Value> {
    let op = g.random.pick(&OPERATORS);
    let y = match g.other(x, |v| fits(&v.dims, &x.dims)) {
        Some(y) if g.random.chance(70) => y,
        _ => g.map("Tanh", x),
    };
    let (mut a, mut b) = (x.clone(), y);
    if g.random.chance(40) {
        (a, b) = (b, a);
    }
    if op == "Div" {
        b = away_from_zero(g, &b);
    }
    Some(g.push(Step::new(op).value(&a).value(&b), x.dims.clone()))
}

/// Squeeze and excitation: channels are weighed by what a mean over the rest says.
pub(super) fn gate(g: &mut Generator, x: &Value) -> Option<Value> {
    if x.rank() != 4 || x.dims[0] != 1 {
        return None;
    }
    let channels = x.dims[1];
    let pooled = g.push(
        Step::new("GlobalAveragePool").value(x),
        vec![1, channels, 1, 1],
    );
    let weights = g.random.weights(channels * channels, channels);
    let mixed = Step::new("Conv")
        .value(&pooled)
        .floats(&[channels, channels, 1, 1], weights);
    let mixed = g.push(mixed, pooled.dims.clone());
    let op = g.random.pick(&["Sigmoid", "HardSigmoid"]);
    let gate = g.map(op, &mixed);
    Some(g.combine("Mul", x, &gate))
}

/// A sum of three.
pub(super) fn sum(g: &mut Generator, x: &Value) -> Option<Value> {
    let y = g.other(x, |v| v.dims == x.dims)?;
    let z = g.map("Sigmoid", x);
    Some(g.push(
        Step::new("Sum").value(x).value(&y).value(&z),
        x.dims.clone(),
    ))
}

pub(super) fn batch_norm(g: &mut Generator, x: &Value) -> Option<Value> {
    if x.rank() < 2 || x.dims[0] != 1 {
        return None;
    }
    let channels = x.dims[1];
    let mut positive = || {
        (0..channels)
            .map(|_| g.random.between(0.5, 1.5))
            .collect::<Vec<_>>()
    };
    let (scale, variance) = (positive(), positive());
    let (bias, mean) = (
        g.random.values(channels, 0.5),
        g.random.values(channels, 0.5),
    );
    let mut step = Step::new("BatchNormalization").value(x);
    for constant in [scale, bias, mean, variance] {
        step = step.floats(&[channels], constant);
    }
    if g.random.chance(30) {
        step = step.float("epsilon", 1e-3);
    }
    Some(g.push(step, x.dims.clone()))
}
