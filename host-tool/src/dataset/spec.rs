//! The input specification: how a sample becomes the network's input, in a small TOML file.

use super::{Dataset, text};
use crate::Error;
use crate::graph::Layout;
use edgeprune_format::manifest::{ChannelOrder, Input, MAX_MEAN_CHANNELS, Preprocess, Resize};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// How an image becomes the network's input, and what the classes are called.
#[derive(Clone, Debug, PartialEq)]
pub struct InputSpec {
    /// Order of the source model's dimensions, if the file says it.
    pub layout: Option<Layout>,
    /// Resize, crop, channel order, mean and divisor.
    pub preprocess: Preprocess,
    /// Class names, by index.
    pub labels: Option<Vec<String>>,
}

/// A specification to start from, for messages and `--help`.
pub const EXAMPLE: &str = r#"[input]
layout = "nchw"                  # or "nhwc"; the model's own order
resize = 256                     # shorter side in pixels, or [height, width]; leave out to keep the size
crop = 224                       # centre crop in pixels, or [height, width]; leave out for none
channel-order = "rgb"            # or "bgr", "gray"
mean = [123.675, 116.28, 103.53] # on the 0..255 scale, in channel order
std = [58.395, 57.12, 57.375]    # input = (pixel - mean) / std
labels = "labels.txt"            # class names, one a line, beside this file; may be left out
"#;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    input: Typed,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Typed {
    layout: Option<Layout>,
    resize: Option<Size>,
    crop: Option<Size>,
    channel_order: Option<ChannelOrder>,
    mean: Option<Vec<f32>>,
    std: Option<Vec<f32>>,
    labels: Option<PathBuf>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a number of pixels (1 to 65535) or [height, width]"
)]
enum Size {
    One(u16),
    Two([u16; 2]),
}

impl InputSpec {
    /// Reads a specification and the class names that it points to.
    ///
    /// # Errors
    /// Files that cannot be read, keys or values that mean nothing here.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = text::read(path)?;
        let file: File =
            toml::from_str(&text).map_err(|cause| Error::data(path, explain(&cause)))?;
        let labels = file.input.labels.clone();
        let mut spec = file
            .input
            .checked()
            .map_err(|cause| Error::data(path, cause))?;
        if let Some(labels) = labels {
            let folder = path.parent().unwrap_or(Path::new(""));
            spec.labels = Some(class_names(&folder.join(labels))?);
        }
        Ok(spec)
    }

    /// The specification for a model file: `explicit` if given, else a TOML file beside the model
    /// with the model's name, if there is one. Also says which file it was.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn find(model: &Path, explicit: Option<&Path>) -> Result<Option<(Self, PathBuf)>, Error> {
        let path = match explicit {
            Some(path) => path.to_path_buf(),
            None => model.with_extension("toml"),
        };
        if explicit.is_none() && !path.is_file() {
            return Ok(None);
        }
        Ok(Some((Self::read(&path)?, path)))
    }

    /// What a package says about its inputs: the first that is an image, and the class names as
    /// they are stored (one a line). `None` if the package was made without a specification.
    pub fn of_package<'a>(
        inputs: impl IntoIterator<Item = Input<'a>>,
        labels: Option<&str>,
    ) -> Option<Self> {
        let preprocess = inputs.into_iter().find_map(|input| input.preprocess)?;
        Some(Self {
            layout: None,
            preprocess,
            labels: labels.map(lines),
        })
    }

    /// Class names as a package stores them: one a line.
    pub fn labels_text(&self) -> Option<String> {
        self.labels.as_ref().map(|labels| labels.join("\n"))
    }

    /// Number of colour channels that the network sees.
    pub fn channels(&self) -> usize {
        match self.preprocess.channel_order {
            ChannelOrder::Gray => 1,
            ChannelOrder::Rgb | ChannelOrder::Bgr => 3,
        }
    }

    /// Least and greatest value that pixels become; `None` where they stay as they are.
    pub(super) fn range(&self) -> Option<(f32, f32)> {
        let scales = || (0..self.channels()).map(|channel| self.mean_std(channel));
        let ends = scales().flat_map(|(mean, std)| [-mean / std, (255.0 - mean) / std]);
        let (low, high) = ends.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), end| {
            (low.min(end), high.max(end))
        });
        scales()
            .any(|scale| scale != (0.0, 1.0))
            .then_some((low, high))
    }

    /// Mean and divisor of a channel.
    pub fn mean_std(&self, channel: usize) -> (f32, f32) {
        let of = |values: &[f32], default| {
            let value = values.get(channel).or(values.first());
            value.copied().unwrap_or(default)
        };
        (
            of(&self.preprocess.mean, 0.0),
            of(&self.preprocess.std, 1.0),
        )
    }
}

/// The error for images without a specification, at the data's `path`.
pub(super) fn missing(path: &Path) -> Error {
    Error::data(
        path,
        format!(
            "images need an input specification: write one and name it with --input-spec, \
             or give it the model's name with .toml beside the model. For example:\n\n{EXAMPLE}"
        ),
    )
}

impl Typed {
    fn checked(self) -> Result<InputSpec, String> {
        let mean = self.mean.unwrap_or_else(|| vec![0.0]);
        let std = self.std.unwrap_or_else(|| vec![1.0]);
        let channel_order = self.channel_order.unwrap_or(ChannelOrder::Rgb);
        let channels = match channel_order {
            ChannelOrder::Gray => 1,
            ChannelOrder::Rgb | ChannelOrder::Bgr => 3,
        };
        check_channels("mean", &mean, channels)?;
        check_channels("std", &std, channels)?;
        if std.contains(&0.0) {
            return Err("`std` divides: it cannot be 0".into());
        }
        check_scale(&mean, &std)?;
        let preprocess = Preprocess {
            resize: match self.resize {
                None => Resize::None,
                Some(Size::One(side)) => Resize::Shorter(non_zero("resize", [side])?[0]),
                Some(Size::Two(size)) => Resize::Exact(non_zero("resize", size)?),
            },
            crop: match self.crop {
                None => None,
                Some(Size::One(side)) => Some(non_zero("crop", [side, side])?),
                Some(Size::Two(size)) => Some(non_zero("crop", size)?),
            },
            channel_order,
            mean: mean.into_iter().take(MAX_MEAN_CHANNELS).collect(),
            std: std.into_iter().take(MAX_MEAN_CHANNELS).collect(),
        };
        Ok(InputSpec {
            layout: self.layout,
            preprocess,
            labels: None,
        })
    }
}

fn check_channels(key: &str, values: &[f32], channels: usize) -> Result<(), String> {
    if values.len() != channels && values.len() != 1 {
        return Err(format!(
            "`{key}` has {} values for {channels} channel(s) (see `channel-order`)",
            values.len()
        ));
    }
    if values.iter().any(|value| !value.is_finite()) {
        return Err(format!("`{key}` has a value that is not a number"));
    }
    Ok(())
}

/// Every pixel must become a finite input.
fn check_scale(mean: &[f32], std: &[f32]) -> Result<(), String> {
    let largest = mean.iter().fold(255f32, |most, mean| most.max(mean.abs()));
    match std.iter().find(|std| !(2.0 * largest / *std).is_finite()) {
        Some(std) => Err(format!(
            "`std` is too small: pixels overflow when divided by {std}"
        )),
        None => Ok(()),
    }
}

fn non_zero<const N: usize>(key: &str, size: [u16; N]) -> Result<[u16; N], String> {
    if size.contains(&0) {
        return Err(format!("`{key}` cannot be 0 pixels"));
    }
    Ok(size)
}

/// The parser's message (it shows the line and names unknown keys), with every key that is allowed.
fn explain(cause: &toml::de::Error) -> String {
    format!(
        "not an input specification: {}\nFor example:\n\n{EXAMPLE}",
        cause.to_string().trim_end()
    )
}

fn class_names(path: &Path) -> Result<Vec<String>, Error> {
    let text = text::read(path)?;
    let names = lines(&text);
    if names.is_empty() {
        return Err(Error::data(path, "no class names: one a line"));
    }
    Ok(names)
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(|line| line.trim().to_owned()).collect()
}

impl Dataset {
    /// The specification that the samples are prepared by.
    pub fn spec(&self) -> Option<&InputSpec> {
        self.spec.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<InputSpec, Error> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("labels.txt"), "cat\ndog, hound\n").unwrap();
        let path = folder.path().join("net.toml");
        std::fs::write(&path, text).unwrap();
        InputSpec::read(&path)
    }

    #[test]
    fn the_example_is_valid() {
        let spec = read(EXAMPLE).unwrap();
        assert_eq!(spec.layout, Some(Layout::Nchw));
        assert_eq!(spec.preprocess.resize, Resize::Shorter(256));
        assert_eq!(spec.preprocess.crop, Some([224, 224]));
        assert_eq!(spec.mean_std(1), (116.28, 57.12));
        assert_eq!(spec.labels_text().as_deref(), Some("cat\ndog, hound"));
    }

    #[test]
    fn an_unknown_key_is_named_with_the_allowed_ones() {
        let message = read("[input]\nmeans = [1.0]\n").unwrap_err().to_string();
        assert!(message.contains("means"), "{message}");
        assert!(message.contains("channel-order"), "{message}");
    }

    #[test]
    fn values_that_mean_nothing_are_refused() {
        for text in [
            "",
            "[input]\nstd = [0.0]\n",
            "[input]\nmean = [1.0, 2.0]\n",
            "[input]\ncrop = 0\n",
            "[input]\ncrop = \"big\"\n",
            "[input]\nlayout = \"hwc\"\n",
            "[input]\nmean = [nan]\n",
            "[input]\nstd = [1e-40]\n",
            "[input]\nmean = [3e38]\nstd = [0.5]\n",
            "[input]\nlabels = \"missing.txt\"\n",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_skipped() {
        assert!(read("\u{feff}[input]\nmean = [127.5]\n").is_ok());
    }

    #[test]
    fn one_mean_serves_every_channel() {
        let spec = read("[input]\nmean = [127.5]\nstd = [127.5]\n").unwrap();
        assert_eq!(spec.mean_std(2), (127.5, 127.5));
    }
}
