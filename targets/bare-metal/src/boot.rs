//! The start-up code, and the end. It leads to the program's `start`, exceptions to its `fault`.

use crate::board;
use core::arch::global_asm;
use edgeprune_runtime::format::slot;

global_asm!(
    include_str!("boot.s"),
    timer_hz = const board::TIMER_HZ,
    slot_magic = const slot::MAGIC,
    start = sym crate::start,
    fault = sym crate::fault,
);

unsafe extern "C" {
    /// Sleeps for ever, without a stack.
    pub(crate) fn park() -> !;
}

/// Ends the program: without power where the board can, else asleep.
pub(crate) fn stop() -> ! {
    board::power_off();
    // SAFETY: code that needs nothing
    unsafe { park() }
}
