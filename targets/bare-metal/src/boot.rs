//! The start-up code, and the end. It leads to the program's `start`, exceptions to its `fault`.

use crate::board;
use core::arch::{asm, global_asm};

global_asm!(
    include_str!("boot.s"),
    timer_hz = const board::TIMER_HZ,
    start = sym crate::start,
    fault = sym crate::fault,
);

/// Ends the program: without power where the board can, else asleep.
pub(crate) fn stop() -> ! {
    board::power_off();
    loop {
        // SAFETY: waits for an event, touches nothing
        unsafe { asm!("wfe", options(nomem, nostack, preserves_flags)) }
    }
}
