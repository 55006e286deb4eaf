//! What all Raspberry Pis have. "BCM2835 ARM Peripherals" describes pins and UART; power management is that of
//! Linux's `drivers/watchdog/bcm2835_wdt.c`.

#[cfg(feature = "raspi3")]
use super::raspi3::PERIPHERALS;
#[cfg(feature = "raspi4")]
use super::raspi4::PERIPHERALS;
use crate::register::Register;

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

const fn register(offset: usize) -> Register {
    // SAFETY: the chip has these registers, outside of the program's memory
    unsafe { Register::at(PERIPHERALS + offset) }
}

/// Puts the UART on its pin, where the firmware may have something else.
pub(crate) fn connect_uart() {
    let others = PIN_FUNCTIONS_10_TO_19.read() & !(FUNCTION << PIN_14);
    PIN_FUNCTIONS_10_TO_19.write(others | FUNCTION_0 << PIN_14);
}

/// Resets into a firmware that halts.
pub(crate) fn power_off() {
    RESET_STATUS.write(PASSWORD | RESET_STATUS.read() | HALT);
    WATCHDOG.write(PASSWORD | 10);
    RESET_CONTROL.write(PASSWORD | FULL_RESET);
}
