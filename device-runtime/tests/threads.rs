//! A run on several threads allocates nothing. The only test of this program: the allocator counts for all threads.

mod network;

use edgeprune_format::manifest::{Activation, BinaryKind, Op, Quantization, Window};
use edgeprune_runtime::{Arena, Package, Pool, Session};
use network::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

struct Counting;

#[expect(unsafe_code, reason = "an allocator that counts")]
// SAFETY: every call goes to the system's allocator, unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise for this call is the one that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Convolution, depthwise convolution and an addition of both.
fn block() -> Vec<u8> {
    let random = &mut Random::new(1);
    let mut network = Network::default();
    let quantization = Quantization::PerTensor {
        scale: 0.01,
        zero_point: 0,
    };
    let codes = random.weights(16 * 9 * 16);
    let weights = network.constant_codes([16, 3, 3, 16], quantization, &codes);
    let columns = network.constant_codes([1, 3, 3, 16], quantization, &codes[..9 * 16]);
    let [image, dense, depthwise, sum] = [0; 4].map(|_| network.codes([1, 12, 12, 16], 0.1, 3));
    network.input(image);
    network.output(sum);
    let window = Window {
        kernel: [3, 3],
        stride: [1, 1],
        dilation: [1, 1],
        pad: [1, 1],
    };
    let conv = Op::Conv2d {
        linear: linear(weights, None, Activation::None),
        window,
        groups: 1,
    };
    network.node(conv, &[image], dense);
    let linear = linear(columns, None, Activation::Relu);
    let conv = Op::DepthwiseConv2d { linear, window };
    network.node(conv, &[dense], depthwise);
    let add = Op::Binary {
        kind: BinaryKind::Add,
        activation: Activation::None,
    };
    network.node(add, &[dense, depthwise], sum);
    network.package()
}

#[test]
fn runs_on_threads_allocate_nothing_and_give_the_same_bytes() {
    let bytes = block();
    let package = Package::open(&bytes).unwrap();
    let mut arena = Arena::new(package.arena_bytes_for(THREADS));
    let mut session = Session::new(&package, arena.bytes_mut()).unwrap();
    let mut pools: Vec<Pool> = (1..=THREADS)
        .map(|threads| Pool::new(threads).unwrap().with_least_work(0))
        .collect();
    session.input(0).unwrap().fill(0x35);
    session.run(&mut ()).unwrap();
    let expected = session.output(0).unwrap().to_vec();
    // threads have begun and sleep
    std::thread::sleep(Duration::from_millis(50));
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for run in 0..500 {
        session.input(0).unwrap().fill(0x35);
        session.run_on(&mut pools[run % THREADS], &mut ()).unwrap();
        assert!(session.output(0).unwrap() == expected, "run {run}");
    }
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0);
    drop(Vec::<u8>::with_capacity(1));
    let after = ALLOCATIONS.load(Ordering::Relaxed);
    assert_eq!(after - before, 1, "the allocator does count");
}
