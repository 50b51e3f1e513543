//! The head of a request in HTTP/1.1, as the exchange writes it, for HTTP/2 (RFC 9113 section 8.3).

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use pancake_wire::h1::head::{self, FIELD_SLOTS, Framing, Known, Limits, RequestHead};

/// The request cannot be said in HTTP/2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unsayable;

/// A head that was read.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) request: Request<()>,
    /// How its body follows.
    pub(super) framing: Framing,
    /// Bytes that it took.
    pub(super) used: usize,
}

/// Reads the head at the front of `bytes`, which must be whole.
pub(super) fn head(bytes: &[u8], secure: bool) -> Result<Head, Unsayable> {
    let limits = Limits { max_head_bytes: usize::MAX, max_fields: FIELD_SLOTS };
    let mut parsed = RequestHead::default();
    let used = head::parse_request(bytes, &limits, &mut parsed).ok().flatten().ok_or(Unsayable)?;
    let method = Method::from_bytes(parsed.method.of(bytes)).map_err(|_| Unsayable)?;
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri(&parsed, bytes, secure)?;
    let fields = request.headers_mut();
    fields.reserve(parsed.fields.len());
    for field in &parsed.fields {
        // RFC 9113 section 8.2.2: of these HTTP/2 knows none, and of `TE` only `trailers`, which the exchange leaves.
        match field.known {
            Known::Host | Known::Connection | Known::KeepAlive | Known::ProxyConnection => continue,
            Known::TransferEncoding | Known::Upgrade => continue,
            _ => {}
        }
        let name = HeaderName::from_bytes(field.name.of(bytes)).map_err(|_| Unsayable)?;
        let value = HeaderValue::from_bytes(field.value.of(bytes)).map_err(|_| Unsayable)?;
        fields.append(name, value);
    }
    Ok(Head { request, framing: parsed.framing, used })
}

fn uri(parsed: &RequestHead, bytes: &[u8], secure: bool) -> Result<Uri, Unsayable> {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(if secure { Scheme::HTTPS } else { Scheme::HTTP });
    let authority = parsed.authority(bytes).ok_or(Unsayable)?;
    parts.authority = Some(Authority::try_from(authority).map_err(|_| Unsayable)?);
    parts.path_and_query = Some(PathAndQuery::try_from(parsed.target.of(bytes)).map_err(|_| Unsayable)?);
    Uri::from_parts(parts).map_err(|_| Unsayable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_the_same_in_http2() {
        let bytes = b"POST /x?y=1 HTTP/1.1\r\nHost: a.test:81\r\nX-A: b\r\nTe: trailers\r\n\
                      Transfer-Encoding: chunked\r\n\r\nrest";
        let Head { request, framing, used } = head(bytes, false).unwrap();
        assert_eq!(request.method(), "POST");
        assert_eq!(request.uri(), "http://a.test:81/x?y=1");
        assert_eq!((&bytes[used..], framing), (&b"rest"[..], Framing::Chunked));
        let fields: Vec<_> = request.headers().iter().map(|(n, v)| (n.as_str(), v.as_bytes())).collect();
        assert_eq!(fields, [("x-a", &b"b"[..]), ("te", b"trailers")]);
    }

    #[test]
    fn the_asterisk_and_odd_paths_stay_as_they_are() {
        let said = |target: &str, secure| {
            let method = if target == "*" { "OPTIONS" } else { "GET" };
            let bytes = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            head(bytes.as_bytes(), secure).map(|head| head.request.uri().to_string())
        };
        assert_eq!(said("*", true).unwrap(), "https://a*");
        for path in ["/a%2Fb", "/{x}\"", "//b", "/a|b^c", "/?"] {
            assert_eq!(said(path, true).unwrap(), format!("https://a{path}"));
        }
    }

    #[test]
    fn a_head_that_is_not_whole_or_has_no_host_cannot_be_said() {
        for bytes in [&b"GET / HTTP/1.1\r\nHost: a\r\n"[..], b"GET / HTTP/1.1\r\nHost: \r\n\r\n"] {
            assert!(head(bytes, true).is_err());
        }
    }
}
