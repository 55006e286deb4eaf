//! The face of a session: ports, errors, telemetry, memory.

use crate::network::*;
use edgeprune_format::manifest::{Activation, DType, Op, Quantization};
use edgeprune_runtime::telemetry::{Clock, Telemetry};
use edgeprune_runtime::{
    Arena, KernelLayout, KernelSet, Observer, Package, Pool, RunError, Session, plan,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

#[expect(unsafe_code, reason = "an allocator that counts")]
// SAFETY: every call goes to the system's allocator, unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
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

fn allocations() -> usize {
    ALLOCATIONS.with(Cell::get)
}

/// Codes -> fully connected, ReLU -> codes, and softmax of those.
fn classifier() -> Vec<u8> {
    let mut network = Network::default();
    let quantization = Quantization::PerTensor {
        scale: 0.5,
        zero_point: 0,
    };
    let identity: Vec<i8> = (0..16).map(|i| i8::from(i % 5 == 0) * 2).collect();
    let weights = network.constant_codes([4, 1, 1, 4], quantization, &identity);
    let image = network.codes([1, 1, 1, 4], 0.25, 3);
    let hidden = network.codes([1, 1, 1, 4], 0.25, -128);
    let scores = network.floats([1, 1, 1, 4]);
    network.input(image);
    network.output(scores);
    network.output(hidden);
    let linear = linear(weights, None, Activation::Relu);
    network.node(Op::FullyConnected { linear }, &[image], hidden);
    network.node(Op::Softmax, &[hidden], scores);
    network.package()
}

#[test]
fn real_values_go_in_and_come_out() {
    let bytes = classifier();
    let package = Package::open(&bytes).unwrap();
    let mut arena = Arena::new(package.arena_bytes());
    let mut session = Session::new(&package, arena.bytes_mut()).unwrap();
    let input = session.input_info(0).unwrap();
    assert_eq!((input.name, input.dtype), ("input", DType::I8));
    assert_eq!(input.quantization, Some((0.25, 3)));
    assert_eq!(input.elements(), 4);
    assert_eq!(session.output_info(0).unwrap().dtype, DType::F32);

    session.set_input_f32(0, &[1.0, -2.0, 0.5, 3.0]).unwrap();
    assert_eq!(session.input_i8(0).unwrap(), [7, -5, 5, 15]);
    session.run(&mut ()).unwrap();
    let mut hidden = [0.0; 4];
    session.output_f32(1, &mut hidden).unwrap();
    assert_eq!(hidden, [1.0, 0.0, 0.5, 3.0], "the identity, and a ReLU");
    assert_eq!(session.output_i8(1).unwrap(), [-124, -128, -126, -116]);
    let mut scores = [0.0; 4];
    session.output_f32(0, &mut scores).unwrap();
    assert!((scores.iter().sum::<f32>() - 1.0).abs() < 1e-6);
}

#[test]
fn wrong_calls_say_what_is_wrong() {
    let bytes = classifier();
    let package = Package::open(&bytes).unwrap();
    let mut arena = Arena::new(package.arena_bytes());
    let mut session = Session::new(&package, arena.bytes_mut()).unwrap();
    let missing = RunError::NoSuchPort { index: 1, count: 1 };
    assert_eq!(session.input(1).err(), Some(missing));
    assert_eq!(session.input_info(1).err(), Some(missing));
    let length = RunError::Length { have: 3, need: 4 };
    assert_eq!(session.set_input_f32(0, &[0.0; 3]), Err(length));
    assert_eq!(session.output_f32(0, &mut [0.0; 3]), Err(length));
    assert_eq!(session.output_i8(0).err(), Some(RunError::ElementType));
    let text = missing.to_string();
    assert_eq!(text, "there is no input or output 1: the network has 1");
}

#[test]
fn an_arena_for_fewer_threads_is_refused() {
    let bytes = classifier();
    let package = Package::open(&bytes).unwrap();
    let need = package.arena_bytes_for(3);
    assert_eq!(package.arena_bytes_for(1), package.arena_bytes());
    assert_eq!(need - package.arena_bytes(), 2 * 2 * 64, "two more scratch");
    let mut arena = Arena::new(need - 1);
    let mut session = Session::new(&package, arena.bytes_mut()).unwrap();
    let mut pool = Pool::new(3).unwrap();
    let have = need - 1;
    let short = RunError::ArenaTooShort { have, need };
    assert_eq!(session.run_on(&mut pool, &mut ()), Err(short));
    assert_eq!(session.run_on(&mut Pool::new(2).unwrap(), &mut ()), Ok(()));
}

#[test]
fn a_pool_serves_sessions_on_any_thread() {
    let bytes = classifier();
    let package = Package::open(&bytes).unwrap();
    let mut pool = Pool::new(2).unwrap().with_least_work(0);
    let mut arenas = [0; 3].map(|_| Arena::new(package.arena_bytes_for(2)));
    for arena in &mut arenas {
        let mut session = Session::new(&package, arena.bytes_mut()).unwrap();
        session.set_input_f32(0, &[1.0, -2.0, 0.5, 3.0]).unwrap();
        std::thread::scope(|scope| {
            let run = || session.run_on(&mut pool, &mut ()).unwrap();
            scope.spawn(run).join().unwrap();
        });
        assert_eq!(session.output_i8(1).unwrap(), [-124, -128, -126, -116]);
    }
}

#[test]
fn nothing_allocates_but_the_arena() {
    let bytes = classifier();
    let need = Package::open(&bytes).unwrap().arena_bytes();
    let mut arena = Arena::new(need);
    let before = allocations();
    let package = Package::open(&bytes).unwrap();
    let mut session = Session::new(&package, arena.bytes_mut()).unwrap();
    session.set_input_f32(0, &[1.0; 4]).unwrap();
    session.run(&mut ()).unwrap();
    session.output_f32(0, &mut [0.0; 4]).unwrap();
    assert_eq!(allocations() - before, 0);
    drop(Vec::<u8>::with_capacity(1));
    assert_eq!(allocations() - before, 1, "the allocator does count");
}

#[test]
fn the_memory_of_a_known_network_is_known() {
    let bytes = classifier();
    let package = Package::open(&bytes).unwrap();
    let needs = plan::needs(package.manifest()).unwrap();
    // at most sixteen output channels of eight codes, biases and multipliers; two patches and a start
    assert_eq!((needs.constants, needs.scratch), (4 * 64, 2 * 64));
    let portable = KernelSet::portable();
    // four channels, each of four codes, a bias and a multiplier
    assert_eq!(package.arena_bytes_with(portable, 1), (1 + 3 + 2) * 64);
    for kernels in KernelSet::available() {
        assert!(KernelLayout::all().any(|layout| layout == kernels.layout()));
        assert!(package.arena_bytes_with(kernels, 1) <= (4 + 3 + 2) * 64);
    }
    let session = size_of::<Session<'_, '_, 64>>();
    assert!(
        session < 44_000,
        "{session} bytes for a session of 64 nodes"
    );
}

/// A clock that advances by a known time whenever it is asked.
struct Steps(u64);

impl Clock for Steps {
    fn ticks(&mut self) -> u64 {
        self.0 += 10;
        self.0
    }

    fn ticks_per_second(&self) -> u64 {
        1000
    }
}

#[test]
fn telemetry_measures_runs_and_nodes() {
    let bytes = classifier();
    let package = Package::open(&bytes).unwrap();
    let mut arena = Arena::new(package.arena_bytes());
    let mut session = Session::new(&package, arena.bytes_mut()).unwrap();
    let mut telemetry = Telemetry::<_, 8>::new(Steps(0));
    for _ in 0..5 {
        session.run(&mut telemetry).unwrap();
    }
    let run = telemetry.run();
    assert_eq!((run.count, run.min, run.max, run.sum), (5, 50, 50, 250));
    assert_eq!((run.p50, run.p99), (50, 50));
    let nodes: Vec<_> = telemetry.nodes().collect();
    assert_eq!(nodes.len(), 2);
    assert!(nodes.iter().all(|node| (node.count, node.sum) == (5, 50)));
    telemetry.reset();
    assert_eq!(telemetry.run().count, 0);
}

#[test]
fn an_observer_sees_every_output() {
    #[derive(Default)]
    struct Outputs(Vec<(usize, Vec<u8>)>);
    impl Observer for Outputs {
        fn node_end(&mut self, index: usize, output: &[u8]) {
            self.0.push((index, output.to_vec()));
        }
    }
    let bytes = classifier();
    let package = Package::open(&bytes).unwrap();
    let mut arena = Arena::new(package.arena_bytes());
    let mut session = Session::new(&package, arena.bytes_mut()).unwrap();
    session.input(0).unwrap().copy_from_slice(&[3, 7, 11, 15]);
    let mut outputs = Outputs::default();
    session.run(&mut outputs).unwrap();
    let (first, second) = (&outputs.0[0], &outputs.0[1]);
    assert_eq!((first.0, second.0), (0, 1));
    assert_eq!(codes_of(&first.1), [-128, -124, -120, -116]);
    assert_eq!(second.1, session.output(0).unwrap());
}
