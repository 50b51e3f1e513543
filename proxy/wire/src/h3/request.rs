//! The fields of a request to what they ask (RFC 9114 section 4.3, RFC 9220).

use super::qpack::Field;

/// A request that breaks the rules of its fields (RFC 9114 section 4.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// The pseudo-header fields of a request, and what follows them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// `:method`
    pub method: Vec<u8>,
    /// `:scheme`; none with a plain `CONNECT`.
    pub scheme: Option<Vec<u8>>,
    /// `:authority`
    pub authority: Option<Vec<u8>>,
    /// `:path`; none with a plain `CONNECT`.
    pub path: Option<Vec<u8>>,
    /// `:protocol`, of an extended `CONNECT`.
    pub protocol: Option<Vec<u8>>,
    /// The rest, in order.
    pub fields: Vec<Field>,
    /// `content-length`, if there is one.
    pub length: Option<u64>,
}

/// Sorts the fields of a request.
///
/// # Errors
/// Pseudo-header fields that are unknown, twice there, behind others, or too few; names with upper-case letters; fields of
/// the connection; lengths that are none or differ.
pub fn read(fields: Vec<Field>) -> Result<Request, Malformed> {
    let mut request = Request::default();
    let mut method = None;
    let mut fields = fields.into_iter().peekable();
    while let Some((name, value)) = fields.next_if(|(name, _)| name.first() == Some(&b':')) {
        let place = match &name[..] {
            b":method" => &mut method,
            b":scheme" => &mut request.scheme,
            b":authority" => &mut request.authority,
            b":path" => &mut request.path,
            b":protocol" => &mut request.protocol,
            _ => return Err(Malformed),
        };
        if place.replace(value).is_some() {
            return Err(Malformed);
        }
    }
    request.method = method.ok_or(Malformed)?;
    for (name, value) in fields {
        check(&name, &value)?;
        if name == b"content-length" {
            let length = length(&value).ok_or(Malformed)?;
            // Equal twins may be one field (RFC 9110 section 8.6).
            match request.length.replace(length) {
                None => {}
                Some(before) if before == length => continue,
                Some(_) => return Err(Malformed),
            }
        }
        request.fields.push((name, value));
    }
    let is_tunnel = request.method == b"CONNECT" && request.protocol.is_none();
    let Request { scheme, path, authority, protocol, .. } = &request;
    let whole = match is_tunnel {
        true => scheme.is_none() && path.is_none() && authority.is_some(),
        false => scheme.is_some() && path.as_ref().is_some_and(|path| !path.is_empty()),
    };
    let is_bare = protocol.is_some() && (request.method != b"CONNECT" || authority.is_none());
    if !whole || is_bare || authority.as_ref().is_some_and(Vec::is_empty) {
        return Err(Malformed);
    }
    Ok(request)
}

/// Checks the trailer section of a request.
///
/// # Errors
/// As [`read`]; any pseudo-header field.
pub fn check_trailers(fields: &[Field]) -> Result<(), Malformed> {
    fields.iter().try_for_each(|(name, value)| check(name, value))
}

/// A field that is none of the connection's, with a name in lower case and a value without line ends.
fn check(name: &[u8], value: &[u8]) -> Result<(), Malformed> {
    let is_token =
        |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(byte);
    let forbidden: [&[u8]; 5] =
        [b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"];
    let is_good = !name.is_empty()
        && name.iter().all(is_token)
        && !forbidden.contains(&name)
        && (name != b"te" || value.trim_ascii().eq_ignore_ascii_case(b"trailers"))
        && !value.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n'));
    if is_good { Ok(()) } else { Err(Malformed) }
}

fn length(value: &[u8]) -> Option<u64> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    digits.then(|| str::from_utf8(value).ok()?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(fields: &[(&str, &str)]) -> Result<Request, Malformed> {
        read(
            fields
                .iter()
                .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
                .collect(),
        )
    }

    const GET: [(&str, &str); 4] =
        [(":method", "GET"), (":scheme", "https"), (":authority", "a.test"), (":path", "/")];

    fn with(more: &[(&str, &str)]) -> Result<Request, Malformed> {
        of(&[&GET[..], more].concat())
    }

    #[test]
    fn a_request_is_taken_apart() {
        let request = with(&[("x-a", "b"), ("content-length", "3"), ("te", "trailers")]).unwrap();
        assert_eq!((&request.method[..], request.length), (&b"GET"[..], Some(3)));
        assert_eq!(request.fields.len(), 3);
        let chat = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https")];
        let chat = of(&[&chat[..], &[(":authority", "a"), (":path", "/chat")]].concat()).unwrap();
        assert_eq!(chat.protocol.as_deref(), Some(&b"websocket"[..]));
        assert!(of(&[(":method", "CONNECT"), (":authority", "a:1")]).is_ok());
    }

    #[test]
    fn pseudo_fields_come_once_and_first_and_all() {
        assert_eq!(with(&[(":path", "/x")]), Err(Malformed));
        assert_eq!(with(&[("x", "y"), (":status", "200")]), Err(Malformed));
        assert_eq!(with(&[(":status", "200")]), Err(Malformed));
        assert_eq!(of(&GET[1..]), Err(Malformed));
        assert_eq!(of(&GET[..3]), Err(Malformed));
        assert_eq!(of(&[(":method", "GET"), (":scheme", "https"), (":path", "")]), Err(Malformed));
        assert_eq!(of(&[(":method", "CONNECT"), (":path", "/"), (":authority", "a")]), Err(Malformed));
        assert_eq!(with(&[(":protocol", "websocket")]), Err(Malformed), "only with CONNECT");
    }

    #[test]
    fn fields_of_a_connection_upper_case_and_line_ends_are_malformed() {
        for (name, value) in [
            ("connection", "close"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "x"),
            ("te", "gzip"),
            ("X-Upper", "a"),
            ("x a", "b"),
            ("", "b"),
            ("x", "a\r\nInjected: b"),
            ("x", "a\0"),
        ] {
            assert_eq!(with(&[(name, value)]), Err(Malformed), "{name}");
        }
    }

    #[test]
    fn lengths_must_agree() {
        assert_eq!(with(&[("content-length", "3"), ("content-length", "4")]), Err(Malformed));
        let twins = with(&[("content-length", "3"), ("content-length", "3")]).unwrap();
        assert_eq!(twins.fields.len(), 1);
        for bad in ["", "+1", "1_0", "0x10", "-1", "18446744073709551616", "1, 1"] {
            assert_eq!(with(&[("content-length", bad)]), Err(Malformed), "{bad}");
        }
    }
}
