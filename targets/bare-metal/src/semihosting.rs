//! Semihosting for AArch64: Arm, "Semihosting for AArch32 and AArch64", https://github.com/ARM-software/abi-aa.

use core::arch::asm;
use core::fmt;

const SYS_WRITEC: usize = 0x03;
const SYS_EXIT: usize = 0x18;
/// The reason of an exit: the program is done.
const APPLICATION_EXIT: usize = 0x20026;

/// What the program prints.
pub(crate) struct Console;

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            call(SYS_WRITEC, &raw const byte as usize);
        }
        Ok(())
    }
}

/// Ends the program.
pub(crate) fn exit(code: usize) -> ! {
    let block = [APPLICATION_EXIT, code];
    loop {
        call(SYS_EXIT, block.as_ptr() as usize);
    }
}

fn call(operation: usize, argument: usize) {
    // SAFETY: the operations above read the memory that the argument points to, and write none.
    unsafe {
        asm!(
            "hlt #0xf000",
            inout("x0") operation => _,
            in("x1") argument,
            options(nostack, readonly, preserves_flags),
        );
    }
}
