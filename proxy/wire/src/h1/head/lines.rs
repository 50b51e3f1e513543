//! `httparse` results turned into fields and exact refusals.
//!
//! `httparse` finds the lines and checks their bytes; it also accepts a bare LF as a line end, which is refused here. When it
//! refuses, [`explain`] looks again, off the hot path, to say precisely why.

use std::mem::MaybeUninit;

use super::{Field, Known, Reject, Span};

/// The most fields a head can have, whatever [`Limits::max_fields`] says: their slots are on the stack.
pub const FIELD_SLOTS: usize = 256;

/// Limits on a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes a head may take, empty lines before it included. A longer one is refused with 431, or 414 if not even
    /// its first line ends within the limit. Values over 4 GiB count as 4 GiB.
    pub max_head_bytes: usize,
    /// The most fields; more are refused with 431. Values over [`FIELD_SLOTS`] count as that.
    pub max_fields: usize,
}

impl Default for Limits {
    /// 1 MiB (Traefik's `maxHeaderBytes`) and 128 fields.
    fn default() -> Self {
        Self { max_head_bytes: 1 << 20, max_fields: 128 }
    }
}

/// The version of a message (RFC 9112 section 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    #[default]
    Http11,
}

/// Whether a head can have become complete since its first `seen` bytes were found incomplete.
///
/// A sender that drips a long head byte by byte would otherwise have it parsed again for every byte. False means that
/// parsing `bytes` would still say "incomplete" (or would refuse a head that is not complete yet); ask it only while
/// `bytes` is shorter than [`Limits::max_head_bytes`].
#[must_use]
pub fn may_be_complete(bytes: &[u8], seen: usize) -> bool {
    let from = seen.saturating_sub(3).min(bytes.len());
    let new = &bytes[from..];
    new.windows(2).any(|pair| pair == b"\n\n") || new.windows(3).any(|three| three == b"\n\r\n")
}

pub(super) type Slots<'a> = [MaybeUninit<httparse::Header<'a>>; FIELD_SLOTS];

/// Fresh slots; costs nothing, they are not initialised.
#[inline]
pub(super) const fn slots<'a>() -> Slots<'a> {
    [const { MaybeUninit::uninit() }; FIELD_SLOTS]
}

/// The bytes of `bytes` that may belong to a head.
#[inline]
pub(super) fn window<'a>(bytes: &'a [u8], limits: &Limits) -> &'a [u8] {
    &bytes[..bytes.len().min(limits.max_head_bytes.min(u32::MAX as usize))]
}

/// What an incomplete head means: more bytes are needed, or it cannot fit any more.
#[inline]
pub(super) fn incomplete(window: &[u8], limits: &Limits) -> Result<Option<usize>, Reject> {
    if window.len() < limits.max_head_bytes.min(u32::MAX as usize) {
        Ok(None)
    } else if window.contains(&b'\n') {
        Err(Reject::HEAD_TOO_LARGE)
    } else {
        Err(Reject::TARGET_TOO_LONG)
    }
}

/// The span of `part`, which lies within `bytes`.
#[inline]
fn span_in(bytes: &[u8], part: &[u8]) -> Span {
    let start = part.as_ptr() as usize - bytes.as_ptr() as usize;
    Span::new(start, start + part.len())
}

/// Hands the fields of a complete head to `take`, in order, and checks that each line of the head ends in CRLF.
/// `bytes[..len]` is the head, `shift` the offset of `bytes` in what spans refer to.
#[inline]
pub(super) fn each_field(
    bytes: &[u8],
    len: usize,
    headers: &[httparse::Header<'_>],
    shift: u32,
    mut take: impl FnMut(Field) -> Result<(), Reject>,
) -> Result<(), Reject> {
    // The byte before each line's LF must be CR. The LFs themselves are known to be there.
    let mut strict = bytes[len - 2] == b'\r' && bytes[len - 4] == b'\r';
    for header in headers {
        let name = span_in(bytes, header.name.as_bytes());
        let value = span_in(bytes, header.value);
        strict &= bytes[name.start as usize - 2] == b'\r';
        let known = Known::of(header.name.as_bytes());
        take(Field { name: name.shifted(shift), value: value.shifted(shift), known })?;
    }
    if strict { Ok(()) } else { Err(Reject::BARE_LF) }
}

/// Why `httparse` refused `bytes`; `first_line` is the refusal for a first line that nothing more can be said of.
#[cold]
pub(super) fn explain(error: httparse::Error, bytes: &[u8], first_line: Reject) -> Reject {
    match error {
        httparse::Error::TooManyHeaders => Reject::TOO_MANY_FIELDS,
        httparse::Error::HeaderName => bad_name(bytes),
        httparse::Error::HeaderValue => bad_value(bytes),
        httparse::Error::NewLine if has_bare_cr(bytes) => Reject::BARE_CR,
        httparse::Error::Version => bad_version(bytes, first_line),
        httparse::Error::NewLine | httparse::Error::Status | httparse::Error::Token => first_line,
    }
}

/// The lines after the first one.
fn field_lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| *byte == b'\n').skip(1)
}

/// The first field line whose name is bad says why.
fn bad_name(bytes: &[u8]) -> Reject {
    for line in field_lines(bytes) {
        let end = line.iter().position(|byte| !is_token_byte(*byte)).unwrap_or(line.len());
        match (end, line.get(end)) {
            (_, None) | (1.., Some(b':')) => {}
            (0, Some(b'\r')) if line.len() == 1 => {}
            (0, Some(b' ' | b'\t')) => return Reject::FOLDED_FIELD,
            (0, Some(b':')) => return Reject::EMPTY_FIELD_NAME,
            (_, Some(b' ' | b'\t')) if line[end..].contains(&b':') => return Reject::SPACE_BEFORE_COLON,
            _ => return Reject::BAD_FIELD_NAME,
        }
    }
    Reject::BAD_FIELD_NAME
}

/// The first field line whose value is bad says why.
fn bad_value(bytes: &[u8]) -> Reject {
    for line in field_lines(bytes) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match line.iter().find(|byte| !is_value_byte(**byte)) {
            None => {}
            Some(0) => return Reject::NUL_IN_VALUE,
            Some(b'\r') => return Reject::BARE_CR,
            Some(_) => return Reject::CONTROL_IN_VALUE,
        }
    }
    Reject::BARE_CR
}

/// `HTTP/x.y` with other digits is a version that is not spoken here, anything else is no version.
fn bad_version(bytes: &[u8], first_line: Reject) -> Reject {
    let version = bytes.splitn(3, |byte| *byte == b' ').nth(2).and_then(|rest| rest.get(..8));
    let is_version =
        |v: &[u8]| v.starts_with(b"HTTP/") && v[5].is_ascii_digit() && v[6] == b'.' && v[7].is_ascii_digit();
    if version.is_some_and(is_version) { Reject::UNSUPPORTED_VERSION } else { first_line }
}

fn has_bare_cr(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| pair[0] == b'\r' && pair[1] != b'\n')
}

/// `tchar` of RFC 9110 section 5.6.2.
pub(crate) const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// A byte of a field value: HTAB, SP, VCHAR, obs-text (RFC 9110 section 5.5).
pub(crate) const fn is_value_byte(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=0x7e | 0x80..)
}
