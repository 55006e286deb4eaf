//! Raspberry Pi 3 and Zero 2 W. Addresses: "BCM2835 ARM Peripherals", moved to 0x3f000000 in BCM2837.

/// The crystal.
pub(crate) const TIMER_HZ: u64 = 19_200_000;
pub(super) const PERIPHERALS: usize = 0x3f00_0000;
