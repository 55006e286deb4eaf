//! Every operator without weights, against an oracle that loops and nothing else.

use crate::network::*;
use edgeprune_format::manifest::{
    Activation, BinaryKind, Op, Quantization, ResizeCoordinates, ResizeKind, ResizeLine, UnaryKind,
    Window,
};
use edgeprune_runtime::math::unary;

type Shape = [usize; 3];

fn dims(shape: Shape) -> [u32; 4] {
    [1, shape[0] as u32, shape[1] as u32, shape[2] as u32]
}

fn len(shape: Shape) -> usize {
    shape.iter().product()
}

fn at(shape: Shape, [y, x, c]: Shape) -> usize {
    (y * shape[1] + x) * shape[2] + c
}

fn coordinates(shape: Shape) -> impl Iterator<Item = Shape> {
    (0..shape[0])
        .flat_map(move |y| (0..shape[1]).flat_map(move |x| (0..shape[2]).map(move |c| [y, x, c])))
}

fn random_shape(random: &mut Random) -> Shape {
    [
        random.size(1, 7),
        random.size(1, 9),
        random.one_of(&[1, 2, 3, 7, 8, 16, 31, 33, 40, 64]),
    ]
}

/// Clamp, rounding and zero point, with the standard library's rounding.
fn code(steps: f32, lo: f32, hi: f32, zero_point: i8) -> i8 {
    (steps.round_ties_even() + f32::from(zero_point)).clamp(lo, hi) as i8
}

fn full(steps: f32, zero_point: i8) -> i8 {
    code(steps, -128.0, 127.0, zero_point)
}

const KINDS: [BinaryKind; 5] = [
    BinaryKind::Add,
    BinaryKind::Sub,
    BinaryKind::Mul,
    BinaryKind::Max,
    BinaryKind::Min,
];

fn apply(kind: BinaryKind, a: f32, b: f32) -> f32 {
    match kind {
        BinaryKind::Add => a + b,
        BinaryKind::Sub => a - b,
        BinaryKind::Mul => a * b,
        BinaryKind::Max => a.max(b),
        BinaryKind::Min => a.min(b),
    }
}

/// A shape that broadcasts to another, and where each of its elements stands.
fn broadcast(random: &mut Random, shape: Shape) -> Shape {
    match random.range(0, 3) {
        0 => shape,
        1 => [1, 1, shape[2]],
        2 => [shape[0], shape[1], 1],
        _ => shape.map(|dim| random.one_of(&[1, dim])),
    }
}

fn stretched(shape: Shape, position: Shape) -> usize {
    at(
        shape,
        std::array::from_fn(|i| position[i].min(shape[i] - 1)),
    )
}

#[test]
fn integer_binary_operators_agree_with_the_oracle() {
    for seed in 0..400 {
        let random = &mut Random::new(seed);
        let kind = random.one_of(&KINDS);
        let shape = random_shape(random);
        let second = broadcast(random, shape);
        let (a, b) = (random.codes(len(shape)), random.codes(len(second)));
        let [sa, sb, so] = [0; 3].map(|_| 0.01 + random.unit());
        let [za, zb, zo] = [0; 3].map(|_| random.range(-128, 127) as i8);
        let relu = random.range(0, 1) == 0;
        let activation = if relu {
            Activation::Relu
        } else {
            Activation::None
        };
        let mut network = Network::default();
        let a_id = network.codes(dims(shape), sa, za);
        let b_id = network.codes(dims(second), sb, zb);
        let out = network.codes(dims(shape), so, zo);
        let package = network.single(Op::Binary { kind, activation }, &[a_id, b_id], out);
        let output = run(&package, &[&bytes_of(&a), &bytes_of(&b)]);
        let expected: Vec<i8> = coordinates(shape)
            .map(|position| {
                let a = f32::from(a[at(shape, position)]) - f32::from(za);
                let b = f32::from(b[stretched(second, position)]) - f32::from(zb);
                let steps = match kind {
                    BinaryKind::Mul => (a * b) * ((sa * sb) / so),
                    _ => apply(kind, a * (sa / so), b * (sb / so)),
                };
                code(steps, if relu { f32::from(zo) } else { -128.0 }, 127.0, zo)
            })
            .collect();
        assert_eq!(codes_of(&output), expected, "seed {seed}");
    }
}

#[test]
fn float_binary_operators_agree_with_the_oracle() {
    for seed in 0..200 {
        let random = &mut Random::new(seed);
        let kind = random.one_of(&KINDS);
        let shape = random_shape(random);
        let second = broadcast(random, shape);
        let (a, b) = (random.floats(len(shape)), random.floats(len(second)));
        let mut network = Network::default();
        let ids = [network.floats(dims(shape)), network.floats(dims(second))];
        let out = network.floats(dims(shape));
        let activation = Activation::Clamp {
            min: -1.0,
            max: 1.5,
        };
        let package = network.single(Op::Binary { kind, activation }, &ids, out);
        let output = run(&package, &[&bytes_of_floats(&a), &bytes_of_floats(&b)]);
        let expected: Vec<f32> = coordinates(shape)
            .map(|position| {
                let (a, b) = (a[at(shape, position)], b[stretched(second, position)]);
                apply(kind, a, b).clamp(-1.0, 1.5)
            })
            .collect();
        assert_eq!(floats_of(&output), expected, "seed {seed}");
    }
}

/// A pooling window, its input and output shape, and the input positions under each output.
struct Pooling {
    input: Shape,
    output: Shape,
    window: Window,
}

impl Pooling {
    fn random(random: &mut Random) -> Self {
        let input = random_shape(random);
        let kernel = [random.size(1, 4), random.size(1, 4)];
        let stride = [random.size(1, 3), random.size(1, 3)];
        let dilation = [random.size(1, 2), random.size(1, 2)];
        let pad = [random.size(0, kernel[0] - 1), random.size(0, kernel[1] - 1)];
        let extent = |axis: usize| {
            let window = (kernel[axis] - 1) * dilation[axis] + 1;
            (input[axis] + 2 * pad[axis]).saturating_sub(window) / stride[axis] + 1
        };
        Self {
            input,
            output: [extent(0), extent(1), input[2]],
            window: Window {
                kernel: kernel.map(|x| x as u16),
                stride: stride.map(|x| x as u16),
                dilation: dilation.map(|x| x as u16),
                pad: pad.map(|x| x as u16),
            },
        }
    }

    fn inside(&self, [y, x, c]: Shape) -> Vec<usize> {
        let along = |axis: usize, out: usize| {
            (0..i32::from(self.window.kernel[axis]))
                .map(move |k| {
                    out as i32 * i32::from(self.window.stride[axis])
                        + k * i32::from(self.window.dilation[axis])
                        - i32::from(self.window.pad[axis])
                })
                .filter(move |&i| i >= 0 && i < self.input[axis] as i32)
        };
        along(0, y)
            .flat_map(|y| along(1, x).map(move |x| (y, x)))
            .map(|(y, x)| at(self.input, [y as usize, x as usize, c]))
            .collect()
    }
}

#[test]
fn pooling_agrees_with_the_oracle() {
    for seed in 0..300 {
        let random = &mut Random::new(seed);
        let pooling = Pooling::random(random);
        let (input, floats) = (
            random.codes(len(pooling.input)),
            random.floats(len(pooling.input)),
        );
        let (window, count_include_pad) = (pooling.window, random.range(0, 1) == 0);
        let average = Op::AveragePool2d {
            window,
            count_include_pad,
        };
        let divisor = |inside: &[usize]| match count_include_pad {
            true => f32::from(window.kernel[0]) * f32::from(window.kernel[1]),
            false => inside.len().max(1) as f32,
        };
        let of = |op: Op, to: (f32, i8)| {
            let mut network = Network::default();
            let from = network.codes(dims(pooling.input), 0.7, -5);
            let out = network.codes(dims(pooling.output), to.0, to.1);
            codes_of(&run(
                &network.single(op, &[from], out),
                &[&bytes_of(&input)],
            ))
        };
        let of_floats = |op: Op| {
            let mut network = Network::default();
            let from = network.floats(dims(pooling.input));
            let out = network.floats(dims(pooling.output));
            floats_of(&run(
                &network.single(op, &[from], out),
                &[&bytes_of_floats(&floats)],
            ))
        };
        let outputs = || coordinates(pooling.output).map(|position| pooling.inside(position));

        let expected: Vec<i8> = outputs()
            .map(|inside| inside.iter().map(|&i| input[i]).max().unwrap_or(i8::MIN))
            .collect();
        assert_eq!(
            of(Op::MaxPool2d { window }, (0.7, -5)),
            expected,
            "seed {seed}"
        );
        let expected: Vec<f32> = outputs()
            .map(|inside| {
                inside
                    .iter()
                    .map(|&i| floats[i])
                    .fold(f32::NEG_INFINITY, f32::max)
            })
            .collect();
        assert_eq!(of_floats(Op::MaxPool2d { window }), expected, "seed {seed}");
        let expected: Vec<i8> = outputs()
            .map(|inside| {
                let sum: i32 = inside.iter().map(|&i| i32::from(input[i]) + 5).sum();
                full(sum as f32 * (0.7 / (divisor(&inside) * 0.3)), 9)
            })
            .collect();
        assert_eq!(of(average, (0.3, 9)), expected, "seed {seed}");
        let expected: Vec<f32> = outputs()
            .map(|inside| inside.iter().fold(0.0, |sum, &i| sum + floats[i]) / divisor(&inside))
            .collect();
        assert_eq!(of_floats(average), expected, "seed {seed}");
    }
}

#[test]
fn means_agree_with_the_oracle() {
    for seed in 0..100 {
        let random = &mut Random::new(seed);
        let shape = random_shape(random);
        let input = random.codes(len(shape));
        let mut network = Network::default();
        let from = network.codes(dims(shape), 0.2, 17);
        let out = network.codes(dims([1, 1, shape[2]]), 0.15, -20);
        let output = run(
            &network.single(Op::Mean, &[from], out),
            &[&bytes_of(&input)],
        );
        let count = (shape[0] * shape[1]) as f32;
        let expected: Vec<i8> = (0..shape[2])
            .map(|c| {
                let channel = input.iter().skip(c).step_by(shape[2]);
                let sum: i32 = channel.map(|&x| i32::from(x) - 17).sum();
                full(sum as f32 * (0.2 / (count * 0.15)), -20)
            })
            .collect();
        assert_eq!(codes_of(&output), expected, "seed {seed}");
    }
}

#[test]
fn a_table_maps_every_code() {
    let table: Vec<i8> = (0..256).map(|i| (i * 37 % 256 - 128) as i8).collect();
    for constant in [&table, &vec![7i8; 256]] {
        let mut network = Network::default();
        let table_id = network.constant_codes([1, 1, 1, 256], Quantization::None, constant);
        let from = network.codes([1, 4, 8, 8], 0.1, 0);
        let out = network.codes([1, 4, 8, 8], 0.1, 0);
        let package = network.single(Op::Table { table: table_id }, &[from], out);
        let input: Vec<u8> = (-128i8..=127).map(|code| code as u8).collect();
        assert_eq!(codes_of(&run(&package, &[&input])), *constant);
    }
}

#[test]
fn unary_functions_are_applied_to_every_element() {
    let input = Random::new(3).floats(130);
    for kind in [
        UnaryKind::Silu,
        UnaryKind::Gelu,
        UnaryKind::Affine { a: 3.0, b: -1.0 },
    ] {
        let mut network = Network::default();
        let from = network.floats([1, 1, 10, 13]);
        let out = network.floats([1, 1, 10, 13]);
        let package = network.single(Op::Unary { kind }, &[from], out);
        let expected: Vec<f32> = input.iter().map(|&x| unary(kind, x)).collect();
        assert_eq!(
            floats_of(&run(&package, &[&bytes_of_floats(&input)])),
            expected
        );
    }
}

#[test]
fn softmax_rows_are_close_to_double_precision_and_sum_to_one() {
    let random = &mut Random::new(5);
    let shape = [2, 3, 37];
    let (input, floats) = (random.codes(len(shape)), random.floats(len(shape)));
    let mut network = Network::default();
    let from = network.codes(dims(shape), 0.11, -8);
    let out = network.floats(dims(shape));
    let from_codes = run(
        &network.single(Op::Softmax, &[from], out),
        &[&bytes_of(&input)],
    );
    let mut network = Network::default();
    let from = network.floats(dims(shape));
    let out = network.floats(dims(shape));
    let package = network.single(Op::Softmax, &[from], out);
    let from_floats = run(&package, &[&bytes_of_floats(&floats)]);
    let dequantized: Vec<f32> = input.iter().map(|&x| (f32::from(x) + 8.0) * 0.11).collect();
    for (output, input) in [(from_codes, dequantized), (from_floats, floats)] {
        for (row, input) in floats_of(&output).chunks(37).zip(input.chunks(37)) {
            let exponentials: Vec<f64> = input.iter().map(|&x| f64::from(x).exp()).collect();
            let sum: f64 = exponentials.iter().sum();
            for (y, e) in row.iter().zip(exponentials) {
                assert!((f64::from(*y) - e / sum).abs() < 1e-6);
            }
        }
    }
}

#[test]
fn concatenations_keep_the_order_of_the_inputs() {
    for seed in 0..60 {
        let random = &mut Random::new(seed);
        let axis = random.size(0, 2);
        let base = [random.size(1, 4), random.size(1, 4), random.size(1, 9)];
        let shapes: Vec<Shape> = (0..random.size(1, 8))
            .map(|_| {
                let mut shape = base;
                shape[axis] = random.size(1, 5);
                shape
            })
            .collect();
        let inputs: Vec<Vec<f32>> = shapes.iter().map(|&s| random.floats(len(s))).collect();
        let mut shape = base;
        shape[axis] = shapes.iter().map(|shape| shape[axis]).sum();
        let mut network = Network::default();
        let ids: Vec<u16> = shapes.iter().map(|&s| network.floats(dims(s))).collect();
        let out = network.floats(dims(shape));
        let op = Op::Concat {
            axis: axis as u8 + 1,
        };
        let bytes: Vec<Vec<u8>> = inputs.iter().map(|x| bytes_of_floats(x)).collect();
        let bytes: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
        let output = floats_of(&run(&network.single(op, &ids, out), &bytes));
        let expected: Vec<f32> = coordinates(shape)
            .map(|mut position| {
                let mut which = 0;
                while position[axis] >= shapes[which][axis] {
                    position[axis] -= shapes[which][axis];
                    which += 1;
                }
                inputs[which][at(shapes[which], position)]
            })
            .collect();
        assert_eq!(output, expected, "seed {seed}");
    }
}

#[test]
fn one_tensor_can_be_an_input_twice() {
    let mut network = Network::default();
    let from = network.codes([1, 1, 2, 3], 0.5, 1);
    let out = network.codes([1, 1, 4, 3], 0.5, 1);
    network.input(from);
    network.output(out);
    network.node(Op::Concat { axis: 2 }, &[from, from], out);
    let output = run(&network.package(), &[&[1, 2, 3, 4, 5, 6]]);
    assert_eq!(output, [1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6]);
}

#[test]
fn padding_surrounds_with_the_value() {
    for seed in 0..60 {
        let random = &mut Random::new(seed);
        let shape = random_shape(random);
        let [before, after] = [0; 2].map(|_| [0; 3].map(|_| random.size(0, 3)));
        let output_shape: Shape = std::array::from_fn(|i| before[i] + shape[i] + after[i]);
        let input = random.codes(len(shape));
        let mut network = Network::default();
        let from = network.codes(dims(shape), 0.5, 3);
        let out = network.codes(dims(output_shape), 0.5, 3);
        let op = Op::Pad {
            before: before.map(|x| x as u16),
            value: -4.3,
        };
        let output = run(&network.single(op, &[from], out), &[&bytes_of(&input)]);
        let expected: Vec<i8> = coordinates(output_shape)
            .map(|position| {
                let inside =
                    (0..3).all(|i| (before[i]..before[i] + shape[i]).contains(&position[i]));
                match inside {
                    true => input[at(shape, std::array::from_fn(|i| position[i] - before[i]))],
                    false => -6, // -4.3 / 0.5 + 3 = -5.6
                }
            })
            .collect();
        assert_eq!(codes_of(&output), expected, "seed {seed}");
    }
}

#[test]
fn slices_take_every_step_th_element() {
    for seed in 0..100 {
        let random = &mut Random::new(seed);
        let output_shape = [random.size(1, 4), random.size(1, 4), random.size(1, 20)];
        let start = [0; 3].map(|_| random.size(0, 3));
        let step = [0; 3].map(|_| random.size(1, 3));
        let shape: Shape = std::array::from_fn(|i| {
            start[i] + (output_shape[i] - 1) * step[i] + 1 + random.size(0, 2)
        });
        let input = random.floats(len(shape));
        let mut network = Network::default();
        let from = network.floats(dims(shape));
        let out = network.floats(dims(output_shape));
        let op = Op::Slice {
            start: start.map(|x| x as u32),
            step: step.map(|x| x as u16),
        };
        let output = run(
            &network.single(op, &[from], out),
            &[&bytes_of_floats(&input)],
        );
        let source = |position: Shape| std::array::from_fn(|i| start[i] + position[i] * step[i]);
        let expected: Vec<f32> = coordinates(output_shape)
            .map(|position| input[at(shape, source(position))])
            .collect();
        assert_eq!(floats_of(&output), expected, "seed {seed}");
    }
}

#[test]
fn transpositions_permute_coordinates() {
    let perms = [
        [0u8, 1, 2, 3],
        [0, 1, 3, 2],
        [0, 2, 1, 3],
        [0, 2, 3, 1],
        [0, 3, 1, 2],
        [0, 3, 2, 1],
    ];
    for (seed, perm) in perms.into_iter().enumerate() {
        let random = &mut Random::new(seed as u64);
        let shape = random_shape(random);
        let axes = [perm[1], perm[2], perm[3]].map(|axis| usize::from(axis) - 1);
        let input = random.codes(len(shape));
        let mut network = Network::default();
        let from = network.codes(dims(shape), 1.0, 0);
        let output_shape = axes.map(|axis| shape[axis]);
        let out = network.codes(dims(output_shape), 1.0, 0);
        let package = network.single(Op::Transpose { perm }, &[from], out);
        let output = run(&package, &[&bytes_of(&input)]);
        let expected: Vec<i8> = coordinates(output_shape)
            .map(|position| {
                let mut source = [0; 3];
                (0..3).for_each(|i| source[axes[i]] = position[i]);
                input[at(shape, source)]
            })
            .collect();
        assert_eq!(codes_of(&output), expected, "{perm:?}");
    }
}

#[test]
fn resizes_agree_with_double_precision_coordinates() {
    for seed in 0..200 {
        let random = &mut Random::new(seed);
        let shape = random_shape(random);
        let output_shape = [random.size(1, 14), random.size(1, 14), shape[2]];
        let kind = random.one_of(&[ResizeKind::Nearest, ResizeKind::Bilinear]);
        let mut line = || ResizeLine {
            start: random.size(0, 20) as i32 - 10,
            step: random.size(0, 12) as u32,
            denominator: random.size(1, 9) as u32,
        };
        let (height, width) = (line(), line());
        let coordinates_of = random.one_of(&[
            ResizeCoordinates::Asymmetric,
            ResizeCoordinates::HalfPixel,
            ResizeCoordinates::AlignCorners,
            ResizeCoordinates::Lines { height, width },
        ]);
        let input = random.floats(len(shape));
        let mut network = Network::default();
        let from = network.floats(dims(shape));
        let out = network.floats(dims(output_shape));
        let op = Op::Resize {
            kind,
            coordinates: coordinates_of,
        };
        let output = run(
            &network.single(op, &[from], out),
            &[&bytes_of_floats(&input)],
        );
        let along = |axis: usize, position: usize| {
            let (n, m) = (shape[axis] as f64, output_shape[axis] as f64);
            let x = position as f64;
            let x = match coordinates_of {
                ResizeCoordinates::Asymmetric => x * n / m,
                ResizeCoordinates::HalfPixel => (x + 0.5) * n / m - 0.5,
                ResizeCoordinates::AlignCorners => x * (n - 1.0) / (m - 1.0).max(1.0),
                ResizeCoordinates::Lines { height, width } => {
                    let line = if axis == 0 { height } else { width };
                    (f64::from(line.start) + x * f64::from(line.step)) / f64::from(line.denominator)
                }
            };
            // exact fractions that a quotient of doubles may miss by an ulp
            let x = (x * 1e9).round() / 1e9;
            let x = x.clamp(0.0, n - 1.0);
            let first = x.floor();
            (
                first as usize,
                (first as usize + 1).min(shape[axis] - 1),
                x - first,
            )
        };
        for (position, y) in coordinates(output_shape).zip(floats_of(&output)) {
            let [row, column, c] = position;
            let ((y0, y1, fy), (x0, x1, fx)) = (along(0, row), along(1, column));
            let pixel = |y: usize, x: usize| f64::from(input[at(shape, [y, x, c])]);
            let expected = match kind {
                ResizeKind::Nearest => pixel(y0, x0),
                ResizeKind::Bilinear => {
                    let mix = |a: f64, b: f64, weight: f64| a + (b - a) * weight;
                    mix(
                        mix(pixel(y0, x0), pixel(y0, x1), fx),
                        mix(pixel(y1, x0), pixel(y1, x1), fx),
                        fy,
                    )
                }
            };
            assert!(
                (f64::from(y) - expected).abs() < 1e-5,
                "seed {seed}: {y} {expected}"
            );
        }
    }
}

#[test]
fn a_bilinear_resize_of_codes_rounds_to_nearest() {
    let mut network = Network::default();
    let from = network.codes([1, 1, 2, 1], 0.1, 5);
    let out = network.codes([1, 1, 5, 1], 0.1, 5);
    let op = Op::Resize {
        kind: ResizeKind::Bilinear,
        coordinates: ResizeCoordinates::AlignCorners,
    };
    let output = run(&network.single(op, &[from], out), &[&bytes_of(&[-10, 5])]);
    assert_eq!(codes_of(&output), [-10, -6, -2, 1, 5]); // -6.25, -2.5 (to even), 1.25
}

#[test]
fn conversions_agree_with_the_oracle() {
    let random = &mut Random::new(11);
    let codes: Vec<i8> = (-128..=127).collect();
    let mut floats = random.floats(256);
    floats[..6].copy_from_slice(&[
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        1e30,
        0.05,
        -0.05,
    ]);
    let shape = [1, 4, 8, 8];

    let mut network = Network::default();
    let (from, out) = (network.codes(shape, 0.3, 12), network.floats(shape));
    let output = run(
        &network.single(Op::Convert, &[from], out),
        &[&bytes_of(&codes)],
    );
    let expected: Vec<f32> = codes.iter().map(|&x| (f32::from(x) - 12.0) * 0.3).collect();
    assert_eq!(floats_of(&output), expected);

    let mut network = Network::default();
    let (from, out) = (network.floats(shape), network.codes(shape, 0.02, -1));
    let output = run(
        &network.single(Op::Convert, &[from], out),
        &[&bytes_of_floats(&floats)],
    );
    let expected: Vec<i8> = floats
        .iter()
        .map(|&x| if x.is_nan() { -128 } else { full(x / 0.02, -1) })
        .collect();
    assert_eq!(codes_of(&output), expected);

    let mut network = Network::default();
    let (from, out) = (
        network.codes(shape, 0.3, 12),
        network.codes(shape, 0.47, -60),
    );
    let output = run(
        &network.single(Op::Convert, &[from], out),
        &[&bytes_of(&codes)],
    );
    let steps = |x: i8| (f32::from(x) - 12.0) * (0.3 / 0.47);
    let expected: Vec<i8> = codes.iter().map(|&x| full(steps(x), -60)).collect();
    assert_eq!(codes_of(&output), expected);
}
