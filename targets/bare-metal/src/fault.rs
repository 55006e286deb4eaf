//! What an exception of the processor means.

use crate::report::fail;

/// Syndrome: where the class of an exception stands.
const CLASS: u32 = 26;
/// Distance of the entries of a vector table.
const VECTOR: u64 = 0x80;

/// Where every exception arrives: at the address of its vector, with its syndrome, the address of the
/// instruction and the address that it wanted.
pub(crate) extern "C" fn fault(vector: u64, syndrome: u64, instruction: u64, address: u64) -> ! {
    let kind = match vector / VECTOR % 4 {
        0 => class(syndrome >> CLASS),
        1 | 2 => "interrupt",
        _ => "system error",
    };
    fail(format_args!(
        "{kind} at {instruction:#x}, address {address:#x}, syndrome {syndrome:#x}"
    ))
}

/// Arm's classes of exceptions that software can cause by mistake.
fn class(class: u64) -> &'static str {
    match class & 0x3f {
        0x00 | 0x0e => "undefined instruction",
        0x07 => "floating point trap",
        0x20 | 0x21 => "instruction abort",
        0x22 | 0x26 => "alignment fault of a pointer",
        0x24 | 0x25 => "data abort",
        0x3c => "breakpoint",
        _ => "exception",
    }
}
