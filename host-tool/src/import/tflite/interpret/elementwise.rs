//! Functions of one, two or three elements.

use super::Value;
use super::shape::{broadcast_dims, expand};
use tract_tflite::tflite::BuiltinOperator;

/// What an operator of one operand does to an element.
pub(super) fn function(kind: BuiltinOperator) -> Option<fn(f32) -> f32> {
    Some(match kind {
        BuiltinOperator::ABS => f32::abs,
        BuiltinOperator::CEIL => f32::ceil,
        BuiltinOperator::COS => f32::cos,
        BuiltinOperator::EXP => |x| f64::from(x).exp() as f32,
        BuiltinOperator::FLOOR => f32::floor,
        BuiltinOperator::HARD_SWISH => |x| x * (x + 3.0).max(0.0).min(6.0) / 6.0,
        BuiltinOperator::LOG => |x| f64::from(x).ln() as f32,
        BuiltinOperator::LOGICAL_NOT => |x| truth(x == 0.0),
        BuiltinOperator::LOGISTIC => |x| (1.0 / (1.0 + (-f64::from(x)).exp())) as f32,
        // They change the representation of a number, not the number.
        BuiltinOperator::QUANTIZE | BuiltinOperator::DEQUANTIZE => |x| x,
        BuiltinOperator::RELU => |x| x.max(0.0),
        BuiltinOperator::RELU6 => |x| x.max(0.0).min(6.0),
        BuiltinOperator::RSQRT => |x| (1.0 / f64::from(x).sqrt()) as f32,
        BuiltinOperator::SIN => f32::sin,
        BuiltinOperator::SQRT => f32::sqrt,
        BuiltinOperator::SQUARE => |x| x * x,
        BuiltinOperator::TANH => |x| f64::from(x).tanh() as f32,
        _ => return None,
    })
}

pub(super) fn map(input: &Value, function: impl Fn(f32) -> f32) -> Value {
    let data = input.data.iter().map(|&x| function(x)).collect();
    Value::new(input.dims.clone(), data)
}

pub(super) fn leaky_relu(input: &Value, alpha: f32) -> Result<Value, String> {
    Ok(map(input, |x| if x > 0.0 { x } else { alpha * x }))
}

/// A function of two operands, which are broadcast to each other.
pub(super) fn binary(
    a: &Value,
    b: &Value,
    kind: BuiltinOperator,
    integer: bool,
) -> Result<Value, String> {
    let function: fn(f32, f32) -> f32 = match kind {
        BuiltinOperator::ADD => |a, b| a + b,
        BuiltinOperator::SUB => |a, b| a - b,
        BuiltinOperator::MUL => |a, b| a * b,
        BuiltinOperator::DIV if integer => |a, b| (a / b).trunc(),
        BuiltinOperator::DIV => |a, b| a / b,
        BuiltinOperator::MAXIMUM => f32::max,
        BuiltinOperator::MINIMUM => f32::min,
        BuiltinOperator::EQUAL => |a, b| truth(a == b),
        BuiltinOperator::NOT_EQUAL => |a, b| truth(a != b),
        BuiltinOperator::LESS => |a, b| truth(a < b),
        BuiltinOperator::LESS_EQUAL => |a, b| truth(a <= b),
        BuiltinOperator::GREATER => |a, b| truth(a > b),
        BuiltinOperator::GREATER_EQUAL => |a, b| truth(a >= b),
        BuiltinOperator::LOGICAL_AND => |a, b| truth(a != 0.0 && b != 0.0),
        BuiltinOperator::LOGICAL_OR => |a, b| truth(a != 0.0 || b != 0.0),
        _ => return Err("edgeprune has no such operator".into()),
    };
    let dims = broadcast_dims(&a.dims, &b.dims)?;
    let (a, b) = (expand(a, &dims)?, expand(b, &dims)?);
    let data = a.iter().zip(&*b).map(|(&a, &b)| function(a, b)).collect();
    Ok(Value::new(dims, data))
}

fn truth(holds: bool) -> f32 {
    f32::from(u8::from(holds))
}

/// Elements of `a` where the condition holds, of `b` elsewhere.
pub(super) fn select(condition: &Value, a: &Value, b: &Value) -> Result<Value, String> {
    let dims = broadcast_dims(&condition.dims, &broadcast_dims(&a.dims, &b.dims)?)?;
    let condition = expand(condition, &dims)?;
    let (a, b) = (expand(a, &dims)?, expand(b, &dims)?);
    let pairs = a.iter().zip(&*b);
    let data = condition
        .iter()
        .zip(pairs)
        .map(|(&holds, (&a, &b))| if holds == 0.0 { b } else { a });
    let data = data.collect();
    Ok(Value::new(dims, data))
}
