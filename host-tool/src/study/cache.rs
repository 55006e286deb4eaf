//! Keeps what was measured in files, one for each network, samples and options.

use super::Knowledge;
use crate::Error;
use crate::pack::Source;
use crate::progress::Progress;
use crate::prune::Pruning;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Grows when what is stored, or how it is measured, changes.
const VERSION: u32 = 7;
/// Most files that are kept; the oldest go first.
const MOST_FILES: usize = 64;

/// A folder of measurements. Every file is named by a hash over the network, the samples as the network
/// gets them, the options and the tool's version: none is ever out of date.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: Option<PathBuf>,
}

impl Cache {
    /// In a folder, which is made when it is needed.
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder: Some(folder),
        }
    }

    /// Keeps nothing.
    pub fn none() -> Self {
        Self { folder: None }
    }

    /// The knowledge of a network: read, or measured and kept. A file that cannot be read is measured
    /// anew; that nothing can be written is no error.
    pub(crate) fn knowledge(
        &self,
        source: &Source<'_>,
        pruning: Option<&Pruning>,
        progress: &Progress,
    ) -> Result<Knowledge, Error> {
        let Some(folder) = &self.folder else {
            return Knowledge::measure(source, pruning, progress);
        };
        let path = folder.join(format!("{}.study", key(source, pruning)));
        if let Some(known) = read(&path) {
            return Ok(known);
        }
        let knowledge = Knowledge::measure(source, pruning, progress)?;
        if write(folder, &path, &knowledge).is_some() {
            forget_oldest(folder);
        }
        Ok(knowledge)
    }
}

/// Hexadecimal name of what the knowledge depends on.
fn key(source: &Source<'_>, pruning: Option<&Pruning>) -> String {
    let mut hash = Sha256::new();
    let mut field = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    field(format!("{} {VERSION} {pruning:?}", env!("CARGO_PKG_VERSION")).as_bytes());
    field(&source.graph.source_hash);
    for tensor in source.inputs.iter().flatten() {
        let bytes: Vec<u8> = tensor
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        field(&bytes);
    }
    let digest = hash.finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read(path: &Path) -> Option<Knowledge> {
    let bytes = std::fs::read(path).ok()?;
    let (content, digest) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
    (Sha256::digest(content).as_slice() == digest).then_some(())?;
    postcard::from_bytes(content).ok()
}

fn write(folder: &Path, path: &Path, knowledge: &Knowledge) -> Option<()> {
    std::fs::create_dir_all(folder).ok()?;
    let mut bytes = postcard::to_stdvec(knowledge).ok()?;
    let digest = Sha256::digest(&bytes);
    bytes.extend_from_slice(&digest);
    let mut file = tempfile::NamedTempFile::new_in(folder).ok()?;
    std::io::Write::write_all(&mut file, &bytes).ok()?;
    file.persist(path).ok()?;
    Some(())
}

fn forget_oldest(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    let mut files: Vec<_> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let known = path
                .extension()
                .is_some_and(|extension| extension == "study");
            let age = path.metadata().ok()?.modified().ok()?;
            known.then_some((age, path))
        })
        .collect();
    files.sort();
    let surplus = files.len().saturating_sub(MOST_FILES);
    for (_, path) in files.into_iter().take(surplus) {
        // A file that stays does no harm.
        let _ = std::fs::remove_file(path);
    }
}
