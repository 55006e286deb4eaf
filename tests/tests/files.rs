//! What commands read and write: samples that are looked at before any work, and outputs that destroy nothing.

use crate::command::command;
use npyz::WriterBuilder;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use tempfile::TempDir;

/// Pixels of a sample of the demo network.
const PIXELS: usize = 28 * 28;

/// A folder with the demo network, its specification and its calibration samples.
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
        ] {
            fs::copy(demo.join(from), folder.path(to)).unwrap();
        }
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, arguments: &str) -> Output {
        command()
            .args(arguments.split_whitespace())
            .current_dir(self.0.path())
            .env("EDGEPRUNE_CACHE", self.path("cache"))
            .output()
            .unwrap()
    }

    /// Runs what must succeed; what it says on stderr.
    fn said(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Runs what must fail with one error and that exit code; the error.
    fn refusal(&self, arguments: &str, code: i32) -> String {
        let output = self.run(arguments);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments}: {message}");
        assert_eq!(
            message.matches("error:").count(),
            1,
            "{arguments}: {message}"
        );
        message
    }

    /// The first pixels of the calibration samples, as `f32`.
    fn pixels(&self, samples: usize) -> Vec<f32> {
        let file = fs::File::open(self.path("calib.npy")).unwrap();
        let bytes: Vec<u8> = npyz::NpyFile::new(file).unwrap().into_vec().unwrap();
        bytes[..samples * PIXELS]
            .iter()
            .map(|&byte| byte.into())
            .collect()
    }

    fn save(&self, name: &str, values: &[f32]) {
        let file = fs::File::create(self.path(name)).unwrap();
        let shape = [(values.len() / PIXELS) as u64, 28, 28];
        let options = npyz::WriteOptions::new().default_dtype().shape(&shape);
        let mut writer = options.writer(file).begin_nd().unwrap();
        writer.extend(values.iter().copied()).unwrap();
        writer.finish().unwrap();
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// As the demo's specification does.
fn normalized(pixels: &[f32]) -> Vec<f32> {
    pixels.iter().map(|pixel| (pixel - MEAN) / STD).collect()
}

const MEAN: f32 = 72.94;
const STD: f32 = 90.02;

#[test]
fn values_that_are_not_finite_are_errors_wherever_samples_are_read() {
    let folder = Folder::new();
    folder.said("pack model.onnx --float -o m.epk");
    let mut values = normalized(&folder.pixels(5));
    folder.save("good.npy", &values);
    values[3 * PIXELS + 2 * 28 + 7] = f32::NAN;
    folder.save("nan.npy", &values);
    values[3 * PIXELS + 2 * 28 + 7] = f32::NEG_INFINITY;
    folder.save("inf.npy", &values);
    for (file, word) in [("nan.npy", "NaN"), ("inf.npy", "-inf")] {
        for command in [
            "pack model.onnx -o q.epk --calib FILE",
            "pack model.onnx -o q.epk --calib good.npy --max-drop 1 --eval FILE",
            "curve model.onnx --calib FILE",
            "sensitivity model.onnx --calib FILE",
            "inspect model.onnx --verify --data FILE --samples 5",
            "eval m.epk --data FILE",
            "run m.epk FILE -o y.npy",
        ] {
            let message = folder.refusal(&command.replace("FILE", file), 1);
            for part in [file, "sample 3", "[2, 7]", word] {
                assert!(message.contains(part), "{command}: {message}");
            }
        }
    }
    assert!(!folder.path("q.epk").exists() && !folder.path("y.npy").exists());
}

#[test]
fn an_outlier_names_its_sample_and_packing_ends() {
    let folder = Folder::new();
    let mut values = normalized(&folder.pixels(5));
    values[3 * PIXELS] = 1e30;
    folder.save("outlier.npy", &values);
    let message = folder.refusal("pack model.onnx --calib outlier.npy --no-cache -o q.epk", 1);
    for part in ["outlier.npy[3]", "1e30"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn doubtful_samples_are_warned_of_once_with_the_way_out() {
    let folder = Folder::new();
    let pixels = folder.pixels(5);
    folder.save("raw.npy", &pixels);
    folder.save(
        "unit.npy",
        &pixels.iter().map(|v| v / 255.0).collect::<Vec<_>>(),
    );
    folder.save("blank.npy", &[0.5; 5 * PIXELS]);
    folder.save("same.npy", &normalized(&pixels[..PIXELS]).repeat(5));
    folder.save("good.npy", &normalized(&pixels));
    for (file, part) in [
        ("raw.npy", "save the array as u8"),
        ("unit.npy", "(pixel - mean) / std"),
        ("blank.npy", "5 of 5 samples are constant"),
        ("same.npy", "all 5 samples are identical"),
    ] {
        let said = folder.said(&format!("pack model.onnx --calib {file} -o q.epk"));
        let warning = format!("warning: {file}: ");
        assert_eq!(said.matches(&warning).count(), 1, "{said}");
        assert!(said.contains(part), "{said}");
    }
    for file in ["good.npy", "calib.npy"] {
        let said = folder.said(&format!("pack model.onnx --calib {file} -o q.epk"));
        assert!(!said.contains(&format!("warning: {file}")), "{said}");
    }
}

#[test]
fn no_output_replaces_an_input() {
    let folder = Folder::new();
    folder.said("pack model.onnx --float -o m.epk");
    fs::create_dir(folder.path("sub")).unwrap();
    let before: Vec<(String, Vec<u8>)> = folder
        .names()
        .into_iter()
        .filter(|name| folder.path(name).is_file())
        .map(|name| (name.clone(), fs::read(folder.path(&name)).unwrap()))
        .collect();
    for arguments in [
        "pack model.onnx --float -o model.onnx",
        "pack model.onnx --float -o ./sub/../model.onnx",
        "pack model.onnx --float -o model.toml",
        "pack model.onnx --calib calib.npy -o calib.npy",
        "run m.epk calib.npy -o calib.npy",
        "run m.epk calib.npy -o m.epk",
        "curve model.onnx --calib calib.npy -o calib.npy",
        "curve model.onnx --calib calib.npy -o a.html --csv a.html",
        "sensitivity model.onnx --calib calib.npy --csv model.onnx",
    ] {
        folder.refusal(arguments, 2);
    }
    for (name, content) in before {
        assert_eq!(fs::read(folder.path(&name)).unwrap(), content, "{name}");
    }
}

#[test]
fn a_place_that_cannot_be_written_is_said_before_the_work() {
    let folder = Folder::new();
    let message = folder.refusal("pack model.onnx --calib calib.npy -o none/m.epk", 1);
    assert!(message.contains("make it first"), "{message}");
    let message = folder.refusal("pack model.onnx --calib nothing.npy -o none/m.epk", 1);
    assert!(
        message.contains("none"),
        "the output comes first: {message}"
    );
    fs::create_dir(folder.path("folder")).unwrap();
    let message = folder.refusal("pack model.onnx --float -o folder", 1);
    assert!(message.contains("is a folder"), "{message}");
}

#[cfg(unix)]
#[test]
fn a_package_to_standard_output_is_whole_and_alone() {
    let folder = Folder::new();
    folder.said("pack model.onnx --float -o m.epk");
    let output = folder.run("pack model.onnx --float -o /dev/stdout");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, fs::read(folder.path("m.epk")).unwrap());
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.contains("memory to run"), "{words}");
}

#[cfg(unix)]
#[test]
fn pictures_need_no_name_in_utf_8() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let folder = Folder::new();
    folder.said("pack model.onnx --float -o m.epk");
    let pictures = folder.path("pictures");
    fs::create_dir(&pictures).unwrap();
    let names: [&[u8]; 2] = [b"caf\xe9.png", b"\xff.png"];
    for (shade, name) in (0u8..).zip(names) {
        let picture = image::GrayImage::from_fn(28, 28, |x, _| image::Luma([9 * x as u8 + shade]));
        let whole = pictures.join("picture.png");
        picture.save(&whole).unwrap();
        fs::rename(whole, pictures.join(OsStr::from_bytes(name))).unwrap();
    }
    fs::write(
        folder.path("l.csv"),
        b"\xef\xbb\xbffile,index\r\n\xff.png,1\r\ncaf\xe9.png,2\r\n",
    )
    .unwrap();
    folder.said("run m.epk pictures -o y.npy");
    folder.said("eval m.epk --data pictures --labels l.csv");
}
