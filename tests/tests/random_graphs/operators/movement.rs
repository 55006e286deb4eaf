//! Operators that move, cut or join.

use super::super::generator::Generator;
use super::super::network::{Step, Value};

/// `dims` with one changed.
fn dims_with(dims: &[usize], axis: usize, size: usize) -> Vec<usize> {
    let mut dims = dims.to_vec();
    dims[axis] = size;
    dims
}

pub(super) fn concat(g: &mut Generator, x: &Value) -> Option<Value> {
    if x.rank() < 2 {
        return None;
    }
    let axis = g.random.size(1, x.rank() - 1);
    let agrees = |v: &Value| {
        v.rank() == x.rank() && dims_with(&v.dims, axis, 0) == dims_with(&x.dims, axis, 0)
    };
    let other = match g.other(x, agrees) {
        Some(other) if g.random.chance(80) => other,
        _ => g.map("Tanh", x),
    };
    let mut parts = vec![x.clone(), other];
    if g.random.chance(20) {
        parts.push(x.clone());
    }
    g.random.shuffle(&mut parts);
    let total = parts.iter().map(|part| part.dims[axis]).sum();
    let step = parts.iter().fold(Step::new("Concat"), Step::value);
    let step = step.int("axis", g.spelled(axis, x.rank()));
    Some(g.push(step, dims_with(&x.dims, axis, total)))
}

/// A border of a constant: attributes up to opset 10, then inputs, from opset 18 on some axes only.
pub(super) fn pad(g: &mut Generator, x: &Value) -> Option<Value> {
    if x.rank() < 2 {
        return None;
    }
    let all: Vec<usize> = (1..x.rank()).collect();
    let axes = g.random.subset(&all);
    let (mut before, mut after) = (vec![0; x.rank()], vec![0; x.rank()]);
    for &axis in &axes {
        before[axis] = g.random.size(0, 2);
        after[axis] = g.random.size(0, 2);
    }
    let fill = g.random.chance(40).then(|| g.random.between(-1.0, 1.0));
    let ints = |sides: &[&[usize]]| {
        sides
            .concat()
            .iter()
            .map(|&pad| pad as i64)
            .collect::<Vec<_>>()
    };
    let mut step = Step::new("Pad").value(x);
    if g.opset() < 11 {
        step = step.ints("pads", ints(&[&before, &after]));
        step = match fill {
            Some(fill) => step.float("value", fill),
            None => step,
        };
    } else if g.opset() >= 18 && g.random.chance(40) {
        let side = |pads: &[usize]| axes.iter().map(|&axis| pads[axis]).collect::<Vec<_>>();
        step = step.integers(ints(&[&side(&before), &side(&after)]));
        step = step.scalar(fill.unwrap_or(0.0));
        step = step.integers(axes.iter().map(|&axis| g.spelled(axis, x.rank())).collect());
    } else {
        step = step.integers(ints(&[&before, &after]));
        step = match fill {
            Some(fill) => step.scalar(fill),
            None => step,
        };
    }
    let dims = (0..x.rank()).map(|axis| x.dims[axis] + before[axis] + after[axis]);
    Some(g.push(step, dims.collect()))
}

/// A range of some axes, spelled from either end or with an end far behind the last element.
pub(super) fn slice(g: &mut Generator, x: &Value) -> Option<Value> {
    let long: Vec<usize> = (0..x.rank()).filter(|&axis| x.dims[axis] > 1).collect();
    let axes = g.random.subset(&long);
    let mut dims = x.dims.clone();
    let (mut starts, mut ends) = (Vec::new(), Vec::new());
    for &axis in &axes {
        let size = x.dims[axis];
        let start = g.random.size(0, size - 1);
        let end = g.random.size(start + 1, size);
        dims[axis] = end - start;
        starts.push(match g.random.chance(30) {
            true => start as i64 - size as i64,
            false => start as i64,
        });
        ends.push(match (end == size, g.random.chance(50)) {
            (true, true) => i64::MAX,
            (false, true) => end as i64 - size as i64,
            _ => end as i64,
        });
    }
    if axes.is_empty() {
        return None;
    }
    let axes: Vec<i64> = axes.iter().map(|&axis| g.spelled(axis, x.rank())).collect();
    let step = Step::new("Slice").value(x);
    let step = match g.opset() < 10 {
        true => step
            .ints("starts", starts)
            .ints("ends", ends)
            .ints("axes", axes),
        false => step.integers(starts).integers(ends).integers(axes),
    };
    Some(g.push(step, dims))
}

/// Every second or third element of an axis, from one of the first three on.
pub(crate) fn strided_slice(g: &mut Generator, x: &Value, axis: usize) -> Option<Value> {
    let size = x.dims[axis];
    if g.opset() < 10 || size < 2 {
        return None;
    }
    let start = g.random.size(0, 2.min(size - 1));
    let stride = g.random.size(2, 3);
    let end = match g.random.chance(70) {
        true => size,
        false => g.random.size(start + 1, size),
    };
    let step = Step::new("Slice").value(x);
    let step = step.integers(vec![start as i64]).integers(vec![end as i64]);
    let step = step
        .integers(vec![g.spelled(axis, x.rank())])
        .integers(vec![stride as i64]);
    Some(g.push(
        step,
        dims_with(&x.dims, axis, (end - start).div_ceil(stride)),
    ))
}

pub(super) fn strided_slice_of_any_axis(g: &mut Generator, x: &Value) -> Option<Value> {
    let axis = g.random.size(1, x.rank().max(2) - 1);
    if axis >= x.rank() {
        return None;
    }
    strided_slice(g, x, axis)
}

/// Parts of an axis: sizes are an attribute up to opset 12, then an input, from opset 18 a number.
pub(super) fn split(g: &mut Generator, x: &Value) -> Option<Value> {
    let long: Vec<usize> = (1..x.rank()).filter(|&axis| x.dims[axis] > 1).collect();
    let axis = *g.random.subset(&long).first()?;
    let size = x.dims[axis];
    let even = g.random.chance(40);
    let sizes = match even {
        true => vec![size.div_ceil(2), size / 2],
        false => {
            let first = g.random.size(1, size - 1);
            vec![first, size - first]
        }
    };
    let spelled: Vec<i64> = sizes.iter().map(|&size| size as i64).collect();
    let step = Step::new("Split").value(x);
    let step = match g.opset() {
        ..13 => step.ints("split", spelled),
        18.. if even => step.int("num_outputs", 2),
        _ => step.integers(spelled),
    };
    let step = step.int("axis", g.spelled(axis, x.rank()));
    let dims = sizes
        .iter()
        .map(|&size| dims_with(&x.dims, axis, size))
        .collect();
    g.push_all(step, dims).pop()
}

pub(super) fn transpose(g: &mut Generator, x: &Value) -> Option<Value> {
    if x.rank() < 2 {
        return None;
    }
    let mut perm: Vec<usize> = (0..x.rank()).collect();
    // The batch moves at times, too.
    let first = usize::from(g.random.chance(85));
    g.random.shuffle(&mut perm[first..]);
    Some(transposed(g, x, &perm))
}

fn transposed(g: &mut Generator, x: &Value, perm: &[usize]) -> Value {
    let spelled = perm.iter().map(|&axis| axis as i64).collect();
    let dims = perm.iter().map(|&axis| x.dims[axis]).collect();
    g.push(Step::new("Transpose").value(x).ints("perm", spelled), dims)
}

/// Other dimensions for the same elements; one may be -1, and those that stay 0.
pub(super) fn reshape(g: &mut Generator, x: &Value) -> Option<Value> {
    let dims = regrouped(g, x);
    let mut spelled: Vec<i64> = dims.iter().map(|&dim| dim as i64).collect();
    if g.random.chance(50) {
        let at = g.random.size(0, spelled.len() - 1);
        spelled[at] = -1;
    }
    if x.dims.first() == dims.first() && spelled[0] > 0 && g.random.chance(30) {
        spelled[0] = 0;
    }
    Some(g.push(Step::new("Reshape").value(x).integers(spelled), dims))
}

/// Neighbouring axes joined, an axis split, or all anew.
fn regrouped(g: &mut Generator, x: &Value) -> Vec<usize> {
    let mut dims = x.dims.clone();
    match g.random.size(0, 2) {
        0 if dims.len() > 2 => {
            let at = g.random.size(1, dims.len() - 2);
            let next = dims.remove(at + 1);
            dims[at] *= next;
        }
        1 if dims.len() < 5 && dims.len() > 1 => {
            let at = g.random.size(1, dims.len() - 1);
            let factor = divisor(g, dims[at]);
            dims[at] /= factor;
            dims.insert(at + g.random.size(0, 1), factor);
        }
        _ => {
            let mut left = x.elements();
            dims = vec![1];
            for _ in 0..g.random.size(1, 3) {
                let factor = divisor(g, left);
                dims.push(factor);
                left /= factor;
            }
            let last = dims.len() - 1;
            dims[last] *= left;
        }
    }
    dims
}

fn divisor(g: &mut Generator, number: usize) -> usize {
    let divisors: Vec<usize> = (1..=number).filter(|d| number.is_multiple_of(*d)).collect();
    g.random.pick(&divisors)
}

pub(super) fn flatten(g: &mut Generator, x: &Value) -> Option<Value> {
    let axis = g.random.size(0, x.rank());
    let dims = vec![
        x.dims[..axis].iter().product(),
        x.dims[axis..].iter().product(),
    ];
    let step = Step::new("Flatten").value(x);
    let step = match axis {
        1 => step,
        _ if axis < x.rank() && g.opset() >= 11 => step.int("axis", g.spelled(axis, x.rank())),
        _ => step.int("axis", axis as i64),
    };
    Some(g.push(step, dims))
}

/// Axes as an attribute up to opset 12, then as an input.
fn with_axes(g: &Generator, step: Step, axes: Vec<i64>) -> Step {
    match g.opset() < 13 {
        true => step.ints("axes", axes),
        false => step.integers(axes),
    }
}

pub(super) fn squeeze(g: &mut Generator, x: &Value) -> Option<Value> {
    let single: Vec<usize> = (1..x.rank()).filter(|&axis| x.dims[axis] == 1).collect();
    let axes = g.random.subset(&single);
    if axes.is_empty() || x.rank() < 3 {
        return None;
    }
    let dims = (0..x.rank())
        .filter(|axis| !axes.contains(axis))
        .map(|axis| x.dims[axis])
        .collect();
    let axes = axes.iter().map(|&axis| axis as i64).collect();
    let step = with_axes(g, Step::new("Squeeze").value(x), axes);
    Some(g.push(step, dims))
}

pub(super) fn unsqueeze(g: &mut Generator, x: &Value) -> Option<Value> {
    let axis = g.random.size(0, x.rank());
    (x.rank() < 5).then(|| unsqueezed(g, x, axis))
}

/// With a dimension of 1 at an axis.
pub(crate) fn unsqueezed(g: &mut Generator, x: &Value, axis: usize) -> Value {
    let mut dims = x.dims.clone();
    dims.insert(axis, 1);
    let step = with_axes(g, Step::new("Unsqueeze").value(x), vec![axis as i64]);
    g.push(step, dims)
}

/// To the dimensions that it has, or with leading ones.
pub(super) fn expand(g: &mut Generator, x: &Value) -> Option<Value> {
    let leading = g.random.size(0, 1).min(5 - x.rank());
    let dims = [vec![1; leading], x.dims.clone()].concat();
    let spelled = dims
        .iter()
        .map(|&dim| if g.random.chance(30) { 1 } else { dim as i64 })
        .collect();
    Some(g.push(Step::new("Expand").value(x).integers(spelled), dims))
}

/// Channels dealt out to groups: a reshape, a transpose and a reshape.
pub(super) fn shuffle(g: &mut Generator, x: &Value) -> Option<Value> {
    let &[1, channels, h, w] = x.dims.as_slice() else {
        return None;
    };
    let groups = divisor(g, channels);
    let spelled = |dims: &[usize]| dims.iter().map(|&dim| dim as i64).collect::<Vec<_>>();
    let split = vec![1, groups, channels / groups, h, w];
    let step = Step::new("Reshape").value(x).integers(spelled(&split));
    let dealt = g.push(step, split);
    let turned = transposed(g, &dealt, &[0, 2, 1, 3, 4]);
    let step = Step::new("Reshape")
        .value(&turned)
        .integers(spelled(&x.dims));
    Some(g.push(step, x.dims.clone()))
}

/// Pixels from channels, or channels from pixels.
pub(super) fn depth_to_space(g: &mut Generator, x: &Value) -> Option<Value> {
    let &[1, channels, h, w] = x.dims.as_slice() else {
        return None;
    };
    if channels.is_multiple_of(4) {
        let step = Step::new("DepthToSpace").value(x).int("blocksize", 2);
        let step = match g.opset() >= 11 {
            true => step.text("mode", g.random.pick(&["CRD", "DCR"])),
            false => step,
        };
        return Some(g.push(step, vec![1, channels / 4, h * 2, w * 2]));
    }
    if h.is_multiple_of(2) && w.is_multiple_of(2) {
        let step = Step::new("SpaceToDepth").value(x).int("blocksize", 2);
        return Some(g.push(step, vec![1, channels * 4, h / 2, w / 2]));
    }
    None
}
