//! Which layers have so many blocks of zeros that kernels leave them out.

use edgeprune_format::manifest::{DType, Encoding, Manifest, Node, Tensor};
use edgeprune_format::rans;
use edgeprune_runtime::{COSTS, plan};

/// Numbers of the nodes that some set of kernels runs without their blocks of zeros.
pub(super) fn sparse_nodes(manifest: &Manifest<'_>, body: &[u8]) -> Vec<usize> {
    let pays = |node: &Node<'_>| is_sparse(manifest, body, node).unwrap_or(false);
    let nodes = manifest.nodes().enumerate();
    nodes
        .filter(|(_, node)| pays(node))
        .map(|(index, _)| index)
        .collect()
}

/// `None` for nodes that no kernel runs so.
fn is_sparse(manifest: &Manifest<'_>, body: &[u8], node: &Node<'_>) -> Option<bool> {
    let layer = plan::sparse_layer(manifest, node)?;
    let weights = manifest.tensor(node.op.linear()?.weights)?;
    let blocks = layer.blocks(&codes(&weights, body)?);
    Some(COSTS.iter().any(|&cost| layer.pays(cost, blocks)))
}

/// The elements of a constant of codes.
fn codes(tensor: &Tensor, body: &[u8]) -> Option<Vec<i8>> {
    let (blob, encoding) = tensor.blob(body)?;
    match encoding {
        Encoding::Raw if tensor.dtype == DType::I8 => Some(bytemuck::cast_slice(blob).to_vec()),
        Encoding::Rans => {
            let mut codes = vec![0; tensor.elements()?];
            rans::decode(blob, &mut codes).ok()?;
            Some(codes)
        }
        _ => None,
    }
}
