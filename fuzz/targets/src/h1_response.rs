//! Response heads: no panic, verdicts that stand, and the same reading as the plain second one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pancake_fuzz::read;
use pancake_wire::h1::head::{Framing, Limits, ResponseHead, parse_response};

const LIMITS: Limits = Limits { max_head_bytes: 2048, max_fields: 64 };

/// Prefixes tried one by one up to this length.
const PREFIXES: usize = 256;

fuzz_target!(|bytes: &[u8]| {
    let mut head = ResponseHead::default();
    let verdict = parse_response(bytes, &LIMITS, &mut head);
    for end in 0..bytes.len().min(PREFIXES) {
        match parse_response(&bytes[..end], &LIMITS, &mut ResponseHead::default()) {
            Ok(None) => {}
            Ok(Some(len)) => assert_eq!(verdict, Ok(Some(len))),
            Err(reject) => {
                assert_eq!(reject.status, 502);
                assert!(verdict.is_err(), "{end} bytes were refused, more are not");
            }
        }
    }
    if let Ok(Some(len)) = verdict {
        accepted(&bytes[..len], &head);
    }
});

fn accepted(bytes: &[u8], head: &ResponseHead) {
    let plain = read(bytes);
    plain.same_fields(bytes, &head.fields);
    assert!(plain.first_line.starts_with(b"HTTP/1."));
    assert_eq!(plain.first_line[9..12], *head.status.to_string().as_bytes());
    assert_eq!(plain.first_line.get(13..).unwrap_or_default(), head.reason.of(bytes));

    let fields_say = plain.framing(Framing::UntilClose);
    let no_body = (100..200).contains(&head.status) || matches!(head.status, 204 | 304);
    assert_eq!(head.framing(false), if no_body { Framing::Empty } else { fields_say });
    assert_eq!(head.framing(true), Framing::Empty);
}
