//! Bytes from an attacker: every one is refused or runs, and nothing panics.

use crate::network::*;
use edgeprune_format::manifest::{
    Activation, BinaryKind, DType, Op, Quantization, ResizeCoordinates, ResizeKind, ResizeLine,
    Window,
};
use edgeprune_format::{FormatError, HASH_LEN, HEADER_LEN};
use edgeprune_runtime::{
    Aligned, Arena as Memory, KernelLayout, KernelSet, OpenError, Package, Pool, Session,
    SessionError,
};
use sha2::{Digest, Sha256};
use std::cell::RefCell;

thread_local! {
    static POOL: RefCell<Pool> = RefCell::new(Pool::new(3).unwrap().with_least_work(0));
}

/// A network with every operator.
fn every_operator() -> Vec<u8> {
    let random = &mut Random::new(1);
    let mut n = Network::default();
    let q = |n: &mut Network, shape| n.codes(shape, 0.05, -3);
    let window = |kernel: u16, stride: u16, pad: u16| Window {
        kernel: [kernel; 2],
        stride: [stride; 2],
        dilation: [1; 2],
        pad: [pad; 2],
    };
    let input = q(&mut n, [1, 8, 8, 3]);
    n.input(input);

    let padded = q(&mut n, [1, 10, 9, 3]);
    let op = Op::Pad {
        before: [1, 0, 0],
        value: 0.0,
    };
    n.node(op, &[input], padded);

    let scales = n.scales(&[0.01, 0.02, 0.03, 0.04]);
    let weights = random.weights(4 * 9 * 3);
    let weights = n.constant_codes([4, 3, 3, 3], scales, &weights);
    let bias = n.constant_words(&[1, -2, 3, -4]);
    let conv = q(&mut n, [1, 8, 7, 4]);
    let op = Op::Conv2d {
        linear: linear(weights, Some(bias), Activation::Relu),
        window: window(3, 1, 0),
        groups: 1,
    };
    n.node(op, &[padded], conv);

    let one = Quantization::PerTensor {
        scale: 0.02,
        zero_point: 0,
    };
    let weights = random.weights(9 * 4);
    let weights = n.constant_codes([1, 3, 3, 4], one, &weights);
    let depthwise = q(&mut n, [1, 8, 7, 4]);
    let op = Op::DepthwiseConv2d {
        linear: linear(weights, None, Activation::None),
        window: window(3, 1, 1),
    };
    n.node(op, &[conv], depthwise);

    let sum = q(&mut n, [1, 8, 7, 4]);
    let op = Op::Binary {
        kind: BinaryKind::Add,
        activation: Activation::None,
    };
    n.node(op, &[conv, depthwise], sum);

    let pooled = q(&mut n, [1, 4, 4, 4]);
    let op = Op::MaxPool2d {
        window: window(2, 2, 0),
    };
    n.node(op, &[sum], pooled);
    let averaged = q(&mut n, [1, 2, 2, 4]);
    let op = Op::AveragePool2d {
        window: window(2, 2, 0),
        count_include_pad: true,
    };
    n.node(op, &[pooled], averaged);
    let resized = q(&mut n, [1, 4, 4, 4]);
    let op = Op::Resize {
        kind: ResizeKind::Bilinear,
        coordinates: ResizeCoordinates::HalfPixel,
    };
    n.node(op, &[averaged], resized);
    let joined = q(&mut n, [1, 4, 4, 8]);
    n.node(Op::Concat { axis: 3 }, &[pooled, resized], joined);
    let sliced = q(&mut n, [1, 2, 2, 8]);
    let op = Op::Slice {
        start: [1, 0, 0],
        step: [2, 3, 1],
    };
    n.node(op, &[joined], sliced);
    let transposed = q(&mut n, [1, 2, 8, 2]);
    n.node(Op::Transpose { perm: [0, 1, 3, 2] }, &[sliced], transposed);
    let table = n.constant_codes([1, 1, 1, 256], Quantization::None, &random.codes(256));
    let mapped = q(&mut n, [1, 2, 8, 2]);
    n.node(Op::Table { table }, &[transposed], mapped);
    let mean = q(&mut n, [1, 1, 1, 2]);
    n.node(Op::Mean, &[mapped], mean);
    let weights = random.weights(10);
    let weights = n.constant_codes([5, 1, 1, 2], one, &weights);
    let dense = n.floats([1, 1, 1, 5]);
    let op = Op::FullyConnected {
        linear: linear(weights, None, Activation::None),
    };
    n.node(op, &[mean], dense);
    let squashed = n.floats([1, 1, 1, 5]);
    let kind = edgeprune_format::manifest::UnaryKind::Tanh;
    n.node(Op::Unary { kind }, &[dense], squashed);
    let converted = n.codes([1, 1, 1, 5], 0.01, 0);
    n.node(Op::Convert, &[squashed], converted);
    let weights = n.constant_floats([3, 1, 1, 5], &random.floats(15));
    let bias = n.constant_floats([1, 1, 1, 3], &random.floats(3));
    let float = n.floats([1, 1, 1, 3]);
    let op = Op::FullyConnected {
        linear: linear(weights, Some(bias), Activation::Relu),
    };
    n.node(op, &[squashed], float);
    let scores = n.floats([1, 1, 1, 3]);
    n.node(Op::Softmax, &[float], scores);
    n.output(scores);
    n.output(converted);
    let labels = b"cat\ndog\nbird";
    let shape = [1, 1, 1, labels.len() as u32];
    let none = Quantization::None;
    n.labels = Some(n.writer.constant(DType::U8, shape, none, labels).unwrap());
    n.package()
}

/// The same, with constants that this machine's kernels read in place, and with some that they lay out anew.
fn packages() -> impl Iterator<Item = Vec<u8>> {
    let (coded, best) = (every_operator(), KernelSet::detect().layout());
    let foreign = KernelLayout::named("neoni8mm");
    let panels = [Some(best), foreign].into_iter().flatten();
    let in_panels: Vec<_> = panels.map(|layout| in_panels(&coded, layout)).collect();
    [coded].into_iter().chain(in_panels)
}

fn rehash(package: &mut [u8]) {
    let end = package.len() - HASH_LEN;
    let hash = Sha256::digest(&package[..end]);
    package[end..].copy_from_slice(hash.as_slice());
}

/// Opens and runs; what is refused is refused, what opens must run, on one thread and on three to the same output.
fn open_and_run(package: &[u8]) -> bool {
    let Ok(package) = Package::open(package) else {
        return false;
    };
    let mut text = vec![0; package.labels_bytes().min(1 << 20)];
    let _ = package.labels(&mut text);
    // a damaged size is not a reason to ask this machine for gigabytes
    if package.arena_bytes() > 1 << 24 {
        return false;
    }
    let mut memory = Memory::new(package.arena_bytes_for(3));
    let Ok(mut session) = Session::new(&package, memory.bytes_mut()) else {
        return false;
    };
    session.input(0).unwrap().fill(0x91);
    session.run(&mut ()).unwrap();
    let output = session.output(0).unwrap().to_vec();
    session.input(0).unwrap().fill(0x91);
    POOL.with_borrow_mut(|pool| session.run_on(pool, &mut ()))
        .unwrap();
    assert_eq!(session.output(0).unwrap(), output);
    true
}

#[test]
fn a_network_with_every_operator_runs() {
    for package in packages() {
        assert!(open_and_run(&package));
        let package = Package::open(&package).unwrap();
        let mut text = vec![0; package.labels_bytes()];
        assert_eq!(package.labels(&mut text).unwrap().lines().count(), 3);
    }
}

#[test]
fn every_truncation_is_refused() {
    let package = every_operator();
    for len in 0..package.len() {
        assert!(Package::open(&package[..len]).is_err(), "{len}");
        assert!(Package::open_unhashed(&package[..len]).is_err(), "{len}");
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    let package = every_operator();
    for bit in 0..package.len() * 8 {
        let mut flipped = package.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(Package::open(&flipped).is_err(), "{bit}");
    }
}

#[test]
fn a_wrong_hash_alone_matters_to_who_asks_for_it() {
    let mut package = every_operator();
    let last = package.len() - 1;
    package[last] ^= 1;
    assert_eq!(
        Package::open(&package).err(),
        Some(OpenError::Format(FormatError::Hash))
    );
    assert!(Package::open_unhashed(&package).is_ok());
}

#[test]
fn a_flipped_bit_with_a_valid_hash_never_panics() {
    for package in packages() {
        let mut ran = 0;
        for bit in HEADER_LEN * 8..(package.len() - HASH_LEN) * 8 {
            let mut flipped = package.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            rehash(&mut flipped);
            ran += usize::from(open_and_run(&flipped));
        }
        assert!(ran > 1000, "most flipped weights still run: {ran}");
    }
}

#[test]
fn several_changed_bytes_with_a_valid_hash_never_panic() {
    let random = &mut Random::new(99);
    for package in packages() {
        for _ in 0..30_000 {
            let mut changed = package.clone();
            for _ in 0..random.size(1, 4) {
                let end = (package.len() - HASH_LEN - 1).min(1400);
                let at = random.size(HEADER_LEN, end);
                let any = random.next() as u8;
                changed[at] = random.one_of(&[0, 1, 2, 63, 64, 127, 128, 255, any]);
            }
            rehash(&mut changed);
            open_and_run(&changed);
        }
    }
}

#[test]
fn a_truncation_with_a_valid_hash_never_panics() {
    for package in packages() {
        for len in HEADER_LEN + HASH_LEN..package.len() {
            let mut cut = package[..len].to_vec();
            let body = u32::from_le_bytes(cut[12..16].try_into().unwrap()) as usize + HEADER_LEN;
            let body = body.next_multiple_of(64);
            if len >= body + HASH_LEN {
                let body_len = (len - HASH_LEN - body) as u64;
                cut[16..24].copy_from_slice(&body_len.to_le_bytes());
            }
            rehash(&mut cut);
            assert!(!open_and_run(&cut), "{len}");
        }
    }
}

#[test]
fn an_arena_that_does_not_fit_is_refused() {
    let bytes = every_operator();
    let package = Package::open(&bytes).unwrap();
    let need = package.arena_bytes();
    let mut memory = Memory::new(need + 1);
    let bytes = memory.bytes_mut();
    let short = Session::new(&package, &mut bytes[..need - 1]).err();
    let expected = SessionError::ArenaTooShort {
        have: need - 1,
        need,
    };
    assert_eq!(short, Some(expected));
    let misaligned = Session::new(&package, &mut bytes[1..]).err();
    assert_eq!(misaligned, Some(SessionError::ArenaMisaligned));
    let few = Session::<4>::with_capacity(&package, &mut bytes[..need]).err();
    assert!(matches!(few, Some(SessionError::Nodes { have: 4, .. })));
    let mut aligned = Box::new(Aligned::<{ 1 << 16 }>::new());
    assert!(Session::new(&package, &mut aligned.0).is_ok());
}

#[test]
fn reading_what_another_node_overwrote_is_refused() {
    // input -> first -> output, at these offsets; the second node reads what `source` says
    let chain = |offsets: [u32; 4], source: usize| {
        let mut network = Network::default();
        let quantization = Quantization::PerTensor {
            scale: 1.0,
            zero_point: 0,
        };
        let ids = offsets.map(|offset| {
            let shape = [1, 1, 1, 100];
            let writer = &mut network.writer;
            writer
                .activation(DType::I8, shape, quantization, offset)
                .unwrap()
        });
        network.activations = 512;
        network.input(ids[0]);
        network.output(ids[2]);
        network.node(Op::Convert, &[ids[0]], ids[1]);
        network.node(Op::Convert, &[ids[source]], ids[2]);
        let bytes = network.package();
        let package = Package::open(&bytes).unwrap();
        let mut memory = Memory::new(package.arena_bytes());
        Session::new(&package, memory.bytes_mut()).map(|_| ())
    };
    let refused = Err(SessionError::Dataflow { node: 1, input: 0 });
    assert_eq!(chain([0, 128, 256, 384], 1), Ok(()));
    assert_eq!(
        chain([0, 128, 0, 384], 1),
        Ok(()),
        "the input is free again"
    );
    assert_eq!(
        chain([0, 128, 256, 384], 0),
        Ok(()),
        "the input is still there"
    );
    assert_eq!(chain([0, 128, 256, 384], 3), refused, "never written");
    assert_eq!(
        chain([0, 128, 256, 64], 3),
        refused,
        "half of it overwritten"
    );
    assert_eq!(chain([0, 128, 384, 192], 3), refused, "half of another");
}

#[test]
fn a_tensor_with_other_dimensions_in_the_same_place_is_a_reshape() {
    let mut network = Network::default();
    let from = network.codes([1, 2, 2, 4], 1.0, 0);
    let copy = network.codes([1, 2, 2, 4], 1.0, 0);
    let q = Quantization::PerTensor {
        scale: 1.0,
        zero_point: 0,
    };
    let flat = network
        .writer
        .activation(DType::I8, [1, 1, 1, 16], q, 64)
        .unwrap();
    let out = network.codes([1, 1, 1, 16], 1.0, 0);
    network.input(from);
    network.output(out);
    network.node(Op::Convert, &[from], copy);
    network.node(Op::Convert, &[flat], out);
    let input: Vec<u8> = (0..16).collect();
    assert_eq!(run(&network.package(), &[&input]), input);
}

fn refusal(op: Op, from: [u32; 4], to: [u32; 4]) -> &'static str {
    let mut network = Network::default();
    let from = network.codes(from, 0.1, 0);
    let to = network.codes(to, 0.1, 0);
    match Package::open(&network.single(op, &[from], to)) {
        Err(OpenError::Node { index: 0, what }) => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn nodes_that_do_not_fit_are_refused_with_a_reason() {
    let window = Window {
        kernel: [2; 2],
        stride: [1; 2],
        dilation: [1; 2],
        pad: [0; 2],
    };
    let pool = |window| Op::MaxPool2d { window };
    let shape = [1, 4, 4, 2];
    let zero = Window {
        stride: [0, 1],
        ..window
    };
    assert_eq!(
        refusal(pool(zero), shape, shape),
        "a window, stride or dilation of 0"
    );
    let high = refusal(pool(window), shape, [1, 9, 3, 2]);
    assert_eq!(
        high,
        "an output higher or wider than its input and window give"
    );
    let wide = refusal(pool(window), shape, [1, 3, 3, 4]);
    assert_eq!(wide, "pooling keeps the channels");
    let op = Op::Slice {
        start: [2, 0, 0],
        step: [2, 1, 1],
    };
    assert_eq!(
        refusal(op, shape, [1, 2, 4, 2]),
        "a slice outside its input"
    );
    let op = Op::Transpose { perm: [0, 1, 1, 3] };
    assert_eq!(
        refusal(op, shape, shape),
        "a transposition that is not a permutation"
    );
    let op = Op::Resize {
        kind: ResizeKind::Nearest,
        coordinates: ResizeCoordinates::Lines {
            height: ResizeLine::IDENTITY,
            width: ResizeLine {
                denominator: 0,
                ..ResizeLine::IDENTITY
            },
        },
    };
    assert_eq!(
        refusal(op, shape, shape),
        "a resize divides coordinates by zero"
    );
    let what = refusal(Op::Concat { axis: 0 }, shape, shape);
    assert_eq!(what, "a concatenation along an axis other than 1, 2 and 3");
    let what = refusal(Op::Softmax, shape, shape);
    assert_eq!(what, "softmax gives F32");
}

#[test]
fn a_weight_of_minus_128_is_refused() {
    let mut network = Network::default();
    let quantization = Quantization::PerTensor {
        scale: 1.0,
        zero_point: 0,
    };
    let weights = network.constant_codes([1, 1, 1, 2], quantization, &[-127, -128]);
    let from = network.codes([1, 1, 1, 2], 1.0, 0);
    let to = network.codes([1, 1, 1, 1], 1.0, 0);
    let op = Op::FullyConnected {
        linear: linear(weights, None, Activation::None),
    };
    let bytes = network.single(op, &[from], to);
    let package = Package::open(&bytes).unwrap();
    let mut memory = Memory::new(package.arena_bytes());
    let what = "a weight of -128: codes go from -127 to 127";
    let expected = SessionError::Node { index: 0, what };
    assert_eq!(
        Session::new(&package, memory.bytes_mut()).err(),
        Some(expected)
    );
}

/// A fully connected layer of three codes and one channel, in the panels of the portable kernels, and the place of
/// its panel in the file.
fn one_panel() -> (Vec<u8>, usize) {
    let mut network = Network::default();
    let quantization = Quantization::PerTensor {
        scale: 0.5,
        zero_point: 0,
    };
    let weights = network.constant_codes([1, 1, 1, 3], quantization, &[1, 2, 3]);
    let bias = network.constant_words(&[7]);
    let from = network.codes([1, 1, 1, 3], 1.0, 0);
    let to = network.codes([1, 1, 1, 1], 1.0, 0);
    let op = Op::FullyConnected {
        linear: linear(weights, Some(bias), Activation::None),
    };
    let package = network.single(op, &[from], to);
    let package = in_panels(&package, KernelSet::portable().layout());
    let panel = [7, 0, 0, 0, 0, 0, 0, 0x3f, 1, 2, 3, 0];
    let at = package.windows(12).position(|bytes| bytes == panel);
    (package, at.unwrap())
}

fn open_one_panel(package: &[u8]) -> Result<(), String> {
    let package = Package::open(package).map_err(|error| error.to_string())?;
    let kernels = KernelSet::portable();
    let mut memory = Memory::new(package.arena_bytes_with(kernels, 1));
    let session = Session::<4>::with_kernels(&package, memory.bytes_mut(), kernels);
    session.map(|_| ()).map_err(|error| error.to_string())
}

#[test]
fn panels_are_read_in_place_without_memory() {
    let (package, at) = one_panel();
    assert_eq!(at % 64, 0);
    assert_eq!(open_one_panel(&package), Ok(()));
    let package = Package::open(&package).unwrap();
    // two activations, and a start and two patches of scratch
    let bytes = package.arena_bytes_with(KernelSet::portable(), 1);
    assert_eq!(bytes, 4 * 64);
    assert_eq!(package.manifest().head.arena.constants, 0);
}

#[test]
fn panels_that_kernels_cannot_rely_on_are_refused() {
    let (package, at) = one_panel();
    let refusal = |offset: usize, bytes: &[u8]| {
        let mut changed = package.clone();
        changed[at + offset..][..bytes.len()].copy_from_slice(bytes);
        rehash(&mut changed);
        open_one_panel(&changed).unwrap_err()
    };
    assert!(refusal(9, &[0x80]).contains("a weight of -128"));
    assert!(refusal(11, &[1]).contains("filled up with zeros"));
    for multiplier in [f32::NAN, f32::INFINITY, -1.0] {
        let message = refusal(4, &multiplier.to_le_bytes());
        assert!(message.contains("negative or not finite"), "{message}");
    }
    let mut shifted = vec![0; package.len() + 8];
    let aligned = shifted.as_ptr().align_offset(8);
    shifted[aligned + 1..][..package.len()].copy_from_slice(&package);
    let message = open_one_panel(&shifted[aligned + 1..][..package.len()]).unwrap_err();
    assert!(message.contains("not aligned"), "{message}");
}

#[test]
fn panels_of_another_shape_are_refused() {
    let (package, _) = one_panel();
    // the encoding (2), columns, step and offset, at the end of the weights' record
    let record = [12, 2, 1, 4, 0];
    let at = package
        .windows(5)
        .position(|bytes| bytes == record)
        .unwrap();
    for (offset, byte) in [(0, 13), (2, 0), (2, 2), (3, 0), (3, 8), (3, 17)] {
        let mut changed = package.clone();
        changed[at + offset] = byte;
        rehash(&mut changed);
        assert!(open_one_panel(&changed).is_err(), "{offset} {byte}");
    }
    let mut unknown = package.clone();
    unknown[at + 1] = 3;
    rehash(&mut unknown);
    let message = open_one_panel(&unknown).unwrap_err();
    assert!(message.contains("newer version"), "{message}");
}
