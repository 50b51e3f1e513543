//! PROXY headers in and out: what is read, what is refused, and that what is written reads back, however it arrives.

use std::net::{IpAddr, SocketAddr};

use pancake_wire::proxy_protocol::{
    Command, Header, MAX_HEADER_BYTES, MAX_V1_BYTES, MAX_V2_BYTES, OutgoingSsl, OutgoingTlvs, Reject,
    Signature, Transport, Version, emit_v1, emit_v2_local, emit_v2_proxy, kind, parse, signature,
};
use proptest::prelude::*;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).expect("a block").to_be_bytes();
    [SIGNATURE, &[command, family], &length, block].concat()
}

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind][..], &u16::try_from(value.len()).expect("a value").to_be_bytes(), value].concat()
}

/// TCP over IPv4 with these TLVs.
fn with_tlvs(tlvs: &[Vec<u8>]) -> Vec<u8> {
    v2(0x21, 0x11, &[&[192, 0, 2, 1, 198, 51, 100, 2, 0xdc, 4, 1, 0xbb][..], &tlvs.concat()].concat())
}

fn whole(bytes: &[u8]) -> Header<'_> {
    let (header, length) = parse(bytes).expect("a good header").expect("a whole header");
    assert_eq!(length, bytes.len());
    header
}

fn refused(bytes: impl AsRef<[u8]>) -> Reject {
    parse(bytes.as_ref()).expect_err("refused")
}

fn address(text: &str) -> Option<SocketAddr> {
    Some(text.parse().expect("an address"))
}

#[test]
fn reads_lines_of_version_1() {
    let header = whole(b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n");
    assert_eq!((header.version, header.command), (Version::V1, Command::Proxy));
    assert_eq!(header.transport, Some(Transport::Stream));
    assert_eq!(
        (header.source, header.destination),
        (address("192.0.2.1:56324"), address("198.51.100.2:443"))
    );
    assert_eq!(header.tlvs().count(), 0);
    let header = whole(b"PROXY TCP6 2001:DB8::1 ::1 0 65535\r\n");
    assert_eq!((header.source, header.destination), (address("[2001:db8::1]:0"), address("[::1]:65535")));
    let longest =
        b"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
    assert_eq!(whole(longest).source.map(|source| source.port()), Some(65535));
}

#[test]
fn unknown_may_be_followed_by_anything() {
    for line in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN \r\n", "PROXY UNKNOWN ffff::1 x  y 99999 \0\r\n"] {
        let header = whole(line.as_bytes());
        assert_eq!((header.transport, header.source, header.destination), (None, None, None), "{line:?}");
    }
    let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(MAX_V1_BYTES - 16));
    assert_eq!(longest.len(), MAX_V1_BYTES);
    whole(longest.as_bytes());
}

#[test]
fn what_follows_the_header_is_left_alone() {
    let (_, length) = parse(b"PROXY UNKNOWN\r\nGET / HTTP/1.1\r\n").expect("good").expect("whole");
    assert_eq!(length, 15);
    let (_, length) = parse(&[&with_tlvs(&[])[..], b"\x16\x03"].concat()).expect("good").expect("whole");
    assert_eq!(length, 28);
}

#[test]
fn knows_early_that_there_is_no_header() {
    for bytes in [
        &b"G"[..],
        b"PR ",
        b"PROXZ",
        b"PUT / ",
        b"\x16\x03\x01",
        b"\r\n\r\nGET",
        b"\r\r",
        b"\r\n\r\n\0\r\nQUIT\r",
    ] {
        assert_eq!(signature(bytes), Signature::Absent, "{bytes:?}");
        assert_eq!(refused(bytes), Reject::PROXY_NO_HEADER, "{bytes:?}");
    }
    for bytes in [&b""[..], b"P", b"PROX", b"\r\n", &SIGNATURE[..11]] {
        assert_eq!(signature(bytes), Signature::Undecided, "{bytes:?}");
        assert_eq!(parse(bytes), Ok(None), "{bytes:?}");
    }
    assert_eq!((signature(b"PROXY"), signature(SIGNATURE)), (Signature::V1, Signature::V2));
}

#[test]
fn refuses_lines_that_are_not_exact() {
    for line in [
        "PROXY  TCP4 1.2.3.4 1.2.3.4 1 2",
        "PROXY TCP4  1.2.3.4 1.2.3.4 1 2 ",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 ",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1",
        "PROXY\tTCP4 1.2.3.4 1.2.3.4 1 2",
        "PROXY tcp4 1.2.3.4 1.2.3.4 1 2",
        "PROXY UDP4 1.2.3.4 1.2.3.4 1 2",
        "PROXY TCP5 1.2.3.4 1.2.3.4 1 2",
        "PROXY UNKNOWNS",
        "PROXY unknown",
        "PROXY",
        "PROXY ",
        "PROXYTCP4 1.2.3.4 1.2.3.4 1 2",
    ] {
        assert_eq!(refused(format!("{line}\r\n")), Reject::PROXY_BAD_LINE, "{line:?}");
    }
}

#[test]
fn refuses_addresses_and_ports_that_are_not_canonical() {
    for source in [
        "1.2.3",
        "1.2.3.04",
        "1.2.3.256",
        "::1",
        "0x1.2.3.4",
        "",
        "1.2.3.4:5",
        "+1.2.3.4",
        "localhost",
        "\u{661}.2.3.4",
    ] {
        let line = format!("PROXY TCP4 {source} 1.2.3.4 1 2\r\n");
        assert_eq!(refused(line), Reject::PROXY_BAD_ADDRESS, "{source:?}");
    }
    for source in ["1.2.3.4", "[::1]", "fe80::1%eth0", "1::2::3", "12345::", ":::", ""] {
        let line = format!("PROXY TCP6 {source} ::1 1 2\r\n");
        assert_eq!(refused(line), Reject::PROXY_BAD_ADDRESS, "{source:?}");
    }
    for port in ["", "00", "01", "+1", "-1", "65536", "99999999999", "1x", "0x1"] {
        let line = format!("PROXY TCP4 1.2.3.4 1.2.3.4 1 {port}\r\n");
        assert_eq!(refused(line), Reject::PROXY_BAD_PORT, "{port:?}");
        let line = format!("PROXY TCP4 1.2.3.4 1.2.3.4 {port} 1\r\n");
        assert_eq!(refused(line), Reject::PROXY_BAD_PORT, "{port:?}");
    }
}

#[test]
fn refuses_other_line_ends() {
    for line in [
        "PROXY UNKNOWN\n",
        "PROXY UNKNOWN\rx",
        "PROXY UNKNOWN a\nb\r\n",
        "PROXY UNKNOWN a\rb\r\n",
        "PROXY UNKNOWN\r\r\n",
    ] {
        assert_eq!(refused(line), Reject::PROXY_BAD_LINE_END, "{line:?}");
    }
    assert_eq!(parse(b"PROXY UNKNOWN\r"), Ok(None));
}

#[test]
fn waits_for_no_more_than_the_limit_of_a_line() {
    let endless = [b'x'; 200];
    let line = [b"PROXY UNKNOWN ", &endless[..]].concat();
    assert_eq!(parse(&line[..MAX_V1_BYTES - 1]), Ok(None));
    assert_eq!(refused(&line[..MAX_V1_BYTES]), Reject::PROXY_LINE_TOO_LONG);
    let one_over = format!("PROXY UNKNOWN {}\r\n", "x".repeat(MAX_V1_BYTES - 15));
    assert_eq!(refused(one_over), Reject::PROXY_LINE_TOO_LONG);
}

#[test]
fn reads_addresses_of_version_2() {
    let header_bytes = with_tlvs(&[]);
    let header = whole(&header_bytes);
    assert_eq!((header.version, header.command), (Version::V2, Command::Proxy));
    assert_eq!(header.transport, Some(Transport::Stream));
    assert_eq!(
        (header.source, header.destination),
        (address("192.0.2.1:56324"), address("198.51.100.2:443"))
    );

    let mut block = [0; 36];
    block[..2].copy_from_slice(&[0x20, 1]);
    (block[15], block[31], block[33], block[35]) = (1, 2, 53, 54);
    let bytes = v2(0x21, 0x22, &block);
    let header = whole(&bytes);
    assert_eq!(header.transport, Some(Transport::Datagram));
    assert_eq!((header.source, header.destination), (address("[2001::1]:53"), address("[::2]:54")));
}

#[test]
fn local_and_unspecified_headers_say_nothing() {
    for bytes in [
        v2(0x20, 0x00, b""),
        v2(0x20, 0x11, b"not addresses"),
        v2(0x20, 0xff, b"\x01\xff"),
        v2(0x21, 0x00, b"anything"),
        v2(0x21, 0x10, b"anything"),
        v2(0x21, 0x01, b"anything"),
    ] {
        let header = whole(&bytes);
        assert_eq!((header.transport, header.source, header.destination), (None, None, None), "{bytes:?}");
        assert_eq!(header.tlvs().count(), 0);
        assert_eq!(header.command == Command::Local, bytes[12] == 0x20);
    }
}

#[test]
fn steps_over_unix_paths() {
    let bytes = v2(0x21, 0x31, &[&[b'/'; 216][..], &tlv(kind::AUTHORITY, b"a.example")].concat());
    let header = whole(&bytes);
    assert_eq!((header.transport, header.source), (Some(Transport::Stream), None));
    assert_eq!(header.authority(), Some(&b"a.example"[..]));
}

#[test]
fn refuses_what_version_2_does_not_assign() {
    for first in [0x00, 0x11, 0x31, 0xf1] {
        assert_eq!(refused([SIGNATURE, &[first]].concat()), Reject::PROXY_BAD_VERSION, "{first:#x}");
    }
    assert_eq!(refused([SIGNATURE, &[0x22]].concat()), Reject::PROXY_BAD_COMMAND);
    for family in [0x13, 0x1f, 0x41, 0xf0, 0x03] {
        assert_eq!(refused([SIGNATURE, &[0x21, family]].concat()), Reject::PROXY_BAD_FAMILY, "{family:#x}");
    }
}

#[test]
fn judges_the_length_before_the_block_is_there() {
    for (family, length) in [(0x11, 11), (0x21, 35), (0x31, 215), (0x12, 0)] {
        let bytes = [SIGNATURE, &[0x21, family, 0, length]].concat();
        assert_eq!(refused(bytes), Reject::PROXY_SHORT_ADDRESSES, "{family:#x}");
    }
    let length = u16::try_from(MAX_V2_BYTES - 16).expect("a length");
    let head = [SIGNATURE, &[0x21, 0x11]].concat();
    assert_eq!(parse(&[&head[..], &length.to_be_bytes()].concat()), Ok(None));
    assert_eq!(refused([&head[..], &(length + 1).to_be_bytes()].concat()), Reject::PROXY_HEADER_TOO_LARGE);
}

#[test]
fn gives_tlvs_in_order_without_padding() {
    let bytes = with_tlvs(&[
        tlv(kind::NOOP, b"pad"),
        tlv(kind::ALPN, b"h2"),
        tlv(kind::AUTHORITY, b"first.example"),
        tlv(kind::AUTHORITY, b"second.example"),
        tlv(kind::UNIQUE_ID, &[7; 128]),
        tlv(kind::NETNS, b"blue"),
        tlv(0xe4, b""),
    ]);
    let header = whole(&bytes);
    let kinds: Vec<_> = header.tlvs().map(|tlv| tlv.kind).collect();
    assert_eq!(kinds, [kind::ALPN, kind::AUTHORITY, kind::AUTHORITY, kind::UNIQUE_ID, kind::NETNS, 0xe4]);
    assert_eq!((header.alpn(), header.authority()), (Some(&b"h2"[..]), Some(&b"first.example"[..])));
    assert_eq!((header.unique_id(), header.netns()), (Some(&[7; 128][..]), Some(&b"blue"[..])));
    assert_eq!(header.ssl(), None);
}

#[test]
fn reads_the_tls_of_the_client() {
    let inner = [tlv(kind::SSL_VERSION, b"TLSv1.3"), tlv(kind::SSL_CN, b"me")].concat();
    let bytes = with_tlvs(&[tlv(kind::SSL, &[&[5, 0, 0, 1, 0][..], &inner].concat())]);
    let ssl = whole(&bytes).ssl().expect("TLS");
    assert!(ssl.is_tls() && ssl.has_client_certificate());
    assert_eq!((ssl.verify(), ssl.version()), (256, Some(&b"TLSv1.3"[..])));
    assert_eq!(ssl.tlvs().first(kind::SSL_CN), Some(&b"me"[..]));
}

#[test]
fn refuses_tlvs_that_do_not_fit() {
    for bad in [
        vec![1],
        vec![1, 0],
        vec![1, 0, 1],
        [tlv(kind::ALPN, b"h2"), vec![0]].concat(),
        tlv(kind::UNIQUE_ID, &[0; 129]),
        tlv(kind::SSL, &[1, 0, 0, 0]),
        tlv(kind::SSL, &[1, 0, 0, 0, 0, 0x21, 0, 1]),
        tlv(kind::CRC32C, &[0; 3]),
    ] {
        assert_eq!(refused(with_tlvs(&[bad])), Reject::PROXY_BAD_TLV);
    }
}

#[test]
fn verifies_a_checksum_that_is_given() {
    let (source, destination) = (address("192.0.2.1:1").expect("one"), address("192.0.2.2:2").expect("one"));
    let tlvs = OutgoingTlvs { crc32c: true, alpn: Some(b"h2"), ..OutgoingTlvs::default() };
    let mut good = Vec::new();
    emit_v2_proxy(&mut good, Transport::Stream, source, destination, &tlvs).expect("small");
    whole(&good);
    // Any changed bit after the length that still parses is found; types changed into others are not checksums any more.
    for at in 16..28 {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        assert_eq!(refused(&bad), Reject::PROXY_BAD_CHECKSUM, "byte {at}");
    }
    let last = good.len() - 1;
    good[last] ^= 1;
    assert_eq!(refused(&good), Reject::PROXY_BAD_CHECKSUM);
    let twice = with_tlvs(&[tlv(kind::CRC32C, &[0; 4]), tlv(kind::CRC32C, &[0; 4])]);
    assert_eq!(refused(twice), Reject::PROXY_BAD_CHECKSUM);
}

#[test]
fn mapped_addresses_are_read_as_ipv4() {
    for source in ["::ffff:192.0.2.1", "::ffff:c000:201", "0:0:0:0:0:FFFF:C000:0201"] {
        let line = format!("PROXY TCP6 {source} 2001:db8::1 1 2\r\n");
        let header = whole(line.as_bytes());
        assert_eq!((header.source, header.destination), (address("192.0.2.1:1"), address("[2001:db8::1]:2")));
    }
}

#[test]
fn writes_one_family_for_both_addresses() {
    let line = |source: &str, destination: &str| {
        let mut out = Vec::new();
        emit_v1(&mut out, address(source).zip(address(destination)));
        String::from_utf8(out).expect("a line")
    };
    assert_eq!(line("192.0.2.1:1", "192.0.2.2:2"), "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n");
    assert_eq!(line("[::ffff:192.0.2.1]:1", "192.0.2.2:2"), "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n");
    assert_eq!(line("192.0.2.1:1", "[2001:db8::1]:2"), "PROXY TCP6 ::ffff:c000:201 2001:db8::1 1 2\r\n");
    let mut out = Vec::new();
    emit_v1(&mut out, None);
    assert_eq!(out, b"PROXY UNKNOWN\r\n");
    out.clear();
    emit_v2_local(&mut out);
    assert_eq!(out, v2(0x20, 0, b""));
}

#[test]
fn writes_nothing_that_it_would_not_read() {
    let (source, destination) = (address("192.0.2.1:1").expect("one"), address("192.0.2.2:2").expect("one"));
    let long = vec![b'a'; 70_000];
    for (tlvs, why) in [
        (OutgoingTlvs { authority: Some(&long), ..OutgoingTlvs::default() }, Reject::PROXY_HEADER_TOO_LARGE),
        (
            OutgoingTlvs { authority: Some(&long[..4066]), ..OutgoingTlvs::default() },
            Reject::PROXY_HEADER_TOO_LARGE,
        ),
        (OutgoingTlvs { unique_id: Some(&long[..129]), ..OutgoingTlvs::default() }, Reject::PROXY_BAD_TLV),
    ] {
        let mut out = b"before".to_vec();
        assert_eq!(emit_v2_proxy(&mut out, Transport::Stream, source, destination, &tlvs), Err(why));
        assert_eq!(out, b"before");
    }
}

/// Addresses in all families, mapped ones among them.
fn any_address() -> impl Strategy<Value = SocketAddr> {
    let ip = prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(IpAddr::from),
        any::<[u8; 4]>().prop_map(|octets| IpAddr::V6(std::net::Ipv4Addr::from(octets).to_ipv6_mapped())),
        proptest::array::uniform8(prop_oneof![Just(0u16), any::<u16>()]).prop_map(IpAddr::from),
    ];
    (ip, any::<u16>()).prop_map(SocketAddr::from)
}

fn canonical(address: SocketAddr) -> Option<SocketAddr> {
    Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

/// A header that is whole only with its last byte.
fn comes_whole(bytes: &[u8]) -> Result<(), TestCaseError> {
    for end in 0..bytes.len() {
        prop_assert_eq!(parse(&bytes[..end]), Ok(None));
    }
    Ok(())
}

fn nearly_header() -> impl Strategy<Value = Vec<u8>> {
    let pieces: &'static [&'static [u8]] = &[
        b"PROXY ",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 ",
        b"TCP6 ::1 ::2 ",
        b"UNKNOWN",
        b"1 2",
        b"\r\n",
        b"\r",
        b"\n",
        b" ",
        SIGNATURE,
        SIGNATURE,
        b"\x21",
        b"\x20",
        b"\x11",
        b"\0\x0c",
        b"\0\x13",
        b"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c",
        b"\x01\0\x02h2",
        b"\x03\0\x04\0\0\0\0",
        b"\x04\0\0",
        b"\x20\0\x05\x01\0\0\0\0",
        b"x",
    ];
    proptest::collection::vec(proptest::sample::select(pieces), 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn a_written_line_reads_back(source in any_address(), destination in any_address()) {
        let mut bytes = Vec::new();
        emit_v1(&mut bytes, Some((source, destination)));
        prop_assert!(bytes.len() <= MAX_V1_BYTES);
        let header = whole(&bytes);
        prop_assert_eq!((header.source, header.destination), (canonical(source), canonical(destination)));
        comes_whole(&bytes)?;
    }

    #[test]
    fn a_written_binary_header_reads_back(
        source in any_address(),
        destination in any_address(),
        is_stream in any::<bool>(),
        alpn in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20)),
        authority in proptest::option::of("[a-z.]{0,40}"),
        unique_id in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..=128)),
        ssl in proptest::option::of(("TLSv1\\.[0-3]", proptest::option::of("[A-Z0-9_]{1,30}"))),
        crc32c in any::<bool>(),
    ) {
        let transport = if is_stream { Transport::Stream } else { Transport::Datagram };
        let tlvs = OutgoingTlvs {
            alpn: alpn.as_deref(),
            authority: authority.as_deref().map(str::as_bytes),
            unique_id: unique_id.as_deref(),
            ssl: ssl.as_ref().map(|(version, cipher)| OutgoingSsl {
                version: version.as_bytes(),
                cipher: cipher.as_deref().map(str::as_bytes),
            }),
            crc32c,
        };
        let mut bytes = Vec::new();
        emit_v2_proxy(&mut bytes, transport, source, destination, &tlvs).expect("a small header");
        let header = whole(&bytes);
        prop_assert_eq!((header.version, header.command), (Version::V2, Command::Proxy));
        prop_assert_eq!(header.transport, Some(transport));
        prop_assert_eq!((header.source, header.destination), (canonical(source), canonical(destination)));
        prop_assert_eq!((header.alpn(), header.authority(), header.unique_id()), (tlvs.alpn, tlvs.authority, tlvs.unique_id));
        prop_assert_eq!(header.ssl().and_then(|ssl| ssl.version()), tlvs.ssl.map(|ssl| ssl.version));
        prop_assert_eq!(header.ssl().and_then(|ssl| ssl.tlvs().first(kind::SSL_CIPHER)), tlvs.ssl.and_then(|ssl| ssl.cipher));
        prop_assert_eq!(header.tlvs().any(|tlv| tlv.kind == kind::CRC32C), crc32c);
        comes_whole(&bytes)?;
    }

    #[test]
    fn a_verdict_stands_whatever_follows(bytes in nearly_header()) {
        let mut verdict = Ok(None);
        for end in 0..=bytes.len() {
            let now = parse(&bytes[..end]);
            match verdict {
                Ok(None) => verdict = now,
                _ => prop_assert_eq!(now, verdict),
            }
        }
        prop_assert!(verdict != Ok(None) || bytes.len() < MAX_HEADER_BYTES);
    }

    #[test]
    fn parsing_survives_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200), start in 0usize..3) {
        let start: &[u8] = [&b""[..], b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0"][start];
        if let Ok(Some((header, _))) = parse(&[start, &bytes].concat()) {
            let _ = (header.tlvs().count(), header.ssl());
        }
    }
}
