//! The roofline model: how fast layers run, beside what the core's arithmetic and the board's memory allow for their
//! operational intensity (Williams, Waterman and Patterson, "Roofline", CACM 52(4), 2009).

use super::record::{Bench, BenchLayer};
use super::run::Run;

/// A layer in the model.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Placed {
    pub(super) layer: String,
    /// Multiply-accumulates for each byte that has to be moved.
    pub(super) intensity: f64,
    /// Multiply-accumulates a second.
    pub(super) rate: f64,
}

/// What a board allows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Roof {
    pub(super) threads: u64,
    /// Most multiply-accumulates a second of all threads.
    pub(super) peak: f64,
    /// Most bytes a second of the memory, where that is known.
    pub(super) bandwidth: Option<f64>,
}

impl Roof {
    /// The roof above a measurement, where its core's peak is known.
    pub(super) fn of(bench: &Bench) -> Option<Self> {
        let board = edgeprune_boards::find(&bench.board).ok();
        Some(Self {
            threads: bench.threads,
            peak: bench.peak()?,
            bandwidth: board.and_then(|board| board.memory_bytes_per_second()),
        })
    }

    /// Most multiply-accumulates a second at an intensity.
    pub(super) fn at(&self, intensity: f64) -> f64 {
        let fed = self
            .bandwidth
            .map_or(f64::INFINITY, |bytes| bytes * intensity);
        fed.min(self.peak)
    }

    /// The intensity from which on arithmetic is the limit.
    pub(super) fn ridge(&self) -> Option<f64> {
        Some(self.peak / self.bandwidth?)
    }
}

/// The layers of a run that tells their bytes. Those of an emulated run stand on the roof: they can be no faster.
pub(super) fn placed(run: &Run<'_>) -> Vec<Placed> {
    let Some(bench) = run.bench else {
        return Vec::new();
    };
    let layers = bench.layers.iter();
    let layers = layers.filter(|layer| layer.macs > 0 && layer.bytes > 0);
    layers.filter_map(|layer| place(bench, layer)).collect()
}

fn place(bench: &Bench, layer: &BenchLayer) -> Option<Placed> {
    let intensity = layer.macs as f64 / layer.bytes as f64;
    let rate = match bench.emulated {
        true => Roof::of(bench)?.at(intensity),
        false => bench.macs_per_second(layer)?,
    };
    Some(Placed {
        layer: layer.name.clone(),
        intensity,
        rate,
    })
}

impl Bench {
    /// Most int8 multiply-accumulates a second of all its threads together.
    pub(super) fn peak(&self) -> Option<f64> {
        let of_board = || {
            let board = edgeprune_boards::find(&self.board).ok()?;
            Some(board.peak_int8_macs_per_second())
        };
        let of_core = self.peak_int8_macs_per_second.or_else(of_board)?;
        Some(of_core * self.threads as f64)
    }

    /// A layer's time in microseconds, where a real machine ran it.
    pub(super) fn layer_time(&self, layer: &BenchLayer) -> Option<f64> {
        (!self.emulated).then_some(layer.us)
    }

    /// A layer's multiply-accumulates a second, where it has any.
    pub(super) fn macs_per_second(&self, layer: &BenchLayer) -> Option<f64> {
        let us = self.layer_time(layer).filter(|&us| us > 0.0)?;
        (layer.macs > 0).then_some(layer.macs as f64 / us * 1e6)
    }

    /// A layer's share of the time, or of the instructions where an emulator counted them.
    pub(super) fn layer_share(&self, layer: &BenchLayer) -> Option<f64> {
        let cost = |layer: &BenchLayer| match self.emulated {
            true => layer.instructions.map(|count| count as f64),
            false => Some(layer.us),
        };
        let all: f64 = self.layers.iter().filter_map(cost).sum();
        Some(cost(layer)? / all).filter(|share| share.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{bench_of, of};
    use super::*;

    #[test]
    fn a_layer_stands_at_its_intensity_and_rate() {
        let report = of(vec![bench_of("a", "1", |_| {})]);
        let placed = placed(&report.runs()[0]);
        assert_eq!(placed[0].intensity, 2.0); // 5000 multiply-accumulates, 2500 bytes
        assert!((placed[0].rate - 5000.0 / 95e-6).abs() < 1.0);
    }

    #[test]
    fn an_emulated_layer_stands_on_the_roof() {
        let report = of(vec![bench_of("a", "1", |b| {
            b.emulated = true;
            b.layers[0].macs = 2500;
        })]);
        let bandwidth = 8e9;
        assert_eq!(placed(&report.runs()[0])[0].rate, bandwidth);
    }

    #[test]
    fn without_bytes_there_is_no_intensity() {
        let report = of(vec![bench_of("a", "1", |b| b.layers[0].bytes = 0)]);
        assert_eq!(placed(&report.runs()[0]), []);
    }

    #[test]
    fn a_roof_is_as_low_as_its_lower_limit() {
        let roof = Roof {
            threads: 1,
            peak: 12e9,
            bandwidth: Some(4e9),
        };
        assert_eq!(roof.ridge(), Some(3.0));
        assert_eq!(
            (roof.at(1.0), roof.at(3.0), roof.at(9.0)),
            (4e9, 12e9, 12e9)
        );
    }
}
