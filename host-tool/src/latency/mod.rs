//! How long a package will take on a board: a model of costs, fitted to every layer that was measured there.
//!
//! What was measured is kept in a file for each board, and the costs are fitted anew when they are asked for.

mod model;

pub use model::{Layer, Model, Observation};

use crate::Error;
use crate::report::record::{Bench, Identity};
use edgeprune_format::Manifest;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Names another folder than the user's own for what boards have taught.
const VARIABLE: &str = "EDGEPRUNE_BOARDS";

/// Everything that was measured on one board.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Experience {
    /// One entry for each package and number of threads, the last one measured at the end.
    measured: Vec<Measured>,
}

/// A package that was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Measured {
    #[serde(flatten)]
    identity: Identity,
    threads: u64,
    /// The median latency, in microseconds.
    us: f64,
    /// What was predicted before; `null` where nothing was known.
    predicted_us: Option<f64>,
    layers: Vec<Observation>,
}

/// What is expected of a package on a board.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The board's id.
    pub board: String,
    /// Threads of an inference.
    pub threads: u64,
    /// The median latency, in microseconds; `null` where nothing was measured with so many threads.
    pub us: Option<f64>,
    /// No core of the board is faster, in microseconds, by its most multiply-accumulates a second; `null` where those
    /// are unknown.
    pub least_us: Option<f64>,
    /// Packages that the costs were fitted to.
    pub packages: u64,
    /// Classes of layers that none of them has.
    pub unknown: Vec<String>,
    /// How far the last prediction for a new package was off; `null` before there is one.
    pub last: Option<LastTime>,
}

/// A prediction, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastTime {
    /// The model's name.
    pub model: String,
    /// Microseconds that were predicted.
    pub predicted_us: f64,
    /// Microseconds that were measured.
    pub measured_us: f64,
}

impl Prediction {
    /// In one line for people.
    pub fn words(&self) -> String {
        let least = self.least_us.map_or(String::new(), |us| {
            format!(", at least {:.3} ms by one core's peak", us / 1e3)
        });
        let Some(us) = self.us else {
            return format!(
                "unknown on {}{least}: `edgeprune bench --host` or `edgeprune learn` teaches more",
                self.board
            );
        };
        let unknown = match self.unknown.as_slice() {
            [] => String::new(),
            classes => format!(", none of which has {}", classes.join(" or ")),
        };
        let last = self.last.as_ref().map_or(String::new(), |last| {
            let side = if last.percent() < 0.0 { "low" } else { "high" };
            let percent = last.percent().abs();
            format!(
                "; the last, for {}, was {percent:.1} % too {side}",
                last.model
            )
        });
        format!(
            "{:.3} ms expected on {}, threads: {} (by {} packages measured there{unknown}{last}){least}",
            us / 1e3,
            self.board,
            self.threads,
            self.packages
        )
    }
}

impl LastTime {
    /// The error, in per cent of what was measured.
    pub fn percent(&self) -> f64 {
        100.0 * (self.predicted_us / self.measured_us - 1.0)
    }
}

impl Experience {
    /// That of a board; none where nothing was measured.
    ///
    /// # Errors
    /// A file that cannot be read or was not written by [`Self::write`].
    pub fn read(board: &str) -> Result<Self, Error> {
        let path = file(board)?;
        match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text).map_err(|cause| Error::Data {
                path,
                cause: format!("not what boards have taught ({cause}): remove it to begin anew"),
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Error::io(&path)(error)),
        }
    }

    /// Keeps it.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write(&self, board: &str) -> Result<(), Error> {
        let path = file(board)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
        let mut temporary = NamedTempFile::new_in(folder).map_err(Error::io(folder))?;
        let text = serde_json::to_vec_pretty(self).unwrap_or_default(); // numbers and text only
        temporary.write_all(&text).map_err(Error::io(&path))?;
        let persisted = temporary.persist(&path);
        persisted.map_err(|failed| Error::io(&path)(failed.error))?;
        Ok(())
    }

    /// Adds a measurement, in place of an older one of the same package and threads. Returns false for one that says
    /// nothing of the board: an emulator's, or one of an edgeprune that did not say what layers depend on.
    pub fn learn(&mut self, record: &Bench) -> bool {
        let layers: Vec<Observation> = record
            .layers
            .iter()
            .filter(|layer| !layer.class.is_empty())
            .map(|layer| Observation {
                layer: Layer {
                    class: layer.class.clone(),
                    macs: layer.macs,
                    bytes: layer.bytes,
                },
                us: layer.us,
            })
            .collect();
        if record.emulated || layers.is_empty() {
            return false;
        }
        let is_same = |known: &Measured| {
            known.identity.package_hash == record.identity.package_hash
                && known.threads == record.threads
        };
        let old = self.measured.iter().position(is_same);
        // a package that was measured before is no test of what was predicted
        let predicted_us = match old.map(|old| self.measured.remove(old)) {
            Some(old) => old.predicted_us,
            None => {
                let layers: Vec<Layer> = layers.iter().map(|known| known.layer.clone()).collect();
                let model = self.model(record.threads);
                model.map(|model| model.network_us(&layers))
            }
        };
        self.measured.push(Measured {
            identity: record.identity.clone(),
            threads: record.threads,
            us: record.latency_us.p50,
            predicted_us,
            layers,
        });
        true
    }

    /// What is expected of a network on a board, one core of which does `peak` multiply-accumulates a second.
    pub fn predict(
        &self,
        board: &str,
        peak: Option<f64>,
        threads: u64,
        layers: &[Layer],
    ) -> Prediction {
        let model = self.model(threads);
        let macs: u64 = layers.iter().map(|layer| layer.macs).sum();
        let tested = self.with(threads).filter_map(|measured| {
            Some(LastTime {
                model: measured.identity.model.clone(),
                predicted_us: measured.predicted_us?,
                measured_us: measured.us,
            })
        });
        let unknown = model.as_ref().map(|model| model.unknown(layers));
        let unknown = unknown.unwrap_or_default();
        Prediction {
            board: board.to_owned(),
            threads,
            us: model.as_ref().map(|model| model.network_us(layers)),
            least_us: peak.map(|peak| macs as f64 / (peak * threads as f64) * 1e6),
            packages: self.with(threads).count() as u64,
            unknown: unknown.into_iter().map(str::to_owned).collect(),
            last: tested.last(),
        }
    }

    fn with(&self, threads: u64) -> impl Iterator<Item = &Measured> {
        self.measured
            .iter()
            .filter(move |measured| measured.threads == threads)
    }

    fn model(&self, threads: u64) -> Option<Model> {
        let layers = self.with(threads).flat_map(|measured| &measured.layers);
        Model::fit(&layers.cloned().collect::<Vec<_>>())
    }
}

/// What the layers of a package cost.
pub fn layers(manifest: &Manifest<'_>) -> Vec<Layer> {
    let layer = |node| Layer {
        class: manifest.class(&node).to_string(),
        macs: manifest.macs(&node),
        bytes: manifest.bytes(&node),
    };
    manifest.nodes().map(layer).collect()
}

/// The file of a board.
fn file(board: &str) -> Result<PathBuf, Error> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "-+_".contains(c);
    if board.is_empty() || !board.chars().all(is_word) {
        return Err(Error::Usage(format!("`{board}` is not a board's id")));
    }
    let folder = match std::env::var_os(VARIABLE) {
        Some(folder) => PathBuf::from(folder),
        None => dirs::data_local_dir()
            .ok_or_else(|| {
                Error::Toolchain(format!(
                    "this system has no folder for a user's data: name one by {VARIABLE}"
                ))
            })?
            .join("edgeprune/boards"),
    };
    Ok(folder.join(format!("{board}.json")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::record::{BenchLayer, Latency};

    /// A measurement in which a multiply-accumulate takes `rate` microseconds.
    fn bench(hash: &str, macs: &[u64], rate: f64) -> Bench {
        let layer = |&macs: &u64| BenchLayer {
            name: "layer".into(),
            op: "conv_2d".into(),
            us: rate * macs as f64,
            macs,
            bytes: 100,
            class: "conv_2d 3x3".into(),
            ..BenchLayer::default()
        };
        Bench {
            identity: Identity {
                model: format!("net {hash}"),
                package: String::new(),
                package_hash: hash.into(),
            },
            threads: 1,
            latency_us: Latency {
                p50: rate * macs.iter().sum::<u64>() as f64,
                ..Latency::default()
            },
            layers: macs.iter().map(layer).collect(),
            ..Bench::default()
        }
    }

    fn layer(macs: u64) -> Layer {
        Layer {
            class: "conv_2d 3x3".into(),
            macs,
            bytes: 100,
        }
    }

    #[test]
    fn the_next_network_is_predicted_and_the_prediction_is_tested() {
        let mut experience = Experience::default();
        let nothing = experience.predict("board", Some(2e9), 1, &[layer(4_000)]);
        assert_eq!((nothing.us, nothing.least_us), (None, Some(2.0)));
        assert!(nothing.words().contains("at least 0.002 ms"));
        assert!(experience.learn(&bench("a", &[1_000, 2_000, 9_000], 0.01)));
        let first = experience.predict("board", None, 1, &[layer(5_000)]);
        assert!((first.us.unwrap() - 50.0).abs() < 0.5);
        assert_eq!((first.packages, &first.last), (1, &None));
        assert_eq!(experience.predict("board", None, 4, &[layer(1)]).us, None);

        assert!(experience.learn(&bench("b", &[5_000], 0.02)));
        let second = experience.predict("board", None, 1, &[layer(5_000)]);
        assert!(
            second
                .words()
                .contains("the last, for net b, was 50.0 % too low")
        );
        let last = second.last.unwrap();
        assert_eq!((&*last.model, last.measured_us), ("net b", 100.0));
        assert!((last.percent() + 50.0).abs() < 1.0, "{last:?}");
    }

    #[test]
    fn a_package_that_is_measured_again_replaces_its_measurement() {
        let mut experience = Experience::default();
        assert!(experience.learn(&bench("a", &[1_000], 0.01)));
        assert!(experience.learn(&bench("a", &[1_000], 0.03)));
        let prediction = experience.predict("board", None, 1, &[layer(1_000)]);
        assert_eq!(prediction.packages, 1);
        assert!((prediction.us.unwrap() - 30.0).abs() < 0.3);
    }

    #[test]
    fn a_boards_id_names_no_other_file() {
        assert!(Experience::read("../board").is_err());
        assert!(Experience::read("").is_err());
    }

    #[test]
    fn an_emulators_times_teach_nothing() {
        let mut record = bench("a", &[1_000], 0.01);
        record.emulated = true;
        assert!(!Experience::default().learn(&record));
    }
}
