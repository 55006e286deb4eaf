//! Resizing, in the three forms that ONNX has had: `Upsample`, `Resize` of opset 10, and since.

use super::super::generator::Generator;
use super::super::network::{Step, Value};

const SCALES: [f32; 10] = [2.0, 2.0, 3.0, 1.5, 2.5, 1.7, 1.25, 0.5, 0.75, 0.6];
const COORDINATES: [&str; 4] = [
    "asymmetric",
    "half_pixel",
    "align_corners",
    "pytorch_half_pixel",
];
const ROUNDINGS: [&str; 4] = ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"];

/// One or two axes become longer or shorter, by a scale or to a size.
pub(crate) fn resize(g: &mut Generator, x: &Value) -> Option<Value> {
    if x.rank() < 2 {
        return None;
    }
    let linear = g.random.chance(50);
    // ONNX Runtime interpolates over the two innermost axes of rank 4, or over all of rank 2 and 3.
    let axes = match (linear, x.rank()) {
        (_, 4) => vec![2, 3],
        (true, 3) => vec![2],
        (true, 2) => vec![1],
        (true, _) => return None,
        (false, rank) => vec![rank - 1],
    };
    let mut scales = vec![1.0; x.rank()];
    let both = g.random.pick(&SCALES);
    for &axis in &axes {
        scales[axis] = if g.random.chance(70) {
            both
        } else {
            g.random.pick(&SCALES)
        };
    }
    if g.opset() < 10 {
        scales.iter_mut().for_each(|scale| *scale = scale.max(1.0));
    }
    let sizes: Vec<usize> = x
        .dims
        .iter()
        .zip(&scales)
        .map(|(&dim, scale)| (dim as f32 * scale) as usize)
        .collect();
    // Where the size stays, ONNX Runtime copies, whatever the scale; ONNX interpolates.
    let copies = sizes == x.dims && scales.iter().any(|&scale| scale != 1.0);
    if sizes.contains(&0) || copies {
        return None;
    }
    let mode = if linear { "linear" } else { "nearest" };
    let step = Step::new(if g.opset() < 10 { "Upsample" } else { "Resize" })
        .value(x)
        .text("mode", mode);
    if g.opset() < 11 {
        return Some(g.push(step.floats(&[x.rank()], scales), sizes));
    }
    // Opset 11 wants empty tensors for what is left out.
    let opset = g.opset();
    let none = |step: Step| match opset {
        11 => step.floats(&[0], vec![]),
        _ => step.absent(),
    };
    let step = none(step);
    let step = match g.random.chance(40) {
        true => none(step).integers(sizes.iter().map(|&size| size as i64).collect()),
        false => step.floats(&[x.rank()], scales),
    };
    let step = transformed(g, step, linear);
    Some(g.push(step, sizes))
}

/// How coordinates are computed and rounded.
fn transformed(g: &mut Generator, mut step: Step, linear: bool) -> Step {
    if g.random.chance(85) {
        step = step.text(
            "coordinate_transformation_mode",
            g.random.pick(&COORDINATES),
        );
    }
    if !linear && g.random.chance(85) {
        step = step.text("nearest_mode", g.random.pick(&ROUNDINGS));
    }
    step
}
