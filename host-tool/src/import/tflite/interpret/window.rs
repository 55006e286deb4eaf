//! Convolutions and poolings over images of batch, height, width, channels.

use super::super::options::Window;
use super::{Operands, Value, check_work, elements};
use rayon::prelude::*;
use std::ops::Range;
use tract_tflite::tflite::BuiltinOperator;

/// Products that are summed in single precision before they are added in double precision.
const BLOCK: usize = 32;

/// How a window slides along one axis.
#[derive(Clone, Copy)]
struct Slide {
    size: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    pad: usize,
    out: usize,
}

impl Slide {
    fn new(size: usize, kernel: usize, window: &Window, axis: usize) -> Result<Self, String> {
        let (stride, dilation) = (window.stride[axis], window.dilation[axis]);
        let reach = kernel.checked_sub(1).and_then(|n| n.checked_mul(dilation));
        let reach = reach.filter(|&reach| reach < 1 << 31);
        let reach = reach.ok_or_else(|| format!("a window of {kernel} elements"))?;
        let (out, pad) = if window.same {
            let out = size.div_ceil(stride);
            let covered = out.saturating_sub(1) * stride + reach + 1;
            (out, covered.saturating_sub(size) / 2)
        } else if size > reach {
            ((size - reach - 1) / stride + 1, 0)
        } else {
            return Err(format!("a window of {} over {size} elements", reach + 1));
        };
        Ok(Self {
            size,
            kernel,
            stride,
            dilation,
            pad,
            out,
        })
    }

    /// The taps that lie inside the input at an output position, and where the first one is.
    fn taps(&self, at: usize) -> Range<usize> {
        let start = at * self.stride;
        let first = self.pad.saturating_sub(start).div_ceil(self.dilation);
        let room = (self.size + self.pad).saturating_sub(start);
        first..room.div_ceil(self.dilation).min(self.kernel).max(first)
    }

    /// The input position of a tap that lies inside.
    fn source(&self, at: usize, tap: usize) -> usize {
        at * self.stride + tap * self.dilation - self.pad
    }
}

/// The two slides of a window, and the image that they go over.
struct Plane {
    slides: [Slide; 2],
    batch: usize,
    channels: usize,
}

impl Plane {
    fn new(input: &Value, kernel: [usize; 2], window: &Window) -> Result<Self, String> {
        let [batch, height, width, channels] = input.image()?;
        Ok(Self {
            slides: [
                Slide::new(height, kernel[0], window, 0)?,
                Slide::new(width, kernel[1], window, 1)?,
            ],
            batch,
            channels,
        })
    }

    /// Computes the output pixel by pixel. `pixel` gets the taps inside the image, each as its
    /// number in the kernel and the input's channels there.
    fn run(
        &self,
        input: &Value,
        channels: usize,
        pixel: impl Fn(&mut dyn Iterator<Item = (usize, &[f32])>, &mut [f32]) + Sync,
    ) -> Result<Value, String> {
        let [vertical, horizontal] = self.slides;
        let dims = vec![self.batch, vertical.out, horizontal.out, channels];
        let mut data = vec![0.0; elements(&dims)?];
        let row = (horizontal.out * channels).max(1);
        data.par_chunks_mut(row)
            .enumerate()
            .for_each(|(index, row)| {
                let (n, y) = (index / vertical.out, index % vertical.out);
                for (x, out) in row.chunks_mut(channels.max(1)).enumerate() {
                    let mut taps = vertical.taps(y).flat_map(|i| {
                        let line = n * vertical.size + vertical.source(y, i);
                        horizontal.taps(x).map(move |j| {
                            let at = line * horizontal.size + horizontal.source(x, j);
                            let at = at * self.channels;
                            let tap = i * horizontal.kernel + j;
                            (tap, &input.data[at..at + self.channels])
                        })
                    });
                    pixel(&mut taps, out);
                }
            });
        Ok(Value::new(dims, data))
    }
}

/// A bias, or zeros.
fn bias(inputs: &Operands<'_>, outputs: usize) -> Result<Vec<f32>, String> {
    let bias = inputs.optional(2).map(|bias| bias.data.clone());
    let bias = bias.unwrap_or_else(|| vec![0.0; outputs]);
    match bias.len() == outputs {
        true => Ok(bias),
        false => Err(format!("{} biases for {outputs} outputs", bias.len())),
    }
}

/// Kernel `[out, h, w, in]`. Where the input has several times the kernel's channels, that is the
/// number of groups.
pub(super) fn convolution(inputs: &Operands<'_>, window: &Window) -> Result<Value, String> {
    let (input, kernel) = (inputs.get(0)?, inputs.get(1)?);
    let [outputs, height, width, depth] = kernel.image()?;
    let plane = Plane::new(input, [height, width], window)?;
    let channels = plane.channels;
    let groups = channels.checked_div(depth).unwrap_or(0);
    if groups == 0 || groups * depth != channels || outputs == 0 || outputs % groups != 0 {
        let dims = &kernel.dims;
        return Err(format!("a kernel of {dims:?} over {channels} channels"));
    }
    let bias = bias(inputs, outputs)?;
    let pixels = plane.slides.map(|slide| slide.out);
    check_work(&[plane.batch, pixels[0], pixels[1], kernel.data.len()])?;
    let (taps, per_group) = (height * width, outputs / groups);
    let weights = by_tap(kernel, groups, taps, depth);
    plane.run(input, outputs, |inside, out| {
        let mut sums: Vec<f64> = bias.iter().map(|&b| f64::from(b)).collect();
        let mut block = vec![0f32; per_group];
        for (tap, pixel) in inside {
            for (group, sums) in sums.chunks_mut(per_group).enumerate() {
                let weights = &weights[(group * taps + tap) * depth * per_group..];
                let pixel = &pixel[group * depth..(group + 1) * depth];
                accumulate(pixel, weights, &mut block, sums);
            }
        }
        out.iter_mut()
            .zip(&sums)
            .for_each(|(out, &sum)| *out = sum as f32);
    })
}

/// Adds the products of a pixel with `weights`, `[in, out]`, to the sums of the outputs.
fn accumulate(pixel: &[f32], weights: &[f32], block: &mut [f32], sums: &mut [f64]) {
    let rows = weights.chunks_exact(sums.len());
    let pairs: Vec<(f32, &[f32])> = pixel.iter().copied().zip(rows).collect();
    for pairs in pairs.chunks(BLOCK) {
        block.fill(0.0);
        for (x, row) in pairs {
            block
                .iter_mut()
                .zip(*row)
                .for_each(|(sum, w)| *sum += x * w);
        }
        sums.iter_mut()
            .zip(&*block)
            .for_each(|(sum, &part)| *sum += f64::from(part));
    }
}

/// `[out, tap, in]` to `[group, tap, in, out of the group]`.
fn by_tap(kernel: &Value, groups: usize, taps: usize, depth: usize) -> Vec<f32> {
    let outputs = kernel.dims[0] / groups;
    let mut weights = vec![0.0; kernel.data.len()];
    for (index, &w) in kernel.data.iter().enumerate() {
        let (output, place) = (index / (taps * depth), index % (taps * depth));
        let (group, output) = (output / outputs, output % outputs);
        weights[(group * taps * depth + place) * outputs + output] = w;
    }
    weights
}

/// Kernel `[1, h, w, out]`; each input channel has the same number of outputs.
pub(super) fn depthwise(inputs: &Operands<'_>, window: &Window) -> Result<Value, String> {
    let (input, kernel) = (inputs.get(0)?, inputs.get(1)?);
    let [one, height, width, outputs] = kernel.image()?;
    let plane = Plane::new(input, [height, width], window)?;
    let channels = plane.channels;
    let multiplier = outputs.checked_div(channels).unwrap_or(0);
    if one != 1 || multiplier == 0 || multiplier * channels != outputs {
        let dims = &kernel.dims;
        return Err(format!(
            "a depthwise kernel of {dims:?} over {channels} channels"
        ));
    }
    let bias = bias(inputs, outputs)?;
    let pixels = plane.slides.map(|slide| slide.out);
    check_work(&[plane.batch, pixels[0], pixels[1], kernel.data.len()])?;
    plane.run(input, outputs, |inside, out| {
        let mut sums: Vec<f64> = bias.iter().map(|&b| f64::from(b)).collect();
        for (tap, pixel) in inside {
            let weights = &kernel.data[tap * outputs..(tap + 1) * outputs];
            for (output, (sum, w)) in sums.iter_mut().zip(weights).enumerate() {
                *sum += f64::from(pixel[output / multiplier]) * f64::from(*w);
            }
        }
        out.iter_mut()
            .zip(&sums)
            .for_each(|(out, &sum)| *out = sum as f32);
    })
}

/// The greatest or the average element of each window; padding does not count.
pub(super) fn pool(input: &Value, kind: BuiltinOperator, window: &Window) -> Result<Value, String> {
    let plane = Plane::new(input, window.size, window)?;
    let [vertical, horizontal] = plane.slides;
    let inside = [vertical, horizontal].map(|slide| slide.kernel.min(slide.size));
    let outputs = plane.batch * vertical.out * horizontal.out;
    check_work(&[outputs, inside[0], inside[1], plane.channels])?;
    let average = kind == BuiltinOperator::AVERAGE_POOL_2D;
    let start = if average { 0.0 } else { f64::NEG_INFINITY };
    plane.run(input, plane.channels, |inside, out| {
        let mut results = vec![start; out.len()];
        let mut count = 0;
        for (_, pixel) in inside {
            count += 1;
            for (result, &x) in results.iter_mut().zip(pixel) {
                let x = f64::from(x);
                *result = if average { *result + x } else { result.max(x) };
            }
        }
        let divisor = if average { f64::from(count) } else { 1.0 };
        let results = results.iter().map(|result| (result / divisor) as f32);
        out.iter_mut()
            .zip(results)
            .for_each(|(out, result)| *out = result);
    })
}
