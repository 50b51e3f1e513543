//! One stream of an HTTP/2 connection, seen as an HTTP/1.1 connection that carries one exchange.
//!
//! So the exchange (routes, servers, deadlines, records) is written once. Flow control goes end to end: data is taken
//! off the connection when the exchange asks for it, and sent as the peer's window allows.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;
use pancake_engine::seam::Idle;
use pancake_engine::{Buf, Engine, Parts, Stream, Time, Want};
use pancake_wire::h1::emit;

use super::request::Follows;
use super::response::{Answer, Event};
use crate::stream;

/// A stream that a client opened.
pub(crate) struct H2Stream<E: Engine> {
    engine: E,
    peer: SocketAddr,
    local: SocketAddr,
    request: RefCell<Incoming>,
    answer: RefCell<Outgoing>,
    resets: Cell<bool>,
}

/// The request as it comes.
struct Incoming {
    head: Option<Vec<u8>>,
    body: RecvStream,
    follows: Follows,
}

/// The answer as it goes.
struct Outgoing {
    translator: Answer,
    respond: SendResponse<Bytes>,
    /// Once the head was sent.
    body: Option<SendStream<Bytes>>,
    ended: bool,
}

fn broken(error: h2::Error) -> io::Error {
    let kind = match error.reason() {
        Some(Reason::CANCEL | Reason::NO_ERROR) => io::ErrorKind::ConnectionReset,
        _ => io::ErrorKind::ConnectionAborted,
    };
    io::Error::new(kind, error)
}

impl<E: Engine> H2Stream<E> {
    /// `head` is the request in HTTP/1.1.
    pub(super) fn new(
        engine: E,
        (peer, local): (SocketAddr, SocketAddr),
        (head, follows): (Vec<u8>, Follows),
        (body, respond): (RecvStream, SendResponse<Bytes>),
        head_request: bool,
    ) -> H2Stream<E> {
        H2Stream {
            engine,
            peer,
            local,
            request: RefCell::new(Incoming { head: Some(head), body, follows }),
            answer: RefCell::new(Outgoing {
                translator: Answer::new(head_request),
                respond,
                body: None,
                ended: false,
            }),
            resets: Cell::new(false),
        }
    }

    /// The next bytes of the request. After its end: nothing, until the answer is over or the client gives up.
    fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<io::Result<Buf>> {
        let incoming = &mut *self.request.borrow_mut();
        if let Some(head) = incoming.head.take() {
            return Poll::Ready(Ok(Buf::from_vec(head)));
        }
        match incoming.follows {
            Follows::Nothing => {}
            Follows::Length | Follows::Tunnel | Follows::Chunks => match incoming.body.poll_data(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(broken(error))),
                Poll::Ready(Some(Ok(data))) => {
                    // It fails only for a stream that is gone, which the next call notices.
                    let _ = incoming.body.flow_control().release_capacity(data.len());
                    if data.is_empty() {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    if incoming.follows != Follows::Chunks {
                        return Poll::Ready(Ok(Buf::from_vec(data.into())));
                    }
                    let mut chunk = Vec::with_capacity(data.len() + 16);
                    emit::chunk_head(&mut chunk, data.len());
                    chunk.extend_from_slice(&data);
                    chunk.extend_from_slice(b"\r\n");
                    return Poll::Ready(Ok(Buf::from_vec(chunk)));
                }
                Poll::Ready(None) => {
                    let trailers = std::task::ready!(incoming.body.poll_trailers(cx)).map_err(broken)?;
                    match std::mem::replace(&mut incoming.follows, Follows::Nothing) {
                        Follows::Chunks => {
                            let mut last = Vec::new();
                            emit::last_chunk(&mut last, &lines(trailers.as_ref()));
                            return Poll::Ready(Ok(Buf::from_vec(last)));
                        }
                        Follows::Tunnel => {
                            incoming.follows = Follows::Tunnel;
                            return Poll::Ready(Ok(Buf::empty()));
                        }
                        Follows::Length | Follows::Nothing => {}
                    }
                }
            },
        }
        let answer = &mut *self.answer.borrow_mut();
        if answer.ended {
            return Poll::Ready(Ok(Buf::empty()));
        }
        let reset = match &mut answer.body {
            Some(body) => body.poll_reset(cx),
            None => answer.respond.poll_reset(cx),
        };
        reset.map(|_| Err(io::ErrorKind::ConnectionReset.into()))
    }

    /// Sends one piece of the body as far as the window goes; the rest stays.
    fn poll_data(&self, cx: &mut Context<'_>, data: &mut Bytes, ends: bool) -> Poll<io::Result<()>> {
        let answer = &mut *self.answer.borrow_mut();
        let Some(body) = &mut answer.body else { return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())) };
        loop {
            if data.is_empty() {
                if ends && !answer.ended {
                    answer.ended = true;
                    body.send_data(Bytes::new(), true).map_err(broken)?;
                }
                return Poll::Ready(Ok(()));
            }
            body.reserve_capacity(data.len());
            let room = match body.capacity() {
                0 => match std::task::ready!(body.poll_capacity(cx)) {
                    Some(Ok(room)) => room,
                    Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                    None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                },
                room => room,
            };
            if room == 0 {
                continue;
            }
            let piece = data.split_to(room.min(data.len()));
            let last = ends && data.is_empty();
            answer.ended |= last;
            body.send_data(piece, last).map_err(broken)?;
        }
    }

    fn event(&self, event: Event) -> io::Result<Option<(Bytes, bool)>> {
        let answer = &mut *self.answer.borrow_mut();
        match event {
            Event::Interim(head) => {
                // An interim answer is a courtesy: who cannot have it goes without.
                let _ = answer.respond.send_informational(head);
            }
            Event::Head(head, ends) => {
                let body = answer.respond.send_response(head, ends).map_err(broken)?;
                answer.ended = ends;
                answer.body = Some(body);
            }
            Event::Data(data, ends) => return Ok(Some((data, ends))),
            Event::Trailers(trailers) => {
                if let Some(body) = &mut answer.body {
                    body.send_trailers(trailers).map_err(broken)?;
                    answer.ended = true;
                }
            }
        }
        Ok(None)
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

/// Fields as `name: value CRLF` lines.
pub(super) fn lines(fields: Option<&HeaderMap>) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields.into_iter().flatten() {
        emit::field(&mut out, name.as_str().as_bytes(), value.as_bytes());
    }
    out
}

impl<E: Engine> Stream for H2Stream<E> {
    async fn recv(&self, _want: Want, until: Time) -> io::Result<Buf> {
        self.by(until, |cx| self.poll_recv(cx)).await
    }

    fn is_quiet(&self) -> bool {
        false
    }

    async fn send(&self, parts: Parts, until: Time) -> io::Result<()> {
        let mut events = Vec::with_capacity(2);
        let taken = self.answer.borrow_mut().translator.take(parts.iter(), &mut events);
        taken.map_err(|_| io::Error::other("the answer has no form in HTTP/2"))?;
        drop(parts);
        for event in events {
            if let Some((mut data, ends)) = self.event(event)? {
                self.by(until, |cx| self.poll_data(cx, &mut data, ends)).await?;
            }
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
        let answer = &mut *self.answer.borrow_mut();
        if answer.translator.is_tunnel()
            && !answer.ended
            && let Some(body) = &mut answer.body
        {
            answer.ended = true;
            return body.send_data(Bytes::new(), true).map_err(broken);
        }
        Ok(())
    }

    fn reset_on_drop(&self) {
        self.resets.set(true);
    }

    fn set_keepalive(&self, _after: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

impl<E: Engine> Drop for H2Stream<E> {
    fn drop(&mut self) {
        let answer = self.answer.get_mut();
        if answer.ended && answer.translator.is_over() {
            return;
        }
        // RFC 9113 section 7: what was cut off must not be taken for whole.
        let reason = if self.resets.get() { Reason::INTERNAL_ERROR } else { Reason::CANCEL };
        match &mut answer.body {
            Some(body) => body.send_reset(reason),
            None => answer.respond.send_reset(reason),
        }
    }
}
