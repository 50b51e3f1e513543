//! HTTP/2 sessions (RFC 9113) by the `h2` crate, over TLS or with prior knowledge.
//!
//! Each stream is served by the HTTP/1.1 session as a connection of its own: see [`H2Stream`]. What this module adds is
//! the connection: its limits, its idleness, its way down.

/// The connection under it.
mod io;
/// A request to HTTP/1.1.
pub(crate) mod request;
/// An answer from HTTP/1.1.
pub(crate) mod response;
/// A stream as a connection.
mod stream;
/// HTTP/2 to servers.
pub(crate) mod upstream;

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::{Method, Request};
use pancake_engine::{Engine, Stream as _, Time};

use crate::front::Secured;
use crate::http1::{self, Arrival};
use crate::limits::{
    H2_CONNECTION_WINDOW_BYTES, H2_FRAME_BYTES, H2_PENDING_RESETS, H2_SEND_BUFFER_BYTES,
    H2_STREAM_WINDOW_BYTES, H2_WRITE_TIMEOUT,
};
use crate::settings::EntryPoint;
use crate::stream::Conn;
use crate::worker::{SessionGuard, Worker};
use io::Io;
pub(crate) use stream::H2Stream;

/// What all streams of a connection share.
struct Shared<E: Engine> {
    worker: Rc<Worker<E>>,
    entry: Rc<EntryPoint>,
    secured: Option<Secured>,
    addresses: (std::net::SocketAddr, std::net::SocketAddr),
    /// Streams under way.
    open: Cell<usize>,
    /// When the last of them ended.
    idle_since: Cell<Time>,
}

/// Serves one client connection until it ends.
pub(crate) async fn serve<E: Engine>(session: SessionGuard<E>, arrival: Arrival<Conn<E>>) {
    let worker = session.worker.clone();
    let Arrival { stream, input, entry, peer, secured, .. } = arrival;
    let now = worker.engine.now();
    let shared = Rc::new(Shared {
        addresses: (peer, stream.local_addr()),
        worker: worker.clone(),
        entry: entry.clone(),
        secured,
        open: Cell::new(0),
        idle_since: Cell::new(now),
    });
    let io = Io::new(stream, input, worker.engine.clone(), Some(H2_WRITE_TIMEOUT));
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(entry.h2_max_streams)
        .initial_window_size(H2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(H2_CONNECTION_WINDOW_BYTES)
        .max_frame_size(H2_FRAME_BYTES)
        .max_header_list_size(u32::try_from(entry.max_head_bytes).unwrap_or(u32::MAX))
        .max_send_buffer_size(H2_SEND_BUFFER_BYTES)
        .max_pending_accept_reset_streams(H2_PENDING_RESETS)
        .max_local_error_reset_streams(Some(H2_PENDING_RESETS))
        .enable_connect_protocol();
    let until = entry.read_timeout.map_or(Time::NEVER, |limit| now.after(limit));
    let handshake = builder.handshake::<_, Bytes>(io);
    let Some(Ok(connection)) = by(&worker.engine, until, handshake).await else { return };
    drive(connection, &shared).await;
}

/// Takes requests until the connection is over.
async fn drive<E: Engine>(mut connection: Connection<Io<E>, Bytes>, shared: &Rc<Shared<E>>) {
    let engine = &shared.worker.engine;
    let mut told = false;
    let mut sleep: Option<(Time, E::Sleep)> = None;
    while let Some(accepted) = poll_fn(|cx| {
        let idle_at = match (shared.open.get(), shared.entry.idle_timeout) {
            (0, Some(limit)) => shared.idle_since.get().after(limit),
            _ => Time::NEVER,
        };
        if !told && (shared.worker.is_draining() || engine.now() >= idle_at) {
            told = true;
            connection.graceful_shutdown();
        }
        if let Poll::Ready(accepted) = connection.poll_accept(cx) {
            return Poll::Ready(accepted);
        }
        if !told && idle_at != Time::NEVER {
            if sleep.as_ref().is_none_or(|(at, _)| *at != idle_at) {
                sleep = Some((idle_at, engine.sleep_until(idle_at)));
            }
            if let Some((_, sleep)) = &mut sleep
                && Pin::new(sleep).poll(cx).is_ready()
            {
                cx.waker().wake_by_ref();
            }
        }
        Poll::Pending
    })
    .await
    {
        // An error of the connection: h2 has told the peer.
        let Ok((request, respond)) = accepted else { return };
        start(shared, request, respond);
    }
}

/// Starts the exchange of one stream.
fn start<E: Engine>(shared: &Rc<Shared<E>>, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let (parts, body) = request.into_parts();
    let engine = shared.worker.engine.clone();
    let mut key = [0; 16];
    key[..8].copy_from_slice(&engine.random().to_ne_bytes());
    key[8..].copy_from_slice(&engine.random().to_ne_bytes());
    let protocol = parts.extensions.get::<h2::ext::Protocol>().map(h2::ext::Protocol::as_str);
    let Ok(head) = request::head(&parts, protocol, body.is_end_stream(), key) else {
        respond.send_reset(Reason::PROTOCOL_ERROR);
        return;
    };
    let head_request = parts.method == Method::HEAD;
    let opened = engine.now();
    let stream = H2Stream::new(engine.clone(), shared.addresses, head, (body, respond), head_request);
    let arrival = Arrival {
        stream: Conn::H2(Box::new(stream)),
        input: http1::Input::default(),
        entry: shared.entry.clone(),
        peer: shared.addresses.0,
        opened,
        secured: shared.secured.clone(),
        protocol: Some("HTTP/2.0"),
    };
    shared.open.set(shared.open.get() + 1);
    let open = Open(shared.clone());
    engine.spawn(async move {
        http1::serve(open.0.worker.clone(), arrival).await;
    });
}

/// One stream under way.
struct Open<E: Engine>(Rc<Shared<E>>);

impl<E: Engine> Drop for Open<E> {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.idle_since.set(self.0.worker.engine.now());
    }
}

/// A future by a deadline; none if that passes first.
pub(crate) async fn by<E: Engine, F: Future>(engine: &E, until: Time, future: F) -> Option<F::Output> {
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
