//! Message bodies in the chunked coding (RFC 9112 section 7.1).
//!
//! The decoder keeps no body bytes: it says which ranges of the input are data. It keeps the trailer section, up to a limit.
//! Bodies with a length or up to the end of the connection need no decoder.

// Trailer fields: collected, checked, and the dangerous ones left out.
mod trailer;

use std::ops::Range;

use super::head::{MAX_LENGTH, Reject};
use trailer::Trailers;
pub use trailer::{MAX_TRAILER_BYTES, MAX_TRAILER_FIELDS};

/// The most bytes that the extensions of one chunk may take.
pub const MAX_EXTENSION_BYTES: u32 = 256;

/// The most bytes that all chunk extensions of one body may take (compare CVE-2023-39326).
pub const MAX_EXTENSION_BYTES_TOTAL: u32 = 16 * 1024;

/// The most digits of a chunk size, leading zeros included.
pub const MAX_SIZE_DIGITS: u8 = 16;

/// What one [`Chunked::step`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Bytes of the input that were used; the next step starts after them.
    pub consumed: usize,
    /// Body bytes among them, as a range of the input.
    pub data: Option<Range<usize>>,
    /// What to do next.
    pub state: State,
}

/// What to do after a [`Step`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Call again with what is left of the input.
    More,
    /// The input is used up: call again with the bytes that follow.
    NeedInput,
    /// The body is complete; what is left belongs to the next message.
    Done,
}

/// The decoder of one chunked body. However the input is split, data, trailers and verdict are the same.
#[derive(Debug, Clone, Default)]
pub struct Chunked {
    at: At,
    /// Size of the chunk while its digits arrive, then bytes of it still to come.
    left: u64,
    digits: u8,
    extension: u32,
    extension_total: u32,
    trailers: Trailers,
}

/// Where in the grammar the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum At {
    #[default]
    Size,
    /// White space between a size and the `;` of an extension.
    BeforeExtension,
    Extension,
    /// After the CR of a size line.
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailer,
    Done,
}

impl Chunked {
    /// A decoder at the start of a body.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the decoder ready for another body; keeps its memory.
    pub fn reset(&mut self) {
        let mut trailers = std::mem::take(&mut self.trailers);
        trailers.clear();
        *self = Self { trailers, ..Self::default() };
    }

    /// True once the last chunk and the trailer section have been read.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.at == At::Done
    }

    /// The trailer fields as `name: value CRLF` lines, without the fields that must not be trailers (RFC 9110 section
    /// 6.5.1: framing, routing, hop-by-hop, authentication). Complete when [`Chunked::is_done`].
    #[must_use]
    pub fn trailers(&self) -> &[u8] {
        self.trailers.lines()
    }

    /// Reads on: at most up to the end of one run of data.
    ///
    /// # Errors
    /// The coding is broken: answer with the status of the [`Reject`] if nothing was answered yet, and close; a backend's
    /// answer must be cut off so that the client sees that it is incomplete.
    pub fn step(&mut self, input: &[u8]) -> Result<Step, Reject> {
        let mut used = 0;
        while used < input.len() {
            match self.at {
                At::Data => {
                    let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len() - used);
                    let data = used..used + length;
                    self.left -= length as u64;
                    used += length;
                    if self.left == 0 {
                        self.at = At::DataCr;
                        // The CRLF after the data goes with it when it is there.
                        if input[used..].starts_with(b"\r\n") {
                            used += 2;
                            self.at = At::Size;
                        }
                    }
                    return Ok(Step { consumed: used, data: Some(data), state: after(used, input) });
                }
                At::Trailer => {
                    used += self.trailers.take(&input[used..])?;
                    if self.trailers.is_complete() {
                        self.at = At::Done;
                    }
                }
                At::Done => break,
                _ => {
                    self.line_byte(input[used])?;
                    used += 1;
                }
            }
        }
        let state = if self.is_done() { State::Done } else { after(used, input) };
        Ok(Step { consumed: used, data: None, state })
    }

    /// One byte outside of data and trailers.
    fn line_byte(&mut self, byte: u8) -> Result<(), Reject> {
        self.at = match (self.at, byte) {
            (At::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => self.digit(byte)?,
            (At::Size, b'\r') if self.digits > 0 => At::SizeLf,
            (At::Size | At::BeforeExtension, b';') if self.digits > 0 => {
                self.extension_byte(At::Extension)?
            }
            (At::Size | At::BeforeExtension, b' ' | b'\t') if self.digits > 0 => {
                self.extension_byte(At::BeforeExtension)?
            }
            (At::Size, b'\n') if self.digits > 0 => return Err(Reject::BAD_CHUNK_LINE),
            (At::Size, _) => return Err(Reject::BAD_CHUNK_SIZE),
            (At::Extension, b'\r') => At::SizeLf,
            (At::Extension, b'\t' | b' '..=b'~' | 0x80..) => self.extension_byte(At::Extension)?,
            (At::SizeLf, b'\n') => self.size_line_end(),
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size,
            (At::DataCr | At::DataLf, _) => return Err(Reject::BAD_CHUNK_END),
            _ => return Err(Reject::BAD_CHUNK_LINE),
        };
        Ok(())
    }

    fn digit(&mut self, byte: u8) -> Result<At, Reject> {
        let value = match byte {
            b'0'..=b'9' => byte - b'0',
            _ => (byte | 0x20) - b'a' + 10,
        };
        if self.digits == MAX_SIZE_DIGITS {
            return Err(Reject::BAD_CHUNK_SIZE);
        }
        self.digits += 1;
        // 16 digits fit in 64 bits.
        self.left = (self.left << 4) | u64::from(value);
        if self.left > MAX_LENGTH { Err(Reject::BAD_CHUNK_SIZE) } else { Ok(At::Size) }
    }

    /// Counts a byte of an extension.
    fn extension_byte(&mut self, next: At) -> Result<At, Reject> {
        self.extension += 1;
        self.extension_total += 1;
        if self.extension > MAX_EXTENSION_BYTES || self.extension_total > MAX_EXTENSION_BYTES_TOTAL {
            return Err(Reject::CHUNK_EXTENSION_TOO_LARGE);
        }
        Ok(next)
    }

    fn size_line_end(&mut self) -> At {
        self.digits = 0;
        self.extension = 0;
        if self.left == 0 { At::Trailer } else { At::Data }
    }
}

fn after(used: usize, input: &[u8]) -> State {
    if used < input.len() { State::More } else { State::NeedInput }
}
