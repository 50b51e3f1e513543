//! Any split parses the same, and what is written reads back as it was.

use pancake_wire::h1::body::{Chunked, State};
use pancake_wire::h1::emit;
use pancake_wire::h1::head::{
    Field, Framing, Known, Limits, Reject, RequestHead, ResponseHead, Version, parse_request, parse_response,
};
use pancake_wire::h1::target;
use proptest::prelude::*;

const LIMITS: Limits = Limits { max_head_bytes: 4096, max_fields: 64 };

/// A name without a meaning to the codec, and a value without white space around it.
fn plain_field() -> impl Strategy<Value = (String, Vec<u8>)> {
    let value = proptest::collection::vec(prop_oneof![Just(b'\t'), b' '..=b'~', 0x80u8..=0xff], 0..24)
        .prop_map(|bytes| bytes.trim_ascii().to_vec());
    ("x-q[a-zA-Z0-9!#$%&'*+.^`|~-]{0,12}", value)
}

fn plain_fields() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    proptest::collection::vec(plain_field(), 0..12)
}

/// Bytes that look like a head, whole or broken.
fn nearly_head() -> impl Strategy<Value = Vec<u8>> {
    pieces(&[
        b"GET /a?b HTTP/1.1\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"Host: a\r\n",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close, x\r\n",
        b"X: y\r\n",
        b"\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b":",
        b"\0",
        b"z",
        b"\xff",
    ])
}

/// Bytes that look like a chunked body, whole or broken.
fn nearly_chunked() -> impl Strategy<Value = Vec<u8>> {
    pieces(&[
        b"5\r\nhello\r\n",
        b"5\r\nhello\r\n",
        b"5\r\nhello\r\n",
        b"00a;x=y\r\n0123456789\r\n",
        b"0\r\n",
        b"0\r\n",
        b"\r\n",
        b"\r\n",
        b"X-T: 1\r\n",
        b"Host: 1\r\n",
        b"\n",
        b"\r",
        b"1",
        b";",
        b" ",
        b"\0",
        b"fffffffffffffff",
    ])
}

fn pieces(pieces: &'static [&'static [u8]]) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(proptest::sample::select(pieces), 0..12).prop_map(|pieces| pieces.concat())
}

fn pairs<'a>(fields: &[Field], bytes: &'a [u8]) -> Vec<(&'a [u8], &'a [u8])> {
    fields.iter().map(|field| (field.name.of(bytes), field.value.of(bytes))).collect()
}

/// What a decoder says about a body that arrives in these parts: data, trailers, and how it ended.
type Decoded = (Vec<u8>, Vec<u8>, Result<Option<usize>, Reject>);

fn decode<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Decoded {
    let mut decoder = Chunked::new();
    let (mut data, mut total) = (Vec::new(), 0);
    for part in parts {
        let mut rest = part;
        while !rest.is_empty() {
            let step = match decoder.step(rest) {
                Ok(step) => step,
                Err(reject) => return (data, decoder.trailers().to_vec(), Err(reject)),
            };
            data.extend(step.data.map_or(&b""[..], |range| &rest[range]));
            assert!(step.consumed > 0 || step.state == State::Done, "a step makes progress");
            total += step.consumed;
            rest = &rest[step.consumed..];
            if step.state == State::Done {
                return (data, decoder.trailers().to_vec(), Ok(Some(total)));
            }
        }
    }
    (data, decoder.trailers().to_vec(), Ok(None))
}

proptest! {
    #[test]
    fn a_verdict_on_a_request_stands_whatever_follows(bytes in nearly_head()) {
        let mut verdict = Ok(None);
        for end in 0..=bytes.len() {
            let mut head = RequestHead::default();
            let now = parse_request(&bytes[..end], &LIMITS, &mut head);
            match verdict {
                Ok(None) => verdict = now,
                Ok(Some(len)) => prop_assert_eq!(now, Ok(Some(len))),
                Err(_) => prop_assert!(now.is_err()),
            }
        }
    }

    #[test]
    fn a_verdict_on_a_response_stands_whatever_follows(bytes in nearly_head()) {
        let mut verdict = Ok(None);
        for end in 0..=bytes.len() {
            let mut head = ResponseHead::default();
            let now = parse_response(&bytes[..end], &LIMITS, &mut head);
            match verdict {
                Ok(None) => verdict = now,
                Ok(Some(len)) => prop_assert_eq!(now, Ok(Some(len))),
                Err(reject) => {
                    prop_assert!(now.is_err());
                    prop_assert_eq!(reject.status, 502);
                }
            }
        }
    }

    #[test]
    fn parsing_survives_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        let _ = parse_request(&bytes, &LIMITS, &mut RequestHead::default());
        let _ = parse_response(&bytes, &LIMITS, &mut ResponseHead::default());
        let _ = target::parse(b"GET", &bytes);
        let _ = target::host_for_routing(&bytes, &mut String::new());
        let _ = decode(std::iter::once(&bytes[..]));
    }

    #[test]
    fn a_written_request_reads_back(fields in plain_fields(), length in proptest::option::of(1u64..1 << 40)) {
        let mut bytes = b"POST /p?q HTTP/1.1\r\n".to_vec();
        emit::field(&mut bytes, b"Host", b"a.example:80");
        for (name, value) in &fields {
            emit::field(&mut bytes, name.as_bytes(), value);
        }
        if let Some(length) = length {
            bytes.extend_from_slice(b"Content-Length: ");
            emit::decimal(&mut bytes, length);
            bytes.extend_from_slice(emit::CRLF);
        }
        bytes.extend_from_slice(emit::CRLF);

        let mut head = RequestHead::default();
        prop_assert_eq!(parse_request(&bytes, &LIMITS, &mut head), Ok(Some(bytes.len())));
        let read = pairs(&head.fields, &bytes);
        prop_assert_eq!(read[0], (&b"Host"[..], &b"a.example:80"[..]));
        let want: Vec<_> = fields.iter().map(|(name, value)| (name.as_bytes(), &value[..])).collect();
        prop_assert_eq!(&read[1..=fields.len()], &want[..]);
        prop_assert_eq!(head.framing, length.map_or(Framing::Empty, Framing::Length));
        prop_assert_eq!(head.method.of(&bytes), b"POST");
        prop_assert_eq!(head.target.of(&bytes), b"/p?q");
    }

    #[test]
    fn copied_fields_read_back(fields in plain_fields(), drop in proptest::collection::vec(any::<bool>(), 12)) {
        let mut bytes = Vec::new();
        emit::status_line(&mut bytes, 206);
        for (name, value) in &fields {
            // White space around a value is part of the line, and is copied with it.
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b":\t ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b" \t\r\n");
        }
        bytes.extend_from_slice(emit::CRLF);
        let mut head = ResponseHead::default();
        prop_assert_eq!(parse_response(&bytes, &LIMITS, &mut head), Ok(Some(bytes.len())));

        let mut drops = drop.iter();
        let mut copy = Vec::new();
        emit::status_line(&mut copy, 206);
        emit::fields(&mut copy, &bytes, &head.fields, |_| !drops.next().expect("one each"));
        copy.extend_from_slice(emit::CRLF);
        let mut again = ResponseHead::default();
        prop_assert_eq!(parse_response(&copy, &LIMITS, &mut again), Ok(Some(copy.len())));
        let want: Vec<_> = fields.iter().zip(&drop).filter(|(_, dropped)| !**dropped)
            .map(|((name, value), _)| (name.as_bytes(), &value[..])).collect();
        prop_assert_eq!(pairs(&again.fields, &copy), want);
    }

    #[test]
    fn any_split_of_a_chunked_body_decodes_the_same(bytes in nearly_chunked(), size in 1usize..7) {
        let whole = decode(std::iter::once(&bytes[..]));
        prop_assert_eq!(&whole, &decode(bytes.chunks(size)));
        prop_assert_eq!(&whole, &decode(bytes.chunks(1)));
    }

    #[test]
    fn written_chunks_read_back(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..600), 0..6),
        trailers in plain_fields(),
        size in 1usize..300,
    ) {
        let (mut bytes, mut lines) = (Vec::new(), Vec::new());
        for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
            emit::chunk_head(&mut bytes, chunk.len());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(emit::CRLF);
        }
        for (name, value) in &trailers {
            emit::field(&mut lines, name.as_bytes(), value);
        }
        emit::last_chunk(&mut bytes, &lines);
        let end = bytes.len();
        bytes.extend_from_slice(b"next");
        prop_assert_eq!(decode(bytes.chunks(size)), (chunks.concat(), lines, Ok(Some(end))));
    }

    #[test]
    fn error_answers_read_back(status in 400u16..600, close in any::<bool>(), to_head in any::<bool>()) {
        let mut bytes = Vec::new();
        let date = emit::date(784_111_777);
        emit::error_response(&mut bytes, status, "some-reason", Some(&date), close, to_head);
        let mut head = ResponseHead::default();
        let len = parse_response(&bytes, &LIMITS, &mut head).expect("good").expect("whole");
        let left = bytes.len() - len;
        prop_assert_eq!((head.status, head.keep_alive, head.version), (status, !close, Version::Http11));
        prop_assert_eq!(left, if to_head { 0 } else { head.content_length.expect("a length") as usize });
        prop_assert!(head.fields.iter().any(|field| field.known == Known::Date));
    }

    #[test]
    fn a_sanitized_path_is_stable_and_has_no_dot_segments(raw in "/[a-c./%2eEfF25]{0,16}") {
        let (mut once, mut twice) = (Vec::new(), Vec::new());
        let Ok(differs) = target::sanitize(raw.as_bytes(), &mut once) else { return Ok(()) };
        let path = if differs { &once[..] } else { raw.as_bytes() };
        prop_assert_eq!(target::sanitize(path, &mut twice), Ok(false));
        let segments: Vec<_> = path[1..].split(|byte| *byte == b'/').collect();
        prop_assert!(!segments.iter().any(|segment| matches!(*segment, b"." | b"..")));
        prop_assert!(!segments[..segments.len() - 1].iter().any(|segment| segment.is_empty()));
    }

    #[test]
    fn known_names_are_found_in_any_case(upper in any::<u32>()) {
        for (name, known) in [
            ("te", Known::Te), ("host", Known::Host), ("connection", Known::Connection),
            ("transfer-encoding", Known::TransferEncoding), ("content-length", Known::ContentLength),
            ("x-forwarded-proto", Known::XForwardedProto), ("proxy-authorization", Known::ProxyAuthorization),
        ] {
            let mixed: Vec<u8> = name.bytes().enumerate()
                .map(|(at, byte)| if upper >> (at % 32) & 1 == 1 { byte.to_ascii_uppercase() } else { byte })
                .collect();
            prop_assert_eq!(Known::of(&mixed), known);
        }
    }
}
