//! A request stream of an HTTP/3 connection, seen as an HTTP/1.1 connection that carries one exchange.
//!
//! So the exchange (routes, servers, deadlines, records) is written once. Flow control goes end to end: bytes are taken off
//! the stream when the exchange asks for them, and sent as the peer's window allows.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use pancake_engine::seam::Idle;
use pancake_engine::{Buf, Engine, Parts, Stream, Time, Want};
use pancake_wire::h1::emit;
use pancake_wire::h3::{Code, frame, qpack};

use super::request::{Body, Piece, Request, gone};
use crate::http2::request::{self as form, Follows};
use crate::http2::response::{Answer, Event};
use crate::quic::stream::Bidi;
use crate::stream;

/// A request stream.
pub(crate) struct H3Stream<E: Engine> {
    engine: E,
    stream: Bidi<E>,
    addresses: (SocketAddr, SocketAddr),
    request: RefCell<Incoming>,
    translator: RefCell<Answer>,
    /// The whole answer was sent.
    ended: Rc<Cell<bool>>,
}

/// The request as it comes.
struct Incoming {
    head: Option<Vec<u8>>,
    body: Body,
    follows: Follows,
}

impl<E: Engine> H3Stream<E> {
    /// None if the request cannot be said in HTTP/1.1; the client has been told.
    pub(super) fn new(engine: E, stream: Bidi<E>, request: Request) -> Option<H3Stream<E>> {
        let Request { parts, protocol, mut body } = request;
        let mut key = [0; 16];
        key[..8].copy_from_slice(&engine.random().to_ne_bytes());
        key[8..].copy_from_slice(&engine.random().to_ne_bytes());
        let head = match body.has_ended(&stream, &Context::from_waker(Waker::noop())) {
            Ok(ends) => form::head(&parts, protocol.as_deref(), ends, key).ok(),
            Err(_) => None,
        };
        let Some((head, follows)) = head else {
            stream.refuse(Code::MESSAGE_ERROR);
            return None;
        };
        Some(H3Stream {
            addresses: stream.connection.addresses(),
            engine,
            stream,
            request: RefCell::new(Incoming { head: Some(head), body, follows }),
            translator: RefCell::new(Answer::new(parts.method == Method::HEAD)),
            ended: Rc::default(),
        })
    }

    /// Tells, after this is gone too, whether the whole answer was sent.
    pub(super) fn ended(&self) -> Rc<Cell<bool>> {
        self.ended.clone()
    }

    /// The next bytes of the request. After its end: nothing, until the answer is over or the client gives up.
    fn poll_recv(&self, cx: &Context<'_>) -> Poll<io::Result<Buf>> {
        let incoming = &mut *self.request.borrow_mut();
        if let Some(head) = incoming.head.take() {
            return Poll::Ready(Ok(Buf::from_vec(head)));
        }
        if incoming.follows != Follows::Nothing {
            match ready!(incoming.body.poll_piece(&self.stream, cx))? {
                Piece::Data(data) if incoming.follows == Follows::Chunks => {
                    let mut chunk = Vec::with_capacity(data.len() + 16);
                    emit::chunk_head(&mut chunk, data.len());
                    chunk.extend_from_slice(&data);
                    chunk.extend_from_slice(b"\r\n");
                    return Poll::Ready(Ok(Buf::from_vec(chunk)));
                }
                Piece::Data(data) => return Poll::Ready(Ok(Buf::from_vec(data))),
                Piece::End(trailers) => match incoming.follows {
                    Follows::Chunks => {
                        incoming.follows = Follows::Nothing;
                        let (mut last, mut lines) = (Vec::new(), Vec::new());
                        for (name, value) in trailers {
                            emit::field(&mut lines, &name, &value);
                        }
                        emit::last_chunk(&mut last, &lines);
                        return Poll::Ready(Ok(Buf::from_vec(last)));
                    }
                    Follows::Tunnel => return Poll::Ready(Ok(Buf::empty())),
                    Follows::Length | Follows::Nothing => incoming.follows = Follows::Nothing,
                },
            }
        }
        if self.stream.is_sent() {
            return Poll::Ready(Ok(Buf::empty()));
        }
        self.stream.poll_stopped(cx).map(|broken| Err(gone(broken)))
    }

    /// Sends what the exchange said.
    async fn say(&self, event: Event, until: Time) -> io::Result<()> {
        let (mut bytes, ends) = match event {
            Event::Interim(response) => (section(Some(response.status()), response.headers()), false),
            Event::Head(response, ends) => (section(Some(response.status()), response.headers()), ends),
            Event::Trailers(trailers) => (section(None, &trailers), true),
            Event::Data(data, ends) if data.is_empty() => ([data, Bytes::new()], ends),
            Event::Data(data, ends) => {
                let mut head = Vec::new();
                frame::head(&mut head, frame::DATA, data.len());
                ([head.into(), data], ends)
            }
        };
        self.by(until, |cx| self.stream.poll_write(&mut bytes, cx).map_err(gone)).await?;
        if ends {
            self.stream.finish();
            self.ended.set(true);
        }
        Ok(())
    }

    /// `poll` until it is ready or `until` passes.
    async fn by<T>(
        &self,
        until: Time,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> io::Result<T> {
        let mut sleep: Option<E::Sleep> = None;
        poll_fn(|cx| {
            if let Poll::Ready(done) = poll(cx) {
                return Poll::Ready(done);
            }
            if until == Time::NEVER {
                return Poll::Pending;
            }
            let sleep = sleep.get_or_insert_with(|| self.engine.sleep_until(until));
            Pin::new(sleep).poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
        })
        .await
    }
}

/// A field section as a frame.
fn section(status: Option<http::StatusCode>, fields: &HeaderMap) -> [Bytes; 2] {
    let (mut block, mut head) = (Vec::with_capacity(256), Vec::new());
    qpack::begin(&mut block);
    if let Some(status) = status {
        qpack::field(&mut block, b":status", status.as_str().as_bytes());
    }
    for (name, value) in fields {
        qpack::field(&mut block, name.as_str().as_bytes(), value.as_bytes());
    }
    frame::head(&mut head, frame::HEADERS, block.len());
    [head.into(), block.into()]
}

impl<E: Engine> Stream for H3Stream<E> {
    async fn recv(&self, _want: Want, until: Time) -> io::Result<Buf> {
        self.by(until, |cx| self.poll_recv(cx)).await
    }

    fn is_quiet(&self) -> bool {
        false
    }

    async fn send(&self, parts: Parts, until: Time) -> io::Result<()> {
        let mut events = Vec::with_capacity(2);
        let taken = self.translator.borrow_mut().take(parts.iter(), &mut events);
        taken.map_err(|_| io::Error::other("the answer has no form in HTTP/3"))?;
        drop(parts);
        for event in events {
            self.say(event, until).await?;
        }
        Ok(())
    }

    async fn splice(&self, to: &Self, limit: u64, idle: &Idle, moved: &Cell<u64>) -> io::Result<u64> {
        stream::copy(self, to, limit, idle, moved).await
    }

    fn try_send(&self, _bytes: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn shutdown(&self) -> io::Result<()> {
        if self.translator.borrow().is_tunnel() {
            self.stream.finish();
            self.ended.set(true);
        }
        Ok(())
    }

    fn reset_on_drop(&self) {
        self.stream.excuse(Code::INTERNAL_ERROR);
    }

    fn set_keepalive(&self, _after: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn peer_addr(&self) -> SocketAddr {
        self.addresses.0
    }

    fn local_addr(&self) -> SocketAddr {
        self.addresses.1
    }
}
