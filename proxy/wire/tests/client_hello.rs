//! Peeking at ClientHellos: what is found, what is refused, and that no split of the bytes changes a verdict.

use pancake_wire::client_hello::{ClientHello, MAX_CLIENT_HELLO_BYTES, Peek, Reject, peek, peek_message};
use proptest::prelude::*;

/// An extension.
fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector16(data)].concat()
}

fn vector8(data: &[u8]) -> Vec<u8> {
    [&[u8::try_from(data.len()).expect("a short vector")][..], data].concat()
}

fn vector16(data: &[u8]) -> Vec<u8> {
    [&u16::try_from(data.len()).expect("a vector").to_be_bytes()[..], data].concat()
}

fn server_name(name: &[u8]) -> Vec<u8> {
    extension(0, &vector16(&[&[0][..], &vector16(name)].concat()))
}

fn alpn(names: &[&[u8]]) -> Vec<u8> {
    extension(16, &vector16(&names.iter().flat_map(|name| vector8(name)).collect::<Vec<_>>()))
}

fn versions(versions: &[u16]) -> Vec<u8> {
    extension(43, &vector8(&versions.iter().flat_map(|version| version.to_be_bytes()).collect::<Vec<_>>()))
}

/// What stands in front of the extensions.
fn fixed() -> Vec<u8> {
    [&[3, 3][..], &[7; 32], &vector8(&[9; 32]), &vector16(&[0x13, 1, 0x13, 2]), &vector8(&[0])].concat()
}

fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a message").to_be_bytes();
    [&[kind][..], &length[1..], body].concat()
}

fn message(extensions: &[Vec<u8>]) -> Vec<u8> {
    handshake(1, &[fixed(), vector16(&extensions.concat())].concat())
}

/// Records of at most `size` bytes each.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    message.chunks(size).flat_map(|part| [&[22, 3, 1][..], &vector16(part)].concat()).collect()
}

fn one_record(extensions: &[Vec<u8>]) -> Vec<u8> {
    records(&message(extensions), 1 << 14)
}

fn hello(bytes: &[u8]) -> ClientHello<'_> {
    match peek(bytes) {
        Peek::Hello(hello) => hello,
        other => panic!("not a hello: {other:?}"),
    }
}

fn refused(bytes: &[u8]) -> Reject {
    match peek(bytes) {
        Peek::Malformed(reject) => reject,
        other => panic!("not refused: {other:?}"),
    }
}

fn refused_extension(extension: Vec<u8>) -> Reject {
    refused(&one_record(&[extension]))
}

#[test]
fn finds_name_protocols_and_versions() {
    let bytes = one_record(&[
        extension(0x0a0a, b""),
        server_name(b"Web.Example"),
        alpn(&[b"h2", b"http/1.1"]),
        versions(&[0x3a3a, 0x0304, 0x0303]),
        extension(21, &[0; 200]),
    ]);
    let hello = hello(&bytes);
    assert_eq!(hello.server_name(), Some("Web.Example"));
    let mut name = String::from("old");
    assert!(hello.server_name_for_routing(&mut name));
    assert_eq!(name, "web.example");
    assert_eq!(hello.alpn().collect::<Vec<_>>(), [&b"h2"[..], b"http/1.1"]);
    assert_eq!(hello.versions().collect::<Vec<_>>(), [0x0304, 0x0303]);
    assert_eq!((hello.wire_len(), hello.is_fragmented()), (bytes.len(), false));
}

#[test]
fn a_hello_without_extensions_has_a_version_only() {
    let bytes = records(&handshake(1, &fixed()), 1 << 14);
    let hello = hello(&bytes);
    assert_eq!((hello.server_name(), hello.alpn().count()), (None, 0));
    assert_eq!(hello.versions().collect::<Vec<_>>(), [0x0303]);
    let mut name = String::from("old");
    assert!(!hello.server_name_for_routing(&mut name));
    assert_eq!(name, "");
}

#[test]
fn what_follows_the_hello_is_left_alone() {
    let mut bytes = one_record(&[server_name(b"a.example")]);
    let length = bytes.len();
    bytes.extend_from_slice(b"\x17\x03\x03\xff\xffearly data");
    assert_eq!(hello(&bytes).wire_len(), length);
    // Another message in the same record.
    let bytes = records(&[message(&[server_name(b"a.example")]), handshake(20, b"x")].concat(), 1 << 14);
    assert_eq!((hello(&bytes).wire_len(), hello(&bytes).server_name()), (length, Some("a.example")));
}

#[test]
fn joins_a_hello_from_records_of_any_size() {
    let message = message(&[server_name(b"a.example"), alpn(&[b"h2"]), extension(21, &[0; 700])]);
    for size in (1..=message.len()).chain([1 << 14]) {
        let bytes = records(&message, size);
        let hello = hello(&bytes);
        assert_eq!(hello.server_name(), Some("a.example"), "records of {size}");
        assert_eq!(hello.alpn().collect::<Vec<_>>(), [b"h2"]);
        assert_eq!((hello.wire_len(), hello.is_fragmented()), (bytes.len(), size < message.len()));
    }
}

#[test]
fn other_protocols_are_not_tls_at_once() {
    for bytes in [
        &b"G"[..],
        b"\x15",
        b"\x17\x03\x03",
        b"\x80\x2e\x01\x03\x01",
        b"SSH-2.0",
        b"\0",
        b"\x16\x02",
        b"\x16\x16",
    ] {
        assert_eq!(peek(bytes), Peek::NotTls, "{bytes:?}");
    }
}

#[test]
fn says_how_many_bytes_it_waits_for() {
    let bytes = one_record(&[server_name(b"a.example")]);
    assert_eq!(peek(b""), Peek::Incomplete { needed: 1 });
    assert_eq!(peek(&bytes[..3]), Peek::Incomplete { needed: 5 });
    assert_eq!(peek(&bytes[..5]), Peek::Incomplete { needed: 6 });
    assert_eq!(peek(&bytes[..6]), Peek::Incomplete { needed: 9 });
    assert_eq!(peek(&bytes[..9]), Peek::Incomplete { needed: bytes.len() });
}

#[test]
fn refuses_bad_records() {
    assert_eq!(refused(b"\x16\x03\x01\0\0"), Reject::TLS_BAD_RECORD_LENGTH);
    assert_eq!(refused(b"\x16\x03\x01\x40\x01"), Reject::TLS_BAD_RECORD_LENGTH);
    assert_eq!(refused(b"\x16\x03\x01\0\x05\x02"), Reject::TLS_NO_HELLO);
    let start = records(&message(&[])[..10], 10);
    for next in [&b"\x15"[..], b"\x17", b"\x16\x02", b"G"] {
        assert_eq!(refused(&[&start[..], next].concat()), Reject::TLS_HELLO_INTERRUPTED, "{next:?}");
    }
    assert_eq!(refused(&[&start[..], b"\x16\x03\x03\0\0"].concat()), Reject::TLS_BAD_RECORD_LENGTH);
}

#[test]
fn refuses_a_hello_over_the_limit_by_its_length_alone() {
    let overhead = fixed().len() + 4 + 2 + 4;
    // Four full records carry the largest hello.
    let largest = MAX_CLIENT_HELLO_BYTES - 4 * 5 - overhead;
    let bytes = records(&message(&[extension(21, &vec![0; largest])]), 1 << 14);
    assert_eq!(bytes.len(), MAX_CLIENT_HELLO_BYTES);
    assert_eq!(hello(&bytes).wire_len(), MAX_CLIENT_HELLO_BYTES);
    assert_eq!(refused(b"\x16\x03\x01\x40\0\x01\x01\0\0"), Reject::TLS_HELLO_TOO_LARGE);
    assert_eq!(refused(b"\x16\x03\x01\x40\0\x01\xff\xff\xff"), Reject::TLS_HELLO_TOO_LARGE);
    // Record headers count.
    let tiny = records(&message(&[extension(21, &vec![0; MAX_CLIENT_HELLO_BYTES / 4])]), 1);
    assert_eq!(refused(&tiny[..MAX_CLIENT_HELLO_BYTES]), Reject::TLS_HELLO_TOO_LARGE);
}

#[test]
fn refuses_lengths_that_do_not_add_up() {
    let body = fixed();
    for end in [0, 1, 33, 34, 50, 67, 69, 72, 73] {
        assert_eq!(refused(&records(&handshake(1, &body[..end]), 999)), Reject::TLS_BAD_HELLO, "{end}");
    }
    let long_id = [&[3, 3][..], &[7; 32], &vector8(&[9; 33]), &vector16(&[0x13, 1]), &vector8(&[0])].concat();
    assert_eq!(refused(&records(&handshake(1, &long_id), 999)), Reject::TLS_BAD_HELLO);
    let odd_ciphers =
        [&[3, 3][..], &[7; 32], &vector8(&[]), &vector16(&[0x13, 1, 2]), &vector8(&[0])].concat();
    assert_eq!(refused(&records(&handshake(1, &odd_ciphers), 999)), Reject::TLS_BAD_HELLO);
    for tail in
        [&b"\0"[..], b"\0\x01", b"\0\x05\0\x15\0\x02a", b"\0\0x", b"\0\x03\0\x15\0", b"\0\x04\0\x15\0\0more"]
    {
        let bytes = records(&handshake(1, &[&body[..], tail].concat()), 999);
        assert_eq!(refused(&bytes), Reject::TLS_BAD_EXTENSIONS, "{tail:?}");
    }
}

#[test]
fn refuses_an_extension_given_twice() {
    for twice in [server_name(b"a.example"), server_name(b"192.0.2.1"), alpn(&[b"h2"]), versions(&[0x0304])] {
        assert_eq!(
            refused(&one_record(&[twice.clone(), extension(21, b""), twice])),
            Reject::TLS_TWO_EXTENSIONS
        );
    }
}

#[test]
fn refuses_bad_server_names() {
    for data in [
        &b""[..],
        b"\0",
        b"\0\0",
        b"\0\x03\0\0\0",
        b"\0\x04\0\0\x02a",
        b"\0\x04\0\0\x01ab",
        b"\0\x05\0\0\x01a",
    ] {
        assert_eq!(refused_extension(extension(0, data)), Reject::TLS_BAD_SERVER_NAME, "{data:?}");
    }
    let two = [&[0][..], &vector16(b"a"), &[0], &vector16(b"b")].concat();
    assert_eq!(refused_extension(extension(0, &vector16(&two))), Reject::TLS_TWO_SERVER_NAMES);
    for name in [&b"a b"[..], b"a..b", b".", b"a\0b", b"b\xc3\xbccher", b"*.example", b"a:443"] {
        assert_eq!(refused_extension(server_name(name)), Reject::TLS_NO_DNS_NAME, "{name:?}");
    }
}

#[test]
fn an_address_is_no_server_name_and_a_trailing_dot_is_dropped() {
    for address in [&b"192.0.2.1"[..], b"2001:db8::1"] {
        assert_eq!(hello(&one_record(&[server_name(address)])).server_name(), None);
    }
    assert_eq!(hello(&one_record(&[server_name(b"a.example.")])).server_name(), Some("a.example"));
}

#[test]
fn steps_over_server_names_of_other_types() {
    let both = [&[7][..], &vector16(b"?"), &[0], &vector16(b"a.example")].concat();
    let bytes = one_record(&[extension(0, &vector16(&both))]);
    assert_eq!(hello(&bytes).server_name(), Some("a.example"));
}

#[test]
fn refuses_bad_protocol_and_version_lists() {
    for data in [&b""[..], b"\0\0", b"\0\x01\0", b"\0\x03\x02h", b"\0\x03\x02h2x", b"\0\x03\x03h2"] {
        assert_eq!(refused_extension(extension(16, data)), Reject::TLS_BAD_ALPN, "{data:?}");
    }
    for data in [&b""[..], b"\0", b"\x01\x03", b"\x02\x03", b"\x02\x03\x04\x03"] {
        assert_eq!(refused_extension(extension(43, data)), Reject::TLS_BAD_VERSIONS, "{data:?}");
    }
}

/// Good and bad hellos in records of one size, with a byte changed now and then.
fn nearly_hello() -> impl Strategy<Value = Vec<u8>> {
    let extensions = proptest::sample::subsequence(
        vec![
            server_name(b"a.example"),
            server_name(b"B.example."),
            server_name(b"10.0.0.1"),
            alpn(&[b"h2", b"http/1.1"]),
            versions(&[0x0304, 0x0303]),
            extension(16, b"\0"),
            extension(21, &[0; 90]),
        ],
        0..4,
    );
    let change = proptest::option::weighted(0.3, (any::<proptest::sample::Index>(), any::<u8>()));
    (extensions, 1usize..300, change).prop_map(|(extensions, size, change)| {
        let mut bytes = records(&message(&extensions), size);
        if let Some((at, value)) = change {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes
    })
}

proptest! {
    #[test]
    fn a_verdict_stands_whatever_follows(bytes in nearly_hello()) {
        let mut verdict = Peek::Incomplete { needed: 0 };
        for end in 0..=bytes.len() {
            let now = peek(&bytes[..end]);
            match (&verdict, &now) {
                (Peek::Incomplete { needed }, Peek::Incomplete { needed: now }) => {
                    prop_assert!(needed <= now);
                    prop_assert!((end + 1..=MAX_CLIENT_HELLO_BYTES).contains(now));
                    // Nothing changes before.
                    prop_assert!(end >= *needed || needed == now);
                }
                (Peek::Incomplete { needed }, _) => prop_assert!(end >= *needed, "{} came before {}", end, needed),
                (before, now) => prop_assert_eq!(before, now),
            }
            verdict = now;
        }
    }

    #[test]
    fn any_fragmentation_says_the_same(
        name in "[a-z0-9-]{1,20}(\\.[a-z0-9_]{1,20}x){0,4}",
        protocols in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..20), 1..5),
        sizes in proptest::collection::vec(1usize..100, 1..8),
    ) {
        let protocols: Vec<_> = protocols.iter().map(|name| &name[..]).collect();
        let message = message(&[server_name(name.as_bytes()), alpn(&protocols), versions(&[0x0304])]);
        let (mut bytes, mut rest) = (Vec::new(), &message[..]);
        for size in sizes.iter().cycle() {
            let (part, after) = rest.split_at(rest.len().min(*size));
            bytes.extend(records(part, *size));
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        let hello = hello(&bytes);
        prop_assert_eq!(hello.server_name(), Some(&name[..]));
        prop_assert_eq!(hello.alpn().collect::<Vec<_>>(), protocols);
        prop_assert_eq!(hello.wire_len(), bytes.len());
    }

    #[test]
    fn peeking_survives_any_bytes(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..256),
        is_record in any::<bool>(),
    ) {
        if is_record && bytes.len() > 5 {
            bytes[..3].copy_from_slice(b"\x16\x03\x01");
            bytes[5] = 1;
        }
        if let Peek::Hello(hello) = peek(&bytes) {
            let _ = (hello.alpn().count(), hello.versions().count(), hello.server_name());
        }
    }
}

#[test]
fn a_message_without_records_says_the_same() {
    let message = message(&[server_name(b"A.Example")]);
    assert_eq!(peek_message(&message[..3]), Peek::Incomplete { needed: 4 });
    assert_eq!(peek_message(&message[..9]), Peek::Incomplete { needed: message.len() });
    let Peek::Hello(hello) = peek_message(&message) else { panic!("it is a hello") };
    assert_eq!(hello.server_name(), Some("A.Example"));
    assert!(matches!(peek_message(&[2, 0, 0, 0]), Peek::Malformed(_)));
}
