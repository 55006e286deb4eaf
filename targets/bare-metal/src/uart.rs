//! A serial line that speaks: ARM PrimeCell UART (PL011, DDI 0183), 115200 baud, 8 data bits, no parity, one stop bit.

use crate::board;
use crate::register::Register;

const BAUD: u32 = 115_200;
const DATA: Register = register(0x00);
const FLAGS: Register = register(0x18);
const INTEGER_DIVISOR: Register = register(0x24);
const FRACTIONAL_DIVISOR: Register = register(0x28);
const LINE_CONTROL: Register = register(0x2c);
const CONTROL: Register = register(0x30);

const BUSY: u32 = 1 << 3;
const FULL: u32 = 1 << 5;
const EIGHT_BITS_FIFO: u32 = 0b111 << 4;
const TRANSMIT: u32 = 1 | 1 << 8;

const fn register(offset: usize) -> Register {
    // SAFETY: the board has a PL011 there, outside of the program's memory
    unsafe { Register::at(board::UART + offset) }
}

/// Makes the line ready.
pub(crate) fn start() {
    let divisor = board::UART_HZ * 4 / BAUD; // in 64ths: the line runs at a sixteenth of the clock
    CONTROL.write(0);
    INTEGER_DIVISOR.write(divisor / 64);
    FRACTIONAL_DIVISOR.write(divisor % 64);
    LINE_CONTROL.write(EIGHT_BITS_FIFO);
    CONTROL.write(TRANSMIT);
}

/// Sends bytes.
pub(crate) fn write(bytes: &[u8]) {
    for &byte in bytes {
        wait_for(FULL);
        DATA.write(byte.into());
    }
}

/// Waits until the last bit is on the line.
pub(crate) fn flush() {
    wait_for(BUSY);
}

fn wait_for(flag: u32) {
    while FLAGS.read() & flag != 0 {
        core::hint::spin_loop();
    }
}
