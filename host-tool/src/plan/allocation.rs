//! Spends a byte budget layer by layer: what earlier layers really took, after compensation and
//! coding, corrects the choice for those that are left.

use super::{Layer, choose};
use crate::quantize::{QuantizedLinear, Rounding, Steps};

/// The budget for the codes and scales of all layers, and what is left of it.
#[derive(Clone, Debug)]
pub struct Allocation {
    layers: Vec<Layer>,
    budget: usize,
    /// Layers that are done.
    done: usize,
    /// Bytes that they took, and were predicted to take.
    spent: usize,
    predicted: usize,
    level: usize,
}

impl Allocation {
    /// For layers in order of execution.
    pub fn new(layers: Vec<Layer>, budget: usize) -> Self {
        Self {
            layers,
            budget,
            done: 0,
            spent: 0,
            predicted: 0,
            level: 0,
        }
    }

    fn choose(&self) -> usize {
        let rest = &self.layers[self.done..];
        let ratio = (self.spent + 1) as f64 / (self.predicted + 1) as f64;
        let left = self.budget.saturating_sub(self.spent) as f64 / ratio;
        choose(rest, left as usize).map_or(rest[0].levels.len() - 1, |levels| levels[0])
    }
}

impl Steps for Allocation {
    fn step(&mut self, node: usize) -> Rounding {
        debug_assert_eq!(self.layers[self.done].node, node);
        self.level = self.choose();
        self.layers[self.done].rounding(self.level)
    }

    fn done(&mut self, _node: usize, layer: &QuantizedLinear) {
        self.predicted += self.layers[self.done].levels[self.level].bytes;
        self.spent += layer.coded_bytes();
        self.done += 1;
    }
}

/// The finest codes for every layer, with the damping that was found for it, if it was studied.
#[derive(Clone, Copy, Debug)]
pub struct Unlimited<'a>(pub &'a [Layer]);

impl Steps for Unlimited<'_> {
    fn step(&mut self, node: usize) -> Rounding {
        let layer = self.0.iter().find(|layer| layer.node == node);
        Rounding {
            damping: layer.map_or(Rounding::FINEST.damping, |layer| layer.damping),
            ..Rounding::FINEST
        }
    }

    fn done(&mut self, _node: usize, _layer: &QuantizedLinear) {}
}
