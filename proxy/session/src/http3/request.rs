//! A request as it comes: head, body, trailers (RFC 9114 section 4.1).

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Uri};
use pancake_engine::Engine;
use pancake_wire::h3::frame::{self, Frames, Step};
use pancake_wire::h3::qpack::{self, Field, Refused};
use pancake_wire::h3::{Code, request};

use super::Shared;
use crate::limits::H3_READ_BYTES;
use crate::quic::connection::Broken;
use crate::quic::stream::Bidi;

/// A request whose head has come.
pub(super) struct Request {
    pub(super) parts: Parts,
    /// `:protocol` of an extended `CONNECT` (RFC 9220).
    pub(super) protocol: Option<String>,
    pub(super) body: Body,
}

impl Request {
    /// Whether it changes nothing (RFC 9110 section 9.2.1).
    pub(super) fn is_safe(&self) -> bool {
        self.parts.method.is_safe()
    }

    /// Tells the server that the request may be somebody's repetition (RFC 8470 section 5.1).
    pub(super) fn mark_early(&mut self) {
        self.parts.headers.insert("early-data", HeaderValue::from_static("1"));
    }
}

/// Why there is no request; the client has been told.
#[derive(Debug)]
pub(super) struct Refusal;

/// What comes of a body.
pub(super) enum Piece {
    /// Some of it.
    Data(Vec<u8>),
    /// Its end, and the trailers.
    End(Vec<Field>),
}

/// What follows the head.
pub(super) struct Body {
    frames: Frames,
    held: Bytes,
    /// Bytes that are to come, if the head says how many.
    left: Option<u64>,
    trailers: Option<Vec<Field>>,
    max_bytes: usize,
}

/// Counts the bytes of a head that is not whole.
struct InHead<'a, E: Engine>(&'a Shared<E>, usize);

impl<E: Engine> Drop for InHead<'_, E> {
    fn drop(&mut self) {
        self.0.in_heads.set(self.0.in_heads.get() - self.1);
    }
}

/// Reads the head of a request. What is wrong with it is told to the client.
pub(super) async fn read<E: Engine>(shared: &Rc<Shared<E>>, stream: &Bidi<E>) -> Result<Request, Refusal> {
    let max_bytes = shared.connection.endpoint.entry.max_head_bytes;
    let mut body =
        Body { frames: Frames::new(max_bytes), held: Bytes::new(), left: None, trailers: None, max_bytes };
    let mut in_head = InHead(shared, 0);
    loop {
        let (used, step) = match body.frames.step(&body.held) {
            Ok(done) => done,
            Err(Code::EXCESSIVE_LOAD) => return Err(too_large(stream).await),
            Err(code) => return Err(broken(stream, code)),
        };
        body.held.advance(used);
        match step {
            Step::Whole(frame::HEADERS) => break,
            Step::Whole(_) | Step::Data(_) => return Err(broken(stream, Code::FRAME_UNEXPECTED)),
            Step::NeedInput => {}
        }
        body.held = match poll_fn(|cx| stream.poll_read(cx)).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) if body.frames.is_between_frames() => {
                stream.refuse(Code::REQUEST_INCOMPLETE);
                return Err(Refusal);
            }
            Ok(None) => return Err(broken(stream, Code::FRAME_ERROR)),
            Err(_) => return Err(Refusal),
        };
        in_head.1 += body.held.len();
        shared.in_heads.set(shared.in_heads.get() + body.held.len());
        // One large head may come at a time, and small ones beside it.
        if shared.in_heads.get() > 2 * max_bytes {
            stream.refuse(Code::EXCESSIVE_LOAD);
            return Err(Refusal);
        }
    }
    let fields = match qpack::decode(body.frames.payload(), max_bytes) {
        Ok(fields) => fields,
        Err(Refused::Malformed) => return Err(broken(stream, Code::QPACK_DECOMPRESSION_FAILED)),
        Err(Refused::TooLong) => return Err(too_large(stream).await),
    };
    body.frames.relieve();
    let Some((parts, protocol, length)) = parts(fields) else {
        stream.refuse(Code::MESSAGE_ERROR);
        return Err(Refusal);
    };
    body.left = length;
    Ok(Request { parts, protocol, body })
}

/// An error of the connection (RFC 9114 section 8).
fn broken<E: Engine>(stream: &Bidi<E>, code: Code) -> Refusal {
    stream.connection.close(code);
    Refusal
}

/// Answers 431 (RFC 9114 section 4.2.2).
async fn too_large<E: Engine>(stream: &Bidi<E>) -> Refusal {
    let (mut section, mut head) = (Vec::new(), Vec::new());
    qpack::begin(&mut section);
    qpack::field(&mut section, b":status", b"431");
    frame::head(&mut head, frame::HEADERS, section.len());
    head.extend_from_slice(&section);
    let mut bytes = [Bytes::from(head)];
    if poll_fn(|cx| stream.poll_write(&mut bytes, cx)).await.is_ok() {
        stream.finish();
    }
    Refusal
}

/// The fields of a request as the `http` crate has them; none if it is malformed.
fn parts(fields: Vec<Field>) -> Option<(Parts, Option<String>, Option<u64>)> {
    let request = request::read(fields).ok()?;
    let mut uri = Uri::builder();
    if let Some(scheme) = &request.scheme {
        uri = uri.scheme(&scheme[..]);
    }
    // Without `:authority` the host stands in `Host`; a URI must have one, which nobody looks at then.
    let host = request.fields.iter().find(|(name, _)| name == b"host");
    match (&request.authority, host) {
        (Some(authority), _) => uri = uri.authority(&authority[..]),
        (None, Some((_, host))) => uri = uri.authority(&host[..]),
        (None, None) => return None,
    }
    if let Some(path) = &request.path {
        uri = uri.path_and_query(&path[..]);
    }
    let method = Method::from_bytes(&request.method).ok()?;
    let mut built = http::Request::builder().method(method).uri(uri.build().ok()?).body(()).ok()?;
    for (name, value) in request.fields {
        let name = HeaderName::from_lowercase(&name).ok()?;
        built.headers_mut().append(name, HeaderValue::from_bytes(&value).ok()?);
    }
    let protocol = match request.protocol {
        Some(protocol) => Some(String::from_utf8(protocol).ok().filter(|name| is_token(name))?),
        None => None,
    };
    Some((built.into_parts().0, protocol, request.length))
}

/// A name that may stand in `Upgrade` (RFC 9110 section 7.8).
fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._+".contains(&byte))
}

impl Body {
    /// Whether nothing follows the head, as far as is known.
    pub(super) fn has_ended<E: Engine>(&mut self, stream: &Bidi<E>, cx: &Context<'_>) -> Result<bool, Code> {
        loop {
            if !self.held.is_empty() {
                return Ok(false);
            }
            match stream.poll_read(cx) {
                Poll::Ready(Ok(Some(bytes))) => self.held = bytes,
                Poll::Ready(Ok(None)) if self.left.unwrap_or(0) > 0 => return Err(Code::MESSAGE_ERROR),
                Poll::Ready(Ok(None)) => return Ok(true),
                Poll::Ready(Err(_)) | Poll::Pending => return Ok(false),
            }
        }
    }

    /// The next piece, as large as it can be had at once.
    pub(super) fn poll_piece<E: Engine>(
        &mut self,
        stream: &Bidi<E>,
        cx: &Context<'_>,
    ) -> Poll<io::Result<Piece>> {
        let mut data = Vec::new();
        loop {
            let (used, step) = match self.frames.step(&self.held) {
                Ok(done) => done,
                Err(code) => return Poll::Ready(Err(self.fail(stream, code))),
            };
            let bytes = self.held.split_to(used);
            match step {
                Step::Data(_) if self.trailers.is_some() => {
                    return Poll::Ready(Err(self.fail(stream, Code::FRAME_UNEXPECTED)));
                }
                Step::Data(count) => {
                    if let Some(left) = &mut self.left {
                        let Some(rest) = left.checked_sub(count as u64) else {
                            return Poll::Ready(Err(malformed(stream)));
                        };
                        *left = rest;
                    }
                    data.extend_from_slice(&bytes[used - count..]);
                    if data.len() >= H3_READ_BYTES {
                        return Poll::Ready(Ok(Piece::Data(data)));
                    }
                    continue;
                }
                Step::Whole(frame::HEADERS) if self.trailers.is_none() => {
                    match qpack::decode(self.frames.payload(), self.max_bytes) {
                        Ok(fields) if request::check_trailers(&fields).is_ok() => {
                            self.trailers = Some(fields)
                        }
                        Err(Refused::Malformed) => {
                            return Poll::Ready(Err(self.fail(stream, Code::QPACK_DECOMPRESSION_FAILED)));
                        }
                        Ok(_) | Err(Refused::TooLong) => return Poll::Ready(Err(malformed(stream))),
                    }
                    continue;
                }
                Step::Whole(_) => return Poll::Ready(Err(self.fail(stream, Code::FRAME_UNEXPECTED))),
                Step::NeedInput => {}
            }
            match stream.poll_read(cx) {
                Poll::Ready(Ok(Some(bytes))) => self.held = bytes,
                Poll::Pending | Poll::Ready(Ok(None)) if !data.is_empty() => {
                    return Poll::Ready(Ok(Piece::Data(data)));
                }
                other => {
                    let end = ready!(other).map_err(gone)?;
                    debug_assert!(end.is_none());
                    if !self.frames.is_between_frames() {
                        return Poll::Ready(Err(self.fail(stream, Code::FRAME_ERROR)));
                    }
                    if self.left.unwrap_or(0) > 0 {
                        return Poll::Ready(Err(malformed(stream)));
                    }
                    return Poll::Ready(Ok(Piece::End(self.trailers.take().unwrap_or_default())));
                }
            }
        }
    }

    fn fail<E: Engine>(&self, stream: &Bidi<E>, code: Code) -> io::Error {
        stream.connection.close(code);
        io::ErrorKind::ConnectionAborted.into()
    }
}

/// A message that breaks its own rules (RFC 9114 section 4.1.2): an error of the stream.
fn malformed<E: Engine>(stream: &Bidi<E>) -> io::Error {
    stream.refuse(Code::MESSAGE_ERROR);
    io::ErrorKind::ConnectionAborted.into()
}

/// What the exchange is told of a stream that is gone.
pub(super) fn gone(broken: Broken) -> io::Error {
    match broken {
        Broken::ByPeer => io::ErrorKind::ConnectionReset.into(),
        Broken::Gone => io::ErrorKind::ConnectionAborted.into(),
    }
}
