//! Raspberry Pi 4. Addresses: "BCM2711 ARM Peripherals", "Low Peripheral" mode.

/// The crystal.
pub(crate) const TIMER_HZ: u64 = 54_000_000;
pub(super) const PERIPHERALS: usize = 0xfe00_0000;
