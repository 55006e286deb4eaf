//! Operators that move elements: each gradient goes back to where its element came from.

use crate::graph::{ResizeCoordinates, ResizeKind, Shape, resize_taps};

pub(super) fn concat(
    axis: usize,
    shapes: &[Shape],
    gradient: &[f32],
    (operand, into): (usize, &mut [f32]),
) {
    let run = |shape: &Shape| shape[axis..].iter().product::<usize>();
    let total: usize = shapes.iter().map(run).sum();
    let before: usize = shapes[..operand].iter().map(run).sum();
    let length = run(&shapes[operand]).max(1);
    let rows = gradient.chunks_exact(total.max(1));
    for (out, row) in into.chunks_exact_mut(length).zip(rows) {
        super::add(out, &row[before..][..length]);
    }
}

pub(super) fn pad(
    before: [usize; 3],
    (gradient, out_shape): (&[f32], Shape),
    (into, [_, _, width, channels]): (&mut [f32], Shape),
) {
    for (pixel, out) in into.chunks_exact_mut(channels).enumerate() {
        let (y, x) = (pixel / width + before[0], pixel % width + before[1]);
        let from = (y * out_shape[2] + x) * out_shape[3] + before[2];
        super::add(out, &gradient[from..][..channels]);
    }
}

pub(super) fn slice(
    start: [usize; 3],
    step: [usize; 3],
    (gradient, [_, _, out_width, out_channels]): (&[f32], Shape),
    (into, [_, _, width, channels]): (&mut [f32], Shape),
) {
    for (pixel, row) in gradient.chunks_exact(out_channels).enumerate() {
        let y = start[0] + pixel / out_width * step[0];
        let x = start[1] + pixel % out_width * step[1];
        let to = (y * width + x) * channels + start[2];
        for (c, g) in row.iter().enumerate() {
            into[to + c * step[2]] += g;
        }
    }
}

pub(super) fn transpose(perm: [usize; 4], gradient: &[f32], (into, shape): (&mut [f32], Shape)) {
    let strides = [
        shape[1] * shape[2] * shape[3],
        shape[2] * shape[3],
        shape[3],
        1,
    ];
    let [_, _, width, channels] = perm.map(|axis| shape[axis]);
    let [_, down, across, along] = perm.map(|axis| strides[axis]);
    for (pixel, row) in gradient.chunks_exact(channels).enumerate() {
        let to = pixel / width * down + pixel % width * across;
        for (c, g) in row.iter().enumerate() {
            into[to + c * along] += g;
        }
    }
}

pub(super) fn resize(
    kind: ResizeKind,
    coordinates: ResizeCoordinates,
    (gradient, [_, out_height, out_width, _]): (&[f32], Shape),
    (into, [_, height, width, channels]): (&mut [f32], Shape),
) {
    let rows = resize_taps(kind, coordinates, 0, [height, out_height]);
    let columns = resize_taps(kind, coordinates, 1, [width, out_width]);
    let mut pixels = gradient.chunks_exact(channels);
    for &(y0, y1, fy) in &rows {
        for (&(x0, x1, fx), g) in columns.iter().zip(&mut pixels) {
            let corners = [
                (y0, x0, (1.0 - fy) * (1.0 - fx)),
                (y0, x1, (1.0 - fy) * fx),
                (y1, x0, fy * (1.0 - fx)),
                (y1, x1, fy * fx),
            ];
            for (y, x, weight) in corners.into_iter().filter(|corner| corner.2 != 0.0) {
                let target = into[(y * width + x) * channels..][..channels].iter_mut();
                target.zip(g).for_each(|(t, g)| *t += g * weight);
            }
        }
    }
}
