//! The figures by which runs are compared, with their units and directions.

use super::run::Run;
use super::text::{micros, per_cent};
use crate::cli::output::{human_bytes, human_count};
use std::str::FromStr;

/// A figure of a run; less is better for all but [`Self::Top1`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Median latency, in microseconds.
    P50,
    /// Latency that nine in ten inferences do not exceed.
    P90,
    /// Latency that ninety-nine in a hundred do not exceed.
    P99,
    /// Longest latency.
    Max,
    /// From the package's bytes to the first output, in microseconds.
    Cold,
    /// Instructions of one inference.
    Instructions,
    /// Length of the package, in bytes.
    Size,
    /// Memory of a session, in bytes.
    Arena,
    /// The most memory of the process, in bytes.
    Memory,
    /// Top-1 accuracy, in per cent; measured on the device where nothing else tells it.
    Top1,
    /// Energy of one inference, in joules.
    Energy,
}

impl Figure {
    /// Each once.
    pub const ALL: [Self; 11] = [
        Self::P50,
        Self::P90,
        Self::P99,
        Self::Max,
        Self::Cold,
        Self::Instructions,
        Self::Size,
        Self::Arena,
        Self::Memory,
        Self::Top1,
        Self::Energy,
    ];

    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P99 => "p99",
            Self::Max => "max",
            Self::Cold => "cold",
            Self::Instructions => "instructions",
            Self::Size => "size",
            Self::Arena => "arena",
            Self::Memory => "memory",
            Self::Top1 => "top1",
            Self::Energy => "energy",
        }
    }

    /// Its value, where the run has one. An emulator's times are none.
    pub fn of(self, run: &Run<'_>) -> Option<f64> {
        let latency = run.real().map(|bench| bench.latency_us);
        match self {
            Self::P50 => latency.map(|times| times.p50),
            Self::P90 => latency.map(|times| times.p90),
            Self::P99 => latency.map(|times| times.p99),
            Self::Max => latency?.max,
            Self::Cold => run.real()?.cold_us,
            Self::Instructions => run.bench?.instructions_per_inference.map(|n| n as f64),
            Self::Size => Some(run.variant.package_bytes as f64).filter(|&bytes| bytes > 0.0),
            Self::Arena => arena(run).map(|bytes| bytes as f64),
            Self::Memory => Some(run.real()?.resident?.peak_bytes as f64),
            Self::Top1 => top1(run),
            Self::Energy => Some(run.real()?.energy.as_ref()?.joules_per_inference),
        }
    }

    /// A value for people.
    pub fn words(self, value: f64) -> String {
        match self {
            Self::P50 | Self::P90 | Self::P99 | Self::Max | Self::Cold => micros(value),
            Self::Instructions => human_count(value as u64),
            Self::Size | Self::Arena | Self::Memory => human_bytes(value as u64),
            Self::Top1 => per_cent(value),
            Self::Energy => joules(value),
        }
    }

    /// Whether a larger value is the better one.
    pub fn more_is_better(self) -> bool {
        self == Self::Top1
    }

    /// Whether it differs a little each time that it is measured.
    pub fn is_noisy(self) -> bool {
        !matches!(
            self,
            Self::Instructions | Self::Size | Self::Arena | Self::Top1
        )
    }

    /// A unit's size in that of [`Self::of`]; `None` for a unit that is not this figure's.
    pub(super) fn unit(self, name: &str) -> Option<f64> {
        let units: &[(&str, f64)] = match self {
            Self::P50 | Self::P90 | Self::P99 | Self::Max | Self::Cold => &TIMES,
            Self::Instructions => &COUNTS,
            Self::Size | Self::Arena | Self::Memory => &BYTES,
            Self::Top1 => &[("", 1.0), ("%", 1.0)],
            Self::Energy => &ENERGIES,
        };
        let found = units
            .iter()
            .find(|(unit, _)| unit.eq_ignore_ascii_case(name));
        found.map(|(_, size)| *size)
    }
}

const TIMES: [(&str, f64); 4] = [("us", 1.0), ("µs", 1.0), ("ms", 1e3), ("s", 1e6)];
const COUNTS: [(&str, f64); 4] = [("", 1.0), ("k", 1e3), ("M", 1e6), ("G", 1e9)];
const ENERGIES: [(&str, f64); 4] = [("uJ", 1e-6), ("µJ", 1e-6), ("mJ", 1e-3), ("J", 1.0)];
const BYTES: [(&str, f64); 8] = [
    ("", 1.0),
    ("B", 1.0),
    ("kB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
];

impl FromStr for Figure {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|figure| figure.name() == name);
        found.ok_or_else(|| {
            format!(
                "no figure is called `{name}`; there are {}",
                Self::ALL.map(Self::name).join(", ")
            )
        })
    }
}

fn arena(run: &Run<'_>) -> Option<u64> {
    let measured = run.bench.map(|bench| bench.arena_bytes);
    measured.or_else(|| run.variant.arena_bytes())
}

fn top1(run: &Run<'_>) -> Option<f64> {
    let scored = run.variant.eval.as_ref().and_then(|eval| eval.top1);
    scored.or_else(|| run.bench?.on_device.as_ref()?.top1)
}

/// An energy for people: `850 µJ`, `12.3 mJ`, `1.52 J`.
pub(super) fn joules(energy: f64) -> String {
    match energy {
        _ if energy < 1e-3 => format!("{:.0} µJ", energy * 1e6),
        _ if energy < 1.0 => format!("{:.2} mJ", energy * 1e3),
        _ => format!("{energy:.2} J"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{bench_of, of};
    use super::*;

    #[test]
    fn an_emulators_times_are_no_figures() {
        let report = of(vec![bench_of("a", "1", |b| {
            b.emulated = true;
            b.cold_us = Some(9.0);
        })]);
        let run = &report.runs()[0];
        for figure in [Figure::P50, Figure::P99, Figure::Max, Figure::Cold] {
            assert_eq!(figure.of(run), None, "{}", figure.name());
        }
        assert_eq!(Figure::Instructions.of(run), Some(123_456.0));
    }

    #[test]
    fn every_name_is_read_again() {
        for figure in Figure::ALL {
            assert_eq!(figure.name().parse(), Ok(figure));
        }
        assert!("speed".parse::<Figure>().unwrap_err().contains("p50, p90"));
    }
}
