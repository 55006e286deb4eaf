//! Multiply-accumulates per second of typical layers, for each kernel set.
//!
//! `cargo bench -p edgeprune-runtime --features std`

#[path = "../tests/network/mod.rs"]
mod network;

use edgeprune_format::manifest::{Activation, BinaryKind, Op, Quantization, Window};
use edgeprune_runtime::{Arena, DEFAULT_NODES, KernelSet, Package, Session};
use network::*;
use std::time::Instant;

/// Name, input height and width, channels in and out, kernel, stride, groups (0: depthwise).
type Layer = (&'static str, u32, u32, u32, u16, u16, u32);

const LAYERS: [Layer; 32] = [
    ("resnet stem 7x7", 224, 3, 64, 7, 2, 1),
    ("resnet 3x3 56", 56, 64, 64, 3, 1, 1),
    ("resnet 1x1 56", 56, 64, 256, 1, 1, 1),
    ("resnet 1x1 56 down", 56, 256, 64, 1, 1, 1),
    ("resnet 3x3 14", 14, 256, 256, 3, 1, 1),
    ("resnet 1x1 14", 14, 1024, 256, 1, 1, 1),
    ("resnet 3x3 7", 7, 512, 512, 3, 1, 1),
    ("resnet fc", 1, 2048, 1000, 1, 1, 1),
    ("mobilenet stem 3x3", 224, 3, 32, 3, 2, 1),
    ("mobilenet 1x1 112", 112, 16, 96, 1, 1, 1),
    ("mobilenet 1x1 56", 56, 24, 144, 1, 1, 1),
    ("mobilenet 1x1 14", 14, 384, 64, 1, 1, 1),
    ("mobilenet dw 112", 112, 96, 96, 3, 2, 0),
    ("mobilenet dw 56", 56, 144, 144, 3, 1, 0),
    ("mobilenet dw 14", 14, 576, 576, 3, 1, 0),
    ("kws 10x4", 49, 1, 64, 4, 2, 1),
    ("r8 stem", 32, 3, 16, 3, 1, 1),
    ("r8 16", 32, 16, 16, 3, 1, 1),
    ("r8 32", 16, 32, 32, 3, 1, 1),
    ("r8 64", 8, 64, 64, 3, 1, 1),
    ("kws pw", 11, 64, 64, 1, 1, 1),
    ("kws dw", 11, 64, 64, 3, 1, 0),
    ("kws dw5", 5, 64, 64, 3, 1, 0),
    ("eff dw5 56", 56, 144, 144, 5, 2, 0),
    ("eff dw5 28", 28, 240, 240, 5, 1, 0),
    ("eff dw5 14", 14, 672, 672, 5, 1, 0),
    ("eff dw5 7", 7, 1152, 1152, 5, 1, 0),
    ("eff dw 14", 14, 480, 480, 3, 1, 0),
    ("eff dw 112", 112, 32, 32, 3, 1, 0),
    ("eff pw 14", 14, 672, 112, 1, 1, 1),
    ("eff pw 7", 7, 192, 1152, 1, 1, 1),
    ("eff pw 7 down", 7, 1152, 192, 1, 1, 1),
];

fn main() {
    for float in [false, true] {
        println!("{}", if float { "f32" } else { "i8" });
        for layer in LAYERS {
            let (package, macs) = layer_package(layer, float);
            measure(layer.0, &package, macs);
        }
    }
    measure("add 56x56x256", &add(), (56 * 56 * 256) as f64);
}

fn layer_package(layer: Layer, float: bool) -> (Vec<u8>, f64) {
    let (_, size, channels, filters, kernel, stride, groups) = layer;
    let random = &mut Random::new(1);
    let mut network = Network::default();
    let out = size.div_ceil(u32::from(stride));
    let side = u32::from(kernel);
    let depthwise = groups == 0;
    let shape = match depthwise {
        true => [1, side, side, channels],
        false => [filters, side, side, channels],
    };
    let len = shape.iter().product::<u32>() as usize;
    let (weights, from, to);
    if float {
        weights = network.constant_floats(shape, &random.floats(len)); // in any order
        from = network.floats([1, size, size, channels]);
        to = network.floats([1, out, out, filters]);
    } else {
        let quantization = Quantization::PerTensor {
            scale: 0.01,
            zero_point: 0,
        };
        weights = network.constant_codes(shape, quantization, &random.weights(len));
        from = network.codes([1, size, size, channels], 0.02, -5);
        to = network.codes([1, out, out, filters], 0.3, 2);
    }
    let linear = linear(weights, None, Activation::Relu);
    let window = Window {
        kernel: [kernel; 2],
        stride: [stride; 2],
        dilation: [1; 2],
        pad: [(kernel - 1) / 2; 2],
    };
    let op = match depthwise {
        true => Op::DepthwiseConv2d { linear, window },
        false => Op::Conv2d {
            linear,
            window,
            groups,
        },
    };
    let macs = f64::from(out) * f64::from(out) * len as f64;
    (network.single(op, &[from], to), macs)
}

fn add() -> Vec<u8> {
    let mut network = Network::default();
    let [a, b, out] = [0.1, 0.2, 0.15].map(|scale| network.codes([1, 56, 56, 256], scale, 3));
    let op = Op::Binary {
        kind: BinaryKind::Add,
        activation: Activation::Relu,
    };
    network.single(op, &[a, b], out)
}

fn measure(name: &str, package: &[u8], macs: f64) {
    let package = Package::open(package).expect("a valid package");
    print!("{name:20} {:8.1} MMAC", macs / 1e6);
    for kernels in KernelSet::available() {
        let mut memory = Arena::new(package.arena_bytes_with(kernels, 1));
        let session = Session::<DEFAULT_NODES>::with_kernels(&package, memory.bytes_mut(), kernels);
        let mut session = session.expect("enough memory");
        let mut best = f64::INFINITY;
        let began = Instant::now();
        while began.elapsed().as_millis() < 150 {
            let run = Instant::now();
            session.run(&mut ()).expect("a package that opened");
            best = best.min(run.elapsed().as_secs_f64());
        }
        let (ms, rate) = (best * 1e3, macs / best / 1e9);
        print!("  {} {ms:7.3} ms {rate:6.1} GMAC/s", kernels.name());
    }
    println!();
}
