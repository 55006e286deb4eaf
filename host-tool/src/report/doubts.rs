//! Why a measurement may not be what the board can do, or not what it does for long.

use super::record::{Bench, Interval};

/// The firmware's bits of `get_throttled`, now; 16 bits higher, since the machine started.
const THROTTLED: [(u32, &str); 4] = [
    (1 << 0, "under-voltage"),
    (1 << 1, "a capped clock"),
    (1 << 2, "throttling"),
    (1 << 3, "the soft temperature limit"),
];
const SINCE_START: u32 = 16;
/// Boards throttle from about here.
const HOT_CELSIUS: f64 = 80.0;
/// A long run may become slower by this share.
const DRIFT: f64 = 0.05;
/// Parts of a long run at each end that are compared.
const QUARTER: usize = 4;
/// A clock is as high as it may be from this share on.
const FULL_CLOCK: f64 = 0.95;

/// The firmware's word on throttling: what is so now, and what was earlier.
pub(super) fn throttled(bits: u32) -> String {
    let seen = |of: u32| {
        let causes = THROTTLED.iter().filter(|(bit, _)| of & bit != 0);
        causes
            .map(|(_, cause)| *cause)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let (now, earlier) = (seen(bits), seen((bits >> SINCE_START) & !bits));
    match (now.as_str(), earlier.as_str()) {
        ("", "") => "nothing to report".into(),
        ("", earlier) => format!("{earlier} earlier"),
        (now, "") => format!("{now} now"),
        (now, earlier) => format!("{now} now, {earlier} earlier"),
    }
}

impl Bench {
    /// A sentence for each reason, none for a measurement that holds. Of an emulated board only its output: an emulator's
    /// times, clock and memory are never the board's, and say so by themselves.
    pub fn doubts(&self) -> Vec<String> {
        let of_machine = [
            self.throttled(),
            self.saving(),
            self.slow_clock(),
            self.hot(),
            self.drift(),
            self.memory(),
        ];
        of_machine
            .into_iter()
            .filter(|_| !self.emulated)
            .chain([self.other_output()])
            .flatten()
            .collect()
    }

    fn throttled(&self) -> Option<String> {
        let after = self.after.throttled?;
        let begun = after & !self.before.throttled.unwrap_or(0);
        let seen = |bit: u32| (after & bit) | (begun & (bit << SINCE_START)) != 0;
        let causes = THROTTLED.iter().filter(|(bit, _)| seen(*bit));
        let causes: Vec<&str> = causes.map(|(_, cause)| *cause).collect();
        (!causes.is_empty()).then(|| format!("the firmware reports {}", causes.join(", ")))
    }

    fn saving(&self) -> Option<String> {
        let governor = self.machine.as_ref()?.governor.as_deref()?;
        (governor == "powersave").then(|| "the governor is powersave".to_owned())
    }

    fn slow_clock(&self) -> Option<String> {
        let most = self.machine.as_ref()?.clock_max_mhz?;
        let clock = self.after.clock_mhz?;
        let is_slow = f64::from(clock) < FULL_CLOCK * f64::from(most);
        is_slow.then(|| format!("the clock was {clock} of {most} MHz after the last inference"))
    }

    fn hot(&self) -> Option<String> {
        let celsius = self.after.temperature_celsius?;
        (celsius >= HOT_CELSIUS).then(|| format!("the processor is at {celsius:.0} °C"))
    }

    fn drift(&self) -> Option<String> {
        let parts = self.timeline.len() / QUARTER;
        let mean = |parts: &[Interval]| {
            parts.iter().map(|part| part.p50_us).sum::<f64>() / parts.len() as f64
        };
        let first = mean(self.timeline.get(..parts).filter(|p| !p.is_empty())?);
        let last = mean(self.timeline.get(self.timeline.len() - parts..)?);
        let slower = last / first - 1.0;
        (slower > DRIFT).then(|| {
            format!(
                "it became {:.0} % slower while it ran: {:.3} ms at first, {:.3} ms at the end",
                100.0 * slower,
                first / 1e3,
                last / 1e3
            )
        })
    }

    fn memory(&self) -> Option<String> {
        let resident = self.resident.filter(|resident| !resident.is_as_planned())?;
        let mb = |bytes: u64| bytes as f64 / 1e6;
        Some(format!(
            "the process took {:.1} MB of memory, planned were {:.1} MB",
            mb(resident.peak_bytes),
            mb(resident.planned_bytes)
        ))
    }

    fn other_output(&self) -> Option<String> {
        let samples = self.on_device.as_ref().map_or(0, |on| on.different.len());
        let layer = self
            .on_device
            .as_ref()
            .and_then(|on| on.first_layer.as_ref());
        let layer = layer.map_or(String::new(), |layer| format!(", first in layer {layer}"));
        match (self.matches_host, samples) {
            (Some(false), _) => Some("its output bytes are not this machine's".to_owned()),
            (_, 0) => None,
            (_, count) => Some(format!(
                "its output bytes are not this machine's on {count} samples{layer}"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::record::{Condition, Machine, OnDevice, Resident};

    fn doubts(change: impl FnOnce(&mut Bench)) -> String {
        let mut bench = Bench {
            machine: Some(Machine {
                governor: Some("ondemand".into()),
                clock_max_mhz: Some(1500),
                ..Machine::default()
            }),
            after: Condition {
                clock_mhz: Some(1500),
                temperature_celsius: Some(55.0),
                throttled: Some(0),
            },
            ..Bench::default()
        };
        assert!(bench.doubts().is_empty());
        change(&mut bench);
        bench.doubts().join("; ")
    }

    #[test]
    fn throttling_is_seen_now_and_where_it_began_meanwhile() {
        assert!(doubts(|b| b.after.throttled = Some(0x4)).contains("throttling"));
        assert!(doubts(|b| b.after.throttled = Some(0x1_0000)).contains("under-voltage"));
        let long_ago = |b: &mut Bench| {
            b.before.throttled = Some(0x1_0000);
            b.after.throttled = Some(0x1_0000);
        };
        assert_eq!(doubts(long_ago), "");
    }

    #[test]
    fn throttling_is_told_in_words() {
        assert_eq!(throttled(0), "nothing to report");
        assert_eq!(throttled(0x5_0004), "throttling now, under-voltage earlier");
        assert_eq!(throttled(0x8_0000), "the soft temperature limit earlier");
    }

    #[test]
    fn a_slow_clock_is_seen() {
        let save = |b: &mut Bench| {
            b.machine.as_mut().unwrap().governor = Some("powersave".into());
            b.after.clock_mhz = Some(600);
        };
        assert_eq!(
            doubts(save),
            "the governor is powersave; the clock was 600 of 1500 MHz after the last inference"
        );
        assert!(doubts(|b| b.after.temperature_celsius = Some(84.6)).contains("85 °C"));
    }

    #[test]
    fn a_run_that_becomes_slower_is_seen() {
        let parts = |times: &[f64]| {
            let part = |&p50_us: &f64| Interval {
                seconds: 1.0,
                runs: 10,
                p50_us,
                max_us: p50_us,
                condition: Condition::default(),
            };
            times.iter().map(part).collect::<Vec<_>>()
        };
        let slower = [
            1000.0, 1000.0, 1010.0, 1020.0, 1030.0, 1040.0, 1060.0, 1100.0,
        ];
        assert!(doubts(|b| b.timeline = parts(&slower)).contains("8 % slower"));
        assert_eq!(doubts(|b| b.timeline = parts(&[1000.0; 8])), "");
        assert_eq!(doubts(|b| b.timeline = parts(&[1000.0, 2000.0])), "");
    }

    #[test]
    fn of_an_emulated_board_only_the_output_counts() {
        let emulated = |b: &mut Bench| {
            b.emulated = true;
            b.after.temperature_celsius = Some(95.0);
            b.matches_host = Some(false);
        };
        assert_eq!(doubts(emulated), "its output bytes are not this machine's");
    }

    #[test]
    fn other_bytes_than_this_machines_are_seen() {
        assert!(doubts(|b| b.matches_host = Some(false)).contains("not this machine's"));
        let on_device = OnDevice {
            samples: 9,
            top1: None,
            different: vec![2, 5],
            first_layer: Some("conv_3".into()),
        };
        let words = doubts(|b| b.on_device = Some(on_device));
        assert!(words.ends_with("on 2 samples, first in layer conv_3"));
    }

    #[test]
    fn memory_beyond_the_plan_is_seen() {
        let resident = Resident {
            before_bytes: 0,
            peak_bytes: 9_000_000,
            planned_bytes: 5_000_000,
        };
        assert!(doubts(|b| b.resident = Some(resident)).contains("9.0 MB"));
    }
}
