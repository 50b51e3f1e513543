//! PROXY headers: no panic, verdicts that stand, limits, and what was read is the same after it was written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pancake_wire::proxy_protocol::{
    Command, Header, MAX_HEADER_BYTES, MAX_V1_BYTES, OutgoingTlvs, Signature, Transport, Version, emit_v1,
    emit_v2_proxy, kind, parse, signature,
};

/// Prefixes tried one by one up to this length.
const PREFIXES: usize = 256;

fuzz_target!(|bytes: &[u8]| {
    let verdict = parse(bytes);
    for end in 0..bytes.len().min(PREFIXES) {
        match parse(&bytes[..end]) {
            Ok(None) => {}
            early => assert_eq!(early, verdict, "{end} bytes"),
        }
    }
    match verdict {
        Ok(None) => assert!(bytes.len() < MAX_HEADER_BYTES),
        Ok(Some((header, length))) => accepted(&bytes[..length], &header),
        Err(reject) => {
            assert_eq!(signature(bytes) == Signature::Absent, reject.reason == "proxy-no-header");
        }
    }
});

fn accepted(bytes: &[u8], header: &Header<'_>) {
    assert!(bytes.len() <= MAX_HEADER_BYTES);
    if header.version == Version::V1 {
        let line = bytes.strip_suffix(b"\r\n").expect("a line ends in CRLF");
        assert!(bytes.len() <= MAX_V1_BYTES && !line.contains(&b'\n') && !line.contains(&b'\r'));
    }
    assert_eq!(header.source.is_some(), header.destination.is_some());
    assert!(header.command == Command::Proxy || header.source.is_none());
    assert!(header.tlvs().all(|tlv| tlv.kind != kind::NOOP));
    if let Some(ssl) = header.ssl() {
        let _ = (ssl.version(), ssl.tlvs().count());
    }
    let (Some(source), Some(destination)) = (header.source, header.destination) else { return };

    let mut line = Vec::new();
    emit_v1(&mut line, Some((source, destination)));
    let (again, length) = parse(&line).expect("a good line").expect("a whole line");
    assert_eq!((again.source, again.destination, length), (header.source, header.destination, line.len()));

    let tlvs = OutgoingTlvs {
        alpn: header.alpn(),
        authority: header.authority(),
        unique_id: header.unique_id(),
        ssl: None,
        crc32c: true,
    };
    let mut binary = Vec::new();
    let transport = header.transport.expect("addresses have a transport");
    assert!(header.version == Version::V2 || transport == Transport::Stream);
    if emit_v2_proxy(&mut binary, transport, source, destination, &tlvs).is_err() {
        // Only the checksum that was added can make it too long.
        assert!(bytes.len() + 7 + 24 > MAX_HEADER_BYTES);
        return;
    }
    let (again, length) = parse(&binary).expect("a good header").expect("a whole header");
    assert_eq!((again.source, again.destination, length), (header.source, header.destination, binary.len()));
    assert_eq!((again.transport, again.alpn()), (header.transport, header.alpn()));
    assert_eq!((again.authority(), again.unique_id()), (header.authority(), header.unique_id()));
}
