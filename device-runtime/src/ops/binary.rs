//! Element-wise operators of two activations, the second broadcast. In integers each operand
//! counts in steps of the output: `f32(a - za) * (sa / so)`; a product is
//! `f32((a - za) * (b - zb)) * ((sa * sb) / so)`.

use super::bounds::{chunks, chunks_mut, row_and_column};
use super::{
    Activation, Checked, Context, Element, Memory, Region, Work, codes, codes_mut, words, words_mut,
};
use crate::kernels::{BinaryCodes, KernelName, Shape, Table, portable::each};
use crate::quantize::{Codes, clamp, multiplier};
use edgeprune_format::manifest::{self, BinaryKind};

/// What an element costs, in products of an integer convolution.
const COST: u64 = 32;
/// Elements of the first operand that are computed at once with the same element of the second.
const SAME: usize = 64;

/// Computes a slice of the output from slices of the operands that are as long.
type Row<'r, T> = &'r dyn Fn(&[T], &[T], &mut [T]);

#[derive(Clone, Debug)]
pub(crate) struct Binary {
    kind: BinaryKind,
    operands: [Region; 2],
    /// Height, width, channels of the output and of the second operand.
    shape: [usize; 3],
    second: [usize; 3],
    arithmetic: Arithmetic,
}

#[derive(Clone, Debug)]
enum Arithmetic {
    Integer { operands: BinaryCodes, product: f32 },
    Float { min: f32, max: f32 },
}

impl Binary {
    pub(crate) fn prepare(
        cx: &Context<'_, '_>,
        kind: BinaryKind,
        activation: manifest::Activation,
    ) -> Checked<Self> {
        let ([a, b], output) = (cx.two_inputs()?, cx.output()?);
        if a.shape != output.shape {
            return Err("the first operand has not the output's shape");
        }
        if b.shape.iter().zip(a.shape).any(|(&b, a)| b != a && b != 1) {
            return Err("the second operand cannot be broadcast to the first");
        }
        Ok(Self {
            kind,
            operands: [a.region, b.region],
            shape: output.shape,
            second: b.shape,
            arithmetic: arithmetic(kind, [&a, &b], &output, activation)?,
        })
    }

    /// The kernel of a set that runs this, if that has one of its own.
    pub(crate) fn kernel(&self, table: &Table) -> Option<KernelName> {
        match (self.kind, &self.arithmetic) {
            (BinaryKind::Add, Arithmetic::Integer { .. }) => {
                Some(table.kernel("qs8", "vadd", Shape::Plain))
            }
            (BinaryKind::Sub, Arithmetic::Integer { .. }) => {
                Some(table.kernel("qs8", "vsub", Shape::Plain))
            }
            _ => None,
        }
    }

    pub(crate) fn work(&self) -> Work {
        Work::of_positions(self.shape, COST)
    }

    pub(crate) fn run(&self, memory: &mut Memory<'_>) -> Option<()> {
        let [a, b] = [
            memory.input(self.operands[0])?,
            memory.input(self.operands[1])?,
        ];
        let first = memory.pieces.start;
        match &self.arithmetic {
            Arithmetic::Integer { operands, product } => {
                let add = memory.kernels.table().add_i8;
                let (a, b, out) = (codes(a), codes(b), codes_mut(memory.output));
                let [ma, mb] = operands.multipliers;
                let [za, zb] = operands.zero_points.map(i32::from);
                let range = operands.codes;
                let left = move |a: i8| (i32::from(a) - za) as f32 * ma;
                let right = move |b: i8| (i32::from(b) - zb) as f32 * mb;
                match self.kind {
                    BinaryKind::Add | BinaryKind::Sub => {
                        self.rows(first, a, b, out, &|a, b, out| add(a, b, operands, out))
                    }
                    BinaryKind::Mul => self.elements(first, a, b, out, |a, b| {
                        let steps = (i32::from(a) - za) * (i32::from(b) - zb);
                        range.round(steps as f32 * product)
                    }),
                    BinaryKind::Max | BinaryKind::Min => {
                        let sign = self.sign();
                        self.elements(first, a, b, out, |a, b| {
                            range.round(greater(sign, left(a), right(b)))
                        })
                    }
                }
            }
            &Arithmetic::Float { min: lo, max: hi } => {
                let (a, b) = (words::<f32>(a)?, words::<f32>(b)?);
                let out = words_mut::<f32>(memory.output)?;
                match self.kind {
                    BinaryKind::Add => self.elements(first, a, b, out, |a, b| clamp(a + b, lo, hi)),
                    BinaryKind::Sub => self.elements(first, a, b, out, |a, b| clamp(a - b, lo, hi)),
                    BinaryKind::Mul => self.elements(first, a, b, out, |a, b| clamp(a * b, lo, hi)),
                    BinaryKind::Max | BinaryKind::Min => {
                        let sign = self.sign();
                        self.elements(first, a, b, out, |a, b| clamp(greater(sign, a, b), lo, hi))
                    }
                }
            }
        }
    }

    /// What operands are multiplied with to compare them.
    fn sign(&self) -> f32 {
        match self.kind {
            BinaryKind::Min => -1.0,
            _ => 1.0,
        }
    }

    fn elements<T: Copy>(
        &self,
        first: usize,
        a: &[T],
        b: &[T],
        out: &mut [T],
        f: impl Fn(T, T) -> T,
    ) -> Option<()> {
        self.rows(first, a, b, out, &|a, b, out| each(a, b, out, &f))
    }

    /// Calls `row` with slices of one length of the operands and of the output, from position `first` on.
    fn rows<T: Copy>(
        &self,
        first: usize,
        a: &[T],
        b: &[T],
        out: &mut [T],
        row: Row<'_, T>,
    ) -> Option<()> {
        let [_, width, channels] = self.shape;
        let from = first * channels;
        let a = a.get(from..from + out.len())?;
        if self.second == self.shape {
            row(a, b.get(from..from + out.len())?, out);
            return Some(());
        }
        let [second_height, second_width, second_channels] = self.second;
        let rows = chunks_mut(out, channels)?.zip(chunks(a, channels)?);
        for (position, (out, a)) in (first..).zip(rows) {
            let (y, x) = row_and_column(position, width)?;
            let (y, x) = (y.min(second_height - 1), x.min(second_width - 1));
            let at = (y * second_width + x) * second_channels;
            let b = b.get(at..)?.get(..second_channels)?;
            match *b {
                [b] => {
                    let b = [b; SAME];
                    for (out, a) in out.chunks_mut(SAME).zip(a.chunks(SAME)) {
                        row(a, b.get(..a.len())?, out);
                    }
                }
                _ => row(a, b, out),
            }
        }
        Some(())
    }
}

fn arithmetic(
    kind: BinaryKind,
    [a, b]: [&Activation; 2],
    output: &Activation,
    activation: manifest::Activation,
) -> Checked<Arithmetic> {
    let (min, max) = activation.bounds();
    let ordered = min <= max;
    if !ordered {
        return Err("an activation whose bounds are not in order");
    }
    match (a.element, b.element, output.element) {
        (
            Element::I8 {
                scale: sa,
                zero_point: za,
            },
            Element::I8 {
                scale: sb,
                zero_point: zb,
            },
            Element::I8 { scale, zero_point },
        ) => {
            let (ma, mb) = (sa / scale, sb / scale);
            let product = multiplier(sa, sb, scale);
            if !(ma.is_finite() && mb.is_finite() && product.is_finite()) {
                return Err("scales whose ratio overflows");
            }
            let mb = if kind == BinaryKind::Sub { -mb } else { mb };
            Ok(Arithmetic::Integer {
                operands: BinaryCodes {
                    zero_points: [za, zb],
                    multipliers: [ma, mb],
                    codes: Codes::of(activation, scale, zero_point),
                },
                product,
            })
        }
        (Element::F32, Element::F32, Element::F32) => Ok(Arithmetic::Float { min, max }),
        _ => Err("both operands and the output have the same element type"),
    }
}

/// That of which `sign` times is greater: with -1, the lesser. The second where one is not a number.
#[inline(always)]
fn greater(sign: f32, a: f32, b: f32) -> f32 {
    if sign * a > sign * b { a } else { b }
}
