//! The processor's generic timer.

use crate::board;
use core::arch::asm;
use edgeprune_runtime::telemetry::Clock;

/// The virtual count of the generic timer.
pub(crate) struct Timer;

impl Clock for Timer {
    fn ticks(&mut self) -> u64 {
        let ticks;
        // SAFETY: reads a register that EL1 may read; `isb` keeps the read where it stands
        unsafe { asm!("isb", "mrs {}, cntvct_el0", out(reg) ticks, options(nostack)) }
        ticks
    }

    /// As the firmware says; some leave the register at zero.
    fn ticks_per_second(&self) -> u64 {
        let hz: u64;
        // SAFETY: reads a register that EL1 may read
        unsafe { asm!("mrs {}, cntfrq_el0", out(reg) hz, options(nomem, nostack)) }
        match hz {
            0 => board::TIMER_HZ,
            hz => hz,
        }
    }
}
