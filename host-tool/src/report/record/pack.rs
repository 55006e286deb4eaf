//! What `pack --json` writes, and what a package says of itself.

use super::{Expected, Identity, Loss};
use crate::cli::output::human_bytes;
use crate::latency::Prediction;
use crate::quantize::FloatActivation;
use serde::{Deserialize, Serialize};

/// `pack --json`, and what a package says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pack {
    /// Which package.
    #[serde(flatten)]
    pub identity: Identity,
    /// Length of the file.
    pub package_bytes: u64,
    /// Length of the source model; unknown from a package alone.
    #[serde(default)]
    pub source_bytes: Option<u64>,
    /// Memory that a session needs.
    pub arena_bytes: u64,
    /// What that memory is for.
    #[serde(default)]
    pub arena: ArenaParts,
    /// Share of weights that are not zero.
    pub density: f64,
    /// Layers with weights, in order of execution.
    pub layers: Vec<PackLayer>,
    /// Output channels found dead or constant, and removed.
    pub removed_channels: u64,
    /// What the package loses of the original's quality; only where `--max-drop` measured it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<Loss>,
    /// What it is expected to lose, where it was measured when it was packed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Expected>,
    /// Activations that stay `f32` because int8 would lose what they hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept_float: Vec<FloatActivation>,
    /// How long it will take on a board; only where one is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Prediction>,
}

impl Pack {
    /// For people: the memory of a session, and what it is for.
    pub fn arena_words(&self) -> String {
        let [all, constants, activations, least, scratch] = [
            self.arena_bytes,
            self.arena.constants,
            self.arena.activations,
            self.arena.activations_lower_bound,
            self.arena.scratch,
        ]
        .map(human_bytes);
        format!(
            "{all} (constants {constants}, activations {activations} of at least {least}, scratch {scratch})"
        )
    }
}

/// Bytes of a session's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArenaParts {
    /// Constants in the layout that kernels read.
    pub constants: u64,
    /// Activations.
    pub activations: u64,
    /// The most bytes of activations that are alive together: no plan takes fewer.
    pub activations_lower_bound: u64,
    /// Working memory of kernels.
    pub scratch: u64,
}

/// A layer of a package.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PackLayer {
    /// Name of the node.
    pub name: String,
    /// How its weights are stored.
    pub encoding: String,
    /// Bytes in the file: weights, scales, biases.
    pub bytes: u64,
    /// Bits of the file for each weight.
    pub bits_per_weight: f64,
    /// Share of weights that are not zero.
    pub density: f64,
    /// Whether the layer computes in single precision.
    pub kept_float: bool,
    /// Its blocks of zeros, if there are kernels that leave them out.
    #[serde(default)]
    pub blocks: Option<LayerBlocks>,
}

/// The blocks of a layer that kernels leave out where they are zero: 4 input codes of 4 output channels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerBlocks {
    /// Share of blocks that are not all zero.
    pub density: f64,
    /// Each set that has such kernels.
    pub kernels: Vec<SetKernel>,
}

/// What a set of kernels does with a layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetKernel {
    /// Name of the set.
    pub set: String,
    /// The share of blocks that are not all zero below which a run without the others takes fewer instructions.
    pub break_even: f64,
    /// Whether a session leaves them out.
    pub sparse: bool,
}

impl PackLayer {
    /// The columns that [`Self::block_cells`] fills.
    pub const BLOCK_HEADER: [&str; 4] = ["blocks", "neon", "dotprod", "i8mm"];

    /// For people: the share of blocks that are not zero, and the kernel and the break-even of each set.
    pub fn block_cells(&self) -> Vec<String> {
        let per_cent = |share: f64| format!("{:.1} %", 100.0 * share);
        let Some(blocks) = &self.blocks else {
            return vec!["-".to_owned(); Self::BLOCK_HEADER.len()];
        };
        let cell = |set: &&str| {
            let kernel = blocks.kernels.iter().find(|kernel| kernel.set == **set);
            kernel.map_or("-".to_owned(), |kernel| {
                let name = if kernel.sparse { "sparse" } else { "dense" };
                format!("{name} ({})", per_cent(kernel.break_even))
            })
        };
        let sets = Self::BLOCK_HEADER.iter().skip(1).map(cell);
        std::iter::once(per_cent(blocks.density))
            .chain(sets)
            .collect()
    }
}
