//! Lengths of time as people write them: `500ms`, `2s`, `1m30s`, `1h`; a bare number counts seconds, as in Traefik.

use std::time::Duration;

/// Reads a length of time; the error says what was expected.
pub fn parse(text: &str) -> Result<Duration, String> {
    let bad = || format!("{text:?} is not a length of time; expected for example 500ms, 2s or 1m30s");
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().map(Duration::from_secs).map_err(|_| bad());
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let number: u32 = rest[..digits].parse().map_err(|_| bad())?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let one = match &rest[..unit] {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            _ => return Err(bad()),
        };
        total = one.checked_mul(number).and_then(|d| total.checked_add(d)).ok_or_else(bad)?;
        rest = &rest[unit..];
    }
    if text.is_empty() { Err(bad()) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, ms) in [("500ms", 500), ("2s", 2000), ("1m30s", 90_000), ("1h", 3_600_000), ("7", 7000)] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "2x", "-1s", "1.5s", "1s2", "99999999999s", "2 s"] {
            assert!(parse(text).is_err(), "{text:?} was accepted");
        }
    }
}
