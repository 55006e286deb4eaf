//! The command as a user meets it: the real binary, in a folder of its own, on the demo network.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

const BUDGET: u64 = 40_000;

/// A folder with the demo network under names of the tests' own.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host-tool/demo");
        for (from, to) in [
            ("fashion_mnist.onnx", "model.onnx"),
            ("fashion_mnist.toml", "model.toml"),
            ("labels.txt", "labels.txt"),
            ("calib_images.npy", "calib.npy"),
            ("test_images.npy", "test.npy"),
            ("test_labels.npy", "test_labels.npy"),
        ] {
            fs::copy(demo.join(from), folder.path(to)).unwrap();
        }
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, arguments: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_edgeprune-tests"))
            .args(arguments.split_whitespace())
            .current_dir(self.0.path())
            .output()
            .unwrap()
    }

    fn json(&self, arguments: &str) -> Value {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Runs what must fail: with that exit code, one `error:` that names `what`, no panic, and no
    /// file left behind.
    fn refuse(&self, arguments: &str, code: i32, what: &str) {
        let before = self.files();
        let output = self.run(arguments);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments}: {message}");
        assert_eq!(
            message.matches("error:").count(),
            1,
            "{arguments}: {message}"
        );
        assert!(message.contains(what), "{arguments}: {message}");
        assert!(!message.contains("panicked"), "{arguments}: {message}");
        assert_eq!(self.files(), before, "{arguments}");
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> = fs::read_dir(self.0.path())
            .unwrap()
            .map(|e| e.unwrap().path())
            .collect();
        files.sort();
        files
    }
}

#[test]
fn a_network_is_packed_to_a_budget_scored_and_run_without_further_flags() {
    let folder = Folder::new();
    let packed = folder.json(&format!(
        "pack model.onnx --calib calib.npy --max-size {BUDGET} -o m.epk --json"
    ));
    let length = fs::metadata(folder.path("m.epk")).unwrap().len();
    assert!(length <= BUDGET && length > BUDGET * 9 / 10, "{length}");
    assert_eq!(packed["package_bytes"], length);
    assert_eq!(
        packed["source_bytes"],
        fs::metadata(folder.path("model.onnx")).unwrap().len()
    );
    assert!(packed["arena_bytes"].as_u64().unwrap() > 0);
    assert!((0.0..=1.0).contains(&packed["density"].as_f64().unwrap()));
    assert!(packed["removed_channels"].is_u64());
    for layer in packed["layers"].as_array().unwrap() {
        assert!(layer["name"].is_string() && layer["encoding"].is_string());
        assert!(
            layer["bytes"].as_u64().unwrap() > 0
                && layer["bits_per_weight"].as_f64().unwrap() > 0.0
        );
        assert!(layer["density"].is_f64() && layer["kept_float"] == false);
    }

    let score = folder
        .json("eval m.epk --data test.npy --labels test_labels.npy --against model.onnx --json");
    assert_eq!(score["samples"], 500);
    assert!(score["top1"].as_f64().unwrap() >= 92.0, "{score}");
    assert!(score["top5"].as_f64().unwrap() >= 99.0);
    assert!(score["agreement"].as_f64().unwrap() >= 97.0);
    assert!(score["sqnr_db"].as_f64().unwrap() > 15.0);
    let unlabelled = folder.json("eval m.epk --data test.npy --json");
    assert!(
        unlabelled["top1"].is_null()
            && unlabelled["top5"].is_null()
            && unlabelled["agreement"].is_null()
    );

    let run = folder.run("run m.epk test.npy -o scores.npy");
    assert!(
        run.status.success() && folder.path("scores.npy").exists(),
        "{run:?}"
    );
}

#[test]
fn the_same_call_gives_the_same_bytes() {
    let folder = Folder::new();
    for name in ["a.epk", "b.epk"] {
        folder.json(&format!(
            "pack model.onnx --calib calib.npy --max-size 30kB -o {name} --json"
        ));
    }
    assert_eq!(
        fs::read(folder.path("a.epk")).unwrap(),
        fs::read(folder.path("b.epk")).unwrap()
    );
}

#[test]
fn every_budget_is_kept_and_an_impossible_one_says_what_is_possible() {
    let folder = Folder::new();
    for budget in [12_000, 20_000, 33_333, 60_000, 1_000_000] {
        let packed = folder.json(&format!(
            "pack model.onnx --calib calib.npy --max-size {budget} -o m.epk --json"
        ));
        assert!(packed["package_bytes"].as_u64().unwrap() <= budget);
    }
    fs::remove_file(folder.path("m.epk")).unwrap();
    folder.refuse(
        "pack model.onnx --calib calib.npy --max-size 3kB -o m.epk",
        1,
        "smallest",
    );
}

#[test]
fn half_of_the_weights_become_zero_on_demand() {
    let folder = Folder::new();
    let packed = folder.json("pack model.onnx --calib calib.npy --sparsity 0.5 -o m.epk --json");
    assert!(packed["density"].as_f64().unwrap() <= 0.5, "{packed}");
    let score = folder.json("eval m.epk --data test.npy --labels test_labels.npy --json");
    assert!(score["top1"].as_f64().unwrap() >= 91.0, "{score}");
}

#[test]
fn every_way_to_prune_makes_its_zeros_and_keeps_the_score() {
    let folder = Folder::new();
    for (options, density, top1) in [
        ("--sparsity 0.4 --criterion magnitude", 0.6, 85.0),
        ("--sparsity 0.4 --criterion activation", 0.6, 85.0),
        ("--sparsity 0.4 --criterion synflow", 0.6, 80.0),
        ("--sparsity 0.4 --schedule iterative:2", 0.6, 90.0),
        ("--sparsity 0.4 --scope local", 0.6, 85.0),
        ("--sparsity 0.4 --pattern 1x4", 0.6, 80.0),
        ("--pattern 2:4", 0.52, 85.0),
    ] {
        let packed = folder.json(&format!(
            "pack model.onnx --calib calib.npy {options} -o m.epk --json"
        ));
        assert!(
            packed["density"].as_f64().unwrap() <= density,
            "{options}: {packed}"
        );
        let score = folder.json("eval m.epk --data test.npy --labels test_labels.npy --json");
        assert!(
            score["top1"].as_f64().unwrap() >= top1,
            "{options}: {score}"
        );
    }
}

#[test]
fn a_package_made_without_samples_says_that_it_is_uncalibrated() {
    let folder = Folder::new();
    let output = folder.run("pack model.onnx -o m.epk");
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("uncalibrated"));
    let inspected = folder.run("inspect m.epk");
    assert!(
        String::from_utf8_lossy(&inspected.stdout).contains("NOT CALIBRATED"),
        "{inspected:?}"
    );
}

#[test]
fn the_imported_network_is_verified_against_the_reference() {
    let folder = Folder::new();
    let output = folder.run("inspect model.onnx --verify --data test.npy");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn the_sensitivity_report_adds_up_in_every_form() {
    let folder = Folder::new();
    let command = format!("sensitivity model.onnx --calib calib.npy --max-size {BUDGET}");
    let seen = folder.json(&format!("{command} --json --csv s.csv -o s.html"));
    let layers = seen["layers"].as_array().unwrap();
    let planned: u64 = layers
        .iter()
        .map(|layer| layer["plan"]["bytes"].as_u64().unwrap())
        .sum();
    let beside = seen["beside"]["bytes"].as_u64().unwrap();
    assert_eq!(seen["planned_bytes"], planned + beside);
    assert!(planned + beside <= BUDGET && planned + beside > BUDGET * 9 / 10);
    assert!(seen["smallest_bytes"].as_u64() < seen["planned_bytes"].as_u64());
    assert_eq!(seen["redundant"]["zero_weights"], serde_json::json!([]));
    for layer in layers {
        assert!(layer["sensitivity"].as_f64().unwrap() > 0.0, "{layer}");
        assert_eq!(layer["levels"].as_array().unwrap().len(), 5);
    }

    let csv = fs::read_to_string(folder.path("s.csv")).unwrap();
    assert_eq!(csv.lines().count(), 1 + layers.len());
    let html = fs::read_to_string(folder.path("s.html")).unwrap();
    assert!(html.contains("Bytes by layer") && html.ends_with("</html>\n"));
    for outside in ["http:", "https:", "src=", "href=", "<script"] {
        assert!(!html.contains(outside), "{outside}");
    }
    let text = folder.run(&command);
    let text = String::from_utf8_lossy(&text.stdout);
    for part in [
        "noise gain",
        "whole file",
        "holds the budget up",
        "Free to remove",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

#[test]
fn nothing_below_the_smallest_package_of_the_sensitivity_report_can_be_packed() {
    let folder = Folder::new();
    let seen = folder.json("sensitivity model.onnx --calib calib.npy --calib-samples 16 --json");
    assert_eq!(seen["calibration_samples"], 16);
    assert!(seen["planned_bytes"].is_null() && seen["layers"][0]["plan"].is_null());
    let below = seen["smallest_bytes"].as_u64().unwrap() - 1;
    for command in ["sensitivity", "pack"] {
        folder.refuse(
            &format!(
                "{command} model.onnx --calib calib.npy --calib-samples 16 --max-size {below}"
            ),
            1,
            "smallest",
        );
    }
}

#[test]
fn a_sensitivity_report_that_cannot_be_made_is_refused() {
    let folder = Folder::new();
    for (arguments, code, what) in [
        ("sensitivity model.onnx", 2, "--calib"),
        (
            "sensitivity missing.onnx --calib calib.npy",
            1,
            "missing.onnx",
        ),
        (
            "sensitivity model.onnx --calib missing.npy",
            1,
            "missing.npy",
        ),
        (
            "sensitivity model.onnx --calib calib.npy --max-size 2kB --csv s.csv",
            1,
            "smallest",
        ),
        (
            "sensitivity model.onnx --calib calib.npy --csv nowhere/s.csv",
            1,
            "nowhere/s.csv",
        ),
    ] {
        folder.refuse(arguments, code, what);
    }
}

#[test]
fn entropy_coding_is_compared_with_xz_on_demand() {
    let folder = Folder::new();
    folder.json("pack model.onnx --calib calib.npy --max-size 30kB -o m.epk --json");
    assert!(folder.json("inspect m.epk --json")["xz"].is_null());
    let xz = &folder.json("inspect m.epk --xz --json")["xz"];
    let sum = |field: &str| -> u64 {
        let tensors = xz["tensors"].as_array().unwrap().iter();
        tensors.map(|tensor| tensor[field].as_u64().unwrap()).sum()
    };
    assert_eq!(xz["coded_bytes"], sum("coded_bytes"));
    assert_eq!(xz["xz_bytes"], sum("xz_bytes"));
    assert!(sum("xz_bytes") > sum("coded_bytes") && sum("coded_bytes") > 20_000);
    let text = folder.run("inspect m.epk --xz");
    let text = String::from_utf8_lossy(&text.stdout);
    assert!(
        text.contains("xz -9") && text.contains("all entropy-coded"),
        "{text}"
    );
    folder.refuse("inspect model.onnx --xz", 2, "model.onnx");
}

#[test]
fn bad_models_are_refused() {
    let folder = Folder::new();
    let model = fs::read(folder.path("model.onnx")).unwrap();
    for share in [1, 10, 50, 90, 99] {
        fs::write(folder.path("cut.onnx"), &model[..model.len() * share / 100]).unwrap();
        folder.refuse(
            "pack cut.onnx --input-spec model.toml -o m.epk",
            1,
            "cut.onnx",
        );
    }
    fs::write(folder.path("text.onnx"), "this is not a model\n").unwrap();
    folder.refuse("pack text.onnx -o m.epk", 1, "text.onnx");
    fs::write(folder.path("empty.tflite"), "").unwrap();
    folder.refuse("inspect empty.tflite", 1, "empty.tflite");
    folder.refuse("inspect missing.onnx", 1, "missing.onnx");
}

#[test]
fn bad_samples_are_refused() {
    let folder = Folder::new();
    fs::create_dir(folder.path("nothing")).unwrap();
    folder.refuse("pack model.onnx --calib nothing -o m.epk", 1, "nothing");
    folder.json("pack model.onnx --calib calib.npy -o good.epk --json");
    fs::write(folder.path("few.csv"), "1\n2\n3\n").unwrap();
    folder.refuse(
        "eval good.epk --data test.npy --labels few.csv",
        1,
        "few.csv",
    );
    folder.refuse("eval good.epk --data missing.npy", 1, "missing.npy");
    folder.refuse(
        "pack model.onnx --calib test_labels.npy -o m.epk",
        1,
        "test_labels.npy",
    );
}

#[test]
fn images_need_an_input_specification() {
    let folder = Folder::new();
    fs::remove_file(folder.path("model.toml")).unwrap();
    fs::create_dir(folder.path("images")).unwrap();
    image::GrayImage::new(28, 28)
        .save(folder.path("images/a.png"))
        .unwrap();
    folder.refuse("pack model.onnx --calib images -o m.epk", 1, "input");
    fs::write(folder.path("bad.toml"), "[input]\ncolour = \"rgb\"\n").unwrap();
    folder.refuse(
        "pack model.onnx --calib images --input-spec bad.toml -o m.epk",
        1,
        "colour",
    );
}

#[test]
fn bad_usage_has_its_own_exit_code() {
    let folder = Folder::new();
    for arguments in [
        "pack",
        "pack model.onnx --max-size lots",
        "pack model.onnx --sparsity 2",
        "pack model.onnx --sparsity 0.7 --pattern 2:4",
        "pack model.onnx --sparsity 0.5 --schedule iterative:0",
        "frobnicate",
    ] {
        folder.refuse(arguments, 2, "");
    }
}

#[test]
fn a_package_cut_anywhere_is_refused() {
    let folder = Folder::new();
    folder.json("pack model.onnx --calib calib.npy --max-size 30kB -o m.epk --json");
    let package = fs::read(folder.path("m.epk")).unwrap();
    for percent in 0..100 {
        fs::write(
            folder.path("cut.epk"),
            &package[..package.len() * percent / 100],
        )
        .unwrap();
        folder.refuse("eval cut.epk --data test.npy", 1, "cut.epk");
    }
    let mut damaged = package.clone();
    damaged[package.len() / 2] ^= 4;
    fs::write(folder.path("cut.epk"), damaged).unwrap();
    folder.refuse("run cut.epk test.npy", 1, "damaged");
}
