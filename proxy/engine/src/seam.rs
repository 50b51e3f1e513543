//! The seam between sessions and engines.
//!
//! Contract, checked by the conformance suite on every engine:
//!
//! - A stream has at most one `recv` and one `send` outstanding at a time.
//! - Dropping a pending `recv` loses no bytes: the next `recv` yields them.
//! - Dropping a pending `send` leaves the stream good for nothing but being dropped.
//! - Dropping a stream closes it; bytes that a finished `send` accepted are still delivered (no `SO_LINGER`).
//! - A deadline (`until`) that passes ends the call with [`io::ErrorKind::TimedOut`]; [`Time::NEVER`] never passes.
//!   Deadlines are coarse: an engine may be late by up to [`TIMER_GRAIN`], never early.
//! - An idle stream holds no receive buffer.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::buf::{Buf, Parts};

/// The resolution of deadlines and sleeps.
pub const TIMER_GRAIN: Duration = Duration::from_millis(16);

/// Receives of one stream that may succeed at once, one after the other, before other tasks get their turn.
pub const RECV_RUN: u8 = 8;

/// A point on the engine's monotonic clock, in nanoseconds since an arbitrary start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub u64);

impl Time {
    /// A deadline that never passes.
    pub const NEVER: Time = Time(u64::MAX);

    /// This time plus `d`; saturates at [`Time::NEVER`].
    pub fn after(self, d: Duration) -> Time {
        Time(self.0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// The duration since `earlier`, zero if `earlier` is later.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// How much a `recv` hopes to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// A message head or a small body: small buffers, the receive stays armed between calls.
    Some,
    /// The middle of a large body: large buffers, one receive per call, so that the peer feels the backpressure.
    Bulk,
}

/// How a listener is opened.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// `SO_REUSEPORT`: every worker opens the same address.
    pub reuse_port: bool,
    /// The accept queue length asked of the kernel.
    pub backlog: i32,
}

impl Default for ListenOptions {
    fn default() -> Self {
        ListenOptions { reuse_port: true, backlog: 4096 }
    }
}

/// A handle on one worker's engine. Cheap to clone, bound to its thread.
pub trait Engine: Clone + 'static {
    /// A connected stream.
    type Stream: Stream;
    /// A listening socket.
    type Listener: Listener<Stream = Self::Stream>;
    /// A future that ends at a given time.
    type Sleep: Future<Output = ()> + Unpin;

    /// The engine's name as configuration and logs spell it: `ring`, `epoll` or `sim`.
    const NAME: &'static str;

    /// The monotonic time of the current turn of the event loop.
    fn now(&self) -> Time;

    /// The wall-clock time since the Unix epoch, of the current turn of the event loop.
    fn unix_time(&self) -> Duration;

    /// 64 random bits; seeded on `sim`. Not for secrets.
    fn random(&self) -> u64;

    /// Ends at or up to [`TIMER_GRAIN`] after `at`.
    fn sleep_until(&self, at: Time) -> Self::Sleep;

    /// Starts a task on this worker. It is dropped, at an await, when the engine stops.
    fn spawn(&self, task: impl Future<Output = ()> + 'static);

    /// Polls every task once, so that each sees a flag that changed (drain).
    fn wake_all(&self);

    /// Opens a listening TCP socket.
    fn listen(&self, addr: SocketAddr, options: &ListenOptions) -> io::Result<Self::Listener>;

    /// Opens a TCP connection (`TCP_NODELAY` set). A refused connection is [`io::ErrorKind::ConnectionRefused`].
    fn connect(&self, to: SocketAddr, until: Time) -> impl Future<Output = io::Result<Self::Stream>>;
}

/// A listening socket.
pub trait Listener: 'static {
    /// What it yields.
    type Stream;

    /// The next connection (`TCP_NODELAY` set). Errors concern this accept only (for example `EMFILE`);
    /// the caller backs off and calls again.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>>;

    /// The bound address, with the real port.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// A connected byte stream.
pub trait Stream: 'static {
    /// Receives some bytes. An empty buffer is the end of the stream (the peer half-closed).
    fn recv(&self, want: Want, until: Time) -> impl Future<Output = io::Result<Buf>>;

    /// Whether the stream is open and has nothing to read, as far as the kernel has told or can be asked. From then on
    /// the engine keeps watch, as a pending `recv` would. Not to be called while a `recv` is outstanding.
    fn is_quiet(&self) -> bool;

    /// Sends all the parts in order, or fails. Tries at once; waits only when the socket is full.
    fn send(&self, parts: Parts, until: Time) -> impl Future<Output = io::Result<()>>;

    /// Half-closes: the peer sees the end after the bytes sent so far.
    fn shutdown(&self) -> io::Result<()>;

    /// Makes the drop of this stream send a reset instead of an orderly close.
    fn reset_on_drop(&self);

    /// The peer's address.
    fn peer_addr(&self) -> SocketAddr;

    /// The local address.
    fn local_addr(&self) -> SocketAddr;
}
