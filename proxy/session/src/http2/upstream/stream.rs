//! One stream of an HTTP/2 connection to a server, seen as an HTTP/1.1 connection that carries one exchange.
//!
//! Flow control goes end to end: data is taken off the connection when the exchange asks for it, and sent as the server's
//! window allows. Dropped before both messages are over, the stream is reset with CANCEL.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{Method, Response, StatusCode};
use pancake_engine::seam::Idle;
use pancake_engine::{Buf, Engine, Parts, Stream, Time, Want};
use pancake_wire::h1::emit;
use pancake_wire::h1::head::Framing;

use super::answer::{self, Follows};
use super::{OpenStream, request};
use crate::http2::by;
use crate::http2::response::{Answer, Event};
use crate::http2::stream::lines;
use crate::stream;

/// A stream to a server.
pub(crate) struct ServerStream<E: Engine> {
    open: OpenStream<E>,
    going: RefCell<Going>,
    coming: RefCell<Coming>,
    /// The server has said that it did nothing about the request (RFC 9113 sections 6.8 and 8.7), or its connection,
    /// which had served others before, ended without another byte.
    untouched: Cell<bool>,
    /// When it was opened, if the connection had served others before.
    kept_since: Option<Time>,
}

/// The request as it goes.
struct Going {
    sender: SendRequest<Bytes>,
    /// Once the head was sent: what follows it, and where it goes.
    body: Option<(Answer, SendStream<Bytes>)>,
    ended: bool,
}

/// The answer as it comes.
enum Coming {
    /// The request was not sent yet. Who waits already is woken then.
    Unasked(Option<Waker>),
    Awaited(ResponseFuture, bool),
    Body(RecvStream, Follows),
    Over,
    /// The request has no form in HTTP/2.
    Unsayable,
}

impl<E: Engine> ServerStream<E> {
    pub(super) fn new(
        open: OpenStream<E>,
        sender: SendRequest<Bytes>,
        kept_since: Option<Time>,
    ) -> ServerStream<E> {
        ServerStream {
            open,
            going: RefCell::new(Going { sender, body: None, ended: false }),
            coming: RefCell::new(Coming::Unasked(None)),
            untouched: Cell::new(false),
            kept_since,
        }
    }

    /// Whether the server did nothing about the request, as far as can be known: then it may be sent again. That a kept
    /// connection was closed before it came is assumed as with HTTP/1.1.
    pub(crate) fn is_untouched(&self) -> bool {
        self.untouched.get()
    }

    fn failed(&self, error: h2::Error) -> io::Error {
        let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
        let closed = error.is_io() && self.kept_since.is_some_and(|since| self.open.0.heard.get() <= since);
        if closed || error.is_remote() && (error.is_go_away() || refused) {
            self.untouched.set(true);
        }
        let kind = match error.is_library() {
            true => io::ErrorKind::InvalidData,
            false => io::ErrorKind::ConnectionReset,
        };
        io::Error::new(kind, error)
    }

    /// Sends the head at the front of `bytes`; how much of them it was.
    fn send_head(&self, bytes: &[u8]) -> io::Result<usize> {
        let Ok(head) = request::head(bytes, self.open.0.secure) else {
            self.ask(Coming::Unsayable);
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let going = &mut *self.going.borrow_mut();
        let head_request = head.request.method() == Method::HEAD;
        let ends = matches!(head.framing, Framing::Empty | Framing::Length(0));
        let sent = going.sender.send_request(head.request, ends);
        let (answer, body) = sent.map_err(|error| {
            self.ask(Coming::Over);
            // It was not sent: the connection has ended, or takes no more streams.
            self.untouched.set(true);
            self.failed(error)
        })?;
        going.ended = ends;
        going.body = Some((Answer::body_of(head.framing), body));
        self.ask(Coming::Awaited(answer, head_request));
        Ok(head.used)
    }

    /// From here on there is an answer to wait for.
    fn ask(&self, coming: Coming) {
        if let Coming::Unasked(Some(waker)) = self.coming.replace(coming) {
            waker.wake();
        }
    }

    /// Sends one piece of the body as far as the window goes; the rest stays.
    fn poll_data(&self, cx: &mut Context<'_>, data: &mut Bytes, ends: bool) -> Poll<io::Result<()>> {
        let going = &mut *self.going.borrow_mut();
        let Some((_, body)) = &mut going.body else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        while !data.is_empty() {
            body.reserve_capacity(data.len());
            let room = match body.capacity() {
                0 => match ready!(body.poll_capacity(cx)) {
                    Some(Ok(room)) => room,
                    Some(Err(error)) => return Poll::Ready(Err(self.failed(error))),
                    None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                },
                room => room,
            };
            if room == 0 {
                continue;
            }
            let piece = data.split_to(room.min(data.len()));
            let last = ends && data.is_empty();
            going.ended |= last;
            body.send_data(piece, last).map_err(|error| self.failed(error))?;
        }
        if ends && !going.ended {
            going.ended = true;
            body.send_data(Bytes::new(), true).map_err(|error| self.failed(error))?;
        }
        Poll::Ready(Ok(()))
    }

    /// The next bytes of the answer; none after its end.
    fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<io::Result<Buf>> {
        let coming = &mut *self.coming.borrow_mut();
        match coming {
            Coming::Unasked(waiting) => {
                *waiting = Some(cx.waker().clone());
                Poll::Pending
            }
            Coming::Unsayable => Poll::Ready(Err(io::ErrorKind::InvalidInput.into())),
            Coming::Over => Poll::Ready(Ok(Buf::empty())),
            Coming::Awaited(answer, head_request) => {
                if let Poll::Ready(Some(interim)) = answer.poll_informational(cx) {
                    let interim = interim.map_err(|error| self.failed(error))?;
                    let head = answer::interim(interim.status(), interim.headers());
                    return Poll::Ready(Ok(Buf::from_vec(head)));
                }
                let (parts, body) = ready!(Pin::new(answer).poll(cx))
                    .map(Response::into_parts)
                    .map_err(|error| self.failed(error))?;
                if parts.status == StatusCode::SWITCHING_PROTOCOLS {
                    // RFC 9113 section 8.6: there is none in HTTP/2.
                    return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                }
                let (head, follows) = answer::head(&parts, body.is_end_stream(), *head_request);
                *coming = match follows {
                    Follows::Nothing => Coming::Over,
                    follows => Coming::Body(body, follows),
                };
                Poll::Ready(Ok(Buf::from_vec(head)))
            }
            Coming::Body(body, follows) => match ready!(body.poll_data(cx)) {
                Some(Err(error)) => Poll::Ready(Err(self.failed(error))),
                Some(Ok(data)) => {
                    // It fails only for a stream that is gone, which the next call notices.
                    let _ = body.flow_control().release_capacity(data.len());
                    if data.is_empty() {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    Poll::Ready(Ok(Buf::from_vec(match follows {
                        Follows::Chunks => chunk(&data),
                        Follows::Length | Follows::Nothing => data.into(),
                    })))
                }
                None => {
                    let trailers = ready!(body.poll_trailers(cx)).map_err(|error| self.failed(error))?;
                    let chunked = *follows == Follows::Chunks;
                    *coming = Coming::Over;
                    let mut last = Vec::new();
                    if chunked {
                        emit::last_chunk(&mut last, &lines(trailers.as_ref()));
                    }
                    Poll::Ready(Ok(Buf::from_vec(last)))
                }
            },
        }
    }

    async fn by<T>(
        &self,
        until: Time,
        poll: impl FnMut(&mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> io::Result<T> {
        by(&self.open.0.engine, until, poll_fn(poll)).await.unwrap_or(Err(io::ErrorKind::TimedOut.into()))
    }
}

fn chunk(data: &[u8]) -> Vec<u8> {
    let mut chunk = Vec::with_capacity(data.len() + emit::MAX_CHUNK_HEAD + emit::CRLF.len());
    emit::chunk_head(&mut chunk, data.len());
    chunk.extend_from_slice(data);
    chunk.extend_from_slice(emit::CRLF);
    chunk
}

impl<E: Engine> Stream for ServerStream<E> {
    async fn recv(&self, _want: Want, until: Time) -> io::Result<Buf> {
        self.by(until, |cx| self.poll_recv(cx)).await
    }

    /// It carries one exchange, so that it is never kept for another.
    fn is_quiet(&self) -> bool {
        false
    }

    /// The first call must bring the whole head, as its first part.
    async fn send(&self, parts: Parts, until: Time) -> io::Result<()> {
        let mut used = 0;
        if self.going.borrow().body.is_none() {
            used = self.send_head(parts.iter().next().unwrap_or_default())?;
        }
        let mut events = Vec::with_capacity(2);
        if let Some((translator, _)) = &mut self.going.borrow_mut().body {
            let pieces = parts.iter().enumerate().map(|(n, part)| if n == 0 { &part[used..] } else { part });
            let taken = translator.take(pieces, &mut events);
            taken.map_err(|_| io::Error::other("the request has no form in HTTP/2"))?;
        }
        drop(parts);
        for event in events {
            match event {
                Event::Data(mut data, ends) => {
                    self.by(until, |cx| self.poll_data(cx, &mut data, ends)).await?;
                }
                Event::Trailers(trailers) => {
                    let going = &mut *self.going.borrow_mut();
                    if let Some((_, body)) = &mut going.body {
                        going.ended = true;
                        body.send_trailers(trailers).map_err(|error| self.failed(error))?;
                    }
                }
                Event::Interim(_) | Event::Head(..) => {}
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
        Ok(())
    }

    fn reset_on_drop(&self) {}

    fn set_keepalive(&self, _after: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn peer_addr(&self) -> SocketAddr {
        self.open.0.addresses.0
    }

    fn local_addr(&self) -> SocketAddr {
        self.open.0.addresses.1
    }
}
