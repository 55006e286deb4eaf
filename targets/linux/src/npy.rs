//! Arrays in NumPy's `.npy` format: little-endian `f32` and bytes, in C order.
//! Format: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

/// The first six bytes.
const MAGIC: &[u8] = b"\x93NUMPY";
/// The data starts at a multiple of this.
const ALIGNMENT: usize = 64;

/// An array that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Npy {
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Elements in C order; bytes as 0..=255.
    pub values: Vec<f32>,
}

impl Npy {
    /// Reads an array of `f32`, `u8` or `i8`.
    ///
    /// # Errors
    /// A message: no `.npy`, another element type or order, a length that does not fit the shape.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let (header, data) = split(bytes).ok_or("not a .npy file, or a cut one")?;
        if field(header, "fortran_order")? != "False" {
            return Err(
                "the array is in Fortran order: save it with `numpy.ascontiguousarray`".into(),
            );
        }
        let shape = shape(field(header, "shape")?)?;
        let values: Vec<f32> = match field(header, "descr")?.trim_matches(['\'', '"']) {
            "<f4" => data
                .as_chunks::<4>()
                .0
                .iter()
                .map(|word| f32::from_le_bytes(*word))
                .collect(),
            "|u1" => data.iter().map(|&byte| f32::from(byte)).collect(),
            "|i1" => data.iter().map(|&byte| f32::from(byte as i8)).collect(),
            other => {
                return Err(format!(
                    "elements of type {other}: want float32, uint8 or int8"
                ));
            }
        };
        let elements = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        match elements == Some(values.len()) {
            true => Ok(Self { shape, values }),
            false => Err(format!(
                "{} elements do not fill the shape {shape:?}",
                values.len()
            )),
        }
    }
}

/// A `.npy` file of `f32`.
pub fn write_f32(shape: &[usize], values: &[f32]) -> Vec<u8> {
    let dims: String = shape.iter().map(|dim| format!("{dim}, ")).collect();
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({dims}), }}");
    let prefix = MAGIC.len() + 4;
    let padded = (prefix + header.len() + 1).next_multiple_of(ALIGNMENT) - prefix;
    header += &" ".repeat(padded - header.len() - 1);
    header.push('\n');
    let mut bytes = [
        MAGIC,
        &[1, 0],
        &(padded as u16).to_le_bytes(),
        header.as_bytes(),
    ]
    .concat();
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

/// The header's text and the data.
fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (len, rest) = match rest.split_first_chunk::<2>()? {
        ([1, _], rest) => {
            let (len, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_le_bytes(*len)), rest)
        }
        ([2 | 3, _], rest) => {
            let (len, rest) = rest.split_first_chunk()?;
            (u32::from_le_bytes(*len) as usize, rest)
        }
        _ => return None,
    };
    let (header, data) = rest.split_at_checked(len)?;
    Some((std::str::from_utf8(header).ok()?, data))
}

/// The text of one entry of the header, a Python dictionary.
fn field<'h>(header: &'h str, name: &str) -> Result<&'h str, String> {
    let missing = || format!("the header has no {name}");
    let (_, after) = header
        .split_once(&format!("'{name}':"))
        .ok_or_else(missing)?;
    let after = after.trim_start();
    let end = match after.strip_prefix('(') {
        Some(tuple) => tuple.find(')').map(|end| end + 2),
        None => after.find([',', '}']),
    };
    after
        .get(..end.ok_or_else(missing)?)
        .map(str::trim)
        .ok_or_else(missing)
}

fn shape(tuple: &str) -> Result<Vec<usize>, String> {
    tuple
        .trim_matches(['(', ')'])
        .split(',')
        .map(str::trim)
        .filter(|dim| !dim.is_empty())
        .map(|dim| {
            dim.parse()
                .map_err(|_| format!("the shape {tuple} is not one"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let values = [1.5, -2.0, 0.0, f32::MAX, 3.0, 4.0];
        for shape in [vec![6], vec![2, 3], vec![1, 2, 3]] {
            let bytes = write_f32(&shape, &values);
            assert_eq!((bytes.len() - 24) % ALIGNMENT, 0);
            let read = Npy::parse(&bytes);
            assert_eq!(
                read,
                Ok(Npy {
                    shape,
                    values: values.to_vec()
                })
            );
        }
    }

    #[test]
    fn bytes_become_numbers() {
        let mut file = write_f32(&[4], &[0.0]);
        let text = String::from_utf8_lossy(&file[10..file.len() - 4]).replace("<f4", "|u1");
        file.truncate(10);
        file.extend(text.bytes().chain([0, 1, 200, 255]));
        assert_eq!(
            Npy::parse(&file).map(|npy| npy.values),
            Ok(vec![0.0, 1.0, 200.0, 255.0])
        );
    }

    #[test]
    fn every_cut_file_is_refused() {
        let bytes = write_f32(&[2, 2], &[1.0; 4]);
        for len in 0..bytes.len() {
            assert!(Npy::parse(&bytes[..len]).is_err(), "{len}");
        }
    }
}
