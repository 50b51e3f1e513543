//! Offsets, fields, and the names that a proxy must recognise.
//!
//! Classification only: whether a field is forwarded, dropped or replaced is decided by the session.

/// A range of the bytes that a head was parsed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Offset after the last byte.
    pub end: u32,
}

impl Span {
    /// The bytes of this span; `bytes` must be what the span was made from, or a copy at the same offsets.
    ///
    /// # Panics
    /// If the span does not lie within `bytes`.
    #[inline]
    #[must_use]
    pub fn of<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.start as usize..self.end as usize]
    }

    /// Length in bytes.
    #[inline]
    #[must_use]
    pub const fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// True for the empty span.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The span of `start..end`; offsets stay below 4 GiB because a head is limited to that.
    #[inline]
    pub(crate) const fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    /// The same bytes seen from a slice that starts `by` bytes earlier.
    #[inline]
    pub(crate) const fn shifted(self, by: u32) -> Self {
        Self { start: self.start + by, end: self.end + by }
    }
}

/// One field line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// The name as it was written.
    pub name: Span,
    /// The value without the white space around it (RFC 9112 section 5).
    pub value: Span,
    /// Which of the names that matter it is.
    pub known: Known,
}

/// Field names that the proxy acts on; names compare without case (RFC 9110 section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs, reason = "each is the field of that name")]
pub enum Known {
    /// Any name without a meaning to the codec.
    Other,
    Host,
    Connection,
    KeepAlive,
    ProxyConnection,
    ProxyAuthenticate,
    ProxyAuthorization,
    ContentLength,
    TransferEncoding,
    Te,
    Trailer,
    Upgrade,
    Expect,
    XForwardedFor,
    XForwardedProto,
    XForwardedHost,
    XForwardedPort,
    XForwardedServer,
    XRealIp,
    /// The other ones that Traefik manages: `X-Forwarded-{Scheme, Uri, Method, Prefix, Tls-Client-Cert,
    /// Tls-Client-Cert-Info}` and `X-Scheme`.
    XForwardedOther,
    /// RFC 7239.
    Forwarded,
    /// A name that becomes one of the framing, hop-by-hop or forwarding names above when `_` is read as `-`, as CGI-like
    /// backends do (`X_Forwarded_For`, `Content_Length`).
    UnderscoreTwin,
    Accept,
    AcceptEncoding,
    Authorization,
    CacheControl,
    ContentEncoding,
    ContentType,
    Cookie,
    Date,
    Location,
    Origin,
    Range,
    Referer,
    Server,
    SetCookie,
    UserAgent,
    Vary,
    Via,
}

impl Known {
    /// The class of a field name.
    #[inline]
    #[must_use]
    pub fn of(name: &[u8]) -> Self {
        let Some(first) = name.first() else { return Known::Other };
        let row: &[(&[u8], Known)] = match (name.len(), first | 0x20) {
            (2, b't') => &[(b"te", Known::Te)],
            (3, b'v') => &[(b"via", Known::Via)],
            (4, b'h') => &[(b"host", Known::Host)],
            (4, b'd') => &[(b"date", Known::Date)],
            (4, b'v') => &[(b"vary", Known::Vary)],
            (5, b'r') => &[(b"range", Known::Range)],
            (6, b'a') => &[(b"accept", Known::Accept)],
            (6, b'c') => &[(b"cookie", Known::Cookie)],
            (6, b'e') => &[(b"expect", Known::Expect)],
            (6, b'o') => &[(b"origin", Known::Origin)],
            (6, b's') => &[(b"server", Known::Server)],
            (7, b'r') => &[(b"referer", Known::Referer)],
            (7, b't') => &[(b"trailer", Known::Trailer)],
            (7, b'u') => &[(b"upgrade", Known::Upgrade)],
            (8, b'l') => &[(b"location", Known::Location)],
            (8, b'x') => &[(b"x-scheme", Known::XForwardedOther)],
            (9, b'f') => &[(b"forwarded", Known::Forwarded)],
            (9, b'x') => &[(b"x-real-ip", Known::XRealIp)],
            (10, b'c') => &[(b"connection", Known::Connection)],
            (10, b'k') => &[(b"keep-alive", Known::KeepAlive)],
            (10, b's') => &[(b"set-cookie", Known::SetCookie)],
            (10, b'u') => &[(b"user-agent", Known::UserAgent)],
            (12, b'c') => &[(b"content-type", Known::ContentType)],
            (13, b'a') => &[(b"authorization", Known::Authorization)],
            (13, b'c') => &[(b"cache-control", Known::CacheControl)],
            (14, b'c') => &[(b"content-length", Known::ContentLength)],
            (15, b'a') => &[(b"accept-encoding", Known::AcceptEncoding)],
            (15, b'x') => {
                &[(b"x-forwarded-for", Known::XForwardedFor), (b"x-forwarded-uri", Known::XForwardedOther)]
            }
            (16, b'c') => &[(b"content-encoding", Known::ContentEncoding)],
            (16, b'p') => &[(b"proxy-connection", Known::ProxyConnection)],
            (16, b'x') => {
                &[(b"x-forwarded-host", Known::XForwardedHost), (b"x-forwarded-port", Known::XForwardedPort)]
            }
            (17, b't') => &[(b"transfer-encoding", Known::TransferEncoding)],
            (17, b'x') => &[(b"x-forwarded-proto", Known::XForwardedProto)],
            (18, b'p') => &[(b"proxy-authenticate", Known::ProxyAuthenticate)],
            (18, b'x') => &[
                (b"x-forwarded-server", Known::XForwardedServer),
                (b"x-forwarded-scheme", Known::XForwardedOther),
                (b"x-forwarded-method", Known::XForwardedOther),
                (b"x-forwarded-prefix", Known::XForwardedOther),
            ],
            (19, b'p') => &[(b"proxy-authorization", Known::ProxyAuthorization)],
            (27, b'x') => &[(b"x-forwarded-tls-client-cert", Known::XForwardedOther)],
            (32, b'x') => &[(b"x-forwarded-tls-client-cert-info", Known::XForwardedOther)],
            _ => return Known::Other,
        };
        for (candidate, known) in row {
            if is_name(candidate, name) {
                return *known;
            }
        }
        twin(name, row)
    }

    /// True for the fields that belong to one connection only and that a proxy does not forward (RFC 9110 section 7.6.1),
    /// as Go's reverse proxy lists them. `Transfer-Encoding` is one of them: the sender frames its own message.
    #[inline]
    #[must_use]
    pub const fn is_hop_by_hop(self) -> bool {
        matches!(
            self,
            Known::Connection
                | Known::KeepAlive
                | Known::ProxyConnection
                | Known::ProxyAuthenticate
                | Known::ProxyAuthorization
                | Known::Te
                | Known::Trailer
                | Known::TransferEncoding
                | Known::Upgrade
        )
    }

    /// True for the fields by which a proxy tells a backend where a request came from; a client must not be able to set or
    /// remove them unless it is trusted.
    #[inline]
    #[must_use]
    pub const fn is_forwarding(self) -> bool {
        matches!(
            self,
            Known::XForwardedFor
                | Known::XForwardedProto
                | Known::XForwardedHost
                | Known::XForwardedPort
                | Known::XForwardedServer
                | Known::XForwardedOther
                | Known::XRealIp
        )
    }

    /// True if a `Connection` option of this name must not remove the field: end-to-end framing, routing and forwarding
    /// (RFC 9110 section 7.6.1 forbids to list such fields; attackers do, see CVE-2024-45410).
    #[inline]
    #[must_use]
    pub const fn is_protected(self) -> bool {
        self.is_forwarding() || matches!(self, Known::Host | Known::ContentLength | Known::CacheControl)
    }
}

/// Whether `name`, a token as long as `candidate`, is `candidate` but for case; `candidate` holds `a`-`z` and `-` only.
///
/// Setting bit 5 maps a letter to its lower case and `-` to itself, and no other token byte to any of these, so eight bytes
/// compare at once.
#[inline]
fn is_name(candidate: &[u8], name: &[u8]) -> bool {
    const LOWER: u64 = u64::from_ne_bytes([0x20; 8]);
    let (Some(last_candidate), Some(last_name)) = (candidate.last_chunk::<8>(), name.last_chunk::<8>())
    else {
        return candidate.iter().zip(name).all(|(c, n)| *c == n | 0x20);
    };
    let same = |c: &[u8; 8], n: &[u8; 8]| u64::from_ne_bytes(*c) == u64::from_ne_bytes(*n) | LOWER;
    let (candidate_words, _) = candidate.as_chunks::<8>();
    let (name_words, _) = name.as_chunks::<8>();
    same(last_candidate, last_name) && candidate_words.iter().zip(name_words).all(|(c, n)| same(c, n))
}

/// `UnderscoreTwin` if `name` is one of the dangerous names of `row` with `_` in place of `-`.
fn twin(name: &[u8], row: &[(&[u8], Known)]) -> Known {
    if !name.contains(&b'_') {
        return Known::Other;
    }
    let folds_to = |candidate: &[u8]| {
        candidate.iter().zip(name).all(|(c, n)| c.eq_ignore_ascii_case(n) || (*c == b'-' && *n == b'_'))
    };
    let dangerous = |known: Known| {
        known.is_hop_by_hop() || known.is_forwarding() || matches!(known, Known::ContentLength | Known::Host)
    };
    if row.iter().any(|(candidate, known)| dangerous(*known) && folds_to(candidate)) {
        Known::UnderscoreTwin
    } else {
        Known::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_compare_without_case() {
        assert_eq!(Known::of(b"HOST"), Known::Host);
        assert_eq!(Known::of(b"x-forwarded-FOR"), Known::XForwardedFor);
        assert_eq!(Known::of(b"X-Forwarded-Uri"), Known::XForwardedOther);
        assert_eq!(Known::of(b"X-Forwarded-User"), Known::Other);
        assert_eq!(Known::of(b""), Known::Other);
    }

    #[test]
    fn case_13_flags_underscore_twins() {
        for name in [
            "X_Forwarded_For",
            "x-forwarded_for",
            "X_Real_IP",
            "Content_Length",
            "transfer_encoding",
            "Keep_Alive",
            "X_Scheme",
            "X_Forwarded_Tls_Client_Cert",
        ] {
            assert_eq!(Known::of(name.as_bytes()), Known::UnderscoreTwin, "{name}");
        }
        for name in ["user_agent", "x_request_id", "_host", "X_Forwarded_User"] {
            assert_eq!(Known::of(name.as_bytes()), Known::Other, "{name}");
        }
    }

    #[test]
    fn case_13_connection_options_cannot_name_forwarding_fields() {
        assert!(Known::XRealIp.is_protected());
        assert!(Known::ContentLength.is_protected());
        assert!(!Known::Other.is_protected());
        assert!(!Known::UserAgent.is_protected());
    }
}
