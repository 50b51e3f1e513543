//! Response heads (RFC 9112 section 4), as backends send them: every refusal has the status 502.

use super::framing::Tally;
use super::lines::{each_field, explain, incomplete, slots, window};
use super::{FIELD_SLOTS, Field, Framing, Limits, Reject, Span, Version};

/// Length of `HTTP/1.1 200`.
const VERSION_AND_STATUS: usize = 12;

/// The head of a response. Reused; all spans are offsets into the bytes given to [`parse_response`].
#[derive(Debug, Clone, Default)]
pub struct ResponseHead {
    /// The status code, 100 to 999.
    pub status: u16,
    /// The reason phrase, possibly empty.
    pub reason: Span,
    /// The version.
    pub version: Version,
    /// The field lines, in order.
    pub fields: Vec<Field>,
    /// Whether the backend means the connection to persist (RFC 9112 section 9.3). A body that ends with the connection
    /// ends it all the same.
    pub keep_alive: bool,
    /// What `Connection` lists besides `close` and `keep-alive`, `upgrade` included.
    pub connection_tokens: Vec<Span>,
    /// The value of `Upgrade`, if `Connection` lists it and the version is HTTP/1.1.
    pub upgrade: Option<Span>,
    /// The value of `Content-Length`. In an answer to HEAD and in a 304 it does not describe these bytes: use
    /// [`ResponseHead::framing`].
    pub content_length: Option<u64>,
    /// Whether the transfer coding is `chunked`.
    pub chunked: bool,
    /// Bytes of the head, the empty line included.
    pub len: usize,
}

impl ResponseHead {
    /// How the body ends (RFC 9112 section 6.3). Bytes after an [`Framing::Empty`] body belong to no message that was
    /// asked for: the connection must not be used again.
    #[must_use]
    pub fn framing(&self, to_head_request: bool) -> Framing {
        if to_head_request || matches!(self.status, 100..=199 | 204 | 304) {
            return Framing::Empty;
        }
        match (self.chunked, self.content_length) {
            (true, _) => Framing::Chunked,
            (false, Some(0)) => Framing::Empty,
            (false, Some(length)) => Framing::Length(length),
            (false, None) => Framing::UntilClose,
        }
    }

    /// Whether `Connection` names this field, so that it must not be forwarded. See [`super::Known::is_protected`].
    #[must_use]
    pub fn is_connection_option(&self, bytes: &[u8], field: &Field) -> bool {
        !self.connection_tokens.is_empty() && listed(&self.connection_tokens, bytes, field)
    }

    /// Empties what a parse adds to; the rest is set by every parse that succeeds.
    fn clear(&mut self) {
        self.fields.clear();
        self.connection_tokens.clear();
    }
}

/// Whether one of the options is the name of `field`, and the field may be removed by it.
pub(super) fn listed(options: &[Span], bytes: &[u8], field: &Field) -> bool {
    let name = field.name.of(bytes);
    !field.known.is_protected() && options.iter().any(|option| option.of(bytes).eq_ignore_ascii_case(name))
}

/// Parses a response head at the start of `bytes` into `head`, which is overwritten.
///
/// `Ok(None)`: incomplete, call again with more bytes. `Ok(Some(n))`: the head takes the first `n` bytes; for a status 1xx
/// other than 101 the final answer follows. What is left in `head` after the other two results means nothing.
///
/// # Errors
/// The reason to answer with 502 and to close the connection to the backend.
pub fn parse_response(
    bytes: &[u8],
    limits: &Limits,
    head: &mut ResponseHead,
) -> Result<Option<usize>, Reject> {
    parse(bytes, limits, head).map_err(Reject::from_backend)
}

fn parse(bytes: &[u8], limits: &Limits, head: &mut ResponseHead) -> Result<Option<usize>, Reject> {
    head.clear();
    let window = window(bytes, limits);
    // `httparse` passes over empty lines here; after an answer they are stray bytes.
    if window.first().is_some_and(|first| *first != b'H') {
        return Err(Reject::BAD_STATUS_LINE);
    }
    let mut slots = slots();
    let mut response = httparse::Response::new(&mut []);
    let max_fields = limits.max_fields.min(FIELD_SLOTS);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        window,
        &mut slots[..max_fields],
    );
    let len = match parsed {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return incomplete(window, limits),
        Err(error) => return Err(explain(error, window, Reject::BAD_STATUS_LINE)),
    };
    head.version = if response.version == Some(1) { Version::Http11 } else { Version::Http10 };
    head.status = response.code.filter(|code| *code >= 100).ok_or(Reject::BAD_STATUS_LINE)?;
    head.reason = reason(window);
    head.len = len;

    let mut tally = Tally::default();
    let ResponseHead { fields, connection_tokens, .. } = &mut *head;
    each_field(window, len, response.headers, 0, |field| {
        tally.take(window, &field, connection_tokens)?;
        fields.push(field);
        Ok(())
    })?;

    tally.check(head.version)?;
    head.content_length = tally.length;
    head.chunked = tally.coding.is_some();
    head.keep_alive = tally.persists(head.version);
    head.upgrade = tally.upgrade(head.version);
    Ok(Some(len))
}

/// What stands between the status and the end of the first line.
fn reason(head: &[u8]) -> Span {
    let end = head.iter().position(|byte| *byte == b'\r').unwrap_or(VERSION_AND_STATUS);
    Span::new((VERSION_AND_STATUS + 1).min(end), end)
}
