//! What a package says of itself: the layers and bytes that `inspect` and the report show.

use super::record::{ArenaParts, Identity, LayerBlocks, Pack, PackLayer, SetKernel};
use crate::Error;
use crate::dataset::InputSpec;
use crate::graph::Port;
use crate::package::arena_lower_bound;
use edgeprune_format::manifest::{
    DType, Encoding, Linear, Node, Op, Quantization, Storage, Tensor, TensorId,
};
use edgeprune_format::{Container, Manifest, rans};
use edgeprune_runtime::{COSTS, Cost, plan};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// A package's file, with the checks of the format done. The runtime's own checks come when a
/// session is opened.
#[derive(Debug)]
pub struct Description<'a> {
    path: PathBuf,
    bytes: u64,
    container: Container<'a>,
    /// Its manifest.
    pub manifest: Manifest<'a>,
}

impl<'a> Description<'a> {
    /// Reads the header, hash and manifest of a package. `path` is for messages.
    ///
    /// # Errors
    /// Bytes that are not a package.
    pub fn of(path: &Path, bytes: &'a [u8]) -> Result<Self, Error> {
        let refuse = |cause: edgeprune_format::FormatError| Error::Package {
            path: path.to_path_buf(),
            cause: cause.to_string(),
        };
        let container = Container::parse(bytes).map_err(refuse)?;
        Ok(Self {
            path: path.to_path_buf(),
            bytes: bytes.len() as u64,
            manifest: Manifest::parse(container.manifest).map_err(refuse)?,
            container,
        })
    }

    /// Model, file and hash.
    pub fn identity(&self) -> Identity {
        Identity {
            model: self.manifest.head.model.to_owned(),
            package: self.path.display().to_string(),
            package_hash: hex(self.container.hash),
        }
    }

    /// The record that `pack --json` wrote, but for the length of the source model.
    ///
    /// # Errors
    /// A tensor that lies outside the package or does not decode.
    pub fn pack(&self) -> Result<Pack, Error> {
        let mut layers = Vec::new();
        let mut weights = Count::default();
        for node in self.manifest.nodes() {
            if let Some(linear) = node.op.linear() {
                let (layer, count) = self.layer(&node, linear)?;
                layers.push(layer);
                weights.add(count);
            }
        }
        Ok(Pack {
            identity: self.identity(),
            package_bytes: self.bytes,
            source_bytes: None,
            arena_bytes: self.manifest.head.arena.total() as u64,
            arena: self.arena(),
            density: weights.density(),
            layers,
            removed_channels: u64::from(self.manifest.head.removed_channels),
            loss: None,
            expected: None,
            kept_float: Vec::new(),
            latency: None,
        })
    }

    fn arena(&self) -> ArenaParts {
        let arena = self.manifest.head.arena;
        ArenaParts {
            constants: arena.constants.into(),
            activations: arena.activations.into(),
            activations_lower_bound: arena_lower_bound(&self.manifest),
            scratch: arena.scratch.into(),
        }
    }

    fn layer(&self, node: &Node<'_>, linear: &Linear) -> Result<(PackLayer, Count), Error> {
        let weights = self.tensor(linear.weights)?;
        let mut bytes = stored(&weights);
        if let Quantization::PerChannel { scales } = weights.quantization {
            bytes += stored(&self.tensor(scales)?);
        }
        if let Some(bias) = linear.bias {
            bytes += stored(&self.tensor(bias)?);
        }
        let input = node.inputs.first().map(|&id| self.tensor(id)).transpose()?;
        let count = match weights.storage {
            Storage::Blob {
                encoding: Encoding::Panels { columns, step, .. },
                ..
            } => {
                let channels = self.tensor(node.output)?.shape[3];
                let blob = self.blob(linear.weights, &weights)?;
                Count::of_panels(blob, &weights, [columns, u32::from(step), channels])
            }
            _ => self.count(linear.weights, &weights)?,
        };
        let layer = PackLayer {
            name: node.name.to_owned(),
            encoding: encoding(&weights).to_owned(),
            bytes,
            bits_per_weight: 8.0 * bytes as f64 / count.all.max(1) as f64,
            density: count.density(),
            kept_float: input.is_some_and(|tensor| tensor.dtype == DType::F32),
            blocks: self.blocks(node, linear.weights, &weights)?,
        };
        Ok((layer, count))
    }

    fn blocks(
        &self,
        node: &Node<'_>,
        id: TensorId,
        weights: &Tensor,
    ) -> Result<Option<LayerBlocks>, Error> {
        let layer = plan::sparse_layer(&self.manifest, node);
        // weights that are read in place are laid out for dense kernels
        let Some(layer) = layer.filter(|_| encoding(weights) != "in place") else {
            return Ok(None);
        };
        let blocks = layer.blocks(&self.codes(id, weights)?);
        let room = layer.scratch <= self.manifest.head.arena.scratch as usize;
        let kernel = |cost: Cost| SetKernel {
            set: cost.set.to_owned(),
            break_even: f64::from(layer.break_even(cost)),
            sparse: room && layer.pays(cost, blocks),
        };
        Ok(Some(LayerBlocks {
            density: blocks.kept as f64 / blocks.all.max(1) as f64,
            kernels: COSTS.map(kernel).to_vec(),
        }))
    }

    fn tensor(&self, id: TensorId) -> Result<Tensor, Error> {
        let missing = || self.refuse(format!("tensor {id} is not in its table"));
        self.manifest.tensor(id).ok_or_else(missing)
    }

    fn refuse(&self, cause: String) -> Error {
        Error::Package {
            path: self.path.clone(),
            cause,
        }
    }

    fn blob(&self, id: TensorId, tensor: &Tensor) -> Result<&'a [u8], Error> {
        match tensor.blob(self.container.body) {
            Some((blob, _)) => Ok(blob),
            None if matches!(tensor.storage, Storage::Blob { .. }) => {
                Err(self.refuse(format!("tensor {id} lies outside the package")))
            }
            None => Ok(&[]),
        }
    }

    /// The elements of a constant of single bytes.
    fn codes(&self, id: TensorId, tensor: &Tensor) -> Result<Vec<i8>, Error> {
        let blob = self.blob(id, tensor)?;
        let coded = matches!(
            tensor.storage,
            Storage::Blob {
                encoding: Encoding::Rans,
                ..
            }
        );
        if !coded {
            return Ok(blob.iter().map(|&byte| byte as i8).collect());
        }
        let limit = self.bytes.saturating_mul(4096);
        let elements = tensor.elements().filter(|&n| n as u64 <= limit);
        let mut codes =
            vec![0; elements.ok_or_else(|| self.refuse(format!("tensor {id} is too large")))?];
        rans::decode(blob, &mut codes)
            .map_err(|cause| self.refuse(format!("tensor {id}: {cause}")))?;
        Ok(codes)
    }

    /// The entropy-coded tensors, in the order of the tensor table.
    ///
    /// # Errors
    /// As [`Self::pack`].
    pub fn coded(&self) -> Result<Vec<Coded>, Error> {
        let names = self.names();
        let tensors = (0..).zip(self.manifest.tensors());
        tensors
            .filter(|(_, tensor)| encoding(tensor) == "rans")
            .map(|(id, tensor)| {
                let (name, what) = names.get(&id).copied().unwrap_or_default();
                Ok(Coded {
                    name: name.to_owned(),
                    what,
                    codes: self.codes(id, &tensor)?,
                    bytes: stored(&tensor),
                })
            })
            .collect()
    }

    /// For each constant of single bytes: the node that reads it, and what it is.
    fn names(&self) -> HashMap<TensorId, (&'a str, &'static str)> {
        let mut names = HashMap::new();
        for node in self.manifest.nodes() {
            if let Some(linear) = node.op.linear() {
                names.insert(linear.weights, (node.name, "weights"));
            }
            if let Op::Table { table } = node.op {
                names.insert(table, (node.name, "table"));
            }
        }
        let labels = self.manifest.head.labels;
        names.extend(labels.map(|id| (id, ("", "class names"))));
        names
    }

    fn count(&self, id: TensorId, tensor: &Tensor) -> Result<Count, Error> {
        if tensor.dtype == DType::I8 {
            let codes = self.codes(id, tensor)?;
            return Ok(Count {
                all: codes.len() as u64,
                zeros: codes.iter().filter(|&&code| code == 0).count() as u64,
            });
        }
        let elements = self.blob(id, tensor)?.chunks_exact(tensor.dtype.size());
        Ok(Count {
            all: elements.len() as u64,
            zeros: elements
                .filter(|element| element.iter().all(|&b| b == 0))
                .count() as u64,
        })
    }

    /// Class names, one a line, if the package has them.
    ///
    /// # Errors
    /// Names that do not decode.
    pub fn labels(&self) -> Result<Option<String>, Error> {
        let Some(id) = self.manifest.head.labels else {
            return Ok(None);
        };
        let tensor = self.tensor(id)?;
        let codes = self.codes(id, &tensor)?;
        let bytes = codes.into_iter().map(|code| code as u8).collect();
        String::from_utf8(bytes)
            .map(Some)
            .map_err(|_| self.refuse("its class names are not text".into()))
    }

    /// How samples become inputs, if the package was made with an input specification.
    ///
    /// # Errors
    /// As [`Self::labels`].
    pub fn input_spec(&self) -> Result<Option<InputSpec>, Error> {
        let labels = self.labels()?;
        Ok(InputSpec::of_package(
            self.manifest.inputs(),
            labels.as_deref(),
        ))
    }

    /// The model's inputs.
    pub fn inputs(&self) -> Vec<Port> {
        let inputs = self.manifest.inputs();
        inputs
            .map(|input| Port {
                name: input.name.to_owned(),
                tensor: usize::from(input.tensor),
                source_shape: input.source_shape.iter().map(|&d| d as usize).collect(),
                layout: input.layout,
            })
            .collect()
    }
}

/// An entropy-coded tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coded {
    /// Name of the node that reads it; empty for class names.
    pub name: String,
    /// `weights`, `table` or `class names`.
    pub what: &'static str,
    /// Its elements.
    pub codes: Vec<i8>,
    /// Bytes in the file.
    pub bytes: u64,
}

#[derive(Clone, Copy, Default)]
struct Count {
    all: u64,
    zeros: u64,
}

impl Count {
    /// Of panels of `columns` output channels, `step` codes of each together; zeros that fill panels up do not count.
    fn of_panels(panels: &[u8], weights: &Tensor, [columns, step, channels]: [u32; 3]) -> Self {
        let all = weights.elements().unwrap_or(0);
        let columns = columns as usize;
        let depth = (all / channels.max(1) as usize).next_multiple_of(step.max(1) as usize);
        let (head, panel) = (8 * columns, columns * (8 + depth));
        let codes = || {
            panels
                .chunks(panel.max(1))
                .flat_map(|panel| panel.iter().skip(head))
        };
        let filling = codes().count().saturating_sub(all);
        let zeros = codes().filter(|&&code| code == 0).count();
        Self {
            all: all as u64,
            zeros: zeros.saturating_sub(filling) as u64,
        }
    }

    fn add(&mut self, other: Self) {
        self.all += other.all;
        self.zeros += other.zeros;
    }

    /// Share that is not zero; 1 of nothing.
    fn density(self) -> f64 {
        1.0 - self.zeros as f64 / self.all.max(1) as f64
    }
}

fn stored(tensor: &Tensor) -> u64 {
    match tensor.storage {
        Storage::Blob { len, .. } => u64::from(len),
        Storage::Arena { .. } => 0,
    }
}

fn encoding(weights: &Tensor) -> &'static str {
    match (weights.storage, weights.dtype) {
        (
            Storage::Blob {
                encoding: Encoding::Rans,
                ..
            },
            _,
        ) => "rans",
        (
            Storage::Blob {
                encoding: Encoding::Panels { .. },
                ..
            },
            _,
        ) => "in place",
        (_, DType::F32) => "f32",
        _ => "raw",
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
