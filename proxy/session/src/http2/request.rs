//! The head of an HTTP/2 or HTTP/3 request as HTTP/1.1 says it (RFC 9113 section 8.3, RFC 8441, RFC 9114 section 4.3).
//!
//! What comes out is read by the strict HTTP/1.1 parser like any other request, so what cannot be said there (RFC 9113
//! section 10.3) is refused there.

use http::request::Parts;
use http::{HeaderName, Method, header};
use pancake_wire::h1::emit;

/// What follows the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Follows {
    /// Nothing.
    Nothing,
    /// A body of the length that the head says.
    Length,
    /// A body in chunks.
    Chunks,
    /// Another protocol, once the server agrees.
    Tunnel,
}

/// Why a request has no HTTP/1.1 form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Writes the head. `protocol`: `:protocol` of an extended `CONNECT`. `key`: random bytes for a web socket's handshake
/// (RFC 6455 section 4.1).
pub(crate) fn head(
    parts: &Parts,
    protocol: Option<&str>,
    ends: bool,
    key: [u8; 16],
) -> Result<(Vec<u8>, Follows), Malformed> {
    let tunnel = protocol.is_some();
    // h2 checks this pseudo-header for UTF-8 only; it becomes a field, into which nothing may be smuggled.
    if protocol.is_some_and(|name| HeaderName::from_bytes(name.as_bytes()).is_err())
        || parts.headers.get_all(header::HOST).iter().nth(1).is_some()
    {
        return Err(Malformed);
    }
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    let host = parts.headers.get(header::HOST).map(|value| value.as_bytes());
    let host = match (authority, host) {
        // RFC 9113 section 8.3.1: they must not differ.
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => return Err(Malformed),
        (Some(authority), _) => authority,
        (None, host) => host.unwrap_or_default(),
    };
    let mut out = Vec::with_capacity(512);
    match (&parts.method, tunnel) {
        (&Method::CONNECT, true) => out.extend_from_slice(b"GET"),
        (method, _) => out.extend_from_slice(method.as_str().as_bytes()),
    }
    out.push(b' ');
    match parts.uri.path_and_query() {
        Some(target) if parts.method != Method::CONNECT || tunnel => {
            out.extend_from_slice(target.as_str().as_bytes());
        }
        _ => out.extend_from_slice(host),
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    emit::field(&mut out, b"Host", host);
    let mut cookies = parts.headers.get_all(header::COOKIE).iter().peekable();
    if cookies.peek().is_some() {
        // RFC 9113 section 8.2.3: crumbs are one field again.
        out.extend_from_slice(b"Cookie: ");
        for (n, crumb) in cookies.enumerate() {
            out.extend_from_slice(if n == 0 { b"" } else { b"; " });
            out.extend_from_slice(crumb.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }
    for (name, value) in &parts.headers {
        if *name == header::HOST || *name == header::COOKIE || *name == header::TRANSFER_ENCODING {
            continue;
        }
        emit::field(&mut out, name.as_str().as_bytes(), value.as_bytes());
    }
    let follows = match () {
        () if tunnel => Follows::Tunnel,
        () if parts.headers.contains_key(header::CONTENT_LENGTH) && !ends => Follows::Length,
        () if ends => Follows::Nothing,
        () => Follows::Chunks,
    };
    match follows {
        Follows::Chunks => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Follows::Tunnel => {
            out.extend_from_slice(b"Connection: Upgrade\r\n");
            let protocol = protocol.unwrap_or_default();
            emit::field(&mut out, b"Upgrade", protocol.as_bytes());
            if protocol == "websocket" {
                emit::field(&mut out, b"Sec-WebSocket-Key", &base64(key));
            }
        }
        Follows::Nothing | Follows::Length => {}
    }
    out.extend_from_slice(b"\r\n");
    Ok((out, follows))
}

/// RFC 4648 section 4, of sixteen bytes.
fn base64(bytes: [u8; 16]) -> [u8; 24] {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = [b'='; 24];
    for (chunk, digits) in bytes.chunks(3).zip(out.chunks_mut(4)) {
        let word =
            chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for (n, digit) in digits.iter_mut().take(chunk.len() + 1).enumerate() {
            *digit = DIGITS[(word >> (18 - 6 * n)) as usize & 63];
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(request: http::Request<()>, ends: bool) -> Result<(String, Follows), Malformed> {
        let parts = request.into_parts().0;
        let protocol = parts.extensions.get::<h2::ext::Protocol>().map(h2::ext::Protocol::as_str);
        let (head, follows) = head(&parts, protocol, ends, [0; 16])?;
        Ok((String::from_utf8(head).unwrap(), follows))
    }

    fn get() -> http::request::Builder {
        http::Request::get("https://a.test/x?y=1")
    }

    #[test]
    fn says_the_same_in_http1() {
        let (head, follows) = written(get().header("x-a", "b").body(()).unwrap(), true).unwrap();
        assert_eq!(head, "GET /x?y=1 HTTP/1.1\r\nHost: a.test\r\nx-a: b\r\n\r\n");
        assert_eq!(follows, Follows::Nothing);
    }

    #[test]
    fn crumbs_of_a_cookie_are_one_field() {
        let request = get().header("cookie", "a=1").header("cookie", "b=2").body(()).unwrap();
        assert!(written(request, true).unwrap().0.contains("\r\nCookie: a=1; b=2\r\n"));
    }

    #[test]
    fn a_body_without_length_comes_in_chunks() {
        let (head, follows) = written(get().body(()).unwrap(), false).unwrap();
        assert!(head.ends_with("\r\nTransfer-Encoding: chunked\r\n\r\n"));
        assert_eq!(follows, Follows::Chunks);
        let sized = get().header("content-length", "3").body(()).unwrap();
        assert_eq!(written(sized, false).unwrap().1, Follows::Length);
    }

    #[test]
    fn a_host_that_contradicts_the_authority_is_malformed() {
        assert_eq!(written(get().header("host", "b.test").body(()).unwrap(), true), Err(Malformed));
        let head = written(get().header("host", "A.test").body(()).unwrap(), true).unwrap().0;
        assert_eq!(head.matches("ost: ").count(), 1);
    }

    #[test]
    fn two_hosts_are_malformed() {
        let request = get().header("host", "a.test").header("host", "a.test").body(()).unwrap();
        assert_eq!(written(request, true), Err(Malformed));
    }

    #[test]
    fn a_protocol_that_is_no_token_is_malformed() {
        for name in ["a b", "a\r\nX: y", "x\r\n\r\nGET / HTTP/1.1", "", "a,b"] {
            let mut request =
                http::Request::builder().method("CONNECT").uri("https://a.test/chat").body(()).unwrap();
            request.extensions_mut().insert(h2::ext::Protocol::from(name));
            assert_eq!(written(request, false), Err(Malformed), "{name:?}");
        }
    }

    #[test]
    fn an_extended_connect_is_an_upgrade() {
        let mut request =
            http::Request::builder().method("CONNECT").uri("https://a.test/chat").body(()).unwrap();
        request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
        let (head, follows) = written(request, false).unwrap();
        assert!(head.starts_with("GET /chat HTTP/1.1\r\nHost: a.test\r\n"));
        assert!(head.contains("Upgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"));
        assert_eq!(follows, Follows::Tunnel);
    }
}
