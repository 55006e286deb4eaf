//! Scores of one sample, and their sums in the order of the samples.

pub use edgeprune_device::top_class;

/// Noise ratios beyond this, exact equality among them, are reported as this.
const MOST_DB: f64 = 150.0;
/// Probabilities are at least this, so that one that underflows to zero has a logarithm.
const LEAST_PROBABILITY: f64 = 1e-12;

/// The classes by falling score; of equal scores, the lower index first.
pub fn ranked(scores: &[f32]) -> Vec<usize> {
    let mut classes: Vec<usize> = (0..scores.len()).collect();
    classes.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
    classes
}

/// Energy of a signal, and of what differs from it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Noise {
    signal: f64,
    noise: f64,
}

impl Noise {
    /// Of so much noise on so much signal.
    pub(super) fn new(signal: f64, noise: f64) -> Self {
        Self { signal, noise }
    }

    /// Of `values` against `reference`.
    pub(super) fn of(values: &[f32], reference: &[f32]) -> Self {
        let mut sum = Self::default();
        for (&value, &reference) in values.iter().zip(reference) {
            sum.signal += f64::from(reference).powi(2);
            sum.noise += (f64::from(value) - f64::from(reference)).powi(2);
        }
        sum
    }

    pub(super) fn add(&mut self, other: Self) {
        self.signal += other.signal;
        self.noise += other.noise;
    }

    /// The ratio in dB, within ±[`MOST_DB`].
    pub(super) fn db(self) -> f64 {
        if self.noise == 0.0 {
            return MOST_DB;
        }
        let db = 10.0 * (self.signal / self.noise).log10();
        db.clamp(-MOST_DB, MOST_DB)
    }
}

/// Kullback-Leibler divergence in nats of the class probabilities `scores` from `reference`. Scores
/// that are no distribution are taken as logits.
pub(super) fn divergence(reference: &[f32], scores: &[f32]) -> f64 {
    let (p, q) = (log_probabilities(reference), log_probabilities(scores));
    p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum()
}

fn log_probabilities(scores: &[f32]) -> Vec<f64> {
    let values = scores.iter().map(|&score| f64::from(score));
    let sum: f64 = values.clone().sum();
    if scores.iter().all(|&score| score >= 0.0) && (sum - 1.0).abs() < 1e-3 {
        return values
            .map(|p| (p / sum).max(LEAST_PROBABILITY).ln())
            .collect();
    }
    let largest = values.clone().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = values.clone().map(|z| (z - largest).exp()).sum();
    values.map(|z| z - largest - sum.ln()).collect()
}

/// Whether the label is the first, and among the first five.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Hit {
    first: bool,
    five: bool,
}

impl Hit {
    fn of(scores: &[f32], label: usize) -> Self {
        let rank = ranked(scores).into_iter().position(|class| class == label);
        Self {
            first: rank == Some(0),
            five: rank.is_some_and(|rank| rank < 5),
        }
    }
}

/// What one sample tells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct SampleScore {
    hit: Option<Hit>,
    original_hit: Option<Hit>,
    agrees: Option<bool>,
    divergence: Option<f64>,
    noise: Option<Noise>,
}

impl SampleScore {
    pub(super) fn new(
        outputs: &[Vec<f32>],
        reference: Option<&[Vec<f32>]>,
        label: Option<usize>,
    ) -> Self {
        let scores = outputs.first().map_or(&[][..], Vec::as_slice);
        let original = reference.and_then(|reference| reference.first());
        let noise = reference.map(|reference| {
            let mut noise = Noise::default();
            for (values, reference) in outputs.iter().zip(reference) {
                noise.add(Noise::of(values, reference));
            }
            noise
        });
        Self {
            hit: label.map(|label| Hit::of(scores, label)),
            original_hit: label
                .zip(original)
                .map(|(label, original)| Hit::of(original, label)),
            agrees: original.map(|original| top_class(scores) == top_class(original)),
            divergence: original.map(|original| divergence(original, scores)),
            noise,
        }
    }
}

/// Sums over all samples.
#[derive(Clone, Copy, Debug)]
pub(super) struct Total<'a> {
    scores: &'a [SampleScore],
    classifies: bool,
}

impl<'a> Total<'a> {
    /// `classifies`: whether the outputs are class scores, so that a highest one means something.
    pub(super) fn of(scores: &'a [SampleScore], classifies: bool) -> Self {
        Self { scores, classifies }
    }

    pub(super) fn top1(&self) -> Option<f64> {
        self.share(|score| Some(score.hit?.first))
    }

    pub(super) fn top5(&self) -> Option<f64> {
        self.share(|score| Some(score.hit?.five))
    }

    pub(super) fn original_top1(&self) -> Option<f64> {
        self.share(|score| Some(score.original_hit?.first))
    }

    pub(super) fn original_top5(&self) -> Option<f64> {
        self.share(|score| Some(score.original_hit?.five))
    }

    pub(super) fn agreement(&self) -> Option<f64> {
        if !self.classifies {
            return None;
        }
        self.share(|score| score.agrees)
    }

    /// Mean divergence of the class probabilities from the original's, in nats.
    pub(super) fn divergence(&self) -> Option<f64> {
        if !self.classifies || self.scores.is_empty() {
            return None;
        }
        let sum: Option<f64> = self.scores.iter().map(|score| score.divergence).sum();
        Some(sum? / self.scores.len() as f64)
    }

    pub(super) fn sqnr_db(&self) -> Option<f64> {
        let mut sum = Noise::default();
        for score in self.scores {
            sum.add(score.noise?);
        }
        (!self.scores.is_empty()).then(|| sum.db())
    }

    /// Per cent of samples where `test` holds; `None` if it is unknown for one.
    fn share(&self, test: impl Fn(&SampleScore) -> Option<bool>) -> Option<f64> {
        let results: Option<Vec<bool>> = self.scores.iter().map(test).collect();
        let results = results.filter(|results| !results.is_empty())?;
        let count = results.iter().filter(|&&holds| holds).count();
        Some(100.0 * count as f64 / results.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_scores_rank_by_index() {
        assert_eq!(ranked(&[1.0, 3.0, 3.0, 2.0]), [1, 2, 3, 0]);
        assert_eq!(top_class(&[1.0, 3.0, 3.0]), Some(1));
        assert_eq!(top_class(&[]), None);
    }

    #[test]
    fn shares_are_in_per_cent() {
        let reference = [vec![0.0, 1.0, 0.0]];
        let scores: Vec<SampleScore> = [vec![0.1, 0.9, 0.0], vec![0.8, 0.2, 0.0]]
            .into_iter()
            .map(|output| SampleScore::new(&[output], Some(&reference), Some(1)))
            .collect();
        let total = Total::of(&scores, true);
        assert_eq!(total.top1(), Some(50.0));
        assert_eq!(total.top5(), Some(100.0));
        assert_eq!(total.agreement(), Some(50.0));
        assert_eq!(total.original_top1(), Some(100.0));
    }

    #[test]
    fn without_labels_or_original_nothing_is_claimed() {
        let scores = [SampleScore::new(&[vec![1.0, 2.0]], None, None)];
        let total = Total::of(&scores, true);
        assert_eq!(
            (total.top1(), total.agreement(), total.sqnr_db()),
            (None, None, None)
        );
    }

    #[test]
    fn divergence_reads_logits_and_probabilities() {
        let logits = [1.0f32, -0.5, 0.25];
        let sum: f32 = logits.iter().map(|z| z.exp()).sum();
        let probabilities = logits.map(|z| z.exp() / sum);
        assert!(divergence(&logits, &probabilities).abs() < 1e-6);
        let other = divergence(&[0.5, 0.5], &[0.9, 0.1]);
        let expected = 0.5 * (0.5f64 / 0.9).ln() + 0.5 * (0.5f64 / 0.1).ln();
        assert!((other - expected).abs() < 1e-6);
    }

    #[test]
    fn noise_is_measured_in_decibels() {
        let noise = Noise::of(&[1.1, 2.0], &[1.0, 2.0]);
        assert!(
            (noise.db() - 10.0 * 500f64.log10()).abs() < 1e-4,
            "{}",
            noise.db()
        );
        assert_eq!(Noise::of(&[1.0], &[1.0]).db(), MOST_DB);
        assert_eq!(Noise::of(&[1.0], &[0.0]).db(), -MOST_DB);
    }
}
