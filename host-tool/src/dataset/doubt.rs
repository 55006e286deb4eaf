//! What is allowed of samples, but seldom meant: blank samples, and values on another scale than the
//! input specification's. Found before any work starts.

use super::spec::InputSpec;
use super::{Dataset, Source};
use crate::Error;
use rayon::prelude::*;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

/// Images that are decoded for a look, evenly spread. Arrays are looked at whole.
const IMAGES: usize = 64;
/// Samples that are looked at together.
const BATCH: usize = 64;
/// Normalized values may leave the specification's range by this share of it: of padding, noise, or another crop.
const MARGIN: f32 = 0.5;
/// Values that fill less than this share of the specification's range have another scale.
const NARROW: f32 = 0.02;
/// Share of whole numbers from which on values look like pixels.
const WHOLE: f64 = 0.9;
/// Normalized values of mean 0 and variance 1 stay below this.
const LARGE: f32 = 8.0;

/// Something about samples that is allowed, but seldom meant. Displays as a sentence with the way out.
#[derive(Clone, Debug, PartialEq)]
pub struct Doubt {
    /// The samples.
    pub path: PathBuf,
    /// What is doubtful.
    pub kind: DoubtKind,
}

/// What can be doubtful of samples.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum DoubtKind {
    /// Most samples have one value in all elements.
    Constant {
        /// Such samples.
        constant: usize,
        /// Samples that were looked at.
        samples: usize,
    },
    /// All samples are the same.
    Identical {
        /// Samples that were looked at.
        samples: usize,
    },
    /// Pixels of 0 to 255 in an array that is not `u8`, which the specification's mean and divisor do not reach.
    RawPixels(Scale),
    /// Values that the specification's mean and divisor do not make of pixels.
    OtherScale(Scale),
    /// An image or `u8` array whose pixels are all 0 or 1.
    DarkPixels {
        /// The network's input.
        input: String,
    },
}

/// The range of an input's values beside that of the specification.
#[derive(Clone, Debug, PartialEq)]
pub struct Scale {
    /// The network's input.
    pub input: String,
    /// Least and greatest value.
    pub values: (f32, f32),
    /// What pixels become by the specification.
    pub expected: (f32, f32),
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        match &self.kind {
            DoubtKind::Constant { constant, samples } => write!(
                f,
                "{constant} of {samples} samples are constant (one value in all elements): \
                 give representative samples"
            ),
            DoubtKind::Identical { samples } => write!(
                f,
                "all {samples} samples are identical: give representative samples"
            ),
            DoubtKind::RawPixels(scale) => write!(
                f,
                "{scale}; they look like raw pixels, and only u8 arrays and images are \
                 normalized: save the array as u8, or normalize it: (x - mean) / std"
            ),
            DoubtKind::OtherScale(scale) => write!(
                f,
                "{scale}; arrays that are not u8 are taken as they are: normalize as the \
                 specification does, (pixel - mean) / std with pixels of 0 to 255, or correct \
                 its `mean` and `std`"
            ),
            DoubtKind::DarkPixels { input } => write!(
                f,
                "every pixel of input `{input}` is 0 or 1 of 255, and is normalized as a pixel: \
                 save values of 0 to 255, or normalized ones as f32"
            ),
        }
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "input `{}` has values from {:?} to {:?}, where the input specification makes {:.2} to {:.2} of pixels",
            self.input, self.values.0, self.values.1, self.expected.0, self.expected.1
        )
    }
}

/// What was seen of one sample, or of several.
#[derive(Clone, Debug)]
struct Seen {
    constant: usize,
    /// Of all values; `None` once two samples differ.
    hash: Option<u64>,
    inputs: Vec<Values>,
}

/// What was seen of one input's values.
#[derive(Clone, Copy, Debug)]
struct Values {
    min: f32,
    max: f32,
    /// Greatest pixel before it was normalized.
    pixel: f32,
    whole: u64,
    count: u64,
}

impl Dataset {
    /// Reads the samples (of images a few) and says what is doubtful. Made-up samples are not.
    ///
    /// # Errors
    /// As [`Dataset::sample`]: a sample that cannot be read, or with values that are not finite.
    pub fn examine(&self) -> Result<Vec<Doubt>, Error> {
        let count = match self.source {
            Source::Synthetic(_) => 0,
            Source::Images(_) => self.len().min(IMAGES),
            Source::Arrays(_) => self.len(),
        };
        let indices: Vec<usize> = (0..count).map(|i| i * self.len() / count).collect();
        let mut all: Option<Seen> = None;
        for batch in indices.chunks(BATCH) {
            let seen: Vec<Result<Seen, Error>> = batch
                .par_iter()
                .map(|&i| Ok(self.seen(&self.sample(i)?)))
                .collect();
            for sample in seen {
                match &mut all {
                    Some(all) => all.merge(&sample?),
                    None => all = Some(sample?),
                }
            }
        }
        let kinds = all.map_or_else(Vec::new, |seen| self.kinds(&seen, count));
        let doubt = |kind| Doubt {
            path: self.path.clone(),
            kind,
        };
        Ok(kinds.into_iter().map(doubt).collect())
    }

    fn seen(&self, inputs: &[Vec<f32>]) -> Seen {
        let is_one_value = |values: &Vec<f32>| values.windows(2).all(|pair| pair[0] == pair[1]);
        let says_something = inputs.iter().any(|values| values.len() > 1);
        let mut hasher = DefaultHasher::new();
        for value in inputs.iter().flatten() {
            value.to_bits().hash(&mut hasher);
        }
        Seen {
            constant: usize::from(says_something && inputs.iter().all(is_one_value)),
            hash: Some(hasher.finish()),
            inputs: inputs.iter().map(|values| self.values(values)).collect(),
        }
    }

    fn values(&self, values: &[f32]) -> Values {
        let fold = |start, of: fn(f32, f32) -> f32| values.iter().copied().fold(start, of);
        let spec = self.spec.as_ref();
        let channels = spec.map_or(1, InputSpec::channels);
        let pixel = |(i, value): (usize, &f32)| {
            let (mean, std) = spec.map_or((0.0, 1.0), |spec| spec.mean_std(i % channels));
            value * std + mean
        };
        Values {
            min: fold(f32::INFINITY, f32::min),
            max: fold(f32::NEG_INFINITY, f32::max),
            pixel: values.iter().enumerate().map(pixel).fold(0.0, f32::max),
            whole: values.iter().filter(|value| value.fract() == 0.0).count() as u64,
            count: values.len() as u64,
        }
    }

    fn kinds(&self, seen: &Seen, samples: usize) -> Vec<DoubtKind> {
        if seen.constant * 2 > samples {
            let constant = seen.constant;
            return vec![DoubtKind::Constant { constant, samples }];
        }
        if samples > 1 && seen.hash.is_some() {
            return vec![DoubtKind::Identical { samples }];
        }
        let inputs = seen.inputs.iter().enumerate();
        inputs
            .filter_map(|(input, values)| self.scale(input, values))
            .collect()
    }

    /// Whether an input's values are not on the specification's scale.
    fn scale(&self, input: usize, values: &Values) -> Option<DoubtKind> {
        let form = &self.forms[input];
        let expected = self.spec.as_ref()?.range()?;
        form.hwc()?;
        let is_pixels = match &self.source {
            Source::Arrays(arrays) => arrays.is_pixels(input),
            Source::Images(_) | Source::Synthetic(_) => true,
        };
        let scale = Scale {
            input: form.name.clone(),
            values: (values.min, values.max),
            expected,
        };
        if is_pixels {
            let input = scale.input;
            return (values.pixel < 1.5).then_some(DoubtKind::DarkPixels { input });
        }
        let are_normalized = expected.0 >= 0.0 && values.max <= expected.1;
        if values.are_pixels() && !are_normalized {
            return Some(DoubtKind::RawPixels(scale));
        }
        (!values.fit(expected)).then_some(DoubtKind::OtherScale(scale))
    }
}

impl Values {
    /// Whether they look like pixels of 0 to 255.
    fn are_pixels(&self) -> bool {
        let are_whole = self.whole as f64 >= WHOLE * self.count as f64;
        are_whole && self.min >= 0.0 && (LARGE..=255.0).contains(&self.max)
    }

    /// Whether they can be pixels that were normalized to a range: they do not leave it, fill more than a small part
    /// of it, and are not 0 to 1 where it reaches below zero.
    fn fit(&self, (low, high): (f32, f32)) -> bool {
        let margin = MARGIN * (high - low);
        let stay = self.min >= low - margin && self.max <= high + margin;
        let are_unit = self.min >= 0.0 && self.max <= 1.0 && low < -0.5;
        stay && self.max - self.min >= NARROW * (high - low) && !are_unit
    }

    fn merge(&mut self, other: &Self) {
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.pixel = self.pixel.max(other.pixel);
        self.whole += other.whole;
        self.count += other.count;
    }
}

impl Seen {
    fn merge(&mut self, other: &Self) {
        self.constant += other.constant;
        self.hash = self.hash.filter(|_| self.hash == other.hash);
        for (values, more) in self.inputs.iter_mut().zip(&other.inputs) {
            values.merge(more);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(values: &[f32]) -> Values {
        Dataset::synthetic(1, None, &[]).values(values)
    }

    #[test]
    fn whole_numbers_up_to_255_are_pixels() {
        assert!(values(&[0.0, 17.0, 255.0]).are_pixels());
        for others in [
            [0.5, 17.3, 254.0],
            [-3.0, 2.0, 255.0],
            [0.0, 1.0, 0.0],
            [0.0, 9.0, 256.0],
        ] {
            assert!(!values(&others).are_pixels(), "{others:?}");
        }
    }

    #[test]
    fn raw_and_unit_pixels_leave_the_range_of_normalized_ones() {
        let imagenet = (-2.12, 2.64);
        assert!(!values(&[0.0, 255.0]).fit(imagenet));
        assert!(!values(&[0.0, 1.0]).fit(imagenet));
        assert!(values(&[-2.0, 2.5]).fit(imagenet));
        assert!(values(&[0.1, 0.9]).fit((0.0, 1.0)));
        assert!(!values(&[-1.0, 1.0]).fit((-124.0, 151.0)));
    }
}
