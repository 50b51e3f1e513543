//! A connection as sessions see it: the engine's stream, or TLS over it.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use pancake_engine::seam::Idle;
use pancake_engine::{Buf, Engine, Parts, Stream, Time, Want};

use crate::http2::H2Stream;
use crate::http2::upstream::ServerStream;
use crate::http3::H3Stream;
use crate::tls::stream::TlsStream;

/// What [`Stream::splice`] does where bytes must pass through this process.
pub(crate) async fn copy<S: Stream>(
    from: &S,
    to: &S,
    limit: u64,
    idle: &Idle,
    moved: &Cell<u64>,
) -> io::Result<u64> {
    let mut total = 0;
    while total < limit {
        let mut bytes = from.recv(Want::Bulk, idle.until()).await?;
        if bytes.is_empty() {
            break;
        }
        bytes.truncate(usize::try_from(limit - total).unwrap_or(usize::MAX));
        let len = bytes.len() as u64;
        to.send(bytes.into(), idle.until()).await?;
        total += len;
        moved.set(moved.get() + len);
    }
    Ok(total)
}

/// A connection of a worker on `E`. What is not plain is in a box: plain connections, and what waits on them, stay small.
pub(crate) enum Conn<E: Engine> {
    Plain(E::Stream),
    Tls(Box<TlsStream<E::Stream>>),
    /// One stream of an HTTP/2 connection, seen as an HTTP/1.1 connection that carries one exchange.
    H2(Box<H2Stream<E>>),
    /// The same, of an HTTP/2 connection to a server.
    ServerH2(Box<ServerStream<E>>),
    /// The same of HTTP/3.
    H3(Box<H3Stream<E>>),
}

impl<E: Engine> Stream for Conn<E> {
    async fn recv(&self, want: Want, until: Time) -> io::Result<Buf> {
        match self {
            Conn::Plain(stream) => stream.recv(want, until).await,
            Conn::Tls(stream) => stream.recv(want, until).await,
            Conn::H2(stream) => stream.recv(want, until).await,
            Conn::ServerH2(stream) => stream.recv(want, until).await,
            Conn::H3(stream) => stream.recv(want, until).await,
        }
    }

    fn is_quiet(&self) -> bool {
        match self {
            Conn::Plain(stream) => stream.is_quiet(),
            Conn::Tls(stream) => stream.is_quiet(),
            Conn::H2(stream) => stream.is_quiet(),
            Conn::ServerH2(stream) => stream.is_quiet(),
            Conn::H3(stream) => stream.is_quiet(),
        }
    }

    async fn send(&self, parts: Parts, until: Time) -> io::Result<()> {
        match self {
            Conn::Plain(stream) => stream.send(parts, until).await,
            Conn::Tls(stream) => stream.send(parts, until).await,
            Conn::H2(stream) => stream.send(parts, until).await,
            Conn::ServerH2(stream) => stream.send(parts, until).await,
            Conn::H3(stream) => stream.send(parts, until).await,
        }
    }

    async fn splice(&self, to: &Self, limit: u64, idle: &Idle, moved: &Cell<u64>) -> io::Result<u64> {
        match (self, to) {
            (Conn::Plain(from), Conn::Plain(to)) => from.splice(to, limit, idle, moved).await,
            _ => copy(self, to, limit, idle, moved).await,
        }
    }

    fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Conn::Plain(stream) => stream.try_send(bytes),
            Conn::Tls(stream) => stream.try_send(bytes),
            Conn::H2(stream) => stream.try_send(bytes),
            Conn::ServerH2(stream) => stream.try_send(bytes),
            Conn::H3(stream) => stream.try_send(bytes),
        }
    }

    fn shutdown(&self) -> io::Result<()> {
        match self {
            Conn::Plain(stream) => stream.shutdown(),
            Conn::Tls(stream) => stream.shutdown(),
            Conn::H2(stream) => stream.shutdown(),
            Conn::ServerH2(stream) => stream.shutdown(),
            Conn::H3(stream) => stream.shutdown(),
        }
    }

    fn reset_on_drop(&self) {
        match self {
            Conn::Plain(stream) => stream.reset_on_drop(),
            Conn::Tls(stream) => stream.reset_on_drop(),
            Conn::H2(stream) => stream.reset_on_drop(),
            Conn::ServerH2(stream) => stream.reset_on_drop(),
            Conn::H3(stream) => stream.reset_on_drop(),
        }
    }

    fn set_keepalive(&self, period: Option<Duration>) -> io::Result<()> {
        match self {
            Conn::Plain(stream) => stream.set_keepalive(period),
            Conn::Tls(stream) => stream.set_keepalive(period),
            Conn::H2(stream) => stream.set_keepalive(period),
            Conn::ServerH2(stream) => stream.set_keepalive(period),
            Conn::H3(stream) => stream.set_keepalive(period),
        }
    }

    fn peer_addr(&self) -> SocketAddr {
        match self {
            Conn::Plain(stream) => stream.peer_addr(),
            Conn::Tls(stream) => stream.peer_addr(),
            Conn::H2(stream) => stream.peer_addr(),
            Conn::ServerH2(stream) => stream.peer_addr(),
            Conn::H3(stream) => stream.peer_addr(),
        }
    }

    fn local_addr(&self) -> SocketAddr {
        match self {
            Conn::Plain(stream) => stream.local_addr(),
            Conn::Tls(stream) => stream.local_addr(),
            Conn::H2(stream) => stream.local_addr(),
            Conn::ServerH2(stream) => stream.local_addr(),
            Conn::H3(stream) => stream.local_addr(),
        }
    }
}
