//! `edgeprune monitor`: streams of frames in pipes, files and on serial lines, with and without damage.

use edgeprune_format::telemetry::*;
use std::error::Error;
use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

type TestResult = Result<(), Box<dyn Error>>;

fn monitor() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edgeprune-tests"));
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
            macs: 1000,
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
fn a_file_becomes_a_record_that_report_shows() -> TestResult {
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
    assert_eq!(record["layers"][1]["us"], 1000.0);
    assert_eq!(record["output_sha256"], "07".repeat(32));
    assert_eq!(record["package_hash"], "5a".repeat(32));
    let shown = Command::new(env!("CARGO_BIN_EXE_edgeprune-tests"))
        .arg("report")
        .arg(&report)
        .output()?;
    assert!(String::from_utf8_lossy(&shown.stdout).contains("rpi3-bare"));
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

#[test]
fn a_port_that_is_not_there_is_named() -> TestResult {
    let seen = monitor().args(["--serial", "/dev/no-such-port"]).output()?;
    let message = String::from_utf8_lossy(&seen.stderr);
    assert_eq!(seen.status.code(), Some(1), "{message}");
    assert!(message.contains("/dev/no-such-port"), "{message}");
    assert_eq!(monitor().output()?.status.code(), Some(2));
    Ok(())
}

#[cfg(unix)]
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
