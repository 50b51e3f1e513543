//! Wall-clock times as access logs write them. The parts that change once per second are kept.

use std::io::Write;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Writes times since the Unix epoch.
pub(super) struct Timestamps {
    second: Option<u64>,
    zone: TimeZone,
    common: String,
    utc: String,
    local: String,
    offset: String,
}

impl Timestamps {
    /// Local times are in `zone`.
    pub(super) fn new(zone: TimeZone) -> Timestamps {
        let [common, utc, local, offset] = [(); 4].map(|()| String::new());
        Timestamps { second: None, zone, common, utc, local, offset }
    }

    /// `22/Nov/2026:20:57:19 +0000`
    pub(super) fn common(&mut self, out: &mut Vec<u8>, time: Duration) {
        self.turn_to(time);
        out.extend_from_slice(self.common.as_bytes());
    }

    /// `2026-11-22T20:57:22.476757966Z`: RFC 3339 with as many decimals as are not zero.
    pub(super) fn utc(&mut self, out: &mut Vec<u8>, time: Duration) {
        self.turn_to(time);
        out.extend_from_slice(self.utc.as_bytes());
        fraction(out, time.subsec_nanos());
        out.push(b'Z');
    }

    /// As [`Timestamps::utc`], in local time.
    pub(super) fn local(&mut self, out: &mut Vec<u8>, time: Duration) {
        self.turn_to(time);
        out.extend_from_slice(self.local.as_bytes());
        fraction(out, time.subsec_nanos());
        out.extend_from_slice(self.offset.as_bytes());
    }

    fn turn_to(&mut self, time: Duration) {
        let second = time.as_secs();
        if Some(second) == self.second {
            return;
        }
        let instant = i64::try_from(second).ok().and_then(|s| Timestamp::from_second(s).ok());
        let instant = instant.unwrap_or(Timestamp::MAX);
        let utc = instant.to_zoned(TimeZone::UTC);
        let local = instant.to_zoned(self.zone.clone());
        self.second = Some(second);
        self.common = utc.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string();
        self.utc = utc.strftime("%Y-%m-%dT%H:%M:%S").to_string();
        self.local = local.strftime("%Y-%m-%dT%H:%M:%S").to_string();
        self.offset = if local.offset().is_zero() { "Z".into() } else { local.strftime("%:z").to_string() };
    }
}

fn fraction(out: &mut Vec<u8>, nanoseconds: u32) {
    if nanoseconds == 0 {
        return;
    }
    let start = out.len();
    // Writing into a vector does not fail.
    let _ = write!(out, ".{nanoseconds:09}");
    while out.last() == Some(&b'0') && out.len() > start {
        out.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl Fn(&mut Timestamps, &mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut Timestamps::new(TimeZone::fixed(jiff::tz::offset(2))), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn writes_each_form() {
        let time = Duration::new(1_795_381_042, 476_757_900);
        assert_eq!(written(|t, out| t.common(out, time)), "22/Nov/2026:20:57:22 +0000");
        assert_eq!(written(|t, out| t.utc(out, time)), "2026-11-22T20:57:22.4767579Z");
        assert_eq!(written(|t, out| t.local(out, time)), "2026-11-22T22:57:22.4767579+02:00");
        assert_eq!(written(|t, out| t.utc(out, Duration::from_secs(1))), "1970-01-01T00:00:01Z");
    }

    #[test]
    fn a_clock_beyond_the_calendar_is_no_panic() {
        assert!(written(|t, out| t.utc(out, Duration::MAX)).starts_with("9999-12-"));
    }
}
