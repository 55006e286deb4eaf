//! QEMU's machine `virt`: https://www.qemu.org/docs/master/system/arm/virt.html, addresses in its `hw/arm/virt.c`.

use core::arch::asm;

/// QEMU's choice.
pub(crate) const TIMER_HZ: u64 = 62_500_000;
/// A PL011.
pub(crate) const UART: usize = 0x0900_0000;
/// Its clock.
pub(crate) const UART_HZ: u32 = 24_000_000;

/// Arm's Power State Coordination Interface (DEN 0022): `SYSTEM_OFF`.
const SYSTEM_OFF: u64 = 0x8400_0008;

/// Nothing to do: there is one core, and the line has no pins.
pub(crate) fn start() {}

/// Asks the emulator to end.
pub(crate) fn power_off() {
    // SAFETY: the call does not return; if it did, it would keep all registers but those named
    unsafe {
        asm!("hvc #0", inout("x0") SYSTEM_OFF => _, out("x1") _, out("x2") _, out("x3") _, options(nostack));
    }
}
