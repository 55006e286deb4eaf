//! Integer kernels for 32-bit ARM with NEON (Cortex-A7 and later).
//!
//! Rust's vector types and detection for this architecture are not stable, so the loops are assembly between memory
//! and memory, and name their registers. NEON takes numbers below 2^-126 for 0: requantization gives both the same
//! code, and float kernels stay with the scalar instructions, which do not.

/// Assembly with NEON, whatever the target has, that uses no stack and changes vector registers at will. The first sixteen
/// stand by the names that every target here has: the compiler passes over the others where it does not use them itself.
macro_rules! neon_asm {
    ($($part:tt)*) => {
        core::arch::asm!(
            ".arch armv7-a", ".fpu neon", $($part)*
            out("d0") _, out("d1") _, out("d2") _, out("d3") _,
            out("d4") _, out("d5") _, out("d6") _, out("d7") _,
            out("d8") _, out("d9") _, out("d10") _, out("d11") _,
            out("d12") _, out("d13") _, out("d14") _, out("d15") _,
            out("q8") _, out("q9") _, out("q10") _, out("q11") _,
            out("q12") _, out("q13") _, out("q14") _, out("q15") _,
            options(nostack),
        )
    };
}

mod add;
mod depthwise;
mod neon;
mod requantize;

use super::tile::{Tile, gemm_i8};
use super::{Table, portable};

static NEON: Table = Table {
    name: "neon32",
    products_per_microsecond: 4_000,
    panel: <neon::Neon as Tile>::PANEL,
    tile: <neon::Neon as Tile>::SIZE,
    gemm_i8: |gemm, out| gemm_i8::<neon::Neon, neon::Neon, neon::Neon>(gemm, out),
    depthwise_i8: kernel_of!("depthwise_conv_2d", depthwise::depthwise_i8, depthwise, out),
    add_i8: add::add_i8,
    ..portable::TABLE
};

/// The kernels, if the system says that this processor has NEON.
#[expect(unsafe_code, reason = "a function of the C library")]
pub(super) fn neon() -> Option<&'static Table> {
    /// Keys and bits of Linux's auxiliary vector: `getauxval(3)`, arch/arm/include/uapi/asm/hwcap.h.
    const HARDWARE_CAPABILITIES: core::ffi::c_ulong = 16;
    const HAS_NEON: core::ffi::c_ulong = 1 << 12;
    unsafe extern "C" {
        safe fn getauxval(key: core::ffi::c_ulong) -> core::ffi::c_ulong;
    }
    (getauxval(HARDWARE_CAPABILITIES) & HAS_NEON != 0).then_some(&NEON)
}
