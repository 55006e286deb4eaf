//! What all Raspberry Pis have. "BCM2835 ARM Peripherals" describes pins and UART; power management is that of
//! Linux's `drivers/watchdog/bcm2835_wdt.c`.

#[cfg(feature = "raspi3")]
use super::raspi3::PERIPHERALS;
#[cfg(feature = "raspi4")]
use super::raspi4::PERIPHERALS;
use crate::boot::park;
use crate::register::Register;
use core::arch::asm;

/// The PL011, on pin 14.
pub(crate) const UART: usize = PERIPHERALS + 0x20_1000;
/// Its clock, as the firmware sets it by default.
pub(crate) const UART_HZ: u32 = 48_000_000;

const PIN_FUNCTIONS_10_TO_19: Register = register(0x20_0004);
const RESET_CONTROL: Register = register(0x10_001c);
const RESET_STATUS: Register = register(0x10_0020);
const WATCHDOG: Register = register(0x10_0024);

const PIN_14: u32 = 12;
const FUNCTION: u32 = 0b111;
/// On pin 14, what the PL011 sends.
const FUNCTION_0: u32 = 0b100;
const PASSWORD: u32 = 0x5a00_0000;
const FULL_RESET: u32 = 0x20;
/// Partition 63, from which the firmware does not start.
const HALT: u32 = 0x555;

/// Where the firmware's start-up code keeps the other cores: each goes to the address that its register gets, of which
/// this is the lower half. Raspberry Pi's `armstubs/armstub8.S`, `spin_cpu1` to `spin_cpu3`.
const SPIN_TABLE: [Register; 3] = {
    // SAFETY: the firmware's memory, below all of the program's
    unsafe { [Register::at(0xe0), Register::at(0xe8), Register::at(0xf0)] }
};

const fn register(offset: usize) -> Register {
    // SAFETY: the chip has these registers, outside of the program's memory
    unsafe { Register::at(PERIPHERALS + offset) }
}

/// Puts the other cores to sleep, and the UART on its pin, where the firmware may have something else.
pub(crate) fn start() {
    for core in SPIN_TABLE {
        core.write(park as *const () as usize as u32);
    }
    // SAFETY: makes the writes visible and wakes the other cores, touches nothing of this one
    unsafe { asm!("dsb sy", "sev", options(nostack, preserves_flags)) }
    let others = PIN_FUNCTIONS_10_TO_19.read() & !(FUNCTION << PIN_14);
    PIN_FUNCTIONS_10_TO_19.write(others | FUNCTION_0 << PIN_14);
}

/// Resets into a firmware that halts.
pub(crate) fn power_off() {
    RESET_STATUS.write(PASSWORD | RESET_STATUS.read() | HALT);
    WATCHDOG.write(PASSWORD | 10);
    RESET_CONTROL.write(PASSWORD | FULL_RESET);
}
