//! A program without an operating system that runs the package inside it once, on an input of zeros, and prints
//! the bytes of the first output. It talks through ARM semihosting, which debuggers and QEMU answer.
#![no_std]
#![no_main]

mod semihosting;

use core::fmt::Write as _;
use core::hint::black_box;
use core::panic::PanicInfo;
use edgeprune_runtime::{Aligned, Package, Session};
use semihosting::{Console, exit};

/// The package that was there when this program was built.
static PACKAGE: Aligned<{ BYTES.len() }> = Aligned(*BYTES);
const BYTES: &[u8; include_bytes!(concat!(env!("OUT_DIR"), "/package.epk")).len()] =
    include_bytes!(concat!(env!("OUT_DIR"), "/package.epk"));
/// Room for the arena of a small network.
const ARENA_BYTES: usize = 1 << 20;
/// Most nodes of the network.
const NODES: usize = 64;

/// Where a loader or the board's start-up code jumps to, with a stack.
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    static mut ARENA: Aligned<ARENA_BYTES> = Aligned::new();
    // SAFETY: this function runs once, and nothing else names the arena.
    let arena = unsafe { &mut (*&raw mut ARENA).0 };
    exit(infer(arena).is_none().into())
}

/// `None` where the package does not open, does not fit or does not run.
fn infer(arena: &mut [u8]) -> Option<()> {
    // a loader may put another package there: the compiler must not compute with this one
    let package = Package::open(black_box(&PACKAGE.0)).ok()?;
    let mut session = Session::<NODES>::with_capacity(&package, arena).ok()?;
    session.input(0).ok()?.fill(0);
    session.run(&mut ()).ok()?;
    for byte in session.output(0).ok()? {
        write!(Console, "{byte:02x}").ok()?;
    }
    Some(())
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    exit(2)
}
