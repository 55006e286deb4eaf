//! `edgeprune monitor`.

use super::bench::{ms, text};
use super::output;
use super::write::check_outputs;
use crate::Error;
use crate::monitor::{Device, Heard, News, Source, watch};
use crate::report::record::{Bench, Latency};
use edgeprune_device::Broker;
use edgeprune_format::telemetry::{Counters, Event, Record};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Show what devices report of themselves, live, from serial ports, sockets, a broker, a pipe or files.
///
/// Reads telemetry frames until each device has said that nothing follows, the input ends, or Ctrl-C. Lost and
/// corrupt frames are counted. Exit code 1 if a device reports a fault, or its broker that it is gone.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("source").required(true).multiple(true)))]
pub(super) struct Args {
    /// Files or named pipes with frames.
    #[arg(value_name = "FILE", group = "source")]
    files: Vec<PathBuf>,
    /// A serial port; may be repeated, one board each (cargo feature `serial`).
    #[arg(long, value_name = "PORT", group = "source")]
    serial: Vec<String>,
    /// Bits a second of serial ports.
    #[arg(long, value_name = "N", default_value_t = 115_200, value_parser = clap::value_parser!(u32).range(1..))]
    baud: u32,
    /// Read standard input.
    #[arg(long, group = "source")]
    stdin: bool,
    /// A Unix socket of `edgeprune-device serve --telemetry unix:PATH`; may be repeated.
    #[arg(long, value_name = "PATH", group = "source")]
    unix: Vec<PathBuf>,
    /// Topics at an MQTT broker, mqtt://HOST[:PORT]/TOPIC, where `TOPIC/#` is every device below; may be repeated.
    #[arg(long, value_name = "URL", group = "source")]
    mqtt: Vec<Broker>,
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
        let files = [&self.files[..], &self.unix].concat();
        check_outputs(self.output.as_deref(), &files)?;
        let sources = self.sources();
        let mut screen = Screen::new(&sources, &self);
        let devices = watch(&sources, &mut |number, heard, news| {
            screen.show(number, heard, news)
        })?;
        screen.close(&devices)?;
        if let Some(path) = &self.output {
            write_report(path, &devices)?;
        }
        fault(&devices)
    }

    fn sources(&self) -> Vec<Source> {
        let serial = self.serial.iter().map(|port| Source::Serial {
            port: port.clone(),
            baud: self.baud,
        });
        let files = self.files.iter().cloned().map(Source::File);
        let stdin = self.stdin.then_some(Source::Stdin);
        let unix = self.unix.iter().cloned().map(Source::Unix);
        let mqtt = self.mqtt.iter().cloned().map(Source::Mqtt);
        let streams = serial.chain(stdin).chain(files);
        streams.chain(unix).chain(mqtt).collect()
    }
}

/// One object for a single measurement, else a list.
fn write_report(path: &Path, devices: &[Heard]) -> Result<(), Error> {
    for Heard { origin, device, .. } in devices {
        let lost = device.tally().lost;
        if device.bench().is_none() {
            output::note(format!("{origin}: no whole measurement came"));
        } else if lost > 0 {
            output::note(format!(
                "{origin}: {lost} records were lost: the measurement may lack layers"
            ));
        }
    }
    let benches: Vec<&Bench> = devices.iter().filter_map(|d| d.device.bench()).collect();
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

fn fault(devices: &[Heard]) -> Result<(), Error> {
    let faults = devices.iter().filter_map(|heard| {
        let fault = heard.device.fault()?;
        Some(format!("{}: {fault}", heard.origin))
    });
    match faults.collect::<Vec<_>>() {
        faults if faults.is_empty() => Ok(()),
        faults => Err(Error::Toolchain(faults.join("\n"))),
    }
}

/// Where events are shown: as JSON, as a table that changes on a terminal, as lines elsewhere.
struct Screen {
    verbose: bool,
    json: bool,
    table: Option<ProgressBar>,
    rows: Vec<Vec<String>>,
}

/// How often the table is drawn.
const REDRAW: Duration = Duration::from_millis(100);
const HEADER: [&str; 13] = [
    "source", "board", "model", "state", "runs", "runs/s", "p50", "p99", "dropped", "missed", "°C",
    "lost", "corrupt",
];

#[derive(Serialize)]
struct Line<'a> {
    source: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<&'a Record<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    corrupt: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    silent: bool,
    /// Records lost so far.
    lost: u64,
}

impl Screen {
    fn new(sources: &[Source], args: &Args) -> Self {
        let is_live = !args.json && io::stdout().is_terminal() && io::stderr().is_terminal();
        let style = ProgressStyle::with_template("{msg}");
        let table = |style| ProgressBar::new_spinner().with_style(style);
        let screen = Self {
            verbose: args.verbose,
            json: args.json,
            table: style.ok().filter(|_| is_live).map(table),
            rows: sources.iter().filter_map(silent).collect(),
        };
        if let Some(table) = &screen.table {
            table.set_message(output::table(&HEADER, &screen.rows));
            table.enable_steady_tick(REDRAW);
        }
        screen
    }

    fn show(&mut self, number: usize, heard: &Heard, news: &News<'_>) -> Result<(), Error> {
        let origin = &heard.origin;
        if matches!(news, News::Event(Event::Text(_))) && !self.verbose {
            return Ok(());
        }
        if self.json {
            return output::print(&json_line(heard, news)?);
        }
        let Some(table) = &self.table else {
            return output::print(&format!("{origin}: {}\n", words(&heard.device, news)));
        };
        if let News::Event(Event::Text(text)) = news {
            table.println(output::printable(&format!("{origin}: {}", text.trim_end())));
        }
        match self.rows.get_mut(number) {
            Some(place) => *place = row(heard),
            None => self.rows.push(row(heard)),
        }
        table.set_message(output::table(&HEADER, &self.rows));
        Ok(())
    }

    fn close(self, devices: &[Heard]) -> Result<(), Error> {
        if let Some(table) = &self.table {
            table.finish_and_clear();
        }
        if self.json {
            return Ok(());
        }
        let rows: Vec<Vec<String>> = devices.iter().map(row).collect();
        output::print(&format!("\n{}", output::table(&HEADER, &rows)))?;
        for bench in devices.iter().filter_map(|d| d.device.bench()) {
            output::print(&format!("\n{}", text(bench)))?;
        }
        Ok(())
    }
}

/// The row of a device that has not spoken; a broker's are not known.
fn silent(source: &Source) -> Option<Vec<String>> {
    let heard = Heard {
        origin: source.to_string(),
        ..Heard::default()
    };
    (!source.is_broker()).then(|| row(&heard))
}

fn row(heard: &Heard) -> Vec<String> {
    let device = &heard.device;
    let [board, model] = device.name().map(str::to_owned);
    let counters = device.counters();
    let runs = counters.map(|counters| counters.inferences);
    let runs = runs.or(device.bench().map(|bench| bench.runs));
    let number = |number: Option<u64>| shown(number, |number| number.to_string());
    let latency = latency(device);
    let tally = device.tally();
    vec![
        heard.origin.clone(),
        board,
        model,
        state(heard).to_owned(),
        number(runs),
        shown(device.rate(), |rate| format!("{rate:.1}")),
        shown(latency.map(|latency| latency.p50), ms),
        shown(latency.map(|latency| latency.p99), ms),
        number(counters.map(|counters| counters.dropped)),
        number(counters.map(|counters| counters.missed)),
        shown(counters.and_then(degrees), |degrees| {
            format!("{degrees:.1}")
        }),
        tally.lost.to_string(),
        tally.corrupt.to_string(),
    ]
}

/// A dash for what is not known.
fn shown<T>(value: Option<T>, text: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), text)
}

fn state(heard: &Heard) -> &'static str {
    let device = &heard.device;
    let [board, _] = device.name();
    match device.fault() {
        Some(_) => "fault",
        None if device.has_ended() => "done",
        None if heard.is_silent => "silent",
        None if board.is_empty() => "waiting",
        None => "running",
    }
}

/// Of the last period in which a product at work ran, or of a benchmark.
fn latency(device: &Device) -> Option<Latency> {
    let of_work = device
        .counters()
        .map(|counters| match counters.period.count {
            0 => device.latency(&counters.total),
            _ => device.latency(&counters.period),
        });
    device.bench().map(|bench| bench.latency_us).or(of_work)
}

fn degrees(counters: &Counters) -> Option<f64> {
    counters.millidegrees.map(|m| f64::from(m) / 1e3)
}

fn json_line(heard: &Heard, news: &News<'_>) -> Result<String, Error> {
    let mut line = Line {
        source: &heard.origin,
        sequence: None,
        record: None,
        text: None,
        corrupt: None,
        silent: heard.is_silent,
        lost: heard.device.tally().lost,
    };
    match news {
        News::Event(Event::Record {
            sequence, record, ..
        }) => (line.sequence, line.record) = (Some(*sequence), Some(record)),
        News::Event(Event::Text(text)) => line.text = Some(text),
        News::Event(Event::Corrupt(cause)) => line.corrupt = Some(cause.to_string()),
        News::Silence => {}
    }
    let text = serde_json::to_string(&line);
    text.map(|text| text + "\n")
        .map_err(|cause| Error::io(Path::new("JSON"))(io::Error::other(cause)))
}

/// News for people.
fn words(device: &Device, news: &News<'_>) -> String {
    match news {
        News::Event(Event::Text(text)) => text.trim_end().to_owned(),
        News::Event(Event::Corrupt(cause)) => format!("CORRUPT {cause}"),
        News::Event(Event::Record {
            lost: 0, record, ..
        }) => record_words(device, record),
        News::Event(Event::Record { lost, record, .. }) => {
            format!("{lost} LOST, then {}", record_words(device, record))
        }
        News::Silence => "SILENT".to_owned(),
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
            let degrees = degrees(counters).map(|degrees| format!(", {degrees:.1} °C"));
            format!(
                "{} inferences ({} a second, p99 {}), {} dropped, {} refused, {} unanswered, {} missed{}",
                counters.inferences,
                shown(device.rate(), |rate| format!("{rate:.1}")),
                shown(latency(device).map(|latency| latency.p99), ms),
                counters.dropped,
                counters.refused,
                counters.unanswered,
                counters.missed,
                degrees.unwrap_or_default()
            )
        }
        Record::Fault { text } => format!("FAULT {text}"),
        Record::End => "end".to_owned(),
    }
}
