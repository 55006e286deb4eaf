//! Boards: the device binary is built for each core, and computes there what it computes here.

mod zoo;

use crate::command::{command, edgeprune};
use crate::small::network::Network;
use crate::small::{cores, need_toolchain, package, samples};
use edgeprune::bench::{self, BenchOptions, Job};
use edgeprune::build::{self, Jobs};
use edgeprune_format::manifest::{Op, Window};
use edgeprune_format::{MAGIC, VERSION};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

type TestResult = Result<(), Box<dyn Error>>;

/// Most bytes of a device binary with the operators of one network, without its package.
const MOST_BINARY_BYTES: u64 = 700_000;

/// A package of one pooling layer, an operator that [`package`] does not have.
fn pooling(folder: &Path) -> std::io::Result<PathBuf> {
    let mut net = Network::default();
    let [input, output] = [8, 4].map(|side| net.codes([1, side, side, 8], 0.02, -5));
    let window = Window {
        kernel: [2, 2],
        stride: [2, 2],
        dilation: [1, 1],
        pad: [0, 0],
    };
    net.input(input);
    net.output(output);
    net.node(Op::MaxPool2d { window }, &[input], output);
    let path = folder.join("pooling.epk");
    fs::write(&path, net.package())?;
    Ok(path)
}

#[test]
#[ignore = "needs a cross toolchain and emulators: `cargo xtask test` installs them"]
fn every_core_computes_the_bytes_that_the_host_computes() -> TestResult {
    need_toolchain(&cores())?;
    let folder = TempDir::new()?;
    let package = package(folder.path())?;
    for parity in bench::parity(&package, &samples().limit(16), &cores())? {
        assert_eq!(parity.samples, 16);
        assert!(parity.holds(), "{parity:?}");
    }
    Ok(())
}

#[test]
#[ignore = "needs a cross toolchain and emulators: `cargo xtask test` installs them"]
fn an_emulated_benchmark_counts_the_same_instructions_every_time() -> TestResult {
    need_toolchain(&cores())?;
    let folder = TempDir::new()?;
    let package = package(folder.path())?;
    let once = BenchOptions {
        warm_up: 0,
        runs: 1,
        threads: 1,
        ..bench::EMULATED
    };
    let here = bench::host(&package, once)?;
    for board in cores() {
        let first = bench::emulated(board, Job::new(&package, once))?;
        let again = bench::emulated(board, Job::new(&package, once))?;
        assert!(first.emulated && first.board == board.id && first.cpu == board.cpu.core);
        assert!(first.instructions_per_inference > Some(10_000));
        assert_eq!(
            first.instructions_per_inference,
            again.instructions_per_inference
        );
        assert_eq!(first.output_sha256, here.output_sha256, "{}", board.id);
        let layers: Option<Vec<u64>> = first
            .layers
            .iter()
            .map(|layer| layer.instructions)
            .collect();
        let (layers, all) = (
            layers.ok_or("a layer was not counted")?,
            first.instructions_per_inference,
        );
        assert!(layers.iter().all(|&layer| layer > 100), "{layers:?}");
        let difference = layers.iter().sum::<u64>().abs_diff(all.unwrap_or(0));
        assert!(difference < 1_000, "{layers:?} of {all:?}");
        let kernels: Vec<&str> = first
            .layers
            .iter()
            .map(|layer| layer.kernel.as_str())
            .collect();
        for (kernel, words) in kernels.iter().zip([
            "qs8-igemm-",
            "qs8-dwconv-9p-",
            "portable",
            "qs8-gemm-",
            "portable",
        ]) {
            assert!(
                kernel.starts_with(words)
                    && (words == "portable" || kernel.ends_with(&first.kernels)),
                "{kernels:?}"
            );
        }
    }
    Ok(())
}

#[test]
fn a_benchmark_names_every_layer_and_its_multiply_accumulates() -> TestResult {
    let folder = TempDir::new()?;
    let package = package(folder.path())?;
    let path = package.to_string_lossy();
    let output = edgeprune(&["bench", &path, "--runs", "7", "--warm-up", "1", "--json"])?;
    assert!(output.status.success(), "{output:?}");
    let record: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let layers = record["layers"].as_array().ok_or("no layers")?;
    let macs: Vec<_> = layers.iter().map(|layer| layer["macs"].as_u64()).collect();
    let expected = [24 * 27 * 100, 9 * 24 * 100, 0, 240, 0].map(Some);
    assert_eq!(macs, expected);
    let latency = |name: &str| record["latency_us"][name].as_f64().unwrap_or(0.0);
    assert!(0.0 < latency("min") && latency("min") <= latency("p50"));
    assert!(latency("p50") <= latency("p90") && latency("p90") <= latency("p99"));
    assert_eq!(record["board"], "host");
    assert_eq!(record["runs"], 7);
    assert_eq!(record["package_bytes"], fs::metadata(&package)?.len());
    assert!(record["arena_bytes"].as_u64() > Some(0));
    assert!(record["instructions_per_inference"].is_null());
    Ok(())
}

#[test]
#[ignore = "needs a cross toolchain and emulators: `cargo xtask test` installs them"]
fn an_embedded_package_runs_from_one_static_file() -> TestResult {
    need_toolchain(&cores())?;
    let folder = TempDir::new()?;
    let package = package(folder.path())?;
    let binary = folder.path().join("device");
    let board = cores()[0];
    let (model, output) = (package.to_string_lossy(), binary.to_string_lossy());
    let built = edgeprune(&[
        "build", &model, "--board", &board.id, "-o", &output, "--json",
    ])?;
    assert!(built.status.success(), "{built:?}");
    let built: serde_json::Value = serde_json::from_slice(&built.stdout)?;
    let (bytes, package_bytes) = (fs::metadata(&binary)?.len(), fs::metadata(&package)?.len());
    assert_eq!(built["binary_bytes"], bytes);
    match &build::toolchain(board)?.small {
        Some(small) if built["triple"] == *small.triple => {
            assert!(bytes - package_bytes <= MOST_BINARY_BYTES, "{bytes}");
        }
        _ => eprintln!("the size is not tested: only rustup has the small C library"),
    }
    fs::remove_file(&package)?;
    let emulator = &build::toolchain(board)?.emulator;
    let run = Command::new(emulator)
        .args(["-cpu", &board.emulator.cpu])
        .args([&*output, "bench", "--runs", "2"])
        .output()?;
    assert!(run.status.success(), "{run:?}");
    let report: serde_json::Value = serde_json::from_slice(&run.stdout)?;
    assert_eq!(report["model"], "test");
    assert_eq!(report["package_bytes"], package_bytes);
    Ok(())
}

#[test]
#[ignore = "needs a cross toolchain and emulators: `cargo xtask test` installs them"]
fn a_binary_has_the_operators_of_its_packages_alone_and_names_one_that_is_missing() -> TestResult {
    need_toolchain(&cores())?;
    let folder = TempDir::new()?;
    let (package, pooling) = (package(folder.path())?, pooling(folder.path())?);
    let board = cores()[0];
    let bench = |packages: &[PathBuf]| -> Result<Output, Box<dyn Error>> {
        let binary = folder.path().join("device");
        build::device_binary(board, packages, Jobs::default(), &binary)?;
        let mut run = Command::new(&build::toolchain(board)?.emulator);
        run.arg(&binary).arg("bench").arg(&pooling);
        Ok(run.output()?)
    };
    let without = bench(std::slice::from_ref(&package))?;
    let message = String::from_utf8_lossy(&without.stderr);
    assert_eq!(without.status.code(), Some(1), "{message}");
    for word in ["without `max_pool_2d`", "edgeprune build"] {
        assert!(message.contains(word), "{message}");
    }
    assert!(bench(&[package, pooling.clone()])?.status.success());
    Ok(())
}

#[test]
#[ignore = "needs a cross toolchain and emulators: `cargo xtask test` installs them"]
fn the_device_refuses_a_damaged_or_newer_package_with_one_line() -> TestResult {
    need_toolchain(&cores())?;
    let folder = TempDir::new()?;
    let path = package(folder.path())?;
    let bytes = fs::read(&path)?;
    let damaged = bytes[..bytes.len() / 2].to_vec();
    let mut newer = bytes;
    newer[MAGIC.len()..][..4].copy_from_slice(&(VERSION + 1).to_le_bytes());
    let board = cores()[0];
    let binary = build::shared_device_binary(board)?;
    for (bytes, words) in [(damaged, ["cut", "header"]), (newer, ["version", "update"])] {
        fs::write(&path, bytes)?;
        let run = Command::new(&build::toolchain(board)?.emulator)
            .arg(&binary)
            .arg("bench")
            .arg(&path)
            .output()?;
        let message = String::from_utf8_lossy(&run.stderr);
        assert_eq!(run.status.code(), Some(1));
        assert_eq!(message.lines().count(), 1, "{message}");
        for word in ["small.epk"].into_iter().chain(words) {
            assert!(message.contains(word), "{message}");
        }
    }
    Ok(())
}

#[test]
fn doctor_names_what_is_missing_and_the_command_that_installs_it() -> TestResult {
    let board = &cores()[0].id;
    let bare = command()
        .args(["doctor", "--board", board, "--json"])
        .env("PATH", "")
        .output()?;
    assert_eq!(bare.status.code(), Some(1));
    let diagnosis: serde_json::Value = serde_json::from_slice(&bare.stdout)?;
    assert_eq!(diagnosis["complete"], false);
    let checks = diagnosis["checks"].as_array().ok_or("no checks")?;
    for check in checks.iter().filter(|check| check["problem"].is_string()) {
        let remedies = check["remedies"].as_array().ok_or("no remedies")?;
        assert!(!remedies.is_empty(), "{check}");
    }
    let commands = diagnosis.to_string();
    for word in ["apt-get install", "gcc-aarch64-linux-gnu", "qemu-user"] {
        assert!(commands.contains(word), "{word}: {commands}");
    }
    Ok(())
}

#[test]
#[ignore = "needs a cross toolchain and emulators: `cargo xtask test` installs them"]
fn doctor_finds_nothing_missing_where_everything_is_there() -> TestResult {
    need_toolchain(&cores())?;
    for board in edgeprune_boards::all() {
        let output = edgeprune(&["doctor", "--board", &board.id])?;
        assert!(output.status.success(), "{output:?}");
    }
    Ok(())
}

#[test]
fn an_unknown_board_is_bad_usage_and_the_boards_are_listed() -> TestResult {
    for job in ["build", "doctor"] {
        let output = edgeprune(&[job, "--board", "toaster"])?;
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{message}");
        for board in edgeprune_boards::all() {
            assert!(message.contains(&board.id), "{message}");
        }
    }
    Ok(())
}

#[test]
fn a_board_file_of_ones_own_is_enough() -> TestResult {
    let folder = TempDir::new()?;
    let path = folder.path().join("mine.toml");
    let text = include_str!("../../boards/rpi-5.toml");
    fs::write(&path, text.replace("rpi-5\"", "mine\""))?;
    let file = path.to_string_lossy();
    let output = edgeprune(&["doctor", "--json", "--board", &file])?;
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("\"mine\""),
        "{output:?}"
    );
    fs::write(&path, text.replace("cores = 4", "cores = 0"))?;
    let output = edgeprune(&["doctor", "--board", &file])?;
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cpu.cores"));
    Ok(())
}
