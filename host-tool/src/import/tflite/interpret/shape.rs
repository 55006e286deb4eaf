//! Operators that move elements.

use super::super::options::Masks;
use super::{Operands, Value, axis_index, elements};
use std::borrow::Cow;

/// Elements between neighbours along each axis, row by row.
fn strides(dims: &[usize]) -> Vec<i64> {
    let mut strides = vec![1i64; dims.len()];
    for axis in (1..dims.len()).rev() {
        strides[axis - 1] = strides[axis].saturating_mul(dims[axis] as i64);
    }
    strides
}

/// Reads elements along `strides`, which must stay inside of `data`.
fn gather(data: &[f32], start: i64, dims: &[usize], strides: &[i64]) -> Result<Vec<f32>, String> {
    let mut out = Vec::with_capacity(elements(dims)?);
    if !dims.contains(&0) {
        walk(data, start, dims, strides, &mut out);
    }
    Ok(out)
}

fn walk(data: &[f32], start: i64, dims: &[usize], strides: &[i64], out: &mut Vec<f32>) {
    match (dims.split_first(), strides.split_first()) {
        (Some((&dim, dims)), Some((&stride, strides))) => {
            for index in 0..dim as i64 {
                walk(data, start + index * stride, dims, strides, out);
            }
        }
        _ => out.push(data[start as usize]),
    }
}

/// The dimensions of two operands that are broadcast to each other.
pub(super) fn broadcast_dims(a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    let rank = a.len().max(b.len());
    let dim = |dims: &[usize], axis: usize| match (axis + dims.len()).checked_sub(rank) {
        Some(axis) => dims[axis],
        None => 1,
    };
    let common = |axis| match (dim(a, axis), dim(b, axis)) {
        (1, n) | (n, 1) => Ok(n),
        (n, m) if n == m => Ok(n),
        _ => Err(format!("operands of {a:?} and {b:?}")),
    };
    (0..rank).map(common).collect()
}

/// The elements of a value, repeated along the axes where it has one and `dims` more.
pub(super) fn expand<'v>(value: &'v Value, dims: &[usize]) -> Result<Cow<'v, [f32]>, String> {
    if value.dims == dims {
        return Ok(Cow::Borrowed(&value.data));
    }
    let missing = dims.len().checked_sub(value.dims.len());
    let missing = missing.ok_or_else(|| format!("{:?} is not {dims:?}", value.dims))?;
    let own = strides(&value.dims);
    let mut repeated = vec![0; dims.len()];
    for (axis, (&dim, &stride)) in value.dims.iter().zip(&own).enumerate() {
        let wanted = dims[missing + axis];
        if dim != 1 && dim != wanted {
            return Err(format!("{:?} is not {dims:?}", value.dims));
        }
        repeated[missing + axis] = if dim == 1 { 0 } else { stride };
    }
    gather(&value.data, 0, dims, &repeated).map(Cow::Owned)
}

pub(super) fn broadcast_to(input: &Value, shape: &Value) -> Result<Value, String> {
    let dims = shape.integers();
    let dims = dims.iter().map(|&dim| usize::try_from(dim));
    let dims = dims.collect::<Result<Vec<_>, _>>();
    let dims = dims.map_err(|_| "a negative dimension")?;
    Ok(Value::new(dims.clone(), expand(input, &dims)?.into_owned()))
}

/// The value with its axes in another order.
pub(super) fn permute(value: &Value, order: &[usize]) -> Result<Value, String> {
    let own = strides(&value.dims);
    let dims: Vec<usize> = order.iter().map(|&axis| value.dims[axis]).collect();
    let moved: Vec<i64> = order.iter().map(|&axis| own[axis]).collect();
    let data = gather(&value.data, 0, &dims, &moved)?;
    Ok(Value::new(dims, data))
}

pub(super) fn transpose(input: &Value, order: &Value) -> Result<Value, String> {
    let rank = input.dims.len();
    let order = order.integers();
    let order = order.iter().map(|&axis| axis_index(axis, rank));
    let order = order.collect::<Result<Vec<_>, _>>()?;
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..rank) {
        return Err(format!("an order of axes {order:?}"));
    }
    permute(input, &order)
}

pub(super) fn concat(inputs: &[&Value], axis: i32) -> Result<Value, String> {
    let first = inputs.first().ok_or("nothing to join")?;
    let axis = axis_index(axis.into(), first.dims.len())?;
    let mut dims = first.dims.clone();
    dims[axis] = 0;
    for input in inputs {
        let same = input.dims.len() == dims.len()
            && (0..dims.len()).all(|i| i == axis || input.dims[i] == dims[i]);
        if !same {
            return Err(format!("{:?} joined to {:?}", input.dims, first.dims));
        }
        dims[axis] += input.dims[axis];
    }
    let outer: usize = dims[..axis].iter().product();
    let mut data = Vec::with_capacity(elements(&dims)?);
    for row in 0..outer {
        for input in inputs {
            let size = input.data.len() / outer;
            data.extend_from_slice(&input.data[row * size..(row + 1) * size]);
        }
    }
    Ok(Value::new(dims, data))
}

/// The shape is an operand, or an option of older files.
pub(super) fn reshape(
    input: &Value,
    operand: Option<&Value>,
    option: Option<&[i32]>,
) -> Result<Value, String> {
    let shape = match (operand, option) {
        (Some(shape), _) => shape.integers(),
        (None, Some(shape)) => shape.iter().map(|&dim| dim.into()).collect(),
        (None, None) => return Err("it does not say to which shape".into()),
    };
    let count = input.data.len();
    let known = shape.iter().filter(|&&dim| dim != -1);
    let known = known.map(|&dim| usize::try_from(dim));
    let known = known.collect::<Result<Vec<_>, _>>();
    let known = elements(&known.map_err(|_| "a negative dimension")?)?;
    let rest = count.checked_div(known).unwrap_or(0);
    let dims: Vec<usize> = shape
        .iter()
        .map(|&dim| usize::try_from(dim).unwrap_or(rest))
        .collect();
    match elements(&dims)? == count {
        true => Ok(Value::new(dims, input.data.clone())),
        false => Err(format!("{:?} as {shape:?}", input.dims)),
    }
}

/// Without the given axes of size 1, or without all of them if none is given.
pub(super) fn squeeze(input: &Value, axes: &[i32]) -> Result<Value, String> {
    let rank = input.dims.len();
    let axes = axes.iter().map(|&axis| axis_index(axis.into(), rank));
    let axes = axes.collect::<Result<Vec<_>, _>>()?;
    let removed = |axis: usize| match axes.is_empty() {
        true => input.dims[axis] == 1,
        false => axes.contains(&axis),
    };
    if let Some(axis) = (0..rank).find(|&axis| removed(axis) && input.dims[axis] != 1) {
        return Err(format!("axis {axis} of {:?} is not 1", input.dims));
    }
    let dims = (0..rank).filter(|&axis| !removed(axis));
    let dims = dims.map(|axis| input.dims[axis]).collect();
    Ok(Value::new(dims, input.data.clone()))
}

pub(super) fn expand_dims(input: &Value, axis: &Value) -> Result<Value, String> {
    let &[axis] = axis.integers().as_slice() else {
        return Err("more than one new axis".into());
    };
    let mut dims = input.dims.clone();
    dims.insert(axis_index(axis, dims.len() + 1)?, 1);
    Ok(Value::new(dims, input.data.clone()))
}

pub(super) fn shape(input: &Value) -> Value {
    let data = input.dims.iter().map(|&dim| dim as f32).collect();
    Value::new(vec![input.dims.len()], data)
}

/// Padding is `[rank, 2]`: elements before and after, for each axis.
pub(super) fn pad(input: &Value, pads: &Value, value: Option<&Value>) -> Result<Value, String> {
    let rank = input.dims.len();
    if pads.data.len() != rank * 2 {
        return Err(format!("{} paddings for {rank} axes", pads.data.len()));
    }
    let pads = pads.integers();
    let pads = pads.iter().map(|&pad| usize::try_from(pad));
    let pads = pads.collect::<Result<Vec<_>, _>>();
    let pads = pads.map_err(|_| "a negative padding")?;
    let size = |axis: usize| {
        let ends = pads[2 * axis].checked_add(pads[2 * axis + 1])?;
        ends.checked_add(input.dims[axis])
    };
    let dims: Option<Vec<usize>> = (0..rank).map(size).collect();
    let dims = dims.ok_or("a padding that is too large")?;
    let value = value.and_then(|value| value.data.first()).copied();
    let mut data = vec![value.unwrap_or(0.0); elements(&dims)?];
    let steps = strides(&dims);
    let start: i64 = (0..rank)
        .map(|axis| pads[2 * axis] as i64 * steps[axis])
        .sum();
    if !input.data.is_empty() {
        scatter(&input.data, &mut data, start, &input.dims, &steps);
    }
    Ok(Value::new(dims, data))
}

/// Writes elements along `strides`.
fn scatter(data: &[f32], out: &mut [f32], start: i64, dims: &[usize], strides: &[i64]) {
    match (dims.split_first(), strides.split_first()) {
        (Some((&dim, dims)), Some((&stride, strides))) => {
            for (index, part) in data.chunks(data.len() / dim).enumerate() {
                scatter(part, out, start + index as i64 * stride, dims, strides);
            }
        }
        _ => out[start as usize] = data[0],
    }
}

/// A part from `begin`, of the given size; -1 is what is left.
pub(super) fn slice(input: &Value, begin: &Value, size: &Value) -> Result<Value, String> {
    let (begin, size) = (begin.integers(), size.integers());
    let rank = input.dims.len();
    if begin.len() != rank || size.len() != rank {
        return Err(format!(
            "a part of {rank} axes given by {} numbers",
            begin.len()
        ));
    }
    let own = strides(&input.dims);
    let (mut start, mut dims) = (0, Vec::new());
    for axis in 0..rank {
        let dim = input.dims[axis] as i64;
        let size = if size[axis] == -1 {
            dim - begin[axis]
        } else {
            size[axis]
        };
        let inside = begin[axis] >= 0 && size >= 0 && begin[axis].saturating_add(size) <= dim;
        if !inside {
            return Err(format!("{size} elements from {} of {dim}", begin[axis]));
        }
        start += begin[axis] * own[axis];
        dims.push(size as usize);
    }
    let data = gather(&input.data, start, &dims, &own)?;
    Ok(Value::new(dims, data))
}

/// Every `step`th element from `begin` to before `end`, for each axis.
pub(super) fn strided_slice(inputs: &Operands<'_>, masks: &Masks) -> Result<Value, String> {
    if masks.ellipsis != 0 || masks.new_axis != 0 {
        return Err("it adds axes".into());
    }
    let input = inputs.get(0)?;
    let rank = input.dims.len();
    let [begins, ends, steps] = [1, 2, 3].map(|slot| inputs.get(slot).map(Value::integers));
    let (begins, ends, steps) = (begins?, ends?, steps?);
    let given = begins.len();
    if given > rank || ends.len() != given || steps.len() != given {
        return Err(format!("a part of {rank} axes given by {given} numbers"));
    }
    let own = strides(&input.dims);
    let (mut start, mut dims, mut strides) = (0, Vec::new(), Vec::new());
    for (axis, (&dim, &stride)) in input.dims.iter().zip(&own).enumerate() {
        if axis >= given {
            dims.push(dim);
            strides.push(stride);
            continue;
        }
        let steps = Steps::new(dim, axis, [begins[axis], ends[axis], steps[axis]], masks)?;
        start += steps.begin * stride;
        if masks.shrink_axis >> axis & 1 == 0 {
            dims.push(steps.count);
            strides.push(stride.saturating_mul(steps.step));
        }
    }
    let data = gather(&input.data, start, &dims, &strides)?;
    Ok(Value::new(dims, data))
}

/// The elements of an axis that a slice takes.
struct Steps {
    begin: i64,
    step: i64,
    count: usize,
}

impl Steps {
    /// Of begin, end and step; negative places count from the end.
    fn new(
        dim: usize,
        axis: usize,
        [begin, end, step]: [i64; 3],
        masks: &Masks,
    ) -> Result<Self, String> {
        if step == 0 {
            return Err("a step of 0".into());
        }
        let dim = dim as i64;
        let open = |mask: i32| mask >> axis & 1 == 1;
        let forward = step > 0;
        // A backward slice can end before the first element.
        let (first, past) = if forward { (0, dim) } else { (-1, dim - 1) };
        let clamp = |at: i64| at.max(first).min(past);
        let place = |at: i64| clamp(if at < 0 { at.saturating_add(dim) } else { at });
        let begin = match open(masks.begin) {
            true if forward => 0,
            true => dim - 1,
            false => place(begin),
        };
        if open(masks.shrink_axis) && !(0..dim).contains(&begin) {
            return Err(format!("element {begin} of {dim}"));
        }
        let end = match open(masks.end) {
            true if forward => dim,
            true => -1,
            false if masks.offset => clamp(begin.saturating_add(end)),
            false => place(end),
        };
        let span = if forward { end - begin } else { begin - end };
        let count = span.max(0).unsigned_abs().div_ceil(step.unsigned_abs());
        Ok(Self {
            begin,
            step,
            count: count as usize,
        })
    }
}
