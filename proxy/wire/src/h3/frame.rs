//! A stream to frames, piece by piece (RFC 9114 section 7).
//!
//! Data is not held, frames of unknown kinds are stepped over, the rest is held until it is whole, up to a limit.

use super::{Code, varint};

/// `DATA`: a piece of the body.
pub const DATA: u64 = 0x00;
/// `HEADERS`: a field section.
pub const HEADERS: u64 = 0x01;
/// `CANCEL_PUSH`
pub const CANCEL_PUSH: u64 = 0x03;
/// `SETTINGS`
pub const SETTINGS: u64 = 0x04;
/// `PUSH_PROMISE`
pub const PUSH_PROMISE: u64 = 0x05;
/// `GOAWAY`
pub const GOAWAY: u64 = 0x07;
/// `MAX_PUSH_ID`
pub const MAX_PUSH_ID: u64 = 0x0d;

/// Kind and length, each of eight bytes at most.
const MAX_HEADER_BYTES: usize = 16;

/// What a step found.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: more bytes are needed.
    NeedInput,
    /// So many bytes of data, the last of those that were used.
    Data(usize),
    /// A whole frame of another kind; what it carries is in [`Frames::payload`].
    Whole(u64),
}

#[derive(Debug)]
enum At {
    Header { held: [u8; MAX_HEADER_BYTES], len: usize },
    Data(u64),
    Held { kind: u64, left: usize },
    Skipped(u64),
}

/// The frames of one stream.
#[derive(Debug)]
pub struct Frames {
    at: At,
    payload: Vec<u8>,
    max_payload: usize,
}

const START: At = At::Header { held: [0; MAX_HEADER_BYTES], len: 0 };

impl Frames {
    /// A frame other than data that carries more than `max_payload` bytes is an error.
    #[must_use]
    pub fn new(max_payload: usize) -> Frames {
        Frames { at: START, payload: Vec::new(), max_payload }
    }

    /// Takes bytes off the front of `input`: returns how many, and what they were. After [`Step::NeedInput`] all are taken.
    ///
    /// # Errors
    /// A frame that is too long ([`Code::EXCESSIVE_LOAD`]), or of a kind of HTTP/2 that has no meaning here
    /// ([`Code::FRAME_UNEXPECTED`]).
    pub fn step(&mut self, input: &[u8]) -> Result<(usize, Step), Code> {
        let mut used = 0;
        loop {
            let rest = &input[used..];
            match &mut self.at {
                At::Header { held, len } => {
                    let Some(byte) = rest.first() else { return Ok((used, Step::NeedInput)) };
                    held[*len] = *byte;
                    *len += 1;
                    used += 1;
                    let header = &held[..*len];
                    let read = varint::read(header);
                    if let Some((kind, first)) = read
                        && let Some((length, _)) = varint::read(&header[first..])
                    {
                        self.at = self.begin(kind, length)?;
                    }
                }
                At::Data(0) | At::Skipped(0) => self.at = START,
                At::Held { kind, left: 0 } => {
                    let kind = *kind;
                    self.at = START;
                    return Ok((used, Step::Whole(kind)));
                }
                _ if rest.is_empty() => return Ok((used, Step::NeedInput)),
                At::Data(left) => {
                    let n = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left -= n as u64;
                    return Ok((used + n, Step::Data(n)));
                }
                At::Skipped(left) => {
                    let n = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left -= n as u64;
                    used += n;
                }
                At::Held { left, .. } => {
                    let n = (*left).min(rest.len());
                    self.payload.extend_from_slice(&rest[..n]);
                    *left -= n;
                    used += n;
                }
            }
        }
    }

    fn begin(&mut self, kind: u64, length: u64) -> Result<At, Code> {
        match kind {
            DATA => Ok(At::Data(length)),
            HEADERS | CANCEL_PUSH | SETTINGS | PUSH_PROMISE | GOAWAY | MAX_PUSH_ID => {
                let fits = usize::try_from(length).ok().filter(|length| *length <= self.max_payload);
                self.payload.clear();
                Ok(At::Held { kind, left: fits.ok_or(Code::EXCESSIVE_LOAD)? })
            }
            // RFC 9114 section 7.2.8: kinds of HTTP/2.
            0x02 | 0x06 | 0x08 | 0x09 => Err(Code::FRAME_UNEXPECTED),
            _ => Ok(At::Skipped(length)),
        }
    }

    /// What the last whole frame carries.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Whether the stream may end here: not within a frame.
    #[must_use]
    pub fn is_between_frames(&self) -> bool {
        matches!(self.at, At::Header { len: 0, .. } | At::Data(0) | At::Skipped(0))
    }

    /// Lets go of the memory of the last frame.
    pub fn relieve(&mut self) {
        self.payload = Vec::new();
    }
}

/// Appends the head of a frame; `length` bytes are to follow.
pub fn head(out: &mut Vec<u8>, kind: u64, length: usize) {
    varint::write(out, kind);
    varint::write(out, length as u64);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        head(&mut out, kind, payload.len());
        out.extend_from_slice(payload);
        out
    }

    /// Whole frames, data, and whether the stream may end after them.
    type Taken = (Vec<(u64, Vec<u8>)>, Vec<u8>, bool);

    fn taken(pieces: &[&[u8]]) -> Result<Taken, Code> {
        let mut frames = Frames::new(100);
        let (mut whole, mut data) = (Vec::new(), Vec::new());
        for piece in pieces {
            let mut rest = *piece;
            loop {
                let (used, step) = frames.step(rest)?;
                match step {
                    Step::NeedInput => {
                        assert_eq!(used, rest.len());
                        break;
                    }
                    Step::Data(n) => data.extend_from_slice(&rest[used - n..used]),
                    Step::Whole(kind) => whole.push((kind, frames.payload().to_vec())),
                }
                rest = &rest[used..];
            }
        }
        Ok((whole, data, frames.is_between_frames()))
    }

    #[test]
    fn any_split_says_the_same() {
        let grease = frame(0x21, b"whatever");
        let all = [grease.clone(), frame(HEADERS, b"ab"), frame(DATA, b"hello"), frame(DATA, b""), grease];
        let all = [all.concat(), frame(0x4021, &[7; 300]), frame(HEADERS, b"")].concat();
        let expected = (vec![(HEADERS, b"ab".to_vec()), (HEADERS, vec![])], b"hello".to_vec(), true);
        for at in 0..=all.len() {
            assert_eq!(taken(&[&all[..at], &all[at..]]), Ok(expected.clone()), "{at}");
        }
        let bytes: Vec<&[u8]> = all.chunks(1).collect();
        assert_eq!(taken(&bytes), Ok(expected));
    }

    #[test]
    fn what_is_held_is_limited_and_what_is_not_is_not() {
        assert_eq!(taken(&[&frame(HEADERS, &[0; 101])]), Err(Code::EXCESSIVE_LOAD));
        let mut huge = Vec::new();
        varint::write(&mut huge, SETTINGS);
        varint::write(&mut huge, varint::MAX);
        assert_eq!(taken(&[&huge]), Err(Code::EXCESSIVE_LOAD));
        let long = frame(DATA, &[1; 1000]);
        assert_eq!(taken(&[&long]).unwrap().1.len(), 1000);
        assert!(!taken(&[&long[..500]]).unwrap().2, "it ends within a frame");
    }

    #[test]
    fn frames_of_http2_have_no_place() {
        for kind in [0x02, 0x06, 0x08, 0x09] {
            assert_eq!(taken(&[&frame(kind, b"")]), Err(Code::FRAME_UNEXPECTED));
        }
    }
}
