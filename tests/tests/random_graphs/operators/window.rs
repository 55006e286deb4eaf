//! Operators that slide a window: convolutions and pools.

use super::super::generator::Generator;
use super::super::network::{Step, Value};

/// Where the window may begin and end.
#[derive(Clone, Copy, PartialEq)]
enum Padding {
    Explicit,
    SameUpper,
    SameLower,
    Valid,
}

/// A window over some dimensions.
struct Window {
    kernel: Vec<usize>,
    strides: Vec<usize>,
    dilations: Vec<usize>,
    padding: Padding,
    /// Before and after, for explicit padding.
    pads: Vec<[usize; 2]>,
    /// Output sizes are rounded up.
    ceil: bool,
    out: Vec<usize>,
}

impl Window {
    /// A window with dilations and pads as far as `dilated` and `padded` allow; none if it does not
    /// fit anywhere.
    fn random(g: &mut Generator, sizes: &[usize], dilated: bool, ceil: bool) -> Option<Self> {
        let dilated = dilated && g.random.chance(20);
        let padding = match g.random.size(0, 9) {
            0 => Padding::SameUpper,
            1 => Padding::SameLower,
            2 => Padding::Valid,
            _ => Padding::Explicit,
        };
        let mut window = Self {
            kernel: Vec::new(),
            strides: Vec::new(),
            dilations: Vec::new(),
            padding,
            pads: Vec::new(),
            ceil: ceil && padding == Padding::Explicit,
            out: Vec::new(),
        };
        let square = g
            .random
            .chance(60)
            .then(|| (g.random.size(1, 4), g.random.pick(&[1, 1, 2, 3])));
        for &size in sizes {
            let any = (g.random.size(1, 5), g.random.pick(&[1, 1, 2, 2, 3]));
            let (kernel, stride) = square.unwrap_or(any);
            let dilation = if dilated { g.random.size(1, 3) } else { 1 };
            // With `SAME`, ONNX Runtime wants neither dilation nor gaps between windows.
            let (stride, dilation) = match padding {
                Padding::SameUpper | Padding::SameLower => (stride.min(kernel), 1),
                _ => (stride, dilation),
            };
            window.axis(g, size, kernel, stride, dilation)?;
        }
        Some(window)
    }

    fn axis(
        &mut self,
        g: &mut Generator,
        size: usize,
        kernel: usize,
        stride: usize,
        dilation: usize,
    ) -> Option<()> {
        let reach = (kernel - 1) * dilation + 1;
        let most = if kernel > 1 { kernel / 2 } else { 0 };
        let pads = match (self.padding, g.random.chance(50)) {
            (Padding::Explicit, true) => [g.random.size(0, most), g.random.size(0, most)],
            (Padding::Explicit, false) => [most; 2],
            _ => [0; 2],
        };
        let padded = size + pads[0] + pads[1];
        let out = match self.padding {
            Padding::SameUpper | Padding::SameLower => size.div_ceil(stride),
            _ if self.ceil => rounded_up(size, pads, reach, stride)?,
            _ => padded.checked_sub(reach)? / stride + 1,
        };
        self.kernel.push(kernel);
        self.strides.push(stride);
        self.dilations.push(dilation);
        self.pads.push(pads);
        self.out.push(out);
        Some(())
    }

    fn spelled(&self, step: Step) -> Step {
        let ints = |values: &[usize]| {
            values
                .iter()
                .map(|&value| value as i64)
                .collect::<Vec<i64>>()
        };
        let ones = |values: &[usize]| values.iter().all(|&value| value == 1);
        let mut step = step.ints("kernel_shape", ints(&self.kernel));
        if !ones(&self.strides) {
            step = step.ints("strides", ints(&self.strides));
        }
        if !ones(&self.dilations) {
            step = step.ints("dilations", ints(&self.dilations));
        }
        if self.ceil {
            step = step.int("ceil_mode", 1);
        }
        match self.padding {
            Padding::SameUpper => step.text("auto_pad", "SAME_UPPER"),
            Padding::SameLower => step.text("auto_pad", "SAME_LOWER"),
            Padding::Valid => step.text("auto_pad", "VALID"),
            Padding::Explicit if self.pads.concat().iter().all(|&pad| pad == 0) => step,
            Padding::Explicit => {
                let side = |i: usize| self.pads.iter().map(|pads| pads[i]).collect::<Vec<_>>();
                step.ints("pads", ints(&[side(0), side(1)].concat()))
            }
        }
    }
}

/// Windows with the last one rounded up; none if that begins behind the input, where ONNX's shape
/// inference and the runtimes do not agree.
fn rounded_up(size: usize, pads: [usize; 2], reach: usize, stride: usize) -> Option<usize> {
    let out = (size + pads[0] + pads[1])
        .checked_sub(reach)?
        .div_ceil(stride)
        + 1;
    ((out - 1) * stride < size + pads[0]).then_some(out)
}

/// Whether a value is of batch 1 with channels and one or two dimensions to slide over.
fn slides(x: &Value) -> bool {
    matches!(x.rank(), 3 | 4) && x.dims[0] == 1
}

/// A convolution: plain, pointwise, grouped or depthwise.
pub(super) fn convolution(g: &mut Generator, x: &Value) -> Option<Value> {
    if !slides(x) {
        return None;
    }
    let channels = x.dims[1];
    let window = Window::random(g, &x.dims[2..], true, false)?;
    let divisors: Vec<usize> = (2..=channels)
        .filter(|d| channels.is_multiple_of(*d))
        .collect();
    let groups = match g.random.chance(35) && !divisors.is_empty() {
        true => g.random.pick(&divisors),
        false => 1,
    };
    let outputs = groups * g.random.size(1, if groups == 1 { 10 } else { 2 });
    let taps = window.kernel.iter().product::<usize>() * channels / groups;
    let kernel = [&[outputs, channels / groups], window.kernel.as_slice()].concat();
    let weights = g.random.weights(outputs * taps, taps);
    let mut step = Step::new("Conv").value(x).floats(&kernel, weights);
    if g.random.chance(70) {
        step = step.floats(&[outputs], g.random.values(outputs, 0.5));
    }
    if groups > 1 {
        step = step.int("group", groups as i64);
    }
    let dims = [&[1, outputs], window.out.as_slice()].concat();
    Some(g.push(window.spelled(step), dims))
}

/// A maximum or mean over a window.
pub(crate) fn pool(g: &mut Generator, x: &Value) -> Option<Value> {
    if !slides(x) {
        return None;
    }
    let ceil = g.opset() >= 10 && g.random.chance(30);
    let mean = g.random.chance(50);
    let dilated = !mean && g.opset() >= 10;
    let window = Window::random(g, &x.dims[2..], dilated, ceil)?;
    let mut step = Step::new(if mean { "AveragePool" } else { "MaxPool" }).value(x);
    // What the padding of `SAME` counts for is not agreed on among runtimes.
    let counts = matches!(window.padding, Padding::Explicit | Padding::Valid);
    if mean && counts && g.random.chance(50) {
        step = step.int("count_include_pad", 1);
    }
    let dims = [&x.dims[..2], window.out.as_slice()].concat();
    Some(g.push(window.spelled(step), dims))
}

pub(super) fn global_pool(g: &mut Generator, x: &Value) -> Option<Value> {
    if !slides(x) {
        return None;
    }
    let op = g.random.pick(&["GlobalAveragePool", "GlobalMaxPool"]);
    let mut dims = x.dims.clone();
    dims[2..].fill(1);
    Some(g.push(Step::new(op).value(x), dims))
}
