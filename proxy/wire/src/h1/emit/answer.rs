//! Answers that Pancake makes itself, worded as Traefik (Go) words them.

use super::{CRLF, decimal, field, reason_phrase, status_line};

/// Appends a whole error answer: head with an exact `Content-Length`, and a body of plain text unless the request was HEAD or
/// the status has no body.
///
/// The body is the standard phrase; for 404 it is Go's `404 page not found`. Refusals of a malformed message (400, 414, 417,
/// 431, 501, 505) say why, as Go does: `400 Bad Request: two-content-lengths`. The slug is shown for no other status, it
/// would tell a client about backends.
pub fn error_response(
    out: &mut Vec<u8>,
    status: u16,
    reason_slug: &str,
    date: Option<&[u8; 29]>,
    close: bool,
    head_request: bool,
) {
    status_line(out, status);
    let has_body = !matches!(status, 100..=199 | 204 | 304);
    let mut body = Vec::with_capacity(96);
    if has_body {
        self::body(&mut body, status, reason_slug);
        field(out, b"Content-Type", b"text/plain; charset=utf-8");
        if status == 404 {
            field(out, b"X-Content-Type-Options", b"nosniff");
        }
    }
    if let Some(date) = date {
        field(out, b"Date", date);
    }
    if has_body {
        out.extend_from_slice(b"Content-Length: ");
        decimal(out, body.len() as u64);
        out.extend_from_slice(CRLF);
    }
    if close {
        field(out, b"Connection", b"close");
    }
    out.extend_from_slice(CRLF);
    if !head_request {
        out.extend_from_slice(&body);
    }
}

fn body(out: &mut Vec<u8>, status: u16, reason_slug: &str) {
    let tells_why = matches!(status, 400 | 414 | 417 | 431 | 501 | 505) && !reason_slug.is_empty();
    if status == 404 {
        out.extend_from_slice(b"404 page not found\n");
    } else if tells_why {
        decimal(out, u64::from(status));
        out.push(b' ');
        out.extend_from_slice(reason_phrase(status).as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(reason_slug.as_bytes());
    } else {
        out.extend_from_slice(reason_phrase(status).as_bytes());
    }
}
