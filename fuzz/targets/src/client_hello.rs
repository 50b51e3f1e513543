//! ClientHellos: no panic, verdicts that stand and come no earlier than announced, and the same findings in records of any
//! size.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pancake_wire::client_hello::{ClientHello, MAX_CLIENT_HELLO_BYTES, Peek, peek};

/// Prefixes tried one by one up to this length.
const PREFIXES: usize = 512;

fuzz_target!(|bytes: &[u8]| {
    let verdict = peek(bytes);
    for end in 0..bytes.len().min(PREFIXES) {
        match peek(&bytes[..end]) {
            Peek::Incomplete { needed } => {
                assert!((end + 1..=MAX_CLIENT_HELLO_BYTES).contains(&needed));
                if needed > bytes.len() {
                    assert!(
                        matches!(verdict, Peek::Incomplete { .. }),
                        "a verdict came before byte {needed}"
                    );
                }
            }
            early => assert_eq!(early, verdict, "{end} bytes"),
        }
    }
    match verdict {
        Peek::Hello(hello) => accepted(bytes, &hello),
        Peek::Incomplete { .. } => assert!(bytes.len() < MAX_CLIENT_HELLO_BYTES),
        Peek::NotTls => assert!(bytes[0] != 22 || bytes[1] != 3),
        Peek::Malformed(_) => assert_eq!(bytes[..2], [22, 3]),
    }
});

fn accepted(bytes: &[u8], hello: &ClientHello<'_>) {
    let found = findings(hello);
    if let Some(name) = &found.0 {
        assert!((1..=253).contains(&name.len()) && !name.ends_with('.') && !name.contains(".."));
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)));
        assert!(name.parse::<std::net::IpAddr>().is_err());
    }
    assert!(found.1.iter().all(|name| !name.is_empty()));

    // The message, taken out of its records by a second reading.
    let (mut message, mut rest) = (Vec::new(), &bytes[..hello.wire_len()]);
    while !rest.is_empty() {
        let end = (5 + usize::from(rest[3]) * 256 + usize::from(rest[4])).min(rest.len());
        message.extend_from_slice(&rest[5..end]);
        rest = &rest[end..];
    }
    for size in [1, 3, 100, 1 << 14] {
        let mut again = Vec::new();
        for part in message.chunks(size) {
            again.extend_from_slice(&[22, 3, 3, (part.len() >> 8) as u8, part.len() as u8]);
            again.extend_from_slice(part);
        }
        if again.len() <= MAX_CLIENT_HELLO_BYTES {
            let Peek::Hello(second) = peek(&again) else { panic!("no hello in records of {size}") };
            assert_eq!((findings(&second), second.wire_len()), (found.clone(), again.len()));
        }
    }
}

type Findings = (Option<String>, Vec<Vec<u8>>, Vec<u16>);

fn findings(hello: &ClientHello<'_>) -> Findings {
    (
        hello.server_name().map(str::to_owned),
        hello.alpn().map(<[u8]>::to_vec).collect(),
        hello.versions().collect(),
    )
}
