//! `Host` and authorities (RFC 9110 section 7.2, RFC 3986 section 3.2).
//!
//! Stricter than the RFC: no user information, no percent-encoding, no IPv6 zone, no future address form. No name is looked
//! up here.

use std::net::Ipv6Addr;

use crate::h1::head::Reject;

/// Checks `host [":" port]`. The empty value passes: RFC 9112 section 3.2 asks clients for it where a target has no
/// authority.
///
/// # Errors
/// [`Reject::BAD_HOST`].
pub fn check_host(value: &[u8]) -> Result<(), Reject> {
    // Nearly all hosts are names without a port, or with one.
    let (host, port) = split(value).ok_or(Reject::BAD_HOST)?;
    let host_is_good = match host.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")) {
        Some(address) => ipv6(address),
        None => host.iter().all(|byte| is_name_byte(*byte)) && (!host.is_empty() || port.is_none()),
    };
    if host_is_good && port.is_none_or(is_port) { Ok(()) } else { Err(Reject::BAD_HOST) }
}

/// The form of a host that routes are looked up by: lower case, without port, without trailing dot, IPv6 addresses without
/// brackets. `out` is overwritten.
///
/// # Errors
/// [`Reject::BAD_HOST`].
pub fn host_for_routing(value: &[u8], out: &mut String) -> Result<(), Reject> {
    out.clear();
    check_host(value)?;
    let (host, _) = split(value).ok_or(Reject::BAD_HOST)?;
    let host = host.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).unwrap_or(host);
    let host = host.strip_suffix(b".").unwrap_or(host);
    out.push_str(std::str::from_utf8(host).map_err(|_| Reject::BAD_HOST)?);
    out.make_ascii_lowercase();
    Ok(())
}

/// Host (brackets kept) and the text after the colon; `None` if brackets do not match.
pub(super) fn split(value: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    if value.first() == Some(&b'[') {
        let end = value.iter().position(|byte| *byte == b']')? + 1;
        return match value.get(end) {
            None => Some((value, None)),
            Some(b':') => Some((&value[..end], Some(&value[end + 1..]))),
            Some(_) => None,
        };
    }
    match value.iter().position(|byte| *byte == b':') {
        None => Some((value, None)),
        Some(at) => Some((&value[..at], Some(&value[at + 1..]))),
    }
}

fn ipv6(address: &[u8]) -> bool {
    std::str::from_utf8(address).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

/// `*DIGIT` below 65536; the empty port means the default one (RFC 3986 section 3.2.3).
fn is_port(port: &[u8]) -> bool {
    port.len() <= 5
        && port.iter().all(u8::is_ascii_digit)
        && port.iter().fold(0u32, |sum, digit| sum * 10 + u32::from(digit - b'0')) <= 65_535
}

/// `unreserved / sub-delims` of RFC 3986.
const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routed(value: &str) -> String {
        let mut out = String::from("old");
        host_for_routing(value.as_bytes(), &mut out).expect("a host");
        out
    }

    #[test]
    fn routes_by_the_bare_lower_case_host() {
        assert_eq!(routed("Example.COM:8080"), "example.com");
        assert_eq!(routed("example.com."), "example.com");
        assert_eq!(routed("example.com.:80"), "example.com");
        assert_eq!(routed("[2001:DB8::1]:443"), "2001:db8::1");
        assert_eq!(routed("[::1]"), "::1");
        assert_eq!(routed("10.0.0.1:"), "10.0.0.1");
        assert_eq!(routed(""), "");
    }

    #[test]
    fn case_12_refuses_hosts_that_are_read_two_ways() {
        for value in [
            "a b",
            "a/b",
            "a@b",
            "a#b",
            "a?b",
            "a\\b",
            "a%2eb",
            "a:b",
            "a:80:80",
            "a:65536",
            "a:+1",
            ":80",
            "[::1",
            "::1]",
            "[::1]x",
            "[::1%25eth0]",
            "[v1.x]",
            "[a.b]",
            "\u{e9}.fr",
            "a\0",
            "a:000080",
        ] {
            assert_eq!(check_host(value.as_bytes()), Err(Reject::BAD_HOST), "{value:?}");
        }
    }
}
