//! `edgeprune bench`.

use super::board::BoardArg;
use super::output;
use crate::Error;
use crate::bench::{self, BenchOptions};
use crate::report::record::{Bench, BenchLayer};
use std::path::PathBuf;

/// Inferences of the emulator: its times mean little, its instructions need no repetition.
const EMULATED: BenchOptions = BenchOptions {
    warm_up: 0,
    runs: 3,
    threads: 1,
};

/// Measure a package's speed on this machine or a board.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The package.
    #[arg(value_name = "MODEL.epk")]
    package: PathBuf,
    /// A board's name or TOML file; without it, this machine.
    #[arg(long, value_name = "BOARD", requires = "emulate")]
    board: Option<BoardArg>,
    /// Run on the board's emulated core: counts instructions; times are the emulator's.
    #[arg(long, requires = "board")]
    emulate: bool,
    /// Inferences that are timed [default: 50, emulated 3].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    runs: Option<u32>,
    /// Inferences before the first that is timed [default: 5, emulated 0].
    #[arg(long, value_name = "N")]
    warm_up: Option<u32>,
    /// Threads that share the large layers of an inference, up to 16 and as many as the machine has cores; every number
    /// gives the same bytes.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16))]
    threads: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self) -> Result<(), Error> {
        let defaults = match self.emulate {
            true => EMULATED,
            false => BenchOptions::default(),
        };
        let options = BenchOptions {
            warm_up: self.warm_up.unwrap_or(defaults.warm_up),
            runs: self.runs.unwrap_or(defaults.runs),
            threads: self.threads,
        };
        let record = match &self.board {
            None => bench::host(&self.package, options)?,
            Some(BoardArg { board }) => {
                output::note(format!("building for {}, then emulating it", board.name));
                bench::emulated(&self.package, board, options)?
            }
        };
        match self.json {
            true => output::print_json(&record),
            false => output::print(&text(&record)),
        }
    }
}

fn text(record: &Bench) -> String {
    let latency = &record.latency_us;
    let mut text = format!(
        "{} on {} ({}), {} kernels\n",
        record.identity.model,
        record.place(),
        record.cpu,
        record.kernels
    );
    if let Some(instructions) = record.instructions_per_inference {
        text += &format!(
            "instructions   {} per inference, {:.3} per multiply-accumulate\n",
            output::human_count(instructions),
            instructions as f64
                / record
                    .layers
                    .iter()
                    .map(|layer| layer.macs)
                    .sum::<u64>()
                    .max(1) as f64
        );
    }
    text += &format!(
        "latency        min {}  p50 {}  p90 {}  p99 {}  ({} runs after {}){}\n",
        ms(latency.min),
        ms(latency.p50),
        ms(latency.p90),
        ms(latency.p99),
        record.runs,
        record.warm_up,
        if record.emulated {
            "  THE EMULATOR'S, not the board's"
        } else {
            ""
        }
    );
    text += &format!(
        "memory         {} arena, {} package\noutput         {}\n\n",
        output::human_bytes(record.arena_bytes),
        output::human_bytes(record.package_bytes),
        record.output_sha256
    );
    text + &layers(record)
}

fn layers(record: &Bench) -> String {
    let rows = record.layers.iter().map(|layer| {
        let mut row = vec![
            layer.name.clone(),
            layer.kernel.clone(),
            output::human_count(layer.macs),
        ];
        row.extend(match record.emulated {
            true => counted(record, layer),
            false => timed(record, layer),
        });
        row
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let header = match record.emulated {
        true => [
            "layer",
            "kernel",
            "MACs",
            "instructions",
            "share",
            "MACs/instruction",
        ],
        false => ["layer", "kernel", "MACs", "time", "share", "MACs/s"],
    };
    output::table(&header, &rows)
}

/// Instructions, share of all, multiply-accumulates for each.
fn counted(record: &Bench, layer: &BenchLayer) -> [String; 3] {
    let all = record
        .layers
        .iter()
        .filter_map(|layer| layer.instructions)
        .sum::<u64>();
    let Some(instructions) = layer.instructions else {
        return Default::default();
    };
    let each = |parts: u64, whole: u64| parts as f64 / whole.max(1) as f64;
    [
        output::human_count(instructions),
        format!("{:.1} %", 100.0 * each(instructions, all)),
        format!("{:.2}", each(layer.macs, instructions)),
    ]
}

/// Time, share of all, multiply-accumulates a second and how much that is of the core's most.
fn timed(record: &Bench, layer: &BenchLayer) -> [String; 3] {
    let all: f64 = record.layers.iter().map(|layer| layer.us).sum();
    let rate = layer.macs as f64 / (layer.us / 1e6).max(f64::MIN_POSITIVE);
    let of_peak = record
        .peak_int8_macs_per_second
        .map(|peak| format!(" ({:.0} %)", 100.0 * rate / peak));
    [
        ms(layer.us),
        format!("{:.1} %", 100.0 * layer.us / all.max(f64::MIN_POSITIVE)),
        output::human_count(rate as u64) + &of_peak.unwrap_or_default(),
    ]
}

fn ms(us: f64) -> String {
    format!("{:.3} ms", us / 1e3)
}
