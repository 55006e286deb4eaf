//! The package, and memory for its session.

use core::hint::black_box;
use core::slice;
use edgeprune_runtime::Aligned;
use edgeprune_runtime::format::slot::Slot;

/// The package that was there when this program was built.
static PACKAGE: Aligned<{ BYTES.len() }> = Aligned(*BYTES);
const BYTES: &[u8; include_bytes!(concat!(env!("OUT_DIR"), "/package.epk")).len()] =
    include_bytes!(concat!(env!("OUT_DIR"), "/package.epk"));

/// The package, and memory for its session.
type Loaded = (&'static [u8], &'static mut [u8]);

/// The package inside the program, or else the one that was loaded behind it, with the head of its slot; `None` where
/// there is neither. To be called once.
pub(crate) fn take() -> Option<(Option<Slot>, Loaded)> {
    if BYTES.is_empty() {
        let (slot, package, arena) = Slot::split(free())?;
        return Some((Some(slot), (package, arena)));
    }
    // a loader may put another package there: the compiler must not compute with this one
    Some((None, (black_box(&PACKAGE.0), free())))
}

/// All memory that nothing else uses, from where packages are loaded. To be called once.
fn free() -> &'static mut [u8] {
    unsafe extern "C" {
        static mut __free: u8;
        static mut __ram_end: u8;
    }
    let (start, end) = (&raw mut __free, &raw mut __ram_end);
    // SAFETY: `layout.ld` puts nothing between the two, the memory map has it as memory, `take` is called once and
    // calls this once, and bytes have no invalid values
    unsafe { slice::from_raw_parts_mut(start, end.addr() - start.addr()) }
}
