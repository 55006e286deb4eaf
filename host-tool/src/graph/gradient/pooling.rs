//! Poolings and the global mean.

use crate::graph::patches::inside;
use crate::graph::{Shape, Window};
use pulp::Arch;

/// `winners` are the input and the output: each window's first element that equals the output gets
/// the gradient.
pub(super) fn max_pool_2d(
    window: Window,
    (input, output): (&[f32], &[f32]),
    gradient: (&[f32], Shape),
    (into, shape): (&mut [f32], Shape),
) {
    let channels = shape[3];
    let mut left = vec![0.0f32; channels];
    Arch::new().dispatch(|| {
        pool(window, gradient, shape, |position, g, _, pixels| {
            left.copy_from_slice(g);
            let best = &output[position * channels..][..channels];
            for pixel in pixels {
                let row = pixel * channels..(pixel + 1) * channels;
                let target = into[row.clone()].iter_mut().zip(&input[row]);
                for (((t, x), best), g) in target.zip(best).zip(&mut left) {
                    let won = if x == best { *g } else { 0.0 };
                    *t += won;
                    *g -= won;
                }
            }
        });
    });
}

pub(super) fn average_pool_2d(
    window: Window,
    count_include_pad: bool,
    gradient: (&[f32], Shape),
    (into, shape): (&mut [f32], Shape),
) {
    let size: usize = window.kernel.map(usize::from).iter().product();
    let channels = shape[3];
    Arch::new().dispatch(|| {
        pool(window, gradient, shape, |_, g, taps, pixels| {
            let count = if count_include_pad { size } else { taps };
            let scale = 1.0 / count.max(1) as f32;
            for pixel in pixels {
                let target = into[pixel * channels..][..channels].iter_mut();
                target.zip(g).for_each(|(t, g)| *t += g * scale);
            }
        });
    });
}

/// Calls `spread` with each output position, its gradient, the number of input pixels in its window
/// and these pixels.
#[inline(always)]
fn pool(
    window: Window,
    (gradient, out_shape): (&[f32], Shape),
    [_, height, width, channels]: Shape,
    mut spread: impl FnMut(usize, &[f32], usize, &mut dyn Iterator<Item = usize>),
) {
    let [kh, kw] = window.kernel.map(usize::from);
    let [dy, dx] = window.dilation.map(usize::from);
    for (position, g) in gradient.chunks_exact(channels).enumerate() {
        let (y, x) = (position / out_shape[2], position % out_shape[2]);
        let top = (y * usize::from(window.stride[0])) as isize - window.pad[0] as isize;
        let left = (x * usize::from(window.stride[1])) as isize - window.pad[1] as isize;
        let (down, across) = (inside(top, kh, dy, height), inside(left, kw, dx, width));
        let taps = down.len() * across.len();
        let mut pixels = down.flat_map(|ky| {
            across.clone().map(move |kx| {
                let row = (top + (ky * dy) as isize) as usize;
                row * width + (left + (kx * dx) as isize) as usize
            })
        });
        spread(position, g, taps, &mut pixels);
    }
}

pub(super) fn mean(gradient: &[f32], into: &mut [f32], [_, height, width, channels]: Shape) {
    let scale = 1.0 / (height * width).max(1) as f32;
    for row in into.chunks_exact_mut(channels.max(1)) {
        row.iter_mut()
            .zip(gradient)
            .for_each(|(t, g)| *t += g * scale);
    }
}
