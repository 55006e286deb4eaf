//! The few of tract's simplifications that the lowering relies on: constants are folded, slices by
//! constants become slices, and functions that a file spells out get their names.
//!
//! tract's own `declutter` also moves strides and slices over other operators, and some of its
//! moves change what is computed (a stride passes a convolution's padding, or a softmax). Every
//! rule here replaces one operator, or one function, where it stands.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops;
use tract_onnx::tract_core::optim::{Optimizer, OptimizerSession, TypedPass};

/// Applies the rules until none applies.
///
/// # Errors
/// If an operator of constants cannot be computed.
pub(super) fn normalize(mut model: TypedModel) -> TractResult<TypedModel> {
    let mut optimizer = Optimizer::prop_consts();
    optimizer.passes.push(Box::new(LocalRules::default()));
    optimizer.session().optimize(&mut model)?;
    Ok(model)
}

/// Applies [`rule`] to one node after the other.
#[derive(Clone, Debug, Default)]
struct LocalRules {
    next: usize,
}

impl TypedPass for LocalRules {
    fn reset(&mut self) -> TractResult<()> {
        self.next = 0;
        Ok(())
    }

    fn next(
        &mut self,
        session: &mut OptimizerSession<'_>,
        model: &TypedModel,
    ) -> TractResult<Option<TypedModelPatch>> {
        for node in &model.nodes[self.next..] {
            if let Some(patch) = rule(session, model, node)? {
                self.next = node.id + usize::from(patch.dont_apply_twice.is_some());
                return Ok(Some(patch));
            }
        }
        Ok(None)
    }
}

/// What replaces a node, if anything does.
fn rule(
    session: &mut OptimizerSession<'_>,
    model: &TypedModel,
    node: &TypedNode,
) -> TractResult<Option<TypedModelPatch>> {
    let op: &dyn TypedOp = node.op.as_ref();
    if let Some(op) = op.downcast_ref::<ops::element_wise::ElementWiseOp>() {
        return op.0.declutter(model, node);
    }
    if op.is::<ops::binary::TypedBinOp>() && overflows(model, node) {
        return Ok(None);
    }
    match moves(op) {
        true => Ok(None),
        false => op.declutter_with_session(session, model, node),
    }
}

/// Operators whose rules move them, or others, over their neighbours, or forget a part of their
/// meaning (a pool's `ceil_mode`, a resize's scales). The lowering reads them as they are.
fn moves(op: &dyn TypedOp) -> bool {
    op.is::<ops::Downsample>()
        || op.is::<ops::cnn::Conv>()
        || op.is::<ops::cnn::MaxPool>()
        || op.is::<ops::cnn::SumPool>()
        || op.is::<ops::einsum::EinSum>()
        || op.is::<ops::nn::resize::Resize>()
        || op.is::<tract_onnx_opl::resize::Resize>()
        || op.is::<ops::scan::Scan>()
}

/// Whether a constant of an arithmetic operator is so small or so large that its reciprocal, or
/// its product with another constant, is infinite: then the operator stays as it is.
fn overflows(model: &TypedModel, node: &TypedNode) -> bool {
    let extreme = |value: &f32| *value != 0.0 && !(1e-18..1e18).contains(&value.abs());
    node.inputs.iter().any(|&input| {
        let constant = model
            .outlet_fact(input)
            .ok()
            .and_then(|fact| fact.konst.clone());
        constant.is_some_and(|tensor| {
            let view = tensor.to_plain_array_view::<f32>();
            view.is_ok_and(|view| view.iter().any(extreme))
        })
    })
}
