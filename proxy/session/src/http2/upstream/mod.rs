//! HTTP/2 to servers (RFC 9113) by the `h2` crate: the mirror of what this directory does for clients.
//!
//! A [`Link`] is one connection, a [`ServerStream`] one of its streams, seen as an HTTP/1.1 connection that carries one
//! exchange. What this module does not do: decide when to connect, and how often (`upstream::multiplex` does).

/// The head of an answer, to HTTP/1.1.
mod answer;
/// The connection's own life: idleness, health.
mod drive;
/// The head of a request, from HTTP/1.1.
mod request;
/// A stream as a connection.
mod stream;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use pancake_engine::{Engine, Stream as _, Time};

use super::io::Io;
use crate::http1::Input;
use crate::limits::{
    H2_FRAME_BYTES, H2_SEND_BUFFER_BYTES, H2_SERVER_STREAMS, H2_STREAM_WINDOW_BYTES, H2_WRITE_TIMEOUT,
    MAX_RESPONSE_HEAD_BYTES,
};
use crate::stream::Conn;
pub(crate) use stream::ServerStream;

/// How long a connection to a server may be idle or silent; none: forever.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Without a stream it is closed after this.
    pub(crate) idle: Option<Duration>,
    /// Silent for so long, it is asked with a PING.
    pub(crate) silent: Option<Duration>,
    /// How long the answer to that PING may take.
    pub(crate) ping: Option<Duration>,
}

/// One HTTP/2 connection to a server.
pub(crate) struct Link<E: Engine> {
    engine: E,
    addresses: (SocketAddr, SocketAddr),
    secure: bool,
    /// None: it takes no more streams; it ends with the last of them.
    sender: RefCell<Option<SendRequest<Bytes>>>,
    /// Streams under way.
    open: Cell<usize>,
    /// When the last of them ended.
    idle_since: Cell<Time>,
    /// Whether there was any.
    used: Cell<bool>,
    /// When bytes last came.
    heard: Rc<Cell<Time>>,
    /// Called when there may be room for another stream, or the connection is over.
    changed: Box<dyn Fn()>,
}

impl<E: Engine> Link<E> {
    /// Starts HTTP/2 on a fresh connection, in a task of its own. What the server says to it is not waited for: the
    /// first request goes out with the preface, as RFC 9113 section 3.4 allows.
    pub(crate) async fn start(
        engine: &E,
        conn: Conn<E>,
        patience: Patience,
        changed: Box<dyn Fn()>,
    ) -> Result<Rc<Link<E>>, h2::Error> {
        let (addresses, secure) = ((conn.peer_addr(), conn.local_addr()), matches!(conn, Conn::Tls(_)));
        let io = Io::new(conn, Input::default(), engine.clone(), Some(H2_WRITE_TIMEOUT));
        let heard = io.heard();
        let streams = u32::try_from(H2_SERVER_STREAMS).unwrap_or(u32::MAX);
        let (sender, connection) = Builder::new()
            .enable_push(false)
            .initial_window_size(H2_STREAM_WINDOW_BYTES)
            // Room for every stream's window: one whose client is slow must not stop the others.
            .initial_connection_window_size(H2_STREAM_WINDOW_BYTES * streams)
            .max_frame_size(H2_FRAME_BYTES)
            .max_header_list_size(u32::try_from(MAX_RESPONSE_HEAD_BYTES).unwrap_or(u32::MAX))
            .max_send_buffer_size(H2_SEND_BUFFER_BYTES)
            // Clients that give up must not end the connection for the others: what the server still sends of their
            // streams is no fault of its own.
            .max_concurrent_reset_streams(H2_SERVER_STREAMS)
            .max_local_error_reset_streams(None)
            .handshake::<_, Bytes>(io)
            .await?;
        let link = Rc::new(Link {
            engine: engine.clone(),
            addresses,
            secure,
            sender: RefCell::new(Some(sender)),
            open: Cell::new(0),
            idle_since: Cell::new(engine.now()),
            used: Cell::new(false),
            heard,
            changed,
        });
        engine.spawn(drive::drive(connection, link.clone(), patience));
        Ok(link)
    }

    /// A stream for one exchange, if the server allows another one.
    pub(crate) fn open(self: &Rc<Self>) -> Option<ServerStream<E>> {
        let mut sender = self.sender.borrow().clone()?;
        if self.open.get() >= sender.current_max_send_streams().min(H2_SERVER_STREAMS) {
            return None;
        }
        // Nothing of this handle waits: it says at once whether the connection takes streams.
        if let Poll::Ready(Err(_)) = sender.poll_ready(&mut Context::from_waker(Waker::noop())) {
            self.retire();
            return None;
        }
        self.open.set(self.open.get() + 1);
        let kept_since = self.used.replace(true).then(|| self.engine.now());
        Some(ServerStream::new(OpenStream(self.clone()), sender, kept_since))
    }

    /// Takes no more streams; the connection ends with the last of them.
    pub(crate) fn retire(&self) {
        // Taken out first: its drop wakes the connection's task.
        let sender = self.sender.borrow_mut().take();
        drop(sender);
    }

    /// Whether it takes no more streams.
    pub(crate) fn is_retired(&self) -> bool {
        self.sender.borrow().is_none()
    }
}

/// One stream under way.
struct OpenStream<E: Engine>(Rc<Link<E>>);

impl<E: Engine> Drop for OpenStream<E> {
    fn drop(&mut self) {
        let link = &self.0;
        link.open.set(link.open.get() - 1);
        link.idle_since.set(link.engine.now());
        (link.changed)();
    }
}
