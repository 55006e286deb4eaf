//! One measurement of one package: what the report compares.

use super::Variant;
use super::record::Bench;

/// A package, and a measurement of it.
#[derive(Clone, Debug)]
pub struct Run<'a> {
    /// The package.
    pub variant: &'a Variant,
    /// The measurement; none of a package that was not measured.
    pub bench: Option<&'a Bench>,
    /// Where and how it ran, unique among the runs of the package; empty without a measurement.
    pub place: String,
}

impl<'a> Run<'a> {
    /// The runs of one package: at least one.
    pub(super) fn all_of(variant: &'a Variant) -> Vec<Self> {
        if variant.benches.is_empty() {
            return vec![Self {
                variant,
                bench: None,
                place: String::new(),
            }];
        }
        let run = |bench| Self {
            variant,
            bench: Some(bench),
            place: place(bench, &variant.benches),
        };
        variant.benches.iter().map(run).collect()
    }

    /// Short and unique in the report: `int8 on rpi-4b, 2 threads`.
    pub fn label(&self) -> String {
        match self.bench {
            Some(_) => format!("{} on {}", self.variant.label, self.place),
            None => self.variant.label.clone(),
        }
    }

    /// As short as it can be told from `runs`: without the package where all are of one.
    pub(super) fn name_among(&self, runs: &[Run<'_>]) -> String {
        let of_one = runs
            .iter()
            .all(|run| std::ptr::eq(run.variant, self.variant));
        match self.bench {
            Some(_) if of_one => self.place.clone(),
            _ => self.label(),
        }
    }

    /// The measurement, where a real machine ran: an emulator's times, clocks and memory are not the board's.
    pub fn real(&self) -> Option<&'a Bench> {
        self.bench.filter(|bench| !bench.emulated)
    }

    /// The measurement, where an emulator ran.
    pub fn emulated(&self) -> Option<&'a Bench> {
        self.bench.filter(|bench| bench.emulated)
    }

    /// The median latency that was expected when the package was made for this board and as many threads, in microseconds.
    pub fn expected_us(&self) -> Option<f64> {
        let (bench, pack) = (self.real()?, self.variant.pack.as_ref()?);
        let prediction = pack.latency.as_ref()?;
        let is_of_run = prediction.board == bench.board && prediction.threads == bench.threads;
        prediction.us.filter(|_| is_of_run)
    }

    /// Why the figures may not be what the board can do.
    pub fn doubts(&self) -> Vec<String> {
        self.bench.map_or_else(Vec::new, Bench::doubts)
    }
}

/// What two measurements of one package share where the later replaces the earlier.
pub(super) fn same_key(a: &Bench, b: &Bench) -> bool {
    let key = |bench: &Bench| (bench.emulated, bench.threads, bench.board.clone());
    key(a) == key(b) && DETAILS.iter().all(|detail| detail(a) == detail(b))
}

/// The rest of the key, in words.
const DETAILS: [fn(&Bench) -> String; 6] = [
    |bench| bench.host.clone().unwrap_or_default(),
    |bench| bench.cpu.clone(),
    |bench| format!("{} kernels", bench.kernels),
    |bench| format!("edgeprune {}", bench.tool),
    |bench| binary(bench).map_or_else(String::new, |hash| format!("binary {hash}")),
    |bench| match bench.timeline.is_empty() {
        true => "short run".into(),
        false => "long run".into(),
    },
];

/// Digits of a hash that people compare.
pub(super) const HASH_DIGITS: usize = 12;

/// The device binary's hash, short.
pub(super) fn binary(bench: &Bench) -> Option<String> {
    let hash = bench.binary_sha256.as_deref()?;
    Some(hash.chars().take(HASH_DIGITS).collect())
}

/// The measurement's place, with those details in which it differs from others at the same place.
fn place(bench: &Bench, all: &[Bench]) -> String {
    let rivals: Vec<&Bench> = all
        .iter()
        .filter(|other| other.place() == bench.place())
        .collect();
    let mut place = bench.place();
    for detail in DETAILS {
        let mine = detail(bench);
        if !mine.is_empty() && rivals.iter().any(|other| detail(other) != mine) {
            place += &format!(", {mine}");
        }
    }
    place
}

#[cfg(test)]
mod tests {
    use super::super::record::Record;
    use super::super::tests::{bench_of, of};
    use super::*;
    use crate::latency::{Experience, Prediction};

    fn labels(changes: &[fn(&mut Bench)]) -> Vec<String> {
        let records = changes.iter().map(|change| bench_of("a", "1", change));
        let report = of(records.collect());
        report.runs().iter().map(Run::label).collect()
    }

    #[test]
    fn runs_that_differ_stay_apart_and_say_in_what() {
        let seen = labels(&[
            |_| {},
            |b| b.threads = 2,
            |b| b.tool = "0.2.0".into(),
            |b| b.host = Some("pi.local".into()),
            |b| b.emulated = true,
        ]);
        assert_eq!(
            seen,
            [
                "a on rpi4, edgeprune 0.1.0",
                "a on rpi4, 2 threads",
                "a on rpi4, edgeprune 0.2.0",
                "a on rpi4, pi.local, edgeprune 0.1.0",
                "a on rpi4 (emulated)",
            ]
        );
    }

    #[test]
    fn a_later_record_replaces_that_of_the_same_key() {
        assert_eq!(labels(&[|_| {}, |b| b.runs = 99]), ["a on rpi4"]);
    }

    #[test]
    fn what_was_expected_is_for_a_board_and_a_number_of_threads() {
        let mut pack = super::super::tests::pack("a", "1");
        if let Record::Pack(pack) = &mut pack {
            pack.latency = Some(Prediction {
                us: Some(120.0),
                ..Experience::default().predict("rpi4", None, 1, &[])
            });
        }
        let two = bench_of("a", "1", |b| b.threads = 2);
        let emulated = bench_of("a", "1", |b| b.emulated = true);
        let report = of(vec![pack, bench_of("a", "1", |_| {}), two, emulated]);
        let expected: Vec<_> = report.runs().iter().map(Run::expected_us).collect();
        assert_eq!(expected, [Some(120.0), None, None]);
    }

    #[test]
    fn a_package_that_was_not_measured_is_a_run_too() {
        let report = of(vec![super::super::tests::pack("a", "1")]);
        assert_eq!(report.runs()[0].label(), "a");
    }
}
