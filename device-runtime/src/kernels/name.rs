//! What kernels are called.

use core::fmt;

/// The kernel that runs a node, in XNNPACK's grammar: elements, operator, shape, instructions. For example
/// `qs8-igemm-8x8c4-neondot` multiplies int8 codes, reads the input in place under a window, and computes 8 output
/// positions by 8 channels at once, 4 products deep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelName {
    pub(crate) elements: &'static str,
    pub(crate) operator: &'static str,
    pub(crate) shape: Shape,
    pub(crate) set: &'static str,
}

/// What a kernel computes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Nothing to say.
    Plain,
    /// Rows by columns of a product, and how many codes of the depth.
    Tile {
        rows: usize,
        columns: usize,
        step: usize,
    },
    /// Taps of a window.
    Taps(usize),
}

impl fmt::Display for KernelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-", self.elements, self.operator)?;
        match self.shape {
            Shape::Plain => {}
            Shape::Tile {
                rows,
                columns,
                step: 1,
            } => write!(f, "{rows}x{columns}-")?,
            Shape::Tile {
                rows,
                columns,
                step,
            } => write!(f, "{rows}x{columns}c{step}-")?,
            Shape::Taps(taps) => write!(f, "{taps}p-")?,
        }
        f.write_str(self.set)
    }
}
