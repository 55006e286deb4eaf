//! Samples from JPEG and PNG files.

use super::arrays::PixelShape;
use super::labels;
use super::order::{InputForm, Order};
use super::spec::{self, InputSpec};
use crate::Error;
use edgeprune_format::manifest::{ChannelOrder, Resize};
use image::imageops::{self, FilterType};
use image::{DynamicImage, GrayImage, ImageDecoder, ImageReader, ImageResult, Limits, RgbImage};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Image files in the order of their names.
#[derive(Debug)]
pub(super) struct Images {
    folder: PathBuf,
    /// Relative to the folder, with `/` between folder and file. Need not be UTF-8.
    files: Vec<OsString>,
}

impl Images {
    /// Lists the images and finds their labels.
    pub(super) fn open(
        path: &Path,
        labels: Option<&Path>,
        spec: Option<&InputSpec>,
        forms: &[InputForm],
    ) -> Result<(Self, Option<Vec<usize>>), Error> {
        let listing = Listing::of(path)?;
        let spec = spec.ok_or_else(|| spec::missing(path))?;
        check_form(path, spec, forms)?;
        let labels = listing.labels(path, labels, spec)?;
        let images = Self {
            folder: listing.folder,
            files: listing.files,
        };
        Ok((images, labels))
    }

    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    pub(super) fn name(&self, index: usize) -> String {
        let name = self.files.get(index);
        name.map_or_else(String::new, |name| name.display().to_string())
    }

    pub(super) fn sample(
        &self,
        index: usize,
        spec: Option<&InputSpec>,
        forms: &[InputForm],
    ) -> Result<Vec<Vec<f32>>, Error> {
        let path = self.folder.join(
            self.files
                .get(index)
                .map_or(OsStr::new(""), OsString::as_os_str),
        );
        let spec = spec.ok_or_else(|| spec::missing(&self.folder))?;
        let image = decode(&path)?;
        forms
            .iter()
            .map(|form| prepare(&image, spec, form).map_err(|cause| Error::data(&path, cause)))
            .collect()
    }
}

/// The images of a folder, before anything is known of the network.
struct Listing {
    folder: PathBuf,
    files: Vec<OsString>,
    /// Sub-folders that hold images, in sorted order.
    classes: Vec<OsString>,
}

impl Listing {
    fn of(path: &Path) -> Result<Self, Error> {
        if path.is_file() {
            return Ok(Self::of_file(path));
        }
        let mut files = images_in(path)?;
        let mut classes = Vec::new();
        if files.is_empty() {
            for class in folders_in(path)? {
                let inside = images_in(&path.join(&class))?;
                files.extend(inside.iter().map(|file| inside_of(&class, file)));
                classes.extend((!inside.is_empty()).then_some(class));
            }
        }
        if files.is_empty() {
            return Err(Error::data(
                path,
                "no JPEG or PNG images in this folder nor in its sub-folders",
            ));
        }
        let folder = path.to_path_buf();
        Ok(Self {
            folder,
            files,
            classes,
        })
    }

    fn of_file(path: &Path) -> Self {
        Self {
            folder: path.parent().unwrap_or(Path::new("")).to_path_buf(),
            files: vec![path.file_name().unwrap_or_default().to_owned()],
            classes: Vec::new(),
        }
    }

    fn labels(
        &self,
        path: &Path,
        explicit: Option<&Path>,
        spec: &InputSpec,
    ) -> Result<Option<Vec<usize>>, Error> {
        let beside = self.folder.join("labels.csv");
        match explicit {
            Some(file) if labels::has_extension(file, "csv") => {
                labels::by_file(file, &self.files).map(Some)
            }
            Some(file) => labels::in_order(file, self.files.len()).map(Some),
            None if path.is_dir() && beside.is_file() => {
                labels::by_file(&beside, &self.files).map(Some)
            }
            None if !self.classes.is_empty() => Ok(Some(self.class_labels(spec))),
            None => Ok(None),
        }
    }

    /// Labels from the sub-folders: the class of that name if the specification names every one,
    /// else the place in sorted order.
    fn class_labels(&self, spec: &InputSpec) -> Vec<usize> {
        let named: Option<Vec<usize>> = self
            .classes
            .iter()
            .map(|class| class_named(spec.labels.as_deref()?, class.to_str()?))
            .collect();
        let indices = named.unwrap_or_else(|| (0..self.classes.len()).collect());
        let class_of = |file: &OsString| {
            let folder = Path::new(file).parent()?;
            self.classes
                .iter()
                .position(|class| folder == Path::new(class))
        };
        self.files
            .iter()
            .filter_map(|file| class_of(file).map(|class| indices[class]))
            .collect()
    }
}

fn inside_of(class: &OsStr, file: &OsStr) -> OsString {
    let mut name = class.to_os_string();
    name.push("/");
    name.push(file);
    name
}

/// The class called `name`, or whose name starts with that word.
fn class_named(labels: &[String], name: &str) -> Option<usize> {
    labels
        .iter()
        .position(|label| label == name || label.split_whitespace().next() == Some(name))
}

/// Whether a file's name is that of an image.
pub(super) fn is_image(path: &Path) -> bool {
    ["jpg", "jpeg", "png"]
        .iter()
        .any(|extension| labels::has_extension(path, extension))
}

fn images_in(folder: &Path) -> Result<Vec<OsString>, Error> {
    names_in(folder, |path| is_image(path) && path.is_file())
}

fn folders_in(folder: &Path) -> Result<Vec<OsString>, Error> {
    names_in(folder, Path::is_dir)
}

fn names_in(folder: &Path, wanted: impl Fn(&Path) -> bool) -> Result<Vec<OsString>, Error> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        let path = entry.map_err(Error::io(folder))?.path();
        let name = path.file_name().unwrap_or_default();
        if wanted(&path) && !name.as_encoded_bytes().starts_with(b".") {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn check_form(path: &Path, spec: &InputSpec, forms: &[InputForm]) -> Result<(), Error> {
    let [form] = forms else {
        return Err(Error::data(
            path,
            format!(
                "images feed one input, the network has {}: give an .npz archive",
                forms.len()
            ),
        ));
    };
    let Some([_, _, channels]) = form.hwc() else {
        return Err(Error::data(
            path,
            format!(
                "input `{}` of shape {:?} is not an image: give an .npy array",
                form.name, form.source
            ),
        ));
    };
    check_channels(channels, spec).map_err(|cause| Error::data(path, cause))
}

fn check_channels(channels: usize, spec: &InputSpec) -> Result<(), String> {
    if channels != spec.channels() {
        return Err(format!(
            "the network wants {channels} channel(s), the input specification gives {}: \
             see `channel-order` and `layout`",
            spec.channels()
        ));
    }
    Ok(())
}

/// An image, turned upright as its EXIF orientation says.
fn decode(path: &Path) -> Result<DynamicImage, Error> {
    let reader = ImageReader::open(path)
        .and_then(ImageReader::with_guessed_format)
        .map_err(Error::io(path))?;
    upright(reader).map_err(|cause| Error::data(path, format!("cannot decode the image: {cause}")))
}

fn upright<R: std::io::BufRead + std::io::Seek>(
    reader: ImageReader<R>,
) -> ImageResult<DynamicImage> {
    let mut decoder = reader.into_decoder()?;
    Limits::default().reserve(decoder.total_bytes())?;
    let orientation = decoder.orientation()?;
    let mut image = DynamicImage::from_decoder(decoder)?;
    image.apply_orientation(orientation);
    Ok(image)
}

/// A sample of an array as the network's input.
pub(super) fn of_pixels(
    pixels: &[u8],
    shape: Option<PixelShape>,
    spec: &InputSpec,
    form: &InputForm,
) -> Result<Vec<f32>, String> {
    let shape = shape.ok_or("the sample is not an image of 1 or 3 channels")?;
    let [height, width] = shape.size.map(|side| side as u32);
    let interleaved = shape.interleaved(pixels);
    let image = if shape.channels == 1 {
        GrayImage::from_raw(width, height, interleaved).map(DynamicImage::from)
    } else {
        RgbImage::from_raw(width, height, interleaved).map(DynamicImage::from)
    };
    prepare(&image.ok_or("the sample is not an image")?, spec, form)
}

/// Resizes, crops, reorders and normalises; checks that the size is then the network's.
fn prepare(image: &DynamicImage, spec: &InputSpec, form: &InputForm) -> Result<Vec<f32>, String> {
    let [height, width, channels] = form.hwc().ok_or("the network's input is not an image")?;
    check_channels(channels, spec)?;
    let values = match spec.preprocess.channel_order {
        ChannelOrder::Gray => {
            let sized = sized(&luminance(image), spec, [height, width])?;
            normalised(sized.as_raw(), &[0], spec)
        }
        ChannelOrder::Rgb => {
            let sized = sized(&image.to_rgb8(), spec, [height, width])?;
            normalised(sized.as_raw(), &[0, 1, 2], spec)
        }
        ChannelOrder::Bgr => {
            let sized = sized(&image.to_rgb8(), spec, [height, width])?;
            normalised(sized.as_raw(), &[2, 1, 0], spec)
        }
    };
    Ok(form.arrange(values, Order::Hwc))
}

type Buffer<P> = image::ImageBuffer<P, Vec<u8>>;

fn sized<P: image::Pixel<Subpixel = u8> + 'static>(
    image: &Buffer<P>,
    spec: &InputSpec,
    want: [usize; 2],
) -> Result<Buffer<P>, String> {
    let preprocess = &spec.preprocess;
    let resized = match target_size(image.dimensions(), preprocess.resize) {
        Some((width, height)) => imageops::resize(image, width, height, FilterType::Triangle),
        None => image.clone(),
    };
    let (width, height) = resized.dimensions();
    let cropped = match preprocess.crop.map(|crop| crop.map(u32::from)) {
        None => resized,
        Some([high, wide]) if high <= height && wide <= width => {
            let (x, y) = (half(width - wide), half(height - high));
            imageops::crop_imm(&resized, x, y, wide, high).to_image()
        }
        Some([high, wide]) => {
            return Err(format!(
                "{height} x {width} pixels are too few for a crop of {high} x {wide}: \
                 let the input specification say `resize`"
            ));
        }
    };
    let have = [cropped.height() as usize, cropped.width() as usize];
    if have != want {
        return Err(format!(
            "{} x {} pixels (height x width), the network wants {} x {}: \
             let the input specification say `resize` or `crop`",
            have[0], have[1], want[0], want[1]
        ));
    }
    Ok(cropped)
}

/// Half of a number of pixels, rounded to the nearest and to even between two, as torchvision's
/// `center_crop` rounds.
fn half(pixels: u32) -> u32 {
    match pixels % 4 {
        3 => pixels.div_ceil(2),
        _ => pixels / 2,
    }
}

/// Width and height after resizing, `None` if they stay. The longer side is cut to a whole pixel,
/// as torchvision does it.
fn target_size((width, height): (u32, u32), resize: Resize) -> Option<(u32, u32)> {
    let target = match resize {
        Resize::None => return None,
        Resize::Exact([height, width]) => (u32::from(width), u32::from(height)),
        Resize::Shorter(side) => {
            let shorter = u64::from(width.min(height).max(1));
            let scaled = |length: u32| (u64::from(length) * u64::from(side) / shorter) as u32;
            (scaled(width), scaled(height))
        }
    };
    (target != (width, height)).then_some(target)
}

/// ITU-R 601 luminance, as PIL computes it.
fn luminance(image: &DynamicImage) -> GrayImage {
    if !image.color().has_color() {
        return image.to_luma8();
    }
    let rgb = image.to_rgb8();
    let (width, height) = rgb.dimensions();
    GrayImage::from_fn(width, height, |x, y| {
        let [r, g, b] = rgb.get_pixel(x, y).0.map(u32::from);
        image::Luma([((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16) as u8])
    })
}

/// `(pixel - mean) / std` with the channels in the order `from`.
pub(super) fn normalised(pixels: &[u8], from: &[usize], spec: &InputSpec) -> Vec<f32> {
    let scales: Vec<(f32, f32)> = (0..from.len()).map(|c| spec.mean_std(c)).collect();
    pixels
        .chunks_exact(from.len())
        .flat_map(|pixel| {
            let channels = from.iter().zip(&scales);
            channels.map(|(&source, &(mean, std))| (f32::from(pixel[source]) - mean) / std)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Layout, Port};

    fn spec(resize: Resize, crop: Option<[u16; 2]>, order: ChannelOrder) -> InputSpec {
        InputSpec {
            layout: None,
            preprocess: edgeprune_format::manifest::Preprocess {
                resize,
                crop,
                channel_order: order,
                mean: [1.0].into_iter().collect(),
                std: [2.0].into_iter().collect(),
            },
            labels: None,
        }
    }

    fn form(shape: [usize; 4]) -> InputForm {
        let port = Port {
            name: "x".into(),
            tensor: 0,
            source_shape: shape.to_vec(),
            layout: Layout::Nhwc,
        };
        InputForm::new(&port, None)
    }

    fn image(width: u32, height: u32) -> DynamicImage {
        RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, 9])).into()
    }

    #[test]
    fn a_crop_takes_the_centre_and_normalises() {
        let spec = spec(Resize::None, Some([1, 1]), ChannelOrder::Bgr);
        let values = prepare(&image(5, 7), &spec, &form([1, 1, 1, 3])).unwrap();
        assert_eq!(values, [4.0, 1.0, 0.5]);
    }

    #[test]
    fn the_offset_of_a_crop_rounds_to_even() {
        let halves: Vec<u32> = (0..10).map(half).collect();
        assert_eq!(halves, [0, 0, 1, 2, 2, 2, 3, 4, 4, 4]);
        let spec = spec(Resize::None, Some([16, 16]), ChannelOrder::Rgb);
        let values = prepare(&image(19, 17), &spec, &form([1, 16, 16, 3])).unwrap();
        assert_eq!(values[..2], [0.5, -0.5], "column 2, row 0");
    }

    /// A JPEG of 2 blocks by 1, red and blue, with an EXIF segment that says an orientation.
    fn photo(orientation: u8) -> Vec<u8> {
        let picture = RgbImage::from_fn(16, 8, |x, y| match (x < 8, y < 4) {
            (true, _) => image::Rgb([250, 0, 0]),
            (false, true) => image::Rgb([0, 250, 0]),
            (false, false) => image::Rgb([0, 0, 250]),
        });
        let mut jpeg = std::io::Cursor::new(Vec::new());
        let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, 100);
        picture.write_with_encoder(encoder).unwrap();
        let mut exif = b"\xff\xe1\x00\x22Exif\0\0II*\0\x08\0\0\0\x01\0".to_vec();
        exif.extend(*b"\x12\x01\x03\0\x01\0\0\0");
        exif.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
        let mut bytes = jpeg.into_inner();
        bytes.splice(2..2, exif);
        bytes
    }

    #[test]
    fn every_exif_orientation_is_obeyed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("photo.jpg");
        // Where the stored red (left), green (above right) and blue (below right) come to lie, as
        // (x, y) in eighths of the upright picture: EXIF 2.32, table of tag 0x0112.
        let places = [
            [(1, 4), (6, 1), (6, 6)],
            [(6, 4), (1, 1), (1, 6)],
            [(6, 4), (1, 6), (1, 1)],
            [(1, 4), (6, 6), (6, 1)],
            [(4, 1), (1, 6), (6, 6)],
            [(4, 1), (6, 6), (1, 6)],
            [(4, 6), (6, 1), (1, 1)],
            [(4, 6), (1, 1), (6, 1)],
        ];
        for (orientation, places) in (1u8..).zip(places) {
            std::fs::write(&path, photo(orientation)).unwrap();
            let upright = decode(&path).unwrap().to_rgb8();
            let (width, height) = upright.dimensions();
            let size = if orientation < 5 { (16, 8) } else { (8, 16) };
            assert_eq!((width, height), size, "orientation {orientation}");
            for (channel, (x, y)) in places.into_iter().enumerate() {
                let pixel = upright.get_pixel(x * width / 8, y * height / 8).0;
                assert!(
                    pixel[channel] > 150,
                    "orientation {orientation}: {pixel:?} at {x}, {y}"
                );
            }
        }
    }

    #[test]
    fn the_shorter_side_is_resized_and_the_longer_follows() {
        assert_eq!(
            target_size((500, 375), Resize::Shorter(256)),
            Some((341, 256))
        );
        assert_eq!(target_size((256, 300), Resize::Shorter(256)), None);
    }

    #[test]
    fn a_size_that_does_not_fit_says_what_to_do() {
        let spec = spec(Resize::None, None, ChannelOrder::Rgb);
        let message = prepare(&image(5, 7), &spec, &form([1, 5, 5, 3])).unwrap_err();
        assert!(
            message.contains("7 x 5") && message.contains("resize"),
            "{message}"
        );
    }

    #[test]
    fn a_crop_larger_than_the_image_is_refused() {
        let spec = spec(Resize::None, Some([8, 8]), ChannelOrder::Rgb);
        assert!(prepare(&image(5, 7), &spec, &form([1, 8, 8, 3])).is_err());
    }

    #[test]
    fn colour_becomes_luminance() {
        let spec = spec(Resize::Exact([1, 1]), None, ChannelOrder::Gray);
        let red: DynamicImage = RgbImage::from_pixel(3, 3, image::Rgb([255, 0, 0])).into();
        let values = prepare(&red, &spec, &form([1, 1, 1, 1])).unwrap();
        assert_eq!(values, [(76.0 - 1.0) / 2.0]);
    }

    #[test]
    fn sub_folders_named_like_classes_take_their_index() {
        let labels = ["n01 tench".to_owned(), "n02 shark".to_owned()];
        assert_eq!(class_named(&labels, "n02"), Some(1));
        assert_eq!(class_named(&labels, "n03"), None);
    }
}
