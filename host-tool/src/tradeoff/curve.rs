//! The size-quality curve of a network.

use super::Samples;
use super::knee::knee;
use super::trial::{Trial, Trials};
use crate::Error;
use crate::cli::output::human_bytes;
use crate::eval::Original;
use crate::graph::Graph;
use crate::pack::{Source, Study};
use crate::progress::Progress;
use crate::report::describe::Description;
use crate::report::record::{Curve, CurvePoint, Eval, Metric};
use std::collections::VecDeque;
use std::path::Path;

/// Share of the range, by the logarithm, that an even choice leaves out at its small end: nothing is
/// left of a network in the least bytes that its package can have.
const USELESS: f64 = 0.25;

/// The sizes of a curve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// So many, evenly spaced by the logarithm up to the package without a limit.
    Even(usize),
    /// These, in bytes.
    Given(Vec<u64>),
}

/// Packs and scores the network at every size, from one calibration.
///
/// # Errors
/// Samples that cannot be read or do not fit, or a given size that cannot be met.
pub fn curve(
    graph: &Graph,
    sizes: Sizes,
    samples: Samples<'_>,
    progress: &Progress,
) -> Result<Curve, Error> {
    let original = Original::answering(graph, samples.judging(), progress)?;
    let source = Source::new(graph.clone(), samples.calibration)?;
    let study = Study::new(&source, None, samples.spec, samples.cache, progress)?;
    let trials = Trials {
        study: &study,
        original: &original,
        samples,
        progress,
    };
    let tried = match sizes {
        Sizes::Even(count) => even(trials, count)?,
        Sizes::Given(sizes) => given(trials, sizes)?,
    };
    record(source.graph(), samples, &tried)
}

/// The smallest first: if it cannot be met, that is known early.
fn given(trials: Trials<'_>, mut sizes: Vec<u64>) -> Result<Vec<Trial>, Error> {
    sizes.sort_unstable();
    sizes.dedup();
    let run = |&size| {
        let trial = trials.run(Some(size))?;
        say(trials.progress, &trial);
        Ok(trial)
    };
    sizes.iter().map(run).collect()
}

/// The package without a limit and `count - 1` smaller ones; fewer if sizes cannot be met or give
/// the same package.
fn even(trials: Trials<'_>, count: usize) -> Result<Vec<Trial>, Error> {
    let largest = trials.run(None)?;
    say(trials.progress, &largest);
    let low = above(trials.study.smallest()?, largest.bytes());
    let mut tried: Vec<Trial> = Vec::new();
    let mut limits = spaced(low, largest.bytes(), count);
    while let Some(limit) = limits.pop_front() {
        if let Some(trial) = trials.run_if_it_fits(limit)? {
            if tried.is_empty() {
                limits = spaced(limit, largest.bytes(), count);
                limits.pop_front();
            }
            say(trials.progress, &trial);
            tried.push(trial);
        }
    }
    tried.push(largest);
    tried.dedup_by(|a, b| a.packed.bytes == b.packed.bytes);
    Ok(tried)
}

/// Where a curve begins that reaches from `smallest` to `largest`.
fn above(smallest: u64, largest: u64) -> u64 {
    let range = largest as f64 / smallest.max(1) as f64;
    (smallest as f64 * range.powf(USELESS)).round() as u64
}

/// `count - 1` limits from `low` to `high`, without the latter, evenly spaced by the logarithm.
fn spaced(low: u64, high: u64, count: usize) -> VecDeque<u64> {
    let ratio = high as f64 / low.max(1) as f64;
    let steps = count.saturating_sub(1);
    let limit = |i: usize| low as f64 * ratio.powf(i as f64 / steps as f64);
    (0..steps).map(|i| limit(i).round() as u64).collect()
}

fn say(progress: &Progress, trial: &Trial) {
    let limit = match trial.max_size {
        Some(size) => format!("at most {}", human_bytes(size)),
        None => "no limit".into(),
    };
    let quality = metric(&trial.eval).and_then(|metric| {
        let value = metric.of(&trial.eval)?;
        Some(format!(", {} {}", metric.name(), metric.words(value)))
    });
    let size = human_bytes(trial.bytes());
    progress.say(format!("{limit}: {size}{}", quality.unwrap_or_default()));
}

/// The figure that says most: of the labels, of the classes, of the values.
fn metric(eval: &Eval) -> Option<Metric> {
    let figures = [Metric::Top1, Metric::Agreement, Metric::SqnrDb];
    figures.into_iter().find(|figure| figure.of(eval).is_some())
}

fn record(graph: &Graph, samples: Samples<'_>, tried: &[Trial]) -> Result<Curve, Error> {
    let weights = weights(graph);
    let points: Result<Vec<_>, Error> = tried.iter().map(|trial| point(trial, weights)).collect();
    let first = tried.first().map(|trial| &trial.eval);
    let data = samples.judging();
    let mut curve = Curve {
        model: graph.name.clone(),
        source_bytes: graph.source_bytes,
        weights,
        calibration_samples: samples.calibration.len() as u64,
        data: data.path().display().to_string(),
        samples: data.len() as u64,
        on_calibration: samples.evaluation.is_none(),
        metric: first.and_then(metric).unwrap_or(Metric::SqnrDb),
        original_top1: first.and_then(|eval| eval.original_top1),
        points: points?,
    };
    curve.points.sort_by_key(|point| point.package_bytes);
    mark_knee(&mut curve);
    Ok(curve)
}

fn weights(graph: &Graph) -> u64 {
    let layers = graph.nodes.iter().filter_map(|node| node.op.linear());
    layers.map(|linear| linear.weights.len() as u64).sum()
}

fn point(trial: &Trial, weights: u64) -> Result<CurvePoint, Error> {
    let path = Path::new(&trial.eval.identity.package);
    let pack = Description::of(path, &trial.packed.bytes)?.pack()?;
    let eval = &trial.eval;
    Ok(CurvePoint {
        package_hash: pack.identity.package_hash,
        max_size: trial.max_size,
        package_bytes: pack.package_bytes,
        bits_per_weight: 8.0 * pack.package_bytes as f64 / weights.max(1) as f64,
        density: pack.density,
        top1: eval.top1,
        top5: eval.top5,
        agreement: eval.agreement,
        divergence: eval.divergence,
        sqnr_db: eval.sqnr_db,
        knee: false,
    })
}

fn mark_knee(curve: &mut Curve) {
    let quality = |point: &CurvePoint| {
        let value = point.quality(curve.metric).unwrap_or(f64::NAN);
        (point.package_bytes as f64, value)
    };
    let points: Vec<(f64, f64)> = curve.points.iter().map(quality).collect();
    if let Some(index) = knee(&points) {
        curve.points[index].knee = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_spaced_by_their_ratio() {
        let sizes = spaced(1_000, 256_000, 9);
        let expected = [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000];
        assert_eq!(sizes, expected);
        assert_eq!(spaced(1_000, 256_000, 2), [1_000]);
        assert!(spaced(1_000, 256_000, 1).is_empty());
        assert!(spaced(0, 0, 3).iter().all(|&size| size == 0));
    }

    #[test]
    fn a_curve_begins_above_the_smallest_size() {
        assert_eq!(above(1_000, 256_000), 4_000);
        assert_eq!(above(1_000, 1_000), 1_000);
    }
}
