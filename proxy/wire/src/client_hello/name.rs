//! What a host name is (RFC 6066 section 3: a DNS name in ASCII; RFC 1035 section 2.3.4 for its lengths).
//!
//! Hyphens may stand anywhere and underscores are letters: such names exist, and no route is chosen wrongly by them.

use std::net::IpAddr;

use crate::reject::Reject;

const MAX_NAME_BYTES: usize = 253;
const MAX_LABEL_BYTES: usize = 63;

/// The length of a name without its trailing dot; `None` for an IP address, which is not a name.
///
/// # Errors
/// [`Reject::TLS_NO_DNS_NAME`]
pub(super) fn check(bytes: &[u8]) -> Result<Option<usize>, Reject> {
    let name = bytes.strip_suffix(b".").unwrap_or(bytes);
    if std::str::from_utf8(name).is_ok_and(|text| text.parse::<IpAddr>().is_ok()) {
        return Ok(None);
    }
    let is_good = name.len() <= MAX_NAME_BYTES && name.split(|byte| *byte == b'.').all(is_label);
    if is_good { Ok(Some(name.len())) } else { Err(Reject::TLS_NO_DNS_NAME) }
}

fn is_label(label: &[u8]) -> bool {
    (1..=MAX_LABEL_BYTES).contains(&label.len())
        && label.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_names_with_and_without_a_trailing_dot() {
        for name in ["a", "a.example", "A-1._tcp.Example", "xn--bcher-kva.example", "1.2.3", "r3---x.example"]
        {
            assert_eq!(check(name.as_bytes()), Ok(Some(name.len())), "{name}");
            assert_eq!(check(format!("{name}.").as_bytes()), Ok(Some(name.len())), "{name}.");
        }
    }

    #[test]
    fn an_address_is_not_a_name() {
        for address in ["192.0.2.1", "192.0.2.1.", "::1", "2001:db8::1", "::ffff:192.0.2.1"] {
            assert_eq!(check(address.as_bytes()), Ok(None), "{address}");
        }
    }

    #[test]
    fn refuses_what_is_no_name() {
        let long_label = "a".repeat(64);
        let long_name = "abc.".repeat(63) + "ab";
        for name in
            [".", "..", "a..b", ".a", "a..", "a b", "*.a", "a:1", "[::1]", "b\u{fc}cher", "a\0b", "a/b"]
                .into_iter()
                .chain([&long_label[..], &long_name[..]])
        {
            assert_eq!(check(name.as_bytes()), Err(Reject::TLS_NO_DNS_NAME), "{name}");
        }
        assert_eq!(check(b"a\xff"), Err(Reject::TLS_NO_DNS_NAME));
        let longest = "abc.".repeat(63) + "a";
        assert_eq!(check(longest.as_bytes()), Ok(Some(253)));
    }
}
