//! Samples: what is read, in which order, and what is refused with a message that names the file
//! and the way out.

use edgeprune::dataset::{Dataset, InputSpec};
use edgeprune::graph::{Layout, Port};
use npyz::WriterBuilder;
use std::io::Write;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// A folder that goes away, with what a test puts in it.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A picture of one colour.
    fn image(&self, name: &str, size: [u32; 2], colour: [u8; 3]) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let [height, width] = size;
        image::RgbImage::from_pixel(width, height, image::Rgb(colour))
            .save(&path)
            .unwrap();
        path
    }

    fn npy<T: npyz::AutoSerialize + Copy>(
        &self,
        name: &str,
        shape: &[u64],
        values: &[T],
    ) -> PathBuf {
        let path = self.path(name);
        let file = std::fs::File::create(&path).unwrap();
        let options = npyz::WriteOptions::new().default_dtype();
        let mut writer = options.shape(shape).writer(file).begin_nd().unwrap();
        writer.extend(values.iter().copied()).unwrap();
        writer.finish().unwrap();
        path
    }

    fn spec(&self, text: &str) -> InputSpec {
        InputSpec::read(&self.text("spec.toml", text)).unwrap()
    }
}

const RGB: &str = "[input]\nchannel-order = \"rgb\"\n";

fn port(shape: &[usize], layout: Layout) -> Port {
    Port {
        name: "x".into(),
        tensor: 0,
        source_shape: shape.to_vec(),
        layout,
    }
}

/// A network that takes colour pictures of 2 x 2.
fn tiny() -> [Port; 1] {
    [port(&[1, 3, 2, 2], Layout::Nchw)]
}

fn refused(path: &Path, labels: Option<&Path>, spec: Option<&InputSpec>, ports: &[Port]) -> String {
    Dataset::open(path, labels, spec, ports)
        .unwrap_err()
        .to_string()
}

#[test]
fn images_are_read_in_the_order_of_their_names() {
    let folder = Folder::new();
    for (name, red) in [("data/c.png", 3), ("data/a.png", 1), ("data/b.jpg", 2)] {
        folder.image(name, [2, 2], [red, 0, 0]);
    }
    let data = Dataset::open(&folder.path("data"), None, Some(&folder.spec(RGB)), &tiny()).unwrap();
    let names: Vec<String> = (0..data.len()).map(|i| data.name(i)).collect();
    assert_eq!(names, ["a.png", "b.jpg", "c.png"]);
    assert_eq!(data.sample(2).unwrap()[0][..3], [3.0, 0.0, 0.0]);
    assert!(!data.is_labelled());
}

#[test]
fn labels_beside_the_images_are_found() {
    let folder = Folder::new();
    folder.image("data/a.png", [2, 2], [0; 3]);
    folder.image("data/b.png", [2, 2], [0; 3]);
    folder.text("data/labels.csv", "b.png,4\na.png,9\n");
    let data = Dataset::open(&folder.path("data"), None, Some(&folder.spec(RGB)), &tiny()).unwrap();
    assert_eq!([data.label(0), data.label(1)], [Some(9), Some(4)]);
}

#[test]
fn sub_folders_are_classes_in_sorted_order() {
    let folder = Folder::new();
    for name in ["data/dog/1.png", "data/cat/2.png", "data/dog/0.png"] {
        folder.image(name, [2, 2], [0; 3]);
    }
    let data = Dataset::open(&folder.path("data"), None, Some(&folder.spec(RGB)), &tiny()).unwrap();
    let labels: Vec<_> = (0..3)
        .map(|i| (data.name(i), data.label(i).unwrap()))
        .collect();
    let expected = [("cat/2.png", 0), ("dog/0.png", 1), ("dog/1.png", 1)];
    assert_eq!(
        labels,
        expected.map(|(name, label)| (name.to_owned(), label))
    );
}

#[test]
fn an_empty_folder_is_refused() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("data")).unwrap();
    let message = refused(&folder.path("data"), None, Some(&folder.spec(RGB)), &tiny());
    assert!(message.contains("no JPEG or PNG"), "{message}");
}

#[test]
fn images_without_a_specification_say_how_to_write_one() {
    let folder = Folder::new();
    folder.image("data/a.png", [2, 2], [0; 3]);
    let message = refused(&folder.path("data"), None, None, &tiny());
    assert!(
        message.contains("--input-spec") && message.contains("mean ="),
        "{message}"
    );
}

#[test]
fn a_corrupt_image_is_named() {
    let folder = Folder::new();
    folder.image("data/a.png", [2, 2], [0; 3]);
    folder.text("data/b.jpg", "not a picture");
    let data = Dataset::open(&folder.path("data"), None, Some(&folder.spec(RGB)), &tiny()).unwrap();
    assert!(data.sample(0).is_ok());
    let message = data.sample(1).unwrap_err().to_string();
    assert!(message.contains("b.jpg"), "{message}");
}

#[test]
fn an_image_of_another_size_is_named_with_both_sizes() {
    let folder = Folder::new();
    folder.image("data/a.png", [5, 7], [0; 3]);
    let data = Dataset::open(&folder.path("data"), None, Some(&folder.spec(RGB)), &tiny()).unwrap();
    let message = data.sample(0).unwrap_err().to_string();
    assert!(
        message.contains("a.png") && message.contains("5 x 7"),
        "{message}"
    );
    assert!(
        message.contains("2 x 2") && message.contains("resize"),
        "{message}"
    );
}

#[test]
fn a_specification_with_other_channels_than_the_network_is_refused() {
    let folder = Folder::new();
    folder.image("data/a.png", [2, 2], [0; 3]);
    let gray = folder.spec("[input]\nchannel-order = \"gray\"\n");
    let message = refused(&folder.path("data"), None, Some(&gray), &tiny());
    assert!(message.contains("channel-order"), "{message}");
}

#[test]
fn labels_that_do_not_match_the_samples_are_refused() {
    let folder = Folder::new();
    let data = folder.npy("x.npy", &[3, 4], &[0f32; 12]);
    let ports = [port(&[1, 4], Layout::Nhwc)];
    for labels in [
        folder.npy("two.npy", &[2], &[0i64; 2]),
        folder.text("four.csv", "0\n1\n2\n3\n"),
        folder.npy("float.npy", &[3], &[0.5f32; 3]),
        folder.npy("negative.npy", &[3], &[-1i32; 3]),
        folder.npy("square.npy", &[3, 3], &[0i32; 9]),
        folder.path("missing.csv"),
    ] {
        let message = refused(&data, Some(&labels), None, &ports);
        let name = labels.file_name().unwrap().to_str().unwrap();
        assert!(message.contains(name), "{message}");
    }
}

#[test]
fn every_number_type_and_order_of_an_array_is_read() {
    let folder = Folder::new();
    let ports = tiny();
    let first_pixel = |path: &Path| {
        let data = Dataset::open(path, None, None, &ports).unwrap();
        assert_eq!(data.len(), 1);
        data.sample(0).unwrap()[0][..3].to_vec()
    };
    let count: Vec<u8> = (0..12).collect();
    let channels_last = folder.npy("last.npy", &[1, 2, 2, 3], &count);
    assert_eq!(first_pixel(&channels_last), [0.0, 1.0, 2.0]);
    let wide: Vec<f64> = count.iter().map(|&v| v.into()).collect();
    let channels_first = folder.npy("first.npy", &[1, 3, 2, 2], &wide);
    assert_eq!(first_pixel(&channels_first), [0.0, 4.0, 8.0]);
    let long: Vec<i64> = count.iter().map(|&v| v.into()).collect();
    let alone = folder.npy("alone.npy", &[3, 2, 2], &long);
    assert_eq!(first_pixel(&alone), [0.0, 4.0, 8.0]);
}

#[test]
fn pixels_of_arrays_are_normalised_and_floats_are_not() {
    let folder = Folder::new();
    let spec = folder.spec("[input]\nmean = [10.0]\nstd = [2.0]\n");
    let pixels = folder.npy("u8.npy", &[1, 2, 2, 3], &[20u8; 12]);
    let floats = folder.npy("f32.npy", &[1, 2, 2, 3], &[20f32; 12]);
    let value = |path: &Path| {
        let data = Dataset::open(path, None, Some(&spec), &tiny()).unwrap();
        data.sample(0).unwrap()[0][0]
    };
    assert_eq!((value(&pixels), value(&floats)), (5.0, 20.0));
}

#[test]
fn an_array_of_another_shape_is_refused_with_the_shapes_that_fit() {
    let folder = Folder::new();
    let path = folder.npy("x.npy", &[2, 5, 5], &[0f32; 50]);
    let message = refused(&path, None, None, &tiny());
    assert!(
        message.contains("[2, 5, 5]") && message.contains("[3, 2, 2]"),
        "{message}"
    );
}

#[test]
fn damaged_arrays_are_refused() {
    let folder = Folder::new();
    let whole = std::fs::read(folder.npy("x.npy", &[4, 4], &[0f32; 16])).unwrap();
    let ports = [port(&[1, 4], Layout::Nhwc)];
    for length in [0, 5, 20, whole.len() / 2, whole.len() - 1] {
        let path = folder.path("cut.npy");
        std::fs::write(&path, &whole[..length]).unwrap();
        let message = refused(&path, None, None, &ports);
        assert!(message.contains("cut.npy"), "{message}");
    }
    let nothing = folder.npy("none.npy", &[0, 4], &[0f32; 0]);
    assert!(refused(&nothing, None, None, &ports).contains("no samples"));
}

#[test]
fn an_archive_feeds_every_input_by_name() {
    let folder = Folder::new();
    let path = folder.path("x.npz");
    let mut archive = ZipWriter::new(std::fs::File::create(&path).unwrap());
    for (name, value) in [("b", 2f32), ("a", 1.0)] {
        let array = std::fs::read(folder.npy("x.npy", &[2, 4], &[value; 8])).unwrap();
        archive
            .start_file(format!("{name}.npy"), SimpleFileOptions::default())
            .unwrap();
        archive.write_all(&array).unwrap();
    }
    archive.finish().unwrap();
    let named = |name: &str| Port {
        name: name.into(),
        ..port(&[1, 4], Layout::Nhwc)
    };
    let data = Dataset::open(&path, None, None, &[named("a"), named("b")]).unwrap();
    let sample = data.sample(1).unwrap();
    assert_eq!((sample[0][0], sample[1][0]), (1.0, 2.0));
    let message = refused(&path, None, None, &[named("a"), named("c")]);
    assert!(
        message.contains("`c`") && message.contains("a, b"),
        "{message}"
    );
}
