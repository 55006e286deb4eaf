//! The package inside the program, and memory for its session.

use core::hint::black_box;
use core::slice;
use edgeprune_runtime::Aligned;

/// The package that was there when this program was built.
static PACKAGE: Aligned<{ BYTES.len() }> = Aligned(*BYTES);
const BYTES: &[u8; include_bytes!(concat!(env!("OUT_DIR"), "/package.epk")).len()] =
    include_bytes!(concat!(env!("OUT_DIR"), "/package.epk"));

/// The package.
pub(crate) fn package() -> &'static [u8] {
    // a loader may put another package there: the compiler must not compute with this one
    black_box(&PACKAGE.0)
}

/// All memory that nothing else uses. To be called once.
pub(crate) fn arena() -> &'static mut [u8] {
    unsafe extern "C" {
        static mut __arena: u8;
        static mut __ram_end: u8;
    }
    let (start, end) = (&raw mut __arena, &raw mut __ram_end);
    // SAFETY: `layout.ld` puts nothing between the two, the memory map has it as memory, `start` calls this once,
    // and bytes have no invalid values
    unsafe { slice::from_raw_parts_mut(start, end.addr() - start.addr()) }
}
