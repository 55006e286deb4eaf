//! Functions of one value, as one operator and spelled out.

use super::super::generator::Generator;
use super::super::network::{Step, Value};

/// Functions without attributes, and the opset that brought them.
const PLAIN: [(&str, i64); 14] = [
    ("Relu", 1),
    ("Relu", 1),
    ("Relu", 1),
    ("Sigmoid", 1),
    ("Tanh", 1),
    ("Softplus", 1),
    ("Abs", 1),
    ("Neg", 1),
    ("Identity", 1),
    ("Dropout", 7),
    ("Erf", 9),
    ("HardSwish", 14),
    ("Mish", 18),
    ("Gelu", 20),
];

pub(super) fn activation(g: &mut Generator, x: &Value) -> Option<Value> {
    let step = |op| Step::new(op).value(x);
    let bent = match g.random.size(0, 9) {
        0 => step("LeakyRelu").float("alpha", g.random.between(0.01, 0.5)),
        1 => step("Elu").float("alpha", g.random.between(0.3, 2.0)),
        2 => step("Selu"),
        3 => step("Selu").float("alpha", 1.2).float("gamma", 0.7),
        4 => step("HardSigmoid"),
        5 => step("HardSigmoid")
            .float("alpha", 1.0 / 6.0)
            .float("beta", 0.4),
        6 if g.opset() >= 12 => step("Celu").float("alpha", g.random.between(0.3, 2.5)),
        _ => {
            let known: Vec<&str> = PLAIN
                .iter()
                .filter(|(_, since)| *since <= g.opset())
                .map(|(op, _)| *op)
                .collect();
            step(g.random.pick(&known))
        }
    };
    Some(g.push(bent, x.dims.clone()))
}

/// Bounds on one side or both: attributes up to opset 10, then inputs.
pub(super) fn clip(g: &mut Generator, x: &Value) -> Option<Value> {
    let low = g.random.chance(70).then(|| g.random.between(-1.5, 0.2));
    let high = g.random.chance(70).then(|| g.random.between(0.3, 6.0));
    let mut step = Step::new("Clip").value(x);
    if g.opset() < 11 {
        for (name, bound) in [("min", low), ("max", high)] {
            step = match bound {
                Some(bound) => step.float(name, bound),
                None => step,
            };
        }
    } else {
        for bound in [low, high] {
            step = match bound {
                Some(bound) => step.scalar(bound),
                None => step.absent(),
            };
        }
    }
    Some(g.push(step, x.dims.clone()))
}

/// Slopes for each channel, or one for all.
pub(super) fn parametric_relu(g: &mut Generator, x: &Value) -> Option<Value> {
    if x.rank() < 2 {
        return None;
    }
    let channels = if g.random.chance(80) { x.dims[1] } else { 1 };
    let dims = [vec![channels], vec![1; x.rank() - 2]].concat();
    let slopes = (0..channels).map(|_| g.random.between(0.05, 0.9)).collect();
    Some(g.push(
        Step::new("PRelu").value(x).floats(&dims, slopes),
        x.dims.clone(),
    ))
}

/// Functions of positive numbers, of a value made positive.
pub(super) fn positive(g: &mut Generator, x: &Value) -> Option<Value> {
    let bounded = g.map("Tanh", x);
    let exponential = g.map("Exp", &bounded);
    let op = g
        .random
        .pick(&["Identity", "Log", "Sqrt", "Reciprocal", "Pow"]);
    if op == "Identity" {
        return Some(exponential);
    }
    let step = Step::new(op).value(&exponential);
    let step = match op {
        "Pow" => step.scalar(g.random.pick(&[2.0, 0.5, -0.5, -1.0, 1.0, 3.0])),
        _ => step,
    };
    Some(g.push(step, x.dims.clone()))
}

/// Functions as exporters write them in several nodes.
pub(super) fn spelled_out(g: &mut Generator, x: &Value) -> Option<Value> {
    let with = |g: &mut Generator, op, x: &Value, c: f32| {
        g.push(Step::new(op).value(x).scalar(c), x.dims.clone())
    };
    Some(match g.random.size(0, 4) {
        0 => {
            let gate = g.map("Sigmoid", x);
            g.combine("Mul", x, &gate)
        }
        1 => {
            let gate = g.push(
                Step::new("HardSigmoid").value(x).float("alpha", 1.0 / 6.0),
                x.dims.clone(),
            );
            g.combine("Mul", &gate, x)
        }
        2 => {
            let divided = with(g, "Div", x, std::f32::consts::SQRT_2);
            let error = g.map("Erf", &divided);
            let shifted = with(g, "Add", &error, 1.0);
            let product = g.combine("Mul", x, &shifted);
            with(g, "Mul", &product, 0.5)
        }
        3 => {
            let soft = g.map("Softplus", x);
            let gate = g.map("Tanh", &soft);
            g.combine("Mul", x, &gate)
        }
        _ => {
            let shifted = with(g, "Add", x, 3.0);
            let mut clip = Step::new("Clip").value(&shifted);
            clip = match g.opset() {
                ..11 => clip.float("min", 0.0).float("max", 6.0),
                _ => clip.scalar(0.0).scalar(6.0),
            };
            let clipped = g.push(clip, x.dims.clone());
            let product = g.combine("Mul", x, &clipped);
            with(g, "Div", &product, 6.0)
        }
    })
}
