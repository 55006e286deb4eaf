//! Class indices from CSV, text and `.npy` files.

use super::arrays::Array;
use crate::Error;
use std::collections::HashMap;
use std::path::Path;

/// One index a sample, in order, from `.npy`, `.txt` or the last column of a `.csv`.
pub(super) fn in_order(path: &Path, samples: usize) -> Result<Vec<usize>, Error> {
    let labels = if has_extension(path, "npy") {
        of_array(path, &Array::open(path)?)?
    } else {
        let entries = entries(path)?;
        entries.into_iter().map(|(_, index)| index).collect()
    };
    check_count(path, labels.len(), samples)?;
    Ok(labels)
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
            format!("{labels} labels for {samples} samples: want one a sample"),
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

/// The labels of files, from a CSV `file,index`.
pub(super) fn by_file(path: &Path, files: &[String]) -> Result<Vec<usize>, Error> {
    let by_name = file_labels(path)?;
    let known: std::collections::HashSet<&str> = files.iter().map(String::as_str).collect();
    let mut strangers: Vec<&str> = by_name
        .keys()
        .map(String::as_str)
        .filter(|name| !known.contains(name))
        .collect();
    strangers.sort_unstable();
    if let Some(first) = strangers.first() {
        let count = strangers.len();
        return Err(Error::data(
            path,
            format!("{count} of the files named here are not in the folder, first `{first}`"),
        ));
    }
    let found: Result<Vec<usize>, &String> = files
        .iter()
        .map(|name| by_name.get(name).copied().ok_or(name))
        .collect();
    found.map_err(|name| {
        Error::data(
            path,
            format!(
                "{} labels for {} images: `{name}` has none",
                by_name.len(),
                files.len()
            ),
        )
    })
}

fn file_labels(path: &Path) -> Result<HashMap<String, usize>, Error> {
    let mut by_name = HashMap::new();
    for (name, index) in entries(path)? {
        let Some(name) = name else {
            return Err(Error::data(
                path,
                format!("`{index}` names no file: lines are `file,index`"),
            ));
        };
        if by_name.insert(name.clone(), index).is_some() {
            return Err(Error::data(path, format!("`{name}` is named twice")));
        }
    }
    Ok(by_name)
}

/// Lines `index` or `anything,index`. A first line that has no index is a heading.
fn entries(path: &Path) -> Result<Vec<(Option<String>, usize)>, Error> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
    let mut entries = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        match entry(line) {
            Some(entry) => entries.push(entry),
            None if number == 0 => {}
            None => {
                return Err(Error::data(
                    path,
                    format!(
                        "line {}: `{line}` does not end in a class index",
                        number + 1
                    ),
                ));
            }
        }
    }
    if entries.is_empty() {
        return Err(Error::data(path, "no labels: lines are `file,index`"));
    }
    Ok(entries)
}

fn entry(line: &str) -> Option<(Option<String>, usize)> {
    let (name, index) = match line.rsplit_once(',') {
        Some((name, index)) => (Some(name.trim().trim_matches('"').to_owned()), index),
        None => (None, line),
    };
    Some((name, index.trim().parse().ok()?))
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
        let files = ["a.png".to_owned(), "b.png".to_owned()];
        with("file,index\nb.png,7\na.png,3\n", |path| {
            assert_eq!(by_file(path, &files).unwrap(), [3, 7]);
        });
    }

    #[test]
    fn a_label_of_a_missing_file_is_named() {
        let files = ["a.png".to_owned()];
        with("a.png,1\nz.png,2\n", |path| {
            let message = by_file(path, &files).unwrap_err().to_string();
            assert!(message.contains("z.png"), "{message}");
        });
    }

    #[test]
    fn a_file_without_a_label_is_named() {
        let files = ["a.png".to_owned(), "b.png".to_owned()];
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
}
