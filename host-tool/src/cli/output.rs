//! What commands print: JSON and text on stdout, errors and progress on stderr.

use super::write::{is_stdout_taken, write_file};
use crate::Error;
use std::borrow::Cow;
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
    let text = serde_json::to_string_pretty(value)
        .map_err(|source| Error::io(Path::new("JSON"))(io::Error::other(source)))?;
    let escape = |c, _: &str| match c {
        '\n' => None,
        c => steers(c).then(|| format!("\\u{:04x}", u32::from(c))),
    };
    Ok(escaped(&text, escape).into_owned())
}

/// Text without characters that steer a terminal, such as those of a model that calls a node `ESC [ 2 J`. Lines and
/// tabs stay.
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, |c, rest| match c {
        '\n' | '\t' => None,
        '\r' if rest.starts_with("\r\n") => None,
        c => steers(c).then(|| c.escape_default().to_string()),
    })
}

/// As [`printable`], on one line.
fn cell(text: &str) -> Cow<'_, str> {
    escaped(text, |c, _| {
        steers(c).then(|| c.escape_default().to_string())
    })
}

/// Control characters, and marks that reorder what is around them.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Puts what `escape` makes of a character (and of the text from there on) in its place.
fn escaped(text: &str, escape: impl Fn(char, &str) -> Option<String>) -> Cow<'_, str> {
    let mut safe = String::new();
    let mut copied = 0;
    for (at, c) in text.char_indices() {
        if let Some(escape) = escape(c, &text[at..]) {
            safe += &text[copied..at];
            safe += &escape;
            copied = at + c.len_utf8();
        }
    }
    match copied {
        0 => Cow::Borrowed(text),
        _ => Cow::Owned(safe + &text[copied..]),
    }
}

/// Prints text on stdout; on stderr where stdout takes the file that the command writes.
///
/// # Errors
/// Stdout cannot be written (a closed pipe is no error: the reader has seen enough).
pub fn print(text: &str) -> Result<(), Error> {
    let text = printable(text);
    if is_stdout_taken() {
        note(text.trim_end());
        return Ok(());
    }
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
    let _ = writeln!(io::stderr(), "{}", printable(text.as_ref()));
}

/// Says on stderr what may be wrong, and what to do.
pub fn warn(text: impl std::fmt::Display) {
    note(format!("warning: {text}"));
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
    let on_one_line = |row: &Vec<String>| row.iter().map(|text| cell(text).into_owned()).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(on_one_line).collect();
    let widths: Vec<usize> = (0..header.len())
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
            widest.max(header[column].chars().count())
        })
        .collect();
    let header = header.iter().map(|cell| (*cell).to_owned()).collect();
    std::iter::once(&header)
        .chain(&rows)
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
    write_file(path, printable(text).as_bytes())?;
    note(format!("wrote {}", path.display()));
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
    fn names_cannot_steer_a_terminal() {
        let name = "\u{1b}]0;x\u{7}\u{9b}2J\u{202e}\r\u{7f}ok";
        let shown = r"\u{1b}]0;x\u{7}\u{9b}2J\u{202e}\r\u{7f}ok";
        assert_eq!(printable(name), shown);
        assert_eq!(printable("a,b\r\n"), "a,b\r\n");
        assert_eq!(
            printable("plain\ttext: \u{e9} \u{6f22}\n"),
            "plain\ttext: \u{e9} \u{6f22}\n"
        );
    }

    #[test]
    fn a_cell_stays_on_its_line() {
        let rows = vec![vec!["a\nb".into(), "\u{1b}[2J".into()]];
        assert_eq!(
            table(&["x", "n"], &rows),
            "x              n\na\\nb  \\u{1b}[2J\n"
        );
    }

    #[test]
    fn json_stays_json_without_control_characters() {
        let text = json(&"a\u{9b}b\u{7f}\u{202e}\n").unwrap();
        assert_eq!(text, r#""a\u009bb\u007f\u202e\n""#);
        let back: String = serde_json::from_str(&text).unwrap();
        assert_eq!(back, "a\u{9b}b\u{7f}\u{202e}\n");
    }
}
