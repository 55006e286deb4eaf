//! Keeps what was measured in files, one for each network, samples and options.

use super::Knowledge;
use crate::Error;
use crate::calibrate::ChannelSums;
use crate::graph::Graph;
use crate::pack::Source;
use crate::plan::Level;
use crate::progress::Progress;
use crate::prune::Pruning;
use sha2::{Digest, Sha256};
use std::io;
use std::path::{Path, PathBuf};

/// Grows when what is stored, or how it is measured, changes.
const VERSION: u32 = 7;
/// Bytes of the digest that ends a file.
const DIGEST: usize = 32;
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

    /// The knowledge of a network: read, or measured and kept. What a damaged file holds is measured anew; a folder that
    /// cannot be written is no error. Both are said.
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
        match read(&path, &source.graph) {
            Ok(Some(known)) => return Ok(known),
            Ok(None) => {}
            Err(cause) => progress.say(format!(
                "note: {}: {cause}; the network is measured anew",
                path.display()
            )),
        }
        let knowledge = Knowledge::measure(source, pruning, progress)?;
        match write(folder, &path, &knowledge) {
            Ok(()) => forget_oldest(folder),
            Err(cause) => progress.say(format!(
                "note: {}: {cause}: what was measured is not kept",
                folder.display()
            )),
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

/// What a file holds; `None` where there is none.
fn read(path: &Path, graph: &Graph) -> Result<Option<Knowledge>, String> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(cause.to_string()),
    };
    let content = content(&bytes).ok_or("the file is damaged")?;
    let known: Knowledge = postcard::from_bytes(content).map_err(|cause| cause.to_string())?;
    match fits(&known, graph) {
        true => Ok(Some(known)),
        false => Err("the file is of another network".into()),
    }
}

/// What comes before the digest, if that is right.
fn content(bytes: &[u8]) -> Option<&[u8]> {
    let (content, digest) = bytes.split_at_checked(bytes.len().checked_sub(DIGEST)?)?;
    (Sha256::digest(content).as_slice() == digest).then_some(content)
}

/// Whether everything has as many entries as the network has tensors, nodes, weights and channels.
fn fits(known: &Knowledge, graph: &Graph) -> bool {
    let nodes = graph.nodes.len();
    let linear = |node: usize| graph.nodes.get(node).and_then(|node| node.op.linear());
    let mut outputs = known.outputs.iter().enumerate().map(|(node, sums)| {
        let channels = linear(node).map(|linear| linear.bias.len());
        sums.as_ref().map(ChannelSums::len) == channels
    });
    let mut masks = known
        .masks
        .iter()
        .enumerate()
        .map(|(node, mask)| match mask {
            Some(mask) => linear(node).is_some_and(|linear| linear.weights.len() == mask.len()),
            None => true,
        });
    let mut layers = known.layers.iter().map(|layer| {
        let is_whole = |level: &Level| level.step.is_finite() && level.loss.is_finite();
        linear(layer.node).is_some()
            && !layer.levels.is_empty()
            && layer.levels.iter().all(is_whole)
    });
    let equalization = known.equalization.as_ref();
    known.activations.len() == graph.tensors.len()
        && [known.outputs.len(), known.masks.len()] == [nodes; 2]
        && (known.sensitivity.len() == nodes || known.sensitivity.is_empty())
        && equalization.is_none_or(|equalization| equalization.fits(graph))
        && outputs.all(|fits| fits)
        && masks.all(|fits| fits)
        && layers.all(|fits| fits)
}

fn write(folder: &Path, path: &Path, knowledge: &Knowledge) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut bytes = postcard::to_stdvec(knowledge).map_err(io::Error::other)?;
    let digest = Sha256::digest(&bytes);
    bytes.extend_from_slice(&digest);
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    io::Write::write_all(&mut file, &bytes)?;
    file.persist(path)?;
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Dataset;
    use crate::import;

    #[test]
    fn a_damaged_file_is_measured_anew() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/fashion_mnist.onnx");
        let graph = import::load(&path).unwrap();
        let samples = Dataset::synthetic(2, None, &graph.inputs);
        let source = Source::new(graph, &samples).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().join("cache"));
        let measured = cache.knowledge(&source, None, &Progress::Silent).unwrap();
        let file = folder
            .path()
            .join("cache")
            .join(format!("{}.study", key(&source, None)));
        let whole = std::fs::read(&file).unwrap();
        assert_eq!(read(&file, &source.graph).unwrap().unwrap(), measured);
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 4;
        for damaged in [&whole[..whole.len() / 2], &whole[..7], &[], &flipped] {
            std::fs::write(&file, damaged).unwrap();
            assert!(read(&file, &source.graph).is_err());
        }
        assert_eq!(
            cache.knowledge(&source, None, &Progress::Silent).unwrap(),
            measured
        );
        assert_eq!(std::fs::read(&file).unwrap(), whole);
        for shorten in [
            (|known| known.masks.clear()) as fn(&mut Knowledge),
            |known| known.activations.truncate(1),
            |known| known.outputs.truncate(1),
            |known| known.sensitivity.truncate(1),
            |known| known.layers[0].levels.clear(),
            |known| known.layers[0].node = usize::MAX,
            |known| known.masks[0] = Some(vec![true; 3]),
            |known| known.outputs.fill(Some(ChannelSums::of(&[1.0], 1))),
        ] {
            let mut known = measured.clone();
            shorten(&mut known);
            write(&folder.path().join("cache"), &file, &known).unwrap();
            assert!(
                read(&file, &source.graph).is_err(),
                "a digest that is right"
            );
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "no folder").unwrap();
        let known = Knowledge {
            normalization: None,
            equalization: None,
            activations: Vec::new(),
            float: Vec::new(),
            outputs: Vec::new(),
            masks: Vec::new(),
            sensitivity: Vec::new(),
            layers: Vec::new(),
        };
        assert!(write(&file, &file.join("x.study"), &known).is_err());
    }
}
