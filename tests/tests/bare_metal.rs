//! Boards without an operating system: the image of a package boots on the machines that QEMU has, computes what the
//! host computes, and reports what goes wrong.

use crate::command::{command, studies};
use crate::small::need_toolchain;
use edgeprune::bench::{self, BenchOptions, Job};
use edgeprune::build;
use edgeprune::monitor::Device;
use edgeprune_boards::Board;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;

type TestResult<T = ()> = Result<T, Box<dyn Error>>;

/// Million instructions of one inference of the demo network in 40 kB on a core without dot products.
const INSTRUCTIONS: f64 = 3.236;
/// What a count may differ by: compilers differ.
const TOLERANCE: f64 = 0.02;
/// `msr sctlr_el1, x1; isb`: the last instructions before the start-up code leaves for Rust.
const TRANSLATION_ON: [u8; 8] = [0x01, 0x10, 0x18, 0xd5, 0xdf, 0x3f, 0x03, 0xd5];

/// Boards that a machine stands in for.
fn machines() -> Vec<&'static Board> {
    let has_machine = |board: &&Board| {
        board
            .bare
            .as_ref()
            .is_some_and(|bare| bare.machine.is_some())
    };
    edgeprune_boards::all().iter().filter(has_machine).collect()
}

/// The demo network, packed once for all tests.
fn package() -> TestResult<&'static Path> {
    static PACKAGE: OnceLock<Option<(TempDir, PathBuf)>> = OnceLock::new();
    let packed = PACKAGE.get_or_init(|| {
        let folder = TempDir::new().ok()?;
        let path = folder.path().join("demo.epk");
        let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host-tool/demo");
        let status = command()
            .arg("pack")
            .arg(demo.join("fashion_mnist.onnx"))
            .arg("--calib")
            .arg(demo.join("calib_images.npy"))
            .env("EDGEPRUNE_CACHE", studies())
            .args(["--max-size", "40kB", "-o"])
            .arg(&path)
            .output();
        status.ok()?.status.success().then_some((folder, path))
    });
    let (_, path) = packed.as_ref().ok_or("the demo network does not pack")?;
    Ok(path)
}

/// Runs an image; returns what its serial line says.
fn boot(board: &Board, image: &Path) -> TestResult<Device> {
    let bare = board
        .bare
        .as_ref()
        .ok_or("no board without an operating system")?;
    let output = Command::new(&build::toolchain(board)?.emulator)
        .args(["-M", bare.machine.as_deref().ok_or("no machine")?])
        .args([
            "-cpu",
            &board.emulator.cpu,
            "-m",
            &format!("{}M", bare.memory_mib),
        ])
        .args([
            "-nic", "none", "-display", "none", "-monitor", "none", "-serial", "stdio",
        ])
        .arg("-no-reboot")
        .arg("-kernel")
        .arg(image)
        .stdin(Stdio::null())
        .output()?;
    assert!(output.status.success(), "{output:?}");
    Ok(Device::of(&output.stdout))
}

/// What a board reports that boots an image with some bytes changed.
fn boot_changed(change: impl Fn(&mut Vec<u8>) -> Option<()>) -> TestResult<Device> {
    let board = edgeprune_boards::find("virt-bare")?;
    let folder = TempDir::new()?;
    let image = folder.path().join("kernel.img");
    build::image(board, package()?, &image)?;
    let mut bytes = fs::read(&image)?;
    change(&mut bytes).ok_or("the image has no such bytes")?;
    fs::write(&image, bytes)?;
    boot(board, &image)
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[test]
#[ignore = "needs a cross toolchain and emulators: `cargo xtask test` installs them"]
fn images_compute_the_hosts_bytes_in_the_same_time_on_every_run() -> TestResult {
    need_toolchain(&machines())?;
    let options = BenchOptions {
        warm_up: 1,
        ..bench::EMULATED
    };
    for board in machines() {
        let run = || {
            bench::emulated(board, Job::new(package()?, options)).map_err(Box::<dyn Error>::from)
        };
        let (first, others) = (run()?, [run()?, run()?]);
        assert_eq!(first.matches_host, Some(true), "{}", board.id);
        assert_eq!((first.runs, first.layers.len()), (3, 14));
        let layer = &first.layers[0];
        assert_eq!(layer.class, "conv_2d 3x3");
        assert!(layer.bytes > 28 * 28, "{layer:?}");
        assert_eq!(
            (first.board.as_str(), first.cpu.as_str()),
            (board.id.as_str(), board.cpu.core.as_str())
        );
        for other in others {
            assert_eq!(other, first); // to the last tick
        }
        let millions = first.instructions_per_inference.unwrap_or(0) as f64 / 1e6;
        let found = format!("{}: {millions:.3} million instructions", board.id);
        eprintln!("{found}");
        assert!((millions / INSTRUCTIONS - 1.0).abs() < TOLERANCE, "{found}");
    }
    Ok(())
}

#[test]
#[ignore = "needs a cross toolchain and emulators: `cargo xtask test` installs them"]
fn an_image_with_the_package_inside_computes_the_hosts_bytes() -> TestResult {
    need_toolchain(&machines())?;
    let device = boot_changed(|_| Some(()))?;
    let there = device.bench().ok_or("no measurement")?;
    let here = bench::host(package()?, bench::EMULATED)?;
    assert_eq!(there.output_sha256, here.output_sha256);
    assert_eq!((there.warm_up, there.runs), (3, 20));
    Ok(())
}

#[test]
#[ignore = "needs a cross toolchain and emulators: `cargo xtask test` installs them"]
fn a_damaged_package_is_reported() -> TestResult {
    need_toolchain(&machines())?;
    let packed = fs::read(package()?)?;
    let device = boot_changed(|image| {
        let at = find(image, &packed)?;
        image[at + packed.len() / 2] ^= 1;
        Some(())
    })?;
    let fault = device.fault().ok_or("no fault")?;
    assert!(fault.contains("SHA-256"), "{fault}");
    assert!(device.has_ended() && device.bench().is_none());
    Ok(())
}

#[test]
#[ignore = "needs a cross toolchain and emulators: `cargo xtask test` installs them"]
fn an_exception_is_reported_with_its_address() -> TestResult {
    need_toolchain(&machines())?;
    let device = boot_changed(|image| {
        let at = find(image, &TRANSLATION_ON)? + TRANSLATION_ON.len();
        image.get_mut(at..at + 4)?.fill(0); // no instruction
        Some(())
    })?;
    let fault = device.fault().ok_or("no fault")?;
    assert!(
        fault.starts_with("undefined instruction at 0x40080"),
        "{fault}"
    );
    assert!(device.has_ended());
    Ok(())
}

#[test]
fn an_image_needs_one_package_and_doctor_names_what_building_needs() -> TestResult {
    let edgeprune = |arguments: &[&str]| {
        let mut command = command();
        command.args(arguments).env("PATH", "").output()
    };
    let built = edgeprune(&["build", "--board", "virt-bare"])?;
    assert_eq!(built.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&built.stderr).contains("exactly one package"));
    let checked = edgeprune(&["doctor", "--board", "rpi3-bare"])?;
    let text = String::from_utf8_lossy(&checked.stdout);
    assert_eq!(checked.status.code(), Some(1));
    for word in [
        "qemu-system-arm",
        "binutils-aarch64-linux-gnu",
        "rustup target add",
        "raspi3b",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    Ok(())
}
