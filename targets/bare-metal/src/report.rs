//! Records on the serial line.

use crate::{boot, uart};
use core::fmt::{self, Write as _};
use core::sync::atomic::{AtomicU32, Ordering};
use edgeprune_runtime::format::heapless::String;
use edgeprune_runtime::format::telemetry::{MAX_FRAME, MAX_TEXT, Record, frame};

/// The number of the next record. One core speaks, so loads and stores are enough.
static SEQUENCE: AtomicU32 = AtomicU32::new(0);

/// Sends a record.
pub(crate) fn send(record: &Record<'_>) {
    let sequence = SEQUENCE.load(Ordering::Relaxed);
    SEQUENCE.store(sequence.wrapping_add(1), Ordering::Relaxed);
    let mut buffer = [0; MAX_FRAME];
    // a record that does not fit is missed by its number
    uart::write(frame(sequence, record, &mut buffer).unwrap_or_default());
}

/// Says that nothing follows, and ends the program.
pub(crate) fn end() -> ! {
    send(&Record::End);
    uart::flush();
    boot::stop()
}

/// Says what went wrong, and ends the program.
pub(crate) fn fail(cause: fmt::Arguments<'_>) -> ! {
    let mut text = String::<MAX_TEXT>::new();
    let _ = text.write_fmt(cause); // as much of it as fits
    send(&Record::Fault { text: &text });
    end()
}
