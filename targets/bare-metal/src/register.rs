//! Registers of devices.

/// A 32-bit register of a device, at its address.
#[derive(Clone, Copy)]
pub(crate) struct Register(*mut u32);

impl Register {
    /// The register at `address`.
    ///
    /// # Safety
    /// There is a device with a 32-bit register, and using it touches no memory of the program.
    pub(crate) const unsafe fn at(address: usize) -> Self {
        Self(core::ptr::without_provenance_mut(address))
    }

    pub(crate) fn read(self) -> u32 {
        // SAFETY: the pointer is aligned and that of a device's register: see `at`
        unsafe { self.0.read_volatile() }
    }

    pub(crate) fn write(self, value: u32) {
        // SAFETY: as for `read`
        unsafe { self.0.write_volatile(value) }
    }
}
