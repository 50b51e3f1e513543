//! What Pancake writes: copied fields, status lines, chunks, dates, error answers.
//!
//! Everything is appended to a buffer of the caller. Nothing is checked again: field lines that are copied were checked when
//! they were parsed, and names and values given here are the caller's own.

// Answers that Pancake makes itself.
mod answer;
// IMF-fixdate.
mod date;
// Status codes and their phrases.
mod status;

use super::head::Field;
pub use answer::error_response;
pub use date::date;
pub use status::{reason_phrase, status_line};

/// The end of a line, of a head, and of the data of a chunk.
pub const CRLF: &[u8] = b"\r\n";

/// The largest number of bytes that [`chunk_head`] appends.
pub const MAX_CHUNK_HEAD: usize = 18;

/// Copies the lines of the `fields` to keep. `fields` are in the order of a parse of `bytes`; neighbouring lines are copied at
/// once, just as they were received.
pub fn fields(out: &mut Vec<u8>, bytes: &[u8], fields: &[Field], mut keep: impl FnMut(&Field) -> bool) {
    let mut run = 0..0;
    for field in fields {
        if !keep(field) {
            continue;
        }
        let start = field.name.start as usize;
        let value_end = field.value.end as usize;
        let end = bytes[value_end..]
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(bytes.len(), |at| value_end + at + 1);
        if start == run.end {
            run.end = end;
        } else {
            out.extend_from_slice(&bytes[run]);
            run = start..end;
        }
    }
    out.extend_from_slice(&bytes[run]);
}

/// Appends `name: value CRLF`.
pub fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(CRLF);
}

/// Appends a number in decimal.
pub fn decimal(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut left = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends the size line of a chunk of `len` bytes; [`CRLF`] follows its data. Appends nothing for 0, which would end the
/// body: that is [`last_chunk`].
pub fn chunk_head(out: &mut Vec<u8>, len: usize) {
    if len == 0 {
        return;
    }
    let first = (usize::BITS - 1 - len.leading_zeros()) / 4;
    for digit in (0..=first).rev() {
        out.push(b"0123456789abcdef"[len >> (digit * 4) & 15]);
    }
    out.extend_from_slice(CRLF);
}

/// Appends the end of a chunked body; `trailers` are whole `name: value CRLF` lines.
pub fn last_chunk(out: &mut Vec<u8>, trailers: &[u8]) {
    out.extend_from_slice(b"0\r\n");
    out.extend_from_slice(trailers);
    out.extend_from_slice(CRLF);
}
