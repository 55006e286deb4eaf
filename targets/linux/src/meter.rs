//! What the board takes from its supply while inferences run, where something measures it.

use crate::machine::{numbered, read};
use crate::report::Energy;
use std::path::{Path, PathBuf};
#[cfg(feature = "vcgencmd")]
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Scope, ScopedJoinHandle, sleep};
use std::time::Duration;

/// Between two readings.
const PAUSE: Duration = Duration::from_millis(100);
/// Fewer readings are no mean.
const LEAST_READINGS: u64 = 5;

/// Something that measures power.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Meter {
    /// The power management chip of a Raspberry Pi 5, by the firmware's program.
    #[cfg(feature = "vcgencmd")]
    Pmic,
    /// A sensor of the kernel: the file with its microwatts.
    Sensor(PathBuf),
}

impl Meter {
    /// This machine's.
    pub(crate) fn find() -> Option<Self> {
        let sensor = Self::sensor(Path::new("/"));
        #[cfg(feature = "vcgencmd")]
        let sensor = sensor.or_else(|| Self::Pmic.watts().map(|_| Self::Pmic));
        sensor
    }

    fn sensor(root: &Path) -> Option<Self> {
        let folder = root.join("sys/class/hwmon");
        let mut files = numbered(&folder, "hwmon").map(|chip| chip.join("power1_input"));
        files.find(|file| file.exists()).map(Self::Sensor)
    }

    fn watts(&self) -> Option<f64> {
        match self {
            Self::Sensor(file) => Some(f64::from(read(file)?.parse::<u32>().ok()?) / 1e6),
            #[cfg(feature = "vcgencmd")]
            Self::Pmic => {
                let command = Command::new("vcgencmd").arg("pmic_read_adc").output();
                rails(&String::from_utf8(command.ok()?.stdout).ok()?)
            }
        }
    }

    fn name(&self) -> String {
        match self {
            #[cfg(feature = "vcgencmd")]
            Self::Pmic => "vcgencmd pmic_read_adc".into(),
            Self::Sensor(file) => file.display().to_string(),
        }
    }

    /// Reads on a thread of its own until `done`.
    pub(crate) fn watch<'scope>(
        self,
        scope: &'scope Scope<'scope, '_>,
        done: &'scope AtomicBool,
    ) -> ScopedJoinHandle<'scope, Readings> {
        scope.spawn(move || {
            let mut readings = Readings::new(self.name());
            while !done.load(Ordering::Relaxed) {
                readings.add(self.watts());
                sleep(PAUSE);
            }
            readings
        })
    }
}

/// The sum over all rails of current times voltage, of lines as `  VDD_CORE_A current(7)=1.25A` and
/// `  VDD_CORE_V volt(15)=0.72V`.
#[cfg(feature = "vcgencmd")]
fn rails(text: &str) -> Option<f64> {
    let reading = |line: &str, suffix: &str, unit: char| {
        let (name, rest) = line.trim().split_once(' ')?;
        let (_, value) = rest.split_once('=')?;
        let value = decimal(value.trim().strip_suffix(unit)?)?;
        Some((name.strip_suffix(suffix)?.to_owned(), value))
    };
    let all = |suffix, unit| {
        text.lines()
            .filter_map(move |line| reading(line, suffix, unit))
    };
    let volts: Vec<(String, f64)> = all("_V", 'V').collect();
    let powers = all("_A", 'A').filter_map(|(rail, current)| {
        let (_, volt) = volts.iter().find(|(name, _)| *name == rail)?;
        Some(current * volt)
    });
    powers.reduce(|sum, power| sum + power)
}

/// A number as `0.72000000`: without exponents, which need large tables.
#[cfg(feature = "vcgencmd")]
fn decimal(text: &str) -> Option<f64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let parts: u32 = fraction.get(..fraction.len().min(6))?.parse().ok()?;
    let scale = 10u32.pow(fraction.len().min(6) as u32);
    Some(f64::from(whole.parse::<u32>().ok()?) + f64::from(parts) / f64::from(scale))
}

/// What a meter has shown.
pub(crate) struct Readings {
    meter: String,
    sum: f64,
    count: u64,
}

impl Readings {
    fn new(meter: String) -> Self {
        Self {
            meter,
            sum: 0.0,
            count: 0,
        }
    }

    fn add(&mut self, watts: Option<f64>) {
        if let Some(watts) = watts {
            self.sum += watts;
            self.count += 1;
        }
    }

    /// For inferences of `seconds` each; nothing where the meter has been read too few times.
    pub(crate) fn energy(self, seconds: f64) -> Option<Energy> {
        if self.count < LEAST_READINGS {
            return None;
        }
        let watts = self.sum / self.count as f64;
        Some(Energy {
            joules_per_inference: watts * seconds,
            watts,
            readings: self.count,
            meter: self.meter,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[cfg(feature = "vcgencmd")]
    #[test]
    fn a_chips_rails_are_added() {
        let text = "     3V3_SYS_A current(1)=0.5A\n     VDD_CORE_A current(7)=2.00000000A\n      3V3_SYS_V volt(9)=3.3V\n     VDD_CORE_V volt(15)=0.75000000V\n     EXT5V_V volt(24)=5.1V\n";
        assert!(rails(text).is_some_and(|watts| (watts - 3.15).abs() < 1e-9));
        assert_eq!(rails("bad command"), None);
    }

    #[test]
    fn a_sensor_of_the_kernel_is_found_and_read() -> std::io::Result<()> {
        let root = tempfile::tempdir()?;
        for (chip, file) in [("hwmon0", "temp1_input"), ("hwmon1", "power1_input")] {
            let folder = root.path().join("sys/class/hwmon").join(chip);
            fs::create_dir_all(&folder)?;
            fs::write(folder.join(file), "2500000\n")?;
        }
        let meter = Meter::sensor(root.path());
        assert_eq!(meter.and_then(|meter| meter.watts()), Some(2.5));
        Ok(())
    }

    #[test]
    fn few_readings_are_no_mean() {
        let mut readings = Readings::new("meter".into());
        (1..LEAST_READINGS).for_each(|_| readings.add(Some(4.0)));
        readings.add(None);
        assert_eq!(Readings { ..readings }.energy(0.5), None);
        let mut readings = Readings::new("meter".into());
        (0..LEAST_READINGS).for_each(|_| readings.add(Some(4.0)));
        assert_eq!(
            readings
                .energy(0.5)
                .map(|energy| energy.joules_per_inference),
            Some(2.0)
        );
    }
}
