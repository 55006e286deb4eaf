//! Convolutions of 3 x 3 that step by one, which some kernels compute in tiles: every set agrees with `portable`.

use crate::network::*;
use edgeprune_format::manifest::{Activation, Op, Quantization, Window};
use edgeprune_runtime::{Arena, DEFAULT_NODES, KernelSet, Package, Session};

/// Height, width, input channels, output channels, padding before and after.
#[derive(Clone, Copy, Debug)]
struct Layer {
    input: [usize; 2],
    channels: usize,
    filters: usize,
    pad: [usize; 2],
    after: [usize; 2],
}

impl Layer {
    fn random(random: &mut Random) -> Self {
        Self {
            input: [random.size(3, 21), random.size(3, 23)],
            channels: random.one_of(&[8, 13, 16, 24, 31, 40, 64]),
            filters: random.one_of(&[7, 8, 16, 17, 24, 33, 64, 130]),
            pad: [random.size(0, 2), random.size(0, 2)],
            after: [random.size(0, 2), random.size(0, 2)],
        }
    }

    fn package(&self, weights: &[i8], biases: &[i32], scale: f32) -> Vec<u8> {
        let output = [0, 1].map(|axis| self.input[axis] + self.pad[axis] + self.after[axis] - 2);
        let shape = |[height, width]: [usize; 2], channels: usize| {
            [1, height as u32, width as u32, channels as u32]
        };
        let mut network = Network::default();
        let quantization = Quantization::PerTensor {
            scale: 0.01,
            zero_point: 0,
        };
        let weight_shape = [self.filters as u32, 3, 3, self.channels as u32];
        let weights = network.constant_codes(weight_shape, quantization, weights);
        let biases = network.constant_words(biases);
        let from = network.codes(shape(self.input, self.channels), 0.02, -11);
        let to = network.codes(shape(output, self.filters), scale, 5);
        let op = Op::Conv2d {
            linear: linear(weights, Some(biases), Activation::None),
            window: Window {
                kernel: [3, 3],
                stride: [1, 1],
                dilation: [1, 1],
                pad: self.pad.map(|pad| pad as u16),
            },
            groups: 1,
        };
        network.single(op, &[from], to)
    }
}

/// Whether kernels of this processor compute it in tiles.
fn is_in_tiles(package: &[u8]) -> bool {
    let package = Package::open(package).unwrap();
    KernelSet::available().any(|kernels| {
        let mut memory = Arena::new(package.arena_bytes_with(kernels, 1));
        let arena = memory.bytes_mut();
        let session = Session::<DEFAULT_NODES>::with_kernels(&package, arena, kernels).unwrap();
        let kernel = session.kernel(0).unwrap();
        kernel.to_string().contains("winograd")
    })
}

/// Runs a layer on random codes by every set, which agree; whether one computes it in tiles.
fn agrees(layer: &Layer, random: &mut Random) -> bool {
    let input = random.codes(layer.input[0] * layer.input[1] * layer.channels);
    let weights = random.weights(layer.filters * 9 * layer.channels);
    let biases: Vec<i32> = (0..layer.filters)
        .map(|_| random.range(-90_000, 90_000) as i32)
        .collect();
    let package = layer.package(&weights, &biases, 0.7);
    run(&package, &[&bytes_of(&input)]);
    is_in_tiles(&package)
}

fn has_tiles() -> bool {
    KernelSet::available().any(|kernels| ["neon", "avx2"].contains(&kernels.name()))
}

#[test]
fn every_shape_gives_the_codes_of_portable() {
    let cases = 60;
    let in_tiles = (0..cases).filter(|&seed| {
        let random = &mut Random::new(seed);
        agrees(&Layer::random(random), random)
    });
    let in_tiles = in_tiles.count();
    assert!(in_tiles > 30 || !has_tiles(), "{in_tiles} of {cases}");
}

#[test]
fn weights_too_large_to_be_kept_serve_many_tiles() {
    let layer = Layer {
        input: [37, 39],
        channels: 60,
        filters: 130,
        pad: [1, 1],
        after: [1, 1],
    };
    assert_eq!(agrees(&layer, &mut Random::new(1)), has_tiles());
}

#[test]
fn the_greatest_sums_of_many_channels_are_exact() {
    for channels in [224, 232, 456, 1000] {
        let layer = Layer {
            input: [13, 14],
            channels,
            filters: 16,
            pad: [1, 1],
            after: [1, 1],
        };
        let (inputs, weights) = (13 * 14 * channels, 16 * 9 * channels);
        for (code, weight) in [(-128, 127), (-128, -127), (127, 127), (127, -127)] {
            let package = layer.package(&vec![weight; weights], &[1 << 20; 16], 1e3);
            let output = codes_of(&run(&package, &[&vec![code as u8; inputs]]));
            // a window inside the input, in the middle of the output
            let sum = (i64::from(code) + 11) * i64::from(weight) * 9 * channels as i64 + (1 << 20);
            let steps = sum as f32 * ((0.02f32 * 0.01) / 1e3);
            let expected = (steps.round_ties_even() + 5.0).clamp(-128.0, 127.0);
            assert_eq!(output[(4 * 14 + 7) * 16], expected as i8, "{channels}");
        }
    }
}

#[test]
fn extreme_codes_and_weights_of_every_sign_are_exact() {
    for seed in 0..12 {
        let random = &mut Random::new(seed);
        let layer = Layer {
            channels: random.one_of(&[16, 64, 240]),
            ..Layer::random(random)
        };
        let codes = layer.input[0] * layer.input[1] * layer.channels;
        let input: Vec<i8> = (0..codes).map(|_| random.one_of(&[-128, 127])).collect();
        let count = layer.filters * 9 * layer.channels;
        let weights: Vec<i8> = (0..count).map(|_| random.one_of(&[-127, 127])).collect();
        let package = layer.package(&weights, &vec![-7; layer.filters], 9.0);
        run(&package, &[&bytes_of(&input)]);
    }
}
