//! How much memory a network needs beside its activations: the one definition, for the tool that
//! writes a package and for the runtime that opens it.
//!
//! The constants part of the arena holds what each node with weights or a table expands of them, in order of
//! the nodes. Each begins at a multiple of [`ALIGNMENT`].

use crate::ops::{Checked, Context, Step};
use crate::{KernelLayout, OpenError};
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
    KernelLayout::all().try_fold(Needs::default(), |most, layout| {
        Ok(most.max(needs_of(manifest, layout)?))
    })
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
    let Some(encoding) = step
        .linear()
        .and_then(|linear| linear.encoding(layout.panel))
    else {
        return Ok(None);
    };
    let mut panels = std::vec![0; step.constants()];
    let expansion = step.expand(package.body(), layout.panel, &mut panels);
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

/// `len` rounded up to [`ALIGNMENT`].
pub(crate) fn aligned(len: usize) -> Option<usize> {
    len.checked_next_multiple_of(ALIGNMENT)
}
