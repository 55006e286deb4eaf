//! What machine this is.

use std::fs;

/// The machine, as its firmware names it: `Raspberry Pi 4 Model B Rev 1.4`.
pub fn machine() -> Option<String> {
    let name = fs::read_to_string("/proc/device-tree/model").ok()?;
    Some(name.trim_end_matches('\0').to_owned())
}

/// The processor, as the kernel describes it.
pub fn processor() -> String {
    fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| described(&text))
        .unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

fn described(cpuinfo: &str) -> Option<String> {
    let value = |key: &str| {
        cpuinfo
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.trim() == key)
            .map(|(_, value)| value.trim())
    };
    match (value("CPU implementer"), value("CPU part")) {
        (Some("0x41"), Some(part)) => Some(arm_core(part)),
        _ => value("model name").map(str::to_owned),
    }
}

/// Arm's cores by the part number of their main identification register.
fn arm_core(part: &str) -> String {
    let name = match part {
        "0xc07" => "cortex-a7",
        "0xd03" => "cortex-a53",
        "0xd04" => "cortex-a35",
        "0xd05" => "cortex-a55",
        "0xd07" => "cortex-a57",
        "0xd08" => "cortex-a72",
        "0xd09" => "cortex-a73",
        "0xd0a" => "cortex-a75",
        "0xd0b" => "cortex-a76",
        "0xd0d" => "cortex-a77",
        "0xd41" => "cortex-a78",
        _ => return format!("arm part {part}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arm_core_is_named_by_its_part_number() {
        let text = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd08\nModel : x\n";
        assert_eq!(described(text).as_deref(), Some("cortex-a72"));
    }

    #[test]
    fn another_processor_is_named_by_its_model() {
        let text = "processor\t: 0\nmodel name\t: Fast 9000\n";
        assert_eq!(described(text).as_deref(), Some("Fast 9000"));
        assert_eq!(described("nothing"), None);
    }
}
