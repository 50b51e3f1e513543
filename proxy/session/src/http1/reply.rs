//! Answers that the proxy makes itself.

use pancake_engine::OutBuf;
use pancake_wire::h1::emit;

/// The `Date` of the current second.
#[derive(Default)]
pub(crate) struct Date {
    second: u64,
    text: Option<[u8; 29]>,
}

impl Date {
    /// IMF-fixdate (RFC 9110 section 5.6.7) of `second`, made once per second.
    pub(crate) fn at(&mut self, second: u64) -> &[u8; 29] {
        if self.second != second {
            self.second = second;
            self.text = None;
        }
        self.text.get_or_insert_with(|| emit::date(second))
    }
}

/// What an answer of the proxy depends on.
pub(crate) struct Reply<'a> {
    pub(crate) status: u16,
    pub(crate) reason: &'a str,
    pub(crate) close: bool,
    pub(crate) head_request: bool,
    /// A whole line about HTTP/3.
    pub(crate) alt_svc: Option<&'a str>,
}

/// The answer, as Traefik gives it, and the length of its body.
pub(crate) fn make(reply: &Reply<'_>, date: &[u8; 29]) -> (OutBuf, u64) {
    let mut out = OutBuf::new();
    emit::error_response(&mut out, reply.status, reply.reason, Some(date), reply.close, reply.head_request);
    let head = out.windows(4).position(|w| w == b"\r\n\r\n").map_or(out.len(), |at| at + 4);
    let body = (out.len() - head) as u64;
    if let Some(line) = reply.alt_svc {
        let end = head - 2;
        out.splice(end..end, line.bytes());
    }
    (out, body)
}

/// `HTTP/1.1 100 Continue` (RFC 9110 section 15.2.1).
pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
