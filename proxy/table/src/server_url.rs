//! The URL of a server, taken apart: `http://host[:port][/path]`.
//!
//! Does not resolve names and does not connect.

use std::net::IpAddr;

use thiserror::Error;

use crate::limits::MAX_URL_BYTES;

/// What a server's URL says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl<'a> {
    /// Host name or address literal, without brackets.
    pub host: &'a str,
    /// The host, if it is an address.
    pub address: Option<IpAddr>,
    /// 80 if the URL names none.
    pub port: u16,
    /// The path without trailing slashes; empty if there is none.
    pub path: &'a str,
}

/// Why a URL cannot be a server's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ServerUrlError {
    /// It is something else.
    #[error("{0:?} is not a server URL: {1}; expected http://host:port")]
    Malformed(String, &'static str),
    /// It is a server that cannot be spoken to.
    #[error("{0:?} is not supported yet: only http:// servers")]
    Unsupported(String),
}

/// Takes `url` apart.
///
/// # Errors
/// Says what is wrong with it; `https://`, `h2c://` and `unix:` are [`ServerUrlError::Unsupported`].
pub fn parse(url: &str) -> Result<ServerUrl<'_>, ServerUrlError> {
    let malformed = |why| Err(ServerUrlError::Malformed(shorten(url), why));
    if url.len() > MAX_URL_BYTES {
        return malformed("it is too long");
    }
    let Some(rest) = strip_scheme(url, "http://") else {
        for scheme in ["https:", "h2c:", "unix:"] {
            if strip_scheme(url, scheme).is_some() {
                return Err(ServerUrlError::Unsupported(shorten(url)));
            }
        }
        return malformed(if url.contains("://") { "unknown scheme" } else { "it has no scheme" });
    };
    if rest.bytes().any(|b| b <= b' ' || b == 0x7f || b >= 0x80) {
        return malformed("it has a space, a control character or a non-ASCII character");
    }
    if rest.contains(['?', '#']) {
        return malformed("a query or fragment has no meaning here");
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if authority.contains('@') {
        return malformed("user names have no meaning here");
    }
    let (host, port) = match split_port(authority) {
        Ok(parts) => parts,
        Err(why) => return malformed(why),
    };
    let port = match port {
        None => 80,
        Some(digits) => match digits.parse::<u16>() {
            Ok(port) if port > 0 && digits.bytes().all(|b| b.is_ascii_digit()) => port,
            _ => return malformed("the port must be a number from 1 to 65535"),
        },
    };
    let address = host.parse::<IpAddr>().ok();
    if address.is_none() && !is_host_name(host) {
        return malformed("the host is neither a name nor an address");
    }
    Ok(ServerUrl { host, address, port, path: path.trim_end_matches('/') })
}

fn split_port(authority: &str) -> Result<(&str, Option<&str>), &'static str> {
    if let Some(rest) = authority.strip_prefix('[') {
        let Some((host, after)) = rest.split_once(']') else {
            return Err("a bracket is missing");
        };
        if host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err("there is no IPv6 address in the brackets");
        }
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err("there is something behind the brackets"),
        };
    }
    match authority.split_once(':') {
        Some((_, port)) if port.contains(':') => Err("an IPv6 address needs brackets"),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((authority, None)),
    }
}

/// Letters, digits, `-`, `_` (Docker names have it) and `.`, at most 253 bytes, no empty label.
fn is_host_name(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let label = |l: &str| {
        (1..=63).contains(&l.len()) && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    !host.is_empty() && host.len() <= 253 && host.split('.').all(label)
}

fn strip_scheme<'a>(url: &'a str, scheme: &str) -> Option<&'a str> {
    let head = url.get(..scheme.len())?;
    head.eq_ignore_ascii_case(scheme).then(|| &url[scheme.len()..])
}

fn shorten(url: &str) -> String {
    let end = (0..=100.min(url.len())).rev().find(|i| url.is_char_boundary(*i)).unwrap_or(0);
    if end == url.len() { url.to_owned() } else { format!("{}…", &url[..end]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_host_port_and_path_apart() {
        let url = parse("http://api.internal:8080/base/").unwrap();
        assert_eq!((url.host, url.port, url.path, url.address), ("api.internal", 8080, "/base", None));
        let url = parse("HTTP://[::1]").unwrap();
        assert_eq!((url.host, url.port, url.path), ("::1", 80, ""));
        assert!(url.address.is_some());
        assert_eq!(parse("http://web_1:80/").unwrap().host, "web_1");
    }

    #[test]
    fn refuses_what_is_no_http_server() {
        for url in ["https://a:1", "h2c://a:1", "unix:/run/x.sock", "unix:///run/x.sock"] {
            assert!(matches!(parse(url), Err(ServerUrlError::Unsupported(_))), "{url}");
        }
        for url in [
            "",
            "a:80",
            "http://",
            "http://:80",
            "http://a:0",
            "http://a:65536",
            "http://a:+1",
            "http://a:",
            "http://::1:80",
            "http://[::1",
            "http://[x]:1",
            "http://[::1]x",
            "http://a b",
            "http://u@a",
            "http://a?x",
            "http://a\r\n",
            "http://ä",
            "http://a..b",
            "ftp://a",
            "http://-\u{0}",
        ] {
            assert!(matches!(parse(url), Err(ServerUrlError::Malformed(..))), "{url}");
        }
        assert!(parse(&format!("http://{}", "a".repeat(1 << 20))).is_err());
    }
}
