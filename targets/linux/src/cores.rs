//! Arm's cores. The program without an operating system uses this file too.

/// The maker's number in main identification registers.
pub(crate) const ARM: u32 = 0x41;

/// The name of the core with this part number.
pub(crate) fn name(part: u32) -> Option<&'static str> {
    Some(match part {
        0xc07 => "cortex-a7",
        0xc0f => "cortex-a15",
        0xd03 => "cortex-a53",
        0xd04 => "cortex-a35",
        0xd05 => "cortex-a55",
        0xd07 => "cortex-a57",
        0xd08 => "cortex-a72",
        0xd09 => "cortex-a73",
        0xd0a => "cortex-a75",
        0xd0b => "cortex-a76",
        0xd0d => "cortex-a77",
        0xd40 => "neoverse-v1",
        0xd41 => "cortex-a78",
        0xd46 => "cortex-a510",
        0xd47 => "cortex-a710",
        _ => return None,
    })
}
