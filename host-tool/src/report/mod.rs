//! What was measured, as JSON records, and the report that joins them.

pub mod baseline;
pub mod csv;
pub mod curve;
pub mod describe;
mod doubts;
pub mod fail_on;
mod figure;
pub mod html;
pub mod markdown;
mod provenance;
pub mod record;
mod roofline;
mod run;
mod tables;
pub mod text;

pub use figure::Figure;
pub use run::Run;

use crate::Error;
use record::{Bench, Eval, Identity, Pack, Record};
use serde::Serialize;
use std::path::Path;

/// Records, joined: one variant a package.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// In the order in which the packages were first named.
    pub variants: Vec<Variant>,
}

/// All that is known of one package.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Variant {
    /// Which package.
    pub identity: Identity,
    /// Short and unique in the report.
    pub label: String,
    /// Length of the package.
    pub package_bytes: u64,
    /// Layers and bytes.
    pub pack: Option<Pack>,
    /// Scores.
    pub eval: Option<Eval>,
    /// Speed, a record for each board, number of threads, version and so on.
    pub benches: Vec<Bench>,
}

impl Report {
    /// Reads JSON records and packages.
    ///
    /// # Errors
    /// The first file that is neither.
    pub fn read(paths: &[impl AsRef<Path>]) -> Result<Self, Error> {
        let records: Result<Vec<_>, Error> = paths.iter().map(|p| read(p.as_ref())).collect();
        Ok(Self::join(records?.into_iter().flatten().collect()))
    }

    /// Joins records that are about the same package. A later record replaces an earlier one of the same kind;
    /// measurements only where board, processor, threads, kernels, host and version are the same.
    pub fn join(records: Vec<Record>) -> Self {
        let mut report = Self::default();
        for record in records {
            let variant = report.variant(&record);
            match record {
                Record::Pack(pack) => variant.set_pack(pack),
                Record::Eval(eval) => variant.eval = Some(eval),
                Record::Bench(bench) => {
                    variant
                        .benches
                        .retain(|other| !run::same_key(other, &bench));
                    variant.benches.push(bench);
                }
            }
        }
        report.name_variants();
        report
    }

    fn variant(&mut self, record: &Record) -> &mut Variant {
        let at = self
            .variants
            .iter()
            .position(|variant| variant.is_about(record));
        let at = at.unwrap_or_else(|| {
            self.variants.push(Variant::new(record));
            self.variants.len() - 1
        });
        &mut self.variants[at]
    }

    fn name_variants(&mut self) {
        let mut taken: Vec<String> = Vec::new();
        for variant in &mut self.variants {
            let mut label = variant.name();
            let mut count = 2;
            while taken.contains(&label) {
                label = format!("{} ({count})", variant.name());
                count += 1;
            }
            taken.push(label.clone());
            variant.label = label;
        }
    }

    /// Every measurement of every package, and packages that were not measured.
    pub fn runs(&self) -> Vec<Run<'_>> {
        self.variants.iter().flat_map(Run::all_of).collect()
    }

    /// The models, in order of first mention, each with its variants, smallest package first.
    pub fn models(&self) -> Vec<(&str, Vec<&Variant>)> {
        let mut models: Vec<(&str, Vec<&Variant>)> = Vec::new();
        for variant in &self.variants {
            let name = variant.model();
            match models.iter_mut().find(|(model, _)| *model == name) {
                Some((_, variants)) => variants.push(variant),
                None => models.push((name, vec![variant])),
            }
        }
        for (_, variants) in &mut models {
            variants.sort_by_key(|variant| variant.package_bytes);
        }
        models
    }
}

impl Variant {
    fn new(record: &Record) -> Self {
        Self {
            identity: record.identity().clone(),
            label: String::new(),
            package_bytes: record.package_bytes(),
            pack: None,
            eval: None,
            benches: Vec::new(),
        }
    }

    fn is_about(&self, record: &Record) -> bool {
        let (mine, other) = (&self.identity, record.identity());
        if mine.package_hash.is_empty() || other.package_hash.is_empty() {
            let same_file = mine.package == other.package && mine.model == other.model;
            return same_file && self.package_bytes == record.package_bytes();
        }
        mine.package_hash == other.package_hash
    }

    /// A package's own description does not know the source's length: an earlier record may.
    fn set_pack(&mut self, mut pack: Pack) {
        let known = self.pack.as_ref().and_then(|pack| pack.source_bytes);
        pack.source_bytes = pack.source_bytes.or(known);
        self.pack = Some(pack);
    }

    /// The package's file stem, else the model's name.
    fn name(&self) -> String {
        let stem = Path::new(&self.identity.package).file_stem();
        match stem {
            Some(stem) => stem.to_string_lossy().into_owned(),
            None => self.model().to_owned(),
        }
    }

    /// The model's name.
    pub fn model(&self) -> &str {
        match self.identity.model.as_str() {
            "" => "model",
            name => name,
        }
    }

    /// Length of the source model, if it is known.
    pub fn source_bytes(&self) -> Option<u64> {
        self.pack.as_ref()?.source_bytes
    }

    /// Memory that a session needs, if it is known.
    pub fn arena_bytes(&self) -> Option<u64> {
        let pack = self.pack.as_ref().map(|pack| pack.arena_bytes);
        pack.or_else(|| self.benches.first().map(|bench| bench.arena_bytes))
    }
}

fn read(path: &Path) -> Result<Vec<Record>, Error> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    if bytes.starts_with(&edgeprune_format::MAGIC) {
        let pack = describe::Description::of(path, &bytes)?.pack()?;
        return Ok(vec![Record::Pack(pack)]);
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| Error::data(path, "neither a package nor a JSON record"))?;
    Record::all_from_json(&text).map_err(|cause| Error::data(path, cause))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::record::*;
    use super::*;

    pub(crate) fn identity(package: &str, hash: &str) -> Identity {
        Identity {
            model: "net".into(),
            package: format!("out/{package}.epk"),
            package_hash: hash.into(),
        }
    }

    pub(crate) fn pack(package: &str, hash: &str) -> Record {
        Record::Pack(Pack {
            identity: identity(package, hash),
            package_bytes: 1000,
            source_bytes: Some(4000),
            arena_bytes: 2048,
            arena: ArenaParts::default(),
            density: 0.5,
            layers: vec![PackLayer {
                name: "conv<1>".into(),
                encoding: "rans".into(),
                bytes: 900,
                bits_per_weight: 3.5,
                density: 0.5,
                kept_float: false,
                blocks: None,
            }],
            removed_channels: 3,
            loss: None,
            expected: None,
            kept_float: Vec::new(),
            latency: None,
        })
    }

    pub(crate) fn eval(package: &str, hash: &str) -> Record {
        Record::Eval(Eval {
            identity: identity(package, hash),
            package_bytes: 1000,
            samples: 500,
            top1: Some(91.2),
            top5: Some(99.0),
            agreement: Some(98.4),
            divergence: Some(0.01),
            sqnr_db: Some(21.5),
            original_top1: Some(91.6),
            original_top5: Some(99.2),
            layers: Vec::new(),
        })
    }

    pub(crate) fn of(records: Vec<Record>) -> Report {
        Report::join(records)
    }

    /// Of an emulated board.
    pub(crate) fn bench(package: &str, hash: &str, board: &str) -> Record {
        bench_of(package, hash, |bench| {
            bench.board = board.into();
            bench.emulated = true;
        })
    }

    /// Of a real board, changed.
    pub(crate) fn bench_of(package: &str, hash: &str, change: impl FnOnce(&mut Bench)) -> Record {
        let mut bench = Bench {
            identity: identity(package, hash),
            board: "rpi4".into(),
            cpu: "cortex-a72".into(),
            runs: 10,
            threads: 1,
            kernels: "neon".into(),
            latency_us: Latency {
                min: 90.0,
                p50: 100.0,
                p90: 120.0,
                p99: 150.0,
                ..Latency::default()
            },
            peak_int8_macs_per_second: Some(12e9),
            instructions_per_inference: Some(123_456),
            arena_bytes: 2048,
            package_bytes: 1000,
            layers: vec![BenchLayer {
                name: "conv<1>".into(),
                op: "conv_2d".into(),
                us: 95.0,
                macs: 5000,
                bytes: 2500,
                kernel: "qs8-igemm-4x4c16-neon".into(),
                instructions: Some(120_000),
                ..BenchLayer::default()
            }],
            tool: "0.1.0".into(),
            ..Bench::default()
        };
        change(&mut bench);
        Record::Bench(bench)
    }

    #[test]
    fn records_of_one_package_are_joined() {
        let report = Report::join(vec![
            pack("a", "1"),
            pack("b", "2"),
            eval("elsewhere", "1"),
            bench("b", "2", "rpi4"),
            bench("b", "2", "rpi5"),
            bench("b", "2", "rpi4"),
        ]);
        assert_eq!(report.variants.len(), 2);
        assert!(report.variants[0].eval.is_some());
        assert_eq!(report.variants[1].benches.len(), 2);
    }

    #[test]
    fn records_without_a_hash_are_joined_by_file_and_length() {
        let report = Report::join(vec![pack("a", ""), eval("a", ""), eval("b", "")]);
        assert_eq!(report.variants.len(), 2);
    }

    #[test]
    fn labels_are_unique() {
        let report = Report::join(vec![pack("a", "1"), pack("a", "2")]);
        assert_eq!(report.variants[1].label, "a (2)");
    }
}
