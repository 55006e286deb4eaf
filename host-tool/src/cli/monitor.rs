//! `edgeprune monitor`.

use super::bench::{ms, text};
use super::output;
use crate::Error;
use crate::monitor::{Device, Source, watch};
use crate::report::record::Bench;
use edgeprune_format::telemetry::{Event, Record};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Show what devices report of themselves, live, from serial ports, a pipe or files.
///
/// Reads telemetry frames until each device has said that nothing follows, the input ends, or Ctrl-C. Lost and
/// corrupt frames are counted. Exit code 1 if a device reports a fault.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("source").required(true).multiple(true)))]
pub(super) struct Args {
    /// Files or named pipes with frames.
    #[arg(value_name = "FILE", group = "source")]
    files: Vec<PathBuf>,
    /// A serial port; may be repeated, one board each.
    #[arg(long, value_name = "PORT", group = "source")]
    serial: Vec<String>,
    /// Bits a second of serial ports.
    #[arg(long, value_name = "N", default_value_t = 115_200, value_parser = clap::value_parser!(u32).range(1..))]
    baud: u32,
    /// Read standard input.
    #[arg(long, group = "source")]
    stdin: bool,
    /// Also show text that is no frame, such as a boot loader's.
    #[arg(short, long)]
    verbose: bool,
    /// Print JSON, one record a line.
    #[arg(long)]
    json: bool,
    /// Write the measurements as `bench --json` does, for `edgeprune report`.
    #[arg(short, long, value_name = "JSON")]
    output: Option<PathBuf>,
}

impl Args {
    pub(super) fn run(self) -> Result<(), Error> {
        let sources = self.sources();
        let mut screen = Screen::new(&sources, &self);
        let devices = watch(&sources, |index, device, event| {
            screen.show(index, device, event)
        })?;
        screen.close(&devices)?;
        if let Some(path) = &self.output {
            write_report(path, &sources, &devices)?;
        }
        fault(&sources, &devices)
    }

    fn sources(&self) -> Vec<Source> {
        let serial = self.serial.iter().map(|port| Source::Serial {
            port: port.clone(),
            baud: self.baud,
        });
        let files = self.files.iter().cloned().map(Source::File);
        let stdin = self.stdin.then_some(Source::Stdin);
        serial.chain(stdin).chain(files).collect()
    }
}

/// One object for a single measurement, else a list.
fn write_report(path: &Path, sources: &[Source], devices: &[Device]) -> Result<(), Error> {
    for (source, device) in sources.iter().zip(devices) {
        let lost = device.tally().lost;
        if device.bench().is_none() {
            output::note(format!("{source}: no whole measurement came"));
        } else if lost > 0 {
            output::note(format!(
                "{source}: {lost} records were lost: the measurement may lack layers"
            ));
        }
    }
    let benches: Vec<&Bench> = devices.iter().filter_map(Device::bench).collect();
    let text = match benches[..] {
        [] => {
            return Err(Error::data(
                path,
                "nothing to write: no device has reported runs",
            ));
        }
        [bench] => output::json(bench)?,
        _ => output::json(&benches)?,
    };
    output::write_text(path, &text)
}

fn fault(sources: &[Source], devices: &[Device]) -> Result<(), Error> {
    let faults = sources.iter().zip(devices).filter_map(|(source, device)| {
        let fault = device.fault()?;
        Some(format!("{source}: {fault}"))
    });
    match faults.collect::<Vec<_>>() {
        faults if faults.is_empty() => Ok(()),
        faults => Err(Error::Toolchain(faults.join("\n"))),
    }
}

/// Where events are shown: as JSON, as a table that changes on a terminal, as lines elsewhere.
struct Screen<'a> {
    sources: &'a [Source],
    verbose: bool,
    json: bool,
    table: Option<ProgressBar>,
    rows: Vec<Vec<String>>,
}

/// How often the table is drawn.
const REDRAW: Duration = Duration::from_millis(100);
const HEADER: [&str; 10] = [
    "source", "board", "model", "state", "runs", "p50", "p99", "records", "lost", "corrupt",
];

#[derive(Serialize)]
struct Line<'a> {
    source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<&'a Record<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    corrupt: Option<String>,
    /// Records lost so far.
    lost: u64,
}

impl<'a> Screen<'a> {
    fn new(sources: &'a [Source], args: &Args) -> Self {
        let is_live = !args.json && io::stdout().is_terminal() && io::stderr().is_terminal();
        let style = ProgressStyle::with_template("{msg}");
        let table = |style| ProgressBar::new_spinner().with_style(style);
        let waiting = Device::default();
        let rows = sources.iter().map(|source| row(source, &waiting));
        let screen = Self {
            sources,
            verbose: args.verbose,
            json: args.json,
            table: style.ok().filter(|_| is_live).map(table),
            rows: rows.collect(),
        };
        if let Some(table) = &screen.table {
            table.set_message(output::table(&HEADER, &screen.rows));
            table.enable_steady_tick(REDRAW);
        }
        screen
    }

    fn show(&mut self, index: usize, device: &Device, event: &Event<'_>) -> Result<(), Error> {
        let source = &self.sources[index];
        if matches!(event, Event::Text(_)) && !self.verbose {
            return Ok(());
        }
        if self.json {
            return output::print(&json_line(source, device, event)?);
        }
        let Some(table) = &self.table else {
            return output::print(&format!("{source}: {}\n", words(device, event)));
        };
        if let Event::Text(text) = event {
            table.println(format!("{source}: {}", text.trim_end()));
        }
        self.rows[index] = row(source, device);
        table.set_message(output::table(&HEADER, &self.rows));
        Ok(())
    }

    fn close(self, devices: &[Device]) -> Result<(), Error> {
        if let Some(table) = &self.table {
            table.finish_and_clear();
        }
        if self.json {
            return Ok(());
        }
        let rows = self.sources.iter().zip(devices);
        let rows: Vec<Vec<String>> = rows.map(|(source, device)| row(source, device)).collect();
        output::print(&format!("\n{}", output::table(&HEADER, &rows)))?;
        for bench in devices.iter().filter_map(Device::bench) {
            output::print(&format!("\n{}", text(bench)))?;
        }
        Ok(())
    }
}

fn row(source: &Source, device: &Device) -> Vec<String> {
    let [board, model] = device.name().map(str::to_owned);
    let state = match device.fault() {
        Some(_) => "fault",
        None if device.has_ended() => "done",
        None if board.is_empty() => "waiting",
        None => "running",
    };
    let bench = device.bench();
    let time = |us: Option<f64>| us.map_or("-".to_owned(), ms);
    let runs = match (device.counters(), bench) {
        (Some(counters), _) => counters.inferences.to_string(),
        (None, Some(bench)) => bench.runs.to_string(),
        (None, None) => "-".to_owned(),
    };
    let tally = device.tally();
    vec![
        source.to_string(),
        board,
        model,
        state.to_owned(),
        runs,
        time(bench.map(|bench| bench.latency_us.p50)),
        time(bench.map(|bench| bench.latency_us.p99)),
        tally.records.to_string(),
        tally.lost.to_string(),
        tally.corrupt.to_string(),
    ]
}

fn json_line(source: &Source, device: &Device, event: &Event<'_>) -> Result<String, Error> {
    let mut line = Line {
        source: source.to_string(),
        sequence: None,
        record: None,
        text: None,
        corrupt: None,
        lost: device.tally().lost,
    };
    match event {
        Event::Record {
            sequence, record, ..
        } => (line.sequence, line.record) = (Some(*sequence), Some(record)),
        Event::Text(text) => line.text = Some(text),
        Event::Corrupt(cause) => line.corrupt = Some(cause.to_string()),
    }
    let text = serde_json::to_string(&line);
    text.map(|text| text + "\n")
        .map_err(|cause| Error::io(Path::new("JSON"))(io::Error::other(cause)))
}

/// An event for people.
fn words(device: &Device, event: &Event<'_>) -> String {
    match event {
        Event::Text(text) => text.trim_end().to_owned(),
        Event::Corrupt(cause) => format!("CORRUPT {cause}"),
        Event::Record {
            lost: 0, record, ..
        } => record_words(device, record),
        Event::Record { lost, record, .. } => {
            format!("{lost} LOST, then {}", record_words(device, record))
        }
    }
}

fn record_words(device: &Device, record: &Record<'_>) -> String {
    let last_layer = device.bench().and_then(|bench| bench.layers.last());
    match record {
        Record::Hello(hello) => format!(
            "{} on {} ({}), {} kernels, {} arena, {} package",
            hello.model,
            hello.board,
            hello.core,
            hello.kernels,
            output::human_bytes(hello.arena_bytes),
            output::human_bytes(hello.package_bytes)
        ),
        Record::Run(run) => match device.bench() {
            Some(bench) => format!("{} runs, p50 {}", bench.runs, ms(bench.latency_us.p50)),
            None => format!("{} runs", run.latency.count),
        },
        Record::Buckets { buckets } => format!("histogram, {} buckets", buckets.len()),
        Record::Layer(layer) => format!(
            "layer {} {} {} {}",
            layer.index,
            layer.name,
            layer.kernel,
            last_layer.map_or(String::new(), |layer| ms(layer.us))
        ),
        Record::Output { .. } => format!("output {}", device.output_sha256()),
        Record::Counters(counters) => {
            let degrees = |m: i32| format!(", {:.1} °C", f64::from(m) / 1e3);
            format!(
                "{} inferences, {} dropped{}",
                counters.inferences,
                counters.dropped,
                counters.millidegrees.map_or(String::new(), degrees)
            )
        }
        Record::Fault { text } => format!("FAULT {text}"),
        Record::End => "end".to_owned(),
    }
}
