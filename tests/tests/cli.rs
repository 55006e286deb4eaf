//! The command as a user meets it: the real binary, in a folder of its own, on the demo network.

use crate::command::{command, studies};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::OnceLock;
use tempfile::TempDir;

const BUDGET: u64 = 40_000;

/// A folder with the demo network under names of the tests' own.
struct Folder {
    files: TempDir,
    /// For boards that are learned.
    boards: TempDir,
    /// For what is measured of networks.
    studies: PathBuf,
}

impl Folder {
    fn new() -> Self {
        let folder = Self {
            files: tempfile::tempdir().unwrap(),
            boards: tempfile::tempdir().unwrap(),
            studies: studies().to_path_buf(),
        };
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
        self.files.path().join(name)
    }

    fn run(&self, arguments: &str) -> Output {
        command()
            .args(arguments.split_whitespace())
            .current_dir(self.files.path())
            .env("EDGEPRUNE_CACHE", &self.studies)
            .env("EDGEPRUNE_BOARDS", self.boards.path())
            .output()
            .unwrap()
    }

    /// Puts a package of the demo network there, which is packed once for all tests.
    fn add_package(&self, name: &str) {
        static PACKAGE: OnceLock<Vec<u8>> = OnceLock::new();
        let bytes = PACKAGE.get_or_init(|| {
            self.json("pack model.onnx --calib calib.npy --max-size 30kB -o shared.epk --json");
            let bytes = fs::read(self.path("shared.epk")).unwrap();
            fs::remove_file(self.path("shared.epk")).unwrap();
            bytes
        });
        fs::write(self.path(name), bytes).unwrap();
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
        let mut files: Vec<_> = fs::read_dir(self.files.path())
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
fn a_float_package_scores_what_the_model_does() {
    let folder = Folder::new();
    let packed = folder.json("pack model.onnx --float -o f.epk --json");
    for layer in packed["layers"].as_array().unwrap() {
        assert!(
            layer["encoding"] == "f32" && layer["kept_float"] == true,
            "{layer}"
        );
    }
    let score = folder
        .json("eval f.epk --data test.npy --labels test_labels.npy --against model.onnx --json");
    assert_eq!(score["agreement"], 100.0, "{score}");
    assert!(score["sqnr_db"].as_f64().unwrap() > 100.0, "{score}");
    let refused = folder.run("pack model.onnx --float --calib calib.npy");
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
}

#[test]
fn the_same_call_gives_the_same_bytes() {
    let folder = Folder::new();
    folder.add_package("a.epk");
    folder.json("pack model.onnx --calib calib.npy --max-size 30kB --no-cache -o b.epk --json");
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

const PACK: &str = "pack model.onnx --calib calib.npy -o m.epk --json";
const LABELLED: &str = "--eval test.npy --eval-labels test_labels.npy";

#[test]
fn a_package_keeps_to_the_drop_that_is_allowed_and_is_smaller_for_it() {
    let folder = Folder::new();
    let mut last = folder.json(PACK)["package_bytes"].as_u64().unwrap();
    for drop in [1.0, 8.0] {
        let packed = folder.json(&format!("{PACK} --max-drop {drop} {LABELLED}"));
        let bytes = packed["package_bytes"].as_u64().unwrap();
        assert_eq!(fs::metadata(folder.path("m.epk")).unwrap().len(), bytes);
        assert!(bytes < last, "{bytes} after {last}");
        last = bytes;

        let score = folder.json(
            "eval m.epk --data test.npy --labels test_labels.npy --against model.onnx --json",
        );
        let (top1, original) = (&score["top1"], &score["original_top1"]);
        let lost = original.as_f64().unwrap() - top1.as_f64().unwrap();
        assert!(lost <= drop + 1e-9, "{lost} of {drop}");
        let loss = &packed["loss"];
        assert_eq!((&loss["packed"], &loss["original"]), (top1, original));
        assert_eq!(loss["metric"], "top1");
        assert_eq!(loss["samples"], 500);
        assert!((loss["points"].as_f64().unwrap() - lost).abs() < 1e-9);
        assert!(
            (2..=13).contains(&loss["trials"].as_u64().unwrap()),
            "{loss}"
        );
    }
}

#[test]
fn without_labels_the_drop_is_one_of_agreement() {
    let folder = Folder::new();
    let output =
        folder.run("pack model.onnx --calib calib.npy --max-drop 3 --eval test.npy -o m.epk");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains("points lost on 500 samples, at most 3 allowed"),
        "{text}"
    );
    assert!(String::from_utf8_lossy(&output.stderr).contains("trial 2: "));
    let score = folder.json("eval m.epk --data test.npy --against model.onnx --json");
    let agreement = score["agreement"].as_f64().unwrap();
    assert!((97.0..100.0).contains(&agreement), "{agreement}");
    assert!(
        text.contains(&format!("agreement {agreement:.2} %")),
        "{text}"
    );
}

#[test]
fn a_drop_that_no_package_keeps_to_says_which_one_can() {
    let folder = Folder::new();
    let options =
        "pack model.onnx --calib calib.npy --calib-samples 1 --max-drop 0 --eval test.npy";
    folder.refuse(options, 1, "loses more than --max-drop 0: agreement ");
    folder.refuse(options, 1, "points or more");
    fs::write(folder.path("far.csv"), "10\n".repeat(500)).unwrap();
    folder.refuse(
        "pack model.onnx --calib calib.npy --max-drop 1 --eval test.npy --eval-labels far.csv",
        1,
        "the network has 10 outputs",
    );
}

#[test]
fn the_forms_of_a_curve_tell_the_same() {
    let folder = Folder::new();
    let curve = folder.json(&format!(
        "curve model.onnx --calib calib.npy {LABELLED} --points 5 --csv c.csv -o c.html --json"
    ));
    let points = curve["points"].as_array().unwrap();
    assert_eq!(points.len(), 5);
    assert_eq!(curve["metric"], "top1");
    assert_eq!(curve["samples"], 500);
    assert_eq!(curve["on_calibration"], false);
    let knees = points.iter().filter(|point| point["knee"] == true);
    assert_eq!(knees.count(), 1);
    assert!(points[4]["max_size"].is_null() && points[4]["knee"] == false);
    for point in &points[..4] {
        let bytes = point["package_bytes"].as_u64().unwrap();
        assert!(bytes <= point["max_size"].as_u64().unwrap());
    }

    let html = fs::read_to_string(folder.path("c.html")).unwrap();
    for point in points {
        let title = title(point);
        assert!(html.contains(&title), "{title}");
    }
    same_as_csv(points, &fs::read_to_string(folder.path("c.csv")).unwrap());

    // A point is the package that `pack` makes for its limit, and reads as records of the report.
    let limit = &points[1]["max_size"];
    let packed = folder.json(&format!("{PACK} --max-size {limit}"));
    assert_eq!(packed["package_hash"], points[1]["package_hash"]);
    fs::write(folder.path("c.json"), curve.to_string()).unwrap();
    let report = folder.json("report c.json m.epk --json");
    let variants = report["variants"].as_array().unwrap();
    assert_eq!(variants.len(), 5);
    assert!(variants[1]["pack"].is_object());
    assert_eq!(variants[1]["eval"]["top1"], points[1]["top1"]);
}

/// What the chart says of a point of a curve.
fn title(point: &Value) -> String {
    let name = if point["knee"] == true {
        "knee"
    } else {
        "package"
    };
    let kilobytes = point["package_bytes"].as_f64().unwrap() / 1e3;
    let top1 = point["top1"].as_f64().unwrap();
    format!("<title>{name}: {kilobytes:.1} kB, {top1:.2} %</title>")
}

fn same_as_csv(points: &[Value], csv: &str) {
    let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().unwrap();
    for point in points {
        let line = lines.next().unwrap();
        assert_eq!(line.len(), header.len());
        for (name, cell) in header.iter().zip(&line) {
            let same = match &point[*name] {
                Value::Null => cell.is_empty(),
                Value::Number(number) => is_close(number.as_f64().unwrap(), cell.parse().unwrap()),
                value => value.as_bool() == cell.parse().ok(),
            };
            assert!(same, "{name}: {cell} for {point}");
        }
    }
    assert_eq!(lines.next(), None);
}

/// serde_json reads some numbers a bit off the nearest.
fn is_close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-12 * a.abs()
}

#[test]
fn a_curve_of_given_sizes_without_other_samples_says_that_it_is_optimistic() {
    let folder = Folder::new();
    let output =
        folder.run("curve model.onnx --calib calib.npy --calib-samples 32 --sizes 60kB,12kB,25000");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("the 32 calibration samples themselves, which is optimistic"),
        "{text}"
    );
    assert!(
        !text.contains("top-1") && text.contains("agreement"),
        "{text}"
    );
    let rows = text.lines().filter(|line| line.contains(" kB  "));
    let bytes = rows.map(|row| row.split_whitespace().nth(2).unwrap().parse().unwrap());
    let bytes: Vec<u64> = bytes.collect();
    assert_eq!(bytes.len(), 3, "{text}");
    for (bytes, limit) in bytes.into_iter().zip([12_000, 25_000, 60_000]) {
        assert!(bytes <= limit && bytes > limit * 8 / 10, "{text}");
    }
    folder.refuse(
        "curve model.onnx --calib calib.npy --sizes 20kB,1kB -o c.html",
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

#[cfg(not(feature = "xz"))]
#[test]
fn without_xz_it_is_said_how_to_get_it() {
    let folder = Folder::new();
    folder.add_package("m.epk");
    folder.refuse("inspect m.epk --xz", 2, "--features xz");
}

#[cfg(feature = "xz")]
#[test]
fn entropy_coding_is_compared_with_xz_on_demand() {
    let folder = Folder::new();
    folder.add_package("m.epk");
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
    folder.add_package("good.epk");
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
        "pack model.onnx --max-drop 1",
        "pack model.onnx --max-drop -1 --eval test.npy",
        "pack model.onnx --max-drop some --eval test.npy",
        "pack model.onnx --max-drop 1 --eval test.npy --max-size 30kB",
        "pack model.onnx --eval test.npy",
        "pack model.onnx --max-drop 1 --eval-labels test_labels.npy",
        "curve model.onnx",
        "curve model.onnx --calib calib.npy --points 1",
        "curve model.onnx --calib calib.npy --sizes 1kB,lots",
        "curve model.onnx --calib calib.npy --sizes 20kB --points 3",
        "curve model.onnx --calib calib.npy --eval-labels test_labels.npy",
        "frobnicate",
    ] {
        folder.refuse(arguments, 2, "");
    }
}

#[test]
fn a_package_cut_anywhere_is_refused() {
    let folder = Folder::new();
    folder.add_package("m.epk");
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

#[test]
fn a_machine_teaches_how_long_packages_take_on_it() {
    let folder = Folder::new();
    folder.json("pack model.onnx --calib calib.npy -o big.epk --json");
    folder.json("pack model.onnx --float -o float.epk --json");
    let expected = |package: &str| {
        let seen = folder.json(&format!("inspect {package} --board host --json"));
        seen["latency"].clone()
    };
    assert!(expected("big.epk")["us"].is_null());
    for package in ["big", "float"] {
        let record = folder.json(&format!("bench {package}.epk --runs 200 --json"));
        fs::write(folder.path(&format!("{package}.json")), record.to_string()).unwrap();
    }
    assert!(folder.run("learn big.json").status.success());
    let first = expected("big.epk");
    assert!(first["us"].as_f64() > Some(0.0) && first["last"].is_null());
    assert!(
        !expected("float.epk")["unknown"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    assert!(folder.run("learn float.json").status.success());
    let second = expected("big.epk");
    assert_eq!(second["packages"], 2);
    assert!(second["last"]["predicted_us"].as_f64() > Some(0.0));
    let words = folder.run("pack model.onnx --float -o again.epk --board host");
    let words = String::from_utf8(words.stdout).unwrap();
    assert!(words.contains("ms expected on host"), "{words}");

    let mut emulated: Value =
        serde_json::from_slice(&fs::read(folder.path("big.json")).unwrap()).unwrap();
    emulated["emulated"] = true.into();
    fs::write(folder.path("emulated.json"), emulated.to_string()).unwrap();
    folder.refuse("learn emulated.json", 1, "emulated.json");
    folder.refuse("inspect model.onnx --board host", 2, "--board");
    folder.refuse("inspect big.epk --board nothing", 2, "nothing");
}

#[test]
fn benches_are_checked_before_anything_runs() {
    let folder = Folder::new();
    folder.json("pack model.onnx --float -o float.epk --json");
    folder.refuse("bench float.epk --host pi@four", 2, "--board");
    folder.refuse("bench float.epk --host rpi4=-oProxyCommand=x", 2, "address");
    folder.refuse("bench float.epk --board rpi4", 2, "--host");
    folder.refuse(
        "bench float.epk --host rpi3-bare=pi@four",
        2,
        "edgeprune monitor",
    );
    folder.refuse("bench float.epk --data test.npy", 2, "edgeprune eval");
    folder.refuse("bench float.epk --threads 17", 2, "17");
    folder.refuse("bench float.epk --threads 0", 2, "0");
    folder.refuse("bench float.epk --deadline soon", 2, "50ms");
    folder.refuse("bench test.npy", 1, "test.npy");
    let record = folder.json("bench float.epk --json --duration 1s --deadline 1us");
    assert_eq!(record["deadline"]["misses"], record["runs"]);
    assert!(!record["timeline"].as_array().unwrap().is_empty());
    let count = |bucket: &Value| bucket["count"].as_u64().unwrap();
    let buckets = record["histogram"].as_array().unwrap();
    let counted: u64 = buckets.iter().map(count).sum();
    assert_eq!(Some(counted), record["runs"].as_u64());
}

#[test]
fn weights_that_are_read_in_place_give_the_same_answers_with_less_memory() {
    let folder = Folder::new();
    let pack = |options: &str, name: &str| {
        let packed = folder.json(&format!(
            "pack model.onnx --calib calib.npy -o {name}.epk --json {options}"
        ));
        let answers = folder.run(&format!("run {name}.epk test.npy -o {name}.npy"));
        assert!(answers.status.success(), "{answers:?}");
        (
            packed,
            fs::read(folder.path(&format!("{name}.npy"))).unwrap(),
        )
    };
    let (coded, expected) = pack("", "coded");
    let codes: u64 = 80_000;
    for (board, least) in [("rpi3", 3), ("rpi5", 9)] {
        let (packed, answers) = pack(&format!("--in-place {board}"), board);
        assert_eq!(answers, expected, "{board}");
        assert_eq!(packed["density"], coded["density"], "{board}");
        let bytes = packed["package_bytes"].as_u64().unwrap();
        assert!((codes..codes * 6 / 5).contains(&bytes), "{board}: {bytes}");
        let [more, less] = [&coded, &packed].map(|pack| pack["arena_bytes"].as_u64().unwrap());
        assert!(less + codes <= more, "{board}: {less} and {more}");
        let layers = packed["layers"].as_array().unwrap();
        // kernels read windows' rows filled up to whole steps, as packages do not hold them
        let is_in_place = |layer: &&serde_json::Value| layer["encoding"] == "in place";
        let in_place = layers.iter().filter(is_in_place).count();
        assert!(in_place >= least, "{board}: {layers:?}");
        let fits = format!(
            "pack model.onnx --calib calib.npy --in-place {board} --max-size {bytes} -o fits.epk"
        );
        assert!(folder.run(&fits).status.success());
        assert_eq!(fs::metadata(folder.path("fits.epk")).unwrap().len(), bytes);
        fs::remove_file(folder.path("fits.epk")).unwrap();
        let short = format!(
            "pack model.onnx --calib calib.npy --in-place {board} --max-size {} -o s.epk",
            bytes - 1
        );
        folder.refuse(&short, 1, "without --in-place");
    }
    folder.refuse("pack model.onnx --in-place pdp11 -o x.epk", 2, "pdp11");
}

#[test]
fn a_second_budget_takes_what_the_first_measured() {
    let own = tempfile::tempdir().unwrap();
    let folder = Folder {
        studies: own.path().to_path_buf(),
        ..Folder::new()
    };
    let kept = || -> Vec<PathBuf> {
        let entries = fs::read_dir(own.path()).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let pack = |budget: u64, options: &str| {
        folder.json(&format!(
            "pack model.onnx --calib calib.npy --max-size {budget} -o model.epk --json {options}"
        ));
        fs::read(folder.path("model.epk")).unwrap()
    };
    let fresh = pack(BUDGET, "--no-cache");
    assert!(kept().is_empty());
    assert_eq!(pack(BUDGET, ""), fresh);
    let files = kept();
    assert_eq!(files.len(), 1);
    let written = fs::metadata(&files[0]).unwrap().modified().unwrap();
    assert_eq!(pack(BUDGET, ""), fresh);
    assert!(pack(BUDGET / 2, "").len() as u64 <= BUDGET / 2);
    assert_eq!(
        fs::metadata(&files[0]).unwrap().modified().unwrap(),
        written
    );
    // Other samples and other options are measured anew.
    pack(BUDGET, "--calib-samples 20");
    pack(BUDGET, "--sparsity 0.3");
    assert_eq!(kept().len(), 3);
    // A damaged file is no harm.
    fs::write(&files[0], b"damaged").unwrap();
    assert_eq!(pack(BUDGET, ""), fresh);
}
