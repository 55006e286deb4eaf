//! Selections by sign, which is how converters write the functions that bend at zero.

use super::Lowering;
use super::layout::Lowered;
use crate::graph::{BinaryKind, Op, UnaryKind};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::logic as tl;
use tract_onnx::tract_core::ops::math::Mul;

/// A comparison with zero.
struct Sign {
    /// What is compared.
    of: OutletId,
    /// Whether it holds for positive values, rather than for negative ones.
    positive: bool,
}

impl Lowering<'_> {
    /// Whether a node compares with zero: it is looked at again when something selects by it.
    pub(super) fn is_sign(&self, node: &TypedNode) -> bool {
        self.sign(node).is_some()
    }

    fn sign(&self, node: &TypedNode) -> Option<Sign> {
        let op = node.op_as::<TypedBinOp>()?.0.as_ref();
        let greater = op.is::<tl::CompGT>() || op.is::<tl::CompGTE>();
        if !greater && !op.is::<tl::CompLT>() && !op.is::<tl::CompLTE>() {
            return None;
        }
        let zero = |slot: usize| {
            let constant = self.constant(node.inputs[slot]);
            constant.is_some_and(|constant| constant.uniform() == Some(0.0))
        };
        match (zero(0), zero(1)) {
            (false, true) => Some(Sign {
                of: node.inputs[0],
                positive: greater,
            }),
            (true, false) => Some(Sign {
                of: node.inputs[1],
                positive: !greater,
            }),
            _ => None,
        }
    }

    /// `x` where it is positive, and a function of `x` that is known elsewhere.
    pub(super) fn select(&mut self, node: &TypedNode) -> Result<Lowered, String> {
        const UNKNOWN: &str = "a selection that is none of ELU, leaky ReLU and PReLU";
        let sign = self
            .sign(self.model.node(node.inputs[0].node))
            .ok_or(UNKNOWN)?;
        let branches = match sign.positive {
            true => [node.inputs[1], node.inputs[2]],
            false => [node.inputs[2], node.inputs[1]],
        };
        if branches[0] != sign.of {
            return Err(UNKNOWN.into());
        }
        let x = self.values.get(&sign.of).cloned().ok_or(UNKNOWN)?;
        if let Some(slope) = self.slope(branches[1], sign.of) {
            return self.bent(node, &x, slope);
        }
        let negative = self.values.get(&branches[1]).cloned().ok_or(UNKNOWN)?;
        let alpha = self.exponential(&negative, &x).ok_or(UNKNOWN)?;
        Ok(self.map(node, &x, UnaryKind::Elu { alpha }))
    }

    /// The constant that `outlet` is the product of, with `x`.
    fn slope(&self, outlet: OutletId, x: OutletId) -> Option<OutletId> {
        let node = self.model.node(outlet.node);
        node.op_as::<TypedBinOp>().filter(|op| op.0.is::<Mul>())?;
        match *node.inputs.as_slice() {
            [a, b] if a == x => Some(b),
            [a, b] if b == x => Some(a),
            _ => None,
        }
    }

    /// `max(x, 0) + slope min(x, 0)`.
    fn bent(&mut self, node: &TypedNode, x: &Lowered, slope: OutletId) -> Result<Lowered, String> {
        let slope = self
            .constant(slope)
            .ok_or("a slope that is not a constant")?;
        if let Some(slope) = slope.uniform() {
            return Ok(self.map(node, x, UnaryKind::LeakyRelu { slope }));
        }
        let (min, max) = (f32::NEG_INFINITY, f32::INFINITY);
        let above = self.map(node, x, UnaryKind::Clamp { min: 0.0, max });
        let below = self.map(node, x, UnaryKind::Clamp { min, max: 0.0 });
        let below = self.scaled(node, &below, &slope)?;
        self.two(node, BinaryKind::Add, &above, &below)
    }

    /// `alpha`, if `value` is `alpha (exp(x) - 1)`.
    fn exponential(&self, value: &Lowered, x: &Lowered) -> Option<f32> {
        let (mut a, mut b, mut tensor) = (1.0, 0.0, value.tensor);
        loop {
            let node = self
                .builder
                .graph
                .nodes
                .iter()
                .find(|node| node.output == tensor)?;
            match node.op {
                Op::Unary {
                    kind: UnaryKind::Affine { a: c, b: d },
                } => (a, b) = (a * c, a * d + b),
                Op::Unary {
                    kind: UnaryKind::Exp,
                } if node.inputs[0] == x.tensor => break,
                _ => return None,
            }
            tensor = node.inputs[0];
        }
        (a + b == 0.0).then_some(a)
    }
}
