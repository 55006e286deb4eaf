//! What differs between boards. `boards/*/memory.ld` says where their memory is.

#[cfg(any(feature = "raspi3", feature = "raspi4"))]
mod raspi;
#[cfg(feature = "raspi3")]
mod raspi3;
#[cfg(feature = "raspi4")]
mod raspi4;
#[cfg(feature = "virt")]
mod virt;

#[cfg(any(feature = "raspi3", feature = "raspi4"))]
pub(crate) use raspi::{UART, UART_HZ, power_off, start};
#[cfg(feature = "raspi3")]
pub(crate) use raspi3::TIMER_HZ;
#[cfg(feature = "raspi4")]
pub(crate) use raspi4::TIMER_HZ;
#[cfg(feature = "virt")]
pub(crate) use virt::{TIMER_HZ, UART, UART_HZ, power_off, start};
