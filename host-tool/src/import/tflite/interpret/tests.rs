//! Every operator against numbers worked out by hand.

use super::super::options::{Masks, Options, Window};
use super::super::testing::{File, dense, window};
use super::*;

const NONE: ActivationFunctionType = ActivationFunctionType::NONE;

/// Dimensions and elements of a constant operand.
type Constant<'a> = (&'a [i32], &'a [f32]);

/// The dimensions that the operator gives and its elements, of an input and constants.
fn run(
    kind: BuiltinOperator,
    options: Options,
    input: Constant<'_>,
    constants: &[Constant<'_>],
) -> (Vec<usize>, Vec<f32>) {
    let value = |&(dims, data): &Constant<'_>| {
        let dims = dims.iter().map(|&dim| dim as usize).collect();
        Value::new(dims, data.to_vec())
    };
    let values: Vec<Value> = [input].iter().chain(constants).map(value).collect();
    let operands: Vec<Option<&Value>> = values.iter().map(Some).collect();
    let operator = Operator {
        kind,
        custom: None,
        inputs: Vec::new(),
        outputs: Vec::new(),
        options: Some(options),
    };
    let value = evaluate(&operator, &Operands(&operands), false).unwrap();
    (value.dims, value.data)
}

fn assert_close(actual: &[f32], expected: &[f32]) {
    assert_eq!(actual.len(), expected.len(), "{actual:?}");
    for (a, b) in actual.iter().zip(expected) {
        assert!((a - b).abs() < 1e-5, "{actual:?} for {expected:?}");
    }
}

/// 1 to 9 in a square.
const SQUARE: Constant<'_> = (&[1, 3, 3, 1], &[1., 2., 3., 4., 5., 6., 7., 8., 9.]);

fn strided(same: bool, size: [usize; 2], stride: usize, dilation: usize) -> Options {
    let window = Window {
        same,
        stride: [stride; 2],
        dilation: [dilation; 2],
        size,
    };
    Options::Window {
        window,
        activation: NONE,
    }
}

#[test]
fn padding_of_a_pool_does_not_count() {
    let pool = |kind, same, stride| run(kind, strided(same, [2, 2], stride, 1), SQUARE, &[]);
    let (average, max) = (
        BuiltinOperator::AVERAGE_POOL_2D,
        BuiltinOperator::MAX_POOL_2D,
    );
    let (dims, values) = pool(average, true, 2);
    assert_eq!(dims, [1, 2, 2, 1]);
    assert_close(&values, &[3.0, 4.5, 7.5, 9.0]);
    assert_close(&pool(average, false, 1).1, &[3.0, 4.0, 6.0, 7.0]);
    assert_close(&pool(max, true, 2).1, &[5.0, 6.0, 8.0, 9.0]);
}

#[test]
fn a_convolution_pads_more_at_the_end_and_spreads_its_taps() {
    let convolve = |options, kernel: Constant<'_>| {
        let bias: Constant<'_> = (&[1], &[0.5]);
        run(BuiltinOperator::CONV_2D, options, SQUARE, &[kernel, bias]).1
    };
    let kernel: Constant<'_> = (&[1, 2, 2, 1], &[1.0, 10.0, 100.0, 1000.0]);
    let same = convolve(strided(true, [1, 1], 2, 1), kernel);
    assert_close(&same, &[5421.5, 603.5, 87.5, 9.5]);
    // Taps two apart reach from corner to corner.
    assert_close(&convolve(strided(false, [1, 1], 1, 2), kernel), &[9731.5]);
}

#[test]
fn groups_and_multipliers_keep_to_their_channels() {
    let input: Constant<'_> = (&[1, 1, 1, 4], &[1.0, 2.0, 3.0, 4.0]);
    let kernel: Constant<'_> = (&[2, 1, 1, 2], &[1.0, 10.0, 1.0, 10.0]);
    let options = window(true, [1, 1], NONE);
    let grouped = run(BuiltinOperator::CONV_2D, options.clone(), input, &[kernel]);
    assert_close(&grouped.1, &[21.0, 43.0]);
    let input: Constant<'_> = (&[1, 1, 1, 2], &[1.0, 2.0]);
    let kernel: Constant<'_> = (&[1, 1, 1, 4], &[1.0, 10.0, 1.0, 10.0]);
    let depthwise = run(
        BuiltinOperator::DEPTHWISE_CONV_2D,
        options,
        input,
        &[kernel],
    );
    assert_close(&depthwise.1, &[1.0, 10.0, 2.0, 20.0]);
}

#[test]
fn rows_are_multiplied_by_weights() {
    let input: Constant<'_> = (&[1, 2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let weights: Constant<'_> = (&[1, 2], &[1.0, 10.0]);
    let rows = |keep| {
        run(
            BuiltinOperator::FULLY_CONNECTED,
            dense(keep, NONE),
            input,
            &[weights],
        )
    };
    assert_eq!(rows(false), (vec![2, 1], vec![21.0, 43.0]));
    assert_eq!(rows(true), (vec![1, 2, 1], vec![21.0, 43.0]));
}

#[test]
fn stacks_of_matrices_are_multiplied_and_broadcast() {
    let a: Constant<'_> = (&[2, 1, 2], &[1.0, 2.0, 3.0, 4.0]);
    let product = |adjoint, b| {
        let options = Options::BatchMatmul { adjoint };
        run(BuiltinOperator::BATCH_MATMUL, options, a, &[b])
    };
    let square: Constant<'_> = (&[2, 2], &[1.0, 10.0, 100.0, 1000.0]);
    let plain = (vec![2, 1, 2], vec![201.0, 2010.0, 403.0, 4030.0]);
    assert_eq!(product([false, false], square), plain);
    let turned = (vec![2, 1, 2], vec![21.0, 2100.0, 43.0, 4300.0]);
    assert_eq!(product([false, true], square), turned);
    let row: Constant<'_> = (&[1, 1, 2], &[1.0, 10.0]);
    let outer = (
        vec![2, 2, 2],
        vec![1.0, 10.0, 2.0, 20.0, 3.0, 30.0, 4.0, 40.0],
    );
    assert_eq!(product([true, false], row), outer);
}

#[test]
fn a_resize_reads_the_pixels_that_its_options_name() {
    let line: Constant<'_> = (&[1, 1, 3, 1], &[0.0, 10.0, 20.0]);
    let resize = |kind, align_corners, half_pixel_centers, width| {
        let options = Options::Resize {
            align_corners,
            half_pixel_centers,
        };
        run(kind, options, line, &[(&[2], &[1.0, width])]).1
    };
    let bilinear = |align, half| resize(BuiltinOperator::RESIZE_BILINEAR, align, half, 6.0);
    assert_close(&bilinear(false, false), &[0., 5., 10., 15., 20., 20.]);
    assert_close(&bilinear(true, false), &[0., 4., 8., 12., 16., 20.]);
    assert_close(&bilinear(false, true), &[0., 2.5, 7.5, 12.5, 17.5, 20.]);
    let kind = BuiltinOperator::RESIZE_NEAREST_NEIGHBOR;
    let nearest = |align, half| resize(kind, align, half, 5.0);
    assert_close(&nearest(false, false), &[0., 0., 10., 10., 20.]);
    assert_close(&nearest(true, false), &[0., 10., 10., 20., 20.]);
    assert_close(&nearest(false, true), &[0., 0., 10., 20., 20.]);
}

#[test]
fn reductions_go_over_any_axes() {
    let input: Constant<'_> = (&[1, 2, 3], &[1., 2., 3., 4., 5., 6.]);
    let reduce = |kind, axes, keep_dims| run(kind, Options::Reduce { keep_dims }, input, &[axes]);
    let last: Constant<'_> = (&[], &[-1.0]);
    let cases = [
        (BuiltinOperator::SUM, [6.0, 15.0]),
        (BuiltinOperator::MEAN, [2.0, 5.0]),
        (BuiltinOperator::REDUCE_PROD, [6.0, 120.0]),
        (BuiltinOperator::REDUCE_MAX, [3.0, 6.0]),
        (BuiltinOperator::REDUCE_MIN, [1.0, 4.0]),
    ];
    for (kind, expected) in cases {
        assert_eq!(reduce(kind, last, false), (vec![1, 2], expected.to_vec()));
    }
    let both: Constant<'_> = (&[2], &[1.0, 0.0]);
    let sums = (vec![1, 1, 3], vec![5.0, 7.0, 9.0]);
    assert_eq!(reduce(BuiltinOperator::SUM, both, true), sums);
}

#[test]
fn elements_are_mapped_joined_and_chosen() {
    let input: Constant<'_> = (&[1, 2], &[-2.0, 4.0]);
    let unary = |kind| run(kind, Options::Plain, input, &[]).1;
    assert_close(&unary(BuiltinOperator::HARD_SWISH), &[-1.0 / 3.0, 4.0]);
    assert_close(&unary(BuiltinOperator::LOGISTIC), &[0.119_203, 0.982_014]);
    assert_close(&unary(BuiltinOperator::RELU6), &[0.0, 4.0]);
    let leaky = Options::LeakyRelu { alpha: 0.25 };
    assert_close(
        &run(BuiltinOperator::LEAKY_RELU, leaky, input, &[]).1,
        &[-0.5, 4.0],
    );
    let column: Constant<'_> = (&[2, 1], &[1.0, 10.0]);
    let sums = run(BuiltinOperator::SUB, arithmetic(), input, &[column]);
    assert_eq!(sums, (vec![2, 2], vec![-3.0, 3.0, -12.0, -6.0]));
    let condition: Constant<'_> = (&[2], &[1.0, 0.0]);
    let chosen = run(
        BuiltinOperator::SELECT_V2,
        Options::Plain,
        condition,
        &[input, column],
    );
    assert_eq!(chosen, (vec![2, 2], vec![-2.0, 1.0, -2.0, 10.0]));
}

fn arithmetic() -> Options {
    Options::Arithmetic { activation: NONE }
}

#[test]
fn quotients_of_integers_are_cut() {
    let value = |x: f32| Value::new(vec![1], vec![x]);
    let divide = |a, b, integer| {
        let quotient = elementwise::binary(&value(a), &value(b), BuiltinOperator::DIV, integer);
        quotient.unwrap().data[0]
    };
    assert_eq!(divide(-7.0, 2.0, true), -3.0);
    assert_eq!(divide(-7.0, 2.0, false), -3.5);
}

#[test]
fn elements_move_as_told() {
    let input: Constant<'_> = (&[1, 2, 3], &[1., 2., 3., 4., 5., 6.]);
    let plain = |kind, constants: &[Constant<'_>]| run(kind, Options::Plain, input, constants);
    let order: Constant<'_> = (&[3], &[0.0, 2.0, 1.0]);
    let turned = (vec![1, 3, 2], vec![1., 4., 2., 5., 3., 6.]);
    assert_eq!(plain(BuiltinOperator::TRANSPOSE, &[order]), turned);
    let pads: Constant<'_> = (&[3, 2], &[0., 0., 1., 0., 0., 1.]);
    let minus: Constant<'_> = (&[], &[-1.0]);
    let padded = vec![-1., -1., -1., -1., 1., 2., 3., -1., 4., 5., 6., -1.];
    let padded = (vec![1, 3, 4], padded);
    assert_eq!(plain(BuiltinOperator::PADV2, &[pads, minus]), padded);
    let (begin, size): (Constant<'_>, Constant<'_>) =
        ((&[3], &[0., 1., 0.]), (&[3], &[1., -1., 2.]));
    let part = (vec![1, 1, 2], vec![4.0, 5.0]);
    assert_eq!(plain(BuiltinOperator::SLICE, &[begin, size]), part);
    let concat = Options::Concat {
        axis: -1,
        activation: NONE,
    };
    let other: Constant<'_> = (&[1, 2, 1], &[7.0, 8.0]);
    let joined = (vec![1, 2, 4], vec![1., 2., 3., 7., 4., 5., 6., 8.]);
    assert_eq!(
        run(BuiltinOperator::CONCATENATION, concat, input, &[other]),
        joined
    );
    let shape: Constant<'_> = (&[2], &[-1.0, 2.0]);
    let reshape = Options::Reshape { shape: None };
    assert_eq!(
        run(BuiltinOperator::RESHAPE, reshape, input, &[shape]).0,
        [3, 2]
    );
    assert_eq!(plain(BuiltinOperator::SHAPE, &[]).1, [1.0, 2.0, 3.0]);
}

#[test]
fn strided_slices_go_both_ways_and_obey_their_masks() {
    let line: Constant<'_> = (&[5], &[0., 1., 2., 3., 4.]);
    let slice = |begin, end, step, masks: Masks| {
        let ends: [Constant<'_>; 3] = [(&[1], &[begin]), (&[1], &[end]), (&[1], &[step])];
        let kind = BuiltinOperator::STRIDED_SLICE;
        run(kind, Options::StridedSlice(masks), line, &ends)
    };
    let none = Masks::NONE;
    assert_eq!(slice(1.0, 5.0, 2.0, none).1, [1.0, 3.0]);
    assert_eq!(slice(-2.0, 99.0, 1.0, none).1, [3.0, 4.0]);
    assert_eq!(slice(4.0, 1.0, -1.0, none).1, [4.0, 3.0, 2.0]);
    let open = Masks {
        begin: 1,
        end: 1,
        ..none
    };
    assert_eq!(slice(2.0, 3.0, -2.0, open).1, [4.0, 2.0, 0.0]);
    let offset = Masks {
        offset: true,
        ..none
    };
    assert_eq!(slice(2.0, 2.0, 1.0, offset).1, [2.0, 3.0]);
    let single = Masks {
        shrink_axis: 1,
        ..none
    };
    assert_eq!(slice(-1.0, 0.0, 1.0, single), (vec![], vec![4.0]));
}

#[test]
fn what_depends_on_no_input_is_computed_once() {
    let mut file = File::default();
    let input = file.tensor(&[1, 4]);
    let (two, three) = (file.floats(&[1], &[2.0]), file.floats(&[1], &[3.0]));
    let (six, output) = (file.tensor(&[1]), file.tensor(&[1, 4]));
    file.step(BuiltinOperator::MUL, arithmetic(), &[two, three], six);
    file.step(BuiltinOperator::ADD, arithmetic(), &[input, six], output);
    let interpreter = Interpreter::new(&file.bytes(input, output)).unwrap();
    let traced = interpreter.run(&[vec![0.0, 1.0, 2.0, 3.0]]).unwrap();
    assert_eq!(traced.len(), 1);
    assert_eq!(traced[0].values, [6.0, 7.0, 8.0, 9.0]);
}

#[test]
fn tensors_that_are_too_large_are_refused() {
    let operand = Value::new(vec![1], vec![1.0]);
    let shape = Value::new(vec![2], vec![65536.0, 65536.0]);
    let error = shape::broadcast_to(&operand, &shape).unwrap_err();
    assert!(error.contains("too large"), "{error}");
}
