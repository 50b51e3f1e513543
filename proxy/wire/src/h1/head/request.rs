//! Request heads (RFC 9112 section 3).

use super::framing::{Coding, Tally};
use super::lines::{each_field, explain, incomplete, is_token_byte, slots, window};
use super::{FIELD_SLOTS, Field, Framing, Known, Limits, Reject, Span, Version};
use crate::h1::target::{self, Target};

/// Empty lines (CRLF) that are passed over before a request line (RFC 9112 section 2.2).
pub const MAX_LEADING_EMPTY_LINES: usize = 4;

/// The head of a request. Reused between requests; all spans are offsets into the bytes given to [`parse_request`].
#[derive(Debug, Clone, Default)]
pub struct RequestHead {
    /// The method, a token, case kept.
    pub method: Span,
    /// The request target as it was sent.
    pub target: Span,
    /// The parts of the target; their spans are offsets into the *target*, not into the head.
    pub target_parts: Target,
    /// The version.
    pub version: Version,
    /// The field lines, in order.
    pub fields: Vec<Field>,
    /// How the body ends; never [`Framing::UntilClose`].
    pub framing: Framing,
    /// Whether the client means the connection to persist (RFC 9112 section 9.3).
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends its body (RFC 9110 section 10.1.1). Never without a body
    /// and never on HTTP/1.0.
    pub expect_continue: bool,
    /// The value of `Upgrade`, if `Connection` lists it and the version is HTTP/1.1.
    pub upgrade: Option<Span>,
    /// The value of `Host`. With an absolute-form target it does not count: see [`RequestHead::authority`].
    pub host: Option<Span>,
    /// What `Connection` lists besides `close` and `keep-alive`, `upgrade` included.
    pub connection_tokens: Vec<Span>,
    /// Bytes of the head, empty lines before it and the empty line after it included.
    pub len: usize,
}

impl RequestHead {
    /// The authority that the request is for: that of the target if it has one, else `Host` (RFC 9112 section 3.2.2 and
    /// 3.3). Syntax is validated; it may be empty, and is `None` only on HTTP/1.0.
    #[must_use]
    pub fn authority<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        match self.target_parts.authority {
            Some(authority) => Some(authority.of(self.target.of(bytes))),
            None => self.host.map(|host| host.of(bytes)),
        }
    }

    /// Whether `Connection` names this field, so that it must not be forwarded. Fields that are framing, routing or
    /// forwarding information cannot be removed that way: see [`Known::is_protected`].
    #[must_use]
    pub fn is_connection_option(&self, bytes: &[u8], field: &Field) -> bool {
        !self.connection_tokens.is_empty() && super::response::listed(&self.connection_tokens, bytes, field)
    }

    /// Empties what a parse adds to; the rest is set by every parse that succeeds.
    fn clear(&mut self) {
        self.fields.clear();
        self.connection_tokens.clear();
        self.host = None;
    }
}

/// Parses a request head at the start of `bytes` into `head`, which is overwritten.
///
/// `Ok(None)`: incomplete, call again with more bytes. `Ok(Some(n))`: the head takes the first `n` bytes. What is left in
/// `head` after the other two results means nothing.
///
/// # Errors
/// The reason to answer with a 4xx or 5xx status and to close the connection.
pub fn parse_request(bytes: &[u8], limits: &Limits, head: &mut RequestHead) -> Result<Option<usize>, Reject> {
    head.clear();
    let window = window(bytes, limits);
    let Some(start) = skip_empty_lines(window)? else { return incomplete(window, limits) };
    let message = &window[start..];
    let mut slots = slots();
    let mut request = httparse::Request::new(&mut []);
    let max_fields = limits.max_fields.min(FIELD_SLOTS);
    let len = match request.parse_with_uninit_headers(message, &mut slots[..max_fields]) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return incomplete(window, limits),
        Err(error) => return Err(explain(error, message, bad_first_line(message))),
    };
    let method = request.method.map_or(0, str::len);
    let target = request.path.unwrap_or_default();
    head.version = if request.version == Some(1) { Version::Http11 } else { Version::Http10 };
    head.method = Span::new(start, start + method);
    head.target = Span::new(start + method + 1, start + method + 1 + target.len());
    head.target_parts = target::parse(&message[..method], target.as_bytes())?;
    head.len = start + len;

    let mut tally = Tally::default();
    let mut expectation = Ok(false);
    let RequestHead { fields, host, connection_tokens, version, .. } = &mut *head;
    each_field(message, len, request.headers, start as u32, |field| {
        match field.known {
            Known::Other => {}
            Known::Host => {
                if host.replace(field.value).is_some() {
                    return Err(Reject::TWO_HOSTS);
                }
                target::check_host(field.value.of(window))?;
            }
            Known::Expect if *version == Version::Http11 => {
                if !field.value.of(window).eq_ignore_ascii_case(b"100-continue") {
                    expectation = Err(Reject::BAD_EXPECTATION);
                } else if expectation.is_ok() {
                    expectation = Ok(true);
                }
            }
            _ => tally.take(window, &field, connection_tokens)?,
        }
        fields.push(field);
        Ok(())
    })?;

    tally.check(head.version)?;
    if head.host.is_none() && head.version == Version::Http11 {
        return Err(Reject::MISSING_HOST);
    }
    head.framing = match (tally.coding, tally.length) {
        (Some(Coding::Chunked | Coding::Unsupported), _) => Framing::Chunked,
        (None, None | Some(0)) => Framing::Empty,
        (None, Some(length)) => Framing::Length(length),
    };
    head.keep_alive = tally.persists(head.version);
    head.upgrade = tally.upgrade(head.version);
    head.expect_continue = expectation? && head.framing != Framing::Empty;
    Ok(Some(head.len))
}

/// The offset of the request line, or `None` if it has not arrived yet.
#[inline]
fn skip_empty_lines(bytes: &[u8]) -> Result<Option<usize>, Reject> {
    let mut at = 0;
    loop {
        match bytes.get(at) {
            None => return Ok(None),
            Some(b'\n') => return Err(Reject::BARE_LF),
            Some(b'\r') => {}
            Some(_) => return Ok(Some(at)),
        }
        match bytes.get(at + 1) {
            None => return Ok(None),
            Some(b'\n') if at < 2 * MAX_LEADING_EMPTY_LINES => at += 2,
            Some(b'\n') => return Err(Reject::BAD_REQUEST_LINE),
            Some(_) => return Err(Reject::BARE_CR),
        }
    }
}

/// Tells a bad byte in the target from a request line that has no shape.
#[cold]
fn bad_first_line(message: &[u8]) -> Reject {
    let Some(after_method) = message.iter().position(|byte| !is_token_byte(*byte)) else {
        return Reject::BAD_REQUEST_LINE;
    };
    let target = message[after_method..].strip_prefix(b" ").unwrap_or_default();
    let bad = target.iter().position(|byte| !matches!(byte, b'!'..=b'~' | 0x80..));
    match bad.map(|at| target[at]) {
        None if std::str::from_utf8(target).is_err() => Reject::BAD_TARGET_BYTE,
        None | Some(b'\r' | b'\n') => Reject::BAD_REQUEST_LINE,
        Some(b' ')
            if std::str::from_utf8(target.split(|b| *b == b' ').next().unwrap_or_default()).is_ok() =>
        {
            Reject::BAD_REQUEST_LINE
        }
        Some(_) if after_method == 0 => Reject::BAD_REQUEST_LINE,
        Some(_) => Reject::BAD_TARGET_BYTE,
    }
}
