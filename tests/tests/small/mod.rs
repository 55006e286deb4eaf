//! A network that is small enough for every emulated core, and what tests on them need.

#[path = "../../../device-runtime/tests/network/mod.rs"]
pub(crate) mod network;

use edgeprune::dataset::Dataset;
use edgeprune::doctor;
use edgeprune::graph::{Layout, Port};
use edgeprune_boards::Board;
use edgeprune_format::manifest::{Activation, DType, Op, Quantization, Window};
use network::{Network, Random, linear};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// A core with the matrix multiplication extension.
pub(crate) const MATRIX_CORE: &str = "max";

/// One board for each emulated core, and one of a core that no board here has, which runs another's binary.
pub(crate) fn cores() -> Vec<&'static Board> {
    static MATRIX: LazyLock<Board> = LazyLock::new(|| {
        let mut board = edgeprune_boards::find("rpi-5").cloned().unwrap();
        (board.id, board.emulator.cpu) = ("i8mm".into(), MATRIX_CORE.into());
        board
    });
    let mut cores: Vec<&Board> = vec![];
    for board in edgeprune_boards::all().iter().chain([&*MATRIX]) {
        if !cores.iter().any(|seen| seen.emulator == board.emulator) {
            cores.push(board);
        }
    }
    cores
}

/// Fails where these boards cannot be built for and emulated; what is missing is named. Tests that need it are ignored
/// unless they are asked for.
pub(crate) fn need_toolchain(boards: &[&Board]) -> Result<(), Box<dyn Error>> {
    let diagnosis = doctor::examine(boards)?;
    let missing = diagnosis.checks.iter().filter(|c| c.problem.is_some());
    let missing: Vec<&str> = missing.map(|check| check.what.as_str()).collect();
    match missing.is_empty() {
        true => Ok(()),
        false => Err(format!("`cargo xtask test` installs {}", missing.join(", ")).into()),
    }
}

/// A package of an int8 network: convolution, depthwise convolution, mean, classifier, softmax.
pub(crate) fn package(folder: &Path) -> std::io::Result<PathBuf> {
    let mut random = Random::new(7);
    let mut net = Network::default();
    let window = |stride| Window {
        kernel: [3, 3],
        stride: [stride; 2],
        dilation: [1, 1],
        pad: [1, 1],
    };
    let mut constants = |net: &mut Network, shape: [u32; 4], outputs: usize| {
        let scales: Vec<f32> = (0..outputs).map(|_| 0.004 + 0.01 * random.unit()).collect();
        let quantization = net.scales(&scales);
        let codes = random.codes(shape.iter().product::<u32>() as usize);
        let codes: Vec<i8> = codes.iter().map(|&code| code.max(-127)).collect();
        let weights = net.constant_codes(shape, quantization, &codes);
        let bias: Vec<i32> = (0..outputs)
            .map(|_| random.range(-900, 900) as i32)
            .collect();
        let bias = net.constant_words(&bias);
        linear(weights, Some(bias), Activation::Relu)
    };
    let input = net.codes([1, 20, 20, 3], 0.02, -5);
    let wide = net.codes([1, 10, 10, 24], 0.11, -128);
    let deep = net.codes([1, 10, 10, 24], 0.23, -128);
    let pooled = net.codes([1, 1, 1, 24], 0.2, -128);
    let scores = net.codes([1, 1, 1, 10], 0.3, 3);
    let shares = net.activation(DType::F32, [1, 1, 1, 10], Quantization::None);
    net.input_of(input, &[1, 20, 20, 3]);
    net.output(shares);
    let linear = constants(&mut net, [24, 3, 3, 3], 24);
    let op = Op::Conv2d {
        linear,
        window: window(2),
        groups: 1,
    };
    net.node(op, &[input], wide);
    let linear = constants(&mut net, [1, 3, 3, 24], 24);
    let op = Op::DepthwiseConv2d {
        linear,
        window: window(1),
    };
    net.node(op, &[wide], deep);
    net.node(Op::Mean, &[deep], pooled);
    let linear = constants(&mut net, [10, 1, 1, 24], 10);
    net.node(Op::FullyConnected { linear }, &[pooled], scores);
    net.node(Op::Softmax, &[scores], shares);
    let path = folder.join("small.epk");
    fs::write(&path, net.package())?;
    Ok(path)
}

/// Inputs for it.
pub(crate) fn samples() -> Dataset {
    let input = Port {
        name: "input".into(),
        tensor: 0,
        source_shape: vec![1, 20, 20, 3],
        layout: Layout::Nhwc,
    };
    Dataset::synthetic(16, None, &[input])
}
