//! Element-wise operators: of one activation, of an activation and a constant, of two activations.

use super::Lowering;
use super::constant::{Constant, atom_strides};
use super::layout::Lowered;
use super::reduce::reordered;
use crate::graph::{Activation, BinaryKind, Linear, Op, POINT, Shape, UnaryKind};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::math as tm;
use tract_onnx::tract_core::ops::nn as tn;

impl Lowering<'_> {
    pub(super) fn unary(
        &mut self,
        node: &TypedNode,
        op: &ElementWiseOp,
    ) -> Result<Lowered, String> {
        let value = self.input(node, 0)?;
        let op = op.0.as_ref();
        let kind = if op.is::<tn::Sigmoid>() {
            UnaryKind::Sigmoid
        } else if op.is::<tn::HardSwish>() {
            UnaryKind::HardSwish
        } else if let Some(op) = op.downcast_ref::<tn::LeakyRelu>() {
            UnaryKind::LeakyRelu { slope: op.alpha }
        } else if op.is::<tn::silu::Silu>() {
            UnaryKind::Silu
        } else if op.is::<tn::gelu_exact::GeluExact>() {
            UnaryKind::Gelu
        } else if let Some(op) = op.downcast_ref::<tn::gelu_approximate::GeluApproximate>() {
            return self.gelu_by_tanh(node, &value, op.fast_impl);
        } else if op.is::<tm::Tanh>() {
            UnaryKind::Tanh
        } else if op.is::<tm::Erf>() {
            UnaryKind::Erf
        } else if op.is::<tm::Exp>() {
            UnaryKind::Exp
        } else if op.is::<tm::Ln>() {
            UnaryKind::Log
        } else if op.is::<tm::Sqrt>() {
            UnaryKind::Sqrt
        } else if op.is::<tm::Rsqrt>() {
            UnaryKind::Rsqrt
        } else if op.is::<tm::Recip>() {
            UnaryKind::Reciprocal
        } else if op.is::<tm::Abs>() {
            UnaryKind::Abs
        } else if op.is::<tm::Square>() {
            UnaryKind::Square
        } else if op.is::<tm::Neg>() {
            UnaryKind::Affine { a: -1.0, b: 0.0 }
        } else if let Some(op) = op.downcast_ref::<tm::PowConst>() {
            return self.power(node, &value, op.exponent);
        } else {
            return Err("edgeprune has no such function".into());
        };
        Ok(self.map(node, &value, kind))
    }

    /// `x (1 + tanh(z)) / 2 = x sigmoid(2 z)` with `z = sqrt(2 / pi) (x + 0.044715 x^3)`; fast
    /// implementations have a square in place of the cube.
    fn gelu_by_tanh(
        &mut self,
        node: &TypedNode,
        x: &Lowered,
        fast: bool,
    ) -> Result<Lowered, String> {
        let c = 2.0 * (2.0 / std::f32::consts::PI).sqrt();
        let argument = if fast {
            let square = self.map(node, x, UnaryKind::Square);
            let square = self.map(
                node,
                &square,
                UnaryKind::Affine {
                    a: c * 0.044_715,
                    b: 0.0,
                },
            );
            let linear = self.map(node, x, UnaryKind::Affine { a: c, b: 0.0 });
            self.two(node, BinaryKind::Add, &linear, &square)?
        } else {
            let square = self.map(node, x, UnaryKind::Square);
            let factor = self.map(
                node,
                &square,
                UnaryKind::Affine {
                    a: c * 0.044_715,
                    b: c,
                },
            );
            self.two(node, BinaryKind::Mul, x, &factor)?
        };
        let gate = self.map(node, &argument, UnaryKind::Sigmoid);
        self.two(node, BinaryKind::Mul, x, &gate)
    }

    /// The product with a constant.
    pub(super) fn scaled(
        &mut self,
        node: &TypedNode,
        value: &Lowered,
        constant: &Constant,
    ) -> Result<Lowered, String> {
        self.with_constant(node, Arithmetic::Mul, value, constant, false)
    }

    fn power(
        &mut self,
        node: &TypedNode,
        value: &Lowered,
        exponent: f32,
    ) -> Result<Lowered, String> {
        let kind = match exponent {
            2.0 => UnaryKind::Square,
            0.5 => UnaryKind::Sqrt,
            -0.5 => UnaryKind::Rsqrt,
            -1.0 => UnaryKind::Reciprocal,
            1.0 => return Ok(value.clone()),
            3.0 => {
                let square = self.map(node, value, UnaryKind::Square);
                return self.two(node, BinaryKind::Mul, value, &square);
            }
            _ => return Err(format!("power of {exponent}")),
        };
        Ok(self.map(node, value, kind))
    }

    pub(super) fn binary(&mut self, node: &TypedNode, op: &TypedBinOp) -> Result<Lowered, String> {
        let arithmetic = Arithmetic::of(op)?;
        let constants = [0, 1].map(|slot| self.constant(node.inputs[slot]));
        match constants {
            [None, Some(constant)] => {
                let value = self.input(node, 0)?;
                self.with_constant(node, arithmetic, &value, &constant, false)
            }
            [Some(constant), None] => {
                let value = self.input(node, 1)?;
                self.with_constant(node, arithmetic, &value, &constant, true)
            }
            _ => {
                let (a, b) = (self.input(node, 0)?, self.input(node, 1)?);
                self.two_activations(node, arithmetic, &a, &b)
            }
        }
    }

    /// `value op constant`, or `constant op value` if `reversed`.
    fn with_constant(
        &mut self,
        node: &TypedNode,
        op: Arithmetic,
        value: &Lowered,
        constant: &Constant,
        reversed: bool,
    ) -> Result<Lowered, String> {
        if (0..constant.dims.len())
            .any(|i| constant.dims[i] != 1 && constant.dims[i] != value.dim(i))
        {
            return Err("a constant that broadcasts its input".into());
        }
        match (op, constant.uniform(), reversed) {
            (Arithmetic::Max, Some(min), _) => Ok(self.map(
                node,
                value,
                UnaryKind::Clamp {
                    min,
                    max: f32::INFINITY,
                },
            )),
            (Arithmetic::Min, Some(max), _) => Ok(self.map(
                node,
                value,
                UnaryKind::Clamp {
                    min: f32::NEG_INFINITY,
                    max,
                },
            )),
            (Arithmetic::Max | Arithmetic::Min, None, _) => {
                Err("maximum or minimum with a constant per channel".into())
            }
            (Arithmetic::Pow, Some(exponent), false) => self.power(node, value, exponent),
            (Arithmetic::Pow, ..) => Err("power with a varying exponent".into()),
            (Arithmetic::Div, _, true) => {
                let reciprocal = self.map(node, value, UnaryKind::Reciprocal);
                self.affine(node, Arithmetic::Mul, &reciprocal, constant, false)
            }
            _ => self.affine(node, op, value, constant, reversed),
        }
    }

    /// Sum, difference, product or quotient with a constant: `a x + b`, with `a` and `b` for all
    /// elements or for each channel.
    fn affine(
        &mut self,
        node: &TypedNode,
        op: Arithmetic,
        value: &Lowered,
        constant: &Constant,
        reversed: bool,
    ) -> Result<Lowered, String> {
        let coefficients = |c: f32| match (op, reversed) {
            (Arithmetic::Add, _) => Ok((1.0, c)),
            (Arithmetic::Sub, false) => Ok((1.0, -c)),
            (Arithmetic::Sub, true) => Ok((-1.0, c)),
            (Arithmetic::Mul, _) => Ok((c, 0.0)),
            (Arithmetic::Div, false) => Ok((1.0 / c, 0.0)),
            _ => Err("not an affine operation"),
        };
        if let Some(c) = constant.uniform() {
            let (a, b) = coefficients(c)?;
            return Ok(self.map(node, value, UnaryKind::Affine { a, b }));
        }
        let strides = atom_strides(value, &constant.strides());
        let first = strides.iter().position(|&stride| stride > 0).unwrap_or(0);
        let atoms: Vec<usize> = (first..value.atoms.len()).collect();
        let loops: Vec<_> = atoms
            .iter()
            .map(|&atom| (value.atoms[atom], strides[atom]))
            .collect();
        let (weights, bias): (Vec<f32>, Vec<f32>) = constant
            .gather(&loops)
            .into_iter()
            .map(coefficients)
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .unzip();
        let (shape, input) = self.channels(node, value, weights.len());
        let linear = Linear {
            shape: [1, 1, 1, weights.len()],
            weights,
            bias,
            activation: Activation::None,
        };
        let op = Op::DepthwiseConv2d {
            linear,
            window: POINT,
        };
        let tensor = self.builder.node(&node.name, op, vec![input], shape);
        Ok(value.with_tensor(tensor))
    }

    /// The elements of `value`, in their order, with that many channels.
    fn channels(&mut self, node: &TypedNode, value: &Lowered, channels: usize) -> (Shape, usize) {
        let old = self.builder.graph.shape(value.tensor);
        let elements: usize = old.iter().product();
        let shape = if old[3] == channels {
            old
        } else if channels.is_multiple_of(old[3]) && old[2].is_multiple_of(channels / old[3]) {
            [1, old[1], old[2] * old[3] / channels, channels]
        } else {
            [1, 1, elements / channels, channels]
        };
        (
            shape,
            self.builder.reshape_to(value.tensor, shape, &node.name),
        )
    }

    fn two_activations(
        &mut self,
        node: &TypedNode,
        op: Arithmetic,
        a: &Lowered,
        b: &Lowered,
    ) -> Result<Lowered, String> {
        let kind = match op {
            Arithmetic::Add => BinaryKind::Add,
            Arithmetic::Sub => BinaryKind::Sub,
            Arithmetic::Mul => BinaryKind::Mul,
            Arithmetic::Max => BinaryKind::Max,
            Arithmetic::Min => BinaryKind::Min,
            Arithmetic::Div => {
                let reciprocal = self.map(node, b, UnaryKind::Reciprocal);
                return self.two(node, BinaryKind::Mul, a, &reciprocal);
            }
            Arithmetic::Pow => return Err("power of two activations".into()),
        };
        if kind == BinaryKind::Mul && a == b {
            return Ok(self.map(node, a, UnaryKind::Square));
        }
        self.two(node, kind, a, b)
    }

    /// An operator of two activations; the smaller goes second.
    pub(super) fn two(
        &mut self,
        node: &TypedNode,
        kind: BinaryKind,
        a: &Lowered,
        b: &Lowered,
    ) -> Result<Lowered, String> {
        let rank = a.axes.len().min(b.axes.len());
        let broadcasts = |small: &Lowered, large: &Lowered| {
            (0..rank).any(|i| small.dim(i) == 1 && large.dim(i) != 1)
        };
        if broadcasts(a, b) {
            if broadcasts(b, a) {
                return Err("both operands are broadcast".into());
            }
            let swapped = self.two(node, kind, b, a)?;
            return Ok(match kind {
                BinaryKind::Sub => self.map(node, &swapped, UnaryKind::Affine { a: -1.0, b: 0.0 }),
                _ => swapped,
            });
        }
        let (first, second) = self.aligned(node, a, b)?;
        let op = Op::Binary {
            kind,
            activation: Activation::None,
        };
        let tensor = self
            .builder
            .same_shape(&node.name, op, vec![first.tensor, second]);
        Ok(first.with_tensor(tensor))
    }

    /// The two operands with their elements in the same order; `b` may be smaller.
    fn aligned(
        &mut self,
        node: &TypedNode,
        a: &Lowered,
        b: &Lowered,
    ) -> Result<(Lowered, usize), String> {
        let shape = self.builder.graph.shape(a.tensor);
        if a.atoms == b.atoms && a.axes == b.axes && shape == self.builder.graph.shape(b.tensor) {
            return Ok((a.clone(), b.tensor));
        }
        let unit = |axis: &usize| b.dim(*axis) == 1;
        let uniform = |axes: &Vec<usize>| axes.iter().all(unit) || !axes.iter().any(unit);
        if let Some(parts) = a
            .composition(shape)
            .filter(|parts| parts.iter().all(uniform))
        {
            let second =
                self.builder
                    .arrange_axes(b, [&parts[0], &parts[1], &parts[2]], &node.name);
            return Ok((a.clone(), second));
        }
        let parts = runs(a, unit).ok_or("a broadcast over scattered dimensions")?;
        let parts = [parts[0].as_slice(), &parts[1], &parts[2]];
        let first = self.builder.arrange_axes(a, parts, &node.name);
        let second = self.builder.arrange_axes(b, parts, &node.name);
        Ok((reordered(a, &a.atoms_of(&parts.concat()), first), second))
    }
}

/// Splits the non-unit axes into at most three runs that are broadcast or not.
fn runs(a: &Lowered, unit: impl Fn(&usize) -> bool) -> Option<[Vec<usize>; 3]> {
    let axes = (0..a.axes.len()).filter(|&axis| a.dim(axis) != 1);
    let mut runs: Vec<Vec<usize>> = Vec::new();
    for axis in axes {
        match runs.last_mut() {
            Some(run) if unit(&run[0]) == unit(&axis) => run.push(axis),
            _ => runs.push(vec![axis]),
        }
    }
    while runs.len() < 3 {
        runs.insert(0, Vec::new());
    }
    runs.try_into().ok()
}

/// The binary operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arithmetic {
    Add,
    Sub,
    Mul,
    Div,
    Max,
    Min,
    Pow,
}

impl Arithmetic {
    fn of(op: &TypedBinOp) -> Result<Self, String> {
        let op = op.0.as_ref();
        if op.is::<tm::Add>() {
            Ok(Self::Add)
        } else if op.is::<tm::Sub>() {
            Ok(Self::Sub)
        } else if op.is::<tm::Mul>() {
            Ok(Self::Mul)
        } else if op.is::<tm::Div>() {
            Ok(Self::Div)
        } else if op.is::<tm::Max>() {
            Ok(Self::Max)
        } else if op.is::<tm::Min>() {
            Ok(Self::Min)
        } else if op.is::<tm::Pow>() {
            Ok(Self::Pow)
        } else {
            Err(format!("edgeprune has no operator {}", op.name()))
        }
    }
}
