//! The smallest package that keeps its accuracy.

use super::Samples;
use super::bisect::bisect;
use super::trial::{Trial, Trials};
use crate::Error;
use crate::cli::output::human_bytes;
use crate::dataset::Dataset;
use crate::eval::Original;
use crate::graph::Graph;
use crate::pack::{Packed, Source, Study};
use crate::progress::Progress;
use crate::prune::Pruning;
use crate::report::record::{Eval, Loss, Metric};

/// A package's goal: small, at no more than this loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaxDrop {
    /// Most points (of 100) of top-1 that may be lost, or of agreement with the original where there are no labels.
    pub points: f64,
    /// Which weights are made zero, beside those that rounding does.
    pub pruning: Option<Pruning>,
}

/// The smallest package that a bisection over the size finds to lose at most `goal.points`, and what
/// it loses. Every size that is tried is really packed, and scored by the device runtime.
///
/// # Errors
/// Samples that cannot be read or judged on, or a goal that not even the package without a limit meets.
pub fn pack_within(
    graph: &Graph,
    goal: MaxDrop,
    samples: Samples<'_>,
    progress: &Progress,
) -> Result<(Packed, Loss), Error> {
    let original = Original::answering(graph, samples.judging(), progress)?;
    let source = Source::new(graph.clone(), samples.calibration)?;
    let study = Study::new(&source, goal.pruning, samples.spec, samples.cache, progress)?;
    let trials = Trials {
        study: &study,
        original: &original,
        samples,
        progress,
    };
    Search::new(trials, goal.points).smallest()
}

/// A package that was tried, and what it loses.
struct Candidate {
    trial: Trial,
    loss: Loss,
}

struct Search<'a> {
    trials: Trials<'a>,
    metric: Metric,
    allowed: f64,
    count: u64,
}

impl<'a> Search<'a> {
    fn new(trials: Trials<'a>, allowed: f64) -> Self {
        let labelled = trials.samples.judging().is_labelled();
        let metric = if labelled {
            Metric::Top1
        } else {
            Metric::Agreement
        };
        Self {
            trials,
            metric,
            allowed,
            count: 0,
        }
    }

    fn smallest(mut self) -> Result<(Packed, Loss), Error> {
        let trial = self.trials.run(None)?;
        let unlimited = self.judge(trial)?;
        if !unlimited.loss.is_allowed() {
            return Err(self.impossible(&unlimited));
        }
        let low = self.trials.study.smallest()?;
        let start = (unlimited.trial.bytes(), unlimited);
        let (_, best) = bisect(low, start, |limit| self.attempt(limit))?;
        let trials = self.count;
        Ok((
            best.trial.packed,
            Loss {
                trials,
                ..best.loss
            },
        ))
    }

    /// A package within `limit` bytes, if there is one and it does not lose too much.
    fn attempt(&mut self, limit: u64) -> Result<Option<(u64, Candidate)>, Error> {
        let Some(trial) = self.trials.run_if_it_fits(limit)? else {
            self.count += 1;
            self.say(&format!("no package has at most {}", human_bytes(limit)));
            return Ok(None);
        };
        let candidate = self.judge(trial)?;
        let is_allowed = candidate.loss.is_allowed();
        Ok(is_allowed.then(|| (candidate.trial.bytes(), candidate)))
    }

    /// Measures what a package loses, and says so.
    fn judge(&mut self, trial: Trial) -> Result<Candidate, Error> {
        self.count += 1;
        let loss = self.loss(&trial.eval)?;
        let verdict = if loss.is_allowed() {
            "kept"
        } else {
            "too many"
        };
        let size = human_bytes(trial.bytes());
        self.say(&format!("{size}: {}: {verdict}", loss.words()));
        Ok(Candidate { trial, loss })
    }

    fn say(&self, what: &str) {
        let count = self.count;
        self.trials.progress.say(format!("trial {count}: {what}"));
    }

    fn loss(&self, eval: &Eval) -> Result<Loss, Error> {
        let original = match self.metric {
            Metric::Top1 => eval.original_top1,
            _ => Some(100.0),
        };
        let measured = original.zip(self.metric.of(eval));
        let (original, packed) =
            measured.ok_or_else(|| no_measure(self.trials.samples.judging()))?;
        Ok(Loss {
            metric: self.metric,
            original,
            packed,
            points: original - packed,
            allowed: self.allowed,
            samples: eval.samples,
            trials: self.count,
        })
    }

    fn impossible(&self, Candidate { trial, loss }: &Candidate) -> Error {
        Error::Budget(format!(
            "{}: even the package without a limit ({}) loses more than --max-drop {}: {} on {} samples; allow {:.2} \
             points or more, or calibrate on more samples",
            self.trials.original.graph().name,
            human_bytes(trial.bytes()),
            loss.allowed,
            loss.words(),
            loss.samples,
            rounded_up(loss.points),
        ))
    }
}

fn no_measure(data: &Dataset) -> Error {
    Error::data(
        data.path(),
        "has no labels, and the network's output is no vector of class scores, so that a drop cannot be \
         measured: give --eval-labels, or name a --max-size",
    )
}

/// To two digits, so that what is printed is enough.
fn rounded_up(points: f64) -> f64 {
    (100.0 * points - 1e-6).ceil() / 100.0
}

#[cfg(test)]
mod tests {
    use super::rounded_up;

    #[test]
    fn what_is_advised_is_enough() {
        assert_eq!(rounded_up(93.2 - 91.6), 1.6);
        assert_eq!(rounded_up(1.0333), 1.04);
    }
}
