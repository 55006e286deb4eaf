//! What machine this is, and in what condition: everything that decides what a measurement is worth.
//!
//! Read from the system's files; what a machine does not tell is left out, never guessed.

use crate::cores;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
#[cfg(feature = "vcgencmd")]
use std::process::Command;

/// A machine, as its firmware and its system describe it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// As its firmware names it: `Raspberry Pi 4 Model B Rev 1.4`.
    pub model: Option<String>,
    /// Its kinds of cores, as `cortex-a72`.
    pub cpu: String,
    /// Number of cores.
    pub cores: u32,
    /// Extensions of the instruction set, as the kernel names them; on x86 only those of vectors.
    pub features: Vec<String>,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Release of the kernel.
    pub kernel: String,
    /// Distribution.
    pub system: String,
    /// What chooses the clock: `performance`, `ondemand`, ...
    pub governor: Option<String>,
    /// Lowest clock that it may choose, in MHz.
    pub clock_min_mhz: Option<u32>,
    /// Highest clock that it may choose, in MHz.
    pub clock_max_mhz: Option<u32>,
}

/// What changes while a machine works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    /// The fastest core's clock, in MHz.
    pub clock_mhz: Option<u32>,
    /// The processor's temperature, in degrees Celsius.
    pub temperature_celsius: Option<f64>,
    /// The Raspberry Pi firmware's `get_throttled`: bits 0 to 3 are under-voltage, a capped clock, throttling and the
    /// soft temperature limit now; bits 16 to 19 the same at any time since the machine started.
    pub throttled: Option<u32>,
}

const CPUFREQ: &str = "sys/devices/system/cpu/cpu0/cpufreq";
const FIRMWARE: &str = "sys/devices/platform/soc/soc:firmware/get_throttled";
/// Begins the name of every x86 extension of vectors.
const VECTORS: [&str; 3] = ["avx", "fma", "sse4"];

impl Machine {
    /// This machine.
    pub fn read() -> Self {
        Self::under(Path::new("/"))
    }

    /// Whether it is QEMU's machine `virt`, whose times are nobody's.
    pub fn is_emulated(&self) -> bool {
        self.model.as_deref() == Some("linux,dummy-virt")
    }

    fn under(root: &Path) -> Self {
        let text = |path: &str| read(&root.join(path));
        let cpuinfo = text("proc/cpuinfo").unwrap_or_default();
        let clock = |file: &str| Some(number(&text(&format!("{CPUFREQ}/{file}"))?)? / 1000);
        Self {
            model: text("proc/device-tree/model"),
            cpu: processor(&cpuinfo),
            cores: values(&cpuinfo, "processor").count() as u32,
            features: features(&cpuinfo),
            memory_bytes: text("proc/meminfo").map_or(0, |info| kilobytes(&info, "MemTotal") << 10),
            kernel: text("proc/sys/kernel/osrelease").unwrap_or_default(),
            system: text("etc/os-release")
                .and_then(|text| distribution(&text))
                .unwrap_or_default(),
            governor: text(&format!("{CPUFREQ}/scaling_governor")),
            clock_min_mhz: clock("scaling_min_freq"),
            clock_max_mhz: clock("scaling_max_freq"),
        }
    }
}

impl Condition {
    /// This machine's, now.
    pub fn read() -> Self {
        let condition = Self::under(Path::new("/"));
        #[cfg(feature = "vcgencmd")]
        let condition = Self {
            throttled: condition.throttled.or_else(ask_firmware),
            ..condition
        };
        condition
    }

    fn under(root: &Path) -> Self {
        Self {
            clock_mhz: clock(root),
            temperature_celsius: temperature(root),
            throttled: read(&root.join(FIRMWARE)).and_then(|text| hexadecimal(&text)),
        }
    }
}

/// The processor, as the kernel describes it.
fn processor(cpuinfo: &str) -> String {
    let arm = values(cpuinfo, "CPU implementer").zip(values(cpuinfo, "CPU part"));
    let mut kinds: Vec<String> = arm.map(|(maker, part)| arm_core(maker, part)).collect();
    kinds.dedup();
    match values(cpuinfo, "model name").next() {
        _ if !kinds.is_empty() => kinds.join(" + "),
        Some(name) => name.to_owned(),
        None => std::env::consts::ARCH.to_owned(),
    }
}

/// A core, by maker and part number as the kernel writes them.
fn arm_core(maker: &str, part: &str) -> String {
    let number = |text: &str| u32::from_str_radix(text.strip_prefix("0x")?, 16).ok();
    match number(maker).zip(number(part)) {
        Some((cores::ARM, part)) => cores::name(part),
        _ => None,
    }
    .map_or_else(|| format!("core {part} of {maker}"), str::to_owned)
}

/// The values of a key in `key : value` lines.
fn values<'t>(text: &'t str, key: &'t str) -> impl Iterator<Item = &'t str> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .filter(move |(name, _)| name.trim() == key)
        .map(|(_, value)| value.trim())
}

fn features(cpuinfo: &str) -> Vec<String> {
    let owned = |names: &mut dyn Iterator<Item = &str>| names.map(str::to_owned).collect();
    if let Some(line) = values(cpuinfo, "Features").next() {
        return owned(&mut line.split_whitespace());
    }
    let line = values(cpuinfo, "flags").next().unwrap_or_default();
    let is_of_vectors = |name: &&str| VECTORS.iter().any(|start| name.starts_with(start));
    owned(&mut line.split_whitespace().filter(is_of_vectors))
}

/// The value of a line `key:  1234 kB`; 0 where there is none.
pub(crate) fn kilobytes(text: &str, key: &str) -> u64 {
    let line = values(text, key).next().unwrap_or_default();
    let number = line.split_whitespace().next().unwrap_or_default();
    number.parse().unwrap_or(0)
}

fn distribution(release: &str) -> Option<String> {
    let name = |key| release.lines().find_map(|line| line.strip_prefix(key));
    let value = name("PRETTY_NAME=").or_else(|| name("NAME="))?;
    Some(value.trim_matches('"').to_owned())
}

fn clock(root: &Path) -> Option<u32> {
    let folder = root.join("sys/devices/system/cpu");
    let clocks = numbered(&folder, "cpu")
        .filter_map(|core| number(&read(&core.join("cpufreq/scaling_cur_freq"))?));
    clocks.max().map(|kilohertz| kilohertz / 1000)
}

/// The hottest zone of the processor, or else the first zone.
fn temperature(root: &Path) -> Option<f64> {
    let folder = root.join("sys/class/thermal");
    let zones = numbered(&folder, "thermal_zone").filter_map(|zone| {
        let kind = read(&zone.join("type"))?;
        let thousandths: i32 = read(&zone.join("temp"))?.parse().ok()?;
        Some((kind, f64::from(thousandths) / 1000.0))
    });
    let zones: Vec<(String, f64)> = zones.collect();
    let is_of_processor = |kind: &str| {
        ["cpu", "soc", "x86_pkg"]
            .iter()
            .any(|part| kind.contains(part))
    };
    let processor = zones.iter().filter(|(kind, _)| is_of_processor(kind));
    let hottest = processor.map(|(_, degrees)| *degrees).reduce(f64::max);
    hottest.or_else(|| zones.first().map(|(_, degrees)| *degrees))
}

/// What the firmware's program says, where a kernel has no file for it.
#[cfg(feature = "vcgencmd")]
fn ask_firmware() -> Option<u32> {
    let answer = Command::new("vcgencmd")
        .arg("get_throttled")
        .output()
        .ok()?;
    let text = String::from_utf8(answer.stdout).ok()?;
    hexadecimal(text.trim().strip_prefix("throttled=")?)
}

/// The entries of a folder whose names are this and a number, counted from 0.
pub(crate) fn numbered(folder: &Path, name: &str) -> impl Iterator<Item = PathBuf> {
    let entry = move |number: u32| folder.join(format!("{name}{number}"));
    (0..).map(entry).take_while(|path| path.exists())
}

/// A file's text without what surrounds it.
pub(crate) fn read(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim_matches(['\0', '\n', ' ']).to_owned())
}

fn number(text: &str) -> Option<u32> {
    text.parse().ok()
}

fn hexadecimal(text: &str) -> Option<u32> {
    u32::from_str_radix(text.trim_start_matches("0x"), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arm_core_is_named_by_its_part_number() {
        let text = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd08\nModel : x\n";
        assert_eq!(processor(text), "cortex-a72");
    }

    #[test]
    fn another_processor_is_named_by_its_model() {
        let text = "processor\t: 0\nmodel name\t: Fast 9000\nflags : fpu avx2 fma de\n";
        assert_eq!(processor(text), "Fast 9000");
        assert_eq!(features(text), ["avx2", "fma"]);
        assert_eq!(processor("nothing"), std::env::consts::ARCH);
    }

    fn write(root: &Path, files: &[(&str, &str)]) -> std::io::Result<()> {
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap_or(root))?;
            fs::write(path, text)?;
        }
        Ok(())
    }

    #[test]
    fn a_board_is_read_from_the_systems_files() -> std::io::Result<()> {
        let root = tempfile::tempdir()?;
        let core = |part: &str| format!("CPU implementer : 0x41\nCPU part : {part}\n");
        let cpuinfo = format!(
            "processor : 0\nFeatures : fp asimd asimddp\n{}processor : 1\n{}",
            core("0xd05"),
            core("0xd0b")
        );
        write(
            root.path(),
            &[
                ("proc/device-tree/model", "Some Board Rev 1\0"),
                ("proc/cpuinfo", &cpuinfo),
                ("proc/meminfo", "MemTotal:     2048 kB\nMemFree: 1 kB\n"),
                ("proc/sys/kernel/osrelease", "6.1.0\n"),
                ("etc/os-release", "ID=x\nPRETTY_NAME=\"Some Linux 12\"\n"),
                (&format!("{CPUFREQ}/scaling_governor"), "powersave\n"),
                (&format!("{CPUFREQ}/scaling_min_freq"), "600000\n"),
                (&format!("{CPUFREQ}/scaling_max_freq"), "1500000\n"),
                (&format!("{CPUFREQ}/scaling_cur_freq"), "600000\n"),
                (
                    "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq",
                    "900000\n",
                ),
                ("sys/class/thermal/thermal_zone0/type", "battery\n"),
                ("sys/class/thermal/thermal_zone0/temp", "90000\n"),
                ("sys/class/thermal/thermal_zone1/type", "cpu-thermal\n"),
                ("sys/class/thermal/thermal_zone1/temp", "48312\n"),
                (FIRMWARE, "50005\n"),
            ],
        )?;
        let machine = Machine::under(root.path());
        assert_eq!(machine.model.as_deref(), Some("Some Board Rev 1"));
        assert_eq!(machine.cpu, "cortex-a55 + cortex-a76");
        assert_eq!((machine.cores, machine.memory_bytes), (2, 2 << 20));
        assert_eq!(machine.features, ["fp", "asimd", "asimddp"]);
        assert_eq!(
            (&*machine.kernel, &*machine.system),
            ("6.1.0", "Some Linux 12")
        );
        assert_eq!(machine.governor.as_deref(), Some("powersave"));
        assert_eq!(
            (machine.clock_min_mhz, machine.clock_max_mhz),
            (Some(600), Some(1500))
        );
        let expected = Condition {
            clock_mhz: Some(900),
            temperature_celsius: Some(48.312),
            throttled: Some(0x50005),
        };
        assert_eq!(Condition::under(root.path()), expected);
        Ok(())
    }

    #[test]
    fn a_machine_that_tells_nothing_is_no_error() -> std::io::Result<()> {
        let root = tempfile::tempdir()?;
        assert_eq!(Condition::under(root.path()), Condition::default());
        assert_eq!(Machine::under(root.path()).cores, 0);
        Ok(())
    }
}
