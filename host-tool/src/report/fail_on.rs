//! Conditions under which a report fails: `p50>+5%`, `p99>20ms`, `top1<-0.5`.

use super::Report;
use super::baseline::{Baseline, Change};
use super::figure::Figure;
use super::run::Run;
use crate::Error;
use std::fmt;
use std::str::FromStr;

/// A condition that no run may meet.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    text: String,
    figure: Figure,
    limit: Limit,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Limit {
    /// The figure itself.
    Value(f64),
    /// What it differs from the baseline's.
    Difference(f64),
    /// What it differs from the baseline's, in parts of that.
    Share(f64),
}

const FORMS: &str = "want a figure, > or <, and a limit, as p50>+5%, p99>20ms or top1<-0.5";

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let at = text.find(['<', '>']).ok_or(FORMS)?;
        let figure: Figure = text[..at].trim().parse()?;
        let worse = if figure.more_is_better() { "<" } else { ">" };
        if !text[at..].starts_with(worse) {
            let name = figure.name();
            return Err(format!(
                "{name} is worse the other way: write {name}{worse}..."
            ));
        }
        Ok(Self {
            text: text.to_owned(),
            figure,
            limit: limit(figure, text[at + 1..].trim())?,
        })
    }
}

/// With a sign, a change; without one, a value.
fn limit(figure: Figure, text: &str) -> Result<Limit, String> {
    let is_change = text.starts_with(['+', '-']);
    let is_number = |c: char| c.is_ascii_digit() || "+-.".contains(c);
    let end = text.find(|c| !is_number(c)).unwrap_or(text.len());
    let (number, unit) = (&text[..end], text[end..].trim());
    let number: f64 = number.parse().map_err(|_| FORMS.to_owned())?;
    match unit {
        "%" if is_change && figure == Figure::Top1 => {
            Err("top1 changes in points: write it without %".into())
        }
        "%" if is_change => Ok(Limit::Share(number / 100.0)),
        _ => {
            let size = figure.unit(unit);
            let size = size.ok_or_else(|| no_unit(figure, unit))?;
            let limit = if is_change {
                Limit::Difference
            } else {
                Limit::Value
            };
            Ok(limit(number * size))
        }
    }
}

fn no_unit(figure: Figure, unit: &str) -> String {
    match unit {
        "" => format!("{} needs a unit: {FORMS}", figure.name()),
        unit => format!("`{unit}` is no unit of {}: {FORMS}", figure.name()),
    }
}

/// A condition that a run met.
#[derive(Clone, Debug, PartialEq)]
struct Failure {
    rule: String,
    run: String,
    value: String,
    base: Option<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {} has {}", self.rule, self.run, self.value)?;
        match &self.base {
            Some(base) => write!(out, ", the baseline {base}"),
            None => Ok(()),
        }
    }
}

/// Checks every run against every rule.
///
/// # Errors
/// Wrong usage: a rule that no run can be checked against. Else all rules that a run met, with both values.
pub fn check(rules: &[Rule], report: &Report, baseline: Option<&Baseline>) -> Result<(), Error> {
    let mut failures = Vec::new();
    for rule in rules {
        failures.extend(rule.failures(&report.runs(), baseline)?);
    }
    failures.dedup(); // a package is as large in each of its runs
    match failures.is_empty() {
        true => Ok(()),
        false => Err(Error::FailOn(
            failures.iter().map(Failure::to_string).collect(),
        )),
    }
}

impl Rule {
    fn failures(
        &self,
        runs: &[Run<'_>],
        baseline: Option<&Baseline>,
    ) -> Result<Vec<Failure>, Error> {
        let checked = match (self.limit, baseline) {
            (Limit::Value(limit), _) => self.values(runs, limit),
            (_, Some(baseline)) => self.changes(runs, baseline),
            (_, None) => {
                return Err(Error::Usage(format!(
                    "--fail-on {}: a change needs a --baseline to be against",
                    self.text
                )));
            }
        };
        match checked.is_empty() {
            true => Err(Error::Usage(self.nothing_to_check())),
            false => Ok(checked.into_iter().flatten().collect()),
        }
    }

    /// One item a run that has the figure: its failure, if it fails.
    fn values(&self, runs: &[Run<'_>], limit: f64) -> Vec<Option<Failure>> {
        let valued = runs
            .iter()
            .filter_map(|run| Some((run, self.figure.of(run)?)));
        valued
            .map(|(run, value)| {
                self.is_worse(value, limit)
                    .then(|| self.failure(run, value, None))
            })
            .collect()
    }

    /// The same for those that the baseline has the figure of.
    fn changes(&self, runs: &[Run<'_>], baseline: &Baseline) -> Vec<Option<Failure>> {
        let changes = runs
            .iter()
            .filter_map(|run| Some((run, baseline.change(run, self.figure)?)));
        changes
            .map(|(run, change)| {
                self.is_met_by(&change)
                    .then(|| self.failure(run, change.value, Some(&change)))
            })
            .collect()
    }

    fn is_met_by(&self, change: &Change) -> bool {
        match self.limit {
            Limit::Share(share) => self.is_worse(change.value, change.base * (1.0 + share)),
            Limit::Difference(by) => self.is_worse(change.value, change.base + by),
            Limit::Value(value) => self.is_worse(change.value, value),
        }
    }

    fn is_worse(&self, value: f64, limit: f64) -> bool {
        match self.figure.more_is_better() {
            true => value < limit,
            false => value > limit,
        }
    }

    fn failure(&self, run: &Run<'_>, value: f64, change: Option<&Change>) -> Failure {
        let words = |value| self.figure.words(value);
        Failure {
            rule: self.text.clone(),
            run: match self.figure {
                Figure::Size => run.variant.label.clone(),
                _ => run.label(),
            },
            value: words(value),
            base: change.map(|change| format!("{} ({})", words(change.base), change.words())),
        }
    }

    fn nothing_to_check(&self) -> String {
        let name = self.figure.name();
        match self.limit {
            Limit::Value(_) => format!(
                "--fail-on {}: no run has {name} (emulated runs have no times of their board: check their instructions)",
                self.text
            ),
            _ => format!(
                "--fail-on {}: no run has {name} and a counterpart that has it in the baseline, other than itself: \
                 of the same model, on the same board and processor, with as many threads, emulated or not and long or not like it",
                self.text
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::Bench;
    use super::super::tests::{bench_of, of};
    use super::*;

    fn rule(text: &str) -> Result<Rule, String> {
        text.parse()
    }

    #[test]
    fn rules_mean_what_they_say() {
        for (text, limit) in [
            ("p50>+5%", Limit::Share(0.05)),
            ("p99>20ms", Limit::Value(20e3)),
            ("cold > +1.5s", Limit::Difference(1.5e6)),
            ("size>25MB", Limit::Value(25e6)),
            ("arena>+1KiB", Limit::Difference(1024.0)),
            ("instructions>+0%", Limit::Share(0.0)),
            ("instructions>10M", Limit::Value(10e6)),
            ("top1<-0.5", Limit::Difference(-0.5)),
            ("top1<75%", Limit::Value(75.0)),
            ("energy>5mJ", Limit::Value(0.005)),
        ] {
            assert_eq!(rule(text).unwrap().limit, limit, "{text}");
        }
    }

    #[test]
    fn rules_that_mean_nothing_are_refused() {
        for (text, cause) in [
            ("", "want a figure"),
            ("p50", "want a figure"),
            ("p50>", "want a figure"),
            ("p50>+%", "want a figure"),
            ("p50>+-5%", "want a figure"),
            ("speed>5%", "no figure is called `speed`"),
            ("p50>20", "p50 needs a unit"),
            ("p50>5%", "`%` is no unit of p50"),
            ("size>20ms", "`ms` is no unit of size"),
            ("p50<+5%", "write p50>"),
            ("top1>-1", "write top1<"),
            ("top1<-1%", "in points"),
            ("p50>20ms and more", "`ms and more` is no unit"),
        ] {
            let refused = rule(text).unwrap_err();
            assert!(refused.contains(cause), "{text}: {refused}");
        }
    }

    fn checked(text: &str, new: fn(&mut Bench), against: bool) -> Result<(), Error> {
        let baseline = Baseline::new(of(vec![bench_of("a", "1", |_| {})]), 0.0);
        let report = of(vec![bench_of("a", "2", new)]);
        check(
            &[rule(text).unwrap()],
            &report,
            against.then_some(&baseline),
        )
    }

    #[test]
    fn a_run_that_meets_a_rule_fails_with_both_values() {
        let slow = |b: &mut Bench| b.latency_us.p50 = 110.0;
        assert!(checked("p50>+10%", slow, true).is_ok());
        let failed = checked("p50>+5%", slow, true).unwrap_err();
        assert_eq!(failed.exit_code(), 1);
        let text = failed.to_string();
        assert!(
            text.contains("p50>+5%: a on rpi4 has 110 µs, the baseline 100 µs (+10.0 %)"),
            "{text}"
        );
        assert!(checked("p99>0.1ms", |_| {}, false).is_err());
    }

    #[test]
    fn a_package_that_is_too_large_fails_once() {
        let on = |board: &str| bench_of("a", "1", |b| b.board = board.into());
        let report = of(vec![on("rpi4"), on("rpi5")]);
        let failed = check(&[rule("size>0.5kB").unwrap()], &report, None).unwrap_err();
        assert!(
            failed
                .to_string()
                .ends_with("1 condition(s) failed:\n  size>0.5kB: a has 1.0 kB")
        );
    }

    #[test]
    fn nothing_to_check_is_wrong_usage() {
        for (text, new, against) in [
            ("p50>+5%", (|_| {}) as fn(&mut Bench), false),
            ("p50>+5%", |b| b.threads = 4, true),
            ("energy>+5%", |_| {}, true),
            ("p50>1s", |b| b.emulated = true, false),
        ] {
            let error = checked(text, new, against).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{text}: {error}");
        }
    }

    #[test]
    fn a_run_beside_itself_is_nothing_to_check() {
        let report = of(vec![bench_of("a", "1", |_| {})]);
        let baseline = Baseline::new(report.clone(), 0.0);
        let error = check(&[rule("p50>+5%").unwrap()], &report, Some(&baseline)).unwrap_err();
        assert_eq!(error.exit_code(), 2);
    }
}
