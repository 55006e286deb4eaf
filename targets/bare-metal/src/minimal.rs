//! The least that firmware needs: runs the network inside it once, on an input of zeros, and sends the bytes of the
//! first output. It starts as the program that measures does.
#![no_std]
#![no_main]

mod board;
mod boot;
mod memory;
mod register;
mod uart;

use core::panic::PanicInfo;
use edgeprune_runtime::{Package, Session};

/// Most nodes of the network.
const NODES: usize = 64;

/// Where the start-up code goes, once.
extern "C" fn start() -> ! {
    board::start();
    uart::start();
    let ran = memory::take().and_then(|(_, (package, arena))| infer(package, arena));
    if ran.is_none() {
        uart::write(b"the network does not run\n");
    }
    end()
}

/// `None` where the package does not open, does not fit or does not run. Inlined, it would be larger by 10 kB of
/// functions that are then inlined into it.
#[inline(never)]
fn infer(package: &[u8], arena: &mut [u8]) -> Option<()> {
    let package = Package::open(package).ok()?;
    let mut session = Session::<NODES>::with_capacity(&package, arena).ok()?;
    session.input(0).ok()?.fill(0);
    session.run(&mut ()).ok()?;
    uart::write(session.output(0).ok()?);
    Some(())
}

/// Where every exception arrives.
extern "C" fn fault(_vector: u64, _syndrome: u64, _instruction: u64, _address: u64) -> ! {
    uart::write(b"exception\n");
    end()
}

fn end() -> ! {
    uart::flush();
    boot::stop()
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    uart::write(b"panic\n");
    end()
}
