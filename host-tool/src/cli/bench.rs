//! `edgeprune bench`.

use super::board::BoardArg;
use super::data::{DATA_HELP, OptionalDataArgs};
use super::learn::learn;
use super::output;
use crate::Error;
use crate::bench::{self, BenchOptions, Destination, Job, Ssh};
use crate::progress::Progress;
use crate::report::record::{Bench, BenchLayer};
use std::path::PathBuf;
use std::time::Duration;

/// Measure a package's speed on this machine or on boards.
///
/// --host runs it on a board: builds the device binary, sends it and the package by ssh with your own
/// configuration and keys, runs, fetches the report and leaves nothing behind. --host may be repeated, also for
/// boards of several kinds: `--host rpi4=pi@four --host rpi5=pi@five`. --emulate counts instructions.
#[derive(Debug, clap::Args)]
#[command(after_long_help = DATA_HELP)]
pub(super) struct Args {
    /// The package.
    #[arg(value_name = "MODEL.epk")]
    package: PathBuf,
    /// A board's name or TOML file; without it and --host, this machine.
    #[arg(long, value_name = "BOARD")]
    board: Option<BoardArg>,
    /// Run on the board's emulated core: counts instructions; times are the emulator's.
    #[arg(long, requires = "board", conflicts_with = "host")]
    emulate: bool,
    /// Run on a board that ssh reaches: `pi@raspberrypi.local`, `ssh://pi@10.0.0.4:2222` or a name of your ssh
    /// configuration, with BOARD= before it where --board does not say which board it is.
    #[arg(long, value_name = "[BOARD=]HOST")]
    host: Vec<String>,
    /// An ssh configuration in place of your own.
    #[arg(long, value_name = "FILE", requires = "host")]
    ssh_config: Option<PathBuf>,
    /// The board's folder for the time of the job.
    #[arg(long, value_name = "FOLDER", requires = "host", default_value = "/tmp")]
    remote_folder: String,
    #[command(flatten)]
    data: OptionalDataArgs,
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
    /// Run for that long, as `60s`, whatever --runs says, and show how latency, clock and temperature go on.
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with = "runs")]
    duration: Option<Duration>,
    /// Count inferences that take longer than this, as `50ms`.
    #[arg(long, value_name = "TIME", value_parser = time)]
    deadline: Option<Duration>,
    /// Fail (exit code 1) where a board throttled, saved power, became slower while it ran, or took more memory than planned.
    #[arg(long)]
    strict: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self) -> Result<(), Error> {
        let samples = self.data.samples(&self.package)?;
        let job = Job {
            package: &self.package,
            options: self.options(),
            samples: samples.as_ref(),
        };
        let results = self.measure(job)?;
        let mut failures = Vec::new();
        let mut records = Vec::new();
        for result in results {
            match result {
                Ok(record) => records.push(record),
                Err(error) => failures.push(error),
            }
        }
        self.print(&records)?;
        for record in records.iter().filter(|record| record.host.is_some()) {
            learn(record)?;
        }
        if self.strict {
            failures.extend(records.iter().filter_map(doubtful));
        }
        let Some(last) = failures.pop() else {
            return Ok(());
        };
        failures.iter().for_each(output::print_error);
        Err(last)
    }

    /// Where the arguments say.
    fn measure(&self, job: Job<'_>) -> Result<Vec<Result<Bench, Error>>, Error> {
        let destinations = self.destinations()?;
        match &self.board {
            _ if !destinations.is_empty() => {
                let ssh = Ssh {
                    config: self.ssh_config.clone(),
                    folder: self.remote_folder.clone(),
                };
                output::note("building for the boards");
                bench::remote(&destinations, &ssh, job, Progress::Terminal)
            }
            Some(BoardArg { board }) if self.emulate => {
                output::note(format!("building for {}, then emulating it", board.name));
                Ok(vec![Ok(bench::emulated(board, job)?)])
            }
            Some(_) => Err(Error::Usage(
                "--board says what to build for: say where to run by --host, or --emulate".into(),
            )),
            None if job.samples.is_some() => Err(Error::Usage(
                "--data is for boards: on this machine, `edgeprune eval` scores a package".into(),
            )),
            None => Ok(vec![Ok(bench::host(job.package, job.options)?)]),
        }
    }

    fn destinations(&self) -> Result<Vec<Destination>, Error> {
        let destination = |typed: &String| destination(typed, self.board.as_ref());
        self.host.iter().map(destination).collect()
    }

    /// One record as an object, several as an array.
    fn print(&self, records: &[Bench]) -> Result<(), Error> {
        match records {
            [record] if self.json && self.host.len() < 2 => output::print_json(record),
            _ if self.json => output::print_json(&records),
            _ => output::print(&records.iter().map(text).collect::<Vec<_>>().join("\n")),
        }
    }

    fn options(&self) -> BenchOptions {
        let defaults = match self.emulate {
            true => bench::EMULATED,
            false => BenchOptions::default(),
        };
        BenchOptions {
            warm_up: self.warm_up.unwrap_or(defaults.warm_up),
            runs: self.runs.unwrap_or(defaults.runs),
            threads: self.threads,
            duration: self.duration,
            deadline: self.deadline,
        }
    }
}

fn doubtful(record: &Bench) -> Option<Error> {
    let doubts = record.doubts();
    (!doubts.is_empty()).then(|| Error::Doubtful {
        place: record.place(),
        doubts: doubts.join("; "),
    })
}

/// `BOARD=HOST`, or `HOST` where the board is known.
fn destination(typed: &str, board: Option<&BoardArg>) -> Result<Destination, Error> {
    let (board, address) = match (typed.split_once('='), board) {
        (Some((board, address)), _) => (board.parse().map_err(Error::Usage)?, address),
        (None, Some(board)) => (board.clone(), typed),
        (None, None) => {
            return Err(Error::Usage(format!(
                "which board is {typed}? Name it by --board, or as --host BOARD={typed}"
            )));
        }
    };
    if address.is_empty() || address.starts_with('-') {
        return Err(Error::Usage(format!(
            "--host {typed}: `{address}` is no address"
        )));
    }
    Ok(Destination {
        address: address.to_owned(),
        board: board.board,
    })
}

/// A time as `60s`, `50ms` or `1min 30s`, of at least a microsecond.
fn time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text)
        .map_err(|cause| format!("{cause}: times look like 50ms or 60s"))?;
    match time >= Duration::from_micros(1) {
        true => Ok(time),
        false => Err("must be at least a microsecond".into()),
    }
}

pub(super) fn text(record: &Bench) -> String {
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
        "latency        min {}  p50 {}  p90 {}  p99 {}{}  ({} runs after {}){}\n",
        ms(latency.min),
        ms(latency.p50),
        ms(latency.p90),
        ms(latency.p99),
        latency
            .max
            .map_or(String::new(), |max| format!("  max {}", ms(max))),
        record.runs,
        record.warm_up,
        if record.emulated {
            "  THE EMULATOR'S, not the board's"
        } else {
            ""
        }
    );
    if let Some(cold) = record.cold_us {
        text += &format!(
            "cold           {} from the package's bytes to the first output\n",
            ms(cold)
        );
    }
    if let Some(deadline) = &record.deadline {
        text += &format!(
            "deadline       {} missed by {} of {} inferences\n",
            ms(deadline.us),
            deadline.misses,
            record.runs
        );
    }
    text += &format!(
        "memory         {} arena, {} package{}\n",
        output::human_bytes(record.arena_bytes),
        output::human_bytes(record.package_bytes),
        record.resident.map_or(String::new(), |resident| format!(
            ", process {} at most ({} planned)",
            output::human_bytes(resident.peak_bytes),
            output::human_bytes(resident.planned_bytes)
        ))
    );
    if let Some(energy) = &record.energy {
        text += &format!(
            "energy         {:.3} mJ per inference, {:.2} W ({})\n",
            energy.joules_per_inference * 1e3,
            energy.watts,
            energy.meter
        );
    }
    text += &format!(
        "output         {}{}\n",
        record.output_sha256,
        match record.matches_host {
            Some(true) => ", as on this machine",
            _ => "",
        }
    );
    if let Some(on_device) = &record.on_device {
        text += &format!(
            "samples        {}{}, {}\n",
            on_device.samples,
            on_device
                .top1
                .map_or(String::new(), |top1| format!(", top-1 {top1:.2} %")),
            match on_device.different.len() {
                0 => "bit-exact".to_owned(),
                count => format!("{count} differ from this machine's"),
            }
        );
    }
    for doubt in record.doubts() {
        text += &format!("IN DOUBT       {doubt}\n");
    }
    text + "\n" + &timeline(record) + &layers(record)
}

/// How a long run went on; nothing for others.
fn timeline(record: &Bench) -> String {
    if record.timeline.is_empty() {
        return String::new();
    }
    let or_unknown = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let rows = record.timeline.iter().map(|part| {
        let condition = &part.condition;
        vec![
            format!("{:.0} s", part.seconds),
            part.runs.to_string(),
            ms(part.p50_us),
            ms(part.max_us),
            or_unknown(condition.clock_mhz.map(|clock| format!("{clock} MHz"))),
            or_unknown(condition.temperature_celsius.map(|t| format!("{t:.1} °C"))),
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    output::table(
        &["until", "runs", "p50", "max", "clock", "temperature"],
        &rows,
    ) + "\n"
}

fn layers(record: &Bench) -> String {
    let is_counted = record.instructions_per_inference.is_some();
    let rows = record.layers.iter().map(|layer| {
        let mut row = vec![
            layer.name.clone(),
            layer.kernel.clone(),
            output::human_count(layer.macs),
        ];
        row.extend(match is_counted {
            true => counted(record, layer),
            false => timed(record, layer),
        });
        row
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let header = match is_counted {
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

pub(super) fn ms(us: f64) -> String {
    format!("{:.3} ms", us / 1e3)
}
