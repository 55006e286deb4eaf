//! Samples from `.npy` and `.npz` files.

use super::images;
use super::labels;
use super::order::{InputForm, Order, transposed};
use super::spec::InputSpec;
use crate::Error;
use npyz::{DType, Endianness, NpyHeader, TypeChar};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use zip::ZipArchive;
use zip::result::ZipError;

/// Arrays of samples, one for each model input.
#[derive(Debug)]
pub(super) struct Arrays {
    path: PathBuf,
    samples: usize,
    columns: Vec<Column>,
}

/// The array of one model input.
#[derive(Debug)]
struct Column {
    array: Array,
    /// Dimensions of one sample.
    shape: Vec<usize>,
    /// Order of a sample's elements; `None` for pixels, which go through the input specification.
    order: Option<Order>,
}

impl Arrays {
    /// Opens the arrays and finds their labels.
    pub(super) fn open(
        path: &Path,
        labels: Option<&Path>,
        spec: Option<&InputSpec>,
        forms: &[InputForm],
    ) -> Result<(Self, Option<Vec<usize>>), Error> {
        let (arrays, own_labels) = if labels::has_extension(path, "npz") {
            open_archive(path, forms)?
        } else {
            (vec![open_single(path, forms)?], None)
        };
        let columns = columns(path, arrays, spec, forms)?;
        let samples = samples(path, &columns, forms)?;
        let labels = match (labels, own_labels) {
            (Some(file), _) => Some(labels::in_order(file, samples)?),
            (None, Some(own)) => Some(labels::of_array(path, &own)?),
            (None, None) => None,
        };
        if let Some(labels) = &labels {
            labels::check_count(path, labels.len(), samples)?;
        }
        let path = path.to_path_buf();
        Ok((
            Self {
                path,
                samples,
                columns,
            },
            labels,
        ))
    }

    pub(super) fn len(&self) -> usize {
        self.samples
    }

    /// Whether an input's samples are pixels, which the input specification prepares.
    pub(super) fn is_pixels(&self, input: usize) -> bool {
        let column = self.columns.get(input);
        column.is_some_and(|column| column.order.is_none())
    }

    pub(super) fn sample(
        &self,
        index: usize,
        spec: Option<&InputSpec>,
        forms: &[InputForm],
    ) -> Result<Vec<Vec<f32>>, Error> {
        let columns = self.columns.iter().zip(forms);
        columns
            .map(|(column, form)| column.sample(&self.path, index, spec, form))
            .collect()
    }
}

impl Column {
    fn sample(
        &self,
        path: &Path,
        index: usize,
        spec: Option<&InputSpec>,
        form: &InputForm,
    ) -> Result<Vec<f32>, Error> {
        let count = self.shape.iter().product();
        match (self.order, spec) {
            (None, Some(spec)) => {
                let pixels = self.array.bytes.read(index * count, count);
                let pixels = pixels.map_err(Error::io(path))?;
                images::of_pixels(&pixels, pixel_shape(&self.shape), spec, form)
                    .map_err(|cause| Error::data(path, format!("sample {index}: {cause}")))
            }
            (order, _) => {
                let values = self.array.values(path, index * count, count)?;
                self.check_finite(&values)
                    .map_err(|cause| Error::data(path, format!("sample {index}: {cause}")))?;
                Ok(form.arrange(values, order.unwrap_or(Order::Source)))
            }
        }
    }
}

impl Column {
    /// Names the first of a sample's elements that is not a number or not finite.
    fn check_finite(&self, values: &[f32]) -> Result<(), String> {
        let Some(at) = values.iter().position(|value| !value.is_finite()) else {
            return Ok(());
        };
        let bad = values.iter().filter(|value| !value.is_finite()).count();
        Err(format!(
            "element {:?} is {}, and {} of {} elements are not finite: \
             repair the array or leave the sample out",
            place(&self.shape, at),
            values[at],
            bad,
            values.len()
        ))
    }
}

/// Indices of an element by its place in row-major order.
fn place(shape: &[usize], mut at: usize) -> Vec<usize> {
    let mut indices: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&dim| {
            let index = at % dim.max(1);
            at /= dim.max(1);
            index
        })
        .collect();
    indices.reverse();
    indices
}

/// How pixels lie in a sample.
#[derive(Clone, Copy)]
pub(super) struct PixelShape {
    pub(super) size: [usize; 2],
    pub(super) channels: usize,
    pub(super) channels_first: bool,
}

/// Reads a sample's dimensions as an image of 1 or 3 channels.
fn pixel_shape(shape: &[usize]) -> Option<PixelShape> {
    let is_colour = |channels| channels == 1 || channels == 3;
    match *shape {
        [h, w] => Some((h, w, 1, false)),
        [h, w, c] if is_colour(c) => Some((h, w, c, false)),
        [c, h, w] if is_colour(c) => Some((h, w, c, true)),
        _ => None,
    }
    .map(|(h, w, channels, channels_first)| PixelShape {
        size: [h, w],
        channels,
        channels_first,
    })
}

impl PixelShape {
    /// The pixels with the channels last.
    pub(super) fn interleaved(self, pixels: &[u8]) -> Vec<u8> {
        if self.channels_first {
            transposed(pixels, self.channels, self.size[0] * self.size[1])
        } else {
            pixels.to_vec()
        }
    }
}

fn open_single(path: &Path, forms: &[InputForm]) -> Result<Array, Error> {
    if !labels::has_extension(path, "npy") {
        return Err(Error::data(
            path,
            "want a folder of JPEG or PNG images, one such image, an .npy array or an .npz archive",
        ));
    }
    if forms.len() != 1 {
        return Err(Error::data(
            path,
            format!(
                "the network has {} inputs: give an .npz archive with the arrays {}",
                forms.len(),
                names(forms)
            ),
        ));
    }
    Array::open(path)
}

fn names(forms: &[InputForm]) -> String {
    let quoted: Vec<String> = forms.iter().map(|f| format!("`{}`", f.name)).collect();
    quoted.join(", ")
}

/// The archive's array for each input, and its array `labels`. The only array of an archive serves
/// the only input, whatever its name.
fn open_archive(path: &Path, forms: &[InputForm]) -> Result<(Vec<Array>, Option<Array>), Error> {
    let file = BufReader::new(File::open(path).map_err(Error::io(path))?);
    let mut archive =
        ZipArchive::new(file).map_err(|cause| Error::data(path, cause.to_string()))?;
    let arrays = archive
        .file_names()
        .filter_map(|name| Some(name.ok()?.strip_suffix(".npy")?.to_owned()));
    let mut found: Vec<String> = arrays.collect();
    found.sort_unstable();
    let mut take = |name: &str| -> Result<Option<Array>, Error> {
        let mut member = match archive.by_name(&format!("{name}.npy")) {
            Ok(member) => member,
            Err(ZipError::FileNotFound) => return Ok(None),
            Err(cause) => return Err(Error::data(path, format!("array `{name}`: {cause}"))),
        };
        let header = NpyHeader::from_reader(&mut member).map_err(Error::io(path))?;
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes).map_err(Error::io(path))?;
        Array::new(path, &header, Bytes::Memory(bytes)).map(Some)
    };
    let own_labels = if forms.iter().any(|form| form.name == "labels") {
        None
    } else {
        take("labels")?
    };
    found.retain(|name| own_labels.is_none() || name != "labels");
    let mut arrays = Vec::new();
    for form in forms {
        let name = match found.as_slice() {
            [only] if forms.len() == 1 => only,
            _ => &form.name,
        };
        let missing = || {
            format!(
                "has no array `{name}`; the network's inputs are {}, the archive has {}",
                names(forms),
                found.join(", ")
            )
        };
        arrays.push(take(name)?.ok_or_else(|| Error::data(path, missing()))?);
    }
    Ok((arrays, own_labels))
}

fn columns(
    path: &Path,
    arrays: Vec<Array>,
    spec: Option<&InputSpec>,
    forms: &[InputForm],
) -> Result<Vec<Column>, Error> {
    let pairs = arrays.into_iter().zip(forms);
    pairs
        .map(|(array, form)| {
            let shape = array.shape().to_vec();
            column(array, spec, form).ok_or_else(|| {
                Error::data(
                    path,
                    format!(
                        "an array of shape {shape:?} does not hold samples of input `{}`: \
                         want {}, after a dimension of samples",
                        form.name,
                        form.wanted()
                    ),
                )
            })
        })
        .collect()
}

fn column(array: Array, spec: Option<&InputSpec>, form: &InputForm) -> Option<Column> {
    let whole = array.shape().to_vec();
    let each = whole.get(1..)?.to_vec();
    let as_pixels = array.is_u8() && spec.is_some() && form.hwc().is_some();
    if as_pixels && pixel_shape(&each).is_some() {
        return Some(Column {
            array,
            shape: each,
            order: None,
        });
    }
    if let Some(order) = form.order_of(&each) {
        return Some(Column {
            array,
            shape: each,
            order: Some(order),
        });
    }
    let order = form.order_of(&whole)?;
    Some(Column {
        array: array.into_one_sample(),
        shape: whole,
        order: Some(order),
    })
}

fn samples(path: &Path, columns: &[Column], forms: &[InputForm]) -> Result<usize, Error> {
    let counts: Vec<usize> = columns.iter().map(|c| c.array.shape()[0]).collect();
    let samples = counts.first().copied().unwrap_or(0);
    if counts.iter().any(|&count| count != samples) {
        return Err(Error::data(
            path,
            format!(
                "the arrays {} have {counts:?} samples: want as many in each",
                names(forms)
            ),
        ));
    }
    if samples == 0 {
        return Err(Error::data(path, "there are no samples in it"));
    }
    Ok(samples)
}

/// An array of which parts are read when they are needed.
#[derive(Debug)]
pub(super) struct Array {
    shape: Vec<usize>,
    element: Element,
    bytes: Bytes,
}

impl Array {
    /// Opens an `.npy` file and checks that it is whole.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let mut file = File::open(path).map_err(Error::io(path))?;
        let not_npy = |cause: io::Error| Error::data(path, format!("not an .npy file: {cause}"));
        let header = NpyHeader::from_reader(&mut file).map_err(not_npy)?;
        let start = file.stream_position().map_err(Error::io(path))?;
        let len = file.metadata().map_err(Error::io(path))?.len();
        let bytes = Bytes::File {
            file: Mutex::new(file),
            start,
            len: len.saturating_sub(start),
        };
        Self::new(path, &header, bytes)
    }

    fn new(path: &Path, header: &NpyHeader, bytes: Bytes) -> Result<Self, Error> {
        let refuse = |cause: String| Error::data(path, cause);
        let element = Element::of(&header.dtype()).ok_or_else(|| {
            refuse(format!(
                "elements of type {}: want a number type",
                header.dtype().descr()
            ))
        })?;
        if header.order() == npyz::Order::Fortran && header.shape().len() > 1 {
            return Err(refuse(
                "the array is in Fortran order: save numpy.ascontiguousarray(x)".into(),
            ));
        }
        let shape: Vec<usize> = header
            .shape()
            .iter()
            .map(|&d| usize::try_from(d).unwrap_or(usize::MAX))
            .collect();
        let want = shape
            .iter()
            .try_fold(element.size, |n, &d| n.checked_mul(d))
            .ok_or_else(|| refuse(format!("the shape {shape:?} overflows")))?;
        if bytes.len() < want as u64 {
            return Err(refuse(format!(
                "the file is cut short: {} bytes of elements, its header declares {want}",
                bytes.len()
            )));
        }
        Ok(Self {
            shape,
            element,
            bytes,
        })
    }

    pub(super) fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn is_u8(&self) -> bool {
        self.element.kind == TypeChar::Uint && self.element.size == 1
    }

    fn into_one_sample(mut self) -> Self {
        self.shape.insert(0, 1);
        self
    }

    /// `count` elements from element `start` on.
    pub(super) fn values(
        &self,
        path: &Path,
        start: usize,
        count: usize,
    ) -> Result<Vec<f32>, Error> {
        let size = self.element.size;
        let bytes = self.bytes.read(start * size, count * size);
        let bytes = bytes.map_err(Error::io(path))?;
        Ok(bytes
            .chunks_exact(size)
            .map(|chunk| self.element.value(chunk))
            .collect())
    }
}

/// Where an array's bytes are.
#[derive(Debug)]
enum Bytes {
    File {
        file: Mutex<File>,
        start: u64,
        len: u64,
    },
    Memory(Vec<u8>),
}

impl Bytes {
    fn len(&self) -> u64 {
        match self {
            Self::File { len, .. } => *len,
            Self::Memory(bytes) => bytes.len() as u64,
        }
    }

    fn read(&self, at: usize, len: usize) -> io::Result<Vec<u8>> {
        match self {
            Self::File { file, start, .. } => {
                let mut bytes = vec![0; len];
                let mut file = file
                    .lock()
                    .map_err(|_| io::Error::other("a reader failed"))?;
                file.seek(SeekFrom::Start(start + at as u64))?;
                file.read_exact(&mut bytes)?;
                Ok(bytes)
            }
            Self::Memory(bytes) => bytes
                .get(at..at + len)
                .map(<[u8]>::to_vec)
                .ok_or_else(|| io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// A number type.
#[derive(Clone, Copy, Debug)]
struct Element {
    kind: TypeChar,
    size: usize,
    big_endian: bool,
}

impl Element {
    fn of(dtype: &DType) -> Option<Self> {
        let DType::Plain(text) = dtype else {
            return None;
        };
        let kind = text.type_char();
        let size = text.num_bytes()?;
        let is_number = match kind {
            TypeChar::Bool => size == 1,
            TypeChar::Int | TypeChar::Uint => matches!(size, 1 | 2 | 4 | 8),
            TypeChar::Float => matches!(size, 2 | 4 | 8),
            _ => false,
        };
        is_number.then_some(Self {
            kind,
            size,
            big_endian: text.endianness() == Endianness::Big,
        })
    }

    /// The value of an element's bytes, rounded to single precision.
    fn value(self, bytes: &[u8]) -> f32 {
        let mut word = [0; 8];
        for (i, slot) in word.iter_mut().take(self.size).enumerate() {
            *slot = bytes[if self.big_endian {
                self.size - 1 - i
            } else {
                i
            }];
        }
        let bits = u64::from_le_bytes(word);
        match (self.kind, self.size) {
            (TypeChar::Float, 2) => half(bits as u16),
            (TypeChar::Float, 4) => f32::from_bits(bits as u32),
            (TypeChar::Float, _) => f64::from_bits(bits) as f32,
            (TypeChar::Int, size) => {
                let unused = 64 - 8 * size as u32;
                ((bits << unused) as i64 >> unused) as f32
            }
            _ => bits as f32,
        }
    }
}

/// IEEE half precision to single.
fn half(bits: u16) -> f32 {
    let sign = if bits >> 15 == 0 { 1.0 } else { -1.0 };
    let exponent = i32::from(bits >> 10 & 31);
    let fraction = f32::from(bits & 1023) / 1024.0;
    sign * match exponent {
        0 => fraction * 2f32.powi(-14),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1.0 + fraction) * 2f32.powi(exponent - 15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(kind: TypeChar, size: usize, big_endian: bool) -> Element {
        Element {
            kind,
            size,
            big_endian,
        }
    }

    #[test]
    fn every_number_type_is_read() {
        let read = |kind, bytes: &[u8]| element(kind, bytes.len(), false).value(bytes);
        assert_eq!(read(TypeChar::Uint, &[200]), 200.0);
        assert_eq!(read(TypeChar::Int, &[200]), -56.0);
        assert_eq!(read(TypeChar::Int, &(-7i64).to_le_bytes()), -7.0);
        assert_eq!(read(TypeChar::Int, &(-300i16).to_le_bytes()), -300.0);
        assert_eq!(read(TypeChar::Float, &1.5f64.to_le_bytes()), 1.5);
        assert_eq!(read(TypeChar::Float, &(-0.25f32).to_le_bytes()), -0.25);
        assert_eq!(read(TypeChar::Float, &[0x00, 0x3e]), 1.5);
        assert_eq!(read(TypeChar::Bool, &[1]), 1.0);
    }

    #[test]
    fn big_endian_files_are_read() {
        let value = element(TypeChar::Int, 4, true).value(&(-70_000i32).to_be_bytes());
        assert_eq!(value, -70_000.0);
    }

    #[test]
    fn an_element_is_placed_by_its_indices() {
        assert_eq!(place(&[3, 4, 5], 0), [0, 0, 0]);
        assert_eq!(place(&[3, 4, 5], 3 + 5 * 2 + 20), [1, 2, 3]);
        assert!(place(&[], 0).is_empty());
    }

    #[test]
    fn half_precision_reaches_its_ends() {
        assert_eq!(half(0x7bff), 65504.0);
        assert_eq!(half(0x0001), 2f32.powi(-24));
        assert_eq!(half(0xfc00), f32::NEG_INFINITY);
        assert!(half(0x7e00).is_nan());
    }
}
