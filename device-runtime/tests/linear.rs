//! Convolutions and fully connected layers against an oracle that loops and nothing else.

use crate::network::*;
use edgeprune_format::manifest::{Activation, DType, Op, Quantization, Window};
use edgeprune_runtime::quantize::bf16;
use edgeprune_runtime::{Arena, KernelSet, Package, Session};

/// A random layer.
struct Layer {
    /// Height, width, channels.
    input: [usize; 3],
    output: [usize; 3],
    window: Window,
    groups: usize,
    depthwise: bool,
    activation: Activation,
}

impl Layer {
    fn random(random: &mut Random, depthwise: bool) -> Self {
        let groups = random.one_of(&[1, 1, 1, 2, 3]);
        let per_group = random.one_of(&[1, 2, 3, 5, 8, 16, 24, 31, 32, 33, 64, 70]);
        let channels = per_group * groups;
        let filters = match depthwise {
            true => channels,
            false => groups * random.one_of(&[1, 2, 3, 4, 5, 7, 8, 13, 32, 65]),
        };
        let kernel = [random.size(1, 4), random.size(1, 4)];
        let pointwise = !depthwise && random.range(0, 2) == 0;
        let kernel = if pointwise { [1, 1] } else { kernel };
        let stride = [random.size(1, 3), random.size(1, 3)];
        let stride = if random.range(0, 1) == 0 {
            [1, 1]
        } else {
            stride
        };
        let dilation = [random.size(1, 2), random.size(1, 3)];
        let pad = [random.size(0, kernel[0]), random.size(0, kernel[1])];
        let pad = if random.range(0, 1) == 0 { [0, 0] } else { pad };
        let input = [random.size(1, 9), random.size(1, 11)];
        let extent = |axis: usize| {
            let window = (kernel[axis] - 1) * dilation[axis] + 1;
            let after = random_after(pad[axis]);
            ((input[axis] + pad[axis] + after).saturating_sub(window)) / stride[axis] + 1
        };
        let activation = random.one_of(&[
            Activation::None,
            Activation::Relu,
            Activation::Clamp {
                min: -0.7,
                max: 1.3,
            },
        ]);
        Self {
            input: [input[0], input[1], channels],
            output: [extent(0), extent(1), filters],
            window: Window {
                kernel: kernel.map(|x| x as u16),
                stride: stride.map(|x| x as u16),
                dilation: dilation.map(|x| x as u16),
                pad: pad.map(|x| x as u16),
            },
            groups: if depthwise { channels } else { groups },
            depthwise,
            activation,
        }
    }

    /// A depthwise layer with the window for which sets may have a kernel of its own.
    fn three_by_three(random: &mut Random) -> Self {
        let channels = random.one_of(&[8, 15, 16, 17, 32, 40]);
        let input = [random.size(1, 7), random.size(1, 9)];
        let pad = [random.size(0, 3), random.size(0, 3)];
        let stride = [random.size(1, 3), random.size(1, 3)];
        let output = [0, 1].map(|axis| {
            let after = random.size(0, 2);
            (input[axis] + pad[axis] + after).saturating_sub(3) / stride[axis] + 1
        });
        Self {
            input: [input[0], input[1], channels],
            output: [output[0], output[1], channels],
            window: Window {
                kernel: [3, 3],
                stride: stride.map(|x| x as u16),
                dilation: [1, 1],
                pad: pad.map(|x| x as u16),
            },
            groups: channels,
            depthwise: true,
            activation: random.one_of(&[Activation::None, Activation::Relu]),
        }
    }

    /// A layer with neighbouring windows of 3 x 3, for which sets may have a kernel of its own, or one that such a kernel does
    /// not take.
    fn same_three_by_three(random: &mut Random) -> Self {
        let width = random.one_of(&[7, 8, 16, 72]);
        let input = [random.size(1, 4), width, random.one_of(&[8, 16, 32])];
        let filters = random.one_of(&[8, 12, 24]);
        Self {
            input,
            output: [input[0], input[1], filters],
            window: Window {
                kernel: [3, 3],
                stride: [1, 1],
                dilation: [1, 1],
                pad: [1, 1],
            },
            groups: 1,
            depthwise: false,
            activation: random.one_of(&[Activation::None, Activation::Relu]),
        }
    }

    /// A layer whose window's rows are no whole number of any kernel's steps.
    fn first(random: &mut Random) -> Self {
        let kernel = [random.size(1, 4), random.size(1, 7)];
        let input = [random.size(1, 9), random.size(1, 11)];
        let pad = kernel.map(|size| random.size(0, size - 1));
        let stride = [random.size(1, 2), random.size(1, 2)];
        let output = [0, 1].map(|axis| {
            (input[axis] + 2 * pad[axis]).saturating_sub(kernel[axis]) / stride[axis] + 1
        });
        Self {
            input: [input[0], input[1], random.one_of(&[1, 2, 3, 5])],
            output: [output[0], output[1], random.one_of(&[1, 8, 16, 33, 200])],
            window: Window {
                kernel: kernel.map(|x| x as u16),
                stride: stride.map(|x| x as u16),
                dilation: [random.size(1, 2) as u16, 1],
                pad: pad.map(|x| x as u16),
            },
            groups: 1,
            depthwise: false,
            activation: Activation::None,
        }
    }

    /// A depthwise convolution with square windows, which kernels are written for.
    fn random_square(random: &mut Random) -> Self {
        let mut layer = Self::random(random, true);
        let side = random.one_of(&[3, 5]);
        let channels = random.one_of(&[8, 16, 28, 32, 47, 64, 95, 144]);
        let stride = random.one_of(&[1, 1, 2, 3]);
        let dilation = random.one_of(&[1, 1, 1, 2]);
        let pad = random.range(0, i64::from(side) / 2) as u16;
        let input = [random.size(1, 9), random.size(1, 23)];
        let window = (side - 1) * dilation + 1;
        let extent = |size: usize| {
            let reached = size + 2 * usize::from(pad);
            reached.saturating_sub(usize::from(window)) / usize::from(stride) + 1
        };
        layer.input = [input[0], input[1], channels];
        layer.output = [extent(input[0]), extent(input[1]), channels];
        layer.groups = channels;
        layer.window = Window {
            kernel: [side; 2],
            stride: [stride; 2],
            dilation: [dilation; 2],
            pad: [pad; 2],
        };
        layer
    }

    fn shape(of: [usize; 3]) -> [u32; 4] {
        [1, of[0] as u32, of[1] as u32, of[2] as u32]
    }

    fn weight_shape(&self) -> [u32; 4] {
        let [height, width] = self.window.kernel.map(u32::from);
        match self.depthwise {
            true => [1, height, width, self.input[2] as u32],
            false => [
                self.output[2] as u32,
                height,
                width,
                (self.input[2] / self.groups) as u32,
            ],
        }
    }

    fn weights(&self) -> usize {
        self.weight_shape().iter().product::<u32>() as usize
    }

    fn op(&self, linear: edgeprune_format::manifest::Linear) -> Op {
        let window = self.window;
        match self.depthwise {
            true => Op::DepthwiseConv2d { linear, window },
            false => Op::Conv2d {
                linear,
                window,
                groups: self.groups as u32,
            },
        }
    }

    /// Calls `tap(input element, weight element)` for each product of an output element, in order;
    /// `None` for an input in the padding.
    fn taps(&self, at: [usize; 3], mut tap: impl FnMut(Option<usize>, usize)) {
        let [y, x, filter] = at;
        let inputs = self.input[2] / self.groups;
        let group = filter / (self.output[2] / self.groups);
        let [height, width] = self.window.kernel.map(usize::from);
        for ky in 0..height {
            for kx in 0..width {
                let coordinate = |axis: usize, out: usize, k: usize| {
                    (out * usize::from(self.window.stride[axis])
                        + k * usize::from(self.window.dilation[axis])) as isize
                        - self.window.pad[axis] as isize
                };
                let (iy, ix) = (coordinate(0, y, ky), coordinate(1, x, kx));
                let inside = iy >= 0
                    && ix >= 0
                    && iy < self.input[0] as isize
                    && ix < self.input[1] as isize;
                for c in 0..inputs {
                    let channel = group * inputs + c;
                    let element = inside.then(|| {
                        (iy as usize * self.input[1] + ix as usize) * self.input[2] + channel
                    });
                    let weight = match self.depthwise {
                        true => (ky * width + kx) * self.input[2] + filter,
                        false => ((filter * height + ky) * width + kx) * inputs + c,
                    };
                    tap(element, weight);
                }
            }
        }
    }

    fn positions(&self) -> impl Iterator<Item = [usize; 3]> + '_ {
        let [height, width, filters] = self.output;
        (0..height).flat_map(move |y| {
            (0..width).flat_map(move |x| (0..filters).map(move |filter| [y, x, filter]))
        })
    }
}

fn random_after(pad: usize) -> usize {
    pad
}

/// The clamp, rounding and zero point of the contract, with the standard library's rounding.
fn code(steps: f32, activation: Activation, scale: f32, zero_point: i8) -> i8 {
    let zero_point = f32::from(zero_point);
    let bound = |x: f32| (x / scale).round_ties_even() + zero_point;
    let (min, max) = activation.bounds();
    let (lo, hi) = (bound(min).max(-128.0), bound(max).min(127.0));
    let (lo, hi) = (lo.min(127.0), hi.max(-128.0));
    (steps.round_ties_even() + zero_point).clamp(lo, hi) as i8
}

/// Makes all but `percent` of the blocks zero that sparse kernels leave out: four codes of four output channels of `depth`.
fn keep_blocks(random: &mut Random, percent: i64, depth: usize, weights: &mut [i8]) {
    for rows in weights.chunks_mut(4 * depth) {
        for k in (0..depth).step_by(4) {
            if random.range(0, 99) >= percent {
                let block = rows
                    .chunks_mut(depth)
                    .flat_map(|row| row.iter_mut().skip(k).take(4));
                block.for_each(|code| *code = 0);
            }
        }
    }
}

fn integer_case(seed: u64, depthwise: bool, float_output: bool) {
    sparse_case(seed, depthwise, float_output, 100);
}

/// A case of which so many of a hundred blocks are not zero.
fn sparse_case(seed: u64, depthwise: bool, float_output: bool, percent: i64) {
    let random = &mut Random::new(seed);
    let layer = Layer::random(random, depthwise);
    integer_layer(random, seed, &layer, float_output, percent);
}

fn integer_layer(random: &mut Random, seed: u64, layer: &Layer, float_output: bool, percent: i64) {
    let filters = layer.output[2];
    let (input_scale, input_zero) = (
        0.01 + random.unit() / 10.0,
        random.one_of(&[-128, -3, 0, 7, 127]),
    );
    let (output_scale, output_zero) = (0.01 + random.unit(), random.one_of(&[-128, 0, 11, 127]));
    let input = random.codes(layer.input.iter().product());
    let sparse = random.range(0, 1) == 0;
    let mut weights = random.weights(layer.weights());
    if sparse {
        weights.iter_mut().for_each(|w| *w = *w / 64 * 3);
    }
    if !layer.depthwise {
        keep_blocks(random, percent, layer.weights() / filters, &mut weights);
    }
    let mut network = Network::default();
    let per_channel = random.range(0, 2);
    let scales: Vec<f32> = match per_channel {
        0 => vec![0.003; filters],
        1 => (0..filters)
            .map(|_| 0.001 + random.unit() / 100.0)
            .collect(),
        _ => (0..filters)
            .map(|_| bf16(0x3b00 + random.range(0, 0x80) as u16))
            .collect(),
    };
    let quantization = match per_channel {
        0 => Quantization::PerTensor {
            scale: 0.003,
            zero_point: 0,
        },
        1 => network.scales(&scales),
        _ => {
            let bytes: Vec<u8> = scales
                .iter()
                .flat_map(|x| ((x.to_bits() >> 16) as u16).to_le_bytes())
                .collect();
            let shape = [1, 1, 1, filters as u32];
            let none = Quantization::None;
            let scales = network
                .writer
                .constant(DType::Bf16, shape, none, &bytes)
                .unwrap();
            Quantization::PerChannel { scales }
        }
    };
    let (bias, biases) = match random.range(0, 2) {
        0 => (None, vec![0; filters]),
        1 => {
            let biases: Vec<i32> = (0..filters)
                .map(|_| random.range(-20000, 20000) as i32)
                .collect();
            (Some(network.constant_words(&biases)), biases)
        }
        _ => {
            let codes: Vec<i16> = (0..filters)
                .map(|_| random.range(-32768, 32767) as i16)
                .collect();
            let bytes: Vec<u8> = codes.iter().flat_map(|x| x.to_le_bytes()).collect();
            let shape = [1, 1, 1, filters as u32];
            let id = network
                .writer
                .constant(DType::I16, shape, Quantization::Shift(3), &bytes)
                .unwrap();
            (Some(id), codes.iter().map(|&x| i32::from(x) << 3).collect())
        }
    };
    let weight_id = network.constant_codes(layer.weight_shape(), quantization, &weights);
    let from = network.codes(Layer::shape(layer.input), input_scale, input_zero);
    let to = match float_output {
        true => network.floats(Layer::shape(layer.output)),
        false => network.codes(Layer::shape(layer.output), output_scale, output_zero),
    };
    let op = layer.op(linear(weight_id, bias, layer.activation));
    let package = network.single(op, &[from], to);
    let output = run(&package, &[&bytes_of(&input)]);

    let sums = layer.positions().map(|at| {
        let mut sum = biases[at[2]];
        layer.taps(at, |element, weight| {
            let x = element.map_or(0, |i| i32::from(input[i]) - i32::from(input_zero));
            sum += x * i32::from(weights[weight]);
        });
        (at[2], sum)
    });
    if float_output {
        let (min, max) = layer.activation.bounds();
        let expected: Vec<f32> = sums
            .map(|(filter, sum)| (sum as f32 * (input_scale * scales[filter])).clamp(min, max))
            .collect();
        assert_eq!(floats_of(&output), expected, "seed {seed}");
    } else {
        let expected: Vec<i8> = sums
            .map(|(filter, sum)| {
                let steps = sum as f32 * ((input_scale * scales[filter]) / output_scale);
                code(steps, layer.activation, output_scale, output_zero)
            })
            .collect();
        assert_eq!(codes_of(&output), expected, "seed {seed}");
    }
}

fn float_case(seed: u64, depthwise: bool, coded: bool) {
    let random = &mut Random::new(seed);
    let layer = Layer::random(random, depthwise);
    let filters = layer.output[2];
    let input = random.floats(layer.input.iter().product());
    let biases = random.floats(filters);
    let mut network = Network::default();
    let bias = network.constant_floats([1, 1, 1, filters as u32], &biases);
    let (weights, scales, weight_id): (Vec<f32>, Vec<f32>, _) = if coded {
        let codes = random.codes(layer.weights());
        let scales: Vec<f32> = (0..filters)
            .map(|_| 0.001 + random.unit() / 100.0)
            .collect();
        let quantization = network.scales(&scales);
        let id = network.constant_codes(layer.weight_shape(), quantization, &codes);
        (
            codes.iter().map(|&code| f32::from(code)).collect(),
            scales,
            id,
        )
    } else {
        let weights = random.floats(layer.weights());
        let shape = layer.weight_shape();
        let id = match depthwise {
            true => network.constant_floats(shape, &weights),
            false => network.constant_panels(shape, filters / layer.groups, &weights),
        };
        (weights, vec![1.0; filters], id)
    };
    let from = network.floats(Layer::shape(layer.input));
    let to = network.floats(Layer::shape(layer.output));
    let op = layer.op(linear(weight_id, Some(bias), layer.activation));
    let package = network.single(op, &[from], to);
    let output = floats_of(&run(&package, &[&bytes_of_floats(&input)]));

    let (min, max) = layer.activation.bounds();
    let expected: Vec<f32> = layer
        .positions()
        .map(|at| {
            let mut sum = 0.0f32;
            layer.taps(at, |element, weight| {
                sum = element
                    .map_or(0.0, |i| input[i])
                    .mul_add(weights[weight], sum);
            });
            sum.mul_add(scales[at[2]], biases[at[2]]).clamp(min, max)
        })
        .collect();
    assert_eq!(output, expected, "seed {seed}");
}

#[test]
fn integer_convolutions_agree_with_the_oracle() {
    (0..600).for_each(|seed| integer_case(seed, false, false));
}

#[test]
fn integer_convolutions_with_blocks_of_zeros_agree_with_the_oracle() {
    for percent in [0, 5, 20, 50, 80] {
        (0..150).for_each(|seed| sparse_case(seed, false, false, percent));
    }
}

/// The names of the kernels that run a 3x3 convolution with a stride of 2 of which so many of a hundred blocks are not zero, in each set.
fn kernels_of(percent: i64) -> Vec<String> {
    let (channels, size) = (32, 8);
    let random = &mut Random::new(1);
    let mut weights = random.weights(channels * 9 * channels);
    keep_blocks(random, percent, 9 * channels, &mut weights);
    let mut network = Network::default();
    let quantization = Quantization::PerTensor {
        scale: 0.02,
        zero_point: 0,
    };
    let channels = channels as u32;
    let id = network.constant_codes([channels, 3, 3, channels], quantization, &weights);
    let sizes = [(2 * size, 0.1), (size, 0.2)];
    let [from, to] = sizes.map(|(size, scale)| network.codes([1, size, size, channels], scale, 3));
    let window = Window {
        kernel: [3, 3],
        stride: [2, 2],
        dilation: [1, 1],
        pad: [1, 1],
    };
    let op = Op::Conv2d {
        linear: linear(id, None, Activation::None),
        window,
        groups: 1,
    };
    let bytes = network.single(op, &[from], to);
    let package = Package::open(&bytes).unwrap();
    let sets = KernelSet::available();
    sets.map(|kernels| {
        let mut memory = Arena::new(package.arena_bytes());
        let arena = memory.bytes_mut();
        let session = Session::<1>::with_kernels(&package, arena, kernels).unwrap();
        session.kernel(0).unwrap().to_string()
    })
    .collect()
}

#[test]
fn blocks_of_zeros_are_left_out_where_that_pays() {
    let is_sparse = |name: &String| name.contains("spmm");
    assert!(!kernels_of(100).iter().any(is_sparse));
    let has_sparse = |name: &str| ["neon", "neondot", "neoni8mm"].contains(&name);
    let sets = KernelSet::available().map(KernelSet::name);
    for (set, name) in sets.zip(kernels_of(10)) {
        assert_eq!(is_sparse(&name), has_sparse(set), "{set}: {name}");
    }
}

#[test]
fn integer_depthwise_convolutions_agree_with_the_oracle() {
    (0..400).for_each(|seed| integer_case(seed, true, false));
}

#[test]
fn depthwise_convolutions_by_a_3x3_window_agree_with_the_oracle() {
    for seed in 0..400 {
        let random = &mut Random::new(seed);
        let layer = Layer::three_by_three(random);
        integer_layer(random, seed, &layer, false, 100);
    }
}

#[test]
fn convolutions_of_neighbouring_windows_agree_with_the_oracle() {
    for seed in 0..100 {
        let random = &mut Random::new(seed);
        let layer = Layer::same_three_by_three(random);
        integer_layer(random, seed, &layer, false, 100);
    }
}

#[test]
fn first_layers_with_few_channels_agree_with_the_oracle() {
    for seed in 0..400 {
        let random = &mut Random::new(seed);
        let layer = Layer::first(random);
        integer_layer(random, seed, &layer, seed % 5 == 0, 100);
    }
}

#[test]
fn integer_depthwise_convolutions_with_square_windows_agree_with_the_oracle() {
    for seed in 0..400 {
        let random = &mut Random::new(seed);
        let layer = Layer::random_square(random);
        integer_layer(random, seed, &layer, seed % 8 == 0, 100);
    }
}

#[test]
fn integer_layers_with_float_output_agree_with_the_oracle() {
    (0..200).for_each(|seed| integer_case(seed, seed % 2 == 0, true));
}

#[test]
fn float_convolutions_agree_with_the_oracle_bit_for_bit() {
    (0..300).for_each(|seed| float_case(seed, false, false));
    (0..200).for_each(|seed| float_case(seed, true, false));
}

#[test]
fn float_layers_with_coded_weights_agree_with_the_oracle_bit_for_bit() {
    (0..200).for_each(|seed| float_case(seed, false, true));
    (0..200).for_each(|seed| float_case(seed, true, true));
}

#[test]
fn fully_connected_layers_agree_with_a_sum_of_products() {
    for seed in 0..100 {
        let random = &mut Random::new(seed);
        let (rows, inputs, outputs) = (random.size(1, 9), random.size(1, 130), random.size(1, 70));
        let input = random.codes(rows * inputs);
        let weights = random.weights(inputs * outputs);
        let mut network = Network::default();
        let quantization = Quantization::PerTensor {
            scale: 0.02,
            zero_point: 0,
        };
        let shape = [outputs as u32, 1, 1, inputs as u32];
        let id = network.constant_codes(shape, quantization, &weights);
        let from = network.codes([1, 1, rows as u32, inputs as u32], 0.05, 4);
        let to = network.codes([1, 1, rows as u32, outputs as u32], 3.0, -9);
        let op = Op::FullyConnected {
            linear: linear(id, None, Activation::None),
        };
        let package = network.single(op, &[from], to);
        let output = codes_of(&run(&package, &[&bytes_of(&input)]));
        let mut expected = Vec::new();
        for row in input.chunks(inputs) {
            for column in weights.chunks(inputs) {
                let products = row.iter().zip(column);
                let sum: i32 = products
                    .map(|(&x, &w)| (i32::from(x) - 4) * i32::from(w))
                    .sum();
                let steps = sum as f32 * ((0.05f32 * 0.02) / 3.0);
                expected.push(code(steps, Activation::None, 3.0, -9));
            }
        }
        assert_eq!(output, expected, "seed {seed}");
    }
}

#[test]
fn the_largest_sums_do_not_overflow() {
    let depth = 65535;
    for (code_in, weight, bias) in [
        (-128, -127, i32::MAX),
        (127, -127, i32::MIN),
        (-128, 127, i32::MIN),
    ] {
        let mut network = Network::default();
        let quantization = Quantization::PerTensor {
            scale: 1.0,
            zero_point: 0,
        };
        let weights = network.constant_codes(
            [1, 1, 1, depth],
            quantization,
            &vec![weight; depth as usize],
        );
        let bias_id = network.constant_words(&[bias]);
        let from = network.codes([1, 1, 1, depth], 1.0, 0);
        let to = network.floats([1, 1, 1, 1]);
        let op = Op::FullyConnected {
            linear: linear(weights, Some(bias_id), Activation::None),
        };
        let package = network.single(op, &[from], to);
        let output = floats_of(&run(&package, &[&vec![code_in as u8; depth as usize]]));
        let bias = i64::from(bias).clamp(-(1 << 30), 1 << 30);
        let sum = i64::from(depth) * i64::from(code_in as i8) * i64::from(weight) + bias;
        assert_eq!(output, [sum as f32]);
    }
}
