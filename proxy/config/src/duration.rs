//! Durations as Go writes them.
//!
//! `300ms`, `1.5h`, `1m30s`, or a plain integer, which counts seconds (as in Traefik). Negative durations are
//! refused: no setting here has a use for them.

use std::time::Duration;

/// What to tell a user who wrote something else.
pub const EXPECTED: &str = "a duration such as 10s, 1m30s or 500ms, or a number of seconds";

/// Longest accepted duration, the limit of Go's `time.Duration` (about 292 years).
pub const MAX: Duration = Duration::from_nanos(i64::MAX as u64);

/// Parses a duration; `None` if it is not one, is negative or is over [`MAX`].
pub fn parse(text: &str) -> Option<Duration> {
    let text = text.strip_prefix('+').unwrap_or(text);
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().ok().map(Duration::from_secs).filter(|d| *d <= MAX);
    }
    let mut rest = text;
    let mut nanos: u128 = 0;
    loop {
        let number_len = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(number_len);
        let unit_len = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_len);
        nanos = nanos.checked_add(part(number, unit_nanos(unit)?)?)?;
        if nanos > MAX.as_nanos() {
            return None;
        }
        if tail.is_empty() {
            return u64::try_from(nanos).ok().map(Duration::from_nanos);
        }
        rest = tail;
    }
}

fn unit_nanos(unit: &str) -> Option<u128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// `number` (digits with at most one point) of a unit; what is under a nanosecond is cut off.
fn part(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut nanos = whole.checked_mul(unit)?;
    let mut scale = unit;
    for digit in fraction.bytes() {
        scale /= 10;
        nanos = nanos.checked_add(scale * u128::from(digit - b'0'))?;
    }
    Some(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads() {
        assert_eq!(parse("10s"), Some(Duration::from_secs(10)));
        assert_eq!(parse("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(parse("1.5h"), Some(Duration::from_secs(5400)));
        assert_eq!(parse(".5s"), Some(Duration::from_millis(500)));
        assert_eq!(parse("2h45m0.5s"), Some(Duration::from_millis(9_900_500)));
        assert_eq!(parse("100µs"), Some(Duration::from_micros(100)));
        assert_eq!(parse("0"), Some(Duration::ZERO));
        assert_eq!(parse("42"), Some(Duration::from_secs(42)));
    }

    #[test]
    fn refuses_what_is_no_duration() {
        for text in ["", "s", "1.2.3s", "-5s", "5 s", "10x", "5s5", "9999999999999h", "18446744073709551616"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in ".{0,40}") {
            let _ = parse(&text);
        }

        #[test]
        fn reads_back_seconds_and_millis(secs in 0u64..1_000_000, millis in 0u64..1000) {
            let text = format!("{secs}s{millis}ms");
            proptest::prop_assert_eq!(parse(&text), Some(Duration::from_millis(secs * 1000 + millis)));
        }
    }
}
