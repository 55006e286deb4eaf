//! A program without an operating system that measures the package inside it, or behind it, and sends the figures as telemetry
//! frames on a serial line. `boards` and `src/board` hold what differs between boards, `layout.ld` where everything
//! goes, `src/boot.s` how it starts.
#![no_std]
#![no_main]

mod bench;
mod board;
mod boot;
mod fault;
mod memory;
mod processor;
mod register;
mod report;
mod timer;
mod uart;

use core::panic::PanicInfo;
use fault::fault;

/// Where the start-up code goes, once.
extern "C" fn start() -> ! {
    board::start();
    uart::start();
    let Some((slot, (package, arena))) = memory::take() else {
        report::fail(format_args!(
            "no package is inside this image, and none behind it"
        ))
    };
    match bench::bench(package, arena, slot) {
        Ok(()) => report::end(),
        Err(cause) => report::fail(format_args!("{cause}")),
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    report::fail(format_args!("{info}"))
}
