//! Text files that people write: labels, class names, specifications.

use crate::Error;
use std::path::Path;

const UTF_8_MARK: &[u8] = b"\xef\xbb\xbf";
const UTF_16_MARKS: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];

/// A file's bytes without a byte order mark.
///
/// # Errors
/// A file that cannot be read, or text in UTF-16.
pub(super) fn read_bytes(path: &Path) -> Result<Vec<u8>, Error> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    if UTF_16_MARKS.iter().any(|mark| bytes.starts_with(mark)) {
        return Err(Error::data(path, "the text is UTF-16: save it as UTF-8"));
    }
    Ok(match bytes.strip_prefix(UTF_8_MARK) {
        Some(rest) => rest.to_vec(),
        None => bytes,
    })
}

/// A file's text without a byte order mark.
///
/// # Errors
/// As [`read_bytes`], and bytes that are not UTF-8.
pub(super) fn read(path: &Path) -> Result<String, Error> {
    String::from_utf8(read_bytes(path)?)
        .map_err(|_| Error::data(path, "the text is not UTF-8: save it as UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(bytes: &[u8]) -> Result<String, Error> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        read(file.path())
    }

    #[test]
    fn a_byte_order_mark_is_skipped() {
        assert_eq!(with(b"\xef\xbb\xbfcat\n").unwrap(), "cat\n");
        assert_eq!(with(b"cat\n").unwrap(), "cat\n");
    }

    #[test]
    fn another_encoding_is_named() {
        let utf_16 = with(b"\xff\xfec\0a\0t\0").unwrap_err().to_string();
        assert!(utf_16.contains("UTF-16"), "{utf_16}");
        let latin = with(b"caf\xe9").unwrap_err().to_string();
        assert!(latin.contains("UTF-8"), "{latin}");
    }
}
