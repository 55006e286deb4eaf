//! From tract's operators to ours, one node at a time, in order of execution.

mod constant;
mod elementwise;
mod layout;
mod linear;
mod reduce;
mod resize;
mod select;
mod shape;
mod window;

use super::parse::Format;
use crate::graph::{Graph, Layout, Node, Op, Port, Shape, TensorId, TensorInfo};
use constant::Constant;
use edgeprune_format::manifest::MAX_SOURCE_RANK;
pub(super) use layout::Lowered;
use std::collections::HashMap;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops;
use tract_onnx::tract_hir::internal::*;

/// For each node of the source the tensor that holds its first output.
pub(super) type Origins = HashMap<String, Lowered>;

/// Lowers a normalized model. Name and hash are left empty.
///
/// # Errors
/// Every node that cannot be lowered: `name (type): why`.
pub(super) fn lower(model: &TypedModel, format: Format) -> Result<(Graph, Origins), Vec<String>> {
    let mut lowering = Lowering {
        model,
        format,
        builder: Builder::default(),
        values: HashMap::new(),
    };
    let mut refused = Vec::new();
    for outlet in &model.inputs {
        let node = model.node(outlet.node);
        if let Err(why) = lowering.source(node) {
            refused.push(format!("{} (input): {why}", node.name));
            lowering.stand_in(node);
        }
    }
    let order = model
        .eval_order()
        .map_err(|error| vec![error.to_string()])?;
    for id in order {
        let node = model.node(id);
        if let Err(why) = lowering.node(node) {
            refused.push(format!("{} ({}): {why}", node.name, node.op.name()));
            lowering.stand_in(node);
        }
    }
    for index in 0..model.outputs.len() {
        if let Err(why) = lowering.output(index) {
            refused.push(format!("output {index}: {why}"));
        }
    }
    if refused.is_empty() {
        Ok(lowering.finish())
    } else {
        Err(refused)
    }
}

/// The graph that grows.
struct Builder {
    graph: Graph,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            graph: Graph {
                name: String::new(),
                source_hash: [0; 32],
                source_bytes: 0,
                inputs: Vec::new(),
                outputs: Vec::new(),
                tensors: Vec::new(),
                nodes: Vec::new(),
            },
        }
    }
}

impl Builder {
    fn tensor(&mut self, shape: Shape) -> TensorId {
        self.graph.tensors.push(TensorInfo { shape });
        self.graph.tensors.len() - 1
    }

    /// Appends a node and returns its output.
    fn node(&mut self, name: &str, op: Op, inputs: Vec<TensorId>, shape: Shape) -> TensorId {
        let output = self.tensor(shape);
        self.graph.nodes.push(Node {
            name: name.to_string(),
            op,
            inputs,
            output,
        });
        output
    }

    /// Appends a node whose output has the shape of its first input.
    fn same_shape(&mut self, name: &str, op: Op, inputs: Vec<TensorId>) -> TensorId {
        let shape = self.graph.shape(inputs[0]);
        self.node(name, op, inputs, shape)
    }
}

/// A lowering in progress.
struct Lowering<'m> {
    model: &'m TypedModel,
    format: Format,
    builder: Builder,
    values: HashMap<OutletId, Lowered>,
}

impl Lowering<'_> {
    fn finish(self) -> (Graph, Origins) {
        let first = self
            .values
            .into_iter()
            .filter(|(outlet, _)| outlet.slot == 0);
        let name = |outlet: OutletId| self.model.node(outlet.node).name.clone();
        let origins = first.map(|(outlet, value)| (name(outlet), value)).collect();
        (self.builder.graph, origins)
    }

    fn node(&mut self, node: &TypedNode) -> Result<(), String> {
        if node.op_is::<ops::source::TypedSource>() || self.is_sign(node) {
            return Ok(());
        }
        let constant = |slot| self.constant(OutletId::new(node.id, slot)).is_some();
        if (0..node.outputs.len()).all(constant) {
            return Ok(());
        }
        if (1..node.outputs.len()).any(|slot| self.is_read(OutletId::new(node.id, slot))) {
            return Err("it has several outputs".into());
        }
        let datum = node.outputs[0].fact.datum_type;
        if datum != DatumType::F32 {
            return Err(format!("it computes {datum:?}, and only f32 is supported"));
        }
        self.check_size(node)?;
        let value = self.lower(node)?;
        self.values.insert(node.id.into(), value);
        Ok(())
    }

    fn is_read(&self, outlet: OutletId) -> bool {
        let readers = self.model.outlet_successors(outlet);
        !readers.is_empty() || self.model.outputs.contains(&outlet)
    }

    /// Refuses an output that is empty, or that no board could hold.
    fn check_size(&self, node: &TypedNode) -> Result<(), String> {
        let dims = self.dims(node.id.into())?;
        match elements(&dims) {
            Some(0) => Err(format!(
                "an output without elements, of dimensions {dims:?}"
            )),
            Some(1..=MAX_ELEMENTS) => Ok(()),
            _ => Err(format!(
                "an output of dimensions {dims:?}: the limit is {MAX_ELEMENTS} elements"
            )),
        }
    }

    fn lower(&mut self, node: &TypedNode) -> Result<Lowered, String> {
        let op: &dyn TypedOp = node.op.as_ref();
        if let Some(op) = op.downcast_ref::<ops::cnn::Conv>() {
            self.conv(node, op)
        } else if let Some(op) = op.downcast_ref::<ops::einsum::EinSum>() {
            self.einsum(node, op)
        } else if let Some(op) = op.downcast_ref::<ops::binary::TypedBinOp>() {
            self.binary(node, op)
        } else if let Some(op) = op.downcast_ref::<ops::element_wise::ElementWiseOp>() {
            self.unary(node, op)
        } else if let Some(op) = op.downcast_ref::<ops::cnn::MaxPool>() {
            self.max_pool(node, op)
        } else if let Some(op) = op.downcast_ref::<ops::cnn::SumPool>() {
            self.sum_pool(node, op)
        } else if let Some(op) = op.downcast_ref::<ops::nn::Reduce>() {
            self.reduce(node, op)
        } else if let Some(op) = op.downcast_ref::<ops::nn::Softmax>() {
            self.softmax(node, op)
        } else if let Some(op) = op.downcast_ref::<AxisOp>() {
            self.axis_op(node, op)
        } else if let Some(op) = op.downcast_ref::<ops::array::TypedConcat>() {
            self.concat(node, op.axis)
        } else if let Some(op) = op.downcast_ref::<ops::array::Slice>() {
            self.slice(node, op)
        } else if let Some(op) = op.downcast_ref::<ops::Downsample>() {
            self.downsample(node, op)
        } else if let Some(op) = op.downcast_ref::<ops::array::Pad>() {
            self.pad(node, op)
        } else if let Some(op) = op.downcast_ref::<ops::nn::resize::Resize>() {
            self.core_resize(node, op)
        } else if let Some(op) = op.downcast_ref::<tract_onnx_opl::resize::Resize>() {
            self.onnx_resize(node, op)
        } else if op.is::<ops::identity::Identity>() || op.is::<ops::array::MultiBroadcastTo>() {
            self.identity(node)
        } else if op.is::<ops::array::FiniteReshape>() {
            self.full_reshape(node)
        } else if op.is::<ops::logic::Iff>() {
            self.select(node)
        } else if let Some(op) = op.downcast_ref::<ops::nn::RmsNorm>() {
            self.rms_norm(node, op)
        } else {
            Err("edgeprune has no such operator".into())
        }
    }

    /// After a refusal: a value of the right shape, so that later nodes can be looked at too.
    fn stand_in(&mut self, node: &TypedNode) {
        for slot in 0..node.outputs.len() {
            let outlet = OutletId::new(node.id, slot);
            if let Some((dims, count)) = self.dims(outlet).ok().and_then(|dims| {
                let count = elements(&dims)?;
                Some((dims, count))
            }) {
                let tensor = self.builder.tensor([1, 1, 1, count]);
                self.values
                    .insert(outlet, Lowered::row_major(tensor, &dims));
            }
        }
    }

    fn source(&mut self, node: &TypedNode) -> Result<(), String> {
        let dims = self.dims(node.id.into())?;
        match elements(&dims) {
            Some(1..=MAX_INPUT) => {}
            _ => {
                return Err(format!(
                    "dimensions {dims:?}: edgeprune takes inputs of 1 to {MAX_INPUT} elements"
                ));
            }
        }
        check_rank(&dims)?;
        if let &[batch @ (0 | 2..), _, _, _] = dims.as_slice() {
            return Err(format!(
                "a batch of {batch}: export the network with batch 1"
            ));
        }
        let layout = match dims.as_slice() {
            &[_, first, _, last] if first > 4 && last <= 4 => Layout::Nhwc,
            [_, _, _, _] => self.format.layout(),
            _ => Layout::Nhwc,
        };
        let parts = port_axes(&dims, layout);
        let shape = port_shape(&dims, &parts);
        let tensor = self.builder.tensor(shape);
        self.values.insert(
            node.id.into(),
            Lowered::ordered(tensor, &dims, &parts.concat()),
        );
        self.builder.graph.inputs.push(Port {
            name: node.name.clone(),
            tensor,
            source_shape: dims,
            layout,
        });
        Ok(())
    }

    fn output(&mut self, index: usize) -> Result<(), String> {
        let outlet = self.model.outputs[index];
        let node = self.model.node(outlet.node);
        let label = self
            .model
            .outlet_label(outlet)
            .unwrap_or(&node.name)
            .to_string();
        let value = self
            .values
            .get(&outlet)
            .cloned()
            .ok_or("it is a constant")?;
        let dims = value.dims();
        check_rank(&dims)?;
        let layout = self.output_layout(&value, &dims);
        let parts = port_axes(&dims, layout);
        let tensor =
            self.builder
                .arrange_axes(&value, [&parts[0], &parts[1], &parts[2]], &node.name);
        self.builder.graph.outputs.push(Port {
            name: label,
            tensor,
            source_shape: dims,
            layout,
        });
        Ok(())
    }

    /// The layout that needs no transpose, if there is one.
    fn output_layout(&self, value: &Lowered, dims: &[usize]) -> Layout {
        let native = self.format.layout();
        let fits = |layout| {
            let order = value.atoms_of(&port_axes(dims, layout).concat());
            order.into_iter().eq(0..value.atoms.len())
        };
        if dims.len() != 4 || dims[0] != 1 || (!fits(native) && fits(Layout::Nhwc)) {
            Layout::Nhwc
        } else {
            native
        }
    }

    /// The lowered value of an input of a node.
    fn input(&self, node: &TypedNode, slot: usize) -> Result<Lowered, String> {
        let outlet = node.inputs.get(slot).ok_or("an input is missing")?;
        let value = self.values.get(outlet).cloned();
        value.ok_or_else(|| format!("input {slot} is a constant"))
    }

    /// The constant value of an outlet, if it has one.
    fn constant(&self, outlet: OutletId) -> Option<Constant> {
        let fact = self.model.outlet_fact(outlet).ok()?;
        Constant::new(fact.konst.as_deref()?)
    }

    fn dims(&self, outlet: OutletId) -> Result<Vec<usize>, String> {
        let fact = self
            .model
            .outlet_fact(outlet)
            .map_err(|error| error.to_string())?;
        let sizes = fact.shape.as_concrete();
        sizes
            .map(<[usize]>::to_vec)
            .ok_or_else(|| "a dimension is not fixed".into())
    }
}

/// Most elements of an input: a picture of 1,672 x 1,672 pixels in three colours. Calibration
/// holds many of them.
const MAX_INPUT: usize = 1 << 23;

/// Most elements of any other tensor.
const MAX_ELEMENTS: usize = 1 << 28;

/// Number of elements, if it is one.
fn elements(dims: &[usize]) -> Option<usize> {
    dims.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim))
}

/// Refuses an input or output of more dimensions than a package notes.
fn check_rank(dims: &[usize]) -> Result<(), String> {
    match dims.len() {
        ..=MAX_SOURCE_RANK => Ok(()),
        rank => Err(format!("{rank} dimensions (at most {MAX_SOURCE_RANK})")),
    }
}

/// tract's axes that make up the height, width and channels of an input or output. The batch is
/// left out; ranks other than 4 keep the order of their elements.
fn port_axes(dims: &[usize], layout: Layout) -> [Vec<usize>; 3] {
    match (dims.len(), layout) {
        (4, Layout::Nchw) => [vec![0, 2], vec![3], vec![1]],
        (0, _) => [vec![], vec![], vec![]],
        (1, _) => [vec![], vec![], vec![0]],
        (rank, _) => [(0..rank - 2).collect(), vec![rank - 2], vec![rank - 1]],
    }
}

fn port_shape(dims: &[usize], parts: &[Vec<usize>; 3]) -> Shape {
    let size = |axes: &[usize]| axes.iter().map(|&axis| dims[axis]).product::<usize>();
    [1, size(&parts[0]), size(&parts[1]), size(&parts[2])]
}
