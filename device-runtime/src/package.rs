//! Opening a package: every check, in a stated order, so that nothing can go wrong later.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use crate::ops::{Activation, Checked, valid_scale};
use crate::plan::{self, Needs};
use crate::{KernelLayout, KernelSet, OpenError};
use edgeprune_format::manifest::{DType, Encoding, Quantization, Shape, Storage, Tensor, TensorId};
use edgeprune_format::{ALIGNMENT, Container, Manifest, rans};

/// Most inputs, and most outputs, of a network.
pub const MAX_PORTS: usize = 16;

/// A package whose every record has been checked. Borrows its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Package<'a> {
    container: Container<'a>,
    manifest: Manifest<'a>,
    /// For the kernels that [`KernelSet::detect`] finds.
    arena: Parts,
}

/// Bytes of the arena's parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    pub(crate) constants: usize,
    pub(crate) activations: usize,
    pub(crate) scratch: usize,
}

impl<'a> Package<'a> {
    /// Checks `bytes` in this order: the container (length, magic, version, hash), the manifest's
    /// records, the arena's size, each tensor (shape, storage, quantization), the labels, the model
    /// inputs and outputs, each node (operands, shapes, constants, scales). Makes no assumption about
    /// who wrote them.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn open(bytes: &'a [u8]) -> Result<Self, OpenError> {
        Self::check(Container::parse(bytes)?)
    }

    /// As [`Self::open`], but for the hash: for bytes whose integrity something else guards, such as a signed image in
    /// flash. As safe, since no check relies on the hash; but weights that are damaged go unnoticed.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn open_unhashed(bytes: &'a [u8]) -> Result<Self, OpenError> {
        Self::check(Container::parse_unhashed(bytes)?)
    }

    fn check(container: Container<'a>) -> Result<Self, OpenError> {
        let manifest = Manifest::parse(container.manifest)?;
        let mut package = Self {
            container,
            manifest,
            arena: Parts::new(&manifest, Needs::default())?,
        };
        package.check_tensors()?;
        package.check_labels()?;
        package.check_ports()?;
        let needs = package.check_nodes(KernelSet::detect().layout())?;
        package.arena = Parts::new(&manifest, needs)?;
        Ok(package)
    }

    /// The manifest: model name, inputs, outputs, tensors, nodes.
    pub fn manifest(&self) -> &Manifest<'a> {
        &self.manifest
    }

    /// SHA-256 of the package's content: its identity.
    pub fn hash(&self) -> &'a [u8] {
        self.container.hash
    }

    /// Bytes of memory that a session needs with the kernels that [`KernelSet::detect`] finds. At most what the
    /// package declares, unless it was packed for another version of the kernels, or to be read in place by others.
    pub fn arena_bytes(&self) -> usize {
        self.arena.total()
    }

    /// Bytes of memory that a session needs with these kernels, on so many threads: each has working memory of its
    /// own. `usize::MAX` if more than can be addressed.
    pub fn arena_bytes_with(&self, kernels: KernelSet, threads: usize) -> usize {
        let others = threads.saturating_sub(1);
        self.arena_with(kernels.layout())
            .map_or(usize::MAX, |arena| {
                let scratch = arena.scratch.saturating_mul(others);
                arena.total().saturating_add(scratch)
            })
    }

    /// Bytes of memory that a session needs to run on so many threads, with the kernels that [`KernelSet::detect`] finds.
    pub fn arena_bytes_for(&self, threads: usize) -> usize {
        self.arena_bytes_with(KernelSet::detect(), threads)
    }

    /// The arena's parts for kernels of one layout, if they can be addressed.
    pub(crate) fn arena_with(&self, layout: KernelLayout) -> Option<Parts> {
        if layout == KernelSet::detect().layout() {
            return Some(self.arena);
        }
        let needs = plan::needs_of(&self.manifest, layout).ok()?;
        Parts::new(&self.manifest, needs).ok()
    }

    /// Bytes of the labels' text; 0 if the package has none.
    pub fn labels_bytes(&self) -> usize {
        let tensor = self
            .manifest
            .head
            .labels
            .and_then(|id| self.manifest.tensor(id));
        tensor.and_then(|tensor| tensor.bytes()).unwrap_or(0)
    }

    /// Class names, one a line, decoded into `buffer` of [`Package::labels_bytes`].
    ///
    /// # Errors
    /// [`OpenError::Labels`] if there are none, the buffer is too short or the text is not UTF-8.
    pub fn labels<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b str, OpenError> {
        let tensor = self
            .manifest
            .head
            .labels
            .and_then(|id| self.manifest.tensor(id));
        let tensor = tensor.ok_or(OpenError::Labels)?;
        let buffer = buffer
            .get_mut(..self.labels_bytes())
            .ok_or(OpenError::Labels)?;
        let (blob, encoding) = self.blob(&tensor).ok_or(OpenError::Labels)?;
        match encoding {
            Encoding::Raw if blob.len() == buffer.len() => buffer.copy_from_slice(blob),
            Encoding::Raw => return Err(OpenError::Labels),
            Encoding::Rans => rans::decode(blob, bytemuck::cast_slice_mut(buffer))?,
            Encoding::Panels { .. } => return Err(OpenError::Labels),
        }
        core::str::from_utf8(buffer).map_err(|_| OpenError::Labels)
    }

    /// The body, which offsets of constants count from.
    pub(crate) fn body(&self) -> &'a [u8] {
        self.container.body
    }

    /// The stored bytes of a constant.
    pub(crate) fn blob(&self, tensor: &Tensor) -> Option<(&'a [u8], Encoding)> {
        tensor.blob(self.container.body)
    }

    fn check_tensors(&self) -> Result<(), OpenError> {
        for (id, tensor) in (0..).zip(self.manifest.tensors()) {
            self.check_tensor(&tensor)
                .map_err(|what| OpenError::Tensor { id, what })?;
        }
        Ok(())
    }

    fn check_tensor(&self, tensor: &Tensor) -> Checked<()> {
        if let Storage::Arena { .. } = tensor.storage {
            return Activation::resolve(&self.manifest, tensor).map(|_| ());
        }
        match tensor.quantization {
            Quantization::PerTensor { scale, .. } => {
                valid_scale(scale)?;
            }
            Quantization::PerChannel { scales } if scales >= self.manifest.head.counts.tensors => {
                return Err("unknown scales");
            }
            _ => {}
        }
        let bytes = tensor.bytes().ok_or("a tensor that is too large")?;
        let (blob, encoding) = self.blob(tensor).ok_or("a tensor outside the package")?;
        match (encoding, tensor.dtype) {
            (Encoding::Raw, _) if blob.len() == bytes => Ok(()),
            (Encoding::Raw, _) => Err("a length that does not fit the shape"),
            (Encoding::Rans, DType::I8 | DType::U8) => Ok(()),
            (Encoding::Rans, _) => Err("an entropy-coded tensor of more than one byte an element"),
            (Encoding::Panels { .. }, DType::I8) => Ok(()),
            (Encoding::Panels { .. }, _) => Err("panels that are not I8"),
        }
    }

    fn check_labels(&self) -> Result<(), OpenError> {
        let Some(id) = self.manifest.head.labels else {
            return Ok(());
        };
        let tensor = self.manifest.tensor(id);
        let tensor = tensor.filter(|tensor| tensor.dtype == DType::U8);
        match tensor.and_then(|tensor| self.blob(&tensor)) {
            Some(_) => Ok(()),
            None => Err(OpenError::Labels),
        }
    }

    fn check_ports(&self) -> Result<(), OpenError> {
        let inputs = self.manifest.inputs();
        self.check_table(&mut inputs.map(|input| input.tensor))?;
        let outputs = self.manifest.outputs();
        self.check_table(&mut outputs.map(|output| output.tensor))
    }

    #[inline(never)]
    fn check_table(&self, tensors: &mut dyn Iterator<Item = TensorId>) -> Result<(), OpenError> {
        let mut count = 0u16;
        for id in tensors {
            self.check_port(id, count)
                .map_err(|what| OpenError::Port { index: count, what })?;
            count += 1;
        }
        if count == 0 {
            let what = "a network without inputs or outputs";
            return Err(OpenError::Port { index: 0, what });
        }
        Ok(())
    }

    fn check_port(&self, id: TensorId, index: u16) -> Checked<()> {
        if usize::from(index) >= MAX_PORTS {
            return Err("more than 16 inputs or outputs");
        }
        let tensor = self.manifest.tensor(id).ok_or("an unknown tensor")?;
        Activation::resolve(&self.manifest, &tensor).map(|_| ())
    }

    fn check_nodes(&self, layout: KernelLayout) -> Result<Needs, OpenError> {
        let manifest = &self.manifest;
        let mut needs = Needs::default();
        for (index, node) in (0..).zip(manifest.nodes()) {
            let fault = |what| OpenError::Node { index, what };
            let (step, after) = plan::step(manifest, &node, layout, needs).map_err(fault)?;
            if let Some(linear) = step.linear() {
                linear.check_scales(self.body()).map_err(fault)?;
            }
            needs = after;
        }
        Ok(needs)
    }
}

impl Parts {
    /// What a session needs, if all of it can be addressed, and what the head declares is aligned.
    fn new(manifest: &Manifest<'_>, needs: Needs) -> Result<Self, OpenError> {
        let declared = manifest.head.arena;
        let mut total = 0usize;
        let mut part = |what, declared: u32, need: usize| {
            let refusal = OpenError::Arena {
                what,
                declared: u64::from(declared),
                need: need as u64,
            };
            if !(declared as usize).is_multiple_of(ALIGNMENT) {
                return Err(refusal);
            }
            total = total
                .checked_add(need)
                .filter(|&total| total <= isize::MAX as usize)
                .ok_or(refusal)?;
            Ok(need)
        };
        Ok(Self {
            constants: part("constants", declared.constants, needs.constants)?,
            activations: part(
                "activations",
                declared.activations,
                declared.activations as usize,
            )?,
            scratch: part("scratch", declared.scratch, needs.scratch)?,
        })
    }

    /// All three parts, which together can be addressed.
    fn total(self) -> usize {
        self.constants + self.activations + self.scratch
    }
}

/// A model input or output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Port<'a> {
    /// Name in the source model.
    pub name: &'a str,
    /// Dimensions, NHWC.
    pub shape: Shape,
    /// Element type: `I8` or `F32`.
    pub dtype: DType,
    /// Scale and zero point of an `I8` port.
    pub quantization: Option<(f32, i8)>,
}

impl Port<'_> {
    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().map(|&dim| dim as usize).product()
    }
}

impl<'a> Package<'a> {
    /// A model input.
    pub fn input_info(&self, index: usize) -> Option<Port<'a>> {
        let input = self.manifest.inputs().nth(index)?;
        self.port(input.name, input.tensor)
    }

    /// A model output.
    pub fn output_info(&self, index: usize) -> Option<Port<'a>> {
        let output = self.manifest.outputs().nth(index)?;
        self.port(output.name, output.tensor)
    }

    fn port(&self, name: &'a str, id: TensorId) -> Option<Port<'a>> {
        let tensor = self.manifest.tensor(id)?;
        let quantization = match tensor.quantization {
            Quantization::PerTensor { scale, zero_point } => Some((scale, zero_point)),
            _ => None,
        };
        Some(Port {
            name,
            shape: tensor.shape,
            dtype: tensor.dtype,
            quantization,
        })
    }
}
