//! Class indices from CSV, text and `.npy` files.

use super::arrays::Array;
use super::text;
use crate::Error;
use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// One index a sample, in order, from `.npy`, `.txt` or the last column of a `.csv`.
pub(super) fn in_order(path: &Path, samples: usize) -> Result<Vec<usize>, Error> {
    if has_extension(path, "npy") {
        let labels = of_array(path, &Array::open(path)?)?;
        check_count(path, labels.len(), samples)?;
        return Ok(labels);
    }
    let lines = Lines::read(path)?;
    match (&lines.heading, lines.entries.len()) {
        (Some(heading), count) if count + 1 == samples => Err(Error::data(
            path,
            format!(
                "{count} labels for {samples} samples: the first line, `{heading}`, is no class \
                 index and counts as a heading"
            ),
        )),
        (_, count) => {
            check_count(path, count, samples)?;
            Ok(lines.entries.into_iter().map(|entry| entry.index).collect())
        }
    }
}

/// An array's elements as class indices, one a sample.
pub(super) fn of_array(path: &Path, array: &Array) -> Result<Vec<usize>, Error> {
    let count: usize = array.shape().iter().product();
    if array.shape().first() != Some(&count) {
        return Err(Error::data(
            path,
            format!(
                "labels of shape {:?}: want one class index a sample",
                array.shape()
            ),
        ));
    }
    let values = array.values(path, 0, count)?;
    values
        .into_iter()
        .map(|value| class_index(value).ok_or_else(|| Error::data(path, bad(value))))
        .collect()
}

pub(super) fn check_count(path: &Path, labels: usize, samples: usize) -> Result<(), Error> {
    if labels != samples {
        return Err(Error::data(
            path,
            format!("{labels} labels for {samples} samples: want one label per sample"),
        ));
    }
    Ok(())
}

fn bad(value: f32) -> String {
    format!("`{value}` is not a class index (0, 1, 2, ...)")
}

fn class_index(value: f32) -> Option<usize> {
    (value >= 0.0 && value.fract() == 0.0 && value < 16_777_216.0).then_some(value as usize)
}

/// The labels of files, from a CSV `file,index`. Names are bytes: they need not be UTF-8.
pub(super) fn by_file(path: &Path, files: &[OsString]) -> Result<Vec<usize>, Error> {
    let by_name = file_labels(path)?;
    let known: HashSet<&OsStr> = files.iter().map(OsString::as_os_str).collect();
    let mut strangers: Vec<&OsStr> = by_name
        .keys()
        .map(OsString::as_os_str)
        .filter(|name| !known.contains(name))
        .collect();
    strangers.sort_unstable();
    if let Some(first) = strangers.first() {
        return Err(Error::data(
            path,
            format!(
                "{} of the files named here are not in the folder, first `{}`",
                strangers.len(),
                first.display()
            ),
        ));
    }
    let found: Result<Vec<usize>, &OsString> = files
        .iter()
        .map(|name| by_name.get(name).copied().ok_or(name))
        .collect();
    found.map_err(|name| {
        Error::data(
            path,
            format!(
                "{} labels for {} images: `{}` has none",
                by_name.len(),
                files.len(),
                name.display()
            ),
        )
    })
}

fn file_labels(path: &Path) -> Result<HashMap<OsString, usize>, Error> {
    let mut by_name = HashMap::new();
    for Entry { name, index } in Lines::read(path)?.entries {
        let Some(name) = name else {
            return Err(Error::data(
                path,
                format!("`{index}` names no file: lines are `file,index`"),
            ));
        };
        if by_name.insert(name.clone(), index).is_some() {
            let cause = format!("`{}` is named twice", name.display());
            return Err(Error::data(path, cause));
        }
    }
    Ok(by_name)
}

/// Lines `index` or `anything,index`.
struct Lines {
    /// The first line, if it has no index.
    heading: Option<String>,
    entries: Vec<Entry>,
}

struct Entry {
    name: Option<OsString>,
    index: usize,
}

impl Lines {
    fn read(path: &Path) -> Result<Self, Error> {
        let bytes = text::read_bytes(path)?;
        let (mut heading, mut entries) = (None, Vec::new());
        for (number, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            let shown = || String::from_utf8_lossy(line).into_owned();
            match Entry::of(line) {
                Some(entry) => entries.push(entry),
                None if number == 0 => heading = Some(shown()),
                None => {
                    let line = number + 1;
                    let cause = format!("line {line}: `{}` does not end in a class index", shown());
                    return Err(Error::data(path, cause));
                }
            }
        }
        if entries.is_empty() {
            return Err(Error::data(path, "no labels: lines are `file,index`"));
        }
        Ok(Self { heading, entries })
    }
}

impl Entry {
    fn of(line: &[u8]) -> Option<Self> {
        let comma = line.iter().rposition(|&byte| byte == b',');
        let (name, index) = match comma {
            Some(comma) => (
                Some(unquoted(line[..comma].trim_ascii())),
                &line[comma + 1..],
            ),
            None => (None, line),
        };
        Some(Self {
            name: name.map(file_name),
            index: std::str::from_utf8(index).ok()?.trim().parse().ok()?,
        })
    }
}

/// Bytes without quotes around them.
fn unquoted(name: &[u8]) -> &[u8] {
    let inner = name.strip_prefix(b"\"").and_then(|n| n.strip_suffix(b"\""));
    inner.unwrap_or(name)
}

#[cfg(unix)]
fn file_name(bytes: &[u8]) -> OsString {
    use std::os::unix::ffi::OsStrExt;
    OsStr::from_bytes(bytes).to_os_string()
}

#[cfg(not(unix))]
fn file_name(bytes: &[u8]) -> OsString {
    String::from_utf8_lossy(bytes).into_owned().into()
}

pub(super) fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension()
        .is_some_and(|found| found.eq_ignore_ascii_case(extension))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str, test: impl FnOnce(&Path)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.csv");
        std::fs::write(&path, text).unwrap();
        test(&path);
    }

    #[test]
    fn labels_follow_the_files_not_the_lines() {
        let files = ["a.png".into(), "b.png".into()];
        with("file,index\nb.png,7\na.png,3\n", |path| {
            assert_eq!(by_file(path, &files).unwrap(), [3, 7]);
        });
    }

    #[test]
    fn a_label_of_a_missing_file_is_named() {
        let files = ["a.png".into()];
        with("a.png,1\nz.png,2\n", |path| {
            let message = by_file(path, &files).unwrap_err().to_string();
            assert!(message.contains("z.png"), "{message}");
        });
    }

    #[test]
    fn a_file_without_a_label_is_named() {
        let files = ["a.png".into(), "b.png".into()];
        with("a.png,1\n", |path| {
            let message = by_file(path, &files).unwrap_err().to_string();
            assert!(message.contains("b.png"), "{message}");
        });
    }

    #[test]
    fn a_line_without_an_index_is_named() {
        with("a.png,1\nb.png,cat\n", |path| {
            let message = in_order(path, 2).unwrap_err().to_string();
            assert!(message.contains("line 2"), "{message}");
        });
    }

    #[test]
    fn the_number_of_labels_must_be_that_of_the_samples() {
        with("1\n2\n3\n", |path| {
            assert_eq!(in_order(path, 3).unwrap(), [1, 2, 3]);
            assert!(in_order(path, 4).is_err());
        });
    }

    #[test]
    fn a_byte_order_mark_is_no_heading() {
        with("\u{feff}1\n2\n3\n", |path| {
            assert_eq!(in_order(path, 3).unwrap(), [1, 2, 3]);
        });
    }

    #[test]
    fn a_heading_is_named_where_a_label_is_missing() {
        with("one\n2\n3\n", |path| {
            let message = in_order(path, 3).unwrap_err().to_string();
            assert!(message.contains("`one`"), "{message}");
        });
    }

    #[cfg(unix)]
    #[test]
    fn names_need_not_be_utf_8() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.csv");
        std::fs::write(&path, b"\xff\xe9.png,7\n\"b,c.png\",3\n").unwrap();
        let files = ["b,c.png".into(), file_name(b"\xff\xe9.png")];
        assert_eq!(by_file(&path, &files).unwrap(), [3, 7]);
    }
}
