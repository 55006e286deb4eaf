//! Writing packages. Same calls, same bytes.

use crate::manifest::{
    DType, Encoding, Head, Input, Node, Output, Quantization, Shape, Storage, Tensor, TensorId,
};
use crate::{ALIGNMENT, HEADER_LEN, MAGIC, VERSION, rans};
use alloc::vec::Vec;
use core::fmt;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// Why a package cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// More than 65,535 records in a table.
    TooMany {
        /// Which table.
        what: &'static str,
    },
    /// The body is longer than 4 GiB.
    TooLong,
    /// A number or a list is larger than its field.
    TooLarge,
    /// postcard cannot serialize a record.
    Record,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany { what } => write!(f, "more than 65535 {what}"),
            Self::TooLong => f.write_str("a package body is limited to 4 GiB"),
            Self::TooLarge => {
                f.write_str("a dimension, a count or a rank is larger than its field")
            }
            Self::Record => f.write_str("a manifest record cannot be serialized"),
        }
    }
}

impl core::error::Error for EncodeError {}

/// Collects the records and constants of a package.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    inputs: Table,
    outputs: Table,
    nodes: Table,
    tensors: Vec<Entry>,
}

#[derive(Clone, Debug, Default)]
struct Table {
    bytes: Vec<u8>,
    count: u16,
}

impl Table {
    fn push(&mut self, record: &impl Serialize, what: &'static str) -> Result<(), EncodeError> {
        self.count = self
            .count
            .checked_add(1)
            .ok_or(EncodeError::TooMany { what })?;
        self.bytes.extend(serialize(record)?);
        Ok(())
    }
}

/// A tensor and, for a constant, its bytes as they will be stored.
#[derive(Clone, Debug)]
struct Entry {
    tensor: Tensor,
    blob: Option<Vec<u8>>,
}

fn serialize(record: &impl Serialize) -> Result<Vec<u8>, EncodeError> {
    postcard::to_allocvec(record).map_err(|_| EncodeError::Record)
}

impl Writer {
    /// Adds a model input.
    ///
    /// # Errors
    /// [`EncodeError`], as for every method here.
    pub fn input(&mut self, input: &Input<'_>) -> Result<(), EncodeError> {
        self.inputs.push(input, "inputs")
    }

    /// Adds a model output.
    ///
    /// # Errors
    /// See [`EncodeError`].
    pub fn output(&mut self, output: &Output<'_>) -> Result<(), EncodeError> {
        self.outputs.push(output, "outputs")
    }

    /// Adds a node; nodes run in the order in which they are added.
    ///
    /// # Errors
    /// See [`EncodeError`].
    pub fn node(&mut self, node: &Node<'_>) -> Result<(), EncodeError> {
        self.nodes.push(node, "nodes")
    }

    /// Adds an activation at an offset of the arena.
    ///
    /// # Errors
    /// See [`EncodeError`].
    pub fn activation(
        &mut self,
        dtype: DType,
        shape: Shape,
        quantization: Quantization,
        offset: u32,
    ) -> Result<TensorId, EncodeError> {
        let tensor = Tensor {
            dtype,
            shape,
            quantization,
            storage: Storage::Arena { offset },
        };
        self.push(Entry { tensor, blob: None })
    }

    /// Adds a constant whose elements are the little-endian `bytes`. Single-byte elements are
    /// entropy-coded where that is shorter, in rows along the first dimension.
    ///
    /// # Errors
    /// See [`EncodeError`].
    pub fn constant(
        &mut self,
        dtype: DType,
        shape: Shape,
        quantization: Quantization,
        bytes: &[u8],
    ) -> Result<TensorId, EncodeError> {
        let coded = match dtype {
            DType::I8 | DType::U8 => Some(encode_bytes(shape, bytes)),
            _ => None,
        };
        match coded {
            Some(coded) if coded.len() < bytes.len() => {
                self.stored(dtype, shape, quantization, Encoding::Rans, coded)
            }
            _ => self.stored(dtype, shape, quantization, Encoding::Raw, bytes.to_vec()),
        }
    }

    /// Adds a constant whose bytes are encoded already.
    ///
    /// # Errors
    /// See [`EncodeError`].
    pub fn stored(
        &mut self,
        dtype: DType,
        shape: Shape,
        quantization: Quantization,
        encoding: Encoding,
        blob: Vec<u8>,
    ) -> Result<TensorId, EncodeError> {
        let storage = Storage::Blob {
            offset: 0, // known when the package is finished
            len: u32::try_from(blob.len()).map_err(|_| EncodeError::TooLong)?,
            encoding,
        };
        let tensor = Tensor {
            dtype,
            shape,
            quantization,
            storage,
        };
        self.push(Entry {
            tensor,
            blob: Some(blob),
        })
    }

    fn push(&mut self, entry: Entry) -> Result<TensorId, EncodeError> {
        let id = TensorId::try_from(self.tensors.len())
            .map_err(|_| EncodeError::TooMany { what: "tensors" })?;
        self.tensors.push(entry);
        Ok(id)
    }

    /// The package's bytes. `head.counts` is filled in.
    ///
    /// # Errors
    /// See [`EncodeError`].
    pub fn finish(&self, head: &Head<'_>) -> Result<Vec<u8>, EncodeError> {
        let (tensors, body) = self.lay_out()?;
        let mut head = *head;
        head.counts.inputs = self.inputs.count;
        head.counts.outputs = self.outputs.count;
        head.counts.nodes = self.nodes.count;
        head.counts.tensors = tensors.len() as u16;
        let mut manifest = serialize(&head)?;
        manifest.extend(&self.inputs.bytes);
        manifest.extend(&self.outputs.bytes);
        for tensor in &tensors {
            manifest.extend(serialize(tensor)?);
        }
        manifest.extend(&self.nodes.bytes);
        assemble(&manifest, &body)
    }

    /// Places the blobs: aligned ones first, so that the others need no padding.
    fn lay_out(&self) -> Result<(Vec<Tensor>, Vec<u8>), EncodeError> {
        let mut body = Vec::new();
        let mut tensors: Vec<Tensor> = self.tensors.iter().map(|entry| entry.tensor).collect();
        for aligned in [true, false] {
            for (entry, tensor) in self.tensors.iter().zip(&mut tensors) {
                let Some(blob) = entry
                    .blob
                    .as_ref()
                    .filter(|_| is_aligned(tensor) == aligned)
                else {
                    continue;
                };
                if aligned {
                    body.resize(body.len().next_multiple_of(ALIGNMENT), 0);
                }
                if let Storage::Blob { offset, .. } = &mut tensor.storage {
                    *offset = u32::try_from(body.len()).map_err(|_| EncodeError::TooLong)?;
                }
                body.extend(blob);
            }
        }
        Ok((tensors, body))
    }
}

/// Raw codes, floats and panels are read in place, so they lie aligned.
fn is_aligned(tensor: &Tensor) -> bool {
    match tensor.storage {
        Storage::Blob {
            encoding: Encoding::Raw,
            ..
        } => matches!(tensor.dtype, DType::I8 | DType::F32),
        Storage::Blob { encoding, .. } => matches!(encoding, Encoding::Panels { .. }),
        Storage::Arena { .. } => false,
    }
}

fn encode_bytes(shape: Shape, bytes: &[u8]) -> Vec<u8> {
    let elements: Vec<i8> = bytes.iter().map(|&byte| byte as i8).collect();
    let rows = (shape[0] as usize).max(1);
    rans::encode(&elements, elements.len().div_ceil(rows))
}

fn assemble(manifest: &[u8], body: &[u8]) -> Result<Vec<u8>, EncodeError> {
    let manifest_len = u32::try_from(manifest.len()).map_err(|_| EncodeError::TooLong)?;
    let mut bytes = Vec::with_capacity(HEADER_LEN + manifest.len() + ALIGNMENT + body.len());
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(manifest_len.to_le_bytes());
    bytes.extend((body.len() as u64).to_le_bytes());
    bytes.extend([0; 8]);
    bytes.extend(manifest);
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
    bytes.extend(body);
    let hash = Sha256::digest(&bytes);
    bytes.extend(hash.as_slice());
    Ok(bytes)
}
