//! How much memory this process takes.

use crate::machine::{kilobytes, read};
use crate::report::Resident;
use std::fs;
use std::path::Path;

const STATUS: &str = "/proc/self/status";
/// What sets the most that this process had back to what it has.
const RESET: (&str, &str) = ("/proc/self/clear_refs", "5");

/// The process's memory at a moment, in bytes.
pub(crate) struct Memory {
    all: u64,
    /// Without pages of files, such as the program's own code.
    anonymous: u64,
}

impl Memory {
    /// Begins to watch; nothing where the system does not tell.
    pub(crate) fn watch() -> Option<Self> {
        let (file, word) = RESET;
        fs::write(file, word).ok()?;
        Self::now()
    }

    fn now() -> Option<Self> {
        Some(Self {
            all: status("VmRSS")?,
            anonymous: status("RssAnon")?,
        })
    }

    /// What has happened since; `planned` bytes were to be added.
    pub(crate) fn resident(self, planned: u64) -> Option<Resident> {
        let now = Self::now()?;
        let files = (now.all - now.anonymous).saturating_sub(self.all - self.anonymous);
        let growth = status("VmHWM")?.saturating_sub(self.all + files);
        Some(Resident {
            before_bytes: self.anonymous,
            peak_bytes: self.anonymous + growth,
            planned_bytes: self.anonymous + planned,
        })
    }
}

/// Bytes; nothing where the line is missing, as under an emulator.
fn status(key: &str) -> Option<u64> {
    let text = read(Path::new(STATUS))?;
    let bytes = kilobytes(&text, key) << 10;
    (bytes > 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_touched_is_seen() {
        let Some(memory) = Memory::watch() else {
            return; // this system does not tell
        };
        let planned = 32 << 20;
        let touched = vec![1u8; planned];
        std::hint::black_box(&touched);
        let resident = memory.resident(planned as u64);
        assert!(
            resident
                .is_some_and(|r| r.peak_bytes >= r.before_bytes + (31 << 20) && r.is_as_planned())
        );
    }
}
