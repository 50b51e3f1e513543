//! Targets, paths and hosts: no panic, one spelling, nothing left that climbs out of a path.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pancake_wire::h1::target::{self, Form};

fuzz_target!(|bytes: &[u8]| {
    hosts(bytes);
    for method in [&b"GET"[..], b"CONNECT", b"OPTIONS"] {
        let Ok(parts) = target::parse(method, bytes) else { continue };
        assert!(!bytes.iter().any(|byte| *byte <= b' ' || *byte == b'#' || *byte == 0x7f));
        if let Some(authority) = parts.authority {
            hosts(authority.of(bytes));
            assert!(!authority.is_empty());
        }
        assert_eq!(parts.form == Form::Authority, method == b"CONNECT");
        if parts.form != Form::Authority {
            paths(parts.path.of(bytes));
        }
    }
    paths(bytes);
});

fn hosts(value: &[u8]) {
    let mut host = String::new();
    if target::host_for_routing(value, &mut host).is_ok() {
        assert!(target::check_host(value).is_ok());
        assert!(
            !host.contains(['/', '@', '[', ']', '#', '?', '\\', '%']) && host.to_ascii_lowercase() == host
        );
    }
}

fn paths(raw: &[u8]) {
    let (mut clean, mut normal, mut route) = (Vec::new(), Vec::new(), String::new());
    let sanitized = target::sanitize(raw, &mut clean);
    let normalized = target::normalize(raw, &mut normal);
    let routed = target::routing_path(raw, &mut route);
    assert_eq!(sanitized.err(), routed.err());
    assert_eq!(sanitized.err(), normalized.err());
    let Ok(differs) = sanitized else { return };
    let clean = if differs { &clean[..] } else { raw };
    assert_eq!(differs, clean != raw);
    assert_eq!(target::sanitize(clean, &mut Vec::new()), Ok(false), "sanitizing twice changes nothing more");
    assert!(clean.is_ascii());
    if clean == b"*" {
        return;
    }
    assert_eq!(clean.first(), Some(&b'/'));
    let segments: Vec<_> = clean[1..].split(|byte| *byte == b'/').collect();
    assert!(!segments.iter().any(|segment| matches!(*segment, b"." | b"..")));
    assert!(!segments[..segments.len() - 1].iter().any(|segment| segment.is_empty()));

    // What is routed has the same segments as what is forwarded.
    let route = if routed == Ok(true) { route.as_bytes() } else { raw };
    let slashes = |path: &[u8]| path.iter().filter(|byte| **byte == b'/').count();
    assert_eq!(slashes(route), slashes(clean));
    assert!(!route.contains(&0));
}
