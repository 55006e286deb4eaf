//! Convolutions and fully connected layers: the transposes of im2col and of the matrix product.

use super::matmul::{matrix, multiply};
use crate::graph::{Graph, Linear, Node, Op, Patches};
use faer::Accum;
use pulp::Arch;

/// Elements of a block of patches that is computed at once: small enough for a second-level cache.
const BLOCK: usize = 1 << 16;
/// Rows of a block of patches, at least: each block packs the weights again.
const BLOCK_ROWS: usize = 128;

pub(super) fn conv_2d(
    linear: &Linear,
    patches: Patches,
    channels: usize,
    gradient: &[f32],
    into: &mut [f32],
) {
    if patches.is_input() {
        return products(
            linear,
            patches.groups(),
            channels,
            gradient,
            (into, Accum::Add),
        );
    }
    let (columns, depth) = (linear.shape[0], patches.full_len());
    let rows = block_rows(&patches);
    let mut block = vec![0.0; rows * depth];
    for (index, part) in gradient.chunks(rows * columns).enumerate() {
        let count = part.len() / columns;
        let block = &mut block[..count * depth];
        products(
            linear,
            patches.groups(),
            channels,
            part,
            (block, Accum::Replace),
        );
        Arch::new().dispatch(|| {
            for (row, patch) in block.chunks_exact(depth).enumerate() {
                patches.add_full_row(patch, index * rows + row, into);
            }
        });
    }
}

fn block_rows(patches: &Patches) -> usize {
    (BLOCK / patches.full_len().max(1))
        .max(BLOCK_ROWS)
        .min(patches.positions().max(1))
}

pub(super) fn fully_connected(linear: &Linear, gradient: &[f32], into: &mut [f32]) {
    products(linear, 1, linear.shape[3], gradient, (into, Accum::Add));
}

/// `patches = gradient * weights`, group by group, for whole rows of patches.
fn products(
    linear: &Linear,
    groups: usize,
    channels: usize,
    gradient: &[f32],
    (patches, accum): (&mut [f32], Accum),
) {
    let [columns, kh, kw, inner] = linear.shape;
    let (taps, depth) = (kh * kw, kh * kw * channels);
    let rows = gradient.len() / columns.max(1);
    if groups == 1 {
        let g = matrix(gradient, columns, [rows, columns]);
        let w = matrix(&linear.weights, depth, [columns, depth]);
        return multiply((patches, depth), g, w, accum);
    }
    let (per_group, row_len) = (columns / groups.max(1), taps * inner);
    for group in 0..groups {
        let first = group * per_group;
        let g = matrix(&gradient[first..], columns, [rows, per_group]);
        for tap in 0..taps {
            let w = &linear.weights[first * row_len + tap * inner..];
            let w = matrix(w, row_len, [per_group, inner]);
            let out = &mut patches[tap * channels + group * inner..];
            multiply((out, depth), g, w, accum);
        }
    }
}

pub(super) fn depthwise_conv_2d(
    linear: &Linear,
    patches: Patches,
    gradient: &[f32],
    into: &mut [f32],
) {
    let channels = linear.shape[3];
    let mut row = vec![0.0; patches.full_len()];
    Arch::new().dispatch(|| {
        for (position, g) in gradient.chunks_exact(channels).enumerate() {
            let taps = row.chunks_exact_mut(channels);
            for (tap, w) in taps.zip(linear.weights.chunks_exact(channels)) {
                for ((t, w), g) in tap.iter_mut().zip(w).zip(g) {
                    *t = w * g;
                }
            }
            patches.add_full_row(&row, position, into);
        }
    });
}

/// The gradient with respect to the weights of `node`, in their order, for one sample: what `input`
/// it read and the gradient at its output before its fused activation, as [`backward`] shows it.
/// `None` for a node without weights.
///
/// [`backward`]: super::backward
///
/// # Panics
/// If `input` or `gradient` do not have the sizes that `graph` gives them.
pub fn weight_gradient(
    graph: &Graph,
    node: &Node,
    input: &[f32],
    gradient: &[f32],
) -> Option<Vec<f32>> {
    let linear = node.op.linear()?;
    let patches = Patches::new(graph, node)?;
    let channels = graph.shape(node.inputs[0])[3];
    let (columns, depth) = (graph.shape(node.output)[3], patches.full_len());
    let mut sums = vec![0.0; linear.weights.len()];
    let mut add = |block: &[f32], part: &[f32]| match node.op {
        Op::DepthwiseConv2d { .. } => add_depthwise(block, part, channels, &mut sums),
        _ => add_products(
            linear.shape,
            patches.groups(),
            (block, channels),
            part,
            &mut sums,
        ),
    };
    if patches.is_input() {
        add(input, gradient);
        return Some(sums);
    }
    let rows = block_rows(&patches);
    let mut block = vec![0.0; rows * depth];
    for (index, part) in gradient.chunks(rows * columns).enumerate() {
        let block = &mut block[..part.len() / columns * depth];
        for (row, patch) in block.chunks_exact_mut(depth).enumerate() {
            patches.full_row(input, index * rows + row, patch);
        }
        add(block, part);
    }
    Some(sums)
}

/// `sums += transpose(gradient) * patches`, group by group, for whole rows of patches.
fn add_products(
    [columns, kh, kw, inner]: [usize; 4],
    groups: usize,
    (patches, channels): (&[f32], usize),
    gradient: &[f32],
    sums: &mut [f32],
) {
    let (taps, depth) = (kh * kw, kh * kw * channels);
    let rows = gradient.len() / columns.max(1);
    if groups == 1 {
        let g = matrix(gradient, columns, [rows, columns]);
        let patches = matrix(patches, depth, [rows, depth]);
        return multiply((sums, depth), g.transpose(), patches, Accum::Add);
    }
    let (per_group, row_len) = (columns / groups.max(1), taps * inner);
    for group in 0..groups {
        let first = group * per_group;
        let g = matrix(&gradient[first..], columns, [rows, per_group]);
        for tap in 0..taps {
            let part = &patches[tap * channels + group * inner..];
            let part = matrix(part, depth, [rows, inner]);
            let out = &mut sums[first * row_len + tap * inner..];
            multiply((out, row_len), g.transpose(), part, Accum::Add);
        }
    }
}

/// The same where each channel is a group: row by row.
fn add_depthwise(patches: &[f32], gradient: &[f32], channels: usize, sums: &mut [f32]) {
    Arch::new().dispatch(|| {
        let rows = patches.chunks_exact(sums.len().max(1));
        for (row, g) in rows.zip(gradient.chunks_exact(channels)) {
            let taps = sums.chunks_exact_mut(channels);
            for (sum, x) in taps.zip(row.chunks_exact(channels)) {
                for ((s, x), g) in sum.iter_mut().zip(x).zip(g) {
                    *s += x * g;
                }
            }
        }
    });
}
