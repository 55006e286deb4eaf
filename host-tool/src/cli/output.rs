//! What commands print: JSON and text on stdout, errors and progress on stderr.

use crate::Error;
use std::io::{self, Write};
use std::path::Path;

/// Prints one JSON document and a newline.
///
/// # Errors
/// Stdout cannot be written (a closed pipe is no error: the reader has seen enough).
pub fn print_json(value: &impl serde::Serialize) -> Result<(), Error> {
    print(&format!("{}\n", json(value)?))
}

/// The text of a JSON document, indented.
///
/// # Errors
/// A value has no JSON form.
pub fn json(value: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string_pretty(value)
        .map_err(|source| Error::io(Path::new("JSON"))(io::Error::other(source)))
}

/// Prints text on stdout as it is.
///
/// # Errors
/// Stdout cannot be written (a closed pipe is no error: the reader has seen enough).
pub fn print(text: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::io(Path::new("standard output"))(error))
        }
        _ => Ok(()),
    }
}

/// Says something on stderr, beside the result.
pub fn note(text: impl AsRef<str>) {
    let _ = writeln!(io::stderr(), "{}", text.as_ref());
}

/// Prints an error and those causes that its message does not already contain.
pub fn print_error(error: &Error) {
    let message = error.to_string();
    note(format!("error: {message}"));
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        let text = source.to_string();
        if !message.contains(&text) {
            note(format!("  because: {text}"));
        }
        cause = source.source();
    }
}

/// Bytes for people: `25.00 MB`, `812.3 kB`, `96 B` (powers of ten, as `--max-size` reads them).
pub fn human_bytes(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.2} MB", bytes as f64 / 1e6),
    }
}

/// Counts for people: `4.65 M`, `812.3 k`, `96`.
pub fn human_count(count: u64) -> String {
    match count {
        0..1_000 => format!("{count}"),
        1_000..1_000_000 => format!("{:.1} k", count as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} M", count as f64 / 1e6),
        _ => format!("{:.2} G", count as f64 / 1e9),
    }
}

/// A table of text: the first column to the left, the others to the right, two spaces between.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> = (0..header.len())
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
            widest.max(header[column].chars().count())
        })
        .collect();
    let header = header.iter().map(|cell| (*cell).to_owned()).collect();
    std::iter::once(&header)
        .chain(rows)
        .map(|row| line(row, &widths))
        .collect()
}

fn line(row: &[String], widths: &[usize]) -> String {
    let mut text = String::new();
    for (column, (cell, &width)) in row.iter().zip(widths).enumerate() {
        if column == 0 {
            text += &format!("{cell:<width$}");
        } else {
            text += &format!("  {cell:>width$}");
        }
    }
    format!("{}\n", text.trim_end())
}

/// Writes a text beside the result, and says so.
///
/// # Errors
/// The file cannot be written.
pub(super) fn write_text(path: &Path, text: &str) -> Result<(), Error> {
    write_file(path, text.as_bytes())?;
    note(format!("wrote {}", path.display()));
    Ok(())
}

/// Writes a file whole or not at all: to a temporary file beside it, then renamed.
///
/// # Errors
/// The file cannot be written.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let write = || -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(bytes)?;
        readable_by_all(file.as_file())?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(Error::io(path))
}

#[cfg(unix)]
fn readable_by_all(file: &std::fs::File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn readable_by_all(_: &std::fs::File) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(human_bytes(96), "96 B");
        assert_eq!(human_bytes(812_345), "812.3 kB");
        assert_eq!(human_bytes(25_000_000), "25.00 MB");
        assert_eq!(human_count(4_652_008), "4.65 M");
    }

    #[test]
    fn a_table_lines_up() {
        let rows = vec![
            vec!["a".into(), "1".into()],
            vec!["long".into(), "23".into()],
        ];
        assert_eq!(table(&["x", "n"], &rows), "x      n\na      1\nlong  23\n");
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        write_file(&path, b"one").unwrap();
        write_file(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
