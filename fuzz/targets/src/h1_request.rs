//! Request heads: no panic, verdicts that stand, and the same reading as the plain second one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pancake_fuzz::read;
use pancake_wire::h1::emit;
use pancake_wire::h1::head::{Framing, Limits, RequestHead, Version, parse_request};
use pancake_wire::h1::target;

const LIMITS: Limits = Limits { max_head_bytes: 2048, max_fields: 64 };

/// Prefixes tried one by one up to this length.
const PREFIXES: usize = 256;

fuzz_target!(|bytes: &[u8]| {
    let mut head = RequestHead::default();
    let verdict = parse_request(bytes, &LIMITS, &mut head);
    for end in 0..bytes.len().min(PREFIXES) {
        match parse_request(&bytes[..end], &LIMITS, &mut RequestHead::default()) {
            Ok(None) => {}
            Ok(Some(len)) => assert_eq!(verdict, Ok(Some(len))),
            Err(_) => assert!(verdict.is_err(), "{end} bytes were refused, more are not"),
        }
    }
    if let Ok(Some(len)) = verdict {
        accepted(&bytes[..len], &head);
    }
});

fn accepted(bytes: &[u8], head: &RequestHead) {
    assert_eq!(head.len, bytes.len());
    let plain = read(bytes);
    plain.same_fields(bytes, &head.fields);
    assert_eq!(plain.framing(Framing::Empty), head.framing);

    let version: &[u8] = if head.version == Version::Http11 { b"HTTP/1.1" } else { b"HTTP/1.0" };
    assert_eq!(plain.first_line, [head.method.of(bytes), head.target.of(bytes), version].join(&b' '));
    assert!(head.version == Version::Http11 || plain.all("transfer-encoding").is_empty());

    let hosts = plain.all("host");
    assert!(hosts.len() <= 1 && (hosts.len() == 1 || head.version == Version::Http10));
    assert_eq!(head.host.map(|host| host.of(bytes)), hosts.first().copied());
    let mut host = String::new();
    if let Some(authority) = head.authority(bytes) {
        target::host_for_routing(authority, &mut host).expect("an accepted authority is a host");
    }
    let target = head.target.of(bytes);
    assert_eq!(target::parse(head.method.of(bytes), target), Ok(head.target_parts));

    // Written out again it reads the same.
    let mut copy = [&plain.first_line[..], b"\r\n"].concat();
    emit::fields(&mut copy, bytes, &head.fields, |_| true);
    copy.extend_from_slice(emit::CRLF);
    let mut again = RequestHead::default();
    assert_eq!(parse_request(&copy, &LIMITS, &mut again), Ok(Some(copy.len())));
    assert_eq!(
        (again.framing, again.keep_alive, again.fields.len()),
        (head.framing, head.keep_alive, head.fields.len())
    );
}
