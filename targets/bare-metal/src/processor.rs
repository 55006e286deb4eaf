//! What processor this is.

use core::arch::asm;

#[path = "../../linux/src/cores.rs"]
mod cores;

/// Arm's name of the core that runs this.
pub(crate) fn name() -> &'static str {
    let midr: u64;
    // SAFETY: reads a register that EL1 may read
    unsafe {
        asm!("mrs {}, midr_el1", out(reg) midr, options(nomem, nostack, pure, preserves_flags))
    }
    let (maker, part) = ((midr >> 24) as u32 & 0xff, (midr >> 4) as u32 & 0xfff);
    match maker {
        cores::ARM => cores::name(part),
        _ => None,
    }
    .unwrap_or("unknown core")
}
