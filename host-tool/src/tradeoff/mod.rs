//! Size against quality: packages of many sizes from one calibration, each written whole and scored
//! by the device runtime.

mod bisect;
mod curve;
mod drop;
mod knee;
mod trial;

pub use bisect::bisect;
pub use curve::{Sizes, curve};
pub use drop::{MaxDrop, pack_within};
pub use knee::knee;

use crate::dataset::{Dataset, InputSpec};
use crate::study::Cache;

/// What packages are made with and judged on.
#[derive(Clone, Copy, Debug)]
pub struct Samples<'a> {
    /// Samples that ranges and errors are measured on.
    pub calibration: &'a Dataset,
    /// Samples that packages are scored on; without them those of `calibration` serve, which flatter.
    pub evaluation: Option<&'a Dataset>,
    /// How samples become inputs; it is stored in the package.
    pub spec: Option<&'a InputSpec>,
    /// Where what is measured of the network is kept.
    pub cache: &'a Cache,
}

impl<'a> Samples<'a> {
    /// What packages are scored on.
    fn judging(&self) -> &'a Dataset {
        self.evaluation.unwrap_or(self.calibration)
    }
}
