//! Runs beside those of a baseline: what became better, what worse, and what is noise.

use super::figure::Figure;
use super::record::Bench;
use super::run::Run;
use super::{Report, Variant};
use std::path::Path;

/// Runs to compare with.
#[derive(Clone, Debug, PartialEq)]
pub struct Baseline {
    report: Report,
    /// A measured figure that changes by no more than this share is the same.
    noise: f64,
}

/// A figure beside the baseline's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// Which.
    pub figure: Figure,
    /// The run's value.
    pub value: f64,
    /// The baseline's value.
    pub base: f64,
    /// What to make of it.
    pub verdict: Verdict,
}

/// What a change means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Equal, or noise.
    Same,
    /// Better than the baseline.
    Better,
    /// Worse than the baseline.
    Worse,
}

impl Baseline {
    /// How much measured figures may differ by default.
    pub const NOISE: f64 = 0.05;

    /// A baseline of these runs.
    pub fn new(report: Report, noise: f64) -> Self {
        Self { report, noise }
    }

    /// How much measured figures may differ.
    pub fn noise(&self) -> f64 {
        self.noise
    }

    /// Reads JSON records and packages.
    ///
    /// # Errors
    /// The first file that is neither.
    pub fn read(paths: &[impl AsRef<Path>], noise: f64) -> Result<Self, crate::Error> {
        Ok(Self::new(Report::read(paths)?, noise))
    }

    /// The run to compare with: of the same package, else of the file with the same name, else of the model's only
    /// package; on the same board and processor, with as many threads, emulated or not and long or not as this one.
    pub fn of(&self, run: &Run<'_>) -> Option<Run<'_>> {
        let variant = self.variant(run.variant)?;
        let runs = Run::all_of(variant).into_iter();
        match run.bench {
            None => runs.into_iter().next(),
            Some(bench) => runs
                .filter(|other| other.bench.is_some_and(|other| is_alike(bench, other)))
                .max_by_key(|other| other.bench.map(|other| likeness(bench, other))),
        }
    }

    fn variant(&self, of: &Variant) -> Option<&Variant> {
        let models: Vec<&Variant> = self
            .report
            .variants
            .iter()
            .filter(|variant| variant.model() == of.model())
            .collect();
        let hash = &of.identity.package_hash;
        let same_bytes = |v: &&&Variant| !hash.is_empty() && v.identity.package_hash == *hash;
        let same_name = |v: &&&Variant| v.name() == of.name();
        let found = models.iter().find(same_bytes);
        let found = found.or_else(|| models.iter().find(same_name));
        found.copied().or(match models.as_slice() {
            [only] => Some(*only),
            _ => None,
        })
    }

    /// Whether the run is itself the one to compare with.
    pub fn is_itself(&self, run: &Run<'_>) -> bool {
        self.of(run).is_some_and(|base| {
            base.bench == run.bench
                && base.variant.eval == run.variant.eval
                && base.variant.package_bytes == run.variant.package_bytes
        })
    }

    /// How a figure changed; `None` where either run lacks it, and for the baseline itself.
    pub fn change(&self, run: &Run<'_>, figure: Figure) -> Option<Change> {
        if self.is_itself(run) {
            return None;
        }
        let (value, base) = (figure.of(run)?, figure.of(&self.of(run)?)?);
        let noise = if figure.is_noisy() { self.noise } else { 0.0 };
        Some(Change {
            figure,
            value,
            base,
            verdict: verdict(figure, value - base, noise * base),
        })
    }
}

/// Whether two measurements can be compared at all.
fn is_alike(a: &Bench, b: &Bench) -> bool {
    let key = |bench: &Bench| {
        (
            bench.emulated,
            bench.threads,
            bench.timeline.is_empty(),
            bench.board.clone(),
            bench.cpu.clone(),
        )
    };
    key(a) == key(b)
}

/// What else two measurements share, the weightiest first.
fn likeness(a: &Bench, b: &Bench) -> [bool; 2] {
    [a.host == b.host, a.kernels == b.kernels]
}

fn verdict(figure: Figure, difference: f64, noise: f64) -> Verdict {
    match difference {
        _ if difference.abs() <= noise => Verdict::Same,
        _ if (difference > 0.0) == figure.more_is_better() => Verdict::Better,
        _ => Verdict::Worse,
    }
}

impl Change {
    /// The change in parts of the baseline's value.
    pub fn share(&self) -> f64 {
        match self.value == self.base {
            true => 0.0,
            false => self.value / self.base - 1.0,
        }
    }

    /// For people: `+12.3 %`, `-0.50 points`.
    pub fn words(&self) -> String {
        match self.figure {
            Figure::Top1 => format!("{:+.2} points", self.value - self.base),
            _ => format!("{:+.1} %", 100.0 * self.share()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{bench_of, eval, of, pack};
    use super::*;

    fn change(
        new: fn(&mut Bench),
        old: fn(&mut Bench),
        figure: Figure,
    ) -> Option<(String, Verdict)> {
        let baseline = Baseline::new(of(vec![bench_of("a", "1", old)]), Baseline::NOISE);
        let report = of(vec![bench_of("a", "2", new)]);
        let change = baseline.change(&report.runs()[0], figure)?;
        Some((change.words(), change.verdict))
    }

    #[test]
    fn times_within_the_noise_are_the_same() {
        let by = |new| change(new, |_| {}, Figure::P50).unwrap();
        let slower = by(|b| b.latency_us.p50 = 123.0);
        assert_eq!(slower, ("+23.0 %".into(), Verdict::Worse));
        assert_eq!(by(|b| b.latency_us.p50 = 104.0).1, Verdict::Same);
        assert_eq!(by(|b| b.latency_us.p50 = 80.0).1, Verdict::Better);
    }

    #[test]
    fn one_instruction_more_is_worse() {
        let more = |b: &mut Bench| b.instructions_per_inference = Some(123_457);
        let (_, verdict) = change(more, |_| {}, Figure::Instructions).unwrap();
        assert_eq!(verdict, Verdict::Worse);
    }

    #[test]
    fn only_like_is_compared_with_like() {
        assert_eq!(change(|_| {}, |b| b.threads = 4, Figure::P50), None);
        assert_eq!(
            change(|_| {}, |b| b.board = "rpi5".into(), Figure::P50),
            None
        );
        assert_eq!(change(|_| {}, |b| b.emulated = true, Figure::P50), None);
    }

    #[test]
    fn accuracy_is_compared_in_points_between_packages() {
        let baseline = Baseline::new(of(vec![pack("a", "1"), eval("a", "1")]), 0.0);
        let mut worse = of(vec![eval("a", "2")]);
        worse.variants[0].eval.as_mut().unwrap().top1 = Some(90.2);
        let change = baseline.change(&worse.runs()[0], Figure::Top1).unwrap();
        assert_eq!(change.words(), "-1.00 points");
        assert_eq!(change.verdict, Verdict::Worse);
    }

    #[test]
    fn a_run_does_not_change_beside_itself() {
        let report = of(vec![bench_of("a", "1", |_| {})]);
        let baseline = Baseline::new(report.clone(), 0.0);
        assert!(baseline.is_itself(&report.runs()[0]));
        assert_eq!(baseline.change(&report.runs()[0], Figure::P50), None);
    }
}
