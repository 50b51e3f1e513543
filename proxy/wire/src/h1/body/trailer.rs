//! The trailer section (RFC 9112 section 7.1.2): collected, checked line by line, and the dangerous fields left out.

use crate::h1::head::{Known, Reject, is_token_byte, is_value_byte};

/// The most bytes of a trailer section, dropped fields included.
pub const MAX_TRAILER_BYTES: usize = 8 * 1024;

/// The most fields of a trailer section, dropped ones included.
pub const MAX_TRAILER_FIELDS: usize = 64;

/// A trailer section while it arrives.
#[derive(Debug, Clone, Default)]
pub(super) struct Trailers {
    /// Lines that are kept, then the line that is arriving.
    bytes: Vec<u8>,
    /// Where the arriving line starts.
    line: usize,
    received: usize,
    fields: usize,
    complete: bool,
}

impl Trailers {
    pub fn clear(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        *self = Self { bytes, ..Self::default() };
    }

    /// Whole kept lines.
    pub fn lines(&self) -> &[u8] {
        &self.bytes[..self.line]
    }

    /// True after the empty line.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Takes one line, or what there is of it, and says how many bytes that was.
    pub fn take(&mut self, input: &[u8]) -> Result<usize, Reject> {
        let line_feed = input.iter().position(|byte| *byte == b'\n');
        let length = line_feed.map_or(input.len(), |at| at + 1);
        self.received += length;
        if self.received > MAX_TRAILER_BYTES {
            return Err(Reject::TRAILERS_TOO_LARGE);
        }
        self.bytes.extend_from_slice(&input[..length]);
        if line_feed.is_some() {
            self.end_line()?;
        }
        Ok(length)
    }

    fn end_line(&mut self) -> Result<(), Reject> {
        let line = self.bytes[self.line..].strip_suffix(b"\r\n").ok_or(Reject::BARE_LF)?;
        if line.is_empty() {
            self.complete = true;
            self.bytes.truncate(self.line);
            return Ok(());
        }
        self.fields += 1;
        if self.fields > MAX_TRAILER_FIELDS {
            return Err(Reject::TRAILERS_TOO_LARGE);
        }
        if is_allowed(check(line)?) {
            self.line = self.bytes.len();
        } else {
            self.bytes.truncate(self.line);
        }
        Ok(())
    }
}

/// The name of a well-formed field line.
fn check(line: &[u8]) -> Result<&[u8], Reject> {
    let end = line.iter().position(|byte| !is_token_byte(*byte)).ok_or(Reject::BAD_FIELD_NAME)?;
    match (end, line[end]) {
        (0, b' ' | b'\t') => return Err(Reject::FOLDED_FIELD),
        (0, b':') => return Err(Reject::EMPTY_FIELD_NAME),
        (_, b':') => {}
        (_, b' ' | b'\t') => return Err(Reject::SPACE_BEFORE_COLON),
        _ => return Err(Reject::BAD_FIELD_NAME),
    }
    match line[end + 1..].iter().find(|byte| !is_value_byte(**byte)) {
        None => Ok(&line[..end]),
        Some(0) => Err(Reject::NUL_IN_VALUE),
        Some(b'\r') => Err(Reject::BARE_CR),
        Some(_) => Err(Reject::CONTROL_IN_VALUE),
    }
}

/// False for fields that would change how the message is framed, routed, trusted or understood after the fact.
fn is_allowed(name: &[u8]) -> bool {
    let known = Known::of(name);
    !(known.is_hop_by_hop()
        || known.is_forwarding()
        || matches!(
            known,
            Known::ContentLength
                | Known::Host
                | Known::Forwarded
                | Known::UnderscoreTwin
                | Known::Authorization
                | Known::CacheControl
                | Known::ContentEncoding
                | Known::ContentType
                | Known::Cookie
                | Known::SetCookie
                | Known::Expect
                | Known::Range
                | Known::Location
        ))
}
