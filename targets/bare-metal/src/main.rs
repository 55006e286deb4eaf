//! A program without an operating system that measures the package inside it and sends the figures as telemetry
//! frames on a serial line. `boards` and `src/board` hold what differs between boards, `layout.ld` where everything
//! goes, `src/boot.s` how it starts.
#![no_std]
#![no_main]

mod bench;
mod board;
mod boot;
mod processor;
mod register;
mod report;
mod timer;
mod uart;

use core::hint::black_box;
use core::panic::PanicInfo;
use core::slice;
use edgeprune_runtime::Aligned;

/// The package that was there when this program was built.
static PACKAGE: Aligned<{ BYTES.len() }> = Aligned(*BYTES);
const BYTES: &[u8; include_bytes!(concat!(env!("OUT_DIR"), "/package.epk")).len()] =
    include_bytes!(concat!(env!("OUT_DIR"), "/package.epk"));

/// Where the start-up code goes, once.
extern "C" fn start() -> ! {
    board::connect_uart();
    uart::start();
    // a loader may put another package there: the compiler must not compute with this one
    match bench::bench(black_box(&PACKAGE.0), arena()) {
        Ok(()) => report::end(),
        Err(cause) => report::fail(format_args!("{cause}")),
    }
}

/// All memory that nothing else uses.
fn arena() -> &'static mut [u8] {
    unsafe extern "C" {
        static mut __arena: u8;
        static mut __ram_end: u8;
    }
    let (start, end) = (&raw mut __arena, &raw mut __ram_end);
    // SAFETY: `layout.ld` puts nothing between the two, the memory map has it as memory, `start` calls this once,
    // and bytes have no invalid values
    unsafe { slice::from_raw_parts_mut(start, end.addr() - start.addr()) }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    report::fail(format_args!("{info}"))
}
