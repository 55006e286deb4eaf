//! How much memory a network needs beside its activations: the one definition, for the tool that
//! writes a package and for the runtime that opens it.
//!
//! The constants part of the arena holds the entropy-coded `I8` tensors in order of the tensor
//! table, then, for each node with weights, its expanded biases and its multipliers. Each begins
//! at a multiple of [`ALIGNMENT`].

use crate::OpenError;
use crate::ops::{Checked, Context, Region, Step};
use edgeprune_format::ALIGNMENT;
use edgeprune_format::manifest::{DType, Encoding, Manifest, Node, Storage, Tensor, TensorId};

/// Bytes that a network needs beside its activations, each a multiple of [`ALIGNMENT`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Decoded constants.
    pub constants: usize,
    /// Working memory of the kernels.
    pub scratch: usize,
}

/// What the network of a manifest needs. Reads the records alone, not the tensor blobs, and
/// ignores the `constants` and `scratch` that the head declares: a packer fills them in with this.
///
/// # Errors
/// The first node that this runtime cannot run.
pub fn needs(manifest: &Manifest<'_>) -> Result<Needs, OpenError> {
    let mut needs = before_nodes(manifest)?;
    for (index, node) in manifest.nodes().enumerate() {
        let (_, after) = step(manifest, &node, needs).map_err(|what| OpenError::Node {
            index: index as u16,
            what,
        })?;
        needs = after;
    }
    Ok(needs)
}

/// The needs without any node.
pub(crate) fn before_nodes(manifest: &Manifest<'_>) -> Result<Needs, OpenError> {
    let constants = decoded_bytes(manifest).ok_or(OpenError::Arena {
        what: "constants",
        declared: u64::from(manifest.head.arena.constants),
        need: u64::MAX,
    })?;
    Ok(Needs {
        constants,
        scratch: 0,
    })
}

/// Prepares the node after those with `needs`; also returns the needs with this node.
pub(crate) fn step(
    manifest: &Manifest<'_>,
    node: &Node<'_>,
    needs: Needs,
) -> Checked<(Step, Needs)> {
    let step = Step::prepare(&Context {
        manifest,
        node,
        constants: needs.constants,
    })?;
    let own = step.linear().map_or(0, |linear| linear.constants());
    let scratch = step.scratch().and_then(aligned);
    let scratch = scratch.ok_or("working memory that is too large")?;
    let needs = Needs {
        constants: needs
            .constants
            .checked_add(own)
            .ok_or("constants that are too large")?,
        scratch: needs.scratch.max(scratch),
    };
    Ok((step, needs))
}

/// Bytes of a layer's expanded biases and multipliers.
pub(crate) fn vectors_bytes(channels: usize) -> Option<usize> {
    aligned(channels.checked_mul(4)?)?.checked_mul(2)
}

/// `len` rounded up to [`ALIGNMENT`].
pub(crate) fn aligned(len: usize) -> Option<usize> {
    len.checked_next_multiple_of(ALIGNMENT)
}

/// Whether a tensor is decoded into the constants: entropy-coded codes are.
pub(crate) fn is_decoded(tensor: &Tensor) -> bool {
    let entropy_coded = matches!(
        tensor.storage,
        Storage::Blob {
            encoding: Encoding::Rans,
            ..
        }
    );
    entropy_coded && tensor.dtype == DType::I8
}

/// Bytes of all decoded constants.
pub(crate) fn decoded_bytes(manifest: &Manifest<'_>) -> Option<usize> {
    sum_decoded(manifest, usize::MAX)
}

/// Where an entropy-coded constant is decoded to.
pub(crate) fn decoded_region(manifest: &Manifest<'_>, id: TensorId) -> Checked<Region> {
    let tensor = manifest.tensor(id).ok_or("an unknown tensor")?;
    let offset = sum_decoded(manifest, usize::from(id)).ok_or("constants that are too large")?;
    let len = tensor.bytes().ok_or("a tensor that is too large")?;
    Ok(Region { offset, len })
}

fn sum_decoded(manifest: &Manifest<'_>, tensors: usize) -> Option<usize> {
    let mut decoded = manifest.tensors().take(tensors).filter(is_decoded);
    decoded.try_fold(0usize, |sum, tensor| {
        sum.checked_add(aligned(tensor.bytes()?)?)
    })
}
