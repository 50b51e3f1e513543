//! HTTP/3 sessions (RFC 9114) over the connections of [`crate::quic`].
//!
//! Each request is served by the HTTP/1.1 session as a connection of its own, as with HTTP/2: see [`H3Stream`]. What this
//! module adds is the connection: its control streams, its limits, its idleness, its way down. Field sections come without a
//! dynamic table (RFC 9204), which this side does not offer: nothing is kept of one request for the next.

/// The streams that clients open for the connection's sake.
mod control;
/// A request as it comes: head, body, trailers.
mod request;
/// A request stream as a connection.
mod stream;

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use pancake_engine::{Engine, Time};
use pancake_wire::h3::{Code, frame, settings, varint};
use quinn_proto::{Dir, StreamId};

use crate::front::Secured;
use crate::http1::{self, Arrival};
use crate::limits::H3_GIVEN_UP;
use crate::quic::connection::{Connection, Timer};
use crate::quic::stream::Bidi;
use crate::stream::Conn;
use crate::worker::SessionGuard;
use control::Incoming;
pub(crate) use stream::H3Stream;

/// Kinds of streams in one direction (RFC 9114 section 6.2, RFC 9204 section 4.2).
const CONTROL_STREAM: u64 = 0x00;
const ENCODER_STREAM: u64 = 0x02;
const DECODER_STREAM: u64 = 0x03;

/// What the requests of a connection share.
struct Shared<E: Engine> {
    connection: Rc<Connection<E>>,
    sni: Box<str>,
    /// Requests under way.
    open: Cell<usize>,
    /// When the last of them ended.
    idle_since: Cell<Time>,
    /// Bytes of heads that are not whole.
    in_heads: Cell<usize>,
    answered: Cell<u64>,
    given_up: Cell<u64>,
}

/// One request under way.
struct Open<E: Engine>(Rc<Shared<E>>);

impl<E: Engine> Drop for Open<E> {
    fn drop(&mut self) {
        let shared = &self.0;
        shared.open.set(shared.open.get() - 1);
        shared.idle_since.set(shared.connection.endpoint.worker.engine.now());
        // It may have been the last one that a connection on its way down waits for.
        shared.connection.wake();
    }
}

/// Serves one client connection until it ends.
pub(crate) async fn serve<E: Engine>(session: SessionGuard<E>, connection: Rc<Connection<E>>) {
    let endpoint = connection.endpoint.clone();
    let until = endpoint.entry.tls_handshake_timeout;
    let until = until.map_or(Time::NEVER, |limit| endpoint.worker.engine.now().after(limit));
    let mut session = Some(session);
    let (mut timer, mut deadline) = (Timer::<E>::default(), Timer::<E>::default());
    let mut http3: Option<Http3<E>> = None;
    poll_fn(|cx| {
        connection.poll_events(&mut timer, cx);
        if !connection.is_connected() && deadline.poll(&endpoint.worker.engine, until, cx) {
            connection.close(Code::NO_ERROR);
        }
        if !connection.is_lost() {
            match &mut http3 {
                None if connection.is_connected() || connection.has_early_data() => {
                    http3.insert(Http3::new(connection.clone())).poll(cx);
                }
                None => {}
                Some(http3) => http3.poll(cx),
            }
        }
        let over = connection.poll_send(&mut timer, cx);
        if connection.is_lost() {
            // What is left to say is said by the endpoint; nobody waits for it.
            session = None;
        }
        if over { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// The HTTP side of a connection.
struct Http3<E: Engine> {
    shared: Rc<Shared<E>>,
    /// The control stream of this side, and what is not written yet.
    control: Option<StreamId>,
    to_say: Vec<Bytes>,
    incoming: Incoming,
    /// The first request that is not served, once the client has been told (`GOAWAY`).
    last: Option<StreamId>,
    next: u64,
    timer: Timer<E>,
}

impl<E: Engine> Http3<E> {
    fn new(connection: Rc<Connection<E>>) -> Http3<E> {
        let endpoint = connection.endpoint.clone();
        let mut hello = Vec::new();
        varint::write(&mut hello, CONTROL_STREAM);
        settings::write(&mut hello, endpoint.entry.max_head_bytes as u64);
        let shared = Rc::new(Shared {
            sni: connection.sni(),
            open: Cell::new(0),
            idle_since: Cell::new(endpoint.worker.engine.now()),
            in_heads: Cell::new(0),
            answered: Cell::new(0),
            given_up: Cell::new(0),
            connection,
        });
        let to_say = vec![Bytes::from(hello)];
        let (control, last, timer) = (None, None, Timer::default());
        Http3 { shared, control, to_say, incoming: Incoming::default(), last, next: 0, timer }
    }

    fn poll(&mut self, cx: &mut Context<'_>) {
        let shared = self.shared.clone();
        let connection = &shared.connection;
        if let Err(code) = self.incoming.poll(connection, cx) {
            return connection.close(code);
        }
        if shared.given_up.get() > shared.answered.get() + H3_GIVEN_UP {
            return connection.close(Code::EXCESSIVE_LOAD);
        }
        while let Some(id) = connection.accept(Dir::Bi) {
            let stream = Bidi::new(connection.clone(), id);
            if self.last.is_some_and(|last| id >= last) {
                stream.refuse(Code::REQUEST_REJECTED);
                continue;
            }
            self.next = self.next.max(id.index() + 1);
            self.start(stream);
        }
        self.poll_end(cx);
        self.say(cx);
    }

    /// Goes down when the worker does, or when there was no request for long.
    fn poll_end(&mut self, cx: &mut Context<'_>) {
        let shared = &self.shared;
        let endpoint = &shared.connection.endpoint;
        let idle_at = match (shared.open.get(), endpoint.entry.idle_timeout) {
            (0, Some(limit)) => shared.idle_since.get().after(limit),
            _ => Time::NEVER,
        };
        let idle = self.timer.poll(&endpoint.worker.engine, idle_at, cx);
        if self.last.is_none() && (idle || endpoint.worker.is_draining()) {
            let last = StreamId::new(quinn_proto::Side::Client, Dir::Bi, self.next);
            self.last = Some(last);
            let (mut goaway, id) = (Vec::new(), u64::from(quinn_proto::VarInt::from(last)));
            let mut payload = Vec::new();
            varint::write(&mut payload, id);
            frame::head(&mut goaway, frame::GOAWAY, payload.len());
            goaway.extend_from_slice(&payload);
            self.to_say.push(goaway.into());
        }
        // A close overtakes what is still under way: answers must have arrived. The control stream never ends.
        let own = usize::from(self.control.is_some());
        if self.last.is_some() && shared.open.get() == 0 && shared.connection.sending() <= own {
            shared.connection.close(Code::NO_ERROR);
        }
    }

    /// Writes to the control stream what is to be said there.
    fn say(&mut self, cx: &Context<'_>) {
        let connection = &self.shared.connection;
        if self.control.is_none() {
            self.control = connection.open_uni();
        }
        if let Some(id) = self.control
            && !self.to_say.is_empty()
            && let Poll::Ready(Ok(())) = connection.poll_write(id, &mut self.to_say, cx)
        {
            self.to_say.clear();
        }
    }

    fn start(&self, stream: Bidi<E>) {
        let shared = self.shared.clone();
        shared.open.set(shared.open.get() + 1);
        let open = Open(shared);
        let engine = open.0.connection.endpoint.worker.engine.clone();
        engine.spawn(async move {
            let done = Box::pin(exchange(&open.0, stream)).await;
            let count = if done { &open.0.answered } else { &open.0.given_up };
            count.set(count.get() + 1);
        });
    }
}

/// Reads a request and serves it; false if the client gave it up or broke the rules.
async fn exchange<E: Engine>(shared: &Rc<Shared<E>>, stream: Bidi<E>) -> bool {
    let endpoint = shared.connection.endpoint.clone();
    let (worker, entry) = (&endpoint.worker, &endpoint.entry);
    let opened = worker.engine.now();
    let until = entry.read_timeout.map_or(Time::NEVER, |limit| opened.after(limit));
    let early = !shared.connection.is_connected();
    let read = by(&worker.engine, until, request::read(shared, &stream)).await;
    let Some(Ok(mut request)) = read else { return read.is_none() };
    if early && !request.is_safe() {
        // RFC 8470 section 3: it could have been sent again by somebody else.
        poll_fn(|cx| shared.connection.poll_connected(cx)).await;
    } else if !shared.connection.is_connected() {
        request.mark_early();
    }
    let Some(stream) = H3Stream::new(worker.engine.clone(), stream, request) else { return false };
    let ended = stream.ended();
    let arrival = Arrival {
        peer: shared.connection.addresses().0,
        stream: Conn::H3(Box::new(stream)),
        input: http1::Input::default(),
        entry: entry.clone(),
        opened,
        secured: Some(Secured { sni: shared.sni.clone() }),
        protocol: Some("HTTP/3.0"),
    };
    http1::serve(worker.clone(), arrival).await;
    ended.get()
}

/// A future by a deadline; none if that passes first.
async fn by<E: Engine, F: Future>(engine: &E, until: Time, future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    let mut sleep: Option<E::Sleep> = None;
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if until == Time::NEVER => Poll::Pending,
        Poll::Pending => {
            let sleep = sleep.get_or_insert_with(|| engine.sleep_until(until));
            Pin::new(sleep).poll(cx).map(|()| None)
        }
    })
    .await
}
