//! Poolings and the global mean.

use crate::graph::patches::inside;
use crate::graph::{Shape, Window};
use pulp::Arch;

pub(super) fn max_pool_2d(window: Window, input: (&[f32], Shape), output: (&mut [f32], Shape)) {
    pool(window, input, output, |out, rows, _| {
        out.fill(f32::NEG_INFINITY);
        for row in rows {
            for (o, x) in out.iter_mut().zip(row) {
                *o = o.max(*x);
            }
        }
    });
}

pub(super) fn average_pool_2d(
    window: Window,
    count_include_pad: bool,
    input: (&[f32], Shape),
    output: (&mut [f32], Shape),
) {
    let [kh, kw] = window.kernel.map(usize::from);
    pool(window, input, output, |out, rows, taps| {
        let count = if count_include_pad { kh * kw } else { taps };
        out.fill(0.0);
        for row in rows {
            for (o, x) in out.iter_mut().zip(row) {
                *o += x;
            }
        }
        let scale = 1.0 / count.max(1) as f32;
        out.iter_mut().for_each(|o| *o *= scale);
    });
}

/// Calls `reduce` with each output pixel, the input pixels of its window and their number.
fn pool(
    window: Window,
    (input, [_, height, width, channels]): (&[f32], Shape),
    (output, out_shape): (&mut [f32], Shape),
    reduce: impl Fn(&mut [f32], &mut dyn Iterator<Item = &[f32]>, usize),
) {
    let [kh, kw] = window.kernel.map(usize::from);
    let [dy, dx] = window.dilation.map(usize::from);
    for (position, out) in output.chunks_exact_mut(channels).enumerate() {
        let (y, x) = (position / out_shape[2], position % out_shape[2]);
        let top = (y * usize::from(window.stride[0])) as isize - window.pad[0] as isize;
        let left = (x * usize::from(window.stride[1])) as isize - window.pad[1] as isize;
        let (down, across) = (inside(top, kh, dy, height), inside(left, kw, dx, width));
        let taps = down.len() * across.len();
        let mut rows = down.flat_map(|ky| {
            across.clone().map(move |kx| {
                let row = (top + (ky * dy) as isize) as usize;
                let column = (left + (kx * dx) as isize) as usize;
                &input[(row * width + column) * channels..][..channels]
            })
        });
        reduce(out, &mut rows, taps);
    }
}

pub(super) fn mean(input: &[f32], [_, height, width, channels]: Shape, output: &mut [f32]) {
    Arch::new().dispatch(|| {
        output.fill(0.0);
        for row in input.chunks_exact(channels.max(1)) {
            for (o, x) in output.iter_mut().zip(row) {
                *o += x;
            }
        }
        let scale = 1.0 / (height * width).max(1) as f32;
        output.iter_mut().for_each(|o| *o *= scale);
    });
}
