//! One record as one line, in the forms of Traefik 3.7 with its default `fields` (request headers are dropped).

use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

use pancake_config::traefik::static_config::AccessLogFormat;
use pancake_session::record::Record;

use super::timestamp::Timestamps;

/// Appends `record` to `out`, with a line feed. `count` numbers the requests of this process.
pub(super) fn write(
    out: &mut Vec<u8>,
    times: &mut Timestamps,
    format: AccessLogFormat,
    record: &Record<'_>,
    count: u64,
) {
    match format {
        AccessLogFormat::Common => common(out, times, record, count),
        AccessLogFormat::Json => json(out, times, record, count),
    }
    out.push(b'\n');
}

fn common(out: &mut Vec<u8>, times: &mut Timestamps, record: &Record<'_>, count: u64) {
    let put = |out: &mut Vec<u8>, text: &str| out.extend_from_slice(text.as_bytes());
    let _ = write!(out, "{}", record.peer.ip().to_canonical());
    put(out, " - - [");
    times.common(out, record.start);
    put(out, "] \"");
    match record.text {
        Some(text) => {
            quoted(out, &text.method);
            out.push(b' ');
            quoted(out, &text.target);
            out.push(b' ');
            put(out, text.protocol);
        }
        None => {
            put(out, record.method.label());
            put(out, " - -");
        }
    }
    let _ = write!(out, "\" {} {} \"-\" \"-\" {count} \"", record.status, record.response_bytes);
    quoted(out, record.router.unwrap_or("-"));
    put(out, "\" \"");
    quoted(out, record.server.unwrap_or("-"));
    let _ = write!(out, "\" {}ms", record.duration.as_millis());
}

/// Text between double quotes on one line; what could end either is percent-encoded, as Go does it in a URL.
fn quoted(out: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'"' | 0..0x20 | 0x7f => {
                let _ = write!(out, "%{byte:02X}");
            }
            _ => out.push(byte),
        }
    }
}

fn json(out: &mut Vec<u8>, times: &mut Timestamps, record: &Record<'_>, count: u64) {
    let mut object = Object { out, first: true };
    let client = record.peer.ip().to_canonical();
    object.raw("ClientAddr", |out| {
        let _ = match client {
            IpAddr::V4(ip) => write!(out, "\"{ip}:{}\"", record.peer.port()),
            IpAddr::V6(ip) => write!(out, "\"[{ip}]:{}\"", record.peer.port()),
        };
    });
    object.raw("ClientHost", |out| drop(write!(out, "\"{client}\"")));
    object.raw("ClientPort", |out| drop(write!(out, "\"{}\"", record.peer.port())));
    object.text("ClientUsername", "-");
    object.number("DownstreamContentSize", record.response_bytes);
    object.number("DownstreamStatus", record.status.into());
    object.number("Duration", nanoseconds(record.duration));
    let answered = record.origin_status != 0;
    object.number("OriginContentSize", if answered { record.response_bytes } else { 0 });
    object.number("OriginDuration", nanoseconds(record.origin_duration));
    object.number("OriginStatus", record.origin_status.into());
    object.number("Overhead", nanoseconds(record.duration.saturating_sub(record.origin_duration)));
    if let Some(failure) = record.failure {
        object.raw("PancakeFailure", |out| {
            let _ = write!(out, "\"{}:{}\"", failure.phase.name(), failure.reason);
        });
    }
    request(&mut object, record, count);
    object.number("RetryAttempts", record.retries.into());
    if let Some(router) = record.router {
        object.text("RouterName", router);
    }
    if let Some(server) = record.server {
        let address = server.split_once("://").map_or(server, |(_, rest)| rest);
        object.text("ServiceAddr", address.split(['/', '?']).next().unwrap_or(address));
    }
    if let Some(service) = record.service {
        object.text("ServiceName", service);
    }
    if let Some(server) = record.server {
        object.text("ServiceURL", server);
    }
    object.time("StartLocal", |out| times.local(out, record.start));
    object.time("StartUTC", |out| times.utc(out, record.start));
    object.text("entryPointName", record.entry_point);
    object.text("level", "info");
    object.text("msg", "");
    let end = Duration::from_secs(record.start.saturating_add(record.duration).as_secs());
    object.time("time", |out| times.local(out, end));
    out.push(b'}');
}

fn request(object: &mut Object<'_>, record: &Record<'_>, count: u64) {
    let Some(text) = record.text else {
        object.number("RequestContentSize", record.request_bytes);
        object.number("RequestCount", count);
        return object.text("RequestMethod", record.method.label());
    };
    let (host, port) = split_port(&text.host);
    if !text.host.is_empty() {
        object.text("RequestAddr", &text.host);
    }
    object.number("RequestContentSize", record.request_bytes);
    object.number("RequestCount", count);
    if !text.host.is_empty() {
        object.text("RequestHost", host);
    }
    object.text("RequestMethod", &text.method);
    object.text("RequestPath", &text.target);
    if !text.host.is_empty() {
        object.text("RequestPort", port);
    }
    object.text("RequestProtocol", text.protocol);
    object.text("RequestScheme", "http");
}

/// Host and port of an authority; `-` for a port that is not there.
fn split_port(authority: &str) -> (&str, &str) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => (host, port),
        Some((host, port)) if host.starts_with('[') && host.ends_with(']') => {
            (&host[1..host.len() - 1], port)
        }
        _ => (authority, "-"),
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A JSON object under way.
struct Object<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl Object<'_> {
    fn raw(&mut self, key: &str, value: impl FnOnce(&mut Vec<u8>)) {
        self.out.extend_from_slice(if self.first { b"{\"" } else { b",\"" });
        self.first = false;
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        value(self.out);
    }

    fn number(&mut self, key: &str, value: u64) {
        self.raw(key, |out| drop(write!(out, "{value}")));
    }

    fn text(&mut self, key: &str, value: &str) {
        // Writing text into a vector does not fail.
        self.raw(key, |out| drop(serde_json::to_writer(out, value)));
    }

    fn time(&mut self, key: &str, value: impl FnOnce(&mut Vec<u8>)) {
        self.raw(key, |out| {
            out.push(b'"');
            value(out);
            out.push(b'"');
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;
    use pancake_session::meter::Method;
    use pancake_session::record::{Failure, Phase, Text};

    fn line(format: AccessLogFormat, record: &Record<'_>) -> String {
        let mut out = Vec::new();
        write(&mut out, &mut Timestamps::new(TimeZone::UTC), format, record, 7);
        String::from_utf8(out).unwrap()
    }

    fn text(target: &str) -> Text {
        Text {
            method: "GET".into(),
            target: target.into(),
            protocol: "HTTP/1.1",
            host: "a.test:8000".into(),
            ..Text::default()
        }
    }

    fn record(text: &Text) -> Record<'_> {
        Record {
            start: Duration::new(1_795_381_042, 500),
            duration: Duration::from_micros(2_500),
            origin_duration: Duration::from_micros(2_000),
            entry_point: "web",
            peer: "[::ffff:127.0.0.1]:4321".parse().unwrap(),
            text: Some(text),
            method: Method::Get,
            status: 200,
            origin_status: 200,
            request_bytes: 3,
            response_bytes: 247,
            router: Some("a@file"),
            service: Some("s@file"),
            server: Some("http://127.0.0.1:19003/base"),
            retries: 0,
            failure: None,
        }
    }

    #[test]
    fn common_has_traefiks_shape() {
        let text = text("/x?q=\"1\"");
        assert_eq!(
            line(AccessLogFormat::Common, &record(&text)),
            "127.0.0.1 - - [22/Nov/2026:20:57:22 +0000] \"GET /x?q=%221%22 HTTP/1.1\" 200 247 \"-\" \"-\" 7 \
             \"a@file\" \"http://127.0.0.1:19003/base\" 2ms\n"
        );
    }

    #[test]
    fn common_without_a_router_has_dashes() {
        let text = text("/");
        let record = Record { router: None, service: None, server: None, status: 404, ..record(&text) };
        assert!(line(AccessLogFormat::Common, &record).ends_with("404 247 \"-\" \"-\" 7 \"-\" \"-\" 2ms\n"));
    }

    #[test]
    fn json_has_traefiks_fields() {
        let text = text("/x\"y");
        let failure = Some(Failure::new(Phase::Connect, "connect-refused", 502));
        let line = line(AccessLogFormat::Json, &Record { failure, ..record(&text) });
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        for (field, expected) in [
            ("ClientAddr", "127.0.0.1:4321".into()),
            ("ClientHost", "127.0.0.1".into()),
            ("ClientPort", "4321".into()),
            ("Duration", 2_500_000.into()),
            ("Overhead", 500_000.into()),
            ("DownstreamStatus", 200.into()),
            ("PancakeFailure", "connect:connect-refused".into()),
            ("RequestAddr", "a.test:8000".into()),
            ("RequestHost", "a.test".into()),
            ("RequestPort", "8000".into()),
            ("RequestPath", "/x\"y".into()),
            ("RouterName", "a@file".into()),
            ("ServiceAddr", "127.0.0.1:19003".into()),
            ("ServiceName", "s@file".into()),
            ("ServiceURL", "http://127.0.0.1:19003/base".into()),
            ("StartUTC", serde_json::Value::from("2026-11-22T20:57:22.0000005Z")),
            ("entryPointName", "web".into()),
            ("time", "2026-11-22T20:57:22Z".into()),
        ] {
            assert_eq!(value[field], expected, "{field}");
        }
    }

    #[test]
    fn splits_authorities() {
        assert_eq!(split_port("a.test"), ("a.test", "-"));
        assert_eq!(split_port("[::1]:80"), ("::1", "80"));
        assert_eq!(split_port("[::1]"), ("[::1]", "-"));
    }
}
