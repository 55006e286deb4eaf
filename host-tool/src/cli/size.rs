//! Sizes as people type them: `25MB`, `800kB`, `1.5MiB`, plain bytes.

/// Parses a size: a decimal number and a unit, bytes without one. `kB`, `MB`, `GB` are powers of ten,
/// `KiB`, `MiB`, `GiB` powers of two; case does not matter. A fraction of a byte is dropped, so that the
/// result is never more than what was typed.
///
/// # Errors
/// A message for the user: no number, an unknown unit, zero, or more than fits.
pub fn parse(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit_bytes(unit.trim())
        .ok_or_else(|| format!("`{text}`: sizes look like 25MB, 800kB, 1.5MiB or plain bytes"))?;
    let bytes = scaled(number, unit)
        .ok_or_else(|| format!("`{text}`: sizes look like 25MB, 800kB, 1.5MiB or plain bytes"))?;
    match u64::try_from(bytes) {
        Ok(0) => Err(format!("`{text}`: a package cannot have zero bytes")),
        Ok(bytes) => Ok(bytes),
        Err(_) => Err(format!("`{text}` is more than a file can have")),
    }
}

fn unit_bytes(unit: &str) -> Option<u128> {
    Some(match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "ki" | "kib" => 1 << 10,
        "mi" | "mib" => 1 << 20,
        "gi" | "gib" => 1 << 30,
        _ => return None,
    })
}

/// `number * unit` in integers: a float would turn `0.3MB` into 299,999 bytes on some values.
fn scaled(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || (fraction.is_empty() && number.contains('.')) || fraction.len() > 18 {
        return None;
    }
    let mut bytes = whole.parse::<u128>().ok()?.checked_mul(unit)?;
    if !fraction.is_empty() {
        let part = fraction.parse::<u128>().ok()?.checked_mul(unit)?;
        bytes = bytes.checked_add(part / 10u128.pow(fraction.len() as u32))?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn sizes_mean_what_they_say() {
        for (text, bytes) in [
            ("25MB", 25_000_000),
            ("800kB", 800_000),
            ("800 kb", 800_000),
            ("1.5MiB", 1_572_864),
            ("0.3MB", 300_000),
            ("4096", 4096),
            ("1GiB", 1 << 30),
            ("12m", 12_000_000),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "MB",
            "0",
            "0.0001kB",
            "-5MB",
            "1e6",
            "25 megs",
            "1.2.3MB",
            ".5MB",
            "5.MB",
            "999999999999999GB",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
