//! What `Connection`, `Content-Length` and `Transfer-Encoding` add up to (RFC 9112 sections 6 and 9).
//!
//! Stricter than the RFC where the RFC allows to guess: a repeated length is refused even if the values agree, a length
//! beside a coding is refused even though the coding would win, and `chunked` alone is accepted as a coding.

use super::lines::{Version, is_token_byte};
use super::{Field, Known, Reject, Span};

/// The largest body length and chunk size: 2^63 - 1 bytes.
pub const MAX_LENGTH: u64 = i64::MAX as u64;

/// The most options that `Connection` may list besides `close` and `keep-alive`.
pub const MAX_CONNECTION_OPTIONS: usize = 32;

/// How the body of a message ends (RFC 9112 section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// There is no body.
    #[default]
    Empty,
    /// After this many bytes; never 0.
    Length(u64),
    /// With the last chunk and the trailer section.
    Chunked,
    /// With the connection: answers only.
    UntilClose,
}

/// What the fields seen so far say about framing and the connection.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub length: Option<u64>,
    pub coding: Option<Coding>,
    close: bool,
    keep_alive: bool,
    upgrade_option: bool,
    upgrade: Option<Span>,
}

/// What a `Transfer-Encoding` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Chunked,
    /// Well-formed and ending in `chunked`, but with codings before it.
    Unsupported,
}

impl Tally {
    /// Counts one field in; `tokens` receives the options of `Connection`.
    #[inline]
    pub fn take(&mut self, bytes: &[u8], field: &Field, tokens: &mut Vec<Span>) -> Result<(), Reject> {
        match field.known {
            Known::ContentLength => {
                if self.length.is_some() {
                    return Err(Reject::TWO_CONTENT_LENGTHS);
                }
                self.length = Some(content_length(field.value.of(bytes))?);
            }
            Known::TransferEncoding => {
                if self.coding.is_some() {
                    return Err(Reject::TWO_TRANSFER_ENCODINGS);
                }
                self.coding = Some(transfer_encoding(field.value.of(bytes))?);
            }
            Known::Connection => self.connection(bytes, field.value, tokens)?,
            Known::Upgrade if self.upgrade.is_none() => self.upgrade = Some(field.value),
            _ => {}
        }
        Ok(())
    }

    /// Whether the connection persists after this message (RFC 9112 section 9.3).
    #[inline]
    pub fn persists(&self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep_alive)
    }

    /// The protocols offered or chosen, if the sender made `Upgrade` hop-by-hop as it must (RFC 9110 section 7.8), on
    /// HTTP/1.1 only.
    #[inline]
    pub fn upgrade(&self, version: Version) -> Option<Span> {
        self.upgrade.filter(|value| self.upgrade_option && version == Version::Http11 && !value.is_empty())
    }

    /// The checks that need the whole head: a length beside a coding, a coding on HTTP/1.0, a coding not spoken.
    #[inline]
    pub fn check(&self, version: Version) -> Result<(), Reject> {
        match self.coding {
            None => Ok(()),
            Some(_) if self.length.is_some() => Err(Reject::LENGTH_AND_CODING),
            Some(_) if version == Version::Http10 => Err(Reject::CODING_ON_HTTP10),
            Some(Coding::Unsupported) => Err(Reject::UNSUPPORTED_CODING),
            Some(Coding::Chunked) => Ok(()),
        }
    }

    /// Reads the options of one `Connection` field. Elements that are no tokens name no field and are passed over: the
    /// field is never forwarded.
    fn connection(&mut self, bytes: &[u8], value: Span, tokens: &mut Vec<Span>) -> Result<(), Reject> {
        for option in elements(bytes, value) {
            let name = option.of(bytes);
            if name.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if name.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if name.iter().all(|byte| is_token_byte(*byte)) {
                self.upgrade_option |= name.eq_ignore_ascii_case(b"upgrade");
                if tokens.len() == MAX_CONNECTION_OPTIONS {
                    return Err(Reject::TOO_MANY_OPTIONS);
                }
                tokens.push(option);
            }
        }
        Ok(())
    }
}

/// The elements of a comma-separated list, empty ones left out (RFC 9110 section 5.6.1).
pub(super) fn elements(bytes: &[u8], value: Span) -> impl Iterator<Item = Span> {
    let mut next = value.start as usize;
    let end = value.end as usize;
    std::iter::from_fn(move || {
        while next < end {
            let start = next;
            let stop = bytes[start..end].iter().position(|byte| *byte == b',').map_or(end, |at| start + at);
            next = stop + 1;
            let element = bytes[start..stop].trim_ascii();
            if !element.is_empty() {
                let from = start + (element.as_ptr() as usize - bytes[start..].as_ptr() as usize);
                return Some(Span::new(from, from + element.len()));
            }
        }
        None
    })
}

/// `Content-Length = 1*DIGIT` (RFC 9110 section 8.6), one value, below 2^63.
fn content_length(value: &[u8]) -> Result<u64, Reject> {
    if value.is_empty() {
        return Err(Reject::EMPTY_CONTENT_LENGTH);
    }
    let mut length = 0u64;
    for byte in value {
        match byte {
            b'0'..=b'9' => {
                let digit = u64::from(byte - b'0');
                length = length
                    .checked_mul(10)
                    .and_then(|tens| tens.checked_add(digit))
                    .filter(|length| *length <= MAX_LENGTH)
                    .ok_or(Reject::BAD_CONTENT_LENGTH)?;
            }
            b',' => return Err(Reject::TWO_CONTENT_LENGTHS),
            _ => return Err(Reject::BAD_CONTENT_LENGTH),
        }
    }
    Ok(length)
}

/// Exactly `chunked`, or a list of other codings that ends in `chunked` (RFC 9112 section 6.1), which is well-formed but
/// not spoken here. Anything else leaves the end of the body unknown.
fn transfer_encoding(value: &[u8]) -> Result<Coding, Reject> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(Coding::Chunked);
    }
    let mut codings = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).rev();
    let ends_in_chunked = codings.next().is_some_and(|last| last.eq_ignore_ascii_case(b"chunked"));
    let others_are_tokens = codings.all(|coding| {
        !coding.is_empty()
            && coding.iter().all(|byte| is_token_byte(*byte))
            && !coding.eq_ignore_ascii_case(b"chunked")
            && !coding.eq_ignore_ascii_case(b"identity")
    });
    if ends_in_chunked && others_are_tokens {
        Ok(Coding::Unsupported)
    } else {
        Err(Reject::BAD_TRANSFER_ENCODING)
    }
}
