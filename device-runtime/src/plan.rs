//! How much memory a network needs beside its activations: the one definition, for the tool that
//! writes a package and for the runtime that opens it.
//!
//! The constants part of the arena holds what each node with weights or a table expands of them, in order of
//! the nodes. Each begins at a multiple of [`ALIGNMENT`].

use crate::kernels::sparse::SparseLayer;
#[cfg(feature = "std")]
use crate::ops::linear::Linear;
use crate::ops::{Checked, Context, Step};
use crate::{KernelLayout, KernelSet, OpenError};
#[cfg(feature = "std")]
use crate::{Package, SessionError};
use edgeprune_format::ALIGNMENT;
#[cfg(feature = "std")]
use edgeprune_format::manifest::Encoding;
use edgeprune_format::manifest::{Manifest, Node};

/// Bytes that a network needs beside its activations, each a multiple of [`ALIGNMENT`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Expanded constants.
    pub constants: usize,
    /// Working memory of the kernels.
    pub scratch: usize,
}

impl Needs {
    /// The more of each.
    fn max(self, other: Self) -> Self {
        Self {
            constants: self.constants.max(other.constants),
            scratch: self.scratch.max(other.scratch),
        }
    }
}

/// What the network of a manifest needs at most, whichever kernels run it. Reads the records alone, not the
/// tensor blobs, and ignores the `constants` and `scratch` that the head declares: a packer fills them in with this.
///
/// # Errors
/// The first node that this runtime cannot run.
pub fn needs(manifest: &Manifest<'_>) -> Result<Needs, OpenError> {
    needs_with(manifest, |_| false)
}

/// The same, with what the nodes that `is_sparse` names by their number need to leave out blocks of zeros. A session does so where
/// the package declares that much.
///
/// # Errors
/// As [`needs`].
pub fn needs_with(
    manifest: &Manifest<'_>,
    is_sparse: impl Fn(usize) -> bool,
) -> Result<Needs, OpenError> {
    let mut most = KernelLayout::all().try_fold(Needs::default(), |most, layout| {
        Ok::<_, OpenError>(most.max(needs_of(manifest, layout)?))
    })?;
    let nodes = manifest.nodes().enumerate();
    for (_, node) in nodes.filter(|(index, _)| is_sparse(*index)) {
        if let Some(layer) = sparse_layer(manifest, &node) {
            most.scratch = most.scratch.max(layer.scratch);
        }
    }
    Ok(most)
}

/// What is known of a node whose blocks of zeros kernels can leave out.
pub fn sparse_layer(manifest: &Manifest<'_>, node: &Node<'_>) -> Option<SparseLayer> {
    let layout = KernelSet::portable().layout();
    let (step, _) = step(manifest, node, layout, Needs::default()).ok()?;
    step.sparse_layer()
}

/// What the network of a manifest needs for kernels of one layout.
///
/// # Errors
/// The first node that this runtime cannot run.
pub fn needs_of(manifest: &Manifest<'_>, layout: KernelLayout) -> Result<Needs, OpenError> {
    let mut needs = Needs::default();
    for (index, node) in (0..).zip(manifest.nodes()) {
        let fault = |what| OpenError::Node { index, what };
        (_, needs) = step(manifest, &node, layout, needs).map_err(fault)?;
    }
    Ok(needs)
}

/// The constants of an integer layer as kernels of one layout read them, and the encoding under which a package has
/// them so; `None` for any other node.
///
/// # Errors
/// Constants that a session would refuse.
#[cfg(feature = "std")]
pub fn panels(
    package: &Package<'_>,
    node: usize,
    layout: KernelLayout,
) -> Result<Option<(Encoding, std::vec::Vec<u8>)>, SessionError> {
    let manifest = package.manifest();
    let Some(record) = manifest.nodes().nth(node) else {
        return Ok(None);
    };
    let layout = layout.without_tiles(); // whose constants are too large for a package
    let index = node as u16;
    let fault = |what| SessionError::Node { index, what };
    let (step, _) = step(manifest, &record, layout, Needs::default()).map_err(fault)?;
    let encoded = |linear: &Linear| Some((*linear, linear.encoding(layout.panel)?));
    let Some((linear, encoding)) = step.linear().and_then(encoded) else {
        return Ok(None);
    };
    let mut panels = std::vec![0; step.constants()];
    let expansion = linear.expand(package.body(), layout.panel, &mut panels);
    expansion.map_err(|fault| fault.at(index))?;
    Ok(Some((encoding, panels)))
}

/// Prepares the node after those with `needs`; also returns the needs with this node.
pub(crate) fn step(
    manifest: &Manifest<'_>,
    node: &Node<'_>,
    layout: KernelLayout,
    needs: Needs,
) -> Checked<(Step, Needs)> {
    let step = Step::prepare(&Context {
        manifest,
        node,
        layout,
        constants: needs.constants,
    })?;
    let own = aligned(step.constants()).ok_or("constants that are too large")?;
    let scratch = step.scratch().and_then(aligned);
    let mut scratch = scratch.ok_or("working memory that is too large")?;
    // a package with layers that are worth it declares enough to leave out their blocks of zeros
    let declared = manifest.head.arena.scratch as usize;
    let sparse = step.sparse_layer().filter(|_| layout.has_sparse());
    if let Some(layer) = sparse.filter(|layer| layer.scratch <= declared) {
        scratch = scratch.max(layer.scratch);
    }
    let needs = Needs {
        constants: needs
            .constants
            .checked_add(own)
            .ok_or("constants that are too large")?,
        scratch: needs.scratch.max(scratch),
    };
    Ok((step, needs))
}

/// `len` rounded up to [`ALIGNMENT`].
pub(crate) fn aligned(len: usize) -> Option<usize> {
    len.checked_next_multiple_of(ALIGNMENT)
}
