//! Networks that tract parses or optimizes wrongly: values are compared with arithmetic.

use super::Value::{Float, Int, Ints, Text};
use super::*;

/// Values that differ from each other.
fn values(count: usize) -> Vec<f32> {
    (0..count)
        .map(|i| ((i * 29 + 7) % 41) as f32 / 10.0 - 2.0)
        .collect()
}

fn assert_close(actual: &[f32], expected: &[f32]) {
    assert_eq!(actual.len(), expected.len());
    for (i, (a, b)) in actual.iter().zip(expected).enumerate() {
        assert!((a - b).abs() < 1e-4, "element {i}: {a} is not {b}");
    }
}

/// The value at `[c, y, x]` of `[1, c, h, w]`, 0 outside.
fn at(data: &[f32], [h, w]: [usize; 2], c: usize, y: isize, x: isize) -> f32 {
    match (usize::try_from(y), usize::try_from(x)) {
        (Ok(y), Ok(x)) if y < h && x < w => data[(c * h + y) * w + x],
        _ => 0.0,
    }
}

/// A convolution 3x3 of two channels to two, padded by `before` on top and left, of size `out`.
fn convolved(x: &[f32], size: [usize; 2], w: &[f32], before: isize, out: [usize; 2]) -> Vec<f32> {
    let mut result = Vec::new();
    for o in 0..2 {
        for y in 0..out[0] as isize {
            for column in 0..out[1] as isize {
                let taps = (0..18).map(|tap| {
                    let (c, dy, dx) = (tap / 9, (tap / 3 % 3) as isize, (tap % 3) as isize);
                    let input = at(x, size, c, y + dy - before, column + dx - before);
                    input * w[o * 18 + tap]
                });
                result.push(taps.sum());
            }
        }
    }
    result
}

/// Every `step`-th column and row of `[channels, h, w]` from `start` on.
fn strided(x: &[f32], [h, w]: [usize; 2], start: usize, step: usize) -> Vec<f32> {
    let channels = x.len() / (h * w);
    let rows =
        (0..channels * h).filter(|row| row % h >= start && (row % h - start).is_multiple_of(step));
    rows.flat_map(|row| x[row * w..][..w].iter().skip(start).step_by(step).copied())
        .collect()
}

fn slice(net: Net, input: &str, from: i64, step: i64, axes: &[i64]) -> Net {
    let all = |value| vec![value; axes.len()];
    net.integers("starts", &all(from))
        .integers("ends", &all(i64::from(i32::MAX)))
        .integers("axes", axes)
        .integers("steps", &all(step))
        .node(
            "s",
            "Slice",
            &[input, "starts", "ends", "axes", "steps"],
            &[],
        )
}

#[test]
fn a_stride_after_a_convolution_does_not_pass_its_padding() {
    let (x, w) = (values(2 * 36), values(36));
    // The padding at the start decides what strides read: auto_pad puts all of it at the end.
    for (attributes, before, out) in [
        (vec![("auto_pad", Text("SAME_UPPER"))], 1, [6, 6]),
        (vec![("pads", Ints(&[1, 1, 0, 0]))], 1, [5, 5]),
        (vec![("pads", Ints(&[2, 2, 2, 2]))], 2, [8, 8]),
    ] {
        let full = convolved(&x, [6, 6], &w, before, out);
        for (start, step) in [(0, 2), (1, 2), (1, 3)] {
            let net = Net::new(&[1, 2, 6, 6])
                .constant("w", &[2, 2, 3, 3], w.clone())
                .node("c", "Conv", &["x", "w"], &attributes);
            let net = slice(net, "c", start as i64, step as i64, &[2, 3]);
            assert_close(&net.outputs(&[&x]), &strided(&full, out, start, step));
        }
    }
}

#[test]
fn a_strided_point_convolution_keeps_its_stride() {
    let (x, w) = (values(2 * 36), values(36));
    let full = convolved(&x, [6, 6], &w, 1, [6, 6]);
    let relu: Vec<f32> = full.iter().map(|value| value.max(0.0)).collect();
    let seen = strided(&relu, [6, 6], 0, 2);
    let expected: Vec<f32> = (0..9).map(|i| 2.0 * seen[i] - 3.0 * seen[9 + i]).collect();
    let net = Net::new(&[1, 2, 6, 6])
        .constant("w", &[2, 2, 3, 3], w)
        .constant("v", &[1, 2, 1, 1], vec![2.0, -3.0])
        .node(
            "c",
            "Conv",
            &["x", "w"],
            &[("auto_pad", Text("SAME_UPPER"))],
        )
        .node("r", "Relu", &["c"], &[])
        .node("p", "Conv", &["r", "v"], &[("strides", Ints(&[2, 2]))]);
    assert_close(&net.outputs(&[&x]), &expected);
}

#[test]
fn a_stride_over_the_classes_comes_after_the_softmax() {
    let x = values(6);
    let total: f32 = x.iter().map(|value| value.exp()).sum();
    let expected: Vec<f32> = x
        .iter()
        .skip(1)
        .step_by(2)
        .map(|v| v.exp() / total)
        .collect();
    let net = Net::new(&[1, 6]).node("p", "Softmax", &["x"], &[("axis", Int(1))]);
    assert_close(&slice(net, "p", 1, 2, &[1]).outputs(&[&x]), &expected);
}

#[test]
fn a_stride_after_other_movements_reads_their_result() {
    let x = values(24);
    let net = Net::new(&[1, 2, 3, 4]).integers("flat", &[1, 24]).node(
        "f",
        "Reshape",
        &["x", "flat"],
        &[],
    );
    let expected: Vec<f32> = x.iter().skip(1).step_by(5).copied().collect();
    assert_close(&slice(net, "f", 1, 5, &[1]).outputs(&[&x]), &expected);
    let net = Net::new(&[1, 2, 3, 4]).node("j", "Concat", &["x", "x"], &[("axis", Int(3))]);
    let joined: Vec<f32> = x.chunks(4).flat_map(|row| [row, row].concat()).collect();
    let expected: Vec<f32> = joined
        .chunks(8)
        .flat_map(|row| [row[0], row[3], row[6]])
        .collect();
    assert_close(&slice(net, "j", 0, 3, &[3]).outputs(&[&x]), &expected);
    let pool = [
        ("kernel_shape", Ints(&[1, 2])),
        ("pads", Ints(&[0, 1, 0, 0])),
    ];
    let net = Net::new(&[1, 2, 3, 4]).node("m", "MaxPool", &["x"], &pool);
    let pooled: Vec<f32> = x
        .chunks(4)
        .flat_map(|r| [r[0], r[0].max(r[1]), r[1].max(r[2]), r[2].max(r[3])])
        .collect();
    let expected: Vec<f32> = pooled.chunks(4).flat_map(|row| [row[1], row[3]]).collect();
    assert_close(&slice(net, "m", 1, 2, &[3]).outputs(&[&x]), &expected);
}

/// A resize of one row of `n` elements by a scale.
fn resized(n: usize, scale: f32, attributes: &[(&str, Value<'_>)]) -> Vec<f32> {
    let x: Vec<f32> = (0..n).map(|i| i as f32).collect();
    Net::new(&[1, 1, 1, n as i64])
        .constant("roi", &[0], vec![])
        .constant("scales", &[4], vec![1.0, 1.0, 1.0, scale])
        .node("r", "Resize", &["x", "roi", "scales"], attributes)
        .outputs(&[&x])
}

#[test]
fn coordinates_of_a_resize_follow_its_scale() {
    // The input is the coordinate, so the output is where it was read.
    let place = |at: f32, n: usize| at.clamp(0.0, n as f32 - 1.0);
    for (n, scale) in [(13, 1.5), (15, 0.5), (7, 1.7), (5, 1.1), (9, 0.37)] {
        let out = (n as f32 * scale) as usize;
        let half: Vec<f32> = (0..out)
            .map(|i| place((i as f32 + 0.5) / scale - 0.5, n))
            .collect();
        assert_close(&resized(n, scale, &[("mode", Text("linear"))]), &half);
        let asymmetric = ("coordinate_transformation_mode", Text("asymmetric"));
        let plain: Vec<f32> = (0..out).map(|i| place(i as f32 / scale, n)).collect();
        let linear = [("mode", Text("linear")), asymmetric];
        assert_close(&resized(n, scale, &linear), &plain);
        for (mode, round) in [
            ("floor", f32::floor as fn(f32) -> f32),
            ("ceil", f32::ceil),
            ("round_prefer_floor", |at| (at - 0.5).ceil()),
            ("round_prefer_ceil", |at| (at + 0.5).floor()),
        ] {
            let rounding = ("nearest_mode", Text(mode));
            let expected: Vec<f32> = (0..out)
                .map(|i| place(round((i as f32 + 0.5) / scale - 0.5), n))
                .collect();
            assert_close(&resized(n, scale, &[rounding]), &expected);
        }
    }
}

#[test]
fn a_resize_by_sizes_follows_their_ratio() {
    let x: Vec<f32> = (0..5).map(|i| i as f32).collect();
    let net = Net::new(&[1, 1, 1, 5])
        .constant("none", &[0], vec![])
        .integers("sizes", &[1, 1, 1, 7])
        .node(
            "r",
            "Resize",
            &["x", "none", "none", "sizes"],
            &[("mode", Text("linear"))],
        );
    let at = |i: usize| ((i as f32 + 0.5) * 5.0 / 7.0 - 0.5).clamp(0.0, 4.0);
    let expected: Vec<f32> = (0..7).map(at).collect();
    assert_close(&net.outputs(&[&x]), &expected);
}

#[test]
fn an_upsample_repeats_its_pixels() {
    let x = values(6);
    let net = Net::new(&[1, 1, 2, 3])
        .constant("scales", &[4], vec![1.0, 1.0, 2.0, 3.0])
        .node("u", "Upsample", &["x", "scales"], &[]);
    let pixel = |i: usize| x[i / 9 / 2 * 3 + i % 9 / 3];
    let expected: Vec<f32> = (0..36).map(pixel).collect();
    assert_close(&net.opset(9).outputs(&[&x]), &expected);
}

#[test]
fn averages_count_the_padding_and_not_what_is_beyond() {
    let x = values(7);
    for include in [0, 1] {
        for (kernel, stride, pads) in [(2, 2, [0, 0]), (3, 2, [1, 1]), (4, 3, [2, 1])] {
            let net = Net::new(&[1, 1, 1, 7]).node(
                "p",
                "AveragePool",
                &["x"],
                &[
                    ("kernel_shape", Ints(&[1, kernel])),
                    ("strides", Ints(&[1, stride])),
                    ("pads", Ints(&[0, pads[0], 0, pads[1]])),
                    ("ceil_mode", Int(1)),
                    ("count_include_pad", Int(include)),
                ],
            );
            let padded = 7 + pads[0] + pads[1];
            let mut out = (padded - kernel + stride - 1) / stride + 1;
            // A window that would begin in the padding at the end is left out.
            if (out - 1) * stride >= 7 + pads[0] {
                out -= 1;
            }
            let average = |i: i64| {
                let window = i * stride..(i * stride + kernel).min(padded);
                let inside = |&at: &i64| (pads[0]..pads[0] + 7).contains(&at);
                let sum: f32 = window
                    .clone()
                    .filter(inside)
                    .map(|at| x[(at - pads[0]) as usize])
                    .sum();
                let count = match include {
                    0 => window.filter(inside).count(),
                    _ => window.count(),
                };
                sum / count as f32
            };
            let expected: Vec<f32> = (0..out).map(average).collect();
            assert_close(&net.outputs(&[&x]), &expected);
        }
    }
}

#[test]
fn a_celu_scales_its_exponential() {
    let x = values(24);
    for alpha in [0.5, 1.0, 2.0] {
        let net = Net::new(&[1, 24]).node("c", "Celu", &["x"], &[("alpha", Float(alpha))]);
        let celu = |x: &f32| x.max(0.0) + (alpha * ((x / alpha).exp() - 1.0)).min(0.0);
        assert_close(&net.outputs(&[&x]), &x.iter().map(celu).collect::<Vec<_>>());
    }
}

#[test]
fn pads_beside_an_automatic_padding_do_not_count() {
    let (x, w) = (values(2 * 36), values(36));
    let attributes = [
        ("auto_pad", Text("SAME_UPPER")),
        ("pads", Ints(&[0, 0, 0, 0])),
    ];
    let net = Net::new(&[1, 2, 6, 6]).constant("w", &[2, 2, 3, 3], w.clone());
    let net = net.node("c", "Conv", &["x", "w"], &attributes);
    assert_close(&net.outputs(&[&x]), &convolved(&x, [6, 6], &w, 1, [6, 6]));
}

#[test]
fn a_global_norm_sums_over_all_positions() {
    let x = values(24);
    for (p, norm) in [
        (
            1,
            (|row: &[f32]| row.iter().map(|v| v.abs()).sum()) as fn(&[f32]) -> f32,
        ),
        (2, |row| row.iter().map(|v| v * v).sum::<f32>().sqrt()),
    ] {
        let net = Net::new(&[1, 2, 3, 4]).node("n", "GlobalLpPool", &["x"], &[("p", Int(p))]);
        let expected: Vec<f32> = x.chunks(12).map(norm).collect();
        assert_close(&net.outputs(&[&x]), &expected);
    }
}

#[test]
fn a_pool_without_padding_keeps_its_ceil_mode() {
    let x = values(6);
    let attributes = [
        ("auto_pad", Text("VALID")),
        ("kernel_shape", Ints(&[1, 3])),
        ("strides", Ints(&[1, 2])),
        ("ceil_mode", Int(1)),
    ];
    let net = Net::new(&[1, 1, 1, 6]).node("m", "MaxPool", &["x"], &attributes);
    let greatest = |window: &[f32]| window.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let expected = [greatest(&x[0..3]), greatest(&x[2..5]), greatest(&x[4..6])];
    assert_close(&net.outputs(&[&x]), &expected);
}

#[test]
fn windows_that_lie_in_the_padding_give_the_bias() {
    let x = values(4);
    for group in [1, 2] {
        for pads in [[0, 1], [2, 0], [3, 4]] {
            let weights = vec![2.0; 4 / group as usize];
            let net = Net::new(&[1, 2, 1, 2])
                .constant("w", &[2, 2 / group, 1, 1], weights)
                .constant("b", &[2], vec![0.5, -1.0])
                .node(
                    "c",
                    "Conv",
                    &["x", "w", "b"],
                    &[
                        ("group", Int(group)),
                        ("pads", Ints(&[0, pads[0], 0, pads[1]])),
                    ],
                );
            let row = |channel: usize, bias: f32| {
                let inputs = match group {
                    1 => [x[0] + x[2], x[1] + x[3]],
                    _ => [x[2 * channel], x[2 * channel + 1]],
                };
                let mut row = vec![bias; pads[0] as usize];
                row.extend(inputs.map(|input| 2.0 * input + bias));
                row.extend(vec![bias; pads[1] as usize]);
                row
            };
            let expected = [row(0, 0.5), row(1, -1.0)].concat();
            assert_close(&net.outputs(&[&x]), &expected);
        }
    }
}

#[test]
fn indices_of_a_pool_that_nothing_reads_do_not_matter() {
    let x = values(6);
    let attributes = [("kernel_shape", Ints(&[1, 2])), ("strides", Ints(&[1, 2]))];
    let net = Net::new(&[1, 1, 1, 6]).node("m", "MaxPool", &["x"], &attributes);
    let expected = [x[0].max(x[1]), x[2].max(x[3]), x[4].max(x[5])];
    assert_close(&net.second_output("indices").outputs(&[&x]), &expected);
}

#[test]
fn symbols_of_the_batch_do_not_contradict_it() {
    let x = values(24);
    let net = Net::new(&[-1, 2, 3, 4])
        .node("r", "Relu", &["x"], &[])
        .note("r", &[-1, 2, 3, 4])
        .node("t", "Neg", &["r"], &[]);
    let expected: Vec<f32> = x.iter().map(|v| -v.max(0.0)).collect();
    assert_close(&net.outputs(&[&x]), &expected);
}

#[test]
fn negative_pads_cut() {
    let x = values(24);
    let net = Net::new(&[1, 2, 3, 4])
        .integers("pads", &[0, 0, -1, 1, 0, 0, 0, -2])
        .node("p", "Pad", &["x", "pads"], &[]);
    let rows = x.chunks(4).enumerate().filter(|(row, _)| row % 3 >= 1);
    let expected: Vec<f32> = rows.flat_map(|(_, row)| [0.0, row[0], row[1]]).collect();
    assert_close(&net.outputs(&[&x]), &expected);
}

#[test]
fn constants_whose_product_is_infinite_stay_apart() {
    let x = [1e-30, -1e-20, 0.0, 3e-25];
    let net = Net::new(&[1, 4])
        .constant("big", &[], vec![1e25])
        .node("a", "Mul", &["x", "big"], &[])
        .node("b", "Mul", &["a", "big"], &[])
        .node("t", "Tanh", &["b"], &[]);
    assert_close(&net.outputs(&[&x]), &[1.0, -1.0, 0.0, 1.0]);
}
