//! `edgeprune-device serve`: answers, overload, broken clients, signals and telemetry of the real binary.

#[cfg(feature = "mqtt")]
#[path = "../../../tests/tests/broker/mod.rs"]
mod broker;
#[path = "../../../device-runtime/tests/network/mod.rs"]
mod network;

use edgeprune_device::top_class;
use edgeprune_format::manifest::{Op, Window};
use edgeprune_format::telemetry::{Counters, Decoder, Event, Record};
use edgeprune_runtime::{Arena, Package, Session};
use network::{Network, Random, bytes_of};
use std::error::Error;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::{scope, sleep};
use std::time::Duration;
use tempfile::TempDir;

type TestResult = Result<(), Box<dyn Error>>;

/// Bytes of a sample of [`pooling`] with this side.
const fn sample_bytes(side: u32) -> usize {
    (side * side * 8) as usize
}

/// A package of one pooling layer.
fn pooling(side: u32) -> Vec<u8> {
    let mut net = Network::default();
    let window = Window {
        kernel: [4, 4],
        stride: [1, 1],
        dilation: [1, 1],
        pad: [0, 0],
    };
    let [input, output] = [side, side - 3].map(|side| net.codes([1, side, side, 8], 0.02, -5));
    net.single(Op::MaxPool2d { window }, &[input], output)
}

/// A folder with a package.
struct Place {
    folder: TempDir,
    package: Vec<u8>,
}

impl Place {
    fn new(side: u32) -> Result<Self, Box<dyn Error>> {
        let (folder, package) = (TempDir::new()?, pooling(side));
        fs::write(folder.path().join("model.epk"), &package)?;
        Ok(Self { folder, package })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn serve(&self, options: &[&str]) -> std::io::Result<Child> {
        Command::new(env!("CARGO_BIN_EXE_edgeprune-device"))
            .current_dir(self.folder.path())
            .args(["serve", "model.epk"])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    }

    /// Serves `input` on standard input until its end.
    fn filter(&self, options: &[&str], input: &[u8]) -> Result<Output, Box<dyn Error>> {
        let mut child = self.serve(options)?;
        let mut stdin = child.stdin.take().ok_or("no pipe")?;
        scope(|scope| {
            scope.spawn(move || stdin.write_all(input));
            Ok(child.wait_with_output()?)
        })
    }

    /// What the library computes: bytes and real values.
    fn expected(&self, sample: &[u8]) -> Result<(Vec<u8>, Vec<f32>), Box<dyn Error>> {
        let package = Package::open(&self.package)?;
        let mut arena = Arena::new(package.arena_bytes());
        let mut session = Session::<1>::with_capacity(&package, arena.bytes_mut())?;
        session.input(0)?.copy_from_slice(sample);
        session.run(&mut ())?;
        let mut scores = vec![0.0; session.output_info(0)?.elements()];
        session.output_f32(0, &mut scores)?;
        Ok((session.output(0)?.to_vec(), scores))
    }
}

fn samples(number: usize, side: u32) -> Vec<Vec<u8>> {
    let mut random = Random::new(3);
    let mut sample = || bytes_of(&random.codes(sample_bytes(side)));
    (0..number).map(|_| sample()).collect()
}

fn record(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_le_bytes(), bytes].concat()
}

fn records(samples: &[Vec<u8>]) -> Vec<u8> {
    let records: Vec<_> = samples.iter().map(|sample| record(sample)).collect();
    records.concat()
}

#[derive(Debug, PartialEq, Eq)]
struct Answer {
    number: u64,
    status: u32,
    class: u32,
    outputs: Vec<u8>,
}

/// The next answer; nothing at the end.
fn answer(stream: &mut impl Read) -> Option<Answer> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
    stream.read_exact(&mut bytes).ok()?;
    let word = |at: usize| bytes[at..].first_chunk().copied().map(u32::from_le_bytes);
    Some(Answer {
        number: bytes.first_chunk().copied().map(u64::from_le_bytes)?,
        status: word(8)?,
        class: word(12)?,
        outputs: bytes[16..].to_vec(),
    })
}

fn answers(mut stream: impl Read) -> Vec<Answer> {
    std::iter::from_fn(|| answer(&mut stream)).collect()
}

/// Connects as soon as someone listens.
fn connect(path: &Path) -> Result<UnixStream, Box<dyn Error>> {
    for _ in 0..500 {
        if let Ok(stream) = UnixStream::connect(path) {
            stream.set_read_timeout(Some(Duration::from_secs(20)))?;
            return Ok(stream);
        }
        sleep(Duration::from_millis(10));
    }
    Err("nobody listens".into())
}

/// Sends a signal and waits; returns what was said.
fn stop(child: Child, signal: &str) -> Result<String, Box<dyn Error>> {
    let pid = child.id().to_string();
    Command::new("kill").args([signal, &pid]).status()?;
    let output = child.wait_with_output()?;
    assert!(output.status.success(), "{output:?}");
    Ok(String::from_utf8(output.stderr)?)
}

/// Names of the records in a stream, and the last counters.
fn telemetry(bytes: &[u8]) -> (Vec<String>, Option<Counters>) {
    let (mut decoder, mut names, mut last) = (Decoder::new(), Vec::new(), None);
    for &byte in bytes {
        if let Some(Event::Record { lost, record, .. }) = decoder.push(byte) {
            assert_eq!(lost, 0);
            let name = format!("{record:?}");
            names.extend(name.split([' ', '(']).next().map(str::to_owned));
            if let Record::Counters(counters) = record {
                last = Some(counters);
            }
        }
    }
    assert_eq!(decoder.tally().corrupt, 0);
    (names, last)
}

#[test]
fn samples_on_standard_input_are_answered_as_the_library_does() -> TestResult {
    let place = Place::new(8)?;
    let samples = samples(20, 8);
    let output = place.filter(&["--queue", "20", "--threads", "1"], &records(&samples))?;
    assert!(output.status.success(), "{output:?}");
    let answers = answers(output.stdout.as_slice());
    assert_eq!(answers.len(), 20);
    for ((answer, sample), number) in answers.iter().zip(&samples).zip(0..) {
        let (outputs, scores) = place.expected(sample)?;
        let class = top_class(&scores).ok_or("no class")? as u32;
        let expected = Answer {
            number,
            status: 0,
            class,
            outputs,
        };
        assert_eq!(*answer, expected);
    }
    Ok(())
}

#[test]
fn real_values_are_taken_and_given() -> TestResult {
    let place = Place::new(8)?;
    let sample = &samples(1, 8)[0];
    let real = |&code: &u8| 0.02 * (f32::from(code as i8) + 5.0);
    let floats: Vec<u8> = sample
        .iter()
        .flat_map(|code| real(code).to_le_bytes())
        .collect();
    let output = place.filter(&["--real"], &record(&floats))?;
    let scores = place.expected(sample)?.1;
    let expected: Vec<u8> = scores
        .iter()
        .flat_map(|score| score.to_le_bytes())
        .collect();
    let answers = answers(output.stdout.as_slice());
    assert_eq!((answers.len(), &answers[0].outputs), (1, &expected));
    Ok(())
}

#[test]
fn real_values_that_are_not_finite_are_refused() -> TestResult {
    let place = Place::new(8)?;
    let mut floats = vec![0u8; 4 * sample_bytes(8)];
    let good = record(&floats);
    floats[4..8].copy_from_slice(&f32::NAN.to_le_bytes());
    let output = place.filter(&["--real"], &[record(&floats), good].concat())?;
    let mut answers = answers(output.stdout.as_slice());
    answers.sort_by_key(|answer| answer.number);
    let statuses: Vec<u32> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [2, 0]);
    Ok(())
}

#[test]
fn a_package_that_is_written_over_does_not_change_answers() -> TestResult {
    let place = Place::new(32)?;
    let socket = place.path("socket");
    let child = place.serve(&["--socket", "socket"])?;
    let mut stream = connect(&socket)?;
    let sample = &samples(1, 32)[0];
    let expected = place.expected(sample)?.0;
    for content in [Vec::new(), vec![0x55; place.package.len()], pooling(16)] {
        fs::write(place.path("model.epk"), content)?; // in the same file, as `cp` does
        stream.write_all(&record(sample))?;
        let answer = answer(&mut stream).ok_or("no answer")?;
        assert_eq!((answer.status, &answer.outputs), (0, &expected));
    }
    drop(stream);
    stop(child, "-TERM")?;
    Ok(())
}

#[test]
fn an_arena_that_the_system_does_not_have_is_exit_code_1() -> TestResult {
    let place = Place::new(2048)?;
    let device = env!("CARGO_BIN_EXE_edgeprune-device");
    let limited = format!("ulimit -v 49152; exec {device} bench model.epk --runs 1");
    let output = Command::new("sh")
        .args(["-c", &limited])
        .current_dir(place.folder.path())
        .output()?;
    let said = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("there is no memory for the arena"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    Ok(())
}

#[test]
fn clients_of_a_socket_get_their_own_answers_at_once_and_after_another() -> TestResult {
    let place = Place::new(8)?;
    let child = place.serve(&["--socket", "s", "--queue", "64"])?;
    let socket = place.path("s");
    let all = samples(24, 8);
    for _ in 0..2 {
        scope(|scope| -> TestResult {
            let clients: Vec<_> = all
                .chunks(8)
                .map(|samples| {
                    let socket = &socket;
                    scope.spawn(move || -> Option<Vec<Answer>> {
                        let mut stream = connect(socket).ok()?;
                        stream.write_all(&records(samples)).ok()?;
                        stream.shutdown(std::net::Shutdown::Write).ok()?;
                        Some(answers(stream))
                    })
                })
                .collect();
            for (client, samples) in clients.into_iter().zip(all.chunks(8)) {
                let answers = client.join().ok().flatten().ok_or("a client failed")?;
                assert_eq!(answers.len(), 8);
                for ((answer, sample), number) in answers.iter().zip(samples).zip(0..) {
                    assert_eq!((answer.number, answer.status), (number, 0));
                    assert_eq!(answer.outputs, place.expected(sample)?.0);
                }
            }
            Ok(())
        })?;
    }
    let said = stop(child, "-TERM")?;
    assert!(
        said.starts_with("48 inferences, 0 dropped, 0 refused, 0 unanswered"),
        "{said}"
    );
    assert!(!socket.exists());
    Ok(())
}

#[test]
fn what_is_too_much_is_dropped_answered_and_counted() -> TestResult {
    let place = Place::new(128)?;
    let sample = &samples(1, 128)[0];
    let input = record(sample).repeat(100);
    let options = [
        "--queue",
        "1",
        "--deadline",
        "0",
        "--telemetry",
        "t",
        "--every",
        "0.02",
    ];
    let output = place.filter(&options, &input)?;
    let answers = answers(output.stdout.as_slice());
    let with = |status| {
        answers
            .iter()
            .filter(|answer| answer.status == status)
            .count()
    };
    let (computed, dropped) = (with(0), with(1));
    assert!(computed >= 2 && dropped > 0, "{computed} {dropped}");
    assert_eq!(computed + dropped, 100);
    let mut numbers: Vec<u64> = answers.iter().map(|answer| answer.number).collect();
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(0..100));
    let (names, last) = telemetry(&fs::read(place.path("t"))?);
    assert_eq!(names.first().map(String::as_str), Some("Hello"));
    assert_eq!(names.last().map(String::as_str), Some("End"));
    let last = last.ok_or("no counters")?;
    let counted = [last.inferences, last.total.count, last.missed, last.dropped];
    let [computed, dropped] = [computed, dropped].map(|count| count as u64);
    assert_eq!(counted, [computed, computed, computed, dropped]);
    assert!(last.total.p50 > 0 && last.uptime >= last.period_ticks && last.arena_bytes > 0);
    Ok(())
}

#[test]
fn a_record_of_another_length_is_refused_and_the_next_is_run() -> TestResult {
    let place = Place::new(8)?;
    let sample = &samples(1, 8)[0];
    let cut = &record(sample)[..20];
    let input = [record(b"short"), record(&[]), record(sample), cut.to_vec()].concat();
    let output = place.filter(&[], &input)?;
    assert!(output.status.success(), "{output:?}");
    let mut answers = answers(output.stdout.as_slice());
    answers.sort_by_key(|answer| answer.number);
    let statuses: Vec<u32> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [2, 2, 0, 2]);
    assert_eq!(answers[0].class, u32::MAX);
    assert_eq!(answers[2].outputs, place.expected(sample)?.0);
    let said = String::from_utf8(output.stderr)?;
    assert!(
        said.starts_with("1 inferences, 0 dropped, 3 refused"),
        "{said}"
    );
    Ok(())
}

#[test]
fn broken_clients_harm_nobody() -> TestResult {
    let place = Place::new(8)?;
    let child = place.serve(&["--socket", "s"])?;
    let socket = place.path("s");
    let sample = &samples(1, 8)[0];
    let mut garbage = connect(&socket)?;
    garbage.write_all(&[0xff; 4096])?;
    let refused = answer(&mut garbage).ok_or("no answer")?;
    assert_eq!((refused.number, refused.status), (0, 2));
    let mut cut = connect(&socket)?;
    cut.write_all(&record(sample)[..100])?;
    drop(cut);
    let mut deaf = connect(&socket)?;
    deaf.set_write_timeout(Some(Duration::from_millis(200)))?;
    let _ = deaf.write_all(&record(sample).repeat(4000)); // never reads an answer
    let mut gone = connect(&socket)?;
    gone.write_all(&record(sample))?;
    drop(gone);
    let mut good = connect(&socket)?;
    let (mut number, mut computed) = (0, 0);
    while computed < 3 {
        good.write_all(&record(sample))?;
        let answer = answer(&mut good).ok_or("no answer")?;
        assert_eq!(answer.number, number);
        match answer.status {
            0 => assert_eq!(answer.outputs, place.expected(sample)?.0),
            status => assert_eq!(status, 1), // as long as the deaf one's samples take all room
        }
        (number, computed) = (number + 1, computed + u32::from(answer.status == 0));
    }
    let said = stop(child, "-INT")?;
    let refused = said.split(", ").nth(2);
    assert_eq!(refused, Some("2 refused"), "{said}");
    assert!(!said.contains(" 0 unanswered"), "{said}");
    Ok(())
}

#[test]
fn a_signal_ends_what_waits_for_input_and_removes_sockets() -> TestResult {
    let place = Place::new(8)?;
    let child = place.serve(&["--telemetry", "unix:t", "--every", "0.02", "--name", "here"])?;
    let mut reader = connect(&place.path("t"))?;
    let mut bytes = vec![0; 2000];
    reader.read_exact(&mut bytes)?;
    let said = stop(child, "-TERM")?;
    assert!(said.starts_with("0 inferences"), "{said}");
    reader.read_to_end(&mut bytes)?;
    let mut decoder = Decoder::joining();
    let mut names = Vec::new();
    for byte in bytes {
        if let Some(Event::Record { record, .. }) = decoder.push(byte) {
            names.push(format!("{record:?}"));
        }
    }
    assert!(
        names[0].contains("Hello") && names[0].contains("\"here\""),
        "{}",
        names[0]
    );
    assert_eq!(names.last().map(String::as_str), Some("End"));
    assert_eq!((decoder.tally().lost, decoder.tally().corrupt), (0, 0));
    assert!(!place.path("t").exists());
    Ok(())
}

#[test]
fn a_socket_in_use_and_a_file_in_the_way_are_named() -> TestResult {
    let place = Place::new(8)?;
    let child = place.serve(&["--socket", "s"])?;
    connect(&place.path("s"))?;
    for option in ["--socket", "--telemetry"] {
        let path = if option == "--socket" { "s" } else { "unix:s" };
        let second = place.filter(&[option, path], &[])?;
        let said = String::from_utf8(second.stderr)?;
        assert_eq!(second.status.code(), Some(1), "{said}");
        assert!(said.contains("s: "), "{said}");
    }
    stop(child, "-TERM")?;
    let output = place.filter(&["--telemetry", "no/such/folder"], &[])?;
    assert!(String::from_utf8(output.stderr)?.contains("no/such/folder"));
    Ok(())
}

#[cfg(not(feature = "mqtt"))]
#[test]
fn a_program_without_mqtt_says_how_to_get_it() -> TestResult {
    let output = Place::new(8)?.filter(&["--mqtt", "mqtt://localhost/t"], &[])?;
    let said = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("feature `mqtt`"), "{said}");
    Ok(())
}

#[cfg(feature = "mqtt")]
mod mqtt {
    use super::*;
    use rumqttc::{Client, Event as Message, Incoming, MqttOptions, Publish, QoS};
    use std::sync::mpsc::{self, Receiver};

    /// Messages on every topic; the thread ends with the broker.
    fn subscribe(port: u16, name: &str) -> Result<Receiver<Publish>, Box<dyn Error>> {
        let (client, mut connection) = Client::new(MqttOptions::new(name, "127.0.0.1", port), 9);
        client.subscribe("#", QoS::AtLeastOnce)?;
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let _client = client;
            for event in connection.iter() {
                match event {
                    Ok(Message::Incoming(Incoming::Publish(message))) => {
                        if sender.send(message).is_err() {
                            return;
                        }
                    }
                    Ok(_) => {}
                    Err(_) => return,
                }
            }
        });
        Ok(receiver)
    }

    /// The next message on `topic` with a record of this name, as text.
    fn next(
        messages: &Receiver<Publish>,
        topic: &str,
        record: &str,
    ) -> Result<(bool, String), Box<dyn Error>> {
        loop {
            let message = messages.recv_timeout(Duration::from_secs(20))?;
            let text = format!("{:?}", telemetry(&message.payload).0);
            if message.topic == topic && text.contains(record) {
                return Ok((message.retain, text));
            }
        }
    }

    fn telemetry(bytes: &[u8]) -> (Vec<String>, u64) {
        let (mut decoder, mut names) = (Decoder::joining(), Vec::new());
        for &byte in bytes {
            if let Some(Event::Record { record, .. }) = decoder.push(byte) {
                names.push(format!("{record:?}"));
            }
        }
        (names, decoder.tally().corrupt)
    }

    #[test]
    #[ignore = "needs an MQTT broker: `cargo xtask test` installs it"]
    fn a_broker_is_told_who_is_there_what_happens_and_who_is_gone() -> TestResult {
        let mut broker = broker::Broker::start()?;
        let place = Place::new(8)?;
        let address = format!("mqtt://127.0.0.1:{}/plant/a", broker.port);
        let options = [
            "--mqtt",
            &address,
            "--every",
            "0.05",
            "--name",
            "a",
            "--telemetry",
            "t",
        ];
        let mut child = place.serve(&options)?;
        let stdin = child.stdin.as_mut().ok_or("no pipe")?;
        stdin.write_all(&record(&samples(1, 8)[0]))?;
        let early = subscribe(broker.port, "early")?;
        next(&early, "plant/a", "inferences: 1,")?;
        // who comes later is told by the broker
        let late = subscribe(broker.port, "late")?;
        let (retained, hello) = next(&late, "plant/a/state", "Hello")?;
        assert!(retained && hello.contains("board: \\\"a\\\""), "{hello}");
        // a broker that comes back is told again; nothing waits for one that is away
        broker.stop();
        let stdin = child.stdin.as_mut().ok_or("no pipe")?;
        stdin.write_all(&record(&samples(1, 8)[0]))?;
        let mut stdout = child.stdout.take().ok_or("no pipe")?;
        for number in 0..2 {
            assert_eq!(
                answer(&mut stdout).map(|answer| answer.number),
                Some(number)
            );
        }
        broker.restart()?;
        let again = subscribe(broker.port, "again")?;
        next(&again, "plant/a/state", "Hello")?;
        next(&again, "plant/a", "inferences: 2,")?;
        child.kill()?;
        child.wait()?;
        next(&again, "plant/a/state", "gone")?;
        // one that ends by itself is not gone
        let child = place.serve(&options)?;
        next(&again, "plant/a", "inferences: 0,")?;
        stop(child, "-TERM")?;
        let (_, ended) = next(&again, "plant/a/state", "End")?;
        assert!(!ended.contains("gone"));
        Ok(())
    }

    #[test]
    fn a_broker_that_is_not_there_holds_nothing_up() -> TestResult {
        let place = Place::new(8)?;
        let input = records(&samples(3, 8));
        let output = place.filter(&["--mqtt", "mqtt://127.0.0.1:1/t"], &input)?;
        assert!(output.status.success(), "{output:?}");
        assert_eq!(answers(output.stdout.as_slice()).len(), 3);
        Ok(())
    }
}
