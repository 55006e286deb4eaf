//! What xz makes of the codes of a package: a yardstick for its entropy coding.

use crate::Error;
use crate::cli::output::human_bytes;
use crate::report::describe::{Coded, Description};
use serde::Serialize;

/// The preset of `xz -9`.
#[cfg(feature = "xz")]
const PRESET: u32 = 9;

/// The entropy-coded tensors beside their xz streams.
#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    tensors: Vec<Compared>,
    /// Sum over the tensors of their bytes in the file.
    coded_bytes: u64,
    /// Sum over the tensors of their bytes as xz streams.
    xz_bytes: u64,
}

#[derive(Debug, Serialize)]
struct Compared {
    /// Node that reads it; empty for class names.
    name: String,
    what: &'static str,
    elements: usize,
    coded_bytes: u64,
    /// Length of the `.xz` file of its elements, one byte each.
    xz_bytes: u64,
}

impl Comparison {
    /// Compresses every entropy-coded tensor of a package, one after the other: each takes most of
    /// a gigabyte of address space.
    ///
    /// # Errors
    /// A tensor that does not decode, or too little memory for xz.
    pub(super) fn of(description: &Description<'_>) -> Result<Self, Error> {
        let tensors: Result<Vec<Compared>, Error> =
            description.coded()?.into_iter().map(compare).collect();
        let tensors = tensors?;
        let sum = |bytes: fn(&Compared) -> u64| tensors.iter().map(bytes).sum();
        Ok(Self {
            coded_bytes: sum(|tensor| tensor.coded_bytes),
            xz_bytes: sum(|tensor| tensor.xz_bytes),
            tensors,
        })
    }

    /// For a layer's row: bytes of its codes in the file, and of their xz stream.
    pub(super) fn cells(&self, layer: &str) -> [String; 2] {
        let mut weights = self.tensors.iter().filter(|tensor| tensor.is_weights());
        match weights.find(|tensor| tensor.name == layer) {
            Some(tensor) => [tensor.coded_bytes, tensor.xz_bytes].map(human_bytes),
            None => ["–", "–"].map(Into::into),
        }
    }

    /// Rows of a table with so many columns: the sums over weights, the rest, and all.
    pub(super) fn sums(&self, columns: usize) -> Vec<Vec<String>> {
        let row = |name: &str, kept: fn(&Compared) -> bool| {
            let kept = || self.tensors.iter().filter(|tensor| kept(tensor));
            let coded = kept().map(|tensor| tensor.coded_bytes).sum();
            let xz = kept().map(|tensor| tensor.xz_bytes).sum();
            let mut row = vec![String::new(); columns.saturating_sub(2)];
            row[0] = name.to_owned();
            row.extend([coded, xz].map(human_bytes));
            row
        };
        let mut rows = Vec::new();
        if self.tensors.iter().any(|tensor| !tensor.is_weights()) {
            rows.push(row("coded weights", Compared::is_weights));
            rows.push(row("tables, class names", |tensor| !tensor.is_weights()));
        }
        rows.push(row("all entropy-coded", |_| true));
        rows
    }

    /// The sums in a sentence.
    pub(super) fn total(&self) -> String {
        let share = 100.0 * (self.coded_bytes as f64 / self.xz_bytes.max(1) as f64 - 1.0);
        format!(
            "{} entropy-coded tensors: {} bytes in the file, {} bytes as xz -9 streams: {share:+.1} % against xz",
            self.tensors.len(),
            self.coded_bytes,
            self.xz_bytes
        )
    }
}

impl Compared {
    fn is_weights(&self) -> bool {
        self.what == "weights"
    }
}

fn compare(coded: Coded) -> Result<Compared, Error> {
    let bytes: Vec<u8> = coded.codes.iter().map(|&code| code as u8).collect();
    Ok(Compared {
        name: coded.name,
        what: coded.what,
        elements: coded.codes.len(),
        coded_bytes: coded.bytes,
        xz_bytes: stream(&bytes)?.len() as u64,
    })
}

/// The xz stream of `bytes`.
#[cfg(feature = "xz")]
fn stream(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    liblzma::encode_all(bytes, PRESET).map_err(Error::io(std::path::Path::new("xz")))
}

#[cfg(not(feature = "xz"))]
fn stream(_: &[u8]) -> Result<Vec<u8>, Error> {
    Err(Error::not_built_in("--xz", "xz"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "xz")]
    #[test]
    fn an_xz_stream_decodes_to_the_codes() {
        let codes: Vec<i8> = (0..1000).map(|i| (i % 7) as i8 - 3).collect();
        let compared = compare(Coded {
            name: "conv".into(),
            what: "weights",
            codes: codes.clone(),
            bytes: 400,
        })
        .unwrap();
        let bytes: Vec<u8> = codes.iter().map(|&code| code as u8).collect();
        let stream = liblzma::encode_all(bytes.as_slice(), PRESET).unwrap();
        assert_eq!(compared.xz_bytes, stream.len() as u64);
        assert_eq!(liblzma::decode_all(stream.as_slice()).unwrap(), bytes);
    }

    #[test]
    fn the_rows_add_up() {
        let tensor = |what, coded_bytes, xz_bytes| Compared {
            name: "n".into(),
            what,
            elements: 1,
            coded_bytes,
            xz_bytes,
        };
        let seen = Comparison {
            tensors: vec![tensor("weights", 10, 20), tensor("table", 3, 4)],
            coded_bytes: 13,
            xz_bytes: 24,
        };
        assert_eq!(seen.cells("n"), ["10 B", "20 B"]);
        assert_eq!(seen.cells("other"), ["–", "–"]);
        let rows = seen.sums(4);
        assert_eq!(rows[0], ["coded weights", "", "10 B", "20 B"]);
        assert_eq!(rows[1], ["tables, class names", "", "3 B", "4 B"]);
        assert_eq!(rows[2], ["all entropy-coded", "", "13 B", "24 B"]);
        assert!(seen.total().contains("-45.8 % against xz"));
    }
}
