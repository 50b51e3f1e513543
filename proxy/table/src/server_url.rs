//! The address of a server, taken apart: `http://host[:port][/path]`, `https://…`, `h2c://…`, `unix:/path`, and `host:port` of
//! TCP and UDP servers.
//!
//! Does not resolve names and does not connect.

use std::net::IpAddr;

use thiserror::Error;

use crate::limits::{MAX_UNIX_PATH_BYTES, MAX_URL_BYTES};

/// What is spoken to a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// HTTP/1.1 without TLS.
    #[default]
    Http,
    /// TLS, and in it HTTP/2 or HTTP/1.1 by ALPN (RFC 7301).
    Https,
    /// HTTP/2 without TLS, by prior knowledge (RFC 9113 section 3.3).
    H2c,
}

impl Scheme {
    /// The port of a URL that names none.
    pub fn default_port(self) -> u16 {
        match self {
            Scheme::Http | Scheme::H2c => 80,
            Scheme::Https => 443,
        }
    }
}

/// What a server's URL says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl<'a> {
    /// `Http` for a Unix socket.
    pub scheme: Scheme,
    /// Path of a Unix stream socket; then the host is `localhost`, and the port means nothing.
    pub unix: Option<&'a str>,
    /// Host name or address literal, without brackets.
    pub host: &'a str,
    /// The host, if it is an address.
    pub address: Option<IpAddr>,
    /// 80 or, of `https`, 443 if the URL names none.
    pub port: u16,
    /// The path without trailing slashes; empty if there is none.
    pub path: &'a str,
}

/// What the address of a TCP or UDP server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort<'a> {
    /// Path of a Unix stream socket; then host and port mean nothing.
    pub unix: Option<&'a str>,
    /// Host name or address literal, without brackets.
    pub host: &'a str,
    /// The host, if it is an address.
    pub address: Option<IpAddr>,
    /// 1 to 65535.
    pub port: u16,
}

/// Why a text cannot be a server's address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text:?} is not {what}: {why}; expected {expected}")]
pub struct ServerUrlError {
    /// The text, cut.
    pub text: String,
    /// What it should be.
    pub what: &'static str,
    /// What is wrong with it.
    pub why: &'static str,
    /// How it should look.
    pub expected: &'static str,
}

/// The host that a server behind a Unix socket sees.
const UNIX_HOST: &str = "localhost";

/// Takes `url` apart.
///
/// # Errors
/// Says what is wrong with it.
pub fn parse(url: &str) -> Result<ServerUrl<'_>, ServerUrlError> {
    take_apart(url).map_err(|why| ServerUrlError {
        text: shorten(url),
        what: "a server URL",
        why,
        expected: "http://host:port, https://host:port, h2c://host:port or unix:/path",
    })
}

fn take_apart(url: &str) -> Result<ServerUrl<'_>, &'static str> {
    if url.len() > MAX_URL_BYTES {
        return Err("it is too long");
    }
    if let Some(path) = strip_scheme(url, "unix:") {
        let unix = Some(unix_path(path)?);
        return Ok(ServerUrl {
            scheme: Scheme::Http,
            unix,
            host: UNIX_HOST,
            address: None,
            port: 80,
            path: "",
        });
    }
    let schemes = [("http://", Scheme::Http), ("https://", Scheme::Https), ("h2c://", Scheme::H2c)];
    let known = schemes.iter().find_map(|(text, scheme)| Some((strip_scheme(url, text)?, *scheme)));
    let Some((rest, scheme)) = known else {
        return Err(if url.contains("://") { "unknown scheme" } else { "it has no scheme" });
    };
    if has_odd_bytes(rest) {
        return Err("it has a space, a control character or a non-ASCII character");
    }
    if rest.contains(['?', '#']) {
        return Err("a query or fragment has no meaning here");
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err("user names have no meaning here");
    }
    let (host, port) = split_port(authority)?;
    let port = port.map_or(Ok(scheme.default_port()), port_number)?;
    let address = host_address(host)?;
    Ok(ServerUrl { scheme, unix: None, host, address, port, path: path.trim_end_matches('/') })
}

/// Takes the address of a TCP server apart: `host:port` or `unix:/path`.
///
/// # Errors
/// Says what is wrong with it.
pub fn parse_tcp(address: &str) -> Result<HostPort<'_>, ServerUrlError> {
    let parsed = match strip_scheme(address, "unix:") {
        Some(path) => {
            unix_path(path).map(|path| HostPort { unix: Some(path), host: UNIX_HOST, address: None, port: 0 })
        }
        None => host_port(address),
    };
    parsed.map_err(|why| ServerUrlError {
        text: shorten(address),
        what: "the address of a TCP server",
        why,
        expected: "host:port or unix:/path",
    })
}

/// Takes the address of a UDP server apart: `host:port`.
///
/// # Errors
/// Says what is wrong with it.
pub fn parse_udp(address: &str) -> Result<HostPort<'_>, ServerUrlError> {
    host_port(address).map_err(|why| ServerUrlError {
        text: shorten(address),
        what: "the address of a UDP server",
        why,
        expected: "host:port",
    })
}

fn host_port(text: &str) -> Result<HostPort<'_>, &'static str> {
    if text.len() > MAX_URL_BYTES {
        return Err("it is too long");
    }
    if text.contains("://") {
        return Err("there is no scheme here");
    }
    if has_odd_bytes(text) {
        return Err("it has a space, a control character or a non-ASCII character");
    }
    let (host, port) = split_port(text)?;
    let port = port_number(port.ok_or("it has no port")?)?;
    Ok(HostPort { unix: None, host, address: host_address(host)?, port })
}

/// The path of a Unix socket, from `/path` or `///path`. Abstract names are not paths.
fn unix_path(text: &str) -> Result<&str, &'static str> {
    let path = text.strip_prefix("//").unwrap_or(text);
    if !path.starts_with('/') || path.ends_with('/') {
        return Err("it needs the absolute path of a socket");
    }
    if path.len() > MAX_UNIX_PATH_BYTES {
        return Err("the path of a socket has at most 107 bytes");
    }
    if path.chars().any(char::is_control) {
        return Err("it has a control character");
    }
    Ok(path)
}

fn has_odd_bytes(text: &str) -> bool {
    text.bytes().any(|b| b <= b' ' || b == 0x7f || b >= 0x80)
}

fn port_number(digits: &str) -> Result<u16, &'static str> {
    match digits.parse::<u16>() {
        Ok(port) if port > 0 && digits.bytes().all(|b| b.is_ascii_digit()) => Ok(port),
        _ => Err("the port must be a number from 1 to 65535"),
    }
}

fn host_address(host: &str) -> Result<Option<IpAddr>, &'static str> {
    let address = host.parse::<IpAddr>().ok();
    if address.is_none() && !is_host_name(host) {
        return Err("the host is neither a name nor an address");
    }
    Ok(address)
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
pub(crate) fn is_host_name(host: &str) -> bool {
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
    fn schemes_have_their_ports() {
        for (text, scheme, port) in [
            ("https://a", Scheme::Https, 443),
            ("HTTPS://a:80", Scheme::Https, 80),
            ("h2c://a", Scheme::H2c, 80),
            ("http://a", Scheme::Http, 80),
        ] {
            let url = parse(text).unwrap();
            assert_eq!((url.scheme, url.port, url.unix), (scheme, port, None), "{text}");
        }
    }

    #[test]
    fn unix_sockets_have_a_path() {
        for text in ["unix:/run/x.sock", "unix:///run/x.sock"] {
            let url = parse(text).unwrap();
            assert_eq!((url.unix, url.host, url.path), (Some("/run/x.sock"), "localhost", ""));
            assert_eq!(parse_tcp(text).unwrap().unix, Some("/run/x.sock"));
            assert!(parse_udp(text).is_err());
        }
        let long = format!("unix:/{}", "x".repeat(107));
        for text in ["unix:", "unix:x", "unix://host/x", "unix:/run/", "unix:/a\u{0}b", "unix:@x", &long] {
            assert!(parse(text).is_err() && parse_tcp(text).is_err(), "{text}");
        }
        assert!(parse(&long[..long.len() - 1]).is_ok());
    }

    #[test]
    fn tcp_and_udp_servers_are_host_and_port() {
        for (text, host, port) in [("db.internal:5432", "db.internal", 5432), ("[::1]:53", "::1", 53)] {
            for found in [parse_tcp(text).unwrap(), parse_udp(text).unwrap()] {
                assert_eq!((found.host, found.port, found.unix), (host, port, None));
            }
        }
        for text in ["", "db", "db:", ":1", "db:0", "::1:53", "tcp://db:1", "a b:1", "db:1/x", "db:65536"] {
            assert!(parse_tcp(text).is_err() && parse_udp(text).is_err(), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_http_server() {
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
            assert!(parse(url).is_err(), "{url}");
        }
        assert!(parse(&format!("http://{}", "a".repeat(1 << 20))).is_err());
    }
}
