//! What one can see of a run.

/// Is told of each step of a run. Every method does nothing by default; `()` observes nothing.
pub trait Observer {
    /// A run begins.
    fn run_begin(&mut self) {}

    /// A node begins.
    fn node_begin(&mut self, _index: usize) {}

    /// A node has written its output: codes, or floats in the byte order of the processor.
    fn node_end(&mut self, _index: usize, _output: &[u8]) {}

    /// A run ends.
    fn run_end(&mut self) {}
}

impl Observer for () {}
