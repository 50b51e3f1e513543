//! An answer in HTTP/1.1, as the exchange writes it, taken apart for HTTP/2 and HTTP/3.
//!
//! In: bytes in any pieces. Out: head, data, end. Pure: what is done with them is for the caller.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use pancake_wire::h1::body::{Chunked, State};
use pancake_wire::h1::head::{self, Framing, Known, Limits, ResponseHead};

use crate::limits::{MAX_FIELDS, MAX_RESPONSE_HEAD_BYTES};

/// What comes next.
pub(crate) enum Event {
    /// An interim answer.
    Interim(Response<()>),
    /// The head of the answer; whether nothing follows.
    Head(Response<()>, bool),
    /// Bytes of the body; whether they are the last.
    Data(Bytes, bool),
    /// The trailer section, after the last of the body.
    Trailers(HeaderMap),
}

/// The answer is none that HTTP/2 and HTTP/3 can carry: a fault of this proxy.
#[derive(Debug)]
pub(crate) struct Untranslatable;

/// Where in the answer the next byte stands.
enum At {
    Head,
    Length(u64),
    Chunks(Box<Chunked>),
    Tunnel,
    End,
}

/// The translator of one answer.
pub(crate) struct Answer {
    at: At,
    head_request: bool,
    pending: Vec<u8>,
}

impl Answer {
    /// `head_request`: the answer has no body, whatever its head says.
    pub(crate) fn new(head_request: bool) -> Answer {
        Answer { at: At::Head, head_request, pending: Vec::new() }
    }

    /// Only a body, of any message whose head was read elsewhere.
    pub(super) fn body_of(framing: Framing) -> Answer {
        let at = match framing {
            Framing::Empty | Framing::Length(0) | Framing::UntilClose => At::End,
            Framing::Length(length) => At::Length(length),
            Framing::Chunked => At::Chunks(Box::default()),
        };
        Answer { at, ..Answer::new(false) }
    }

    /// Whether the whole answer has been taken.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.at, At::End)
    }

    /// Whether the connection carries another protocol from here on.
    pub(crate) fn is_tunnel(&self) -> bool {
        matches!(self.at, At::Tunnel)
    }

    /// Takes bytes; says what was in them.
    pub(crate) fn take<'a>(
        &mut self,
        pieces: impl Iterator<Item = &'a [u8]>,
        events: &mut Vec<Event>,
    ) -> Result<(), Untranslatable> {
        let mut data = BytesMut::new();
        for piece in pieces {
            let mut piece = piece;
            while let At::Head = self.at {
                self.pending.extend_from_slice(piece);
                piece = &[];
                if !self.head(events)? {
                    break;
                }
                let rest = std::mem::take(&mut self.pending);
                self.body(&rest, &mut data)?;
            }
            self.body(piece, &mut data)?;
        }
        let trailers = match &self.at {
            At::Chunks(decoder) if decoder.is_done() => {
                let trailers = trailers(decoder.trailers())?;
                self.at = At::End;
                trailers
            }
            At::Length(0) => {
                self.at = At::End;
                None
            }
            At::Tunnel | At::Head | At::Length(_) | At::Chunks(_) => {
                if !data.is_empty() {
                    events.push(Event::Data(data.freeze(), false));
                }
                return Ok(());
            }
            At::End => return Ok(()),
        };
        match trailers {
            None => events.push(Event::Data(data.freeze(), true)),
            Some(trailers) => {
                if !data.is_empty() {
                    events.push(Event::Data(data.freeze(), false));
                }
                events.push(Event::Trailers(trailers));
            }
        }
        Ok(())
    }

    /// Reads a head at the front of `pending`; false if it is not whole yet.
    fn head(&mut self, events: &mut Vec<Event>) -> Result<bool, Untranslatable> {
        let limits = Limits { max_head_bytes: MAX_RESPONSE_HEAD_BYTES, max_fields: 2 * MAX_FIELDS };
        let mut parsed = ResponseHead::default();
        let used = match head::parse_response(&self.pending, &limits, &mut parsed) {
            Ok(Some(used)) => used,
            Ok(None) => return Ok(false),
            Err(_) => return Err(Untranslatable),
        };
        let mut response = Response::new(());
        let switches = parsed.status == 101;
        // RFC 8441 section 4: the agreement to a protocol is a success.
        let status = if switches { 200 } else { parsed.status };
        *response.status_mut() = StatusCode::from_u16(status).map_err(|_| Untranslatable)?;
        for field in &parsed.fields {
            let name = field.name.of(&self.pending);
            let hop = match field.known {
                Known::Connection | Known::KeepAlive | Known::ProxyConnection => true,
                Known::TransferEncoding | Known::Upgrade | Known::Te => true,
                _ => switches && name.eq_ignore_ascii_case(b"sec-websocket-accept"),
            };
            if hop {
                continue;
            }
            let name = HeaderName::from_bytes(name).map_err(|_| Untranslatable)?;
            let value = HeaderValue::from_bytes(field.value.of(&self.pending)).map_err(|_| Untranslatable)?;
            response.headers_mut().append(name, value);
        }
        self.pending.drain(..used);
        if switches {
            self.at = At::Tunnel;
            events.push(Event::Head(response, false));
            return Ok(true);
        }
        if parsed.status < 200 {
            events.push(Event::Interim(response));
            return Ok(true);
        }
        let (at, ends) = match parsed.framing(self.head_request) {
            Framing::Empty | Framing::Length(0) => (At::End, true),
            Framing::Length(length) => (At::Length(length), false),
            Framing::Chunked => (At::Chunks(Box::default()), false),
            Framing::UntilClose => return Err(Untranslatable),
        };
        self.at = at;
        events.push(Event::Head(response, ends));
        Ok(true)
    }

    fn body(&mut self, mut bytes: &[u8], data: &mut BytesMut) -> Result<(), Untranslatable> {
        match &mut self.at {
            At::Head => self.pending.extend_from_slice(bytes),
            At::End if bytes.is_empty() => {}
            At::End => return Err(Untranslatable),
            At::Tunnel => data.extend_from_slice(bytes),
            At::Length(left) => {
                *left = left.checked_sub(bytes.len() as u64).ok_or(Untranslatable)?;
                data.extend_from_slice(bytes);
            }
            At::Chunks(decoder) => {
                while !bytes.is_empty() {
                    let step = decoder.step(bytes).map_err(|_| Untranslatable)?;
                    if let Some(range) = step.data {
                        data.extend_from_slice(&bytes[range]);
                    }
                    bytes = &bytes[step.consumed..];
                    match step.state {
                        State::More => {}
                        State::NeedInput => break,
                        State::Done if bytes.is_empty() => break,
                        State::Done => return Err(Untranslatable),
                    }
                }
            }
        }
        Ok(())
    }
}

/// `name: value CRLF` lines as fields; none if there is no line.
fn trailers(lines: &[u8]) -> Result<Option<HeaderMap>, Untranslatable> {
    let mut fields = HeaderMap::new();
    for line in lines.split(|&b| b == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()) {
        let at = line.iter().position(|&b| b == b':').ok_or(Untranslatable)?;
        let name = HeaderName::from_bytes(&line[..at]).map_err(|_| Untranslatable)?;
        let value = HeaderValue::from_bytes(line[at + 1..].trim_ascii()).map_err(|_| Untranslatable)?;
        fields.append(name, value);
    }
    Ok((!fields.is_empty()).then_some(fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a message cut at `at` is taken apart into: statuses, body, whether it ended, trailers.
    fn taken(message: &[u8], at: usize) -> (Vec<u16>, Vec<u8>, bool, Option<HeaderMap>) {
        let mut answer = Answer::new(false);
        let mut events = Vec::new();
        for piece in [&message[..at], &message[at..]] {
            answer.take([piece].into_iter(), &mut events).unwrap();
        }
        let (mut statuses, mut body, mut ended, mut fields) = (Vec::new(), Vec::new(), false, None);
        for event in events {
            assert!(!ended, "nothing follows the end");
            match event {
                Event::Interim(head) => statuses.push(head.status().as_u16()),
                Event::Head(head, ends) => {
                    assert!(!head.headers().contains_key("connection"));
                    statuses.push(head.status().as_u16());
                    ended = ends;
                }
                Event::Data(bytes, ends) => {
                    body.extend_from_slice(&bytes);
                    ended = ends;
                }
                Event::Trailers(found) => {
                    ended = true;
                    fields = Some(found);
                }
            }
        }
        assert_eq!(ended, answer.is_over());
        (statuses, body, ended, fields)
    }

    #[test]
    fn any_split_says_the_same() {
        let sized = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
        let chunked =
            b"HTTP/1.1 103 Early\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                        3\r\nhel\r\n2\r\nlo\r\n0\r\ngrpc-status: 0\r\n\r\n";
        for at in 0..=sized.len() {
            assert_eq!(taken(sized, at), (vec![200], b"hello".to_vec(), true, None), "{at}");
        }
        for at in 0..=chunked.len() {
            let (statuses, body, ended, fields) = taken(chunked, at);
            assert_eq!((statuses, &body[..], ended), (vec![103, 200], &b"hello"[..], true), "{at}");
            assert_eq!(fields.unwrap()["grpc-status"], "0");
        }
    }

    #[test]
    fn an_answer_without_body_ends_with_its_head() {
        for message in
            [&b"HTTP/1.1 204 No Content\r\n\r\n"[..], b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]
        {
            let (statuses, body, ended, _) = taken(message, 3);
            assert!(ended && body.is_empty() && statuses.len() == 1);
        }
    }

    #[test]
    fn after_101_the_bytes_are_somebody_elses() {
        let message =
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n\x01\x02";
        let (statuses, body, ended, _) = taken(message, 20);
        assert_eq!((statuses, &body[..], ended), (vec![200], &b"\x01\x02"[..], false));
    }
}
