//! What a layer's time depends on, as far as its package says.

use edgeprune_format::Manifest;
use edgeprune_format::manifest::{DType, Node, Op, TensorId, Window};

/// What layers have in common that cost alike: the operator, its window, whether it computes in single precision.
pub fn class(manifest: &Manifest<'_>, node: &Node<'_>) -> String {
    let mut class = node.op.name().to_owned();
    let window = match node.op {
        Op::Conv2d { window, .. } | Op::DepthwiseConv2d { window, .. } => Some(window),
        Op::MaxPool2d { window } => Some(window),
        _ => None,
    };
    if let Some(Window {
        kernel: [height, width],
        ..
    }) = window
    {
        class += &format!(" {height}x{width}");
    }
    if let Op::Conv2d { groups: 2.., .. } = node.op {
        class += " grouped";
    }
    let input = node.inputs.first().and_then(|&id| manifest.tensor(id));
    if input.is_some_and(|input| input.dtype == DType::F32) {
        class += " float";
    }
    class
}

/// Bytes of the activations and weights that it reads and of what it writes, each counted once.
pub fn bytes(manifest: &Manifest<'_>, node: &Node<'_>) -> u64 {
    let weights = node.op.linear().map(|linear| linear.weights);
    let tensors = node.inputs.iter().copied().chain(weights);
    let tensors = tensors.chain([node.output]);
    tensors.map(|id| tensor_bytes(manifest, id)).sum()
}

fn tensor_bytes(manifest: &Manifest<'_>, id: TensorId) -> u64 {
    let tensor = manifest.tensor(id);
    tensor.map_or(0, |tensor| {
        let elements = tensor.elements().unwrap_or(0) as u64;
        elements * tensor.dtype.size() as u64
    })
}
