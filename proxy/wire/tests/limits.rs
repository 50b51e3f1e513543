//! What happens at the limits, and what persists.

use pancake_wire::h1::body::{Chunked, MAX_TRAILER_BYTES, State};
use pancake_wire::h1::head::{
    FIELD_SLOTS, Limits, MAX_CONNECTION_OPTIONS, Reject, RequestHead, Version, may_be_complete, parse_request,
};

fn parse(bytes: impl AsRef<[u8]>, limits: &Limits) -> Result<Option<RequestHead>, Reject> {
    let mut head = RequestHead::default();
    Ok(parse_request(bytes.as_ref(), limits, &mut head)?.map(|_| head))
}

#[test]
fn a_head_of_exactly_the_limit_passes_and_one_byte_more_does_not() {
    let head = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let limits = |max_head_bytes| Limits { max_head_bytes, ..Limits::default() };
    assert!(parse(head, &limits(head.len())).expect("fits").is_some());
    assert_eq!(parse(head, &limits(head.len() - 1)).err(), Some(Reject::HEAD_TOO_LARGE));
    let followed = format!("{head}{}", "x".repeat(100));
    assert!(parse(followed, &limits(head.len())).expect("fits").is_some());
}

#[test]
fn a_request_line_over_the_limit_is_414() {
    let limits = Limits { max_head_bytes: 64, ..Limits::default() };
    assert_eq!(parse(format!("GET /{}", "x".repeat(64)), &limits).err(), Some(Reject::TARGET_TOO_LONG));
    assert_eq!(
        parse(format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(64)), &limits).err(),
        Some(Reject::HEAD_TOO_LARGE)
    );
}

#[test]
fn fields_are_limited() {
    let with = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(count - 1));
    let limits = |max_fields| Limits { max_fields, ..Limits::default() };
    assert_eq!(parse(with(128), &limits(128)).expect("fits").expect("whole").fields.len(), 128);
    assert_eq!(parse(with(129), &limits(128)).err(), Some(Reject::TOO_MANY_FIELDS));
    assert!(parse(with(FIELD_SLOTS), &limits(9999)).expect("fits").is_some());
    assert_eq!(parse(with(FIELD_SLOTS + 1), &limits(9999)).err(), Some(Reject::TOO_MANY_FIELDS));
}

#[test]
fn connection_options_are_limited() {
    let with =
        |count| format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close{}\r\n\r\n", ",x".repeat(count));
    let limits = Limits::default();
    assert!(parse(with(MAX_CONNECTION_OPTIONS), &limits).is_ok());
    assert_eq!(parse(with(MAX_CONNECTION_OPTIONS + 1), &limits).err(), Some(Reject::TOO_MANY_OPTIONS));
}

#[test]
fn persistence_follows_version_and_connection() {
    for (line, fields, want) in [
        ("HTTP/1.1", "", true),
        ("HTTP/1.1", "Connection: close\r\n", false),
        ("HTTP/1.1", "Connection: keep-alive, CLOSE\r\n", false),
        ("HTTP/1.1", "Connection: x\r\nConnection: close\r\n", false),
        ("HTTP/1.1", "Connection: , ,\r\n", true),
        ("HTTP/1.0", "", false),
        ("HTTP/1.0", "Connection: Keep-Alive\r\n", true),
        ("HTTP/1.0", "Connection: keep-alive, close\r\n", false),
    ] {
        let head = parse(format!("GET / {line}\r\nHost: a\r\n{fields}\r\n"), &Limits::default());
        let head = head.expect("good").expect("whole");
        assert_eq!(head.keep_alive, want, "{line} {fields:?}");
        assert_eq!(head.version == Version::Http11, line == "HTTP/1.1");
    }
}

#[test]
fn a_reused_head_keeps_nothing_of_the_request_before() {
    let mut head = RequestHead::default();
    let first = b"POST http://a/?q HTTP/1.1\r\nHost: a\r\nConnection: x, upgrade\r\nUpgrade: y\r\nContent-Length: 3\r\n\r\n";
    parse_request(first, &Limits::default(), &mut head).expect("good");
    let second = b"GET / HTTP/1.0\r\n\r\n";
    parse_request(second, &Limits::default(), &mut head).expect("good");
    let fresh = parse(second, &Limits::default()).expect("good").expect("whole");
    assert_eq!(format!("{head:?}"), format!("{fresh:?}"));
}

#[test]
fn a_head_cannot_be_complete_before_its_empty_line() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for seen in 0..head.len() {
        assert!(may_be_complete(head, seen), "{seen}");
        assert!(!may_be_complete(&head[..head.len() - 1], seen));
    }
    assert!(!may_be_complete(head, head.len() + 100));
}

fn trailers(section: &str) -> Result<(State, Vec<u8>), Reject> {
    let bytes = format!("0\r\n{section}");
    let mut decoder = Chunked::new();
    let step = decoder.step(bytes.as_bytes())?;
    Ok((step.state, decoder.trailers().to_vec()))
}

#[test]
fn trailers_are_kept_without_the_forbidden_ones() {
    let section = "X-Sum: 1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nHost: b\r\nTE: x\r\nX_Forwarded_For: 1\r\n\
                   Authorization: x\r\nX-Real-IP: 1\r\nGrpc-Status:0\r\n\r\n";
    assert_eq!(trailers(section), Ok((State::Done, b"X-Sum: 1\r\nGrpc-Status:0\r\n".to_vec())));
}

#[test]
fn broken_trailers_are_refused() {
    for (section, want) in [
        ("X : y\r\n\r\n", Reject::SPACE_BEFORE_COLON),
        (": y\r\n\r\n", Reject::EMPTY_FIELD_NAME),
        ("X\r\n\r\n", Reject::BAD_FIELD_NAME),
        ("X: y\r\n z\r\n\r\n", Reject::FOLDED_FIELD),
        ("X: y\n\r\n", Reject::BARE_LF),
        ("\n", Reject::BARE_LF),
        ("X: a\rb\r\n\r\n", Reject::BARE_CR),
        ("X: a\0b\r\n\r\n", Reject::NUL_IN_VALUE),
    ] {
        assert_eq!(trailers(section), Err(want), "{section:?}");
    }
    let long = format!("X: {}\r\n\r\n", "x".repeat(MAX_TRAILER_BYTES));
    assert_eq!(trailers(&long), Err(Reject::TRAILERS_TOO_LARGE));
    assert_eq!(trailers(&"X: y\r\n".repeat(65)), Err(Reject::TRAILERS_TOO_LARGE));
}

#[test]
fn a_decoder_that_was_reset_is_new() {
    let mut decoder = Chunked::new();
    decoder.step(b"0\r\nX: y\r\n\r\n").expect("good");
    assert!(decoder.is_done());
    decoder.reset();
    assert_eq!((decoder.is_done(), decoder.trailers()), (false, &b""[..]));
    assert_eq!(decoder.step(b"0\r\n\r\n").expect("good").state, State::Done);
}
