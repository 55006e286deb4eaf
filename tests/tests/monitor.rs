//! `edgeprune monitor`: streams of frames in pipes, files and on serial lines, with and without damage.

use crate::broker::Broker;
use crate::command;
use edgeprune_format::telemetry::*;
use rumqttc::{Client, Connection, Event as Message, Incoming, MqttOptions, QoS};
use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

type TestResult = Result<(), Box<dyn Error>>;

fn monitor() -> Command {
    let mut command = command::command();
    command
        .arg("monitor")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// What a board sends that runs a network of two layers at a million ticks a second.
fn records(board: &str) -> Vec<Record<'_>> {
    let latency = |ticks| Latency {
        count: 10,
        min: ticks,
        max: ticks,
        sum: 10 * ticks,
        p50: ticks,
        p90: ticks,
        p99: ticks,
    };
    let layer = |index, name, ticks| {
        Record::Layer(Layer {
            index,
            name,
            op: "conv_2d",
            kernel: "portable",
            class: "conv_2d 3x3",
            macs: 1000,
            bytes: 500,
            latency: latency(ticks),
        })
    };
    let hello = Hello {
        model: "net",
        package_hash: [0x5a; 32],
        tool: "test 1.0",
        board,
        core: "cortex-a53",
        kernels: "neon",
        ticks_per_second: 1_000_000,
        arena_bytes: 4096,
        package_bytes: 2048,
        nodes: 2,
        threads: 1,
    };
    let run = Run {
        warm_up: 2,
        cold: 9000,
        latency: latency(3000),
    };
    vec![
        Record::Hello(hello),
        Record::Run(run),
        layer(0, "first", 2000),
        layer(1, "second", 1000),
        Record::Output { sha256: [7; 32] },
    ]
}

fn frames(records: &[Record<'_>]) -> Result<Vec<Vec<u8>>, FrameError> {
    let mut buffer = [0; MAX_FRAME];
    let mut bytes = |(sequence, record)| Ok(frame(sequence, record, &mut buffer)?.to_vec());
    (0..).zip(records).map(&mut bytes).collect()
}

fn whole(board: &str) -> Result<Vec<u8>, FrameError> {
    let mut records = records(board);
    records.push(Record::End);
    Ok(frames(&records)?.concat())
}

fn from_stdin(arguments: &[&str], bytes: &[u8]) -> Result<Output, Box<dyn Error>> {
    let mut child = monitor()
        .args(arguments)
        .arg("--stdin")
        .stdin(Stdio::piped())
        .spawn()?;
    let stdin = child.stdin.take().ok_or("no pipe")?;
    { stdin }.write_all(bytes)?;
    Ok(child.wait_with_output()?)
}

#[test]
fn a_file_becomes_a_record_that_report_shows_and_learn_learns_from() -> TestResult {
    let folder = TempDir::new()?;
    let (stream, report) = (folder.path().join("a.bin"), folder.path().join("a.json"));
    fs::write(&stream, whole("rpi3-bare")?)?;
    let seen = monitor().arg(&stream).arg("-o").arg(&report).output()?;
    assert!(seen.status.success(), "{seen:?}");
    let record: serde_json::Value = serde_json::from_slice(&fs::read(&report)?)?;
    assert_eq!(record["latency_us"]["p50"], 3000.0);
    assert_eq!(
        (&record["runs"], &record["warm_up"]),
        (&10.into(), &2.into())
    );
    let layer = &record["layers"][1];
    assert_eq!(
        (&layer["us"], &layer["bytes"]),
        (&1000.0.into(), &500.into())
    );
    assert_eq!(layer["class"], "conv_2d 3x3");
    assert_eq!(record["output_sha256"], "07".repeat(32));
    assert_eq!(record["package_hash"], "5a".repeat(32));
    let shown = command::command().arg("report").arg(&report).output()?;
    assert!(String::from_utf8_lossy(&shown.stdout).contains("rpi3-bare"));
    let taught = command::command()
        .arg("learn")
        .arg(&report)
        .env("EDGEPRUNE_BOARDS", folder.path())
        .output()?;
    assert!(taught.status.success(), "{taught:?}");
    assert!(folder.path().join("rpi3-bare.json").exists());
    Ok(())
}

#[test]
fn damage_and_text_are_counted_and_shown_but_stop_nothing() -> TestResult {
    let mut all = records("rpi3-bare");
    all.push(Record::End);
    let mut parts = frames(&all)?;
    parts.remove(3); // the second layer
    parts[1][8] ^= 0x10; // the runs
    parts.insert(1, b"boot loader 1.0\r\n".to_vec());
    let bytes = parts.concat();
    let seen = from_stdin(&["--json", "--verbose"], &bytes)?;
    assert!(seen.status.success(), "{seen:?}");
    let lines = String::from_utf8(seen.stdout)?;
    let lines: Vec<serde_json::Value> = lines
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    assert_eq!(lines[0]["record"]["hello"]["board"], "rpi3-bare");
    assert_eq!(lines[1]["text"], "boot loader 1.0\r\n");
    assert!(lines[2]["corrupt"].is_string());
    assert_eq!(lines.last().map(|last| &last["lost"]), Some(&2.into()));
    let seen = from_stdin(&[], &bytes)?;
    let text = String::from_utf8(seen.stdout)?;
    assert!(!text.contains("boot loader"), "{text}");
    assert!(
        text.contains("1 LOST") && text.contains("CORRUPT"),
        "{text}"
    );
    Ok(())
}

#[test]
fn a_fault_is_a_failure_and_a_stream_without_a_measurement_writes_nothing() -> TestResult {
    let folder = TempDir::new()?;
    let report = folder.path().join("a.json");
    let text = "the SHA-256 does not match";
    let bytes = frames(&[Record::Fault { text }, Record::End])?.concat();
    let seen = from_stdin(&[], &bytes)?;
    assert_eq!(seen.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&seen.stderr).contains(text));
    let seen = from_stdin(&["-o", &report.to_string_lossy()], &bytes)?;
    assert_eq!((seen.status.code(), report.exists()), (Some(1), false));
    Ok(())
}

#[cfg(feature = "serial")]
#[test]
fn a_port_that_is_not_there_is_named() -> TestResult {
    let seen = monitor().args(["--serial", "/dev/no-such-port"]).output()?;
    let message = String::from_utf8_lossy(&seen.stderr);
    assert_eq!(seen.status.code(), Some(1), "{message}");
    assert!(message.contains("/dev/no-such-port"), "{message}");
    Ok(())
}

#[test]
fn something_to_listen_to_must_be_named() -> TestResult {
    assert_eq!(monitor().output()?.status.code(), Some(2));
    Ok(())
}

#[cfg(not(feature = "serial"))]
#[test]
fn without_serial_ports_it_is_said_how_to_get_them() -> TestResult {
    let seen = monitor().args(["--serial", "/dev/ttyS0"]).output()?;
    let message = String::from_utf8_lossy(&seen.stderr);
    assert_eq!(seen.status.code(), Some(2), "{message}");
    assert!(message.contains("--features serial"), "{message}");
    Ok(())
}

#[cfg(all(unix, feature = "serial"))]
#[test]
fn many_serial_lines_have_a_row_each() -> TestResult {
    use serialport::{SerialPort, TTYPort};
    let folder = TempDir::new()?;
    let report = folder.path().join("all.json");
    let (mut one, one_end) = TTYPort::pair()?;
    let (mut two, two_end) = TTYPort::pair()?;
    let names = [&one_end, &two_end].map(|port| port.name().unwrap_or_default());
    // bytes wait in the line, which both ends keep open, until the monitor reads them
    one.write_all(&whole("rpi3-bare")?)?;
    two.write_all(&whole("rpi4-bare")?)?;
    let seen = monitor()
        .args(["--serial", &names[0], "--serial", &names[1], "-o"])
        .arg(&report)
        .output()?;
    assert!(seen.status.success(), "{seen:?}");
    let text = String::from_utf8(seen.stdout)?;
    for (name, board) in names.iter().zip(["rpi3-bare", "rpi4-bare"]) {
        let row = |line: &&str| line.starts_with(name.as_str()) && line.contains("done");
        let row = text.lines().find(row).ok_or("no row")?;
        assert!(row.contains(board) && row.contains("3.000 ms"), "{row}");
    }
    let records: serde_json::Value = serde_json::from_slice(&fs::read(&report)?)?;
    assert_eq!(records.as_array().map(Vec::len), Some(2));
    Ok(())
}

/// What a product at work reports in its second number `uptime`.
fn counters(uptime: u64) -> Record<'static> {
    let latency = Latency {
        count: 25,
        p50: 4_000,
        p99: 9_000,
        ..Latency::default()
    };
    Record::Counters(Counters {
        uptime: uptime * 1_000_000,
        inferences: 25 * uptime,
        dropped: 3,
        missed: 2,
        period_ticks: 1_000_000,
        period: latency,
        total: latency,
        millidegrees: Some(51_500),
        ..Counters::default()
    })
}

fn numbered(number: u32, record: &Record<'_>) -> Result<Vec<u8>, FrameError> {
    Ok(frame(number, record, &mut [0; MAX_FRAME])?.to_vec())
}

/// The row of the last table for what is heard at `origin`.
fn row(text: &str, origin: &str) -> Vec<String> {
    let line = text
        .lines()
        .rfind(|line| line.starts_with(origin) && !line.contains(": "));
    let words = line.unwrap_or_default().split("  ").map(str::trim);
    words
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_socket_is_joined_late_and_a_product_at_work_has_a_row() -> TestResult {
    let folder = TempDir::new()?;
    let path = folder.path().join("s");
    let listener = UnixListener::bind(&path)?;
    let child = monitor().arg("--unix").arg(&path).spawn()?;
    let (mut stream, _) = listener.accept()?;
    let hello = &records("line-3")[0];
    // numbers begin late, and one is missing
    for (number, record) in [(700, hello), (701, &counters(8)), (703, &counters(9))] {
        stream.write_all(&numbered(number, record)?)?;
    }
    drop(stream);
    let seen = child.wait_with_output()?;
    let text = String::from_utf8(seen.stdout)?;
    let origin = path.to_string_lossy();
    let expected = [
        &*origin, "line-3", "net", "running", "225", "25.0", "4.000 ms", "9.000 ms", "3", "2",
        "51.5", "1", "0",
    ];
    assert_eq!(row(&text, &origin), expected, "{text}");
    assert!(text.contains("1 LOST"), "{text}");
    Ok(())
}

#[test]
fn a_product_that_falls_silent_is_told_and_welcome_again() -> TestResult {
    let folder = TempDir::new()?;
    let path = folder.path().join("s");
    let listener = UnixListener::bind(&path)?;
    let mut child = monitor().arg("--unix").arg(&path).arg("--json").spawn()?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("no pipe")?);
    let (mut stream, _) = listener.accept()?;
    stream.write_all(&numbered(0, &records("line-3")[0])?)?;
    stream.write_all(&numbered(1, &counters(1))?)?;
    wait_for(&mut lines, &["\"silent\":true"])?;
    stream.write_all(&numbered(2, &counters(9))?)?;
    drop(stream);
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut lines, &mut rest)?;
    assert!(
        rest.contains("counters") && !rest.contains("silent"),
        "{rest}"
    );
    assert!(child.wait()?.success());
    Ok(())
}

#[test]
fn periods_add_up_to_one_histogram() -> TestResult {
    let folder = TempDir::new()?;
    let report = folder.path().join("a.json");
    let bucket = |from, count| Bucket { from, count };
    let buckets = |all: &[Bucket]| Record::Buckets {
        buckets: all.iter().copied().collect(),
    };
    let bytes = frames(&[
        records("a")[0].clone(),
        records("a")[1].clone(),
        counters(1),
        buckets(&[bucket(2_000, 3), bucket(4_000, 1)]),
        counters(2),
        buckets(&[bucket(3_000, 7), bucket(4_000, 2)]),
    ])?;
    from_stdin(&["-o", &report.to_string_lossy()], &bytes.concat())?;
    let record: serde_json::Value = serde_json::from_slice(&fs::read(&report)?)?;
    let histogram = record["histogram"].as_array().ok_or("no histogram")?;
    let pair = |bucket: &serde_json::Value| (bucket["from_us"].as_f64(), bucket["count"].as_u64());
    let pairs: Vec<_> = histogram.iter().map(pair).collect();
    let expected = [(2_000.0, 3), (3_000.0, 7), (4_000.0, 3)];
    assert_eq!(
        pairs,
        expected.map(|(from, count)| (Some(from), Some(count)))
    );
    Ok(())
}

/// A device at a broker.
struct Publisher {
    client: Client,
    connection: Connection,
    topic: &'static str,
}

impl Publisher {
    fn new(port: u16, topic: &'static str) -> Self {
        let (client, connection) = Client::new(MqttOptions::new(topic, "127.0.0.1", port), 16);
        Self {
            client,
            connection,
            topic,
        }
    }

    /// Waits until the broker has it.
    fn publish(&mut self, below: &str, retain: bool, bytes: Vec<u8>) -> TestResult {
        let topic = format!("{}{below}", self.topic);
        self.client
            .publish(topic, QoS::AtLeastOnce, retain, bytes)?;
        for event in self.connection.iter() {
            if let Message::Incoming(Incoming::PubAck(_)) = event? {
                return Ok(());
            }
        }
        Err("no connection".into())
    }
}

/// Reads lines of JSON until one has all `words`.
fn wait_for(lines: &mut impl BufRead, words: &[&str]) -> TestResult {
    let mut line = String::new();
    while lines.read_line(&mut line)? > 0 {
        if words.iter().all(|word| line.contains(word)) {
            return Ok(());
        }
        line.clear();
    }
    Err(format!("the output ended before {words:?}").into())
}

fn interrupt(child: &Child) -> TestResult {
    let pid = child.id().to_string();
    Command::new("kill").args(["-INT", &pid]).status()?;
    Ok(())
}

#[test]
#[ignore = "needs an MQTT broker: `cargo xtask test` installs it"]
fn a_broker_has_a_row_for_each_device_and_says_which_is_gone() -> TestResult {
    let broker = Broker::start()?;
    let [mut a, mut b] = ["plant/a", "plant/b"].map(|topic| Publisher::new(broker.port, topic));
    let hello = |board| numbered(0, &records(board)[0]);
    a.publish("/state", true, hello("line-a")?)?;
    b.publish("/state", true, hello("line-b")?)?;
    a.publish("", false, numbered(40, &counters(3))?)?; // before anybody listens
    for json in [true, false] {
        let address = format!("mqtt://127.0.0.1:{}/plant/#", broker.port);
        let mut command = monitor();
        command
            .args(["--mqtt", &address])
            .args(json.then_some("--json"));
        let mut child = command.spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no pipe")?);
        let words = |topic: &str, text: String| match json {
            true => [format!("\"{topic}\""), text],
            false => [topic.to_owned(), text],
        };
        let mut wait = |topic: &str, text: &str| {
            let words = words(topic, text.to_owned());
            wait_for(&mut lines, &words.each_ref().map(String::as_str))
        };
        wait("plant/a", "line-a")?;
        wait("plant/b", "line-b")?;
        for (number, uptime) in [(41, 4), (44, 5)] {
            a.publish("", false, numbered(number, &counters(uptime))?)?;
        }
        b.publish("", false, numbered(7, &counters(1))?)?;
        wait("plant/b", "25")?;
        let gone = numbered(1, &Record::Fault { text: "gone" })?;
        b.publish("/state", true, [hello("line-b")?, gone].concat())?;
        wait("plant/b", "gone")?;
        interrupt(&child)?;
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut lines, &mut rest)?;
        assert_eq!(child.wait()?.code(), Some(1)); // one is gone
        if !json {
            let of_a = row(&rest, "plant/a");
            assert_eq!(of_a[1..5], ["line-a", "net", "running", "125"], "{rest}");
            assert_eq!(of_a[11..], ["2", "0"], "{rest}");
            let of_b = row(&rest, "plant/b");
            assert_eq!(of_b[1..5], ["line-b", "net", "fault", "25"], "{rest}");
            assert_eq!(of_b[11..], ["0", "0"], "{rest}");
        }
    }
    Ok(())
}

#[test]
fn a_broker_that_is_not_there_is_named() -> TestResult {
    let seen = monitor()
        .args(["--mqtt", "mqtt://127.0.0.1:1/t"])
        .output()?;
    let message = String::from_utf8_lossy(&seen.stderr);
    assert_eq!(seen.status.code(), Some(1), "{message}");
    assert!(message.contains("mqtt://127.0.0.1:1/t"), "{message}");
    assert_eq!(
        monitor().args(["--mqtt", "host"]).output()?.status.code(),
        Some(2)
    );
    Ok(())
}
