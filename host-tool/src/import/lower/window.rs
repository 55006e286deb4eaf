//! Operators that slide a window: convolutions and poolings.

use super::Lowering;
use super::layout::Lowered;
use crate::graph::{Op, UnaryKind, Window};
use crate::import::reach::{reach, reads_everywhere, reads_something};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::cnn::{MaxPool, PaddingSpec, PoolSpec, SumPool};

/// Where a window slides.
pub(super) struct Spatial {
    pub(super) window: Window,
    /// tract's axes of height, width and channels.
    axes: [Option<usize>; 3],
    /// Height and width of the output.
    out: [usize; 2],
    /// Height and width of the input.
    size: [usize; 2],
}

impl Lowering<'_> {
    /// Reads a pool specification for an input. One spatial dimension is the width.
    pub(super) fn spatial(&self, spec: &PoolSpec, value: &Lowered) -> Result<Spatial, String> {
        let dims = value.dims();
        let shape = spec
            .data_format
            .shape(dims.as_slice())
            .map_err(|error| error.to_string())?;
        let hw: Vec<usize> = shape.hw_axes().collect();
        let padding = spec.computed_padding(shape.hw_dims());
        if hw.len() > 2 {
            return Err("a window over more than two dimensions".into());
        }
        if spec.kernel_shape.contains(&0) {
            return Err("a kernel with a dimension of 0".into());
        }
        if shape.n_axis().is_some_and(|axis| dims[axis] != 1) {
            return Err("a batch other than 1: export the network with batch 1".into());
        }
        let missing = 2 - hw.len();
        let mut spatial = Spatial {
            window: crate::graph::POINT,
            axes: [None, None, Some(shape.c_axis())],
            out: [1, 1],
            size: [1, 1],
        };
        for (from, to) in (missing..2).enumerate() {
            spatial.axes[to] = Some(hw[from]);
            spatial.size[to] = dims[hw[from]];
            spatial.out[to] = padding[from].convoluted;
            spatial.window.kernel[to] = narrow(spec.kernel_shape[from])?;
            spatial.window.stride[to] = narrow(spec.stride(from))?;
            spatial.window.dilation[to] = narrow(spec.dilation(from))?;
            spatial.window.pad[to] = narrow(padding[from].pad_before)?;
        }
        Ok(spatial)
    }

    /// Appends a node that slides a window over `value`.
    pub(super) fn windowed(
        &mut self,
        node: &TypedNode,
        spatial: &Spatial,
        value: &Lowered,
        op: Op,
        channels: usize,
    ) -> Lowered {
        let parts = spatial
            .axes
            .map(|axis| axis.into_iter().collect::<Vec<_>>());
        let input = self
            .builder
            .arrange_axes(value, [&parts[0], &parts[1], &parts[2]], &node.name);
        let shape = match op {
            Op::Mean => [1, 1, 1, channels],
            _ => [1, spatial.out[0], spatial.out[1], channels],
        };
        let tensor = self.builder.node(&node.name, op, vec![input], shape);
        let mut dims = vec![1; value.axes.len()];
        for (axis, size) in spatial.axes.iter().zip(&shape[1..]) {
            if let Some(axis) = *axis {
                dims[axis] = *size;
            }
        }
        Lowered::ordered(
            tensor,
            &dims,
            &spatial.axes.iter().flatten().copied().collect::<Vec<_>>(),
        )
    }

    pub(super) fn max_pool(&mut self, node: &TypedNode, op: &MaxPool) -> Result<Lowered, String> {
        let value = self.input(node, 0)?;
        let spatial = self.spatial(&op.pool_spec, &value)?;
        spatial.check_taps()?;
        let window = spatial.window;
        Ok(self.windowed(
            node,
            &spatial,
            &value,
            Op::MaxPool2d { window },
            op.pool_spec.output_channels,
        ))
    }

    pub(super) fn sum_pool(&mut self, node: &TypedNode, op: &SumPool) -> Result<Lowered, String> {
        let mut value = self.input(node, 0)?;
        let mut spatial = self.spatial(&op.pool_spec, &value)?;
        let mut include = op.count_include_pad || !op.normalize;
        let overhang = spatial.overhang(&op.pool_spec.padding);
        if let (true, true, Some(pads)) = (op.count_include_pad, op.normalize, overhang) {
            // What a window has beyond the padding does not count: once the padding is a part of
            // the tensor, only that is left out.
            value = self.padded(node, &value, &spatial.pads(&pads, value.axes.len()), 0.0)?;
            spatial.window.pad = [0, 0];
            (0..2).for_each(|i| spatial.size[i] += pads[i].0 + pads[i].1);
            include = false;
        }
        if !include {
            spatial.check_taps()?;
        }
        let kernel = spatial.window.kernel.map(usize::from);
        let whole = spatial.out == [1, 1] && kernel == spatial.size && spatial.window.pad == [0, 0];
        let pool = if whole {
            Op::Mean
        } else {
            Op::AveragePool2d {
                window: spatial.window,
                count_include_pad: include,
            }
        };
        let pooled = self.windowed(node, &spatial, &value, pool, op.pool_spec.output_channels);
        if op.normalize {
            return Ok(pooled);
        }
        let a = (kernel[0] * kernel[1]) as f32;
        let kind = UnaryKind::Affine { a, b: 0.0 };
        let sum = self
            .builder
            .same_shape(&node.name, Op::Unary { kind }, vec![pooled.tensor]);
        Ok(pooled.with_tensor(sum))
    }
}

impl Spatial {
    /// The explicit padding of height and width (before, after), if a window reaches beyond it.
    fn overhang(&self, padding: &PaddingSpec) -> Option<[(usize, usize); 2]> {
        let PaddingSpec::ExplicitOnnxPool(before, after, true) = padding else {
            return None;
        };
        let mut pads = [(0, 0); 2];
        let explicit = before.iter().copied().zip(after.iter().copied());
        for (pad, explicit) in pads.iter_mut().rev().zip(explicit.rev()) {
            *pad = explicit;
        }
        let beyond = |i: usize| {
            let reached = reach(&self.window, i, self.out[i]);
            reached > self.size[i] + pads[i].0 + pads[i].1
        };
        (beyond(0) || beyond(1)).then_some(pads)
    }

    /// The greatest of nothing, or its mean, is undefined.
    fn check_taps(&self) -> Result<(), String> {
        match reads_something(&self.window, self.size, self.out) {
            true => Ok(()),
            false => Err("a window that reads nothing but padding: pad by less".into()),
        }
    }

    /// Takes the padding (before, after) out of a window that lies wholly in it at some place:
    /// kernels expect that every window reads an element.
    pub(super) fn take_excess_padding(&mut self) -> Option<[(usize, usize); 2]> {
        if reads_everywhere(&self.window, self.size, self.out) {
            return None;
        }
        let pads = [0, 1].map(|i| {
            let before = usize::from(self.window.pad[i]);
            let reached = reach(&self.window, i, self.out[i]);
            (before, reached.saturating_sub(self.size[i] + before))
        });
        (0..2).for_each(|i| self.size[i] += pads[i].0 + pads[i].1);
        self.window.pad = [0, 0];
        Some(pads)
    }

    /// Padding of height and width as padding of tract's axes.
    pub(super) fn pads(&self, pads: &[(usize, usize); 2], rank: usize) -> Vec<(usize, usize)> {
        let mut out = vec![(0, 0); rank];
        for (axis, &pad) in self.axes.iter().zip(pads) {
            if let Some(axis) = *axis {
                out[axis] = pad;
            }
        }
        out
    }
}

/// # Errors
/// If a size, stride, dilation or padding of a window does not fit a package.
fn narrow(value: usize) -> Result<u16, String> {
    // tract keeps negative padding in two's complement.
    if value > isize::MAX as usize {
        return Err("negative padding of a window: cut with a Slice before it".into());
    }
    u16::try_from(value).map_err(|_| {
        format!(
            "a window with {value} elements, strides or padding (at most {})",
            u16::MAX
        )
    })
}
