//! Nodes that tract builds from a file and cannot run.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::array::{Pad, Slice};
use tract_onnx::tract_hir::internal::*;

/// Cuts where the source pads by a negative number of elements.
///
/// # Errors
/// If more is cut than there is.
pub(super) fn crop_negative_pads(mut model: TypedModel) -> TractResult<TypedModel> {
    let negative = |node: &TypedNode| node.op_as::<Pad>().is_some_and(crops);
    while let Some(id) = model.nodes().iter().position(negative) {
        let patch = cropped(&model, model.node(id))?;
        patch.apply(&mut model)?;
        model.compact()?;
    }
    Ok(model)
}

/// Whether a number of tract's is negative: it keeps pads in two's complement.
fn signed(pad: usize) -> isize {
    pad as isize
}

fn crops(pad: &Pad) -> bool {
    let negative = |&(before, after): &(usize, usize)| signed(before) < 0 || signed(after) < 0;
    pad.pads.iter().any(negative)
}

/// Slices along the axes that lose elements, then the padding of the others.
fn cropped(model: &TypedModel, node: &TypedNode) -> TractResult<TypedModelPatch> {
    let pad = node.op_as::<Pad>().context("a padding")?;
    let mut patch = TypedModelPatch::default();
    let mut wire = patch.tap_model(model, node.inputs[0])?;
    let mut pads = pad.pads.clone();
    for (axis, (before, after)) in pads.iter_mut().enumerate() {
        let size = patch.outlet_fact(wire)?.shape[axis].to_usize()?;
        let lost = |pad: usize| signed(pad).min(0).unsigned_abs();
        let (start, end) = (lost(*before), size.saturating_sub(lost(*after)));
        ensure!(
            start < end,
            "{} cuts all {size} elements of dimension {axis}",
            node.name
        );
        if (start, end) != (0, size) {
            let name = format!("{}.crop-{axis}", node.name);
            wire = patch.wire_node(name, Slice::new(axis, start, end), &[wire])?[0];
        }
        *before = signed(*before).max(0).unsigned_abs();
        *after = signed(*after).max(0).unsigned_abs();
    }
    let mode = pad.mode.clone();
    let wire = patch.wire_node(&node.name, Pad { pads, mode }, &[wire])?;
    patch.shunt_outside(model, node.id.into(), wire[0])?;
    Ok(patch)
}
