//! From bytes to the first handshake message: record headers, fragments, limits (RFC 8446 sections 4 and 5.1).
//!
//! Walks over record headers only. Bytes are copied once, when a message in several records is whole.

use std::borrow::Cow;

use super::{MAX_CLIENT_HELLO_BYTES, MAX_CLIENT_HELLO_RECORDS};
use crate::reject::Reject;

/// The longest record before encryption begins.
const MAX_RECORD_BYTES: usize = 1 << 14;

const RECORD_HEADER_BYTES: usize = 5;

const HANDSHAKE_RECORD: u8 = 22;

/// The first byte of every version from SSL 3.0 to TLS 1.3; the second is to be ignored.
const MAJOR_VERSION: u8 = 3;

/// Type and length.
pub(super) const MESSAGE_HEADER_BYTES: usize = 4;

const CLIENT_HELLO: u8 = 1;

/// Why there is no message.
#[derive(Debug)]
pub(super) enum Stop {
    Incomplete { needed: usize },
    NotTls,
    Malformed(Reject),
}

/// The payload of a record as its header declares it; the bytes may not be there yet.
#[derive(Clone, Copy)]
struct Record {
    start: usize,
    end: usize,
}

/// The handshake message with its header, and where it ends on the wire.
pub(super) fn message(bytes: &[u8]) -> Result<(Cow<'_, [u8]>, usize), Stop> {
    let mut header = Header::default();
    // Bytes of the message in the records before this one.
    let mut before = 0;
    let mut at = 0;
    let mut records = 0;
    loop {
        records += 1;
        if records > MAX_CLIENT_HELLO_RECORDS {
            return Err(Stop::Malformed(Reject::TLS_HELLO_TOO_LARGE));
        }
        let record = record(bytes, at)?;
        let size = record.end - record.start;
        header.take(&bytes[record.start.min(bytes.len())..record.end.min(bytes.len())])?;
        let Some(total) = header.message_len() else {
            if bytes.len() < record.end {
                // The type of the message is judged by its first byte, the length by its last.
                let wanted = if header.held == 0 { 1 } else { MESSAGE_HEADER_BYTES - before };
                let needed = if wanted <= size { record.start + wanted } else { record.end + 1 };
                return Err(Stop::Incomplete { needed });
            }
            (before, at) = (before + size, record.end);
            continue;
        };
        let left = total - before;
        let end = record.start + left;
        // Where the message ends at the earliest: here, or behind one more record header.
        let earliest = if left <= size { end } else { end + RECORD_HEADER_BYTES };
        if earliest > MAX_CLIENT_HELLO_BYTES {
            return Err(Stop::Malformed(Reject::TLS_HELLO_TOO_LARGE));
        }
        if left > size {
            if bytes.len() <= record.end {
                return Err(Stop::Incomplete { needed: record.end + 1 });
            }
            (before, at) = (before + size, record.end);
            continue;
        }
        if bytes.len() < end {
            return Err(Stop::Incomplete { needed: end });
        }
        let message =
            if before == 0 { Cow::Borrowed(&bytes[record.start..end]) } else { join(bytes, total)? };
        return Ok((message, end));
    }
}

/// The length of the message that `bytes` start with, its header included, where there are no records.
pub(super) fn message_len(bytes: &[u8]) -> Result<usize, Stop> {
    let mut header = Header::default();
    header.take(bytes)?;
    header.message_len().ok_or(Stop::Incomplete { needed: MESSAGE_HEADER_BYTES })
}

/// The record that starts at `at`.
fn record(bytes: &[u8], at: usize) -> Result<Record, Stop> {
    let other = || if at == 0 { Stop::NotTls } else { Stop::Malformed(Reject::TLS_HELLO_INTERRUPTED) };
    for (offset, value) in [HANDSHAKE_RECORD, MAJOR_VERSION].into_iter().enumerate() {
        match bytes.get(at + offset) {
            None => return Err(Stop::Incomplete { needed: at + offset + 1 }),
            Some(byte) if *byte != value => return Err(other()),
            Some(_) => {}
        }
    }
    let start = at + RECORD_HEADER_BYTES;
    let Some(length) = bytes.get(at + 3..start) else {
        return Err(Stop::Incomplete { needed: start });
    };
    let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
    if length == 0 || length > MAX_RECORD_BYTES {
        return Err(Stop::Malformed(Reject::TLS_BAD_RECORD_LENGTH));
    }
    Ok(Record { start, end: start + length })
}

/// The header of the message, which may itself be spread over records.
#[derive(Default)]
struct Header {
    bytes: [u8; MESSAGE_HEADER_BYTES],
    held: usize,
}

impl Header {
    fn take(&mut self, fragment: &[u8]) -> Result<(), Stop> {
        for (slot, byte) in self.bytes[self.held..].iter_mut().zip(fragment) {
            *slot = *byte;
            self.held += 1;
        }
        if self.held > 0 && self.bytes[0] != CLIENT_HELLO {
            return Err(Stop::Malformed(Reject::TLS_NO_HELLO));
        }
        Ok(())
    }

    /// The length of the message with its header.
    fn message_len(&self) -> Option<usize> {
        let [_, high, middle, low] = self.bytes;
        let body = u32::from_be_bytes([0, high, middle, low]);
        (self.held == MESSAGE_HEADER_BYTES).then(|| body as usize + MESSAGE_HEADER_BYTES)
    }
}

/// Copies a message together that is known to be whole.
fn join(bytes: &[u8], total: usize) -> Result<Cow<'_, [u8]>, Stop> {
    let mut message = Vec::with_capacity(total);
    let mut at = 0;
    while message.len() < total {
        let record = record(bytes, at)?;
        let end = record.end.min(record.start + total - message.len());
        message.extend_from_slice(&bytes[record.start..end]);
        at = record.end;
    }
    Ok(Cow::Owned(message))
}
